// On a phone everything is in reach of a finger, whole, and says where it goes on.
import type { Page } from "@playwright/test";
import { ABORTED, PROMOTED, RELEASE_LIMIT_MS, headline, live, openEnded, openRolling, until } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(2 * RELEASE_LIMIT_MS);

const PAGES = ["/", "/releases", PROMOTED, ABORTED, `${ABORTED}?receipt=0`, "/receipts", "/receipts/0", "/dora/change-failures", "/settings", "/search?q=checkout", "/login"];
/** What a finger needs. */
const FINGER_PX = 40;

/** What is pressed and not high enough. Drawings are left out, because everything on them is a link in a table too, and links amid a sentence. */
function small(page: Page): Promise<string[]> {
  return page.evaluate((least) => {
    const all = [...document.querySelectorAll<HTMLElement>("a[href], button, summary, input, select")];
    const pressed = all.filter((e) => e.checkVisibility({ visibilityProperty: true }) && !e.closest("svg, .sr, .skip, p:not(.pager):not(.tail), .said, .bytes") && e.getAttribute("type") !== "hidden");
    // A box to tick is pressed by its label.
    const height = (e: HTMLElement) => (e.matches("[type=checkbox]") ? (e.closest("label") ?? e) : e).getBoundingClientRect().height;
    const low = pressed.filter((e) => height(e) < least);
    return low.map((e) => `${e.localName}.${e.className} in ${e.parentElement?.localName}.${e.parentElement?.className}: ${height(e)} px, "${(e.textContent ?? "").trim().slice(0, 30)}"`);
  }, FINGER_PX);
}

/** The buttons of a release that are not whole on the screen, or lie under something. */
function hidden(page: Page): Promise<string[]> {
  return page.evaluate(() => {
    const all = [...document.querySelectorAll<HTMLElement>(".buttons > form > button, .buttons > details > summary")];
    const whole = (e: HTMLElement) => {
      const at = e.getBoundingClientRect();
      const inside = at.left >= 0 && at.top >= 0 && at.right <= innerWidth && at.bottom <= innerHeight;
      const corners = [[at.left + 4, at.top + 4], [at.right - 4, at.bottom - 4]] as const;
      return inside && e.scrollWidth <= e.clientWidth && corners.every(([x, y]) => e.contains(document.elementFromPoint(x, y)));
    };
    return all.filter((e) => !whole(e)).map((e) => e.textContent ?? "");
  });
}

test("what is pressed is as high as a finger needs", async ({ page }) => {
  await openEnded(page, ABORTED);
  await page.setViewportSize({ width: 390, height: 844 });
  const low: Record<string, string[]> = {};
  for (const path of PAGES) {
    await page.goto(path);
    await expect(page.getByRole("heading", { level: 1 })).toHaveCount(1);
    const seen = await small(page);
    if (seen.length > 0) low[path] = seen;
  }
  expect(low).toEqual({});
});

test("every button of a held release is whole and in reach, and lanes keep their names", async ({ page, javaScriptEnabled }) => {
  const path = await openRolling(page);
  await page.getByRole("button", { name: "Pause" }).click();
  await until(page, path, () => expect(page.getByRole("button", { name: "Resume" })).toBeVisible({ timeout: 1_000 }));
  // Lanes have values once the canary has answered.
  const burn = page.locator(".timeline .tl-names .tl-axis").filter({ hasText: "14.4" });
  await until(page, path, () => expect(burn).toHaveCount(1, { timeout: 1_000 }));
  for (const width of [390, 320]) {
    await page.setViewportSize({ width, height: 700 });
    await page.goto(path);
    if (javaScriptEnabled !== false) await live(page);
    await expect(burn).toHaveCount(1);
    expect(await page.locator(".buttons > *").count()).toBeGreaterThanOrEqual(4);
    expect(await hidden(page), `${width} px`).toEqual([]);
    expect(await small(page), `${width} px`).toEqual([]);
    await page.mouse.wheel(0, 100_000);
    await expect.poll(() => hidden(page), `${width} px, at the page's end`).toEqual([]);
    // The dialog stands above the buttons, in sight as a whole.
    await page.getByRole("button", { name: "Abort…" }).click();
    const dialog = page.getByRole("group", { name: "Abort", exact: true });
    await expect(dialog).toBeInViewport({ ratio: 1 });
    expect(await hidden(page), `${width} px, dialog open`).toEqual([]);
    await page.getByRole("button", { name: "Abort…" }).click();
    await expect(dialog).toBeHidden();
    // However the drawing is scrolled, each lane says what it is.
    const names = page.locator(".timeline .tl-names text.tl-lane");
    await expect(names).toHaveText(["Weight", "p99", "5xx", "Budget", "Flags", "People", "Verdicts", "Receipts"]);
    for (const x of [0, 300]) {
      await page.locator(".timeline .tl-scroll").evaluate((scroll, x) => void (scroll.scrollLeft = x), x);
      const left = await names.evaluateAll((all) => all.map((name) => name.getBoundingClientRect()).map((at) => at.left >= 0 && at.right <= innerWidth));
      expect(left, `${width} px, scrolled by ${x}`).not.toContain(false);
    }
    // And its values, none over another or over a name.
    const words = await page.locator(".timeline .tl-names text:visible").evaluateAll((all) => all.map((word) => ({ said: word.textContent, value: word.matches(".tl-axis"), at: word.getBoundingClientRect() })));
    expect(words.filter((word) => word.value).map((word) => word.said), `${width} px`).toEqual(expect.arrayContaining(["0", "100", "0 %", "1 %", "14.4"]));
    const over = words.flatMap((a, i) => words.slice(i + 1).filter((b) => a.at.left < b.at.right && b.at.left < a.at.right && a.at.top + 2 < b.at.bottom && b.at.top + 2 < a.at.bottom).map((b) => `${a.said} over ${b.said}`));
    expect(over, `${width} px`).toEqual([]);
  }
  await page.getByRole("button", { name: "Abort…" }).click();
  await page.getByLabel(/^Reason/).and(page.locator(":visible")).press("Enter");
  await until(page, path, () => expect(headline(page)).toContainText("was aborted", { timeout: 1_000 }));
});

test("what is wider than the screen says so at its edge", async ({ page }) => {
  await openEnded(page, ABORTED);
  await page.setViewportSize({ width: 390, height: 844 });
  for (const path of ["/", "/receipts", PROMOTED]) {
    await page.goto(path);
    const wide = await page.locator(".wide, .tl-scroll").evaluateAll((all) => all.filter((e) => e.scrollWidth > e.clientWidth).map((e) => getComputedStyle(e).backgroundImage.split("gradient").length - 1));
    expect(wide.length, path).toBeGreaterThan(0);
    expect(new Set(wide), path).toEqual(new Set([4]));
  }
});

test("a stage is read without a swipe", async ({ page }) => {
  await openEnded(page, PROMOTED);
  await page.setViewportSize({ width: 390, height: 844 });
  await page.goto(PROMOTED);
  const stages = page.locator(".stages .wide");
  expect(await stages.evaluate((e) => e.scrollWidth - e.clientWidth)).toBe(0);
  // What decides stands in one line, the rest below it.
  const line = (row: number) => stages.getByRole("row").nth(row).getByRole("cell").evaluateAll((cells) => cells.map((cell) => Math.round(cell.getBoundingClientRect().top)));
  for (let row = 1; row < (await stages.getByRole("row").count()); row += 1) {
    const [weight, from, took, requests, errors, canary, stable, verdict] = await line(row);
    expect(new Set([weight, canary, stable, verdict]).size, `stage ${row}`).toBe(1);
    expect(new Set([from, took, requests, errors]).size, `stage ${row}`).toBe(1);
    expect(from, `stage ${row}`).toBeGreaterThan(weight!);
  }
});
