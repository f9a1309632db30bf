import { assert, assertEquals } from "@std/assert";
import { MemoryBroker } from "../broker/memory.ts";
import { CLOSE_CODES, type ServerFrameOf } from "../protocol.ts";
import { base, close, Device, extended, settle, setUp } from "../testing/hub_devices.ts";

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

Deno.test("Hub says synced to a device whose user leaves a group while the backlog is read", async () => {
  const broker = new MemoryBroker();
  const { hub } = setUp({ broker });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob");
  await broker.group({ op: "create", user: "alice", group: "#ops", open: true });
  await broker.group({ op: "join", user: "bob", group: "#ops" });
  close(bob);
  alice.tell("bob", "one", "1");
  await settle();
  const read = broker.read.bind(broker);
  let reads = 0;
  broker.read = async (user, after, limit) => {
    if (reads++ === 0) {
      alice.tell("#ops", "live", "2");
      await settle();
      await broker.group({ op: "remove", user: "alice", group: "#ops", target: "bob" });
    }
    if (reads > 100) throw new Error("the backlog is read for ever");
    return await read(user, after, limit);
  };
  const again = new Device(hub, "bob");
  again.say({ type: "hello", v: 1, device: "laptop" });
  while (!again.closed && !again.frames.some(({ type }) => type === "synced")) await settle();
  assertEquals(again.closed, undefined);
  assert(reads <= 3);
  alice.tell("bob", "two", "3");
  await settle();
  assertEquals(again.contents.filter((content) => content !== "live"), ["one", "two"]);
  close(alice, again);
});

Deno.test("Hub keeps an ack and a receipt that come right behind hello until the backlog has reached them", async () => {
  const broker = new MemoryBroker();
  const { hub } = setUp({ broker });
  const alice = await extended(hub, "alice"), first = await extended(hub, "bob");
  alice.tell("bob", "one", "1");
  alice.tell("bob", "two", "2");
  await settle();
  const { seq } = alice.last("ack"), { epoch } = first.last("welcome");
  close(first);
  const hello = { type: "hello", v: 1, device: "laptop" };
  const early = [{ type: "receipt", kind: "read", with: "alice", seq }, { type: "ack", seq }];

  const foreign = new Device(hub, "bob");
  for (const frame of [{ ...hello, resume: { epoch: "another", seq } }, ...early]) foreign.say(frame);
  await settle();
  assertEquals(foreign.contents, ["one", "two"]);
  close(foreign);
  assertEquals(
    alice.frames.filter(({ type }) => type === "receipt"),
    [],
    `positions of another log count for nothing in ${epoch}`,
  );

  const again = new Device(hub, "bob");
  for (const frame of [hello, ...early]) again.say(frame);
  await settle();
  assertEquals(again.contents, ["one", "two"], "it had confirmed nothing before");
  const told = alice.frames.flatMap((frame) => frame.type === "receipt" ? [`${frame.kind} ${frame.seq}`] : []);
  assertEquals(told.at(-1), `read ${seq}`);
  close(again);
  const third = await extended(hub, "bob");
  assertEquals(third.contents, []);
  close(alice, third);
});

Deno.test("Hub names the id of a frame that is over the limit, where it can be read", async () => {
  const { hub } = setUp({ frameBytes: 1_000 });
  const alice = await base(hub, "alice");
  alice.tell("alice", "x".repeat(1_000), "big");
  alice.peer.receive(`{"id":"${"x".repeat(1_000)}"}`);
  alice.peer.receive("[".repeat(1_500));
  const errors = alice.frames.map((frame) => frame.type === "error" ? [frame.code, frame.id] : []);
  await settle();
  assertEquals(alice.frames.map((frame) => frame.type === "error" ? [frame.code, frame.id] : []), [
    ["too_large", "big"],
    ["too_large", undefined],
    ["too_large", undefined],
  ]);
  assertEquals(errors, []);
  close(alice);
});
