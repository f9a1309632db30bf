/** `deno task screenshots DIR`: pictures of the page at three widths in both themes, to be looked at. */

import type { Page } from "playwright-core";
import { startChromium } from "./chromium.ts";
import { enter, type Person, World, write } from "./world.ts";

const WIDTHS = { phone: [390, 844], tablet: [820, 1100], desktop: [1440, 900] } as const;

await using world = await World.start();
const folder = Deno.args[0] ?? ".";
await Deno.mkdir(folder, { recursive: true });
const people: Record<string, Person> = {};
for (const name of ["ada", "ben", "chidi", "mei", "émile", "alice"]) people[name] = await world.person(name);
await fill(people);

const browser = await startChromium();
for (const theme of ["light", "dark"] as const) {
  for (const [name, [width, height]] of Object.entries(WIDTHS)) {
    const profile = await world.profile(browser, {
      colorScheme: theme,
      viewport: { width, height },
      hasTouch: name === "phone",
    });
    profile.expected.push(/WebSocket|ERR_INTERNET/); // the last picture is of a broken connection
    const shoot = (page: Page, what: string) =>
      page.screenshot({ path: `${folder}/${name}-${theme}-${what}.png`, animations: "disabled" });
    const login = await profile.open();
    await shoot(login, "login");
    await login.close();
    const page = await profile.as("alice");
    await page.locator(".entry").nth(3).waitFor();
    await shoot(page, "list");
    await enter(page, "#garden");
    await page.locator(".row").nth(8).waitFor();
    await people.ben!.client.typing("#garden");
    await page.locator(".typing", { hasText: "ben" }).waitFor();
    await shoot(page, "group");
    await enter(page, "ada");
    await page.locator(".row").nth(5).waitFor();
    if (await page.locator(".row", { hasText: "good coffee" }).count() === 0) {
      await write(page, "See you there. I bring the good coffee.");
    }
    await page.locator(".mark.read, .mark.delivered").last().waitFor();
    await page.locator("#message").fill("Anything else");
    await shoot(page, "chat");
    await page.locator("#message").fill("");
    await enter(page, "#garden");
    await page.getByRole("button", { name: "Members" }).click();
    await page.locator("dialog .rows li").nth(2).waitFor();
    await shoot(page, "members");
    await page.keyboard.press("Escape");
    await page.evaluate(() => location.hash = "#/");
    await page.getByRole("button", { name: "Settings" }).click();
    await shoot(page, "settings");
    await page.keyboard.press("Escape");
    await page.getByRole("button", { name: "New conversation or group" }).click();
    await page.getByRole("button", { name: "Join #reading" }).waitFor();
    await shoot(page, "new");
    await page.keyboard.press("Escape");
    await enter(page, "nobody");
    await write(page, "Is anybody there? I found your gloves.");
    await page.locator(".not-sent.wrong").waitFor();
    await profile.context.setOffline(true);
    await page.evaluate(() => dispatchEvent(new Event("online")));
    await write(page, "And a hat.");
    await page.locator(".banner button").waitFor();
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByRole("searchbox").fill("gloves");
    await page.keyboard.press("Enter");
    await page.locator(".row.found").waitFor();
    await shoot(page, "trouble");
    await profile.context.close();
  }
}
await browser.close();

async function fill({ ada, ben, chidi, mei, émile, alice }: Record<string, Person>): Promise<void> {
  await alice!.client.group({ op: "create", group: "#garden", open: true });
  for (const user of ["ada", "ben", "chidi"]) await alice!.client.group({ op: "invite", group: "#garden", user });
  await chidi!.client.group({ op: "create", group: "#reading", open: true });
  await émile!.say("alice", "Merci ! À bientôt");
  await mei!.say("alice", "The greenhouse camera is up again: https://example.org/cam");
  await alice!.say("ada", "Morning! Did the seedlings survive the frost?");
  await ada!.say("alice", "Most of them. The tomatoes look offended, but they will forgive us.");
  await ada!.say(
    "alice",
    "I moved the tender ones inside last night. Pictures and a list of what is missing: https://example.org/beds/spring_(2026)",
  );
  await alice!.say("ada", "You are a hero.");
  await alice!.say(
    "ada",
    "Shall we meet at the gate on Saturday?\n\n• 9:30, before it gets warm\n• bring gloves\n• I ask Ben for the wheelbarrow",
  );
  await ada!.say("alice", "9:30 is perfect.");
  await ada!.client.markRead("alice", 1_000_000);
  await alice!.say("#garden", "Water is back on.");
  await ben!.say("#garden", "Finally! Which hose is the new one?");
  await chidi!.say("#garden", "The green one. The blue one leaks at the tap, I wrote a note on it.");
  await chidi!.say("#garden", "Also: somebody left a very good pair of scissors in bed four.");
  await ada!.say("#garden", "Mine! Thank you");
  await ben!.say("#garden", "I can take them with me tonight.");
  await alice!.say("#garden", "Compost arrives on Friday between 8 and 10. Who can be there to open the gate?");
  await chidi!.say("#garden", "Me.");
  await ben!.say(
    "#garden",
    "I come after nine and help to spread it. Last year we finished beds one to six in an afternoon, so with four people the rest should not take longer than that.",
  );
}
