// The release page as an instrument: one cursor and one zoom over all lanes, receipts beside the page, a release checked in the browser,
// looking back, and the states that are not the usual ones.
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, RELEASE_LIMIT_MS, headline, live, mark, marked, openEnded, openRolling, receipts } from "../fixtures/pages";
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
  expect(seen.filter((path) => path !== "/api/get_consistency"), "one call for one press").toEqual(["/api/get_receipt"]);
  await page.keyboard.press("Escape");
  await expect(drawer(page)).toHaveCount(0);
  await expect(link).toBeFocused();

  // The cursor goes from receipt to receipt, and Enter opens the one it is at.
  const slider = page.getByRole("slider", { name: /^Cursor over all lanes/ });
  await slider.focus();
  await page.keyboard.press("ArrowLeft");
  await page.keyboard.press("ArrowLeft");
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
    await page.keyboard.press("a");
    await page.getByLabel(/^Reason/).and(page.locator(":visible")).fill("stopped while nothing answered");
    await page.keyboard.press("Enter");
    await expect(page.getByText(/The server does not answer/)).toBeVisible({ timeout: 20_000 });
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
