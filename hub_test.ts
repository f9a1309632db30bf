import { assert, assertEquals } from "@std/assert";
import { setImmediate } from "node:timers";
import { CLOSE_CODES } from "./protocol.ts";
import { base, close, Device, extended, settle, setUp } from "./testing/hub_devices.ts";

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

Deno.test("Hub replaces a device that connects again", async () => {
  const { hub } = setUp();
  const old = await extended(hub, "alice"), renewed = await extended(hub, "alice");
  assertEquals([old.closed?.code, renewed.closed], [CLOSE_CODES.replaced.code, undefined]);
  assertEquals(hub.counts.sessions, 1);
  close(renewed);
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

Deno.test("Hub drains: what is in flight is stored and acked, then everybody is told to come back", async () => {
  const { hub } = setUp({ defer: setImmediate });
  const alice = await extended(hub, "alice");
  alice.tell("alice", "last words", "1");
  await hub.drain("restart", "The server is restarting");
  assertEquals(alice.last("ack").id, "1");
  assertEquals(alice.closed?.code, CLOSE_CODES.restart.code);
  assertEquals(hub.counts, { users: 0, sessions: 0, presence: 0 });
});

Deno.test("Hub takes a message from a backend without a connection, and delivers it to the devices of both", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice"), plain = await base(hub, "alice"), bob = await extended(hub, "bob");
  const message = { sender: "alice", recipient: "bob", content: "from the shop", id: "order-1" };
  const first = await hub.submit(message);
  await settle();
  for (const device of [alice, plain, bob]) assertEquals(device.contents, ["from the shop"]);
  assert("seq" in first && !first.duplicate);
  assertEquals(await hub.submit(message), { ...first, duplicate: true });
  const refused = await hub.submit({ ...message, recipient: "nobody", id: undefined });
  assert("code" in refused && refused.code === "unknown_recipient");
  close(alice, plain, bob);
});

Deno.test("Hub tells a backend that the broker failed, as it tells a connection", async () => {
  const { hub, broker, reports } = setUp();
  const alice = await base(hub, "alice");
  broker.append = () => Promise.reject(new Error("disk on fire"));
  const answer = hub.submit({ sender: "alice", recipient: "alice", content: "hi", id: undefined });
  alice.tell("alice", "hi", "1");
  await settle();
  const result = await answer;
  assert("code" in result && result.code === "unavailable");
  assertEquals([alice.last("error").code, alice.last("error").id], ["unavailable", "1"]);
  assertEquals(reports, ["append: Error: disk on fire"]);
  close(alice);
});

Deno.test("Hub takes nothing more while it drains: what came before is acked, what comes later is its sender's to repeat", async () => {
  const { hub, broker } = setUp({ defer: setImmediate });
  const alice = await extended(hub, "alice");
  const append = broker.append.bind(broker);
  const disk = Promise.withResolvers<void>();
  broker.append = async (drafts) => {
    await disk.promise;
    return await append(drafts);
  };
  alice.tell("alice", "before", "1");
  await settle();
  const drained = hub.drain("restart", "The server is restarting");
  for (const id of ["2", "3"]) alice.tell("alice", "after", id);
  await settle();
  disk.resolve();
  await drained;
  assertEquals(alice.frames.flatMap((frame) => frame.type === "ack" ? [frame.id] : []), ["1"]);
  assertEquals(alice.closed?.code, CLOSE_CODES.restart.code);
  const page = await broker.read("alice", 0, 10);
  assertEquals(page.messages.map(({ content }) => content), ["before"]);
});

Deno.test("Hub closes many connections over a while before it ends, and serves the others meanwhile", async () => {
  const { hub } = setUp({ defer: setImmediate });
  const devices: Device[] = [];
  for (let n = 0; n < 300; n++) devices.push(await extended(hub, `u${n}`));
  const open = () => devices.filter(({ closed }) => closed === undefined);
  await hub.disperse("restart", "The server is restarting", 0);
  assertEquals(open().length, devices.length, "no time, nobody closed");
  const begun = performance.now(), dispersed = hub.disperse("restart", "The server is restarting", 10_000);
  const last = devices.at(-1)!, before = devices.at(-2)!, counts = new Set([open().length]);
  last.tell("u298", "still here", "1");
  await settle();
  assertEquals([last.last("ack").id, before.contents], ["1", ["still here"]]);
  const looking = setInterval(() => counts.add(open().length), 5);
  await dispersed;
  clearInterval(looking);
  assert(performance.now() - begun >= 250, "a thousand a second at most");
  assert(counts.size >= 3, `all at once: ${[...counts]}`);
  assertEquals(devices.every(({ closed }) => closed?.code === CLOSE_CODES.restart.code), true);
  assertEquals(hub.counts.sessions, 0);
});

Deno.test("Hub says goodbye at the deadline of a drain, whatever the broker does", async () => {
  const { hub, broker } = setUp({ defer: setImmediate });
  const alice = await extended(hub, "alice");
  broker.append = () => new Promise(() => {});
  alice.tell("alice", "never stored", "1");
  await settle();
  await hub.drain("restart", "The server is restarting", Promise.resolve());
  assertEquals(alice.closed?.code, CLOSE_CODES.restart.code);
});

Deno.test("Hub tells who watches how long appends, turns and answers took, with counts and without names", async () => {
  const told: [string, ...(string | number)[]][] = [];
  const note = (kind: string) => (ms: number, ...rest: (string | number)[]) => {
    assert(ms >= 0 && ms < 60_000, `${kind} took ${ms}`);
    told.push([kind, ...rest]);
  };
  const { hub } = setUp({ slow: { appended: note("appended"), turned: note("turned"), answered: note("answered") } });
  const alice = await extended(hub, "alice"), bob = await base(hub, "bob");
  await settle();
  told.length = 0;
  alice.tell("bob", "one", "1");
  alice.tell("bob", "two", "2");
  await settle();
  alice.say({ type: "history", id: "h", with: "bob" });
  await settle();
  assertEquals(told.filter(([kind]) => kind !== "turned"), [["appended", 2], ["answered", "history"]]);
  const turns = told.filter(([kind]) => kind === "turned");
  const most = (field: number) => Math.max(...turns.map((turn) => Number(turn[field])));
  assertEquals([most(1), most(2)], [2, 2], `${turns}`);
  close(alice, bob);
});

Deno.test("Hub tells who watches how long it took to find a device, each page of its backlog, and a backend's page", async () => {
  const told: string[] = [];
  const slow = { appended() {}, turned() {}, answered: (_: number, request: string) => told.push(request) };
  const { hub } = setUp({ slow });
  const alice = await extended(hub, "alice");
  close(await extended(hub, "bob"));
  await settle();
  for (let i = 0; i < 200; i++) alice.tell("bob", `${i}`, `${i}`);
  await settle();
  told.length = 0;
  const bob = await extended(hub, "bob");
  await settle();
  assertEquals(told, ["hello", "backlog", "backlog"]);
  told.length = 0;
  await hub.backend.history("bob", { with: "alice" });
  await hub.backend.conversations("bob", {});
  assertEquals(told, ["history", "conversations"]);
  close(alice, bob);
});
