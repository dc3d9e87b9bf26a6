// Lists and cards: what is found is what was asked for, and every value is the one that was signed.
import type { APIRequestContext, Locator, Page } from "@playwright/test";
import { createPublicKey, verify } from "node:crypto";
import { ABORTED, PROMOTED, live, openEnded } from "../fixtures/pages";
import { expect, test } from "../fixtures/test";

test.setTimeout(240_000);

type Envelope = { payload: string; payloadType: string; signatures: { sig: string }[] };
type Row = { id: string; actor: string; version: string; exposed: number; started: string; ended: string; phase: Record<string, string | null>; worst: string | null; joules: { joules: number; modelled: boolean } };
type Written = { index: number; payload: { kind: string } };
type View = { row: Row; receipts: Written[] };
type Second = { canary: { n: number } | null; stable: { n: number } };

/** A release as the API has it. */
async function view(request: APIRequestContext, path: string): Promise<View> {
  return (await (await request.get(`/api/v1${path}`)).json()) as View;
}

/** The last receipt of a kind. */
function last({ receipts }: View, kind: string): Written {
  const found = receipts.filter(({ payload }) => payload.kind === `delivery.${kind}`).at(-1);
  if (!found) throw new Error(`no receipt ${kind}`);
  return found;
}

/** What was signed as the receipt at an index. */
async function signed(request: APIRequestContext, index: number): Promise<Record<string, unknown>> {
  const envelope = (await (await request.get(`/receipts/${index}/dsse`)).json()) as Envelope;
  return JSON.parse(Buffer.from(envelope.payload, "base64").toString()) as Record<string, unknown>;
}

/** A list of terms as what stands beside each. */
async function terms(card: Locator): Promise<Record<string, string>> {
  const pairs = await card.locator("dl").first().evaluate((list) => [...list.querySelectorAll("dt")].map((dt) => [dt.textContent ?? "", dt.nextElementSibling?.textContent ?? ""]));
  return Object.fromEntries(pairs) as Record<string, string>;
}

function count(n: number): string {
  return n.toLocaleString("en-US");
}

/** A release's seconds as the server has them. */
async function seconds(page: Page, path: string): Promise<Second[]> {
  const body = { release: path.split("/").pop()!, from: "2020-01-01T00:00:00.000Z", to: "2100-01-01T00:00:00.000Z" };
  return page.evaluate(async (body) => (await fetch("/api/get_ticks", { method: "POST", body: new URLSearchParams(body) })).json() as Promise<Second[]>, body);
}

/** As if an earlier visit had kept this head of the log. */
async function kept(page: Page, head: { size?: number; root?: string }): Promise<void> {
  await page.evaluate((head) => {
    const before = JSON.parse(localStorage.getItem("deliveryos.log.head") ?? "{}") as object;
    localStorage.setItem("deliveryos.log.head", JSON.stringify({ ...before, ...head }));
  }, head);
  await page.reload();
  await live(page);
}

/** Longer than the log, and a part of another log. */
const LONGER = { size: 1_000_000 };
const OTHER = { size: 2, root: "00".repeat(32) };

test.beforeEach(async ({ page }) => {
  await openEnded(page, ABORTED);
});

test("a release is found by its digest, whole and by its first digits, and no other", async ({ page }) => {
  const digest = (await page.locator(".facts button[data-copy]").getAttribute("data-copy")) ?? "";
  expect(digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  for (const asked of [digest, digest.slice(0, "sha256:".length + 12), digest.slice("sha256:".length, "sha256:".length + 12)]) {
    await page.goto("/releases");
    await page.getByLabel("Find").fill(asked);
    await page.getByRole("button", { name: "Filter" }).click();
    await expect(page.getByText("1 release", { exact: true })).toBeVisible();
    await expect(page.locator("tbody tr")).toHaveCount(1);
    await expect(page.locator(`tbody a[href="${ABORTED}"]`)).toBeVisible();
  }
});

test("the rows that do not fit on a page come at a press, each once @hydrated", async ({ page }) => {
  // A demo has fewer releases than a page: what the server answers is cut to one row, and the rest is asked for from there.
  let asked = 0;
  await page.route("**/api/get_releases", async (route) => {
    asked += 1;
    const answer = await route.fetch();
    if (asked > 1) return route.fulfill({ response: answer });
    const list = (await answer.json()) as { rows: { id: string; started: string }[]; next: string | null };
    const [first] = list.rows;
    await route.fulfill({ response: answer, json: { ...list, rows: [first], next: `${Date.parse(first!.started)}~${first!.id}` } });
  });
  await page.goto("/receipts");
  await live(page);
  // So low that the end of the list is below it.
  await page.setViewportSize({ width: 1280, height: 150 });
  await page.getByRole("banner").getByRole("link", { name: "Releases" }).click();
  const row = page.locator("tbody tr");
  await expect(row).toHaveCount(1);
  await page.getByRole("link", { name: "more", exact: true }).click();
  await expect(page.locator(`tbody a[href="${PROMOTED}"]`)).toBeVisible();
  await expect(page.getByRole("link", { name: "more", exact: true })).toHaveCount(0);
  const paths = await row.locator("a").evaluateAll((links) => links.map((link) => link.getAttribute("href")));
  const rows = (await (await page.request.get("/api/v1/releases?limit=200")).json()) as Row[];
  expect(paths).toEqual(rows.map(({ id }) => `/releases/${id}`));
  expect(asked, "one call for one press").toBe(2);
});

test("the rollback envelope says what was signed", async ({ page }) => {
  await page.goto(PROMOTED);
  const card = page.getByRole("region", { name: /^If it goes wrong/ });
  const armed = last(await view(page.request, PROMOTED), "rollback.armed");
  await expect(card.getByRole("link", { name: `armed, receipt ${count(armed.index)}` })).toHaveAttribute("href", `/receipts/${armed.index}`);
  const facts = await signed(page.request, armed.index);
  const says = await terms(card);
  const image = String(facts.previous_image);
  const short = `${image.slice(0, 11)}…${image.slice(-4)}`;
  expect(says["Back to"]).toBe(`${String(facts.previous_version)} ${short}`);
  await expect(card.locator("button[data-copy]")).toHaveAttribute("data-copy", image);
  expect(says.Migration).toBe(facts.down_migration);
  expect(says["Flags off"]).toBe((facts.flags_off as string[]).join(", ") || "none");
  expect(says["In order"]).toBe((facts.acts as string[]).join(", "));
  const rto = Number(facts.rto_s);
  expect(says.Target).toBe(`recovered within ${Math.floor(rto / 60)} m ${String(rto % 60).padStart(2, "0")} s`);
});

test("who has it is what the seconds add up to, and leads to the receipt that shared it out so", async ({ page }) => {
  for (const [path, said, by] of [[PROMOTED, /^everybody$/, "stepped"], [ABORTED, /^nobody: every request goes to v\d+$/, "aborted"]] as const) {
    // The seconds are written down some seconds after they were counted.
    await expect(async () => {
      await page.goto(path);
      const all = await seconds(page, path);
      const canary = all.reduce((sum, { canary }) => sum + (canary?.n ?? 0), 0);
      const sum = canary + all.reduce((sum, { stable }) => sum + stable.n, 0);
      const says = await terms(page.getByRole("region", { name: /^Who has it/ }));
      const until = Object.keys(says).find((term) => /^Until \d\d:\d\d:\d\d$/.test(term)) ?? "";
      expect(canary).toBeGreaterThan(0);
      // What it served once it was stable, until its release ended, is of its requests too: receipts say how many in all.
      const { exposed } = (await view(page.request, path)).row;
      expect(canary, "no more than were counted at the data plane").toBeLessThanOrEqual(exposed);
      expect(says[until]).toMatch(new RegExp(`^${count(exposed)} of ${count(Math.max(sum, exposed))} requests, [\\d.]+ %$`));
    }).toPass({ timeout: 20_000 });
    const link = page.getByRole("region", { name: /^Who has it/ }).getByRole("link").first();
    await expect(link).toHaveText(said);
    const facts = await signed(page.request, Number(((await link.getAttribute("href")) ?? "").split("/").pop()));
    expect(facts.kind).toBe(`delivery.canary.${by}`);
    if (by === "stepped") expect(facts.weight).toBe(100);
  }
});

test("a release beside the one before says of both what the log says", async ({ page }) => {
  await page.goto(ABORTED);
  const card = page.getByRole("region", { name: "Beside the release before" });
  await expect(card.getByRole("link")).toHaveAttribute("href", PROMOTED);
  const joules = ({ joules: { joules: j, modelled } }: Row) => {
    const [value, unit] = j < 1e-3 ? [j * 1e6, "µJ"] : j < 1 ? [j * 1e3, "mJ"] : [j, "J"];
    return `${modelled ? "≈ " : ""}${value < 10 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
  };
  const took = ({ started, ended }: Row) => {
    const ms = Date.parse(ended) - Date.parse(started);
    return ms < 10_000 ? `${Math.floor(ms / 1000)}.${Math.floor((ms % 1000) / 100)} s` : `${Math.floor(ms / 1000)} s`;
  };
  const [self, that] = [await view(page.request, ABORTED), await view(page.request, PROMOTED)];
  const columns = await card.getByRole("row").evaluateAll((rows) => rows.slice(1).map((row) => [...row.children].map((cell) => cell.textContent ?? "")));
  const served = async (of: View) => `${count(Number((await signed(page.request, last(of, "canary.completed").index)).exposed))} requests`;
  expect(columns).toEqual([
    ["Outcome", "aborted", "promoted"],
    ["Took", took(self.row), took(that.row)],
    ["Served by the canary", await served(self), await served(that)],
    ["Worst finding", self.row.worst, that.row.worst ?? "none"],
    ["Energy", joules(self.row), joules(that.row)],
    ["Started by", self.row.actor, that.row.actor],
  ]);
});

test("the DSSE envelope is taken away and verified by another program", async ({ page }) => {
  await page.goto("/settings");
  const vkey = (await page.getByText(/^deliveryos\.local\/\w+\+[0-9a-f]{8}\+/).first().textContent()) ?? "";
  // After its kind, which is Ed25519, the 32 bytes of the key.
  const raw = Buffer.from(vkey.slice(vkey.indexOf("+", vkey.indexOf("+") + 1) + 1), "base64").subarray(1);
  const key = createPublicKey({ format: "jwk", key: { kty: "OKP", crv: "Ed25519", x: raw.toString("base64url") } });
  const { index } = last(await view(page.request, PROMOTED), "rollback.armed");
  await page.goto(`/receipts/${index}`);
  const href = (await page.getByRole("link", { name: "DSSE envelope" }).getAttribute("href")) ?? "";
  const envelope = (await (await page.request.get(href)).json()) as Envelope;
  const payload = Buffer.from(envelope.payload, "base64");
  // What DSSE signs: each part with its length before it.
  const signs = (payload: Buffer) => Buffer.concat([Buffer.from(`DSSEv1 ${envelope.payloadType.length} ${envelope.payloadType} ${payload.length} `), payload]);
  const signature = Buffer.from(envelope.signatures[0]!.sig, "base64");
  expect(verify(null, signs(payload), key, signature)).toBe(true);
  expect((JSON.parse(payload.toString()) as { kind: string }).kind).toBe("delivery.rollback.armed");
  payload[payload.length >> 1] = (payload[payload.length >> 1] ?? 0) ^ 1;
  expect(verify(null, signs(payload), key, signature), "one bit of it changed").toBe(false);
});

test("a log that was rolled back, and one that forked, are shown as what they are on a release too @hydrated", async ({ page }) => {
  const check = async () => {
    await page.getByRole("button", { name: /^Check all \d+ here$/ }).click();
    await expect(page.locator(".verify-line .state")).toHaveText(/^\d+ receipts of this release checked in this browser/);
  };
  const refused = page.getByRole("region", { name: /^Receipts/ }).getByRole("alert");
  await live(page);
  await check();
  await expect(page.locator(".verify-line .state")).toHaveClass(/\bok\b/);
  await expect(refused).toHaveCount(0);
  for (const [head, said] of [[LONGER, "The log was rolled back: this browser saw 1,000,000 receipts"], [OTHER, "The log has forked: the 2 receipts that this browser saw"]] as const) {
    await kept(page, head);
    await check();
    await expect(page.locator(".verify-line .state")).toHaveText(/do not believe all of it$/);
    await expect(page.locator(".verify-line .state")).toHaveClass(/\bbad\b/);
    await expect(refused).toContainText(said);
  }
});

test("a log that was rolled back, and one that forked, are shown as what they are on a range too @hydrated", async ({ page }) => {
  await page.goto("/receipts");
  await live(page);
  const range = page.getByRole("region", { name: /^Verify a range/ });
  const check = async () => {
    await range.getByLabel("From").fill("0");
    await range.getByLabel("to", { exact: true }).fill("5");
    await range.getByRole("button", { name: "Verify" }).click();
    await expect(range.getByRole("status")).toBeVisible({ timeout: 60_000 });
  };
  await check();
  await expect(range.getByRole("status")).toHaveText(/^Receipts 0 to \d+ hold/);
  for (const [head, said] of [[LONGER, /^Refused: the log has \d+ receipts, this browser saw 1000000: it was cut off/], [OTHER, /^Refused: the log is another one than this browser saw at 2 receipts/]] as const) {
    await kept(page, head);
    await check();
    await expect(range.getByRole("status")).toHaveText(said);
    await expect(range.getByRole("status")).toHaveClass(/\bbad\b/);
  }
});
