import { assert, assertEquals } from "@std/assert";
import { addressKey, clientAddress, isLoopback } from "./address.ts";
import { Admission, type AdmissionLimits, type Denial, type Slot } from "./admission.ts";
import { TokenBuckets } from "./rate.ts";
import { RestingMap } from "./token_bucket.ts";

// ---- TokenBuckets ----

Deno.test("TokenBuckets let a burst through, then the rate, and say how long to wait", () => {
  let now = 0;
  const buckets = new TokenBuckets(5, 20, { now: () => now });
  assertEquals(Array.from({ length: 21 }, () => buckets.consume("ann")).filter((wait) => wait === 0).length, 20);
  assertEquals(buckets.consume("ann"), 200);
  now += 100;
  assertEquals(buckets.consume("ann"), 100);
  now += 100;
  assertEquals(buckets.consume("ann"), 0);
  assertEquals(buckets.consume("ben"), 0, "everybody has their own");
});

Deno.test("TokenBuckets let what costs more than the bucket holds through when it is full, and then wait for the debt", () => {
  let now = 0;
  const buckets = new TokenBuckets(1, 4, { now: () => now });
  assertEquals([buckets.consume("ann", 3), buckets.consume("ann", 3)], [0, 2_000]);
  now += 2_000;
  assertEquals([buckets.consume("ann", 3), buckets.consume("ann", 9)], [0, 4_000]);
  now += 4_000;
  assertEquals([buckets.consume("ann", 9), buckets.consume("ann")], [0, 6_000]);
});

Deno.test("TokenBuckets call it abuse when the refusals do not end", () => {
  let now = 0;
  const buckets = new TokenBuckets(1, 1, { now: () => now });
  const waits = Array.from({ length: 1_002 }, () => buckets.consume("ann"));
  assertEquals([waits[0], waits[1], waits.at(-1)], [0, 1_000, Infinity]);
  now += 61_000;
  assertEquals([buckets.consume("ann"), buckets.consume("ann")], [0, 1_000]);
});

Deno.test("TokenBuckets forget those who rest", () => {
  let now = 0;
  const buckets = new TokenBuckets(5, 20, { now: () => now });
  for (let i = 0; i < 1_000_000; i += 100) {
    buckets.consume(`user${i}`);
    now += 1_000;
  }
  assert(buckets.size <= 1_100, String(buckets.size));
});

// ---- Admission ----

const LIFTED: AdmissionLimits = {
  connections: Infinity,
  namelessPerAddress: Infinity,
  upgradesPerSecond: Infinity,
  memoryBytes: Infinity,
  stalled: Infinity,
  stalledPerUser: Infinity,
  connectionsPerUser: Infinity,
};

function admission(limits: Partial<AdmissionLimits>, memory = () => 0): { admission: Admission; turn(ms: number): void } {
  let now = 0;
  return { admission: new Admission({ ...LIFTED, ...limits }, memory, () => now), turn: (ms) => void (now += ms) };
}

function slot(result: Slot | Denial): Slot {
  assert("release" in result, JSON.stringify(result));
  return result;
}

function status(result: Slot | Denial): number {
  return "status" in result ? result.status : 200;
}

Deno.test("Admission bounds connections in all", () => {
  const { admission: door } = admission({ connections: 2 });
  const [one] = [slot(door.admit("10.0.0.1")), slot(door.admit("10.0.0.2"))];
  assertEquals(status(door.admit("10.0.0.3")), 503);
  one.release();
  one.release();
  slot(door.admit("10.0.0.3"));
  assertEquals(status(door.admit("10.0.0.4")), 503);
});

Deno.test("Admission bounds the connections of an address that have not said who they are", () => {
  const { admission: door } = admission({ namelessPerAddress: 2 });
  const [one, two] = [slot(door.admit("10.0.0.1")), slot(door.admit("10.0.0.1"))];
  assertEquals([status(door.admit("10.0.0.1")), status(door.admit("10.0.0.2"))], [429, 200]);
  one.named("ann");
  one.named("ann");
  assertEquals([status(door.admit("10.0.0.1")), status(door.admit("10.0.0.1"))], [200, 429]);
  two.release();
  assertEquals(status(door.admit("10.0.0.1")), 200);
});

Deno.test("Admission bounds new connections per second and address", () => {
  const { admission: door, turn } = admission({ upgradesPerSecond: 2 });
  const tries = () => Array.from({ length: 5 }, () => status(door.admit("10.0.0.1")));
  assertEquals(tries(), [200, 200, 200, 200, 429]);
  turn(1_000);
  assertEquals(tries(), [200, 200, 429, 429, 429]);
});

Deno.test("Admission bounds connections that it closed and whose peers hold on", () => {
  const { admission: door } = admission({ stalled: 2 });
  const [one, two] = [slot(door.admit("10.0.0.1")), slot(door.admit("10.0.0.1"))];
  for (const stalled of [one, two]) {
    stalled.named("mallory");
    stalled.stalled();
    stalled.stalled();
  }
  assertEquals([door.counts.stalled, status(door.admit("10.0.0.2"))], [2, 503]);
  one.release();
  assertEquals([door.counts.stalled, status(door.admit("10.0.0.2"))], [1, 200]);
});

Deno.test("Admission knows the users who do not read what they are sent", () => {
  const { admission: door } = admission({ stalledPerUser: 4 });
  const slots = Array.from({ length: 4 }, () => slot(door.admit("10.0.0.1")));
  for (const stalled of slots) {
    stalled.named("mallory");
    stalled.stalled();
  }
  const another = slot(door.admit("10.0.0.1"));
  assertEquals([another.claim("mallory")?.status, another.claim("ann")], [429, undefined]);
  slots[0]!.release();
  assertEquals(slot(door.admit("10.0.0.1")).claim("mallory"), undefined);
});

Deno.test("Admission bounds the connections of a user from before they are made until they are gone", () => {
  const { admission: door } = admission({ connectionsPerUser: 2 });
  const slots = Array.from({ length: 3 }, (_, i) => slot(door.admit(`10.0.0.${i}`)));
  assertEquals(slots.map((each) => each.claim("mallory")?.status), [undefined, undefined, 429]);
  slots[2]!.release();
  slots[0]!.named("mallory");
  slots[0]!.stalled();
  assertEquals(slot(door.admit("10.0.0.9")).claim("mallory")?.status, 429);
  slots[0]!.release();
  assertEquals(slot(door.admit("10.0.0.9")).claim("mallory"), undefined);
  assertEquals(door.counts.users, 1);
});

Deno.test("Admission lets nobody in when memory is short, and looks at it at most once a second", () => {
  let reads = 0, bytes = 50;
  const { admission: door, turn } = admission({ memoryBytes: 100 }, () => (reads++, bytes));
  for (let i = 0; i < 10; i++) slot(door.admit("10.0.0.1"));
  assertEquals(reads, 1);
  bytes = 101;
  turn(1_001);
  assertEquals(status(door.admit("10.0.0.1")), 503);
});

Deno.test("Admission has nothing left when everybody has gone", () => {
  const { admission: door, turn } = admission({ upgradesPerSecond: 10, namelessPerAddress: 5 });
  const slots = Array.from({ length: 2_000 }, (_, i) => slot(door.admit(`10.0.${i >> 8}.${i & 255}`)));
  for (const [i, each] of slots.entries()) {
    if (i % 2) each.named(`user${i}`);
    if (i % 3 === 0) each.stalled();
    each.release();
  }
  turn(10_000);
  assertEquals(door.counts, { connections: 0, stalled: 0, users: 0, addresses: 0 });
});

Deno.test("RestingMap does not look through all entries again for every one that comes", () => {
  let looks = 0;
  const entries = new RestingMap(() => ({}), () => (looks++, false));
  for (let i = 0; i < 20_000; i++) entries.get(`${i}`, 0);
  assert(looks > 0 && looks < 2 * 20_000, `${looks} for 20,000 entries`);
});

Deno.test("Admission forgets addresses that only ever come and go", () => {
  const { admission: door, turn } = admission({ upgradesPerSecond: 10 });
  for (let i = 0; i < 20_000; i++) {
    slot(door.admit(`2001:db8:0:${i.toString(16)}::1`)).release();
    turn(10);
  }
  assert(door.remembered <= 2_048, String(door.remembered));
});

// ---- Addresses and origins ----

Deno.test("clientAddress believes as many forwarders as there are proxies, and nobody else", () => {
  assertEquals(clientAddress("10.0.0.1", "1.1.1.1, 2.2.2.2", 0), "10.0.0.1");
  assertEquals(clientAddress("10.0.0.1", "1.1.1.1, 2.2.2.2", 1), "2.2.2.2");
  assertEquals(clientAddress("10.0.0.1", "9.9.9.9, 1.1.1.1, 2.2.2.2", 2), "1.1.1.1");
  assertEquals(clientAddress("10.0.0.1", null, 1), "10.0.0.1");
  assertEquals(clientAddress("10.0.0.1", " , ", 2), "10.0.0.1");
});

Deno.test("clientAddress leaves out the port that some proxies add, and takes nothing but addresses", () => {
  const of = (entry: string) => clientAddress("10.0.0.1", entry, 1);
  assertEquals([of("1.2.3.4:4711"), of("[2001:db8::1]:4711"), of("[2001:db8::1]")], ["1.2.3.4", "2001:db8::1", "2001:db8::1"]);
  assertEquals([of("2001:db8::1"), of("::1"), of("::ffff:1.2.3.4")], ["2001:db8::1", "::1", "::ffff:1.2.3.4"]);
  for (const wrong of ["unknown", "_hidden", "x".repeat(5_000), "1.2.3", "cafe"]) assertEquals(of(wrong), "10.0.0.1", wrong);
});

Deno.test("addressKey counts an IPv6 network as one, and an IPv4 address as itself", () => {
  assertEquals(addressKey("2001:db8:1:2:3:4:5:6"), addressKey("2001:DB8:1:2::1"));
  assertEquals(addressKey("2001:db8::1"), addressKey("2001:0db8:0:0::ffff"));
  assert(addressKey("2001:db8:1:2::1") !== addressKey("2001:db8:1:3::1"));
  assertEquals([addressKey("10.0.0.1"), addressKey("::ffff:10.0.0.1")], ["10.0.0.1", "10.0.0.1"]);
});

Deno.test("isLoopback knows this machine's addresses", () => {
  assertEquals(
    ["127.0.0.1", "127.9.9.9", "::1", "localhost", "0.0.0.0", "::", "192.168.1.1", "127.evil.example"].map(isLoopback),
    [
      true,
      true,
      true,
      true,
      false,
      false,
      false,
      false,
    ],
  );
});
