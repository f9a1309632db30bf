/**
 * Speed of the SQLite broker, empty and with many messages: `deno run -A bench/sqlite_bench.ts [appends|growth]`.
 *
 * appends: durable messages with ids per second, and the time that one alone takes.
 * growth: a backlog, a page of history and a count of unread among 10 thousand stored messages and among 10 million (PARLEY_ROWS).
 */

import { DatabaseSync } from "node:sqlite";
import { DEFAULT_LIMITS, type Draft } from "../broker.ts";
import { openSqliteBroker, type SqliteBroker } from "../broker/sqlite.ts";
import { migrate } from "../broker/sqlite/schema.ts";
import { finish } from "../broker/sqlite/steps.ts";
import { SqliteStore } from "../broker/sqlite/store.ts";

/** A turn of a busy server: 16 frames from each of 100 connections. */
const BATCH = 1_600;
const PAIRS = 100;
/** Appends under way at once: while one is committed, the next ones are prepared. */
const IN_FLIGHT = 3;
const CONTENT = "x".repeat(100);

/** Appends for some seconds; prints messages per second. */
async function appends(broker: SqliteBroker, seconds: number): Promise<void> {
  for (let i = 0; i < PAIRS; i++) for (const side of ["a", "b"]) await broker.attach(`${side}${i}`, "d");
  let made = 0, done = 0;
  const batch = (): Draft[] =>
    Array.from({ length: BATCH }, () => {
      const n = made++, pair = n % PAIRS;
      return { sender: `a${pair}`, recipient: `b${pair}`, content: CONTENT, id: `id-${n}`, origin: "laptop" };
    });
  const start = performance.now(), end = start + seconds * 1_000;
  await Promise.all(Array.from({ length: IN_FLIGHT }, async () => {
    while (performance.now() < end) {
      const results = await broker.append(batch());
      done += results.filter((result) => !("code" in result)).length;
    }
  }));
  const took = (performance.now() - start) / 1_000;
  console.log(`appends of ${BATCH}: ${Math.round(done / took)} messages/s (${done} of ${made} stored in ${took.toFixed(1)} s)`);
}

/** Prints the time of one append, when they are made one after the other. */
async function single(broker: SqliteBroker): Promise<void> {
  const times: number[] = [];
  for (let n = 0; n < 1_000; n++) {
    const start = performance.now();
    await broker.append([{ sender: "a0", recipient: "b0", content: CONTENT, id: `single-${n}`, origin: "laptop" }]);
    times.push(performance.now() - start);
  }
  times.sort((a, b) => a - b);
  console.log(`one at a time: p50 ${times[500]!.toFixed(2)} ms, p99 ${times[990]!.toFixed(2)} ms`);
}

async function benchAppends(): Promise<void> {
  for (const sync of ["full", "normal"] as const) {
    const dir = await Deno.makeTempDir({ prefix: "broker-bench-" });
    const broker = await openSqliteBroker({ dir, sync, mailbox: Infinity });
    console.log(`sync ${sync}`);
    await appends(broker, 5);
    await single(broker);
    await broker.close();
    await Deno.remove(dir, { recursive: true });
  }
}

// ---- Growth ----

/** Users, of whom each half writes with the other: few messages fill a page of each of the 100 conversations. */
const USERS = 20;
/** Newest messages that nobody has read: as many, however many are older. */
const UNREAD = 1_000;

/** Makes a store with `rows` messages. */
function filled(dir: string, rows: number): { store: SqliteStore; after: number; close: () => void } {
  const database = new DatabaseSync(`${dir}/${rows}.db`);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; PRAGMA cache_size = -65536");
  migrate(database);
  const store = new SqliteStore(database, { ...DEFAULT_LIMITS, mailbox: Infinity });
  for (let i = 0; i < USERS; i++) finish(store.attach(`u${i}`, "d", { last: 0 }));
  const start = performance.now();
  for (let n = 0; n < rows;) {
    const drafts: Draft[] = [];
    for (; drafts.length < 10_000 && n < rows; n++) drafts.push(draft(n));
    database.exec("BEGIN");
    store.append(drafts);
    store.flush();
    database.exec("COMMIT");
  }
  console.log(`${rows} messages stored in ${((performance.now() - start) / 1_000).toFixed(0)} s`);
  const after = rows - UNREAD;
  for (let friend = 10; friend < USERS; friend++) {
    store.mark([{ user: "u0", kind: "read", with: `u${friend}`, seq: after }]);
  }
  store.flush();
  return { store, after, close: () => database.close() };
}

function draft(n: number): Draft {
  const one = n % 10, other = 10 + Math.floor(n / 10) % 10;
  const [from, to] = n % 3 === 0 ? [one, other] : [other, one];
  return { sender: `u${from}`, recipient: `u${to}`, content: CONTENT, id: `id-${n}`, origin: "laptop" };
}

/** Returns the microseconds of one call: the median of many. */
function timed(call: () => unknown): number {
  const times: number[] = [];
  for (let i = 0; i < 2_000; i++) {
    const start = performance.now();
    call();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[1_000]! * 1_000;
}

function queries({ store, after }: ReturnType<typeof filled>): Map<string, number> {
  return new Map([
    ["backlog of 100", timed(() => finish(store.read("u0", after, 100)))],
    ["history, newest 50", timed(() => store.history("u0", { with: "u15", limit: 50 }))],
    ["history, 50 before", timed(() => store.history("u0", { with: "u15", before: after, limit: 50 }))],
    ["conversations and unread", timed(() => finish(store.conversations("u0", 20)))],
  ]);
}

async function benchGrowth(): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "broker-bench-" });
  try {
    const many = Number(Deno.env.get("PARLEY_ROWS") ?? 10_000_000);
    const measured = [10_000, many].map((rows) => {
      const one = filled(dir, rows);
      const times = queries(one);
      one.close();
      return times;
    });
    for (const [name, few] of measured[0]!) {
      const more = measured[1]!.get(name)!;
      console.log(`${name}: ${few.toFixed(0)} us, then ${more.toFixed(0)} us: x${(more / few).toFixed(2)}`);
    }
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

if (import.meta.main) {
  const [what] = Deno.args;
  if (what !== "growth") await benchAppends();
  if (what !== "appends") await benchGrowth();
}
