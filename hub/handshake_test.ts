import { assert, assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { BASE_DEVICE } from "../broker.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { CLOSE_CODES } from "../protocol.ts";
import { base, close, Device, extended, settle, setUp } from "../testing/hub_devices.ts";

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

/** Makes a broker that has `pages` of 4,000 markers for everybody: what counts as a frame each. */
function withMarkers(pages: number): MemoryBroker {
  const broker = new MemoryBroker();
  const marker = { user: "bob", kind: "read", with: "#all", seq: 1, ts: 1 } as const;
  broker.markers = async function* () {
    for (let page = 0; page < pages; page++) yield await Promise.resolve(Array.from({ length: 4_000 }, () => marker));
  };
  return broker;
}

function receiptsOf(device: Device): number {
  return device.frames.filter(({ type }) => type === "receipt").length;
}

Deno.test("Hub counts the many receipts of a hello against the rate, and goes on with them when that allows it", async () => {
  const costs: number[] = [], waits = [0, 1, 1, 0, 0];
  const rateLimit = { consume: (_: string, cost: number) => (costs.push(cost), waits.shift() ?? 0) };
  const { hub } = setUp({ broker: withMarkers(3), queueBytes: Infinity, rateLimit });
  const alice = new Device(hub, "alice");
  alice.say({ type: "hello", v: 1, device: "laptop" });
  while (!alice.closed && !alice.sent.at(-1)?.includes('"synced"')) await settle();
  assertEquals([receiptsOf(alice), costs], [12_000, [1, 1, 1, 1, 1]]);
  close(alice);
});

Deno.test("Hub sends no more receipts to a connection that ends while it waits for the rate, and closes one that ignores it", async () => {
  for (const [wait, receipts, code] of [[1_000_000, 4_000, undefined], [Infinity, 4_000, CLOSE_CODES.flood.code]] as const) {
    const { hub } = setUp({ broker: withMarkers(3), queueBytes: Infinity, rateLimit: { consume: () => wait } });
    const alice = new Device(hub, "alice");
    alice.say({ type: "hello", v: 1, device: "laptop" });
    await settle();
    assertEquals([receiptsOf(alice), alice.closed?.code], [receipts, code]);
    close(alice);
    await settle();
    assertEquals(receiptsOf(alice), receipts);
  }
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

Deno.test("Hub gives mail that waited to the first device of a user who was never here, whatever last it asks for", async () => {
  for (const user of [undefined, "new"]) { // named by hello, and before it
    const { hub, broker } = setUp();
    const alice = await extended(hub, "alice");
    await broker.seen(["new"], 0);
    for (const content of ["one", "two"]) alice.tell("new", content);
    await settle();
    const first = new Device(hub, user);
    first.say({ type: "hello", v: 1, name: "new", device: "phone", last: 0 });
    await settle();
    assertEquals(first.contents, ["one", "two"]);
    close(alice, first);
  }
});

Deno.test("Hub keeps what comes before the level of a connection is settled, also where another device has it by then", async () => {
  for (const wasHere of [false, true]) {
    const { hub, broker } = setUp();
    const alice = await extended(hub, "alice");
    const others = wasHere ? [await extended(hub, "bob", "phone")] : [];
    if (wasHere) await broker.seen(["bob"], 1);
    const bob = new Device(hub, "bob");
    await settle();
    alice.tell("bob", "soon");
    await settle();
    for (const phone of others) phone.say({ type: "ack", seq: 1 });
    await settle();
    bob.tell("nobody", ""); // the base level
    await settle();
    assertEquals(bob.contents, ["soon"]);
    close(alice, bob, ...others);
  }
});

Deno.test("Hub tells a device that resumes where the log has lost messages, and the broker which names it made up", async () => {
  const broker = new MemoryBroker();
  const attach = broker.attach.bind(broker), seen: [string, unknown][] = [];
  broker.attach = async (user, device, options) => {
    seen.push([device.slice(0, 2), options]);
    return { ...await attach(user, device, options), isLost: options?.resume === 0 };
  };
  const { hub } = setUp({ broker });
  const bob = new Device(hub, "bob");
  bob.say({ type: "hello", v: 1, name: "bob", last: 3 });
  await settle();
  const { epoch } = bob.last("welcome");
  close(bob);
  const resumed = await extended(hub, "bob", "laptop", { resume: { epoch, seq: 0 } });
  assertEquals(resumed.last("welcome").recovered, false);
  close(resumed);
  close(await extended(hub, "bob", "laptop", { resume: { epoch: "another", seq: 0 } }));
  const named = seen.filter(([device]) => device !== "~");
  assertEquals(named, [
    ["d-", { last: 3, temporary: true, resume: undefined }],
    ["la", { last: undefined, temporary: false, resume: 0 }],
    ["la", { last: undefined, temporary: false, resume: undefined }],
  ]);
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

Deno.test("Hub counts what a hello asks of the past against the rate, and lets it be said again", async () => {
  const costs: number[] = [];
  let wait = 0;
  const { hub } = setUp({
    rateLimit: {
      consume: (_, cost) => {
        costs.push(cost);
        return wait;
      },
    },
  });
  const bob = await extended(hub, "bob", "laptop", { last: 500 });
  assertEquals(costs, []);
  close(bob, await extended(hub, "bob", "phone", { last: 10_000 }));
  assertEquals(costs, [19]);
  wait = 700;
  const late = new Device(hub);
  const hello = { type: "hello", v: 1, name: "bob", device: "tablet", last: 501 };
  late.say(hello);
  await settle();
  const { code, retryable, retry_after_ms } = late.last("error");
  assertEquals([late.frames.length, code, retryable, retry_after_ms], [1, "rate_limited", true, 700]);
  wait = 0;
  late.say(hello);
  await settle();
  assertEquals([late.last("welcome").device, costs], ["tablet", [19, 1, 1]]);
  wait = Infinity;
  const flood = new Device(hub, "bob");
  flood.say({ ...hello, device: "watch" });
  assertEquals(flood.closed?.code, CLOSE_CODES.flood.code);
  close(late);
});

Deno.test("Hub gives a device that resumes all that its user was due of a group that it is no longer in, and nothing later", async () => {
  const { hub, broker } = setUp();
  const ann = await extended(hub, "ann"), phone = await extended(hub, "bob", "phone"), laptop = await extended(hub, "bob");
  ann.say({ type: "group", op: "create", group: "#g" });
  laptop.say({ type: "group", op: "join", group: "#g" });
  await settle();
  const seq = phone.last("synced").seq, { epoch } = phone.last("welcome");
  close(phone);
  for (const text of ["1", "2", "3"]) ann.tell("#g", text, text);
  await settle();
  ann.say({ type: "group", op: "remove", group: "#g", user: "bob" });
  await settle();
  ann.tell("#g", "not for bob", "4");
  await settle();
  const resume = { resume: { epoch, seq } };
  const again = await extended(hub, "bob", "phone", resume);
  assertEquals([again.last("welcome").recovered, again.contents], [true, ["1", "2", "3"]]);
  // Once all its devices have it, it is not kept: who goes back behind it is told.
  for (const device of [laptop, again]) device.say({ type: "ack", seq: again.last("synced").seq });
  await broker.advance([{ user: "bob", device: BASE_DEVICE, seq: again.last("synced").seq }]);
  await settle();
  close(again);
  const back = await extended(hub, "bob", "phone", resume);
  assertEquals([back.last("welcome").recovered, back.contents], [false, []]);
  assertEquals((await broker.read("bob", 0, 10)).messages, []);
  close(ann, laptop, back);
});

Deno.test("Hub skips nothing that is still there for a device that has missed something", async () => {
  const { hub, broker } = setUp({ broker: new MemoryBroker({ messagesMax: 10 }) });
  for (const user of ["ann", "bob", "cat"]) await broker.attach(user, "phone");
  const message = (sender: string, recipient: string, content: string) => ({
    sender,
    recipient,
    content,
    id: undefined,
    origin: "",
  });
  await broker.append([message("ann", "bob", "waits")]);
  for (let n = 0; n < 30; n++) {
    const [sent] = await broker.append([message("cat", "bob", `${n}`)]);
    assert("seq" in sent!);
    await broker.mark([{ user: "bob", kind: "delivered", with: "cat", seq: sent.seq }]);
  }
  const bob = await extended(hub, "bob", "phone");
  assertEquals([bob.last("welcome").recovered, bob.contents[0], bob.contents.at(-1)], [false, "waits", "29"]);
  close(bob);
});

Deno.test("Hub tells whom it cannot let in, as the store fails, that this is unavailable, and to come back later", async () => {
  class FullDisk extends MemoryBroker {
    override attach(): ReturnType<MemoryBroker["attach"]> {
      return Promise.reject(new Error("database or disk is full"));
    }
  }
  const { hub, reports } = setUp({ broker: new FullDisk() });
  const hello = new Device(hub), named = new Device(hub, "bob");
  hello.say({ type: "hello", v: 1, name: "ann" });
  named.say({ sender: "bob", recipient: "ann", content: "hi" });
  await settle();
  for (const device of [hello, named]) {
    const error = JSON.parse(device.sent[0]!);
    assertEquals([error.type, error.code, error.retryable], ["error", "unavailable", true]);
    assertEquals(device.closed?.code, CLOSE_CODES.overloaded.code);
  }
  assert(reports.some((line) => line.includes("disk is full")));
});
