// `cargo xtask bench browser`: figures of the pages in Chromium, not tests. Nothing here passes or fails by speed.
import { defineConfig } from "@playwright/test";
import config from "./playwright.config";

export default defineConfig({
  ...config,
  testDir: "./bench",
  testMatch: /.*\.bench\.ts/,
  timeout: 300_000,
  // A trace of Playwright's own would be part of what is measured.
  use: { ...config.use, trace: "off" },
  projects: [{ name: "bench" }],
});
