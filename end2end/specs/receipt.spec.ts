import type { Page } from "@playwright/test";
import { createHash, generateKeyPairSync } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PROMOTED, headline, openEnded, until } from "../fixtures/pages";
import { check, verified } from "../fixtures/receipts";
import { expect, test } from "../fixtures/test";

/** Some key under this name, as signed notes write it. */
function verifyingKey(name: string): string {
  const spki = generateKeyPairSync("ed25519").publicKey.export({ type: "spki", format: "der" });
  const key = Buffer.concat([Buffer.from([1]), spki.subarray(-32)]);
  const id = createHash("sha256").update(`${name}\n`).update(key).digest("hex").slice(0, 8);
  return `${name}+${id}+${key.toString("base64")}`;
}

/** A receipt of the demo's first release. */
async function openArmed(page: Page): Promise<void> {
  await openEnded(page, PROMOTED);
  const row = page.getByRole("row").filter({ hasText: "Rollback armed" });
  await page.goto((await row.getByRole("link").getAttribute("href")) ?? "");
  await expect(headline(page)).toContainText("Rollback armed");
}

test("a receipt is verified in the browser, and the next one against the log seen before @hydrated", async ({ page }) => {
  await openArmed(page);
  await expect(verified(page)).toContainText("This receipt holds");
  for (const name of ["Shown", "Signature", "Inclusion", "Checkpoint"]) await expect(check(page, name), name).toHaveClass(/\bok\b/);
  await expect(verified(page)).toContainText("no checkpoint was seen before this one");
  // Each opens to its bytes.
  await verified(page).getByText("Inclusion", { exact: true }).click();
  await expect(verified(page).getByRole("listitem").first()).toBeVisible();
  const first = await verified(page).getByText(/at its place in the log of \d+ receipts/).textContent();

  // The log grows; the second visit is held against the first.
  await until(page, "/receipts/0", async () => {
    await expect(verified(page)).toContainText("This receipt holds", { timeout: 5_000 });
    await expect(verified(page)).not.toContainText(first ?? "", { timeout: 100 });
  });
  for (const name of ["Shown", "Signature", "Inclusion", "Checkpoint", "Consistency"]) await expect(check(page, name), name).toHaveClass(/\bok\b/);
  await expect(verified(page)).toContainText("that this browser saw last");
  await expect(verified(page)).toContainText("Checked with the key that this browser kept at its first visit");
});

test("a changed key is noticed @hydrated", async ({ page }) => {
  await openArmed(page);
  await expect(verified(page)).toContainText("This receipt holds");
  // As if an earlier visit had kept the key of another log of the same name.
  const kept = await page.evaluate(() => localStorage.getItem("deliveryos.log.vkey"));
  const other = verifyingKey(kept?.split("+")[0] ?? "");
  await page.evaluate((key) => localStorage.setItem("deliveryos.log.vkey", key), other);
  await page.reload();
  await expect(verified(page)).toContainText("Refused: do not believe this receipt");
  for (const name of ["Signature", "Checkpoint"]) await expect(check(page, name), name).toHaveClass(/\bbad\b/);
});

test("a log that was rolled back, and one that forked, are shown as what they are @hydrated", async ({ page }) => {
  await openArmed(page);
  await expect(verified(page)).toContainText("This receipt holds");
  const head = async (change: (head: { size: number; root: string }) => void) => {
    await page.evaluate((source) => {
      const kept = JSON.parse(localStorage.getItem("deliveryos.log.head") ?? "{}");
      new Function("head", `(${source})(head)`)(kept);
      localStorage.setItem("deliveryos.log.head", JSON.stringify(kept));
    }, change.toString());
    await page.reload();
  };
  // As if an earlier visit had seen a longer log.
  await head((h) => {
    h.size += 1_000_000;
  });
  await expect(verified(page)).toContainText("Refused: do not believe this log");
  await expect(verified(page).getByRole("alert")).toContainText("The log was rolled back: this browser saw");
  // As if it had seen another log of the same length as a part of this one.
  await head((h) => {
    h.size = 2;
    h.root = "00".repeat(32);
  });
  await expect(verified(page)).toContainText("Refused: do not believe this log");
  await expect(verified(page).getByRole("alert")).toContainText("The log has forked");
  await expect(check(page, "Consistency")).toHaveClass(/\bbad\b/);
});

test("without JavaScript the page says that nothing was checked here @plain", async ({ page }) => {
  await openArmed(page);
  await expect(page.getByText(/Not checked here/)).toBeVisible();
  await expect(page.getByText("This receipt holds")).toHaveCount(0);
});

test("the proof is taken away and verified elsewhere", async ({ page, demo }) => {
  await openArmed(page);
  const href = await page.getByRole("link", { name: ".tlog-proof" }).getAttribute("href");
  const proof = await page.request.get(href ?? "");
  expect(proof.status()).toBe(200);
  const file = join(demo.dataDir, "taken-away.tlog-proof");
  await writeFile(file, await proof.body());
  const { code, output } = await demo.run("receipt", "verify", file);
  expect(code, output).toBe(0);
});
