import AxeBuilder from "@axe-core/playwright";
import { until } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

const PAGES = ["/", "/releases", "/releases/checkout-1", "/receipts", "/receipts/0"];

test.beforeEach(async ({ page }) => {
  await until(page, "/releases/checkout-1", () => expect(page.getByText("Rollback armed").first()).toBeVisible({ timeout: 500 }));
});

for (const path of PAGES) {
  test(`${path} has one headline and fits a phone`, async ({ page }) => {
    await page.setViewportSize({ width: 390, height: 844 });
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
    const main = await page.locator("main").boundingBox();
    expect(main && main.x + main.width, "the page scrolls sideways").toBeLessThanOrEqual(390);
  });

  test(`${path} is accessible @hydrated`, async ({ page }) => {
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      await page.goto(path);
      await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
      const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]).analyze();
      expect(violations.map(({ id, nodes }) => `${id}: ${nodes.map((node) => node.target.join(" ")).join(", ")}`)).toEqual([]);
    }
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
