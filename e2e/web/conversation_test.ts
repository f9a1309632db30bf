/** People with browsers, a terminal and a plain WebSocket in one conversation. */

import { assert, assertEquals } from "@std/assert";
import { untilOnline } from "../../testing/ws_peer.ts";
import { browserTest } from "./harness.ts";
import { enter, sees, type World, write } from "./world.ts";

const ROOT = new URL("../../", import.meta.url).pathname;

browserTest("Two browsers, a terminal client and a base client talk in a group", async (world, browser) => {
  const alice = await (await world.profile(browser)).as("alice");
  const phone = { hasTouch: true, isMobile: true, viewport: { width: 390, height: 780 } };
  const bob = await (await world.profile(browser, phone)).as("bob");
  await using terminal = startTerminal(world, "carol", "#team");
  await using base = await startBase(world, "dave");
  await untilOnline(world.url, "carol", "dave");

  await alice.getByRole("button", { name: "New conversation or group" }).click();
  await alice.getByLabel("Make a group").fill("team");
  await alice.getByLabel("Anybody on this server may join").check();
  await alice.getByRole("button", { name: "Make", exact: true }).click();
  await alice.locator(".conversation h2", { hasText: "#team" }).waitFor();

  await bob.getByRole("button", { name: "New conversation or group" }).tap();
  await bob.getByRole("button", { name: "Join #team" }).waitFor();
  await bob.getByLabel("Write to somebody").fill("#Staff");
  await bob.getByRole("button", { name: "Write", exact: true }).tap();
  await bob.locator("dialog .failure", { hasText: "#staff" }).waitFor();
  await bob.getByLabel("Write to somebody").fill("#Team");
  await bob.getByRole("button", { name: "Write", exact: true }).tap();
  await bob.locator(".conversation h2", { hasText: "#team" }).waitFor();
  await alice.getByRole("button", { name: "Members" }).click();
  for (const user of ["carol", "dave"]) {
    await alice.getByLabel("Invite somebody").fill(user);
    await alice.getByRole("button", { name: "Invite" }).click();
    await alice.locator("dialog .rows li", { hasText: user }).waitFor();
  }
  await alice.keyboard.press("Escape");

  await write(alice, "hello from a browser\nin two lines");
  await bob.locator("#message").fill("hello from a phone");
  await bob.getByRole("button", { name: "Send" }).tap();
  await terminal.say("hello from a terminal");
  base.say("#team", "hello from a socket");
  const all = ["hello from a browser", "hello from a phone", "hello from a terminal", "hello from a socket"];
  for (const text of all) {
    await sees(alice, text);
    await sees(bob, text);
    await base.until(text === all[3] ? all[2]! : text);
  }
  await terminal.until("hello from a socket");
  const order = (page: typeof alice) => page.locator(".row .text").allTextContents();
  assertEquals(await order(alice), await order(bob), "in the same order");
  await alice.locator(".row.mine .mark.read").first().waitFor();

  await alice.getByRole("button", { name: "Members" }).click();
  await alice.getByRole("button", { name: "Remove dave" }).click();
  await alice.locator("dialog .rows li", { hasText: "dave" }).waitFor({ state: "detached" });
  await alice.keyboard.press("Escape");
  base.say("#team", "am I still here?");
  await base.until("not_member");

  await bob.getByRole("button", { name: "Members" }).tap();
  await bob.getByRole("button", { name: "Leave #team" }).tap();
  await bob.locator(".list").waitFor();
  await bob.locator(".entry", { hasText: "#team" }).waitFor({ state: "detached" });
});

browserTest("Presence, typing, marks, search, ignoring and receipts in a conversation of two", async (world, browser) => {
  const bob = await world.person("bob");
  const page = await (await world.profile(browser)).as("alice", "bob");
  await page.locator(".title .sub", { hasText: "online" }).waitFor();
  bob.client.setAway(true);
  await page.locator(".title .sub", { hasText: "away" }).waitFor();
  bob.client.typing("alice");
  await page.locator(".title .sub", { hasText: "bob is typing" }).waitFor();
  await write(page, "first");
  await page.locator(".mark.delivered").waitFor();
  await bob.until(({ messages }) => messages.length > 0);
  bob.client.markRead("alice", bob.messages[0]!.seq);
  await page.locator(".mark.read").waitFor();
  await bob.client.close();
  await page.locator(".title .sub", { hasText: "last seen" }).waitFor();

  const again = await world.person("bob", { device: "again" });
  await again.sayAll("alice", ["needle one", "hay", "needle two"]);
  await sees(page, "needle two");
  await page.getByRole("button", { name: "Search" }).click();
  await page.getByRole("searchbox").fill("NEEDLE");
  await page.keyboard.press("Enter");
  await page.locator(".row.found", { hasText: "needle two" }).waitFor();
  await page.keyboard.press("Enter");
  await page.locator(".row.found", { hasText: "needle one" }).waitFor();
  await page.keyboard.press("Escape");

  const read = again.messages.length;
  await page.getByRole("button", { name: "Settings" }).click();
  await page.getByRole("switch", { name: "Tell others what I have read" }).uncheck();
  await page.keyboard.press("Escape");
  const untold = await again.say("alice", "not told");
  await sees(page, "not told");
  await write(page, "an answer");
  await again.until(({ texts }) => texts.length > read);
  assert(again.readBy("alice") < untold, "receipts are off");
  await page.waitForFunction(() => document.title === "Parley"); // it is read here all the same

  await page.getByRole("button", { name: "About this person" }).click();
  await page.getByRole("button", { name: "Ignore bob" }).click();
  await page.keyboard.press("Escape");
  await page.locator(".row", { hasText: "not told" }).waitFor({ state: "detached" });
  await again.say("alice", "ignored");
  await enter(page, "carol");
  await enter(page, "bob");
  assertEquals(await page.locator(".row", { hasText: "ignored" }).count(), 0);
  assertEquals(await page.title(), "Parley");
  await page.locator(".ignored").getByRole("button", { name: "Stop ignoring bob" }).click();
  await sees(page, "ignored");
});

/** Starts the terminal client, as a pipe. */
function startTerminal(world: World, name: string, to: string): AsyncDisposable & {
  say(text: string): Promise<void>;
  until(text: string): Promise<void>;
} {
  const command = new Deno.Command(Deno.execPath(), {
    args: [
      ...["run", "--quiet", "-A", "--config", `${ROOT}deno.json`, `${ROOT}client.ts`],
      ...["--server", world.url, "--name", name, "--to", to, "--no-history"].filter((arg) => arg !== "--no-history"),
    ],
    env: { HOME: "/nonexistent", XDG_CONFIG_HOME: "/nonexistent", XDG_STATE_HOME: "/nonexistent" },
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  });
  const child = command.spawn();
  const writer = child.stdin.getWriter();
  const printed = new Texts();
  const reading = (async () => {
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) printed.add(text);
  })();
  return {
    say: (text) => writer.write(new TextEncoder().encode(text + "\n")),
    until: (text) => printed.until(text),
    async [Symbol.asyncDispose]() {
      child.kill("SIGKILL");
      await writer.abort().catch(() => {});
      await reading;
      await child.status;
    },
  };
}

/** Connects at the base level. */
async function startBase(world: World, name: string): Promise<
  AsyncDisposable & { say(to: string, content: string): void; until(text: string): Promise<void> }
> {
  const socket = new WebSocket(`${world.url}?name=${name}`);
  const got = new Texts();
  socket.onmessage = ({ data }) => got.add(String(data));
  await new Promise<void>((resolve) => socket.onopen = () => resolve());
  return {
    say: (recipient, content) => socket.send(JSON.stringify({ sender: name, recipient, content })),
    until: (text) => got.until(text),
    async [Symbol.asyncDispose]() {
      const closed = new Promise<void>((resolve) => socket.onclose = () => resolve());
      socket.close();
      await closed;
    },
  };
}

/** Text that comes in pieces. */
class Texts {
  #text = "";
  #changed = () => {};

  add(text: string): void {
    this.#text += text;
    this.#changed();
  }

  /** Resolves when it has come. */
  async until(text: string): Promise<void> {
    while (!this.#text.includes(text)) await new Promise<void>((resolve) => this.#changed = resolve);
  }
}
