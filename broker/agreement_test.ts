/** Random calls that all brokers must answer alike: a mistake of one of them is hardly made by the others too. */

import { assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import type { Broker, Marker, Stored } from "../broker.ts";
import { type Answer, anyCall, type Call, canonical, LIMITS, settled, upTo, USERS } from "../testing/broker_calls.ts";
import { LACKS_POSTGRES, sharedPostgres } from "../testing/postgres.ts";
import { seeded } from "../testing/random.ts";
import { DAY_MS } from "./limits.ts";
import { MemoryBroker } from "./memory.ts";
import { openPostgresBroker } from "./postgres.ts";
import type { FeedRequest } from "./sqlite/feed.ts";
import type { MarkerCursor } from "./sqlite/markers.ts";
import { migrate } from "./sqlite/schema.ts";
import { SECOND_LOOK_MS } from "./sqlite/retention.ts";
import { finish, type Steps } from "./sqlite/steps.ts";
import { SqliteStore } from "./sqlite/store.ts";

const CALLS = 600;
const SEEDS = 24;

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

/** Reads the whole log of both in pages, and asks who lacks what of it. */
async function agreeOnFeed({ feed }: MemoryBroker, store: SqliteStore): Promise<void> {
  const ask = (request: FeedRequest) => finish(store.feed(request));
  const all: Stored[] = [];
  for (let after = 0, isEnd = false; !isEnd;) {
    const page = await feed.messages(after, 7);
    const { items, upTo } = ask({ kind: "messages", after, limit: 7 }) as typeof page;
    assertEquals(items, page.items);
    isEnd = items.length < 7;
    if (!isEnd) assertEquals(upTo, page.upTo);
    after = upTo;
    all.push(...items);
  }
  assertEquals(ask({ kind: "undelivered", messages: all }), await feed.undelivered(all));
  const changes = await feed.changes(0, 1_000);
  const { items, removed } = ask({ kind: "changes", after: 0, limit: 1_000 }) as typeof changes;
  // The database removes changes that are too old; memory has few enough.
  assertEquals(items, changes.items.filter(({ number }) => number > removed));
  assertEquals(ask({ kind: "ends" }), await feed.ends());
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
    while (store.expire() > 0); // the memory broker removes what is left of ended groups at once
    await agreeOnFeed(memory, store);
    await memory.close();
    database.close();
  });
}

/**
 * Positions of a log with gaps as those of one without: the number of messages up to them, which is how the broker in memory
 * counts.
 */
class Positions {
  /** The other log's positions of messages, ascending. */
  readonly #seqs: number[] = [];

  add(seq: number): void {
    this.#seqs.push(seq);
  }

  get head(): number {
    return this.#seqs.length;
  }

  /** Returns a position of the other log; beyond the head it is the next after the newest message. */
  there(here: number): number {
    return here <= 0 ? here : this.#seqs[here - 1] ?? (this.#seqs.at(-1) ?? 0) + 1;
  }

  here(there: number): number {
    return this.#seqs.filter((seq) => seq <= there).length;
  }

  /** Replaces every position in arguments or answers by that of the other log. */
  map(value: unknown, to: "here" | "there"): unknown {
    if (Array.isArray(value)) return value.map((one) => this.map(one, to));
    if (typeof value !== "object" || value === null) return value;
    const isPosition = (key: string) =>
      ["seq", "position", "horizon", "head", "read", "before", "after", "indexed"].includes(key);
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [
        key,
        isPosition(key) && typeof one === "number" ? this[to](one) : this.map(one, to),
      ]),
    );
  }
}

for (let seed = 1; seed <= SEEDS / 2; seed++) {
  Deno.test({
    name: `MemoryBroker and PostgresBroker give the same answers - seed ${seed}`,
    ignore: LACKS_POSTGRES,
    async fn() {
      const random = seeded(seed), positions = new Positions(), server = sharedPostgres();
      let clock = 1_700_000_000_000;
      const now = () => clock;
      const memory = new MemoryBroker({ ...LIMITS, clocks: { now, monotonic: now } });
      const options = { ...LIMITS, now, secondLookMs: 0 };
      await using postgres = await openPostgresBroker({ ...options, url: server.url(), schema: server.newSchema() });
      const ask = (broker: Broker, [op, ...args]: Call): Promise<unknown> =>
        settled((broker[op] as (...args: unknown[]) => Answer).apply(broker, args));
      for (const user of USERS) for (const broker of [memory, postgres]) await broker.attach(user, "laptop");
      const transcript: string[] = [];
      for (let call = 0; call < CALLS; call++) {
        clock += upTo(random, 5);
        const [op, ...any] = anyCall(random, positions.head);
        // Markers and devices move no further than the head, which is another place in a log with more than messages.
        const bounded = (key: string, value: unknown) => key === "seq" ? Math.min(value as number, positions.head) : value;
        const args = op === "mark" || op === "advance" || op === "markAll" ? JSON.parse(JSON.stringify(any), bounded) : any;
        if (op === "markAll") any[1] = Math.min(any[1] as number, positions.head);
        // Both logs have places of their own beyond the head, and markers between messages.
        if ((op === "read" || op === "markers") && (args[1] as number) > positions.head) continue;
        const theirArgs = op === "read" || op === "markers" || op === "markAll"
          ? [args[0], positions.there(args[1] as number), ...args.slice(2)]
          : positions.map(args, "there") as unknown[];
        transcript.push(`${op} ${JSON.stringify(args)}`);
        const theirs = await ask(postgres, [op, ...theirArgs] as Call);
        const ours = await ask(memory, [op, ...args] as Call);
        if (op === "append") {
          for (const one of theirs as { seq?: number; duplicate?: boolean }[]) {
            if (one.seq !== undefined && !one.duplicate) positions.add(one.seq);
          }
        }
        const after = `\nafter\n${transcript.slice(-40).join("\n")}`;
        assertEquals(canonical(op, positions.map(theirs, "here")), canonical(op, ours), after);
        if (random() < 0.02) {
          const expire = async () => {
            await postgres.expire();
            memory.expire();
          };
          await expire();
          clock += 31 * DAY_MS;
          await expire();
        }
      }
      await memory.close();
    },
  });
}
