// Lists, search, keys, settings: that they are found, that they work with and without JavaScript, and that no page asks for what it does
// not need.
import type { Page, Request } from "@playwright/test";
import { ABORTED, PROMOTED, live, mark, marked, openEnded } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(240_000);

test.beforeEach(async ({ page }) => {
  await openEnded(page, ABORTED);
});

/** Every request that a page makes until nothing more comes, without the stream and the page itself. */
async function requests(page: Page, path: string): Promise<string[]> {
  // The last page's own requests are none of this one's.
  await page.goto("about:blank");
  const asked: string[] = [];
  const note = (request: Request) => asked.push(`${request.method()} ${new URL(request.url()).pathname}`);
  page.on("request", note);
  await page.goto(path);
  await live(page);
  page.off("request", note);
  const own = [`GET ${path}`, "GET /events"];
  return asked.filter((line) => !own.includes(line)).sort();
}

for (const path of ["/", "/releases", PROMOTED, "/receipts"]) {
  test(`${path} asks for its style, its code and nothing else @hydrated`, async ({ page }) => {
    const asked = await requests(page, path);
    // No call of a server function: everything that the page shows came with it.
    expect(asked.filter((line) => line.startsWith("POST"))).toEqual([]);
    // Each file once.
    expect(new Set(asked).size, asked.join("\n")).toBe(asked.length);
    expect(asked.filter((line) => !/^GET \/pkg\//.test(line))).toEqual([]);
  });
}

test("a press is one call of the server @hydrated", async ({ page }) => {
  await page.goto("/");
  await live(page);
  await mark(page);
  const posts: string[] = [];
  page.on("request", (request) => request.method() === "POST" && posts.push(new URL(request.url()).pathname));
  await page.getByRole("banner").getByRole("link", { name: "Receipts" }).click();
  await expect(page.getByRole("heading", { level: 1, name: "Receipts" })).toBeVisible();
  await expect(page.getByRole("table")).toBeVisible();
  expect(await marked(page), "no page was loaded").toBe(true);
  expect(posts).toEqual(["/api/get_receipts"]);
});

test("a delivery metric opens the rollouts that it was computed from", async ({ page }) => {
  await page.goto("/");
  const tiles = page.getByRole("region", { name: /^Last 30 days/ });
  await expect(tiles.getByRole("link", { name: /^Lead time n\/a/ })).toBeVisible();
  const tile = tiles.getByRole("link", { name: /^Change failure/ });
  const [, k, n] = /(\d+) of (\d+)/.exec((await tile.textContent()) ?? "") ?? [];
  await tile.click();
  await expect(page).toHaveURL(/\/dora\/change-failures$/);
  const rows = page.getByRole("region", { name: /^Computed from/ }).getByRole("row");
  // One more for the head; the demo may have ended another release meanwhile.
  expect(await rows.count()).toBeGreaterThan(Number(n));
  expect(await rows.filter({ hasText: /aborted|rolled back/ }).count()).toBeGreaterThanOrEqual(Number(k));
  await rows.filter({ has: page.locator(`a[href="${ABORTED}"]`) }).getByRole("link").last().click();
  await expect(page.getByText("canary.completed").first()).toBeVisible();
});

test("releases are found by words, digest and state, and ordered", async ({ page }) => {
  await page.goto("/releases");
  const row = (path: string) => page.locator(`tbody a[href="${path}"]`);
  await page.getByLabel("Find").fill("errors");
  await page.getByRole("button", { name: "Filter" }).click();
  await expect(page).toHaveURL(/q=errors/);
  await expect(row(ABORTED)).toBeVisible();
  await expect(row(PROMOTED)).toHaveCount(0);
  await page.getByRole("link", { name: "show all" }).click();
  await page.getByRole("link", { name: "promoted", exact: true }).click();
  await expect(row(PROMOTED)).toBeVisible();
  await expect(row(ABORTED)).toHaveCount(0);
  await page.getByRole("columnheader", { name: "Took" }).getByRole("link").click();
  await expect(page).toHaveURL(/state=promoted&sort=took/);
  await expect(page.getByRole("columnheader", { name: "Took" })).toHaveAttribute("aria-sort", "descending");
  await page.goto("/releases?q=nothing-is-called-so");
  await expect(page.getByText("No release fits.")).toBeVisible();
});

test("what cannot be a filter is said, and the page stays @hydrated", async ({ page, expectedErrors }) => {
  expectedErrors.push(/400/);
  await page.goto("/releases?from=yesterday");
  await expect(page.getByRole("alert")).toContainText("is no time");
  await expect(page.getByRole("heading", { level: 1, name: "Releases" })).toBeVisible();
});

test("the search is a plain form", async ({ page }) => {
  await page.goto("/search");
  await page.getByRole("main").getByRole("searchbox").fill("0");
  await page.getByRole("main").getByRole("button", { name: "Search" }).click();
  await expect(page.getByRole("region", { name: "Receipt" }).getByRole("link", { name: "0" })).toHaveAttribute("href", "/receipts/0");
  await page.goto("/search?q=Receipt%200");
  await expect(page.getByRole("region", { name: "Receipt" }).getByRole("link", { name: "0" })).toHaveAttribute("href", "/receipts/0");
  await page.goto("/search?q=controller");
  await expect(page.getByRole("region", { name: "Somebody" }).getByRole("link", { name: "receipts" })).toHaveAttribute("href", "/receipts?actor=controller");
  await page.goto("/search?q=contro");
  await expect(page.getByRole("region", { name: "Somebody" })).toHaveCount(0);
  // By its whole id: the demo goes on, and of the service's releases only the newest stand here.
  await page.goto(`/search?q=${PROMOTED.split("/").pop()}`);
  await expect(page.getByRole("region", { name: /^Releases/ }).locator(`a[href="${PROMOTED}"]`)).toBeVisible();
});

test("keys lead everywhere @hydrated", async ({ page }) => {
  await page.goto("/");
  await live(page);
  await page.keyboard.press("?");
  await expect(page.getByRole("dialog", { name: "Keys" })).toBeVisible();
  await page.keyboard.press("Escape");
  await expect(page.getByRole("dialog")).toHaveCount(0);
  for (const [key, name] of [["r", "Releases"], ["l", "Receipts"], ["s", "Settings"]] as const) {
    await page.keyboard.press("g");
    await page.keyboard.press(key);
    await expect(page.getByRole("heading", { level: 1, name })).toBeVisible();
  }
  await page.keyboard.press("/");
  const search = page.getByRole("combobox", { name: "Search" });
  await expect(search).toBeFocused();
  await search.fill("checkout");
  await expect(page.getByRole("option", { name: /release/ }).first()).toBeVisible();
  await page.keyboard.press("Enter");
  await expect(page).toHaveURL(/\/releases\/checkout-\d+/);
  await page.keyboard.press("Control+k");
  await search.fill("overv");
  await expect(page.getByRole("option")).toHaveCount(1);
  await page.keyboard.press("Enter");
  await expect(page.getByRole("region", { name: /^Rolling out now/ })).toBeVisible();
});

test("the log is followed on wish @hydrated", async ({ page, demo }) => {
  await page.goto("/receipts?kind=delivery.command.accepted");
  await live(page);
  await page.getByLabel("Follow").check();
  // A token that an administrator makes by the API is a receipt.
  const admin = await demo.run("token", "create", "--role", "admin", "--name", "maker");
  const bearer = admin.output.split("\n").find((line) => line.startsWith("dlv_token_"))!;
  const answer = await page.request.post("/api/v1/tokens", {
    headers: { authorization: `Bearer ${bearer}`, cookie: "" },
    data: { name: "a-tool", role: "viewer", days: 1 },
  });
  expect(answer.status(), await answer.text()).toBe(201);
  await expect(page.getByRole("row").nth(1)).toContainText("maker asked to create token");
});

test("a range of the log holds in the browser @hydrated", async ({ page }) => {
  await page.goto("/receipts");
  await live(page);
  const range = page.getByRole("region", { name: /^Verify a range/ });
  await range.getByLabel("From").fill("0");
  await range.getByRole("button", { name: "Verify" }).click();
  await expect(range.getByRole("status")).toContainText(/^Receipts 0 to [\d,]+ hold/, { timeout: 60_000 });
});

test("a token is made, used and revoked, and a session ended", async ({ page, demo, browser }) => {
  await page.goto("/settings");
  await page.getByLabel("Name").fill("ci");
  await page.getByLabel("Days").fill("7");
  await page.getByRole("button", { name: "Make token" }).click();
  const token = await page.locator("#token").textContent();
  const status = async () => (await fetch(`${demo.origin}/api/v1/releases`, { headers: { authorization: `Bearer ${token}` } })).status;
  expect(await status()).toBe(200);
  await page.getByRole("link", { name: "Settings" }).click();
  const tokens = page.getByRole("region", { name: /^Tokens/ });
  await tokens.getByRole("button", { name: "Revoke that of ci" }).click();
  await expect(page).toHaveURL(/\/settings$/);
  await expect(page.getByRole("button", { name: "Revoke that of ci" })).toHaveCount(0);
  expect(await status()).toBe(401);

  // Somebody else's session, so that this one stays.
  const made = await demo.run("token", "link", "--role", "viewer", "--name", "guest");
  const link = /http\S+/.exec(made.output)![0];
  const context = await browser.newContext({ javaScriptEnabled: false });
  const guest = await context.newPage();
  await guest.goto(link);
  await guest.getByRole("button", { name: "Log in" }).click();
  await guest.goto(`${demo.origin}/settings`);
  await expect(guest.getByRole("heading", { level: 1, name: "Settings" })).toBeVisible();
  await expect(guest.getByRole("button", { name: "Make token" })).toHaveCount(0);
  await guest.getByRole("button", { name: "Log out" }).click();
  await expect(guest).toHaveURL(/\/login/);
  await context.close();
});
