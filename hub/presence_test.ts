import { assert, assertEquals, assertExists } from "@std/assert";
import { close, extended, settle, setUp } from "../testing/hub_devices.ts";

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

Deno.test("Hub compares a user's status before and after every join and leave of a device", async () => {
  const { hub } = setUp({ presenceGraceMs: 60_000 });
  const bob = await extended(hub, "bob");
  bob.say({ type: "watch", users: ["alice"] });
  await settle();
  const told = () => bob.take().flatMap((frame) => frame.type === "presence" ? [frame.status] : []);
  assertEquals(told(), ["offline"]);
  const away = await extended(hub, "alice", "a1");
  away.say({ type: "presence", status: "away" });
  await settle();
  assertEquals(told(), ["online", "away"]);
  const online = await extended(hub, "alice", "a2");
  assertEquals(told(), ["online"]);
  const third = await extended(hub, "alice", "a3");
  third.say({ type: "presence", status: "away" });
  await settle();
  assertEquals(told(), [], "nothing changed for who watches");
  close(online);
  await settle();
  assertEquals(told(), ["away"]);
  close(third, away);
  await settle();
  assertEquals(told(), ["offline"]);
  close(bob);
});

Deno.test("Hub tells of somebody who drops off and is back at once nothing, and else when they left", async () => {
  const { hub, broker } = setUp({ presenceGraceMs: 20 });
  const bob = await extended(hub, "bob"), alice = await extended(hub, "alice");
  bob.say({ type: "watch", users: ["alice"] });
  await settle();
  bob.take();
  alice.peer.gone(false);
  const back = await extended(hub, "alice");
  assertEquals(bob.take(), []);
  const before = Date.now();
  back.peer.gone(false);
  const after = Date.now();
  while (bob.frames.length === 0) await settle();
  const [kept] = await broker.lastSeen(["alice"]);
  assert(kept! >= before && kept! <= after);
  assertEquals(bob.last("presence").last_seen, new Date(kept!).toISOString(), "the notice says what is kept");
  close(bob);
});
