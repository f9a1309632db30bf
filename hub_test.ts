import { assert, assertEquals, assertExists } from "@std/assert";
import { setImmediate } from "node:timers";
import { MemoryBroker } from "./broker/memory.ts";
import type { Broker } from "./broker.ts";
import { Hub, type HubOptions, type Receiver } from "./hub.ts";
import { CLOSE_CODES, type ServerFrame, type ServerFrameOf } from "./protocol.ts";
import { FakeConnection } from "./testing/fake_connection.ts";

/** A hub with its broker, which it tells at once what devices have. */
function setUp(options: Partial<HubOptions> = {}): { hub: Hub; broker: Broker; reports: string[] } {
  const broker = options.broker ?? new MemoryBroker();
  const reports: string[] = [];
  const hub = new Hub({
    report: (error, where) => reports.push(`${where}: ${error}`),
    confirmIntervalMs: 0,
    ...options,
    broker,
  });
  return { hub, broker, reports };
}

class Device extends FakeConnection {
  readonly peer: Receiver;

  constructor(hub: Hub, readonly user?: string) {
    super();
    this.peer = hub.connect(this, user === undefined ? {} : { user });
  }

  say(frame: unknown): void {
    this.peer.receive(JSON.stringify(frame));
  }

  tell(recipient: string, content: string, id?: string): void {
    this.say({ sender: this.user, recipient, content, id });
  }

  last<T extends ServerFrame["type"]>(type: T): Extract<ServerFrame, { type: T }> {
    const frame = this.frames.findLast((frame) => frame.type === type);
    assertExists(frame, `no ${type} in ${this.sent.join("\n")}`);
    return frame as Extract<ServerFrame, { type: T }>;
  }
}

/** Lets everything that is due happen: the memory broker answers within microtasks. */
async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(() => resolve()));
}

async function extended(hub: Hub, user: string, device = "laptop", hello: Record<string, unknown> = {}): Promise<Device> {
  const connection = new Device(hub, user);
  connection.say({ type: "hello", v: 1, name: user, device, ...hello });
  await settle();
  connection.last("synced");
  return connection;
}

/** A connection of the base level, settled by a first frame that reaches nobody. */
async function base(hub: Hub, user: string): Promise<Device> {
  const connection = new Device(hub, user);
  connection.tell("nobody", "");
  await settle();
  connection.sent.length = 0;
  return connection;
}

function close(...devices: Device[]): void {
  for (const device of devices) device.peer.gone(true);
}

Deno.test("Hub delivers a message to the recipient, unaltered and with nothing added for the base level", async () => {
  const { hub } = setUp();
  const alice = await base(hub, "alice"), bob = await base(hub, "bob");
  alice.tell("bob", 'a "quoted"\nline 🎈');
  await settle();
  assertEquals(bob.sent, ['{"sender":"alice","recipient":"bob","content":"a \\"quoted\\"\\nline 🎈"}']);
  assertEquals(alice.sent, []);
  close(alice, bob);
});

Deno.test("Hub delivers to every device of the recipient and to the sender's other devices", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice"), phone = await extended(hub, "alice", "phone"), plain = await base(hub, "alice");
  const bobs = [
    await extended(hub, "bob"),
    await extended(hub, "bob", "phone"),
    await base(hub, "bob"),
    await base(hub, "bob"),
  ];
  alice.tell("bob", "hi", "1");
  await settle();
  for (const device of [...bobs, phone, plain]) assertEquals(device.contents, ["hi"]);
  assertEquals(alice.contents, []);
  assertEquals(alice.last("ack").id, "1");
  close(alice, phone, plain, ...bobs);
});

Deno.test("Hub gives a message to no one else", async () => {
  const { hub } = setUp();
  const alice = await base(hub, "alice"), bob = await base(hub, "bob"), carol = await extended(hub, "carol");
  carol.sent.length = 0;
  alice.tell("bob", "secret");
  await settle();
  assertEquals(carol.sent, []);
  close(alice, bob, carol);
});

Deno.test("Hub names a connection by its URL, by hello, or by the sender of its first frame", async () => {
  const { hub } = setUp();
  const byUrl = await base(hub, "alice");
  const byHello = new Device(hub);
  byHello.say({ type: "hello", v: 1, name: "Bob" });
  const byFrame = new Device(hub);
  byFrame.say({ sender: "Carol", recipient: "alice", content: "hi" });
  await settle();
  assertEquals([byUrl.peer.user, byHello.peer.user, byFrame.peer.user], ["alice", "bob", "carol"]);
  assertEquals(byUrl.contents, ["hi"]);
  close(byUrl, byHello, byFrame);
});

Deno.test("Hub says who it is, where the log stands and what the limits are in welcome", async () => {
  const { hub, broker } = setUp();
  const alice = await extended(hub, "alice", "laptop", { caps: ["batch", "telepathy"] });
  const welcome = alice.last("welcome");
  assertEquals([welcome.user, welcome.device, welcome.caps, welcome.epoch], ["alice", "laptop", ["batch"], broker.epoch]);
  assertEquals(welcome.recovered, false);
  assert(welcome.limits.frame > welcome.limits.content);
  close(alice);
});

Deno.test("Hub gathers a turn's frames into one for those who take batches, and sends them one by one to the others", async () => {
  const { hub } = setUp();
  const alice = await base(hub, "alice"),
    bob = await extended(hub, "bob", "b", { caps: ["batch"] }),
    carol = await base(hub, "carol");
  bob.sent.length = 0;
  for (let i = 0; i < 10; i++) {
    alice.tell("bob", `m${i}`);
    alice.tell("carol", `m${i}`);
  }
  await settle();
  const wanted = Array.from({ length: 10 }, (_, i) => `m${i}`);
  assertEquals([bob.sent.length, carol.sent.length], [1, 10]);
  assertEquals([bob.contents, carol.contents], [wanted, wanted]);
  close(alice, bob, carol);
});

Deno.test("Hub takes several objects in one frame, from anyone", async () => {
  const { hub } = setUp();
  const bob = await base(hub, "bob");
  const alice = new Device(hub);
  const line = (content: string) => JSON.stringify({ sender: "alice", recipient: "bob", content });
  alice.peer.receive(`${line("one")}\n${line("two")}\nnonsense\n${line("three")}\n`);
  await settle();
  assertEquals(bob.contents, ["one", "two", "three"]);
  assertEquals(alice.last("error").code, "bad_json");
  close(alice, bob);
});

Deno.test("Hub acks a frame with an id by position and time, and a repeated one as a duplicate", async () => {
  const { hub } = setUp();
  const alice = await base(hub, "alice"), bob = await base(hub, "bob");
  alice.tell("bob", "hi", "1");
  await settle();
  const first = alice.last("ack");
  assertEquals([first.id, first.duplicate], ["1", undefined]);
  assert(first.seq > 0 && Math.abs(Date.parse(first.ts) - Date.now()) < 60_000);
  alice.tell("bob", "hi", "1");
  await settle();
  assertEquals(alice.last("ack"), { ...first, duplicate: true });
  alice.tell("bob", "something else", "1");
  await settle();
  assertEquals([alice.last("error").code, alice.last("error").id], ["id_conflict", "1"]);
  assertEquals(bob.contents, ["hi"]);
  close(alice, bob);
});

Deno.test("Hub refuses a sender that is not the connection's, an unknown recipient and an unknown group", async () => {
  const { hub } = setUp();
  const alice = await base(hub, "alice"), bob = await base(hub, "bob");
  alice.say({ sender: "bob", recipient: "bob", content: "hi" });
  alice.tell("nobody", "hi");
  alice.tell("#nothing", "hi");
  await settle();
  const codes = alice.frames.map((frame) => frame.type === "error" ? frame.code : "");
  assertEquals(codes.sort(), ["forbidden", "unknown_group", "unknown_recipient"]);
  alice.tell("bob", "still here");
  await settle();
  assertEquals(bob.contents, ["still here"]);
  close(alice, bob);
});

Deno.test("Hub refuses binary frames, frames over the limit and frames of the extended level before hello, and chats on", async () => {
  const { hub } = setUp({ frameBytes: 1_000 });
  const alice = await base(hub, "alice"), bob = await base(hub, "bob");
  alice.peer.receive(new Uint8Array(3).buffer);
  alice.tell("bob", "x".repeat(1_000));
  alice.say({ type: "ping" });
  await settle();
  assertEquals(alice.frames.map((frame) => (frame as ServerFrameOf<"error">).code), [
    "binary_frame",
    "too_large",
    "hello_required",
  ]);
  alice.tell("bob", "hi");
  await settle();
  assertEquals(bob.contents, ["hi"]);
  close(alice, bob);
});

Deno.test("Hub closes a connection after too many bad frames, and a frame far over the limit at once", async () => {
  const { hub } = setUp({ refusalsMax: 3, frameBytes: 100 });
  const alice = await base(hub, "alice"), bob = await base(hub, "bob");
  for (let i = 0; i < 4; i++) alice.peer.receive("nonsense");
  bob.peer.receive("x".repeat(10_000));
  assertEquals([alice.closed?.code, bob.closed?.code], [CLOSE_CODES.policy.code, CLOSE_CODES.too_big.code]);
});

Deno.test("Hub register and unregister are idempotent and leave nothing in any map", async () => {
  const { hub } = setUp();
  const devices = [
    await extended(hub, "alice"),
    await base(hub, "alice"),
    await extended(hub, "bob"),
    new Device(hub),
    new Device(hub, "carol"),
  ];
  devices[0]!.say({ type: "watch", users: ["bob", "nobody"] });
  devices[0]!.tell("bob", "hi", "1");
  await settle();
  assert(hub.counts.users === 2 && hub.counts.sessions === 5 && hub.counts.presence === 2);
  for (const device of devices) {
    device.peer.gone(true);
    device.peer.gone(false);
    device.peer.receive('{"sender":"alice","recipient":"bob","content":"from the grave"}');
    device.peer.close("bye", "again");
  }
  await settle();
  assertEquals(hub.counts, { users: 0, sessions: 0, presence: 0 });
});

Deno.test("Hub survives a connection that throws, and the others do not notice", async () => {
  const { hub, reports } = setUp();
  const alice = await base(hub, "alice"), bob = await base(hub, "bob"), mallory = await base(hub, "bob");
  mallory.send = () => {
    throw new Error("broken pipe");
  };
  alice.tell("bob", "hi");
  await settle();
  assertEquals(bob.contents, ["hi"]);
  assert(reports.length > 0);
  close(alice, bob, mallory);
});

Deno.test("Hub closes a connection that reads nothing with 4100, and it resumes without loss", async () => {
  const { hub } = setUp({ queueBytes: 10_000 });
  const alice = await base(hub, "alice"), bob = await extended(hub, "bob");
  const { epoch, seq } = bob.last("welcome");
  bob.buffered = 9_950;
  for (let i = 0; i < 10; i++) alice.tell("bob", `message ${i}`);
  await settle();
  assertEquals(bob.closed?.code, CLOSE_CODES.slow.code);
  const again = await extended(hub, "bob", "laptop", { resume: { epoch, seq } });
  assertEquals(again.last("welcome").recovered, true);
  assertEquals(again.contents, Array.from({ length: 10 }, (_, i) => `message ${i}`));
  close(alice, again);
});

Deno.test("Hub keeps messages for a user who is away and delivers them in order, once", async () => {
  const { hub } = setUp();
  const alice = await base(hub, "alice");
  const bob = await extended(hub, "bob");
  const { epoch, seq } = bob.last("welcome");
  close(bob);
  for (let i = 0; i < 300; i++) alice.tell("bob", `m${i}`);
  await settle();
  const again = new Device(hub, "bob");
  again.say({ type: "hello", v: 1, device: "laptop", resume: { epoch, seq } });
  // Live messages while the backlog is read: they neither overtake nor double.
  for (let i = 300; i < 310; i++) alice.tell("bob", `m${i}`);
  await settle();
  assertEquals(again.contents, Array.from({ length: 310 }, (_, i) => `m${i}`));
  again.say({ type: "ack", seq: again.last("synced").seq });
  await settle();
  close(again);
  const third = await extended(hub, "bob");
  assertEquals(third.contents, []);
  close(alice, third);
});

Deno.test("Hub ends a base connection's backlog when that says hello: nothing before the welcome, and all once and in order", async () => {
  const { hub, broker } = setUp();
  const alice = await extended(hub, "alice"), phone = await extended(hub, "bob", "phone");
  close(phone);
  const drafts = Array.from(
    { length: 300 },
    (_, i) => ({ sender: "alice", recipient: "bob", content: `${i}`, id: undefined, origin: "laptop" }),
  );
  await broker.append(drafts);
  const bob = new Device(hub);
  const hello = { type: "hello", v: 1, name: "bob", device: "phone" };
  bob.peer.receive(`${JSON.stringify({ sender: "bob", recipient: "alice", content: "x" })}\n${JSON.stringify(hello)}`);
  await settle();
  assertEquals(bob.frames[0]!.type, "welcome");
  assertEquals(bob.contents.filter((content) => content !== "x"), drafts.map(({ content }) => content));
  assertEquals(bob.frames.filter(({ type }) => type === "synced").length, 1);
  close(alice, bob);
});

Deno.test("Hub tells a device all of its many markers, as fast as the connection takes them", async () => {
  const { hub, broker } = setUp({ queueBytes: 20_000 });
  const alice = await extended(hub, "alice");
  close(alice);
  await broker.group({ op: "create", user: "alice", group: "#all", open: true });
  const readers = Array.from({ length: 300 }, (_, i) => `reader${i}`);
  for (const user of readers) await broker.group({ op: "join", user, group: "#all" });
  const [sent] = await broker.append([{ sender: "alice", recipient: "#all", content: "hi", id: undefined, origin: "laptop" }]);
  assert("seq" in sent!);
  await broker.mark(readers.map((user) => ({ user, kind: "read" as const, with: "#all", seq: sent.seq })));
  const again = new Device(hub, "alice");
  again.send = (frame) => {
    again.sent.push(frame);
    again.buffered += frame.length;
    setImmediate(() => again.buffered = 0); // its peer reads
    return true;
  };
  again.say({ type: "hello", v: 1, name: "alice", device: "laptop" });
  while (!again.closed && !again.frames.some(({ type }) => type === "synced")) await settle();
  assertEquals(again.closed, undefined);
  assertEquals(again.frames.filter(({ type }) => type === "receipt").length, 2 * readers.length);
  close(again);
});

Deno.test("Hub says plainly when a device cannot resume", async () => {
  const { hub } = setUp();
  const bob = await extended(hub, "bob");
  close(bob);
  const lost = await extended(hub, "bob", "laptop", { resume: { epoch: "another", seq: 0 } });
  assertEquals(lost.last("welcome").recovered, false);
  close(lost);
  const { epoch, seq } = lost.last("welcome");
  const future = await extended(hub, "bob", "laptop", { resume: { epoch, seq: seq + 1 } });
  assertEquals(future.last("welcome").recovered, false);
  close(future);
  const nothingSeen = await extended(hub, "bob", "laptop", { resume: { epoch, seq } });
  assertEquals(nothingSeen.last("welcome").recovered, true);
  close(nothingSeen);
});

Deno.test("Hub gives a base connection what was missed since the last one, as base frames", async () => {
  const { hub } = setUp({ helloGraceMs: 0 });
  const alice = await base(hub, "alice"), bob = await base(hub, "bob");
  alice.tell("bob", "one");
  await settle();
  close(bob);
  alice.tell("bob", "two");
  await settle();
  const again = await base(hub, "bob");
  assertEquals([bob.contents, again.contents], [["one"], []]);
  assertEquals(again.closed, undefined);
  const all = new Device(hub, "bob");
  all.tell("alice", "here");
  await settle();
  assertEquals(all.contents, []);
  close(alice, again, all);
});

Deno.test("Hub tells the broker at once what a device has, then not before long, and at the end", async () => {
  const broker = new MemoryBroker();
  const { hub } = setUp({ broker, confirmIntervalMs: 60_000 });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), carol = await base(hub, "carol");
  const moves: string[] = [];
  const advance = broker.advance.bind(broker);
  broker.advance = (list) => {
    moves.push(...list.map(({ user, seq }) => `${user} ${seq}`));
    return advance(list);
  };
  for (const id of ["1", "2", "3"]) {
    alice.tell("bob", "hi", id);
    await settle();
    bob.say({ type: "ack", seq: alice.last("ack").seq });
    await settle();
  }
  assertEquals(moves, ["bob 1"]);
  alice.tell("carol", "hi");
  await settle();
  assertEquals([moves, carol.contents], [["bob 1"], ["hi"]], "carol was asked when she came");
  close(bob, carol);
  assertEquals(moves, ["bob 1", "bob 3", "carol 4"]);
  close(alice);
});

Deno.test("Hub tells the author what was delivered soon after, where it has gathered", async () => {
  const { hub } = setUp({ confirmIntervalMs: 1 });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob");
  for (const id of ["1", "2", "3"]) {
    alice.tell("bob", "hi", id);
    await settle();
    bob.say({ type: "ack", seq: alice.last("ack").seq });
  }
  const isTold = () => alice.frames.some((frame) => frame.type === "receipt" && frame.seq === alice.last("ack").seq);
  while (!isTold()) await settle();
  close(alice, bob);
});

Deno.test("Hub tells the author what was delivered and read, and read to the reader's own devices", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), phone = await extended(hub, "bob", "phone");
  alice.tell("bob", "hi", "1");
  await settle();
  const { seq } = alice.last("ack");
  bob.say({ type: "ack", seq });
  await settle();
  const delivered = alice.last("receipt");
  assertEquals([delivered.kind, delivered.user, delivered.with, delivered.seq], ["delivered", "bob", "alice", seq]);
  phone.say({ type: "ack", seq });
  await settle();
  assertEquals(alice.frames.filter((frame) => frame.type === "receipt").length, 1);
  bob.say({ type: "receipt", kind: "read", with: "alice", seq });
  await settle();
  assertEquals([alice.last("receipt").kind, phone.last("receipt").kind], ["read", "read"]);
  assertEquals(phone.last("receipt").user, "bob");

  alice.tell("bob", "more", "2");
  await settle();
  alice.peer.gone(true);
  const resume = { epoch: alice.last("welcome").epoch, seq: alice.last("ack").seq };
  const again = await extended(hub, "alice", "laptop", { resume });
  assertEquals(again.frames.filter((frame) => frame.type === "receipt"), []);
  again.peer.gone(true);
  const afresh = await extended(hub, "alice", "laptop");
  assertEquals(afresh.last("receipt").seq, seq, "who does not resume is told all");
  close(bob, phone, afresh);
});

Deno.test("Hub replaces a device that connects again", async () => {
  const { hub } = setUp();
  const old = await extended(hub, "alice"), renewed = await extended(hub, "alice");
  assertEquals([old.closed?.code, renewed.closed], [CLOSE_CODES.replaced.code, undefined]);
  assertEquals(hub.counts.sessions, 1);
  close(renewed);
});

Deno.test("Hub tells watchers who comes and goes", async () => {
  const { hub } = setUp({ presenceGraceMs: 0 });
  const alice = await extended(hub, "alice");
  alice.say({ type: "watch", users: ["bob"] });
  await settle();
  assertEquals(alice.last("presence").status, "offline");
  const bob = await extended(hub, "bob");
  assertEquals(alice.last("presence").status, "online");
  bob.say({ type: "presence", status: "away" });
  await settle();
  assertEquals(alice.last("presence").status, "away");
  close(bob);
  await settle();
  assertEquals(alice.last("presence").status, "offline");
  assertExists(alice.last("presence").last_seen);
  close(alice);
});

Deno.test("Hub routes a group's messages to its members and to nobody else", async () => {
  const { hub } = setUp();
  const [alice, bob, carol] = [await extended(hub, "alice"), await extended(hub, "bob"), await extended(hub, "carol")];
  alice.say({ type: "group", op: "create", group: "#Ops", id: "g1" });
  bob.say({ type: "group", op: "join", group: "#ops", id: "g2" });
  await settle();
  const replies = [alice, bob].map((device) => device.frames.find((frame) => frame.type === "group"));
  assertEquals(replies.map((frame) => frame?.id), ["g1", "g2"]);
  assertEquals([alice.last("group").op, alice.last("group").user], ["join", "bob"]);
  alice.tell("#ops", "hello all", "1");
  carol.tell("#ops", "let me in", "2");
  await settle();
  assertEquals([bob.contents, carol.contents], [["hello all"], []]);
  assertEquals(carol.last("error").code, "not_member");
  bob.say({ type: "group", op: "members", group: "#ops", id: "g3" });
  await settle();
  assertEquals(bob.last("group").members?.toSorted(), ["alice", "bob"]);
  close(alice, bob, carol);
});

Deno.test("Hub answers history in order, a page at a time, to those who took part", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), carol = await extended(hub, "carol");
  for (let i = 0; i < 10; i++) alice.tell("bob", `m${i}`);
  await settle();
  bob.say({ type: "history", id: "h1", with: "alice", limit: 3 });
  await settle();
  const page = bob.last("history");
  assertEquals([page.messages.map((message) => message.content), page.more], [["m7", "m8", "m9"], true]);
  bob.say({ type: "history", id: "h2", with: "alice", before: page.messages[0]!.seq! });
  await settle();
  assertEquals(bob.last("history").messages.length, 7);
  carol.say({ type: "history", id: "h3", with: "alice" });
  await settle();
  assertEquals(carol.frames.flatMap((frame) => frame.type === "history" ? frame.messages : []), []);
  close(alice, bob, carol);
});

Deno.test("Hub cuts a page of history by what it takes on the wire, and says that there is more", async () => {
  for (const queueBytes of [1_048_576, 65_536]) {
    const { hub, broker } = setUp({ queueBytes });
    const alice = await extended(hub, "alice"), bob = await extended(hub, "bob");
    close(alice);
    const content = "\u0001".repeat(4_000); // six bytes each
    for (let i = 0; i < 100; i++) {
      await broker.append([{ sender: "alice", recipient: "bob", content, id: undefined, origin: "laptop" }]);
    }
    bob.take();
    for (const type of ["history", "conversations"] as const) {
      bob.say(type === "history" ? { type, with: "alice", limit: 500 } : { type });
      await settle();
      assertEquals(bob.closed, undefined, `${type} with ${queueBytes}`);
    }
    const page = bob.last("history");
    assert(page.more && page.messages.length > 0 && page.messages.length < 100);
    close(bob);
  }
});

Deno.test("Hub gathers the receipts of a turn, and counts those that come with no message", async () => {
  const broker = new MemoryBroker();
  const marks: string[] = [];
  const mark = broker.mark.bind(broker);
  broker.mark = (all) => {
    marks.push(all.map(({ kind, with: other }) => `${kind} ${other}`).join());
    return mark(all);
  };
  let counted = 0;
  const { hub } = setUp({
    broker,
    defer: setImmediate,
    rateLimit: { consume: (user) => user === "bob" && ++counted > 1 ? 500 : 0 },
  });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob");
  alice.tell("bob", "one", "1");
  await settle();
  const { seq } = alice.last("ack");
  // Two of these are the welcome's, two the message's, and one within the rate.
  for (let i = 0; i < 6; i++) bob.say({ type: "receipt", kind: "read", with: "alice", seq });
  await settle();
  assertEquals([marks, counted], [["read alice"], 2]);
  assertEquals(bob.last("error").code, "rate_limited");
  assertEquals(alice.last("receipt"), {
    type: "receipt",
    kind: "read",
    user: "bob",
    with: "alice",
    seq,
    ts: alice.last("receipt").ts,
  });
  close(alice, bob);
});

Deno.test("Hub keeps what comes before the welcome, but neither too many frames nor too much of them", async () => {
  const broker = new MemoryBroker();
  broker.attach = () => new Promise(() => {});
  const { hub } = setUp({ broker });
  const { code: flood } = CLOSE_CODES.flood;
  const cases: [number, number, number | undefined][] = [
    [60_000, 17, undefined],
    [60_000, 18, flood],
    [1, 4_096, undefined],
    [1, 4_097, flood],
  ];
  for (const [chars, frames, code] of cases) {
    const bob = new Device(hub, "bob");
    bob.say({ type: "hello", v: 1, device: "d" });
    for (let i = 0; i < frames; i++) bob.peer.receive("x".repeat(chars));
    assertEquals(bob.closed?.code, code);
    close(bob);
  }
  await settle();
});

Deno.test("Hub closes those who never say who they are", async () => {
  const { hub } = setUp({ helloTimeoutMs: 0 });
  const silent = new Device(hub);
  await new Promise((resolve) => setTimeout(resolve, 1));
  assertEquals(silent.closed?.code, CLOSE_CODES.nameless.code);
  assertEquals(hub.counts.sessions, 0);
});

Deno.test("Hub lets only administrators list and disconnect users", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice");
  const root = new FakeConnection();
  const peer = hub.connect(root, { user: "root", admin: true });
  peer.receive('{"type":"hello","v":1}');
  alice.say({ type: "admin", op: "list", id: "1" });
  await settle();
  assertEquals(alice.last("error").code, "forbidden");
  peer.receive('{"type":"admin","op":"disconnect","user":"alice","id":"2"}');
  await settle();
  assertEquals(alice.closed?.code, CLOSE_CODES.revoked.code);
  peer.gone(true);
});

Deno.test("Hub cuts a list of users that is too long for an answer, and says so", async () => {
  const { hub } = setUp();
  const crowd = Array.from({ length: 3_000 }, (_, i) => new Device(hub, String(i).padStart(64, "u")));
  for (const device of crowd) device.say({ type: "hello", v: 1, device: "d" });
  const root = new FakeConnection();
  const peer = hub.connect(root, { user: "root", admin: true });
  peer.receive('{"type":"hello","v":1}');
  await settle();
  peer.receive('{"type":"admin","op":"list"}');
  await settle();
  const answer = root.frames.findLast((frame) => frame.type === "admin");
  assert(answer?.type === "admin" && answer.more && answer.users!.length > 1_000 && answer.users!.length < 3_000);
  assert(root.sent.at(-1)!.length < 512 * 1_024);
  close(...crowd);
  peer.gone(true);
});

Deno.test("Hub drains: what is in flight is stored and acked, then everybody is told to come back", async () => {
  const { hub } = setUp({ defer: setImmediate });
  const alice = await extended(hub, "alice");
  alice.tell("alice", "last words", "1");
  await hub.drain("restart", "The server is restarting");
  assertEquals(alice.last("ack").id, "1");
  assertEquals(alice.closed?.code, CLOSE_CODES.restart.code);
  assertEquals(hub.counts, { users: 0, sessions: 0, presence: 0 });
});
