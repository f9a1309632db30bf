/**
 * The real server on a SQLite broker that may be broken on purpose, to see that the checker of histories finds it:
 * `faulty_server.ts DATA none|ack-early|no-dedupe`.
 */

import { openSqliteBroker } from "../broker/sqlite.ts";
import type { Appended, Broker, Draft } from "../hub.ts";
import { startServer } from "../server.ts";

/** Milliseconds between the false ack and the append. */
const LATE_MS = 30;

/** Wraps `append` and leaves the rest as it is. */
function faulty(broker: Broker, append: Broker["append"]): Broker {
  return new Proxy(broker, {
    get(target, key) {
      if (key === "append") return append;
      const value = Reflect.get(target, key);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** Says that messages are stored before they are. */
function ackEarly(broker: Broker): Broker {
  let next = 1_000_000;
  return faulty(broker, (drafts: readonly Draft[]) => {
    setTimeout(() => broker.append(drafts), LATE_MS);
    return Promise.resolve(drafts.map((): Appended => ({ seq: next++, ts: Date.now(), duplicate: false })));
  });
}

/** Stores a repeated message again. */
function noDedupe(broker: Broker): Broker {
  return faulty(broker, (drafts) => broker.append(drafts.map(({ id: _, ...draft }) => draft)));
}

const [dir, fault] = Deno.args as [string, string];
const sound = await openSqliteBroker({ dir });
const broker = fault === "ack-early" ? ackEarly(sound) : fault === "no-dedupe" ? noDedupe(sound) : sound;
console.log(startServer({ port: 0, broker, log: console.error }).url);
