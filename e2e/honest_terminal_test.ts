/** The chat on a terminal is never stuck, and says of nothing that it was read, sent or done where it was not. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Appended, Draft } from "../broker.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { type Server, startServer } from "../server.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { fromSource } from "../testing/process.ts";
import { Terminal } from "../testing/tmux.ts";
import { untilOnline, WsPeer } from "../testing/ws_peer.ts";

const CLIENT = fromSource("client");
const ignore = !CAN_RUN || lacksProgram("tmux", ["-V"]);

/** A server and a home for clients. */
class Place implements AsyncDisposable {
  readonly #home = Deno.makeTempDirSync();
  readonly env = { XDG_STATE_HOME: `${this.#home}/state`, XDG_CONFIG_HOME: `${this.#home}/config` };

  private constructor(public server: Server) {}

  static async start(): Promise<Place> {
    return new Place(await startServer({ port: 0 }));
  }

  /** Starts a client on a terminal, and waits until it is online. */
  async client(name: string, args: readonly string[] = [], size = {}): Promise<Terminal> {
    const terminal = await Terminal.start(CLIENT, ["--name", name, "--server", this.server.url, ...args], this.env, size);
    await terminal.shows(`as ${name}. /help`);
    return terminal;
  }

  /** Connects a plain user. */
  async plain(name: string): Promise<WsPeer> {
    const peer = await WsPeer.open(`${this.server.url}?name=${name}`);
    await untilOnline(this.server.url, name);
    return peer;
  }

  /** Connects a user of the extended level, whose receipts and counts can be looked at. */
  async extended(name: string, device = "d"): Promise<WsPeer> {
    const peer = await WsPeer.open(this.server.url);
    peer.send({ type: "hello", v: 1, name, device });
    await frame(peer, "synced");
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.shutdown();
    await Deno.remove(this.#home, { recursive: true });
  }
}

type Frame = Awaited<ReturnType<WsPeer["next"]>>;

/** Returns the next frame of a type, and passes over those before it. */
async function frame(peer: WsPeer, type: string | undefined): Promise<Frame> {
  for (;;) {
    const next = await peer.next();
    if (next.type === type) return next;
  }
}

function say(sender: string, recipient: string, content: string, id?: string): object {
  return { sender, recipient, content, ...(id === undefined ? {} : { id }) };
}

function test(name: string, fn: (place: Place) => Promise<void>): void {
  Deno.test({
    name,
    ignore,
    fn: async () => {
      await using place = await Place.start();
      await fn(place);
    },
  });
}

async function enter(terminal: Terminal, line: string): Promise<void> {
  await terminal.type(line);
  await terminal.press("Enter");
}

test("what is too large is told and not queued, comes back with Up, and the next line goes out", async (place) => {
  await using alice = await place.plain("alice");
  await using bob = await place.client("bob", ["--to", "alice"]);
  await bob.shows("=== alice ===");
  for (const length of [70_000, 200_000]) {
    await bob.paste("x".repeat(length));
    await bob.press("Enter");
    await bob.shows(new RegExp(`Not sent to alice: The text has ${length.toLocaleString("en-US")} bytes`));
    await enter(bob, `after ${length}`);
    assertEquals(await alice.next(), say("bob", "alice", `after ${length}`) as never);
  }
  await enter(bob, "/outbox");
  await bob.shows("Nothing waits to be sent");
  await bob.press("C-d");
  await bob.shows("ended with 0");
  await using again = await place.client("bob", ["--to", "alice"]);
  await enter(again, "still works");
  assertEquals(await alice.next(), say("bob", "alice", "still works") as never);
});

test("what waits is listed and dropped by its number, and the rest goes out", async (place) => {
  const { port } = place.server;
  await using bob = await place.client("bob", ["--to", "alice"]);
  await place.server.shutdown();
  await bob.endsWith("[offline] alice>");
  for (const line of ["one", "two", "three"]) await enter(bob, line);
  await enter(bob, "/outbox");
  await bob.shows(/^ {3}2 {2}alice: two$/);
  await enter(bob, "/outbox drop 2");
  await bob.shows("Dropped, to alice; it was not sent:");
  const broker = new MemoryBroker();
  await broker.attach("alice", "~");
  place.server = await startServer({ port, broker });
  await using alice = await place.plain("alice");
  assertEquals([await alice.next(), await alice.next()], [say("bob", "alice", "one"), say("bob", "alice", "three")] as never);
});

test("a paste whose end never comes takes no key away", async (place) => {
  await using alice = await place.plain("alice");
  await using bob = await place.client("bob", ["--to", "alice"]);
  await bob.shows("=== alice ===");
  await bob.send("\x1b[200~lost");
  await bob.endsWith("alice> lost");
  await bob.press("C-c");
  await bob.endsWith("alice>");
  await enter(bob, "typed");
  assertEquals(await alice.next(), say("bob", "alice", "typed") as never);
  await bob.send("\x1b[200~again");
  await bob.endsWith("alice (delivered)> again");
  await bob.press("C-d");
  await bob.press("C-c");
  await bob.press("C-d");
  await bob.shows("ended with 0");
});

test("keys behind Ctrl-D go nowhere, and the terminal is restored", async (place) => {
  await using bob = await place.client("bob");
  await bob.send("\x04hello\r\x1b[A\t");
  const lines = await bob.shows("ended with 0");
  assert(!lines.some((line) => line.includes("defect")), lines.join("\n"));
  assert(await bob.isRestored());
});

test("leaving says what it waits for, and a second time ends at once", async (place) => {
  await place.server.shutdown();
  const gate = Promise.withResolvers<void>();
  const broker = new class extends MemoryBroker {
    override async append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
      await gate.promise;
      return await super.append(drafts);
    }
  }();
  await broker.attach("alice", "d");
  place.server = await startServer({ port: 0, broker });
  await using bob = await place.client("bob", ["--to", "alice"]);
  await bob.shows("=== alice ===");
  await enter(bob, "not acked");
  await bob.shows("you: not acked");
  await bob.press("C-d");
  await bob.shows("Sending what waits (1); Ctrl-C leaves at once");
  await bob.press("C-c");
  await bob.shows("ended with 0");
  assert(await bob.isRestored());
  gate.resolve();
});

test("marks of a log that was replaced by an older one do not count for the new one", async (place) => {
  const { port } = place.server;
  await using alice = await place.client("alice");
  {
    await using bob = await place.extended("bob");
    for (let i = 1; i <= 5; i++) await enter(alice, `@bob ${i}`);
    let last: Frame;
    do last = await frame(bob, undefined); while ((last as { content: string }).content !== "5");
    bob.send({ type: "receipt", kind: "read", with: "alice", seq: (last as { seq: number }).seq });
    await enter(alice, "/to bob");
    await alice.endsWith("bob (read)>");
  }
  await place.server.shutdown();
  const older = new MemoryBroker(); // where nothing was said yet
  await older.attach("bob", "d");
  place.server = await startServer({ port, broker: older });
  await alice.shows("Connected again");
  await enter(alice, "unseen");
  await alice.endsWith("bob (sent)>");
});

test("nothing is read that nobody saw: away, and what was missed with no view open", async (place) => {
  await using alice = await place.extended("alice");
  await using bob = await place.client("bob", ["--to", "alice"]);
  await bob.shows("=== alice ===");
  await enter(bob, "/away on");
  await bob.shows("You are away");
  alice.send(say("alice", "bob", "are you there?", "1"));
  await bob.endsWith("[away, 1 new: alice] alice>");
  alice.send({ type: "history", with: "bob", id: "h" });
  const kinds: string[] = [];
  for (let next = await alice.next(); next.type !== "history"; next = await alice.next()) {
    if (next.type === "receipt") kinds.push(next.kind);
  }
  assertEquals(kinds.filter((kind) => kind === "read"), []);
  await enter(bob, "/away off");
  await bob.endsWith("alice>");
  while (((await frame(alice, "receipt")) as { kind: string }).kind !== "read");
  await bob.press("C-d");
  await bob.shows("ended with 0");
  for (const id of ["2", "3"]) alice.send(say("alice", "bob", `missed ${id}`, id));
  await frame(alice, "ack");
  await frame(alice, "ack");
  await using again = await place.client("bob");
  await again.endsWith("[2 new: alice] >");
});

test("/receipts off is kept, tells nobody, and what was read under it stays read", async (place) => {
  await using alice = await place.extended("alice");
  {
    await using bob = await place.client("bob", ["--to", "alice"]);
    await bob.shows("=== alice ===");
    await enter(bob, "/receipts off");
    await bob.shows("Nobody can see what you read from now on");
    alice.send(say("alice", "bob", "secretly read", "1"));
    await bob.shows("alice: secretly read");
    await bob.press("C-d");
    await bob.shows("ended with 0");
  }
  {
    await using bob = await place.client("bob");
    const lines = await bob.screen();
    assert(!lines.some((line) => line.includes("Unread")), lines.join("\n"));
    alice.send(say("alice", "bob", "and this", "2"));
    await bob.shows("alice: and this");
    await enter(bob, "/receipts");
    await bob.shows("Others can see what you read from now on");
  }
  const told: Frame[] = [];
  alice.send({ type: "ping", id: "p" });
  for (let next = await alice.next(); next.type !== "pong"; next = await alice.next()) told.push(next);
  assertEquals(told.filter((next) => next.type === "receipt" && next.kind === "read"), []);
});

test("ignored people are not unread in a group at the next start", async (place) => {
  await using mal = await place.extended("mal");
  mal.send({ type: "group", op: "create", group: "#ops", id: "g" });
  await frame(mal, "group");
  {
    await using bob = await place.client("bob");
    await enter(bob, "/group join #ops");
    await bob.shows("=== #ops ===");
    await enter(bob, "/ignore mal");
    await bob.shows("Messages of mal are hidden");
    await bob.press("C-d");
    await bob.shows("ended with 0");
  }
  await using carol = await place.extended("carol");
  carol.send({ type: "group", op: "join", group: "#ops", id: "g" });
  await frame(carol, "group");
  for (const id of ["1", "2"]) mal.send(say("mal", "#ops", "spam", id));
  carol.send(say("carol", "#ops", "news", "3"));
  await frame(carol, "ack");
  await using bob = await place.client("bob");
  await bob.endsWith("[1 new: #ops] >");
});

test("a closed group is closed, a typo makes none, and all who are named are invited", async (place) => {
  await using carol = await place.plain("carol");
  await using dave = await place.plain("dave");
  await using bob = await place.client("bob", [], { columns: 120 });
  await enter(bob, "/group create #hr clsoed");
  await bob.shows("did you mean closed?");
  await enter(bob, "/group create #hr private");
  await bob.shows("#hr is made, and you are in it; it is closed");
  await enter(bob, "/group invite carol nosuchperson dave");
  await bob.shows("carol is in #hr");
  await bob.shows(/! nosuchperson: There is no user/);
  await bob.shows("dave is in #hr");
  await enter(bob, "hello");
  assertEquals([await carol.next(), await dave.next()], Array(2).fill(say("bob", "#hr", "hello")) as never);
  await bob.type("/group create #x cl");
  await bob.press("Tab");
  await bob.until((lines) => lines.at(-1)!.endsWith("> /group create #x closed"));
});

test("a conversation that cannot be opened closes the view, so that the next line goes to nobody", async (place) => {
  await using alice = await place.plain("alice");
  await using bob = await place.client("bob");
  for (const command of ["/to nosuchperson", "/to two\u00adwords", "/group join #nosuchgroup", "/group join"]) {
    await enter(bob, "/to alice");
    await bob.endsWith("alice>");
    await enter(bob, command);
    await bob.endsWith(">");
    await bob.until((lines) => lines.at(-1) === ">");
    await enter(bob, "for the wrong person");
    await bob.shows("There is no conversation in view");
    await enter(bob, "/clear");
  }
  await enter(bob, "/list alice");
  await bob.shows("/list takes nothing behind it");
  assertEquals(alice.rest(), []);
});

test("the prompt has the name of whom one writes to, whoever else is unread", async (place) => {
  await using alice = await place.plain("alice");
  await using bob = await place.client("bob", ["--to", "alice"], { columns: 120 });
  for (const name of ["christopher", "alexandra.smith", "build-notifier"]) {
    await using other = await place.plain(name);
    other.send(say(name, "bob", "hi"));
    await bob.shows(new RegExp(`${name}\\] hi$`));
  }
  const lines = await bob.until((lines) => lines.at(-1)!.includes("3 new"));
  assertMatch(lines.at(-1)!, /^\[3 new: build-notifier alexandra\.smith\] alice>$/);
  assertEquals(alice.rest(), []);
});
