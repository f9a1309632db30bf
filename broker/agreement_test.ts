/** Random calls that both brokers must answer alike: a mistake of one of them is hardly made by the other too. */

import { assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import type { Broker, Marker, MarkerMove } from "../broker.ts";
import { pick, seeded } from "../testing/random.ts";
import { DAY_MS } from "./limits.ts";
import { MemoryBroker } from "./memory.ts";
import type { MarkerCursor } from "./sqlite/markers.ts";
import { migrate } from "./sqlite/schema.ts";
import { SECOND_LOOK_MS } from "./sqlite/retention.ts";
import { finish, type Steps } from "./sqlite/steps.ts";
import { SqliteStore } from "./sqlite/store.ts";

const CALLS = 600;
const SEEDS = 24;
const LIMITS = { mailbox: 12, retentionDays: 30, groupMembers: 3, groupsPerUser: 2 };
const USERS = ["ann", "ben", "cat", "dan"];
const GROUPS = ["#a", "#b", "#c"];
const DEVICES = ["laptop", "phone", "tablet"];

type Random = () => number;
type Answer = Promise<unknown> | AsyncIterable<unknown>;
/** Call of the port that has an answer: its name and arguments. */
type Call = { [Op in keyof Broker]: Broker[Op] extends (...args: infer Args) => Answer ? [Op, ...Args] : never }[
  Exclude<keyof Broker, "close" | "health">
];

function upTo(random: Random, most: number): number {
  return Math.floor(random() * (most + 1));
}

/** Makes a call at random; `head` is about the number of messages. */
function anyCall(random: Random, head: number): Call {
  const user = pick(random, USERS), group = pick(random, GROUPS), target = pick(random, USERS);
  const other = pick(random, [...USERS, ...GROUPS, "nobody"]);
  const mark = (): MarkerMove => ({
    user,
    kind: pick(random, ["delivered", "read"] as const),
    with: other,
    seq: upTo(random, head + 1),
  });
  const draft = () => {
    const content = String(upTo(random, 2)), recipient = pick(random, [...USERS, ...GROUPS]), origin = "laptop";
    return { sender: user, recipient, content, id: random() < 0.5 ? `${upTo(random, 40)}` : undefined, origin };
  };
  const calls: readonly (() => Call)[] = [
    () => ["append", Array.from({ length: 1 + upTo(random, 3) }, draft)],
    () => ["append", [draft()]],
    () => ["mark", [mark(), mark()]],
    () => ["attach", user, pick(random, DEVICES)],
    () => ["attach", user, `d-${upTo(random, 99)}`, { last: upTo(random, 12), temporary: random() < 0.5 }],
    () => ["advance", [{ user, device: pick(random, DEVICES), seq: upTo(random, head + 1) }]],
    () => ["read", user, upTo(random, head), 1 + upTo(random, 20)],
    () => ["history", user, { with: other, limit: 1 + upTo(random, 9) }],
    () => ["history", user, { with: other, limit: 1 + upTo(random, 9), before: upTo(random, head + 1) }],
    () => ["history", user, { with: other, limit: 1 + upTo(random, 9), after: upTo(random, head + 1) }],
    () => ["history", user, { with: other, limit: 3, after: upTo(random, head), before: upTo(random, head + 1) }],
    () => ["search", user, { query: `${upTo(random, 2)}`, limit: 1 + upTo(random, 9) }],
    () => ["search", user, { query: "1", with: other, limit: 1 + upTo(random, 9), before: upTo(random, head + 1) }],
    () => ["conversations", user, 1 + upTo(random, 6)],
    () => ["conversations", user, 1 + upTo(random, 3), { seq: upTo(random, head + 1) }],
    () => ["conversations", user, 9, { seq: 0, with: group }],
    () => ["markAll", user, upTo(random, head + 1)],
    () => ["markers", user, upTo(random, head + 1)],
    () => ["group", { op: "create", user, group, open: random() < 0.5 }],
    () => ["group", { op: pick(random, ["join", "leave", "members"] as const), user, group }],
    () => ["group", { op: pick(random, ["invite", "remove"] as const), user, group, target }],
    () => ["group", { op: "list", user }],
    () => ["group", { op: "list", user, after: group }],
    () => ["lastSeen", [other]],
  ];
  return pick(random, calls)();
}

/** Asks the store as the broker does through the worker. */
function ask(store: SqliteStore, [op, ...args]: Call): unknown {
  if (op === "markers") {
    const markers: Marker[] = [];
    for (let after: MarkerCursor | undefined, isFirst = true; isFirst || after; isFirst = false) {
      const page = finish(store.markers(...args as Parameters<Broker["markers"]>, after));
      markers.push(...page.markers);
      after = page.next;
    }
    return markers;
  }
  if (op !== "append") {
    const answer = (store[op as keyof SqliteStore] as unknown as (...args: unknown[]) => unknown).apply(store, args);
    return answer && typeof answer === "object" && "next" in answer ? finish(answer as Steps<unknown>) : answer;
  }
  const { seqs, times, refusals, ts } = store.append((args as Parameters<Broker["append"]>)[0]);
  return [...seqs].map((seq, index) => refusals.get(index) ?? { seq, ts: times.get(index) ?? ts, duplicate: times.has(index) });
}

/** Waits for an answer of the broker. */
async function settled(answer: Answer): Promise<unknown> {
  return Symbol.asyncIterator in answer ? (await Array.fromAsync(answer)).flat() : await answer;
}

function keyOf({ user, kind, with: other }: Marker): string {
  return `${user} ${kind} ${other}`;
}

/** Makes answers comparable: the port promises no order of authors and markers, and undefined is as good as nothing. */
function canonical(op: string, value: unknown): unknown {
  const plain = JSON.parse(JSON.stringify(value ?? null));
  if (op === "mark" || op === "markAll") { for (const marked of plain) marked.authors.sort(); }
  if (op === "markAll") plain.sort((a: MarkerMove, b: MarkerMove) => a.with < b.with ? -1 : 1);
  // One broker knows that a page is the last, the other only that it may be.
  if (op === "search") delete plain.before;
  if (op === "markers") plain.sort((a: Marker, b: Marker) => keyOf(a) < keyOf(b) ? -1 : 1);
  return plain;
}

for (let seed = 1; seed <= SEEDS; seed++) {
  Deno.test(`MemoryBroker and SqliteStore give the same answers - seed ${seed}`, async () => {
    const random = seeded(seed), database = new DatabaseSync(":memory:");
    let clock = 1_700_000_000_000;
    const clocks = { now: () => clock, monotonic: () => clock };
    migrate(database);
    const memory = new MemoryBroker({ ...LIMITS, clocks });
    const store = new SqliteStore(database, LIMITS, { clocks });
    // Users are connected before they ask for anything.
    for (const user of USERS) assertEquals(await memory.attach(user, "laptop"), finish(store.attach(user, "laptop")));
    const transcript: string[] = [];
    for (let call = 0; call < CALLS; call++) {
      clock += upTo(random, 5);
      const [op, ...args] = anyCall(random, store.head);
      transcript.push(`${op} ${JSON.stringify(args)}`);
      const ours = ask(store, [op, ...args] as Call);
      const theirs = await settled((memory[op] as (...args: unknown[]) => Answer).apply(memory, args));
      assertEquals(canonical(op, ours), canonical(op, theirs), `\nafter\n${transcript.slice(-40).join("\n")}`);
      if (random() < 0.1) store.flush();
      if (random() < 0.02) {
        const expire = () => {
          while (store.expire() > 0);
          memory.expire();
        };
        expire();
        clock += 31 * DAY_MS;
        // The memory broker needs no second look: nobody sets its clock.
        while (store.expire() > 0);
        clock += SECOND_LOOK_MS;
        expire();
      }
      if (random() < 0.05) {
        store.flush();
        store.clearCaches();
      }
    }
    await memory.close();
    database.close();
  });
}
