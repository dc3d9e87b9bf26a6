import { Deliveryos } from "../fixtures/deliveryos";
import { RELEASE_LIMIT_MS, headline, live, receipts } from "../fixtures/pages";
import { check, flipByte, verified } from "../fixtures/receipts";
import { QUIET, expect, logIn, test } from "../fixtures/test";

test.setTimeout(RELEASE_LIMIT_MS + 120_000);

test("a receipt is refused after a byte of the database was changed @hydrated", async ({ stranger: page }) => {
  const reason = "unbelievable";
  let demo = await Deliveryos.start([...QUIET, "--no-history"]);
  try {
    const at = (path: string) => `${demo.origin}${path}`;
    await logIn(page, demo);
    await page.getByRole("region", { name: /^Rolling out now/ }).getByRole("link").click({ timeout: RELEASE_LIMIT_MS });
    await live(page);
    await expect(headline(page)).toContainText("is at 5 %");
    await page.getByText("Abort…").click();
    await page.getByLabel(/^Reason/).and(page.locator(":visible")).fill(reason);
    await page.keyboard.press("Enter");
    await expect(headline(page)).toContainText("was aborted after", { timeout: RELEASE_LIMIT_MS });

    const row = receipts(page).filter({ hasText: "asked to abort" });
    const path = (await row.getByRole("link").getAttribute("href")) ?? "";
    await page.goto(at(path));
    await expect(page.getByRole("main")).toContainText(reason);
    await expect(verified(page)).toContainText("This receipt holds");
    const entry = await (await page.request.get(at(`${path}/dsse`))).body();

    let changed = "";
    demo = await demo.pagesAfter(async () => {
      changed = await flipByte(demo.dataDir, entry, reason);
    });
    expect(changed).not.toBe(reason);

    await page.goto(at(path));
    // The server reads what stands there; the browser does not believe it.
    await expect(page.getByRole("main")).toContainText(changed);
    await expect(verified(page)).toContainText("Refused: do not believe this receipt");
    await expect(verified(page)).not.toContainText("This receipt holds");
    await expect(check(page, "Signature")).toHaveClass(/\bbad\b/);
    await expect(check(page, "Inclusion")).toHaveClass(/\bbad\b/);
    await expect(check(page, "Checkpoint")).toHaveClass(/\bok\b/);
    await expect(verified(page).locator("summary").filter({ hasText: "Signature" })).toContainText(/signature/i);

    // Its neighbours hold as before.
    await page.goto(at("/receipts/0"));
    await expect(verified(page)).toContainText("This receipt holds");
  } finally {
    await demo.stop();
  }
});
