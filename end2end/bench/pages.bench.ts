// What the pages cost in a browser: bytes and time of a first visit, a redrawn timeline, live updates.
//
// `DELIVERYOS_BENCH_DATA` names a data directory that `cargo xtask seed` filled; its newest release is drawn. Live updates are those of a demo.
import { type Page, test } from "@playwright/test";
import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { Deliveryos } from "../fixtures/deliveryos";
import { QUIET, logIn } from "../fixtures/test";

/** Visits of each page; the median counts. */
const VISITS = 5;
/** Redraws of the timeline. */
const REDRAWS = 20;
/** How long live updates are watched. */
const WATCHED_MS = 30_000;

type Visit = { kilobytes: number; paint: number; shift: number; longest: number; nodes: number };

const results: Record<string, unknown> = {};

/** Collects what Chromium measures, from the page's first moment. */
async function watched(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const seen = { paint: 0, shift: 0, tasks: [] as number[] };
    Object.assign(window, { seen });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) seen.paint = entry.startTime;
    }).observe({ type: "largest-contentful-paint", buffered: true });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries() as Array<PerformanceEntry & { value: number; hadRecentInput: boolean }>) {
        if (!entry.hadRecentInput) seen.shift += entry.value;
      }
    }).observe({ type: "layout-shift", buffered: true });
    new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) seen.tasks.push(entry.duration);
    }).observe({ type: "longtask", buffered: true });
  });
}

function awake(page: Page): Promise<unknown> {
  return page.waitForFunction(() => "awake" in document.documentElement.dataset);
}

/** A first visit: nothing is cached. */
async function visit(page: Page, path: string): Promise<Visit> {
  let bytes = 0;
  const session = await page.context().newCDPSession(page);
  await session.send("Network.enable");
  await session.send("Network.clearBrowserCache");
  session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
  await page.goto(path);
  await awake(page);
  await page.waitForLoadState("load");
  // Two frames: what hydration changes has been laid out, and what was measured has been said.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const measured = await page.evaluate(() => {
    const { paint, shift, tasks } = (window as unknown as { seen: { paint: number; shift: number; tasks: number[] } }).seen;
    return { paint, shift, longest: Math.max(0, ...tasks), nodes: document.querySelectorAll("*").length };
  });
  await session.detach();
  return { kilobytes: bytes / 1000, ...measured };
}

function median(values: number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

test("a first visit, and a timeline drawn again", async ({ browser }) => {
  const data = process.env.DELIVERYOS_BENCH_DATA;
  test.skip(!data, "no data directory: cargo xtask bench browser -- --data DIR");
  const server = await Deliveryos.serve(data!);
  const context = await browser.newContext({ baseURL: server.origin });
  const page = await context.newPage();
  const link = /http\S+/.exec((await server.run("token", "link", "--role", "viewer", "--name", "bench")).output)![0];
  await page.goto(link);
  await page.getByRole("button", { name: "Log in" }).click();
  await watched(page);
  await page.goto("/releases");
  const release = (await page.locator("tbody a[href^='/releases/']").first().getAttribute("href"))!;
  console.log("page".padEnd(20), "kB sent".padStart(8), "paint ms".padStart(9), "shift".padStart(7), "longest task ms".padStart(16), "elements".padStart(9));
  const visits: Record<string, Visit> = {};
  for (const [name, path] of [["overview", "/"], ["releases", "/releases"], ["receipts", "/receipts"], ["receipt", "/receipts/0"], ["release", release], ["settings", "/settings"]] as const) {
    const all: Visit[] = [];
    for (let n = 0; n < VISITS; n += 1) all.push(await visit(page, path));
    const of = (value: (visit: Visit) => number) => median(all.map(value));
    const row = { kilobytes: of((v) => v.kilobytes), paint: of((v) => v.paint), shift: Math.max(...all.map((v) => v.shift)), longest: of((v) => v.longest), nodes: of((v) => v.nodes) };
    visits[name] = row;
    console.log(name.padEnd(20), row.kilobytes.toFixed(0).padStart(8), row.paint.toFixed(0).padStart(9), row.shift.toFixed(4).padStart(7), row.longest.toFixed(0).padStart(16), String(row.nodes).padStart(9));
  }
  results.visits = visits;

  await page.goto(release);
  await awake(page);
  const redraws: number[] = [];
  for (let n = 0; n < REDRAWS; n += 1) {
    redraws.push(
      await page.evaluate(async (closer) => {
        const button = document.querySelector<HTMLButtonElement>(closer ? ".tl-zoom button[title^='Closer']" : ".tl-zoom button.all")!;
        const begun = performance.now();
        button.click();
        // What the press changed is drawn in the next frame; a message sent in that frame arrives after it was painted.
        await new Promise<void>((done) =>
          requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => done();
            channel.port2.postMessage(null);
          }),
        );
        return performance.now() - begun;
      }, n % 2 === 0),
    );
  }
  results.redraw = { median_ms: median(redraws), max_ms: Math.max(...redraws) };
  console.log(`timeline drawn again: median ${median(redraws).toFixed(0)} ms, longest ${Math.max(...redraws).toFixed(0)} ms (from the press to the painted frame)`);
  await context.close();
  await server.stop();
});

test("live updates", async ({ browser }) => {
  const demo = await Deliveryos.start(QUIET);
  const context = await browser.newContext({ baseURL: demo.origin });
  const page = await context.newPage();
  await logIn(page, demo);
  await watched(page);
  await page.goto("/");
  await page.locator("a[href^='/releases/']", { hasText: /checkout/ }).first().waitFor();
  const live = page.getByRole("region", { name: /^Rolling out now/ }).locator("a[href^='/releases/']").first();
  await live.waitFor({ timeout: 120_000 });
  await page.goto((await live.getAttribute("href"))!);
  await awake(page);
  await page.evaluate(() => void ((window as unknown as { seen: { tasks: number[] } }).seen.tasks.length = 0));
  await page.evaluate((ms) => new Promise((done) => setTimeout(done, ms)), WATCHED_MS);
  const { tasks, shift } = await page.evaluate(() => (window as unknown as { seen: { tasks: number[]; shift: number } }).seen);
  results.live = { seconds: WATCHED_MS / 1000, tasks_over_50_ms: tasks.length, longest_ms: Math.max(0, ...tasks), shift };
  console.log(`live updates, ${WATCHED_MS / 1000} s: ${tasks.length} tasks longer than 50 ms${tasks.length ? `, the longest ${Math.max(...tasks).toFixed(0)} ms` : ""}; layout shift ${shift.toFixed(4)}`);
  await context.close();
  await demo.stop();
});

test.afterAll(async () => {
  const out = process.env.DELIVERYOS_BENCH_OUT;
  if (!out) return;
  await mkdir(dirname(out), { recursive: true });
  await writeFile(out, JSON.stringify({ benchmark: "browser", result: results }, null, 2) + "\n");
});
