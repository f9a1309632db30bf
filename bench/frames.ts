/**
 * Cost of every frame at its worst: what one insider can do to the others at the default limits.
 *
 *     deno run -A bench/frames.ts [--quick] [--only history,typing] [--rounds 3] [--no-check]
 *
 * A hub on SQLite is filled to the limits: a user in 200 groups of 1,024 members and with thousands of conversations. Each kind of
 * frame is sent one at a time, for the processor time that the event loop and the worker spend on it, and then as often as the rate
 * limit lets it through, while somebody else's messages are sent and their acks are timed. It fails where the 99th percentile of
 * those is over three times what it is in calm and over 20 ms.
 */

import { parseArgs } from "@std/cli/parse-args";
import { delay } from "@std/async/delay";
import { DatabaseSync } from "node:sqlite";
import { setImmediate } from "node:timers";
import { DEFAULT_LIMITS } from "../broker/limits.ts";
import { DATABASE_NAME, openSqliteBroker, type SqliteBroker } from "../broker/sqlite.ts";
import { migrate } from "../broker/sqlite/schema.ts";
import { finish } from "../broker/sqlite/steps.ts";
import { SqliteStore } from "../broker/sqlite/store.ts";
import type { Connection, Identity, Receiver } from "../hub.ts";
import { Hub } from "../hub.ts";
import { TokenBuckets } from "../limits/rate.ts";
import { CONTENT_BYTES_MAX, HISTORY_LIMIT_MAX, LAST_MESSAGES_MAX, WATCHED_USERS_MAX } from "../protocol.ts";

/** Frames per second and at once of one user: the server's defaults. */
const RATE = 5, BURST = 20;
/** Members of the groups who are connected. */
const ONLINE = 100;
/** Milliseconds between two messages whose acks are timed. */
const PROBE_MS = 5;
/** Messages that a device which resumes has missed. */
const BACKLOG = 10_000;
/** Frames of a kind of which the processor time is taken. */
const COUNTED = 12;
/** The bound: the 99th percentile may be this many times that of calm, or this many milliseconds, whichever is more. */
const CALM_FACTOR = 3, ACK_MS = 20;

/** Sizes of the state, at the limits; a tenth with --quick. */
interface Sizes {
  readonly groups: number;
  readonly members: number;
  readonly groupMessages: number;
  readonly friends: number;
  readonly openGroups: number;
}

const FULL: Sizes = { groups: 200, members: 1_024, groupMessages: 1_500, friends: 5_000, openGroups: 5_000 };

// ---- State ----

/** Fills a folder: "mal" is in everything, "big" has a group of 10,000 unread messages, "ann" and "ben" only talk. */
function fill(dir: string, sizes: Sizes): void {
  const database = new DatabaseSync(`${dir}/${DATABASE_NAME}`);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF");
  migrate(database);
  database.exec("BEGIN");
  const limits = { ...DEFAULT_LIMITS, mailbox: Infinity, groupsPerUser: Infinity };
  const store = new SqliteStore(database, limits);
  const users = Array.from({ length: Math.max(sizes.members, sizes.friends) }, (_, n) => `u${n}`);
  for (const user of ["mal", "ann", "ben", ...users]) finish(store.attach(user, "d"));
  const groups = Array.from({ length: sizes.groups }, (_, n) => `#g${n}`);
  for (const group of groups) {
    store.group({ op: "create", user: "mal", group, open: true });
    // Not by the store, which answers each with all members.
    database.prepare(`INSERT INTO members (user, thread, other, since, joined)
      SELECT u.id, t.id, 0, 0, u.id FROM users u JOIN threads t ON t.name = ? WHERE u.name GLOB 'u*' AND u.id <= ?`)
      .run(group, sizes.members + 2);
  }
  for (let n = 0; n < sizes.openGroups; n++) store.group({ op: "create", user: `u${n % 50}`, group: `#open${n}`, open: true });
  store.clearCaches();
  const message = (sender: string, recipient: string, n: number) => ({
    sender,
    recipient,
    content: `${n}`.padEnd(100, "."),
    id: undefined,
    origin: "d",
  });
  const bursts = Math.ceil(sizes.groupMessages / 10);
  for (let burst = 0; burst < bursts; burst++) {
    for (const group of groups) store.append(Array.from({ length: 10 }, (_, n) => message(n % 2 ? "mal" : "u1", group, n)));
  }
  for (let round = 0; round < 2; round++) {
    store.append(users.slice(0, sizes.friends).map((user, n) => message(n % 2 ? "mal" : user, n % 2 ? user : "mal", n)));
  }
  const { head } = store;
  store.flush();
  database.prepare("UPDATE members SET delivered = ?1, marked_at = ?1, marked_ts = 1 WHERE other = 0").run(head);
  database.prepare("UPDATE devices SET position = ?").run(head);
  store.flush();
  store.release();
  database.exec("COMMIT");
  database.close();
}

// ---- Connections ----

/** A connection without a network, which hands on what it is sent. */
class Peer implements Connection {
  readonly buffered = 0;
  readonly receiver: Receiver;
  onFrame: (frame: string) => void = () => {};
  onClose = () => {};
  isClosed = false;

  constructor(hub: Hub, identity: Identity) {
    this.receiver = hub.connect(this, identity);
  }

  send(frame: string): boolean {
    this.onFrame(frame);
    return true;
  }

  close(): void {
    if (this.isClosed) return;
    this.isClosed = true;
    this.onClose();
    this.receiver.gone(true);
  }

  say(frame: unknown): void {
    this.receiver.receive(JSON.stringify(frame));
  }

  /** Resolves when a frame with `text` in it has come. */
  until(text: string): Promise<void> {
    return new Promise((resolve) => this.onFrame = (frame) => frame.includes(text) && resolve());
  }
}

async function connect(hub: Hub, user: string, hello: Record<string, unknown> = {}): Promise<Peer> {
  const peer = new Peer(hub, { user, admin: true });
  const synced = peer.until('"synced"');
  peer.say({ type: "hello", v: 1, device: "d", caps: ["batch"], ...hello });
  await synced;
  return peer;
}

// ---- Kinds of frames ----

/** Sends one frame of a kind, the `n`-th. A promise where what it asks for takes many turns. */
type Send = (peer: Peer, n: number) => Promise<void> | void;

/** Makes the kinds. Connections that some of them open are in `opened` until they are closed. */
function kinds(hub: Hub, sizes: Sizes, head: number, opened: Set<Peer>): Map<string, Send> {
  const long = "x".repeat(CONTENT_BYTES_MAX);
  let next = 0;
  const frame = (make: (n: number) => unknown): Send => (peer, n) => peer.say(make(n));
  const hello = (members: Record<string, unknown>): Send => () => {
    const peer = new Peer(hub, { user: "mal" });
    opened.add(peer);
    // It stays as long as it takes to read what it asked for; a device that comes again replaces it.
    return new Promise((resolve, reject) => {
      peer.onFrame = (text) => {
        if (text.includes('"synced"')) setTimeout(() => peer.close());
        if (text.startsWith('{"type":"error"') && !text.includes("rate_limited")) reject(new Error(`hello: ${text}`));
      };
      peer.onClose = () => {
        opened.delete(peer);
        resolve();
      };
      peer.say({ type: "hello", v: 1, name: "mal", caps: ["batch"], ...members });
    });
  };
  const group = (n: number) => `#g${n % sizes.groups}`;
  return new Map<string, Send>([
    ["message", frame((n) => ({ sender: "mal", recipient: "mal", content: "hi", id: `m${next++}-${n}` }))],
    ["message 16 KiB", frame((n) => ({ sender: "mal", recipient: "mal", content: long, id: `m${next++}-${n}` }))],
    ["message to a group", frame((n) => ({ sender: "mal", recipient: group(n), content: "hi", id: `m${next++}-${n}` }))],
    ["hello, last", hello({ last: LAST_MESSAGES_MAX })],
    ["hello, resume", hello({ device: "resumed", resume: { epoch: hub.broker.epoch, seq: Math.max(0, head - BACKLOG) } })],
    ["hello, all markers", hello({ device: "d2" })],
    ["ack", frame((n) => ({ type: "ack", seq: n }))],
    ["receipt", frame((n) => ({ type: "receipt", kind: "read", with: group(n), seq: 1_000 + next++ }))],
    ["watch", frame((n) => ({ type: "watch", users: Array.from({ length: WATCHED_USERS_MAX }, (_, i) => `u${n + i}`) }))],
    ["presence", frame((n) => ({ type: "presence", status: n % 2 ? "away" : "online" }))],
    ["typing to a group", frame((n) => ({ type: "typing", recipient: group(n) }))],
    ["group create", frame(() => ({ type: "group", op: "create", group: `#new${next++}` }))],
    ["group join, leave", frame((n) => ({ type: "group", op: n % 2 ? "join" : "leave", group: "#g0" }))],
    ["group invite, remove", frame((n) => ({ type: "group", op: n % 2 ? "invite" : "remove", group: "#g1", user: "u7" }))],
    ["group members", frame((n) => ({ type: "group", op: "members", group: group(n + 2) }))],
    ["group list", frame(() => ({ type: "group", op: "list" }))],
    ["history", frame((n) => ({ type: "history", with: group(n + 2), limit: HISTORY_LIMIT_MAX }))],
    ["conversations", frame(() => ({ type: "conversations", limit: HISTORY_LIMIT_MAX }))],
    ["admin list", frame(() => ({ type: "admin", op: "list" }))],
    ["ping", frame(() => ({ type: "ping" }))],
  ]);
}

// ---- Measuring ----

/** Returns the milliseconds of processor time of this process so far: of the event loop's thread, and of all others. */
function processorTime(): { loop: number; others: number } {
  let loop = 0, others = 0;
  for (const { name } of Deno.readDirSync("/proc/self/task")) {
    try {
      const ms = Number(Deno.readTextFileSync(`/proc/self/task/${name}/schedstat`).split(" ")[0]) / 1e6;
      if (Number(name) === Deno.pid) loop += ms;
      else others += ms;
    } catch { /* The thread has ended. */ }
  }
  return { loop, others };
}

/** Waits until everything that was begun is done: the worker has answered, and some turns have brought nothing. */
async function quiet(broker: SqliteBroker): Promise<void> {
  for (let i = 0; i < 3; i++) {
    await broker.lastSeen(["ann"]);
    await broker.history("ann", { with: "ben", limit: 1 });
    await new Promise<void>((resolve) => setImmediate(() => resolve()));
  }
}

/** Returns the processor time of one frame, in microseconds, without what the waiting costs. */
async function cost(broker: SqliteBroker, peer: Peer, send: Send): Promise<{ loop: number; worker: number }> {
  const measure = async (act: (n: number) => Promise<void> | void) => {
    const before = processorTime();
    for (let n = 0; n < COUNTED; n++) {
      await act(n);
      await quiet(broker);
    }
    const { loop, others } = processorTime();
    return { loop: loop - before.loop, others: others - before.others };
  };
  const idle = await measure(() => {});
  const busy = await measure((n) => send(peer, n));
  const micros = (ms: number) => Math.max(0, Math.round((ms * 1_000) / COUNTED));
  return { loop: micros(busy.loop - idle.loop), worker: micros(busy.others - idle.others) };
}

/**
 * Times acks of ann's messages to ben for some milliseconds; returns the milliseconds of each. Meanwhile `disturb` is called as often
 * as the rate limit allows: a burst at once, and then at the rate.
 */
async function acks(ann: Peer, ms: number, disturb?: (n: number) => unknown): Promise<number[]> {
  const sent = new Map<string, number>(), times: number[] = [];
  ann.onFrame = (text) => {
    const now = performance.now();
    for (const [, id] of text.matchAll(/"type":"ack","id":"(p[^"]*)"/g)) {
      times.push(now - sent.get(id!)!);
      sent.delete(id!);
    }
  };
  const start = performance.now();
  for (let k = 0; performance.now() - start < ms; k++) {
    // From when it was due, whatever became of those before it.
    const due = start + k * PROBE_MS, id = `p${start}-${k}`;
    if (due > performance.now()) await delay(due - performance.now());
    sent.set(id, due);
    ann.say({ sender: "ann", recipient: "ben", content: "hi", id });
    if (!disturb) continue;
    for (let n = 0; k === 0 && n < BURST; n++) void disturb(n);
    if (k > 0 && k % Math.ceil(1_000 / RATE / PROBE_MS) === 0) void disturb(k);
  }
  while (sent.size > 0) await delay(1);
  return times;
}

function percentile99(times: readonly number[]): number {
  return times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)] ?? 0;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

// ---- Main ----

interface Row {
  readonly kind: string;
  readonly loop: number;
  readonly worker: number;
  readonly calm: number;
  readonly beside: number;
}

/** Measures all kinds. */
async function run(dir: string, sizes: Sizes, ms: number, rounds: number, only: readonly string[] | undefined): Promise<Row[]> {
  await using stack = new AsyncDisposableStack();
  const broker = stack.adopt(await openSqliteBroker({ dir, mailbox: Infinity }), (broker) => broker.close());
  /** The insider's allowance, full at the start of every round; nobody else is limited. */
  let limit: TokenBuckets | undefined;
  const rateLimit = { consume: (user: string, cost: number) => user === "mal" ? limit?.consume(user, cost) ?? 0 : 0 };
  const hub = new Hub({ broker, rateLimit, defer: setImmediate });
  stack.defer(() => hub.drain("bye", "Done"));
  const [mal, ann] = [await connect(hub, "mal"), await connect(hub, "ann")];
  await connect(hub, "ben");
  for (let n = 0; n < ONLINE; n++) await connect(hub, `u${n}`);
  const rows: Row[] = [];
  const { head } = await broker.attach("mal", "d");
  await acks(ann, ms); // warms up
  const opened = new Set<Peer>();
  for (const [kind, send] of kinds(hub, sizes, head, opened)) {
    if (only && !only.some((word) => kind.startsWith(word))) continue;
    console.error(`${kind} ...`);
    await cost(broker, mal, send); // the first ones fill caches
    const { loop, worker } = await cost(broker, mal, send);
    const calm: number[] = [], beside: number[] = [];
    for (let round = 0; round < rounds; round++) {
      calm.push(percentile99(await acks(ann, ms)));
      limit = new TokenBuckets(RATE, BURST);
      beside.push(percentile99(await acks(ann, ms, (n) => send(mal, n))));
      // What they still wait for is none of the next round's.
      for (const peer of opened) peer.close();
      await quiet(broker);
      if (mal.isClosed) throw new Error(`${kind}: the connection was closed`);
    }
    limit = undefined;
    rows.push({ kind, loop, worker, calm: median(calm), beside: median(beside) });
  }
  return rows;
}

function isOver({ calm, beside }: Row): boolean {
  return beside > Math.max(CALM_FACTOR * calm, ACK_MS);
}

function toTable(rows: readonly Row[]): string {
  const cells = rows.map((row) =>
    `| ${row.kind} | ${row.loop} | ${row.worker} | ${row.calm.toFixed(1)} | ${row.beside.toFixed(1)}${
      isOver(row) ? " **over**" : ""
    } |`
  );
  const head = "| frame | event loop, µs | worker, µs | others' p99 ack in calm, ms | beside it, ms |";
  return [head, "| --- | ---: | ---: | ---: | ---: |", ...cells].join("\n");
}

async function main(): Promise<void> {
  const flags = parseArgs(Deno.args, {
    boolean: ["quick", "check"],
    string: ["only", "rounds"],
    negatable: ["check"],
    default: { check: true },
  });
  const part = flags.quick ? 0.1 : 1;
  const sizes = Object.fromEntries(
    Object.entries(FULL).map(([name, size]) => [name, Math.ceil(size * part)]),
  ) as unknown as Sizes;
  const dir = Deno.makeTempDirSync({ prefix: "parley-frames-" });
  try {
    const start = performance.now();
    fill(dir, sizes);
    console.error(`filled in ${((performance.now() - start) / 1_000).toFixed(1)} s`);
    const rows = await run(dir, sizes, flags.quick ? 500 : 1_500, Number(flags.rounds ?? 3), flags.only?.split(","));
    console.log(toTable(rows));
    if (flags.check && rows.some(isOver)) Deno.exitCode = 1;
  } finally {
    Deno.removeSync(dir, { recursive: true });
  }
}

if (import.meta.main) await main();
