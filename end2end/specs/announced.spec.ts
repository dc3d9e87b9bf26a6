// What a screen reader says by itself: each verdict and each turn of the release that is read, once.
import type { Page } from "@playwright/test";
import { PROMOTED, RELEASE_LIMIT_MS, headline, live, openRolling } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(3 * RELEASE_LIMIT_MS);

/** Kinds of receipts that are a verdict or a turn: these are announced, samples are not. */
const TURNS = ["canary.started", "canary.paused", "canary.resumed", "canary.promoted", "canary.aborted", "canary.completed", "analysis.passed", "analysis.failed", "analysis.inconclusive", "analysis.error", "rollback.executed", "command.refused"];

type Told = { index: number; payload: { kind: string; release: string } };

/** From now on keeps what the page's voice says, and the receipts that arrive. */
async function listen(page: Page): Promise<void> {
  await page.addInitScript(() => {
    const said: string[] = [];
    const told: Told[] = [];
    Object.assign(window, { said, told });
    type Told = { index: number };
    const Source = window.EventSource;
    // The page's own stream, not a second one: what it was not told it cannot say.
    window.EventSource = class extends Source {
      constructor(url: string | URL) {
        super(url);
        this.addEventListener("receipt", (event) => void told.push(JSON.parse((event as MessageEvent<string>).data) as Told));
      }
    };
    addEventListener("DOMContentLoaded", () => {
      const voice = document.querySelector("[role=log][aria-live=polite]")!;
      const hear = (nodes: Iterable<Node>) => {
        for (const node of nodes) if (node.textContent?.trim()) said.push(node.textContent);
      };
      hear(voice.children);
      // What is added is read out, and what would be changed.
      new MutationObserver((changes) => {
        for (const change of changes) hear(change.type === "childList" ? change.addedNodes : [change.target]);
      }).observe(voice, { subtree: true, childList: true, characterData: true });
    });
  });
}

async function heard(page: Page): Promise<{ said: string[]; told: Told[] }> {
  return page.evaluate(() => ({ said: (window as unknown as { said: string[] }).said, told: (window as unknown as { told: Told[] }).told }));
}

/** The turns among receipts. */
function turns(told: Told[]): Told[] {
  return told.filter(({ payload }) => TURNS.some((kind) => payload.kind === `delivery.${kind}`));
}

test("each turn and verdict of the release that is read is announced once, and nothing else @hydrated", async ({ page }) => {
  const path = await openRolling(page, /^weight 5 %$/);
  await listen(page);
  await page.goto(path);
  await live(page);
  await page.getByRole("button", { name: "Pause" }).click();
  await expect(headline(page)).toContainText(/held at \d+ % by /);
  await page.getByRole("button", { name: "Resume" }).click();
  await expect(headline(page)).not.toContainText("held at");
  await page.keyboard.press("a");
  await page.getByLabel(/^Reason/).and(page.locator(":visible")).fill("stopped to be heard");
  await page.keyboard.press("Enter");
  await expect(headline(page)).toContainText("was aborted after", { timeout: RELEASE_LIMIT_MS });
  await expect.poll(async () => (await heard(page)).said.at(-1)).toMatch(/^Rollout ended aborted after /);

  const { said, told } = await heard(page);
  const own = turns(told).filter(({ payload }) => payload.release === path.split("/").pop());
  expect(said, JSON.stringify(own.map(({ payload }) => payload.kind))).toHaveLength(own.length);
  for (const [words, times] of [[/^admin holds it at \d+ %/, 1], [/^Hold lifted after /, 1], [/^Aborted at \d+ % by admin: .*stopped to be heard/, 1], [/^Rollout ended aborted after /, 1]] as const) {
    expect(said.filter((one) => words.test(one)), said.join("\n")).toHaveLength(times);
  }
  expect(new Set(said).size, "no sentence twice").toBe(said.length);
});

test("on a release's page nothing of another release is announced, and elsewhere only with its name @hydrated", async ({ page, context }) => {
  const path = await openRolling(page, /^weight 5 %$/);
  const id = path.split("/").pop()!;
  const overview = await context.newPage();
  for (const [at, tab] of [[PROMOTED, page], ["/", overview]] as const) {
    await listen(tab);
    await tab.goto(at);
    await live(tab);
  }
  // It goes on to the next weight, which both pages are told.
  for (const tab of [page, overview]) {
    await expect.poll(async () => turns((await heard(tab)).told).length, { timeout: RELEASE_LIMIT_MS }).toBeGreaterThan(1);
  }
  expect((await heard(page)).said).toEqual([]);
  const { said } = await heard(overview);
  expect(said.length).toBeGreaterThan(1);
  expect(said.filter((one) => !one.startsWith(`${id}: `))).toEqual([]);
});
