// The pictures in the documentation: one demo as a newcomer starts it, at the moments that the README speaks of.
import { Deliveryos } from "../fixtures/deliveryos";
import { RELEASE_LIMIT_MS, headline, live, receipts } from "../fixtures/pages";
import { flipByte, verified } from "../fixtures/receipts";
import { expect, logIn, test } from "../fixtures/test";
import { photograph, shot } from "../fixtures/tour";

test.setTimeout(4 * RELEASE_LIMIT_MS);

/** The first release after the history, at the demo's own speed: 25 % from 20 s on, 50 % from 50 s on. */
const RELEASE = "/releases/checkout-4";

test("the tour @tour", async ({ stranger: page, browser, contextOptions, expectedErrors }) => {
  let demo = await Deliveryos.start([]);
  // Between end and start the stream is lost.
  expectedErrors.push(/ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING/);
  try {
    const at = (path: string) => `${demo.origin}${path}`;
    await logIn(page, demo);
    // The overview says when it begins, without loading again.
    await page.locator(`a.flying[href="${RELEASE}"]`).click({ timeout: RELEASE_LIMIT_MS });
    await live(page);
    await expect(headline(page)).toContainText("at 50 %", { timeout: RELEASE_LIMIT_MS });
    // Some seconds at this weight, so that the lines go on after the step.
    await expect(page.locator(".stage")).toContainText(/next in (1\d|2[0-4]) s/, { timeout: RELEASE_LIMIT_MS });
    await photograph(page, "release");
    const chart = (await page.locator(".tl-width").first().boundingBox()) ?? { x: 0, y: 0, width: 0, height: 0 };
    await page.mouse.move(chart.x + chart.width * 0.24, chart.y + 120);
    await shot(page, "release-cursor");
    await page.mouse.move(0, 0);
    await page.getByRole("heading", { name: "Evidence", exact: true }).scrollIntoViewIfNeeded();
    await page.evaluate(() => document.querySelector("#judge, .judge")?.scrollIntoView());
    await shot(page, "release-evidence");
    await page.locator(".chain").scrollIntoViewIfNeeded();
    await page.evaluate(() => document.querySelector(".chain")?.scrollIntoView());
    await shot(page, "release-chain");
    await page.evaluate(() => window.scrollTo(0, 0));

    const plain = await browser.newContext({ ...contextOptions, javaScriptEnabled: false, storageState: await page.context().storageState() });
    const quiet = await plain.newPage();
    await quiet.goto(at(RELEASE));
    await shot(quiet, "release-nojs");
    await plain.close();

    await page.goto(at("/"));
    await live(page);
    await expect(page.getByRole("region", { name: /^Rolling out now/ }).getByRole("link")).toContainText(/p99 [\d.]+ ms stable [\d.]+ ms/);
    await photograph(page, "overview");

    await page.goto(at(RELEASE));
    await live(page);
    await page.keyboard.press("a");
    await page.getByLabel(/^Reason/).and(page.locator(":visible")).fill("support reports failed payments");
    await page.keyboard.press("Enter");
    await expect(headline(page)).toContainText("was aborted after", { timeout: RELEASE_LIMIT_MS });
    await shot(page, "release-aborted-light");

    await page.getByRole("button", { name: /^Check all \d+ here$/ }).click();
    await expect(page.getByText(/checked in this browser, all hold$/)).toBeVisible();
    await page.getByText("What was checked here, and what is the server's word").click();
    await page.locator(".verify").scrollIntoViewIfNeeded();
    await shot(page, "release-verified");
    await receipts(page).filter({ hasText: "Rollback armed" }).getByRole("link").click();
    await expect(page.getByRole("dialog").getByText("This receipt holds")).toBeVisible();
    await page.evaluate(() => window.scrollTo(0, 0));
    await shot(page, "release-receipt");
    await page.goto(at(`${RELEASE}?at=30`));
    await live(page);
    await shot(page, "release-past");
    for (const [path, name] of [["/releases", "releases"], ["/receipts", "receipts"], ["/dora/change-failures", "metric"], ["/settings", "settings"]] as const) {
      await page.goto(at(path));
      await expect(page.getByRole("heading", { level: 1 })).toBeVisible();
      await shot(page, `${name}-light`);
    }
    await page.keyboard.press("/");
    await page.getByRole("combobox", { name: "Search" }).fill("checkout");
    await expect(page.getByRole("option", { name: /release/ }).first()).toBeVisible();
    await shot(page, "palette");
    await page.goto(at("/gallery"));
    await shot(page, "gallery-light");
    await page.goto(at(RELEASE));

    const row = receipts(page).filter({ hasText: "Rollback armed" });
    const armed = (await row.getByRole("link").getAttribute("href")) ?? "";
    await page.goto(at(armed));
    await expect(verified(page)).toContainText("This receipt holds");
    await shot(page, "receipt-light");

    await page.goto(at(RELEASE));
    const asked = receipts(page).filter({ hasText: "asked to abort" });
    const path = (await asked.getByRole("link").getAttribute("href")) ?? "";
    const entry = await (await page.request.get(at(`${path}/dsse`))).body();
    // Its own page is left first: an open stream would report that the server has gone.
    await page.goto("about:blank");
    demo = await demo.pagesAfter(async () => {
      await flipByte(demo.dataDir, entry, "failed payments");
    });
    await page.goto(at(path));
    await expect(verified(page)).toContainText("Refused");
    await verified(page).getByText("Signature", { exact: true }).click();
    await shot(page, "receipt-refused-light");
  } finally {
    await demo.stop();
  }
});
