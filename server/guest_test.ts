import { assertEquals } from "@std/assert";
import type { Receiver } from "../hub.ts";
import type { Slot } from "../limits/admission.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { type Admitted, Guests } from "./guest.ts";

/** A slot and a hub that note what they are told, and terms without a token. */
function place(openTimeoutMs?: number) {
  const told: string[] = [];
  const released = Promise.withResolvers<void>();
  let user = "";
  const slot: Slot = {
    claim: () => undefined,
    named: (name) => told.push(`named ${name}`),
    stalled: () => told.push("stalled"),
    release() {
      told.push("released");
      released.resolve();
    },
  };
  const receiver: Receiver = {
    get user() {
      return user;
    },
    receive: (data) => void (user = String(data)),
    gone: (clean) => told.push(`gone ${clean}`),
    close: (name) => told.push(`closed ${name}`),
  };
  const guests = new Guests({
    connect() {
      told.push("connected");
      return receiver;
    },
  }, openTimeoutMs);
  const admitted: Admitted = { identity: {}, slot, expiresAt: undefined, tokenId: undefined, protocol: undefined };
  return { told, guests, admitted, released: released.promise };
}

Deno.test("a guest is the hub's once it is open, and its slot's user once that has a name", () => {
  const { told, guests, admitted } = place();
  const guest = guests.admit(new FakeConnection(), admitted);
  assertEquals(told, []);
  guest.opened();
  guest.receive("");
  guest.receive("ann");
  guest.receive("ann");
  guest.closed(true);
  assertEquals(told, ["connected", "named ann", "gone true", "released"]);
});

Deno.test("a guest that broke off is gone once, and its slot is held until the socket is freed", async () => {
  const { told, guests, admitted } = place();
  const guest = guests.admit(new FakeConnection(), admitted);
  guest.opened();
  guest.broken();
  assertEquals(told, ["connected", "gone false"]);
  guest.closed(false);
  guest.closed(true);
  assertEquals(told.filter((entry) => entry.startsWith("gone")), ["gone false"]);
  await guests.empty();
});

Deno.test("a guest that the server closes is stalled until its socket is freed", () => {
  const { told, guests, admitted } = place();
  const guest = guests.admit(new FakeConnection(), admitted);
  guest.opened();
  guest.closing();
  assertEquals(told, ["connected", "stalled"]);
  guest.closed(false);
  assertEquals(told, ["connected", "stalled", "gone false", "released"]);
});

Deno.test("a handshake that does not end frees its slot, and the hub never hears of it", async () => {
  const { told, guests, admitted, released } = place(0);
  const guest = guests.admit(new FakeConnection(), admitted);
  await released;
  guest.closed(false);
  assertEquals(told.filter((entry) => entry !== "released"), []);
});

Deno.test("a guest whose token has expired is closed at once", () => {
  const { told, guests, admitted } = place();
  const guest = guests.admit(new FakeConnection(), { ...admitted, expiresAt: Date.now() - 1 });
  guest.opened();
  guest.closed(false);
  assertEquals(told, ["connected", "closed token_expired", "gone false", "released"]);
});
