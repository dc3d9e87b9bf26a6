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

test("Abort is a plain form @plain", async ({ page, demo }) => {
  const path = await openRolling(page);
  await page.getByText("Abort…").click();
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
