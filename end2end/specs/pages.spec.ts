import AxeBuilder from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, headline, live, openEnded, openRolling } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

const PAGES = ["/", "/releases", PROMOTED, ABORTED, "/receipts", "/receipts/0"];

test.setTimeout(240_000);

/** How wide the page would like to be. */
async function width(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth);
}

/** No finding of axe in light or dark. */
async function accessible(page: Page): Promise<void> {
  for (const colorScheme of ["light", "dark"] as const) {
    await page.emulateMedia({ colorScheme });
    const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
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
    if (path.startsWith("/receipts/")) await expect(page.getByText("This receipt holds")).toBeVisible();
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

test("the login page is accessible and fits a phone @hydrated", async ({ stranger }) => {
  await stranger.goto("/login");
  await accessible(stranger);
  await stranger.setViewportSize({ width: 390, height: 844 });
  expect(await width(stranger), "the page scrolls sideways").toBeLessThanOrEqual(390);
});
