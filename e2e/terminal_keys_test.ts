/** Keys and commands of the chat for somebody with many conversations, seen on a terminal. */

import { assert, assertEquals } from "@std/assert";
import { onTerminal } from "../testing/terminal_place.ts";
import { untilOnline, WsPeer } from "../testing/ws_peer.ts";

function say(content: string, recipient = "bob", sender = "alice"): object {
  return { sender, recipient, content };
}

onTerminal("Alt-A goes to what is unread, with a line before what is new, and Alt and a digit to a number", async (place) => {
  await using alice = await place.alice();
  await using carol = await WsPeer.open(`${place.server.url}?name=carol`);
  await untilOnline(place.server.url, "carol");
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  alice.send(say("hello"));
  await bob.shows("alice: hello");
  carol.send(say("seen later", "bob", "carol"));
  carol.send(say("and this", "bob", "carol"));
  await bob.shows("2 new: carol");
  await bob.type("a line half typed");
  await bob.press("M-a");
  const lines = await bob.shows("=== carol ===");
  const at = lines.findIndex((line) => line === "--- new ---");
  assert(
    at > 0 && lines[at + 1]!.endsWith("carol: seen later") && lines[at + 2]!.endsWith("carol: and this"),
    lines.join("\n"),
  );
  await bob.until((all) => all.at(-1)!.endsWith("> a line half typed"));
  await bob.press("C-c", "M-a");
  await bob.shows("Nothing is unread");
  await bob.type("/list");
  await bob.press("Enter");
  const number = /^ {2}(\d) alice/m.exec((await bob.shows(/^ {2}\d alice/)).join("\n"))![1]!;
  await bob.press(`M-${number}`);
  await bob.until((all) => all.at(-1)!.startsWith("alice"));
  alice.send(say("here"));
  await bob.shows("alice: here");
});

onTerminal(
  "/search finds over all conversations, or in one, /msg stays where one is, and /show has all of a message",
  async (place) => {
    await using alice = await place.alice();
    await using bob = await place.bob();
    await bob.shows("as bob. /help");
    await bob.type("/group create #ops");
    await bob.press("Enter");
    await bob.shows("#ops is made");
    await bob.type("the deployment is on Friday");
    await bob.press("Enter");
    await bob.type("/msg alice deploy the café menu too");
    await bob.press("Enter");
    assertEquals(await alice.next(), say("deploy the café menu too", "alice", "bob") as never);
    await bob.until((all) => all.at(-1)!.startsWith("#ops"));
    await bob.type("/search DEPLOY");
    await bob.press("Enter");
    await bob.shows("=== DEPLOY ===");
    const lines = await bob.until((all) => all.at(-1)!.startsWith("#ops"));
    const found = lines.slice(lines.findIndex((line) => line.includes("=== DEPLOY ===")));
    assert(found.some((line) => line.includes("you to #ops: the deployment is on Friday")), found.join("\n"));
    assert(found.some((line) => line.includes("you to alice: deploy the café menu too")), found.join("\n"));
    await bob.type("/search @alice cafe");
    await bob.press("Enter");
    await bob.shows("=== cafe in alice ===");
    await bob.type("/search nowhere");
    await bob.press("Enter");
    await bob.shows("(nothing was found)");
    const long = Array.from({ length: 40 }, (_, i) => `line ${i}.`).join("\n");
    alice.send(say(long));
    await bob.type("/to alice");
    await bob.press("Enter");
    await bob.shows(/it goes on: \/show 1 has all/);
    await bob.type("/show");
    await bob.press("Enter");
    await bob.shows("line 39.");
  },
);

onTerminal("/mute silences a group, this time and the next, but for mentions", async (place) => {
  const unread = async () => {
    await using bob = await place.bob();
    await bob.shows("as bob. /help");
    await bob.type("/mute");
    await bob.press("Enter");
    await bob.shows("#ops, but for what mentions you,");
  };
  await using alice = await place.alice();
  {
    await using bob = await place.bob({}, "--to", "alice");
    await bob.shows("=== alice ===");
    alice.send({ type: "hello", v: 1, name: "alice", device: "a" });
    alice.send({ type: "group", op: "create", group: "#ops" });
    alice.send({ type: "group", op: "invite", group: "#ops", user: "bob" });
    await bob.shows("brought you into #ops");
    await bob.type("/mute #ops sometimes");
    await bob.press("Enter");
    await bob.shows('/mute takes "mentions"');
    await bob.type("/mute #ops mentions");
    await bob.press("Enter");
    await bob.shows("#ops is muted, but for what mentions you");
    alice.send(say("nobody in particular", "#ops"));
    alice.send(say("bob: look", "#ops"));
    const lines = await bob.shows("[#ops alice] bob: look");
    assert(!lines.some((line) => line.includes("particular")), lines.join("\n"));
    await bob.type("/quit");
    await bob.press("Enter");
    await bob.shows("ended with 0");
  }
  await unread();
});

onTerminal("Ctrl-R finds an earlier line, and Up goes on though none begins with what is typed", async (place) => {
  await using _alice = await place.alice();
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  for (const line of ["first thing", "second thing", "last one"]) {
    await bob.type(line);
    await bob.press("Enter");
    await bob.shows(`you: ${line}`);
  }
  await bob.press("C-r");
  await bob.type("thing");
  await bob.endsWith("(search: thing) second thing");
  await bob.press("C-r");
  await bob.endsWith("(search: thing) first thing");
  await bob.press("C-g");
  await bob.until((all) => /^alice( \(\w+\))?>$/.test(all.at(-1)!));
  await bob.press("C-r");
  await bob.type("sec");
  await bob.press("Enter");
  await bob.until((all) => all.filter((line) => line.endsWith("you: second thing")).length === 2);
  await bob.type("unlike any");
  await bob.press("Up");
  await bob.until((all) => all.at(-1)!.endsWith("> second thing"));
  await bob.press("Up");
  await bob.until((all) => all.at(-1)!.endsWith("> last one"));
  await bob.press("Down", "Down");
  await bob.until((all) => all.at(-1)!.endsWith("> unlike any"));
  await bob.press("C-c");
  await bob.type("fir");
  await bob.press("Up");
  await bob.until((all) => all.at(-1)!.endsWith("> first thing"));
});

onTerminal("leaving takes a second Ctrl-C while something waits, and says how much", async (place) => {
  await using _alice = await place.alice();
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  await place.server.shutdown();
  await bob.shows(/^\[offline/);
  for (const line of ["one", "two"]) {
    await bob.type(line);
    await bob.press("Enter");
    await bob.shows(`you: ${line}`);
  }
  await bob.press("C-c");
  await bob.shows("2 messages wait to be sent: Ctrl-C again leaves");
  await bob.press("C-d");
  await bob.shows("ended with 0");
  assert(await bob.isRestored());
});

onTerminal("narrowing the window while typing leaves nothing of the old line", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({ columns: 100, rows: 30 }, "--to", "alice");
  await bob.shows("=== alice ===");
  alice.send(say("before"));
  await bob.shows("alice: before");
  await bob.type("words ".repeat(24) + "end");
  await bob.until((all) => all.at(-1)!.endsWith("end"));
  await bob.resize(45, 30);
  // The client knows of the new width once it wraps at it.
  for (let i = 1; !(await bob.screen()).some((line) => line.startsWith("      ")); i++) {
    alice.send(say(`these words need more than one row of the narrow window: ${i}`));
    await bob.shows(new RegExp(`: ${i}$`));
  }
  const lines = await bob.until((all) => all.at(-1)!.endsWith("end"));
  assertEquals(lines.filter((line) => line.includes("> words")).length, 1, lines.join("\n"));
  assertEquals(lines.filter((line) => line.endsWith("alice: before")).length, 1, lines.join("\n"));
});

onTerminal(
  "words are wrapped whole, only the last of own messages has its status, and a pasted tab stays one",
  async (place) => {
    await using alice = await place.alice();
    await using bob = await place.bob({ columns: 40, rows: 30 }, "--to", "alice");
    await bob.shows("=== alice ===");
    alice.send(say("these are some words that do not fit into forty columns"));
    const lines = await bob.shows("forty columns");
    const at = lines.findIndex((line) => line.includes("these are"));
    assertEquals(lines.slice(at, at + 2).map((line) => line.replace(/^\d\d:\d\d/, "NN:NN")), [
      "NN:NN alice: these are some words that",
      "      do not fit into forty columns",
    ]);
    for (const line of ["one", "two", "three"]) {
      await bob.type(line);
      await bob.press("Enter");
      await bob.shows(`you: ${line}`);
    }
    await bob.until((all) => all.at(-1)!.startsWith("alice (delivered)"));
    await bob.type("/history");
    await bob.press("Enter");
    await bob.shows("you: three  (delivered)");
    assertEquals((await bob.screen()).filter((line) => line.includes("(delivered)") && line.includes("you:")).length, 1);
    await bob.send("\x1b[200~a\tb\x1b[201~");
    await bob.until((all) => all.at(-1)!.endsWith("a␉b"));
    await bob.press("Enter");
    for (const text of ["one", "two", "three", "a\tb"]) assertEquals(await alice.next(), say(text, "alice", "bob") as never);
  },
);
