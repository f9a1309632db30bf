import { assertEquals } from "@std/assert";
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
