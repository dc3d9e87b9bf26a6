// The states that are not the usual one, as UI.md lists them: each says in one sentence what it is, is legible in both schemes, fits a phone, and
// leaves a picture of each beside the results, so that somebody can look at it.
import type { Locator, Page, TestInfo } from "@playwright/test";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { legible } from "../fixtures/axe";
import { Deliveryos } from "../fixtures/deliveryos";
import { ABORTED, PROMOTED, RELEASE_LIMIT_MS, headline, live, openEnded, until } from "../fixtures/pages";
import { flipByte, verified } from "../fixtures/receipts";
import { QUIET, expect, logIn, test } from "../fixtures/test";

test.setTimeout(RELEASE_LIMIT_MS + 120_000);

const LAPTOP = { width: 1280, height: 900 };
const PHONE = { width: 390, height: 844 };
/** What A4 has between its margins. */
const PAPER = { width: 718, height: 1047 };

/** A configuration that names the demo's service. */
const SERVICE = (listen: string) => `
[services.checkout]
environment = "production"
listen = ["${listen}"]
stable = "v1"
[services.checkout.versions.v1]
url = "http://${listen}"
digest = "sha256:${"00".repeat(32)}"
`;

/** The page as it is now in light and dark and on a phone: `says` stands there, nothing is wider than the screen, and every word is legible. */
async function look(page: Page, name: string, says: Locator, info: TestInfo, scripted = true, narrow = PHONE): Promise<void> {
  for (const [how, colorScheme, viewport] of [["light", "light", LAPTOP], ["dark", "dark", LAPTOP], [narrow.width, "light", narrow]] as const) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    await expect(says, `${name}, ${how}`).toBeVisible();
    expect(await page.evaluate(() => document.documentElement.scrollWidth), `${name}, ${how}: wider than the screen`).toBeLessThanOrEqual(viewport.width);
    // axe is a script. The narrow one has the colours of the light one.
    if (scripted && viewport === LAPTOP) await legible(page);
    const path = info.outputPath(`${name}-${how}${scripted ? "" : "-plain"}.png`);
    await page.screenshot({ path, animations: "disabled" });
    info.attachments.push({ name: `${name}, ${how}`, path, contentType: "image/png" });
  }
  await page.setViewportSize(LAPTOP);
}

test("a first start, with nothing in the log", async ({ stranger: page, javaScriptEnabled }, info) => {
  const dataDir = await mkdtemp(join(tmpdir(), "deliveryos-first-"));
  const server = await Deliveryos.serve(dataDir);
  try {
    await logIn(page, server);
    await page.goto(server.origin);
    await look(page, "first-start", page.getByText("No release yet. Watch one on this machine:"), info, javaScriptEnabled);
    await page.goto(`${server.origin}/releases`);
    await look(page, "no-releases", page.getByText("There is no release yet."), info, javaScriptEnabled);
  } finally {
    await server.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
});

test("one release, held by a person; then its log is damaged, and it is left alone", async ({ stranger: page, javaScriptEnabled, expectedErrors }, info) => {
  // While no server is there.
  expectedErrors.push(/net::ERR_/);
  const reason = "unbelievable";
  let demo = await Deliveryos.start([...QUIET, "--no-history"]);
  try {
    const at = (path: string) => `${demo.origin}${path}`;
    await logIn(page, demo);
    const flying = page.getByRole("region", { name: /^Rolling out now/ }).getByRole("link");
    await until(page, at("/"), () => expect(flying.getByRole("img", { name: "weight 5 %" })).toHaveCount(1, { timeout: 100 }));
    await page.goto(at("/releases"));
    await look(page, "one-release", page.getByText("1 release", { exact: true }), info, javaScriptEnabled);

    const path = (await page.locator("tbody a[href^='/releases/']").first().getAttribute("href")) ?? "";
    const { output } = await demo.run("token", "create", "--role", "operator", "--name", "dana");
    const paused = await demo.run("release", "pause", path.split("/").pop()!, "--reason", reason, "--token", /dlv_token_\S+/.exec(output)![0]);
    expect(paused.code, paused.output).toBe(0);
    const waiting = page.getByRole("region", { name: /^Waits for you/ });
    await until(page, at("/"), () => expect(waiting).toContainText("held", { timeout: 1_000 }));
    await look(page, "held", waiting.getByText(/^held at 5 %/), info, javaScriptEnabled);

    await page.goto(at(path));
    const asked = page.getByRole("row").filter({ hasText: "asked to pause" });
    const receipt = (await asked.getByRole("link").getAttribute("href")) ?? "";
    const entry = await (await page.request.get(at(`${receipt}/dsse`))).body();
    // Its own page is left first: an open stream would report that the server has gone.
    await page.goto("about:blank");
    const config = join(demo.dataDir, "serve.toml");
    demo = await demo.pagesAfter(async () => {
      await flipByte(demo.dataDir, entry, reason);
      await writeFile(config, SERVICE(new URL(demo.traffic).host));
    }, config);
    await page.goto(at(path));
    await look(page, "left-alone", page.getByRole("alert").filter({ hasText: "Not carried on:" }), info, javaScriptEnabled);
    if (javaScriptEnabled !== false) {
      await page.goto(at(receipt));
      await look(page, "receipt-refused", verified(page).getByText("Refused: do not believe this receipt"), info);
    }
  } finally {
    await demo.stop();
  }
});

test("a canary that failed was stopped by the judge, and says by what", async ({ page, javaScriptEnabled }, info) => {
  await openEnded(page, ABORTED);
  await look(page, "aborted", page.getByRole("region", { name: "Clocks of the abort" }).getByText(/Aborted by the judge/), info, javaScriptEnabled);
});

test("releases that are made up: failing, undecided, aborting, rolled back, with a long name", async ({ page, javaScriptEnabled }, info) => {
  await page.goto("/gallery");
  for (const [name, part, says] of [
    ["failing", "canary slower than its limit", /is at \d+ %/],
    ["undecided", "undecided: a person decides", /it waits for a decision/],
    ["aborting", "aborting", /its traffic is being taken away|the canary is being drained/],
    ["rolled-back", "rolled back", /was rolled back to/],
    ["long-name", "names of 80 characters", /^v1\.2\.3-rc\.1\+build\.with\.a\.very\.long\.label/],
  ] as const) {
    // Alone on its page, so that it is what is seen and judged, and soon.
    await page.evaluate((part) => {
      const all = (window as unknown as { parts?: Element[] }).parts ?? [...document.querySelectorAll("section.part")];
      Object.assign(window, { parts: all });
      const room = document.querySelector(".gallery")!;
      for (const one of all) if (one.getAttribute("aria-label") === part) room.append(one); else one.remove();
    }, part);
    await look(page, name, page.getByRole("region", { name: part, exact: true }).locator(".as-h1").filter({ hasText: says }), info, javaScriptEnabled);
  }
});

test("the stream is lost @hydrated", async ({ page, expectedErrors }, info) => {
  expectedErrors.push(/\/events|net::ERR_FAILED/);
  await page.clock.install();
  await page.route("**/events**", (route) => route.abort());
  await openEnded(page, PROMOTED);
  const banner = page.getByRole("banner");
  await expect(banner.getByText(/^reconnecting$/)).toBeVisible();
  await page.clock.fastForward("00:20");
  await expect(page.getByText(/^not live since \d\d:\d\d:\d\d$/)).toBeVisible({ timeout: 60_000 });
  await look(page, "stream-lost", banner.getByText(/^stale since \d\d:\d\d:\d\d$/), info);
});

test("nobody is logged in", async ({ stranger: page, javaScriptEnabled }, info) => {
  await page.goto("/");
  await expect(page).toHaveURL(/\/login/);
  await look(page, "not-logged-in", page.getByText(/deliveryos token link/).first(), info, javaScriptEnabled);
});

test("somebody may only read", async ({ demo, browser, contextOptions, javaScriptEnabled, page: operator }, info) => {
  await openEnded(operator, PROMOTED);
  const { output } = await demo.run("token", "create", "--role", "viewer");
  const extraHTTPHeaders = { authorization: `Bearer ${/dlv_token_\S+/.exec(output)![0]}` };
  const context = await browser.newContext({ ...contextOptions, javaScriptEnabled, baseURL: demo.origin, storageState: { cookies: [], origins: [] }, extraHTTPHeaders });
  const page = await context.newPage();
  await page.goto(PROMOTED);
  await look(page, "viewer", page.getByText("You may read. Commands need the role operator."), info, javaScriptEnabled);
  await context.close();
});

test("what is not measured says so, and why", async ({ page, javaScriptEnabled }, info) => {
  await openEnded(page, PROMOTED);
  await page.goto("/");
  await look(page, "not-measured", page.getByRole("link", { name: /^Lead time n\/a/ }), info, javaScriptEnabled);
});

test("a page without JavaScript says what it cannot do @plain", async ({ page }, info) => {
  await openEnded(page, PROMOTED);
  await look(page, "without-javascript", page.getByText(/this needs JavaScript, or in a terminal/).first(), info, false);
});

test("printed it is the release and its receipts", async ({ page, javaScriptEnabled }, info) => {
  await openEnded(page, ABORTED);
  await page.emulateMedia({ media: "print" });
  await look(page, "printed", headline(page).filter({ hasText: "was aborted after" }), info, javaScriptEnabled, PAPER);
  for (const pressed of [page.getByRole("navigation", { name: "Pages" }), page.getByRole("button", { name: "Log out" }), page.locator(".find-link")]) await expect(pressed).toBeHidden();
});
