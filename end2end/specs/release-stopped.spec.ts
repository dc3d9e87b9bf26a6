import type { Page } from "@playwright/test";
import { ABORTED, RELEASE_LIMIT_MS, headline, live, mark, marked, openEnded, openRolling, receipts, until } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(2 * RELEASE_LIMIT_MS);

/** Requests that are sent through the splitter: at any weight above 0 one of a hundred would reach the canary. */
const REQUESTS = 100;

/** Versions that answer now. */
async function answering(traffic: string): Promise<Set<string | null>> {
  const versions = new Set<string | null>();
  for (let i = 0; i < REQUESTS; i += 1) {
    const answer = await fetch(traffic);
    await answer.arrayBuffer();
    versions.add(answer.headers.get("x-version"));
  }
  return versions;
}

/** What the page says after an abort by a person. */
async function stopped(page: Page, path: string, reason: string, look: (look: () => Promise<void>) => Promise<void>): Promise<void> {
  const clocks = page.getByRole("region", { name: "Clocks of the abort" });
  await look(() => expect(headline(page)).toHaveText(/^v\d+ was aborted after/, { timeout: 1_000 }));
  await expect(clocks).toContainText("Aborted by admin");
  await expect(clocks).toContainText(reason);
  // Each clock has stopped at a measured time.
  for (const name of ["to 0 %", "to the last request", "0 % to drained"]) {
    await expect(clocks.getByRole("listitem").filter({ hasText: name }).first()).toContainText(/[\d.]+ (ms|s)|none followed/);
  }
  await expect(clocks.locator("li.running")).toHaveCount(0);
  await expect(receipts(page).filter({ hasText: "→ 0 %" })).toHaveCount(1);
  await expect(receipts(page).filter({ hasText: reason })).not.toHaveCount(0);
  // What is over cannot be aborted again.
  await expect(page.getByText("Abort…")).toHaveCount(0);
  await page.goto("/");
  await expect(page.getByRole("row").filter({ has: page.locator(`a[href="${path}"]`) })).toContainText("aborted");
}

test("a opens the abort dialog, Escape leaves, Enter aborts and the clocks stop, without loading again @hydrated", async ({ page, demo }) => {
  const path = await openRolling(page);
  await live(page);
  await mark(page);
  const reason = page.getByLabel(/^Reason/).and(page.locator(":visible"));
  await expect(reason).toHaveCount(0);
  await page.keyboard.press("a");
  await expect(reason).toBeFocused();
  // In the field it is a letter.
  await page.keyboard.press("a");
  await expect(reason).toHaveValue("a");
  await page.keyboard.press("Escape");
  await expect(reason).toHaveCount(0);
  await expect(headline(page)).toContainText("is at");
  await expect(receipts(page).filter({ hasText: "asked to abort" })).toHaveCount(0);

  await page.keyboard.press("a");
  await reason.fill("stopped at the keyboard");
  await page.keyboard.press("Enter");
  await expect(headline(page)).toContainText("aborted");
  expect([...(await answering(demo.traffic))], "one version answers").toHaveLength(1);
  await expect(page.getByText(/abort accepted, receipt \d+/)).toBeVisible();
  await expect(headline(page)).toHaveText(/^v\d+ was aborted after/, { timeout: RELEASE_LIMIT_MS });
  expect(await marked(page), "the page was loaded once").toBe(true);
  await stopped(page, path, "stopped at the keyboard", (look) => look());
});

test("a dialog stays while somebody types in it, and says that the release has ended meanwhile @hydrated", async ({ page, demo }) => {
  const path = await openRolling(page);
  const { output } = await demo.run("token", "create", "--role", "operator", "--name", "meanwhile");
  await live(page);
  const reason = page.getByLabel(/^Reason/).and(page.locator(":visible"));
  const dialog = page.getByRole("group", { name: "Abort", exact: true });
  await page.keyboard.press("a");
  await reason.fill("payments fa");
  const { y } = (await reason.boundingBox())!;
  const stop = ["release", "abort", path.split("/").pop()!, "--reason", "stopped from elsewhere", "--token", /dlv_token_\S+/.exec(output)![0]];
  expect((await demo.run(...stop)).code).toBe(0);
  await expect(dialog.getByRole("alert")).toHaveText(/^Ended at \d\d:\d\d:\d\d: v\d+ was aborted after .+\.$/, { timeout: RELEASE_LIMIT_MS });
  expect((await reason.boundingBox())!.y, "nothing in it moves").toBe(y);
  await expect(reason).toBeFocused();
  await page.keyboard.type("il");
  await page.keyboard.press("Enter");
  await expect(reason, "what was typed stays, and nothing is added or sent").toHaveValue("payments fa");
  await expect(dialog.getByRole("button", { name: "Abort now" })).toBeDisabled();
  // On a phone too it lies over everything.
  await page.setViewportSize({ width: 390, height: 844 });
  await dialog.getByRole("button", { name: "Cancel" }).click({ trial: true });
  await page.keyboard.press("Escape");
  await expect(dialog).toHaveCount(0);
  await expect(page.getByText("Abort…")).toHaveCount(0);
  await expect(headline(page)).toBeFocused();
  await expect(receipts(page).filter({ hasText: "asked to abort" })).toHaveCount(1);
});

test("promoted in full, the page says by whom and what comes next, and plans no steps @hydrated", async ({ page }) => {
  await openRolling(page, /^weight 5 %$/);
  await live(page);
  const plan = page.locator(".timeline .tl-plan");
  await expect(plan).toHaveCount(1);
  // What is said on the way, each sentence once.
  await page.evaluate(() => {
    const said: string[] = [];
    Object.assign(window, { said });
    const look = () => {
      const now = `${document.querySelector("h1")?.textContent} | ${document.querySelector(".stage")?.textContent} | ${document.querySelectorAll(".timeline .tl-plan").length}`;
      if (said.at(-1) !== now) said.push(now);
    };
    new MutationObserver(look).observe(document.querySelector(".release")!, { subtree: true, childList: true, characterData: true });
  });
  await page.getByRole("button", { name: "Promote full…" }).click();
  await page.getByLabel(/^Reason/).and(page.locator(":visible")).press("Enter");
  await expect(headline(page)).toHaveText(/is stable after .*, promoted in full by admin$/, { timeout: RELEASE_LIMIT_MS });
  const said: string[] = await page.evaluate(() => (window as unknown as { said: string[] }).said);
  const after = said.slice(said.findIndex((now) => now.includes("promoted in full by admin")));
  expect(after.filter((now) => /stage \d|next in|no regression/.test(now)), said.join("\n")).toEqual([]);
  // The two moments may come within one frame: what is drawn of the first one is this.
  expect(after.filter((now) => now.includes("at 100 %") && !/at 100 %, promoted in full by admin \| steps skipped, it becomes stable next \| 0/.test(now)), said.join("\n")).toEqual([]);
  expect(after.join("\n")).toMatch(/stable, promoted in full by admin \| the version before is stopped next \| 0/);
  await expect(plan).toHaveCount(0);
});

test("Abort is a button to the keyboard and to readers of the screen @hydrated", async ({ page }) => {
  await openRolling(page);
  await live(page);
  const abort = page.getByRole("button", { name: "Abort…" });
  const reason = page.getByLabel(/^Reason/).and(page.locator(":visible"));
  await expect(abort).toHaveAttribute("aria-expanded", "false");
  await abort.focus();
  for (const key of ["Enter", " "]) {
    await page.keyboard.press(key);
    await expect(reason).toBeFocused();
    await expect(abort).toHaveAttribute("aria-expanded", "true");
    // A second brings a new clock, and what was opened stays open and says so.
    await expect(page.locator(".stage")).not.toHaveText((await page.locator(".stage").textContent()) ?? "");
    await expect(abort).toHaveAttribute("aria-expanded", "true");
    await page.keyboard.press("Escape");
    await expect(reason).toHaveCount(0);
    await expect(abort).toHaveAttribute("aria-expanded", "false");
    await expect(abort).toBeFocused();
  }
});

test("a command is found by its name, and given at its button only @hydrated", async ({ page }) => {
  await openRolling(page);
  await live(page);
  const search = page.getByRole("combobox", { name: "Search" });
  const found = page.getByRole("option", { name: /^command/ });
  for (const [key, text, name] of [["/", "pause", "Pause"], ["Control+k", "promote", "Promote"]] as const) {
    await page.keyboard.press(key);
    await search.fill(text);
    await expect(found.first()).toContainText(name);
    await page.keyboard.press("Enter");
    await expect(page.getByRole("dialog", { name: "Search" })).toHaveCount(0);
    await expect(page.getByRole("button", { name: new RegExp(`^${name}( to \\d+ %)?$`) })).toBeFocused();
  }
  await page.keyboard.press("/");
  await search.fill("a");
  await expect(found.first(), "what is called so comes first").toContainText("Abort");
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog", { name: "Search" }), "once, also when something is typed").toHaveCount(0);
  await page.keyboard.press("/");
  await search.fill("stop");
  await expect(found).toHaveCount(1);
  await search.fill("abort");
  await expect(found).toContainText("Abort");
  await page.keyboard.press("Enter");
  await expect(page.getByLabel(/^Reason/).and(page.locator(":visible"))).toBeFocused();
  await page.getByRole("button", { name: "Promote full…" }).click();
  await expect(page.locator("details.ask[open]"), "one dialog at a time").toHaveCount(1);
  await expect(page.locator("details.ask.promote-full")).toHaveAttribute("open", "");
  await expect(page.getByRole("button", { name: "Abort…" })).toHaveAttribute("aria-expanded", "false");
  // Nothing was given by any of this.
  await expect(receipts(page).filter({ hasText: /asked to (pause|promote|abort)/ })).toHaveCount(0);
});

test("Abort is a plain form @plain", async ({ page, demo }) => {
  const path = await openRolling(page);
  await page.getByRole("button", { name: "Abort…" }).click();
  const reason = page.getByLabel(/^Reason/).and(page.locator(":visible"));
  await reason.fill("stopped without a script");
  await reason.press("Enter");
  await expect(page).toHaveURL(/command=abort&accepted=\d+$/);
  await expect(page.getByRole("alert")).toContainText("Abort: accepted, receipt");
  await until(page, path, () => expect(headline(page)).toContainText("aborted", { timeout: 100 }), 30_000);
  expect([...(await answering(demo.traffic))], "one version answers").toHaveLength(1);
  await stopped(page, path, "stopped without a script", (look) => until(page, path, look));
});

test("a version that fails was aborted by the judge", async ({ page }) => {
  await openEnded(page, ABORTED);
  await expect(headline(page)).toContainText("was aborted after");
  const clocks = page.getByRole("region", { name: "Clocks of the abort" });
  await expect(clocks).toContainText("Aborted by the judge");
  await expect(clocks).toContainText("5xx");
  await expect(receipts(page).filter({ hasText: "Analysis failed" })).not.toHaveCount(0);
});
