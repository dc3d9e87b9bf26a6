// The release page as an instrument: one cursor and one zoom over all lanes, receipts beside the page, a release checked in the browser,
// looking back, and the states that are not the usual ones.
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, RELEASE_LIMIT_MS, alongTheAxis, headline, live, mark, marked, openEnded, openRolling, receipts } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(2 * RELEASE_LIMIT_MS);

/** The receipt beside the page. */
function drawer(page: Page) {
  return page.getByRole("dialog");
}

/** Numbers below the axis. */
async function axis(page: Page): Promise<string[]> {
  return page.locator(".tl-marks text.tl-axis").allTextContents();
}

/** Counts the server functions that the page calls from now on. */
function calls(page: Page): string[] {
  const seen: string[] = [];
  page.on("request", (request) => {
    const path = new URL(request.url()).pathname;
    if (path.startsWith("/api/")) seen.push(path);
  });
  return seen;
}

test("a receipt opens beside the page, by mouse and by keyboard, and gives the focus back @hydrated", async ({ page }) => {
  await openEnded(page, ABORTED);
  await live(page);
  await mark(page);
  const seen = calls(page);
  const link = receipts(page).filter({ hasText: "Rollback armed" }).getByRole("link");
  await link.click();
  await expect(drawer(page)).toContainText("Rollback armed");
  await expect(drawer(page).getByText("This receipt holds")).toBeVisible();
  await expect(page).toHaveURL(/\?receipt=\d+$/);
  await expect(headline(page)).toContainText("was aborted");
  await expect(drawer(page).getByRole("heading", { level: 2 }).first()).toBeFocused();
  expect(seen, "one call for one press").toEqual(["/api/get_receipt"]);
  await page.keyboard.press("Escape");
  await expect(drawer(page)).toHaveCount(0);
  await expect(link).toBeFocused();

  // The cursor goes from receipt to receipt, and Enter opens the one it is at.
  const slider = page.getByRole("slider", { name: /^Cursor over all lanes/ });
  await slider.focus();
  // The first press puts it at the last receipt, the second at the one before; what it says follows the press.
  await page.keyboard.press("ArrowLeft");
  await expect(slider).not.toHaveClass(/\boff\b/);
  const last = (await slider.getAttribute("aria-valuetext")) ?? "";
  await page.keyboard.press("ArrowLeft");
  await expect(slider).not.toHaveAttribute("aria-valuetext", last);
  const said = (await slider.getAttribute("aria-valuetext")) ?? "";
  const index = /receipt (\d+)/.exec(said)?.[1] ?? "";
  expect(index, said).not.toBe("");
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(new RegExp(`receipt=${index}$`));
  await expect(drawer(page)).toBeVisible();
  await page.goBack();
  await expect(drawer(page)).toHaveCount(0);
  expect(await marked(page), "pages change without loading").toBe(true);
});

test("a press anywhere on a receipt's row opens it @hydrated", async ({ page }) => {
  await openEnded(page, ABORTED);
  await live(page);
  const row = receipts(page).filter({ hasText: "Rollback armed" });
  const index = ((await row.getByRole("link").getAttribute("href")) ?? "").split("/").pop();
  await row.getByText("Rollback armed", { exact: true }).click();
  await expect(page).toHaveURL(new RegExp(`receipt=${index}$`));
  await expect(drawer(page)).toContainText("Rollback armed");
});

test("the drawer's address shows the receipt without JavaScript too @plain", async ({ page }) => {
  await openEnded(page, ABORTED);
  const href = (await receipts(page).filter({ hasText: "Rollback armed" }).getByRole("link").getAttribute("href")) ?? "";
  await page.goto(`${ABORTED}?receipt=${href.split("/").pop()}`);
  await expect(drawer(page)).toContainText("Rollback armed");
  await drawer(page).getByRole("link", { name: "Close the receipt" }).click();
  await expect(page).toHaveURL(new RegExp(`${ABORTED}$`));
  await expect(drawer(page)).toHaveCount(0);
});

test("one cursor reads all lanes, one zoom holds for all of them and stands in the address @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  await live(page);
  const since = page.locator(".tl-read .since");
  const before = await since.textContent();
  const chart = page.locator(".tl-width").first();
  const box = (await chart.boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
  await page.mouse.move(box.x + box.width * 0.3, box.y + 60);
  await expect(since).not.toHaveText(before ?? "");
  await expect(page.locator(".tl-read dt").first()).toHaveText("at");
  await page.mouse.move(box.x + box.width * 0.3, 5);
  await expect(since).toHaveText(before ?? "");

  const whole = await axis(page);
  await page.keyboard.press("+");
  await expect.poll(() => axis(page)).not.toEqual(whole);
  await expect(page).toHaveURL(/from=[\d.]+&to=[\d.]+/);
  const closer = await axis(page);
  await page.reload();
  expect(await axis(page), "the address carries the part that is shown").toEqual(closer);
  await live(page);
  await page.keyboard.press("0");
  await expect.poll(() => axis(page)).toEqual(whole);
  await expect(page).not.toHaveURL(/from=/);

  // Drawn with the mouse.
  await page.mouse.move(box.x + box.width * 0.3, box.y + 60);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.6, box.y + 60, { steps: 4 });
  await page.mouse.up();
  await expect.poll(() => axis(page)).not.toEqual(whole);
  await page.getByRole("button", { name: "All", exact: true }).click();
  await expect.poll(() => axis(page)).toEqual(whole);
});

test("a receipt outside the part that is shown brings the part along when the cursor goes to it @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  // The last seconds only: cut to the axis.
  await page.goto(`${PROMOTED}?from=900&to=905`);
  await live(page);
  const started = receipts(page).filter({ hasText: /checkout v\d+ started/ }).getByRole("link");
  const href = (await started.getAttribute("href")) ?? "";
  const mark = page.locator(`.tl-marks a[href="${href}"]`);
  await expect(mark).toHaveCount(0);
  const cursor = page.getByRole("slider", { name: /^Cursor over all lanes/ });
  await cursor.focus();
  await expect(async () => {
    await page.keyboard.press("ArrowLeft");
    await expect(cursor).toHaveAttribute("aria-valuetext", new RegExp(`receipt ${href.split("/").pop()}:`), { timeout: 200 });
  }).toPass({ intervals: [0], timeout: 15_000 });
  await expect(mark).toHaveCount(1);
  await expect(cursor).toBeFocused();
  await expect(page).toHaveURL(/from=0&to=/);
});

test("a verdict that was recomputed here says so beside its receipt, after looking back too @hydrated", async ({ page }) => {
  await openEnded(page, ABORTED);
  await live(page);
  const again = page.locator(".judge-again");
  const receipt = again.getByRole("link", { name: /^receipt / });
  const index = await receipt.getAttribute("href");
  await expect(again.getByRole("status")).toBeEmpty();
  await page.getByRole("button", { name: "Recompute the last verdict here" }).click();
  await expect(again.getByRole("status")).toHaveClass(/\bok\b/);
  const said = (await again.getByRole("status").textContent()) ?? "";
  const slider = page.getByRole("slider", { name: "Look back at" });
  await slider.focus();
  await page.keyboard.press("Home");
  // There was no verdict yet.
  await expect(headline(page)).toContainText("is starting");
  await expect(page.getByText(said)).toHaveCount(0);
  await expect(again).toHaveCount(0);
  await page.getByRole("button", { name: "To the end" }).click();
  await expect(receipt).toHaveAttribute("href", index ?? "");
  await expect(again.getByRole("status")).toHaveText(said);
  await expect(page.getByText(said)).toHaveCount(1);
});

test("what is looked back at is drawn on one axis, evidence and seconds @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  // Where the lines end, in units of the drawing.
  const end = async (line: string) => alongTheAxis((await page.locator(line).first().getAttribute("d")) ?? "").at(-1) ?? Number.NaN;
  const seen = new Set<number>();
  for (const part of ["at=4", "at=4&from=0&to=6"]) {
    await page.goto(`${PROMOTED}?${part}`);
    await live(page);
    const at = await end(".timeline .tl-weight");
    expect(Math.abs(at - (await end(".judge .tl-limit"))), part).toBeLessThan(1);
    seen.add(at);
  }
  expect(seen.size, "a part is drawn as a part").toBe(2);
});

test("the cursor is one over all lanes, those of the evidence too @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  await live(page);
  const judged = page.locator(".judge-facts > div").first();
  const atTheEnd = (await judged.textContent()) ?? "";
  const lines = [page.locator(".timeline .tl-over .tl-now"), page.locator(".judge .tl-over .tl-now")] as const;
  await expect(lines[1], "no cursor yet").toHaveCount(0);
  for (const [drawing, share] of [[".judge .tl-width", 0.3], [".timeline .tl-width", 0.5]] as const) {
    await page.locator(drawing).scrollIntoViewIfNeeded();
    const box = await page.locator(drawing).boundingBox();
    if (!box) throw new Error(`${drawing} is not drawn`);
    await page.mouse.move(box.x + box.width * share, box.y + box.height / 2);
    const x = (line: (typeof lines)[number]) => async () => Number(await line.getAttribute("x1")) / 1216;
    for (const line of lines) await expect.poll(x(line), drawing).toBeCloseTo(share, 1);
    expect(await lines[0].getAttribute("x1")).toBe(await lines[1].getAttribute("x1"));
    await expect(judged, "the figures are those of that moment").not.toHaveText(atTheEnd);
  }
  await page.mouse.move(0, 0);
  await expect(lines[1]).toHaveCount(0);
  await expect(judged).toHaveText(atTheEnd);
});

test("a whole release is checked in the browser, its closing receipt too, and the page says what it did not check @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  await live(page);
  const seen = calls(page);
  await expect(page.getByText("not checked in this browser yet")).toBeVisible();
  await page.getByRole("button", { name: /^Check all \d+ here$/ }).click();
  await expect(page.getByText(/^\d+ receipts of this release checked in this browser, all hold$/)).toBeVisible();
  expect(seen.filter((path) => path === "/api/get_proofs"), "one call for one press").toHaveLength(1);
  await page.getByText("What was checked here, and what is the server's word").click();
  await expect(page.getByText(/covers exactly these: the root that it states was computed again/)).toBeVisible();
  await expect(page.getByRole("heading", { name: "The server's word" })).toBeVisible();
});

test("a release that is over can be looked back at @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  await live(page);
  const all = await receipts(page).count();
  const slider = page.getByRole("slider", { name: "Look back at" });
  await slider.focus();
  await page.keyboard.press("Home");
  await expect(headline(page)).toContainText("is starting");
  await expect(page.getByText("You look back: commands are given in the present.")).toBeVisible();
  expect(await receipts(page).count()).toBeLessThan(all);
  await expect(page).toHaveURL(/at=0/);
  await page.getByRole("button", { name: "Replay" }).click();
  await expect(headline(page)).toContainText("is stable after", { timeout: 60_000 });
  await expect(receipts(page)).toHaveCount(all);
});

test("without a stream the page says since when it is stale, and Abort works @hydrated", async ({ page, expectedErrors }) => {
  expectedErrors.push(/\/events|net::ERR_FAILED/);
  await page.route("**/events**", (route) => route.abort());
  await openRolling(page);
  await expect(page.getByRole("banner").getByText(/reconnecting|stale since/)).toBeVisible();
  await page.keyboard.press("a");
  await page.getByLabel(/^Reason/).and(page.locator(":visible")).fill("stopped without a stream");
  await page.keyboard.press("Enter");
  await expect(page.getByText(/abort accepted, receipt \d+/)).toBeVisible();
  await expect(headline(page)).toHaveText(/^v\d+ was aborted after/, { timeout: RELEASE_LIMIT_MS });
  await expect(page.getByRole("region", { name: "Clocks of the abort" })).toContainText("stopped without a stream");
  await expect(page.getByRole("banner").getByText(/^stale since \d\d:\d\d:\d\d$/)).toBeVisible({ timeout: 60_000 });
});

test("a server that hangs is told from one that has nothing to say, and Abort can be pressed again @hydrated", async ({ page, demo, expectedErrors }) => {
  expectedErrors.push(/\/events|net::ERR/);
  await openRolling(page);
  await live(page);
  demo.hang();
  try {
    await expect(page.getByRole("banner").getByText(/^stale since \d\d:\d\d:\d\d$/)).toBeVisible({ timeout: 25_000 });
    // What comes next is not counted down while it is not known.
    await expect(page.getByText(/, next not known$/)).toBeVisible();
    await page.keyboard.press("a");
    await page.getByLabel(/^Reason/).and(page.locator(":visible")).fill("stopped while nothing answered");
    await page.keyboard.press("Enter");
    await expect(page.getByText(/the server does not answer/)).toBeVisible({ timeout: 20_000 });
  } finally {
    demo.goOn();
  }
  await expect(headline(page)).toHaveText(/^v\d+ was aborted after/, { timeout: RELEASE_LIMIT_MS });
  await expect(page.getByRole("region", { name: "Clocks of the abort" })).toContainText("stopped while nothing answered");
  await expect(page.getByRole("banner").getByText("live", { exact: true })).toBeVisible({ timeout: 30_000 });
});

test("who may only read sees why there are no buttons", async ({ page: operator, browser, demo, contextOptions, javaScriptEnabled }) => {
  await openEnded(operator, PROMOTED);
  const { output } = await demo.run("token", "create", "--role", "viewer");
  const token = /\S{20,}/.exec(output)?.[0] ?? "";
  const context = await browser.newContext({
    ...contextOptions,
    javaScriptEnabled,
    baseURL: demo.origin,
    storageState: { cookies: [], origins: [] },
    extraHTTPHeaders: { authorization: `Bearer ${token}` },
  });
  const page = await context.newPage();
  await page.goto(PROMOTED);
  await expect(headline(page)).toContainText("is stable after");
  await expect(page.getByText("You may read. Commands need the role operator.")).toBeVisible();
  await expect(page.getByText("Roll back…")).toHaveCount(0);
  await context.close();
});

test("printed it is the release and its receipts, without what is pressed @hydrated", async ({ page }) => {
  await openEnded(page, ABORTED);
  await page.emulateMedia({ media: "print" });
  await expect(page.getByRole("navigation", { name: "Pages" })).toBeHidden();
  await expect(page.locator(".tl-zoom")).toBeHidden();
  await expect(headline(page)).toBeVisible();
  await expect(receipts(page).first()).toBeVisible();
});
