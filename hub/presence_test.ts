import { assertEquals, assertExists } from "@std/assert";
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
