// The server dies without a word and comes back: a page that was open shows afterwards what the log has, each receipt once, each second once.
import type { Page } from "@playwright/test";
import { Deliveryos } from "../fixtures/deliveryos";
import { RELEASE_LIMIT_MS, alongTheAxis, headline, live, mark, marked, receipts } from "../fixtures/pages";
import { QUIET, expect, logIn, test } from "../fixtures/test";

test.setTimeout(3 * RELEASE_LIMIT_MS);

/** Indices of the receipts that the page shows, as it shows them. */
async function shown(page: Page): Promise<number[]> {
  return receipts(page).getByRole("link").evaluateAll((links) => links.map((link) => Number(link.getAttribute("href")?.split("/").pop())));
}

/** Indices of the receipts that the server has of a release, newest first, as the page shows them. */
async function written(page: Page, demo: Deliveryos, path: string): Promise<number[]> {
  const answer = await page.request.get(`${demo.origin}/api/v1${path}`);
  expect(answer.status(), await answer.text()).toBe(200);
  const { receipts } = (await answer.json()) as { receipts: { index: number }[] };
  return receipts.map((receipt) => receipt.index).reverse();
}

/** The seconds of the timeline, by where they are drawn: the points of the line that has a value whenever stable had a request. */
async function seconds(page: Page): Promise<number[]> {
  const all = (await page.locator(".timeline .tl-chart path.tl-stable").evaluateAll((lines) => lines.map((line) => line.getAttribute("d") ?? ""))).map(alongTheAxis);
  // Those of p99 come first, those of failures after: a line that begins further left is the other measure's.
  const next = all.findIndex((line, i) => i > 0 && (line[0] ?? 0) <= (all[i - 1]?.at(-1) ?? 0));
  return all.slice(next).flat();
}

/** What the first spec saw, for the second. */
const seen: { open: number[]; opened: number[] } = { open: [], opened: [] };

test.describe.configure({ mode: "serial" });

test("after kill -9 an open page goes on by itself, without a gap and with nothing twice @hydrated", async ({ stranger: page, expectedErrors }) => {
  // What Chromium says while nobody listens there.
  expectedErrors.push(/net::ERR_/);
  let demo = await Deliveryos.start([...QUIET, "--no-history"]);
  try {
    await logIn(page, demo);
    const flying = page.getByRole("region", { name: /^Rolling out now/ }).getByRole("link");
    const path = (await flying.getAttribute("href", { timeout: RELEASE_LIMIT_MS })) ?? "";
    await flying.click();
    await live(page);
    await mark(page);
    await expect(headline(page)).toContainText("at 25 %", { timeout: RELEASE_LIMIT_MS });
    const before = await shown(page);
    const banner = page.getByRole("banner");

    demo = await demo.killed(async () => {
      await expect(banner.getByText(/^(reconnecting|stale since .*)$/)).toBeVisible({ timeout: 30_000 });
    });
    await expect(banner.getByText("live", { exact: true })).toBeVisible({ timeout: 60_000 });
    // It goes on, and what happens from now on arrives.
    await expect(headline(page)).toHaveText(/(is stable|was aborted) after/, { timeout: RELEASE_LIMIT_MS });
    expect(await marked(page), "the page was loaded once").toBe(true);

    await expect.poll(() => shown(page)).toEqual(await written(page, demo, path));
    const after = await shown(page);
    expect(after.length).toBeGreaterThan(before.length);
    expect(after.slice(-before.length), "what was shown stays").toEqual(before);
    expect(new Set(after).size).toBe(after.length);

    // The seconds without a server are asked for again, some seconds after the stream is back: what a page knows that is opened now, this one knows.
    const other = await page.context().newPage();
    await other.goto(demo.origin + path);
    await live(other);
    seen.opened = await seconds(other);
    expect(seen.opened.length).toBeGreaterThan(10);
    const missing = async () => {
      seen.open = await seconds(page);
      return seen.opened.filter((x) => x >= (seen.open[0] ?? 0) && !seen.open.includes(x));
    };
    await expect.poll(missing, "seconds that the open page has not").toEqual([]);
    expect(seen.open.filter((x, i) => i > 0 && x <= (seen.open[i - 1] ?? 0)), "seconds that are not after the one before").toEqual([]);
    expect(await shown(other)).toEqual(after);
  } finally {
    await demo.stop();
  }
});

// The server keeps the seconds of a release for some seconds before it writes them down; those that it took with it, and those in which it was
// not there, the splitter, which outlived it, tells its successor.
test("after kill -9 no second is lost that was shown @hydrated", async () => {
  expect(seen.open.filter((x) => !seen.opened.includes(x)), "seconds that the server no longer has").toEqual([]);
});
