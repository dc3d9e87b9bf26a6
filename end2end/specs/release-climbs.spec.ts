import { RELEASE_LIMIT_MS, headline, live, mark, marked, openRolling, receipts, until } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

// A whole release, and the one before it may have to end first.
test.setTimeout(2 * RELEASE_LIMIT_MS + 60_000);

const CLIMB = ["0 → 5 %", "5 → 25 %", "25 → 50 %", "50 → 100 %"];

test("a canary climbs to 100 % and is promoted, seen live without loading again @hydrated", async ({ page }) => {
  const path = await openRolling(page, /^weight 5 %$/);
  await page.goto("/");
  await live(page);
  // Whatever happens from here on arrives over the stream, on the overview first.
  await mark(page);
  const flying = page.getByRole("region", { name: /^Rolling out now/ }).getByRole("link");
  await expect(flying.getByRole("img", { name: "weight 25 %" })).toBeVisible({ timeout: RELEASE_LIMIT_MS });
  // What was measured in the last second, of both versions.
  await expect(flying).toContainText(/p99 [\d.]+ ms stable [\d.]+ ms/);
  await flying.click();
  await expect(page).toHaveURL(path);
  await live(page);
  const asOf = page.getByText(/^as of receipt/);
  const before = await asOf.textContent();
  await expect(headline(page)).toContainText("at 50 %", { timeout: RELEASE_LIMIT_MS });
  await expect(headline(page)).toContainText("at 100 %", { timeout: RELEASE_LIMIT_MS });
  await expect(headline(page)).toHaveText(/^v\d+ is stable after/, { timeout: RELEASE_LIMIT_MS });
  expect(await asOf.textContent()).not.toBe(before);
  for (const step of CLIMB) await expect(receipts(page).filter({ hasText: step })).toHaveCount(1);
  await expect(receipts(page).filter({ hasText: "Rollback armed" })).toHaveCount(1);
  await expect(receipts(page).filter({ hasText: "is stable now" })).toHaveCount(1);
  expect(await marked(page), "the page was loaded once").toBe(true);

  // Over the links of the page, not by loading: the overview knows it too.
  await page.getByRole("navigation", { name: "Pages" }).getByRole("link", { name: "Overview" }).click();
  const row = page.getByRole("row").filter({ has: page.locator(`a[href="${path}"]`) });
  await expect(row).toContainText("promoted");
  expect(await marked(page), "pages change without loading").toBe(true);
});

test("a promotion is read without JavaScript, by loading again @plain", async ({ page }) => {
  const path = await openRolling(page);
  for (const said of ["at 50 %", "at 100 %", "is stable after"]) {
    await until(page, path, () => expect(headline(page)).toContainText(said, { timeout: 100 }));
  }
  for (const step of CLIMB) await expect(receipts(page).filter({ hasText: step })).toHaveCount(1);
  await expect(page.locator(".timeline svg").first()).toBeVisible();
  await page.getByText("The same in rows").click();
  await expect(page.getByRole("table", { name: "Values of the timeline" }).getByRole("row")).not.toHaveCount(1);
  await page.goto("/");
  await expect(page.getByRole("row").filter({ has: page.locator(`a[href="${path}"]`) })).toContainText("promoted");
});
