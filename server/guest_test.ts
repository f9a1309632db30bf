import { assertEquals } from "@std/assert";
import type { Revoked } from "../auth/revoked.ts";
import type { Receiver } from "../hub.ts";
import type { Slot } from "../limits/admission.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { toldTo } from "../testing/told.ts";
import { CLOSE_CODES } from "../protocol.ts";
import { type Admitted, Guests } from "./guest.ts";

/** A slot and a hub that note what they are told, and terms without a token. */
function place(openTimeoutMs?: number, isRevoked?: (user: string) => boolean) {
  const told: string[] = [];
  const released = Promise.withResolvers<void>();
  let user = "";
  let changed = () => {};
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
  }, {
    log: toldTo(told),
    ...openTimeoutMs !== undefined && { openTimeoutMs },
    ...isRevoked &&
      { revoked: { file: "revoked", has: isRevoked, onChange: (f: () => void) => changed = f } as unknown as Revoked },
  });
  const admitted: Admitted = { identity: {}, slot, expiresAt: undefined, tokenId: undefined, protocol: undefined };
  return { told, guests, admitted, released: released.promise, change: () => changed() };
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
  guest.closing(4003);
  assertEquals(told, ["connected", "stalled"]);
  guest.closed(false);
  assertEquals(told, ["connected", "stalled", "gone false", "released"]);
});

Deno.test("a handshake that does not end frees its slot, and the hub never hears of it", async () => {
  const { told, guests, admitted, released } = place(0);
  const guest = guests.admit(new FakeConnection(), admitted);
  guest.awaitOpening();
  await released;
  guest.closed(false);
  assertEquals(told.filter((entry) => entry !== "released"), []);
});

Deno.test("a guest whose token has expired by the time it opens is closed, and the hub never hears of it", () => {
  const { told, guests, admitted } = place();
  const connection = new FakeConnection();
  const guest = guests.admit(connection, { ...admitted, expiresAt: Date.now() - 1 });
  guest.opened();
  assertEquals(connection.closed?.code, CLOSE_CODES.token_expired.code);
  guest.closed(false);
  assertEquals(told, ["released"]);
});

Deno.test("a guest whose token or name is revoked between the gate and its opening is closed when it opens, with a line in the log", () => {
  let revoked = "nobody";
  const { told, guests, admitted, change } = place(undefined, (user) => user === revoked);
  const connection = new FakeConnection();
  const guest = guests.admit(connection, { ...admitted, identity: { user: "bob" } });
  revoked = "bob";
  change();
  assertEquals([connection.closed, told], [undefined, []], "a handshake that is not done cannot be closed");
  guest.opened();
  assertEquals(connection.closed?.code, CLOSE_CODES.revoked.code);
  assertEquals(told, ["bob is revoked by revoked: connections closed: 1"]);
  guest.closed(false);
});

Deno.test("a guest who takes a revoked name after it opened is closed", () => {
  const { told, guests, admitted } = place(undefined, (user) => user === "bob");
  const guest = guests.admit(new FakeConnection(), admitted);
  guest.opened();
  guest.receive("bob");
  assertEquals(told, ["connected", "named bob", "closed revoked", "bob is revoked by revoked: connections closed: 1"]);
  guest.closed(false);
});

Deno.test("revoking a name counts its open connections in the log, once", () => {
  let revoked = "nobody";
  const { told, guests, admitted, change } = place(undefined, (user) => user === revoked);
  const all = [1, 2].map(() => {
    const guest = guests.admit(new FakeConnection(), admitted);
    guest.opened();
    guest.receive("bob");
    return guest;
  });
  revoked = "bob";
  change();
  for (const guest of all) guest.closing(4003);
  change();
  assertEquals(told.filter((entry) => entry.startsWith("bob is")), ["bob is revoked by revoked: connections closed: 2"]);
  for (const guest of all) guest.closed(false);
});

Deno.test("a guest who is disconnected by an administrator between the gate and its opening is closed when it opens", () => {
  const { told, guests, admitted } = place();
  const bob = new FakeConnection(), eve = new FakeConnection();
  const waiting = [[bob, "bob"], [eve, "eve"]] as const;
  const all = waiting.map(([connection, user]) => guests.admit(connection, { ...admitted, identity: { user } }));
  guests.disconnected("bob");
  for (const guest of all) guest.opened();
  assertEquals([bob.closed?.code, eve.closed?.code, told], [CLOSE_CODES.revoked.code, undefined, ["connected"]]);
  for (const guest of all) guest.closed(false);
});

Deno.test("a guest who opens while the server ends is told to come back, and is waited for", async () => {
  const { guests, admitted } = place();
  const connection = new FakeConnection();
  const guest = guests.admit(connection, admitted);
  guests.turnAway();
  const empty = guests.empty();
  guest.opened();
  assertEquals(connection.closed?.code, CLOSE_CODES.restart.code);
  guest.closed(false);
  await empty;
});
