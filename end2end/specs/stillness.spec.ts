// Nothing on a page moves by itself: not while it loads, not when the page's own code takes it over, not while values change.
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, RELEASE_LIMIT_MS, headline, live, openEnded, openRolling, receipts } from "../fixtures/pages";
import { shifts, shiftsBesideRows, watchShifts } from "../fixtures/shifts";
import { Deliveryos } from "../fixtures/deliveryos";
import { expect, logIn, test } from "../fixtures/test";

test.setTimeout(2 * RELEASE_LIMIT_MS);

const PAGES = ["/", "/releases", PROMOTED, ABORTED, `${ABORTED}?receipt=0`, `${PROMOTED}?from=2&to=9&at=3`, "/receipts", "/receipts/0", "/dora/change-failures", "/settings", "/search?q=checkout", "/login"];
const WIDTHS = [1280, 390];

/** Waits until the page has done what it does by itself. */
async function settled(page: Page, path: string): Promise<void> {
  await expect.poll(() => page.evaluate(() => "awake" in document.documentElement.dataset)).toBe(true);
  await page.waitForLoadState("load");
  if (/receipts?[/=]0$/.test(path)) await expect(page.getByText("This receipt holds")).toBeVisible();
  if (await page.locator(".stream:not(.off)").count()) await live(page);
  // Times say something longer after a minute, and again after ten.
  await page.clock.fastForward("01:00");
  await page.clock.fastForward("10:00");
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

// On a tall window the whole page is on the screen, also what is written a frame later. A press by script is none to Chromium, which forgives what
// moves right after one.
test("a release that is opened from the list does not move @hydrated", async ({ page }) => {
  await openEnded(page, PROMOTED);
  await page.setViewportSize({ width: 1280, height: 2600 });
  await watchShifts(page);
  await page.goto("/releases");
  await live(page);
  await page.locator(`a[href="${PROMOTED}"]`).first().evaluate((link: HTMLElement) => link.click());
  await expect(headline(page)).toContainText("is stable");
  await expect(receipts(page).nth(1)).toBeVisible();
  expect(await shifts(page)).toEqual([]);
});

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

// The recipe of the demo as it is started by hand, in half a minute: its judge speaks second by second, in the check, in the evidence, in the lanes.
test("nothing moves while the sequential judge gathers evidence @hydrated", async ({ stranger: page }) => {
  const demo = await Deliveryos.start(["--no-history", "--speed", "24", "--rate", "60"]);
  try {
    await logIn(page, demo);
    const flying = page.getByRole("region", { name: /^Rolling out now/ }).getByRole("link");
    const path = (await flying.getAttribute("href", { timeout: RELEASE_LIMIT_MS })) ?? "";
    const phone = await page.context().newPage();
    await phone.setViewportSize({ width: 390, height: 900 });
    const tabs = { "1280": page, "390": phone };
    for (const tab of Object.values(tabs)) {
      await watchShifts(tab);
      await tab.goto(demo.origin + path);
      await live(tab);
    }
    await expect(headline(page)).toHaveText(/(is stable|was aborted) after/, { timeout: RELEASE_LIMIT_MS });
    await expect(headline(phone)).toHaveText(/(is stable|was aborted) after/);
    expect({ "1280": await shifts(page), "390": await shifts(phone) }).toEqual({ "1280": [], "390": [] });
  } finally {
    await demo.stop();
  }
});

for (const width of WIDTHS) {
  test(`a new row pushes rows down and moves nothing else, ${width} px wide @hydrated`, async ({ page, context }) => {
    await openRolling(page);
    const tabs: Record<string, Page> = { "/": page, "/releases": await context.newPage(), "/receipts": await context.newPage() };
    // A list that is full has as many rows after as before: what is new is its first one.
    const first = (tab: Page) => tab.locator("tbody tr[data-key]").first().getAttribute("data-key");
    const rows: Record<string, string | null> = {};
    for (const [path, tab] of Object.entries(tabs)) {
      await tab.setViewportSize({ width, height: 900 });
      await watchShifts(tab);
      await tab.goto(path);
      await live(tab);
      if (path === "/receipts") await tab.getByLabel("Follow").check();
      rows[path] = await first(tab);
    }
    // One ends and the next begins.
    for (const [path, tab] of Object.entries(tabs)) {
      await expect.poll(() => first(tab), { message: path, timeout: RELEASE_LIMIT_MS }).not.toBe(rows[path]);
    }
    const moved: Record<string, string[]> = {};
    for (const [path, tab] of Object.entries(tabs)) moved[path] = await shiftsBesideRows(tab);
    expect(moved).toEqual({ "/": [], "/releases": [], "/receipts": [] });
  });

  test(`nothing moves when a release is aborted from elsewhere, ${width} px wide @hydrated`, async ({ page, demo }) => {
    const path = await openRolling(page);
    const made = await demo.run("token", "create", "--role", "operator", "--name", "elsewhere");
    const token = /dlv_token_\S+/.exec(made.output)![0];
    await page.setViewportSize({ width, height: 900 });
    await watchShifts(page);
    await page.goto(path);
    await live(page);
    const { code, output } = await demo.run("release", "abort", path.split("/").pop()!, "--reason", "stopped from elsewhere, for a reason that takes some words to say", "--token", token);
    expect(code, output).toBe(0);
    await expect(headline(page)).toContainText("was aborted after");
    const clocks = page.getByRole("region", { name: "Clocks of the abort" });
    await expect(clocks.getByRole("listitem").filter({ hasText: "served by the canary" })).toBeVisible();
    await expect(clocks).toBeInViewport({ ratio: 1 });
    expect(await shifts(page)).toEqual([]);
    // Who comes later finds it under the headline.
    await page.reload();
    await expect(clocks).not.toHaveCSS("position", "fixed");
  });

  test(`the log may grow by any number, ${width} px wide @hydrated`, async ({ page }) => {
    await openEnded(page, PROMOTED);
    await page.setViewportSize({ width, height: 900 });
    const begins = (said: string) =>
      page.locator(".crumb .asof").evaluate((place, said) => {
        place.textContent = said;
        const words = document.createRange();
        words.selectNodeContents(place);
        const { left, right, top } = words.getBoundingClientRect();
        // The edge that it is aligned to.
        return { edge: getComputedStyle(place).textAlign === "right" ? right : left, top };
      }, said);
    const first = await begins("as of receipt 99");
    for (const number of ["100", "9,999", "1,000,000"]) expect(await begins(`as of receipt ${number}`), number).toEqual(first);
  });
}
