import { assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { MemoryBroker } from "../broker/memory.ts";
import { base, close, type Device, extended, settle, setUp } from "../testing/hub_devices.ts";

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

Deno.test("Hub moves no marker of a conversation of which the device has confirmed nothing yet", async () => {
  const broker = new MemoryBroker();
  const { hub } = setUp({ broker, confirmIntervalMs: 0 });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), carol = await extended(hub, "carol");
  const moves: string[] = [];
  const mark = broker.mark.bind(broker);
  broker.mark = (list) => {
    moves.push(...list.map(({ with: other, seq }) => `${other} ${seq}`));
    return mark(list);
  };
  const tell = async (from: Device, id: string) => {
    from.tell("bob", "hi", id);
    await settle();
    return from.last("ack").seq;
  };
  const confirm = async (seq: number) => {
    bob.say({ type: "ack", seq });
    await settle();
  };
  const first = await tell(alice, "1"), second = await tell(carol, "1"), third = await tell(alice, "2");
  await confirm(first);
  assertEquals(moves, [`alice ${first}`]);
  await confirm(third);
  assertEquals(moves.slice(1).toSorted(), [`alice ${third}`, `carol ${second}`]);
  close(alice, bob, carol);
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

Deno.test("Hub takes a device's first confirmation for everything up to there: its user's mailbox is empty, and the authors know", async () => {
  const { hub, broker } = setUp({ broker: new MemoryBroker({ mailbox: 4 }) });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), carol = await extended(hub, "carol");
  close(bob);
  for (const id of ["1", "2", "3"]) alice.tell("bob", "hi", id);
  await settle();
  assertEquals(alice.last("error").code, "mailbox_full");
  const phone = await extended(hub, "bob", "phone", { last: 1 });
  phone.say({ type: "ack", seq: phone.last("synced").seq });
  await settle();
  assertEquals(alice.frames.filter((frame) => frame.type === "receipt").map(({ seq }) => seq), [2]);
  for (const id of ["4", "5"]) carol.tell("bob", "hi", id);
  close(phone);
  await settle();
  const resume = { epoch: broker.epoch, seq: 4 };
  const again = await extended(hub, "bob", "laptop", { resume });
  again.say({ type: "ack", seq: 4 });
  await settle();
  assertEquals([again.contents, carol.last("receipt").seq], [[], 4]);
  alice.tell("bob", "hi", "6");
  await settle();
  assertEquals(again.contents, ["hi"]);
  close(alice, carol, again);
});

Deno.test("Hub tells a private read marker to its user's own devices, counts by it, and tells the author nothing", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), phone = await extended(hub, "bob", "phone");
  alice.tell("bob", "hi", "1");
  await settle();
  const { seq } = alice.last("ack");
  bob.say({ type: "receipt", kind: "read", with: "alice", seq, private: true });
  bob.say({ type: "conversations", id: "c" });
  await settle();
  const kinds = ({ frames }: Device) => frames.flatMap((frame) => frame.type === "receipt" ? [frame.kind] : []);
  assertEquals([kinds(alice), kinds(phone)], [[], ["read"]]);
  assertEquals(bob.last("conversations").conversations.map(({ read, unread }) => [read, unread]), [[seq, 0]]);
  bob.say({ type: "receipt", kind: "read", with: "alice", seq });
  await settle();
  assertEquals(kinds(alice), ["read"]);
  close(alice, bob, phone);
});
