/** The brokers are asked the same at random and must say the same: what one of them gets wrong another hardly does too. */

import { assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import type { Broker } from "../broker.ts";
import { anyCall, type Call, canonical, LIMITS, upTo, USERS } from "../testing/broker_calls.ts";
import { LACKS_POSTGRES, sharedPostgres } from "../testing/postgres.ts";
import { seeded } from "../testing/random.ts";
import { MemoryBroker } from "./memory.ts";
import { openPostgresBroker } from "./postgres.ts";
import { migrate } from "./sqlite/schema.ts";
import { SqliteStore } from "./sqlite/store.ts";

const CALLS = 600;
const SEEDS = 12;

/** The store as if it were asked through the worker. */
function ask(store: SqliteStore, [op, ...args]: Call): unknown {
  if (op !== "append") return (store[op as keyof SqliteStore] as unknown as (...args: unknown[]) => unknown).apply(store, args);
  const { seqs, times, refusals, ts } = store.append((args as Parameters<Broker["append"]>)[0]);
  return [...seqs].map((seq, index) => refusals.get(index) ?? { seq, ts: times.get(index) ?? ts, duplicate: times.has(index) });
}

for (let seed = 1; seed <= SEEDS; seed++) {
  Deno.test(`MemoryBroker and SqliteStore give the same answers - seed ${seed}`, async () => {
    const random = seeded(seed), database = new DatabaseSync(":memory:");
    let clock = 1_700_000_000_000;
    migrate(database);
    const memory = new MemoryBroker({ ...LIMITS, now: () => clock });
    const store = new SqliteStore(database, LIMITS, () => clock);
    // Nobody asks for anything before they are connected.
    for (const user of USERS) assertEquals(await memory.attach(user, "laptop"), store.attach(user, "laptop", undefined));
    const transcript: string[] = [];
    for (let call = 0; call < CALLS; call++) {
      clock += upTo(random, 5);
      const [op, ...args] = anyCall(random, store.head);
      transcript.push(`${op} ${JSON.stringify(args)}`);
      const ours = ask(store, [op, ...args] as Call);
      const theirs = await (memory[op] as (...args: unknown[]) => Promise<unknown>).apply(memory, args);
      assertEquals(canonical(op, ours), canonical(op, theirs), `\nafter\n${transcript.slice(-40).join("\n")}`);
      if (random() < 0.1) store.flush();
      if (random() < 0.02) {
        while (store.expire() > 0);
        clock += 31 * 86_400_000;
        while (store.expire() > 0);
        memory.expire();
      }
      if (random() < 0.05) {
        store.flush();
        store.forget();
      }
    }
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

  /** Returns a position of the other log; beyond the head it is the head's, as nothing else is the same in both. */
  there(here: number): number {
    return here <= 0 ? here : this.#seqs[Math.min(here, this.#seqs.length) - 1] ?? 0;
  }

  here(there: number): number {
    return this.#seqs.filter((seq) => seq <= there).length;
  }

  /** Replaces every position in arguments or answers by that of the other log. */
  map(value: unknown, to: "here" | "there"): unknown {
    if (Array.isArray(value)) return value.map((one) => this.map(one, to));
    if (typeof value !== "object" || value === null) return value;
    const isPosition = (key: string) => ["seq", "position", "horizon", "head", "read", "before", "after"].includes(key);
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [
        key,
        isPosition(key) && typeof one === "number" ? this[to](one) : this.map(one, to),
      ]),
    );
  }
}

for (let seed = 1; seed <= SEEDS; seed++) {
  Deno.test({
    name: `MemoryBroker and PostgresBroker give the same answers - seed ${seed}`,
    ignore: LACKS_POSTGRES,
    async fn() {
      const random = seeded(seed), positions = new Positions(), server = sharedPostgres();
      let clock = 1_700_000_000_000;
      const options = { ...LIMITS, now: () => clock };
      const memory = new MemoryBroker(options);
      const postgres = await openPostgresBroker({ ...options, url: server.url(), schema: server.newSchema() });
      const ask = async (broker: Broker, [op, ...args]: Call): Promise<unknown> =>
        await (broker[op] as (...args: unknown[]) => Promise<unknown>).apply(broker, args);
      for (const user of USERS) {
        await memory.attach(user, "laptop");
        await postgres.attach(user, "laptop");
      }
      const transcript: string[] = [];
      for (let call = 0; call < CALLS; call++) {
        clock += upTo(random, 5);
        const [op, ...args] = anyCall(random, positions.head);
        // Beyond the head: each log has a place of its own there.
        const bounded = JSON.parse(JSON.stringify(args), (_, one) => one);
        const theirArgs = (op === "read" || op === "markers")
          ? [bounded[0], positions.there(bounded[1]), ...bounded.slice(2)]
          : positions.map(bounded, "there") as unknown[];
        if (op === "markers" && bounded[1] > positions.head) continue;
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
          await postgres.expire();
          memory.expire();
          clock += 31 * 86_400_000;
          await postgres.expire();
          memory.expire();
        }
      }
      await memory.close();
      await postgres.close();
    },
  });
}
