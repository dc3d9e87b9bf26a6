import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, headline, live, openEnded, openRolling } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

const PAGES = ["/", "/releases", PROMOTED, ABORTED, `${ABORTED}?receipt=0`, `${PROMOTED}?from=2&to=9&at=3`, "/receipts", "/receipts/0", "/dora/change-failures", "/settings", "/search?q=checkout"];

test.setTimeout(240_000);

/** How wide the page would like to be. */
async function width(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth);
}

/** No finding of axe in light or dark. */
async function accessible(page: Page, without: string[] = []): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).disableRules(without).analyze();
    expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`), colorScheme).toEqual([]);
  }
}

test.beforeEach(async ({ page }) => {
  await openEnded(page, ABORTED);
});

for (const path of PAGES) {
  test(`${path} has one headline and fits a phone`, async ({ page }) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
    expect(await width(page), "the page scrolls sideways").toBeLessThanOrEqual(390);
  });

  test(`${path} is accessible @hydrated`, async ({ page }) => {
    await page.goto(path);
    await expect(headline(page)).toHaveCount(1);
    // The last thing that this page does once its own code is in charge.
    if (/receipts?[/=]0$/.test(path)) await expect(page.getByText("This receipt holds")).toBeVisible();
    await accessible(page);
  });
}

test("what does not exist says so", async ({ page, expectedErrors }) => {
  expectedErrors.push(/404/);
  for (const path of ["/nothing", "/releases/checkout-999", "/receipts/999999"]) {
    const response = await page.goto(path);
    expect(response?.status(), path).toBe(404);
    await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
  }
});

test("a release under way, with its abort dialog open, is accessible and fits a phone @hydrated", async ({ page }) => {
  await openRolling(page, /^weight (5|25|50|100) %$/);
  await live(page);
  await page.keyboard.press("a");
  await expect(page.getByRole("button", { name: "Abort now" })).toBeVisible();
  await accessible(page);
  await page.setViewportSize({ width: 390, height: 844 });
  expect(await width(page), "the page scrolls sideways").toBeLessThanOrEqual(390);
});

test("the gallery shows every part in every state, accessible and on a phone", async ({ page, javaScriptEnabled }) => {
  await page.goto("/gallery");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Gallery");
  for (const name of ["climbing", "held by a person", "aborted by the judge", "rolled back", "names of 80 characters"]) {
    await expect(page.getByRole("region", { name, exact: true })).toBeVisible();
  }
  // The same parts stand on it many times, each with its own labels: what they are called is judged on their own pages.
  if (javaScriptEnabled !== false) await accessible(page, ["duplicate-id-aria"]);
  for (const viewport of [{ width: 390, height: 844 }, { width: 2560, height: 1440 }]) {
    await page.setViewportSize(viewport);
    expect(await width(page), "the page scrolls sideways").toBeLessThanOrEqual(viewport.width);
  }
});

test("the login page is accessible and fits a phone @hydrated", async ({ stranger }) => {
  await stranger.goto("/login");
  await accessible(stranger);
  await stranger.setViewportSize({ width: 390, height: 844 });
  expect(await width(stranger), "the page scrolls sideways").toBeLessThanOrEqual(390);
});
