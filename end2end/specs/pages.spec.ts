import type { Browser, BrowserContextOptions, Page } from "@playwright/test";
import { EVERY_RULE, accessible } from "../fixtures/axe";
import type { Deliveryos } from "../fixtures/deliveryos";
import { ABORTED, PROMOTED, headline, live, openEnded, openRolling } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

const PAGES = ["/", "/releases", PROMOTED, ABORTED, `${ABORTED}?receipt=0`, `${PROMOTED}?from=2&to=9&at=3`, "/receipts", "/receipts/0", "/dora/change-failures", "/settings", "/search?q=checkout"];
/** A phone, a laptop, a wall. */
const SCREENS = [{ width: 390, height: 844 }, { width: 1280, height: 900 }, { width: 2560, height: 1440 }];
/** What counts as no motion at all. */
const STILL_MS = 1;

test.setTimeout(240_000);

/** How wide the page would like to be. */
async function width(page: Page): Promise<number> {
  return page.evaluate(() => document.documentElement.scrollWidth);
}

/** The page does not scroll sideways on any screen. */
async function fits(page: Page): Promise<void> {
  for (const screen of SCREENS) {
    await page.setViewportSize(screen);
    expect(await width(page), `the page scrolls sideways at ${screen.width} px`).toBeLessThanOrEqual(screen.width);
  }
}

/** Waits until a receipt that is shown is checked, which is the last thing that a page does by itself. */
async function settled(page: Page, path: string): Promise<void> {
  await expect(headline(page)).toHaveCount(1);
  if (/receipts?[/=]0$/.test(path)) await expect(page.getByText("This receipt holds")).toBeVisible();
}

test.beforeEach(async ({ page }) => {
  await openEnded(page, ABORTED);
});

for (const path of PAGES) {
  test(`${path} has one headline and fits every screen`, async ({ page }) => {
    await page.setViewportSize(SCREENS[0]!);
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
    await fits(page);
  });

  test(`${path} is accessible @hydrated`, async ({ page }) => {
    await page.goto(path);
    await settled(page, path);
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

test("a release under way, with its abort dialog open, is accessible and fits every screen @hydrated", async ({ page }) => {
  await openRolling(page, /^weight (5|25|50|100) %$/);
  await live(page);
  await page.keyboard.press("a");
  await expect(page.getByRole("button", { name: "Abort now" })).toBeVisible();
  await accessible(page);
  await fits(page);
});

test("the open search and the list of keys are accessible @hydrated", async ({ page }) => {
  await page.goto("/");
  await live(page);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
  await accessible(page);
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await page.getByRole("combobox", { name: "Search" }).fill("checkout");
  await expect(page.getByRole("option", { name: /release/ }).first()).toBeVisible();
  await accessible(page);
  await page.getByRole("combobox", { name: "Search" }).fill("nothing is called so");
  await expect(page.getByRole("option")).toHaveCount(0);
  await accessible(page);
});

test("a release's page is accessible to who may only read @hydrated", async ({ browser, demo, contextOptions }) => {
  const page = await viewer(browser, demo, contextOptions);
  await page.goto(PROMOTED);
  await expect(page.getByText("You may read. Commands need the role operator.")).toBeVisible();
  await accessible(page);
  await page.context().close();
});

test("the gallery shows every part in every state, accessible and on every screen", async ({ page, javaScriptEnabled }) => {
  await page.goto("/gallery");
  await expect(page.getByRole("heading", { level: 1 })).toHaveText("Gallery");
  for (const name of ["climbing", "held by a person", "aborted by the judge", "rolled back", "names of 80 characters"]) {
    await expect(page.getByRole("region", { name, exact: true })).toBeVisible();
  }
  // The same parts stand on it many times, each with its own labels: what they are called is judged on their own pages.
  if (javaScriptEnabled !== false) await accessible(page, EVERY_RULE, ["duplicate-id-aria", "landmark-unique"]);
  await fits(page);
});

test("the login page is accessible and fits every screen @hydrated", async ({ stranger }) => {
  await stranger.goto("/login");
  await accessible(stranger);
  await fits(stranger);
});

test("nothing is in motion for who asks for less of it @hydrated", async ({ page }) => {
  await page.emulateMedia({ reducedMotion: "reduce" });
  await page.addInitScript(watchMotion);
  const moving: Record<string, string[]> = {};
  const look = async (where: string) => {
    const motion = await page.evaluate(() => (window as unknown as { motion: Record<string, number> }).motion);
    const seen = Object.entries(motion).filter(([, ms]) => ms > STILL_MS).map(([what, ms]) => `${what}: ${ms} ms`);
    if (seen.length > 0) moving[where] = seen;
  };
  for (const path of PAGES) {
    await page.goto(path);
    await settled(page, path);
    await look(path);
  }
  await page.goto(ABORTED);
  await live(page);
  await page.locator("table.receipts a").first().click();
  await expect(page.getByRole("dialog").getByText("This receipt holds")).toBeVisible();
  await page.keyboard.press("Escape");
  await page.keyboard.press("/");
  await expect(page.getByRole("dialog", { name: "Search" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  for (const link of await page.getByRole("banner").getByRole("link").all()) await link.hover();
  await look("what opens over a release");
  expect(moving).toEqual({});
});

/** A page of somebody who may only read. */
async function viewer(browser: Browser, demo: Deliveryos, contextOptions: BrowserContextOptions): Promise<Page> {
  const { output } = await demo.run("token", "create", "--role", "viewer");
  const token = /dlv_token_\S+/.exec(output)?.[0] ?? "";
  const context = await browser.newContext({ ...contextOptions, baseURL: demo.origin, storageState: { cookies: [], origins: [] }, extraHTTPHeaders: { authorization: `Bearer ${token}` } });
  return context.newPage();
}

/** Keeps the longest time that each animation or transition of the page takes, looking at every frame. */
function watchMotion(): void {
  const motion: Record<string, number> = {};
  Object.assign(window, { motion });
  const look = () => {
    for (const animation of document.getAnimations()) {
      const { target } = animation.effect as KeyframeEffect;
      const name = `${animation.constructor.name} of ${target?.localName}.${target?.getAttribute("class") ?? ""}`;
      motion[name] = Math.max(motion[name] ?? 0, Number(animation.effect?.getComputedTiming().endTime));
    }
    requestAnimationFrame(look);
  };
  look();
}
