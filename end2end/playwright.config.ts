// Every spec runs twice: as people with a current browser see the pages (hydrated), and with JavaScript off. What can only be seen with
// JavaScript carries the tag @hydrated, what is about its absence @plain. Screenshots for the tour carry @tour and run on request.
import { defineConfig, devices } from "@playwright/test";

const chromium = process.env.CHROMIUM ?? "/usr/bin/chromium";
// Chromium's own sandbox needs rights that root in a container has not.
const asRoot = process.getuid?.() === 0;
const tour = process.env.UPDATE_SCREENSHOTS === "1";

export default defineConfig({
  testDir: "./specs",
  outputDir: "./test-results",
  // Each worker starts a whole control plane, data plane and load: two would measure each other.
  workers: 1,
  fullyParallel: false,
  // A test that needs a second try has found something: on a person's machine it fails. Where the whole check runs by itself, one moment of a
  // busy machine does not end it; `cargo xtask test` names what needed a second try, with its error.
  retries: process.env.CI ? 1 : 0,
  forbidOnly: !!process.env.CI,
  // A canary of the demo at the speed of the fixture climbs in well under this.
  timeout: 120_000,
  expect: { timeout: 15_000 },
  reporter: "list",
  use: {
    ...devices["Desktop Chrome"],
    viewport: { width: 1280, height: 900 },
    locale: "en-GB",
    timezoneId: "UTC",
    trace: "retain-on-failure",
    launchOptions: {
      executablePath: chromium,
      args: asRoot ? ["--no-sandbox"] : [],
    },
  },
  projects: [
    { name: "hydrated", grepInvert: /@plain|@tour/ },
    { name: "no-javascript", grepInvert: /@hydrated|@tour/, use: { javaScriptEnabled: false } },
    ...(tour ? [{ name: "tour", grep: /@tour/ }] : []),
  ],
});
