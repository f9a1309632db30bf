/**
 * SQLite, one node and two on one PostgreSQL, in turns in one run: acked messages a second, and the times of one message after the
 * other. At the broker, without sockets; on a machine where others work the ratios count, not the numbers.
 *
 *     deno run -A bench/postgres_bench.ts
 */

import type { Broker } from "../broker.ts";
import { openPostgresBroker } from "../broker/postgres.ts";
import { openSqliteBroker } from "../broker/sqlite.ts";
import { PostgresServer } from "../testing/postgres.ts";

const ROUNDS = 3, SECONDS = 4, SINGLES = 300;
/** Users, and appends under way at each broker, of which each has a draft of every user. */
const USERS = Array.from({ length: 100 }, (_, n) => `u${n}`), UNDER_WAY = 16;
const CONTENT = "x".repeat(64);

let calls = 0;

function drafts(count: number) {
  const call = calls++;
  return Array.from({ length: count }, (_, n) => ({
    sender: USERS[(call + n) % USERS.length]!,
    recipient: USERS[Math.floor(Math.random() * USERS.length)]!,
    content: CONTENT,
    id: `${call}-${n}`,
    origin: "device",
  }));
}

/** Returns acked messages a second over some brokers, with everybody subscribed at each. */
async function rate(...brokers: readonly Broker[]): Promise<number> {
  const ignored = { message() {}, signal() {} };
  const subscriptions = brokers.flatMap((broker) => USERS.map((user) => broker.subscribe(user, ignored)));
  const begun = performance.now(), end = begun + SECONDS * 1_000, count = Math.floor(USERS.length / brokers.length);
  let acked = 0;
  const send = async (broker: Broker) => {
    while (performance.now() < end) {
      for (const result of await broker.append(drafts(count))) if ("seq" in result) acked++;
    }
  };
  await Promise.all(brokers.flatMap((broker) => Array.from({ length: UNDER_WAY }, () => send(broker))));
  for (const subscription of subscriptions) subscription.close();
  return acked / (performance.now() - begun) * 1_000;
}

function percentile(values: readonly number[], part: number): string {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length * part)]!.toFixed(2);
}

/** Prints how long one message after the other takes, until its ack and until it is there on another node. */
async function singles(from: Broker, to: Broker): Promise<void> {
  const acked: number[] = [], delivered: number[] = [];
  let arrived = () => {};
  const subscription = to.subscribe("u1", { message: () => arrived(), signal() {} });
  for (let n = 0; n < SINGLES; n++) {
    const begun = performance.now(), there = new Promise<void>((resolve) => arrived = resolve);
    await from.append([{ sender: "u0", recipient: "u1", content: CONTENT, id: `single-${n}`, origin: "device" }]);
    acked.push(performance.now() - begun);
    await there;
    delivered.push(performance.now() - begun);
  }
  subscription.close();
  console.log(`one at a time: ack p50 ${percentile(acked, 0.5)} ms, p99 ${percentile(acked, 0.99)}`);
  console.log(`on another node: p50 ${percentile(delivered, 0.5)} ms, p99 ${percentile(delivered, 0.99)}`);
}

if (import.meta.main) {
  await using postgres = new PostgresServer({ settings: ["shared_buffers = 256MB", "max_wal_size = 2GB"] });
  const dir = await Deno.makeTempDir();
  const sqlite = await openSqliteBroker({ dir, mailbox: Infinity });
  const [one, two] = await Promise.all([1, 2].map(() => openPostgresBroker({ url: postgres.url(), mailbox: Infinity })));
  for (const broker of [sqlite, one!]) for (const user of USERS) await broker.attach(user, "laptop");
  for (let round = 0; round < ROUNDS; round++) {
    const file = await rate(sqlite), single = await rate(one!), both = await rate(one!, two!);
    const words = `${Math.round(single)} (${(single / file).toFixed(2)}), two ${Math.round(both)} (${
      (both / single).toFixed(2)
    })`;
    console.log(`acked a second: SQLite ${Math.round(file)}, one node ${words}`);
  }
  await singles(one!, two!);
  for (const broker of [sqlite, one!, two!]) await broker.close();
  await Deno.remove(dir, { recursive: true });
}
