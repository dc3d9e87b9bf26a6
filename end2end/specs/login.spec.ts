import { expect, test } from "../fixtures/test";

test("a stranger is asked for a login link and sees nothing else", async ({ stranger }) => {
  await stranger.goto("/");
  await expect(stranger).toHaveURL(/\/login/);
  await expect(stranger.getByRole("heading", { level: 1 })).toHaveText("Log in");
});

test("a link is good once", async ({ stranger, demo, session, expectedErrors }) => {
  expectedErrors.push(/403/);
  expect(session, "the link was used by the session").toBeTruthy();
  await stranger.goto(await demo.link());
  const answer = stranger.waitForResponse((response) => response.request().method() === "POST");
  await stranger.getByRole("button", { name: "Log in" }).click();
  expect((await answer).status()).toBe(403);
  await expect(stranger.getByText("This link is not good any more")).toBeVisible();
});
