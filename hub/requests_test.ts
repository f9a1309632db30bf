import { assert, assertEquals } from "@std/assert";
import { CLOSE_CODES } from "../protocol.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { close, Device, extended, settle, setUp } from "../testing/hub_devices.ts";

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

Deno.test("Hub answers a search with what its user may read, and counts it more than a message", async () => {
  const costs: number[] = [];
  const { hub } = setUp({ rateLimit: { consume: (user, cost) => (user === "bob" && costs.push(cost), 0) } });
  const alice = await extended(hub, "alice"), bob = await extended(hub, "bob"), carol = await extended(hub, "carol");
  for (let i = 0; i < 5; i++) alice.tell("bob", `needle ${i}`);
  alice.tell("carol", "needle elsewhere");
  await settle();
  bob.say({ type: "search", query: "NEEDLE", limit: 2, id: "s1" });
  await settle();
  const { messages, more, before, indexed, id } = bob.last("search");
  assertEquals([messages.map(({ content }) => content), more, id], [["needle 3", "needle 4"], true, "s1"]);
  assertEquals(indexed, 6);
  bob.say({ type: "search", query: "needle", before });
  await settle();
  assertEquals(bob.last("search").messages.map(({ content }) => content), ["needle 0", "needle 1", "needle 2"]);
  assertEquals([bob.last("search").more, costs], [false, [4, 4]]);
  carol.say({ type: "search", query: "needle", with: "bob" });
  await settle();
  assertEquals(carol.last("search").messages, []);
  bob.say({ type: "search", query: "...", id: "s2" });
  await settle();
  assertEquals([bob.last("error").code, bob.last("error").id], ["bad_frame", "s2"]);
  close(alice, bob, carol);
});

Deno.test("Hub makes a user known for administrators alone, and mail waits for them", async () => {
  const { hub } = setUp();
  const alice = await extended(hub, "alice");
  const root = new FakeConnection();
  const peer = hub.connect(root, { user: "root", admin: true });
  peer.receive('{"type":"hello","v":1}');
  alice.say({ type: "admin", op: "create", user: "new", id: "1" });
  alice.tell("new", "too early");
  await settle();
  assertEquals(alice.frames.flatMap((frame) => frame.type === "error" ? frame.code : []), ["forbidden", "unknown_recipient"]);
  const create = async () => {
    peer.receive('{"type":"admin","op":"create","user":"New","id":"2"}');
    await settle();
    return root.frames.at(-1);
  };
  assertEquals<unknown>(await create(), { type: "admin", op: "create", user: "new", created: true, id: "2" });
  assertEquals<unknown>(await create(), { type: "admin", op: "create", user: "new", created: false, id: "2" });
  alice.tell("new", "welcome");
  await settle();
  const joined = await extended(hub, "new");
  assertEquals(joined.frames.flatMap((frame) => frame.type === undefined ? frame.content : []), ["welcome"]);
  close(alice, joined);
  peer.gone(true);
});

Deno.test("Hub cuts a list of users that is too long for an answer, says so, and goes on after a name", async () => {
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
  const listed = answer.users!.map(({ user }) => user);
  for (let page = answer; page.more;) {
    peer.receive(JSON.stringify({ type: "admin", op: "list", after: listed.at(-1) }));
    await settle();
    page = root.frames.at(-1) as typeof answer;
    listed.push(...page.users!.map(({ user }) => user));
  }
  assertEquals(listed, [...crowd.map(({ frames }) => (frames[0] as { user: string }).user), "root"].sort());
  close(...crowd);
  peer.gone(true);
});
