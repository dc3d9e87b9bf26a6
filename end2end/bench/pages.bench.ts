// What the pages cost in a browser: a first visit of each, a release that is drawn, live updates. Every sample goes into one file; what is
// made of them, and what they are held against, stands in `xtask/bench/src/browser.rs`.
//
// `DELIVERYOS_BENCH_DATA` names a data directory that `cargo xtask seed` filled; its newest release is drawn. Live updates are those of a demo.
import { type Browser, type BrowserContextOptions, type Page, expect, test } from "@playwright/test";
import { writeFile } from "node:fs/promises";
import { Deliveryos } from "../fixtures/deliveryos";
import { logIn } from "../fixtures/test";
import { shifts, watchShifts } from "../fixtures/shifts";

/** First visits of each page. */
const VISITS = Number(process.env.DELIVERYOS_BENCH_VISITS ?? 5);
/** How often the release is drawn, from another page and by the zoom's buttons. */
const DRAWN = Number(process.env.DELIVERYOS_BENCH_DRAWN ?? 12);
/** Live updates that are watched. */
const UPDATES = Number(process.env.DELIVERYOS_BENCH_UPDATES ?? 60);

type Visit = { kilobytes: number; paint_ms: number; shift: number; longest_task_ms: number; elements: number };

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

/** What came of it: largest paint, layout shift, long tasks. */
function seen(page: Page): Promise<{ paint: number; shift: number; tasks: number[] }> {
  return page.evaluate(() => (window as unknown as { seen: { paint: number; shift: number; tasks: number[] } }).seen);
}

function awake(page: Page): Promise<unknown> {
  return page.waitForFunction(() => "awake" in document.documentElement.dataset);
}

/** A first visit: the context is new, so nothing is cached, compiled code neither. */
async function visit(browser: Browser, options: BrowserContextOptions, path: string): Promise<Visit> {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  await watched(page);
  let bytes = 0;
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  session.on("Network.loadingFinished", (event) => (bytes += event.encodedDataLength));
  await page.goto(path);
  await awake(page);
  await page.waitForLoadState("load");
  // Two frames: what hydration changes has been laid out, and what was measured has been said.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const { paint, shift, tasks } = await seen(page);
  const elements = await page.evaluate(() => document.querySelectorAll("*").length);
  await context.close();
  return { kilobytes: bytes / 1000, paint_ms: paint, shift, longest_task_ms: Math.max(0, ...tasks), elements };
}

/** From the release's data being here to its drawing being painted, ms, when it is opened from a list. */
async function opened(page: Page, release: string): Promise<number> {
  await page.goto("/releases");
  await awake(page);
  await page.evaluate(() => {
    // The last thing that comes before it can be drawn: the data, or the page's own code.
    const came = () => Math.max(...(performance.getEntriesByType("resource") as PerformanceResourceTiming[]).filter((r) => /get_release$|split_release/.test(r.name)).map((r) => r.responseEnd));
    const drawn = new Promise<number>((done) => {
      const look = new MutationObserver(() => {
        if (!document.querySelector(".tl-chart")) return;
        look.disconnect();
        // It is drawn in the next frame; a message sent in that frame arrives after it was painted.
        requestAnimationFrame(() => {
          const channel = new MessageChannel();
          channel.port1.onmessage = () => done(performance.now() - came());
          channel.port2.postMessage(null);
        });
      });
      look.observe(document.body, { childList: true, subtree: true });
    });
    Object.assign(window, { drawn });
  });
  await page.locator(`tbody a[href="${release}"]`).first().click();
  return page.evaluate(() => (window as unknown as { drawn: Promise<number> }).drawn);
}

/** From a press on a button of the zoom to the painted frame, ms. */
function zoomed(page: Page, closer: boolean): Promise<number> {
  return page.evaluate(async (closer) => {
    const button = document.querySelector<HTMLButtonElement>(closer ? ".tl-zoom button[title^='Closer']" : ".tl-zoom button.all")!;
    const begun = performance.now();
    button.click();
    await new Promise<void>((done) =>
      requestAnimationFrame(() => {
        const channel = new MessageChannel();
        channel.port1.onmessage = () => done();
        channel.port2.postMessage(null);
      }),
    );
    return performance.now() - begun;
  }, closer);
}

test("first visits, and a release drawn", async ({ browser }) => {
  const server = await Deliveryos.serve(process.env.DELIVERYOS_BENCH_DATA!);
  const context = await browser.newContext({ baseURL: server.origin });
  const page = await context.newPage();
  const link = /http\S+/.exec((await server.run("token", "link", "--role", "viewer", "--name", "bench")).output)![0];
  await page.goto(link);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.goto("/releases");
  const release = (await page.locator("tbody a[href^='/releases/']").first().getAttribute("href"))!;
  const options = { baseURL: server.origin, storageState: await context.storageState() };
  const visits: Record<string, Visit[]> = {};
  for (const [name, path] of [["overview", "/"], ["a release", release], ["receipts", "/receipts"], ["releases", "/releases"], ["a receipt", "/receipts/0"], ["settings", "/settings"]] as const) {
    const all: Visit[] = [];
    for (let n = 0; n < VISITS; n += 1) all.push(await visit(browser, options, path));
    visits[name] = all;
  }
  results.visits = visits;

  const draws: number[] = [];
  for (let n = 0; n < DRAWN; n += 1) draws.push(await opened(page, release));
  results.opened_ms = draws;
  await page.goto(release);
  await awake(page);
  const zooms: number[] = [];
  for (let n = 0; n < DRAWN; n += 1) zooms.push(await zoomed(page, n % 2 === 0));
  results.zoomed_ms = zooms;
  await context.close();
  await server.stop();
});

type TraceEvent = { name: string; ph: string; pid: number; tid: number; dur?: number; args: { name?: string } };

/** How long each task of the page's main thread took, ms, the longest first. Chromium names the threads of every process in the trace. */
function mainThreadTasks(trace: TraceEvent[]): number[] {
  const main = new Set(trace.filter((e) => e.name === "thread_name" && e.args.name === "CrRendererMain").map((e) => `${e.pid} ${e.tid}`));
  const tasks = trace.filter((e) => e.ph === "X" && /RunTask$/.test(e.name) && main.has(`${e.pid} ${e.tid}`));
  return tasks.map((e) => (e.dur ?? 0) / 1000).sort((a, b) => b - a);
}

test("live updates", async ({ browser }) => {
  const demo = await Deliveryos.start(["--no-history", "--speed", "1"]);
  const context = await browser.newContext({ baseURL: demo.origin });
  const page = await context.newPage();
  await logIn(page, demo);
  await watched(page);
  await watchShifts(page);
  await page.goto("/");
  const live = page.getByRole("region", { name: /^Rolling out now/ }).locator("a[href^='/releases/']").first();
  await live.waitFor({ timeout: 120_000 });
  const session = await context.newCDPSession(page);
  await session.send("Network.enable");
  let updates = 0;
  session.on("Network.eventSourceMessageReceived", () => (updates += 1));
  await page.goto((await live.getAttribute("href"))!);
  await awake(page);
  await page.getByRole("banner").getByText("live", { exact: true }).waitFor();
  // The first seconds bring what was not there while the page loaded.
  const before = updates;
  await expect.poll(() => updates, { timeout: 30_000 }).toBeGreaterThan(before + 2);
  await page.evaluate(() => void ((window as unknown as { seen: { tasks: number[] } }).seen.tasks.length = 0));
  await browser.startTracing(page, { categories: ["toplevel", "devtools.timeline", "disabled-by-default-devtools.timeline", "__metadata"] });
  const from = updates;
  const begun = Date.now();
  await expect.poll(() => updates, { timeout: 240_000 }).toBeGreaterThanOrEqual(from + UPDATES);
  const seconds = (Date.now() - begun) / 1000;
  const trace = JSON.parse((await browser.stopTracing()).toString()) as { traceEvents: TraceEvent[] };
  const tasks = mainThreadTasks(trace.traceEvents);
  const { tasks: long, shift } = await seen(page);
  results.live = { updates: updates - from, seconds, longest_tasks_ms: tasks.slice(0, 20), tasks: tasks.length, long_tasks_ms: long, shift, shifts: await shifts(page) };
  await context.close();
  await demo.stop();
});

test.afterAll(async () => {
  const out = process.env.DELIVERYOS_BENCH_SAMPLES;
  if (out) await writeFile(out, JSON.stringify(results));
});
