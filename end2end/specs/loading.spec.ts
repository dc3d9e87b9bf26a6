// What a page asks the server for: each file once, nothing that it does not need, and the code of other pages when they are visited.
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, headline, mark, marked, openEnded } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(240_000);

/** Requests to the server from now on, as paths. */
function asked(page: Page): string[] {
  const paths: string[] = [];
  page.on("request", (request) => paths.push(new URL(request.url()).pathname));
  return paths;
}

/** The parts of the pages' code among them. */
function parts(paths: string[]): string[] {
  return paths.filter((path) => /^\/pkg\/.+\.[0-9a-f]{12}\.(wasm|pack)$/.test(path));
}

/** Waits until the page's own code is in charge. */
async function awake(page: Page): Promise<void> {
  await expect.poll(() => page.evaluate(() => "awake" in document.documentElement.dataset)).toBe(true);
}

test.beforeEach(async ({ page }) => {
  await openEnded(page, ABORTED);
});

for (const path of ["/", "/releases", PROMOTED, `${PROMOTED}?receipt=0`, "/receipts", "/receipts/0"]) {
  test(`${path} asks for each of its files once @hydrated`, async ({ page }) => {
    // The last page's own requests are none of this one's.
    await page.goto("about:blank");
    const paths = asked(page);
    const response = await page.goto(path);
    await awake(page);
    await page.waitForLoadState("load");
    await expect(page.locator("link[rel=expect][blocking=render]"), "nothing is painted of half a page").toHaveAttribute("href", "#main");
    const named = ((await response?.headerValue("link")) ?? "").split(",").map((link) => /<(.+)>/.exec(link)?.[1]);
    expect(parts(paths).length).toBeGreaterThan(0);
    expect(new Set(named), "the answer names the parts that the page loads, and no other").toEqual(new Set(parts(paths)));
    const files = paths.filter((path) => path.startsWith("/pkg/"));
    expect(files.length, files.join(" ")).toBe(new Set(files).size);
  });
}

test("the code of another page comes when it is visited, and only then @hydrated", async ({ page }) => {
  await page.goto("/releases");
  await awake(page);
  await mark(page);
  const paths = asked(page);
  const row = page.getByRole("row").filter({ has: page.locator(`a[href="${PROMOTED}"]`) });
  await row.getByRole("link").first().click();
  await expect(headline(page)).toContainText("is stable after");
  expect(parts(paths).some((path) => path.includes("split_release."))).toBe(true);
  expect(paths).not.toContain(PROMOTED);
  expect(await marked(page), "the page was loaded once").toBe(true);
});

test("the code of a receipt beside the page comes at the press, and only then @hydrated", async ({ page }) => {
  const paths = asked(page);
  await page.goto(PROMOTED);
  await awake(page);
  await page.waitForLoadState("load");
  const aside = () => paths.filter((path) => path.includes("split_aside."));
  expect(parts(paths).map((path) => path.replace(/[0-9a-f]{12}/, "HASH"))).toEqual(["/pkg/release.HASH.pack"]);
  expect(aside()).toEqual([]);
  const link = page.locator("table.receipts a").first();
  await link.click();
  await expect(page.getByRole("dialog").getByRole("heading", { level: 2 }).first()).toBeFocused();
  expect(aside()).toHaveLength(1);
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  await expect(link).toBeFocused();
  await page.getByRole("button", { name: /^Check all/ }).click();
  await expect(page.locator(".verify-line")).toContainText("all hold");
  expect(aside(), "it stays").toHaveLength(1);
});

test("a page whose code does not come in one file gets it file by file @hydrated", async ({ page, expectedErrors }) => {
  expectedErrors.push(/404/, /was preloaded/);
  await page.route(/release\..+\.pack/, (route) => route.fulfill({ status: 404, contentType: "text/plain", body: "not found\n" }));
  const paths = asked(page);
  await page.goto(PROMOTED);
  await awake(page);
  expect(parts(paths).some((path) => path.includes("split_release."))).toBe(true);
});

test("a receipt whose code the server no longer has is opened as a page @hydrated", async ({ page, expectedErrors }) => {
  // What Chromium and the loader say of it.
  expectedErrors.push(/404/, /WebAssembly/);
  await page.route(/split_aside\./, (route) => route.fulfill({ status: 404, contentType: "text/plain", body: "not found\n" }));
  await page.goto(PROMOTED);
  await awake(page);
  const link = page.locator("table.receipts a").first();
  const href = (await link.getAttribute("href")) ?? "";
  await link.click();
  await expect(page).toHaveURL(href);
  await expect(page.getByRole("dialog")).toHaveCount(0);
});

test("a receipt that cannot be checked, because the code for it does not come, says so @hydrated", async ({ page, expectedErrors }) => {
  expectedErrors.push(/404/, /WebAssembly/, /was preloaded/);
  await page.route(/split_check\./, (route) => route.fulfill({ status: 404, contentType: "text/plain", body: "not found\n" }));
  await page.goto("/receipts/0");
  await expect(page.locator(".verified")).toContainText("Could not be checked: the code that checks did not come");
});

test("a part that the server no longer has makes it ask for the page, whole @hydrated", async ({ page, expectedErrors }) => {
  // What Chromium and the loader say of it.
  expectedErrors.push(/404/, /WebAssembly/, /was preloaded/);
  await page.route(/split_release\./, (route) => route.fulfill({ status: 404, contentType: "text/plain", body: "not found\n" }));
  await page.goto("/releases");
  await awake(page);
  await mark(page);
  const row = page.getByRole("row").filter({ has: page.locator(`a[href="${PROMOTED}"]`) });
  await row.getByRole("link").first().click();
  await expect(headline(page)).toContainText("is stable after");
  await expect(page).toHaveURL(PROMOTED);
  expect(await marked(page), "the page came from the server").toBe(false);
});
