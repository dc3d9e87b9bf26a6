// Nothing on a page moves by itself: not while it loads, not when the page's own code takes it over, not while values change.
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, RELEASE_LIMIT_MS, headline, live, openEnded, openRolling } from "../fixtures/pages";
import { shifts, watchShifts } from "../fixtures/shifts";
import { expect, test } from "../fixtures/test";

test.setTimeout(2 * RELEASE_LIMIT_MS);

const PAGES = ["/", "/releases", PROMOTED, ABORTED, `${ABORTED}?receipt=0`, `${PROMOTED}?from=2&to=9&at=3`, "/receipts", "/receipts/0", "/dora/change-failures", "/settings", "/search?q=checkout", "/login"];
const WIDTHS = [1280, 390];

/** Waits until the page has done what it does by itself. */
async function settled(page: Page, path: string): Promise<void> {
  await expect.poll(() => page.evaluate(() => "awake" in document.documentElement.dataset)).toBe(true);
  await page.waitForLoadState("load");
  if (/receipts?[/=]0$/.test(path)) await expect(page.getByText("This receipt holds")).toBeVisible();
  if (await page.locator(".stream:not(.off)").count()) await live(page);
  // Times say more with every minute.
  await page.clock.fastForward("01:00");
}

for (const width of WIDTHS) {
  test(`no page moves while it loads, ${width} px wide @hydrated`, async ({ page }) => {
    await openEnded(page, ABORTED);
    // While one is under way no other begins or ends, which would be a new row in the lists.
    await openRolling(page);
    await page.setViewportSize({ width, height: 900 });
    await page.clock.install();
    await watchShifts(page);
    const moved: Record<string, string[]> = {};
    for (const path of PAGES) {
      await page.goto(path);
      await settled(page, path);
      const seen = await shifts(page);
      if (seen.length > 0) moved[path] = seen;
    }
    expect(moved).toEqual({});
  });
}

for (const width of WIDTHS) {
  test(`nothing moves while a canary climbs, ${width} px wide @hydrated`, async ({ page, context }) => {
    const path = await openRolling(page, /^weight 5 %$/);
    await page.setViewportSize({ width, height: 900 });
    const overview = await context.newPage();
    await overview.setViewportSize({ width, height: 900 });
    for (const [at, tab] of [[path, page], ["/", overview]] as const) {
      await watchShifts(tab);
      await tab.goto(at);
      await live(tab);
    }
    await expect(headline(page)).toContainText("at 25 %", { timeout: RELEASE_LIMIT_MS });
    await expect(page.locator(".stage")).toContainText(/next in [45] s/, { timeout: RELEASE_LIMIT_MS });
    expect({ release: await shifts(page), overview: await shifts(overview) }).toEqual({ release: [], overview: [] });
  });
}
