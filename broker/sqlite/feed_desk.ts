/** Followers of the log, for the commands of an operator: in a folder that a server uses, or none does. */

import { DatabaseSync } from "node:sqlite";
import type { FeedDesk } from "../../broker.ts";
import { BrokerError, reasonOf } from "../errors.ts";
import { DATABASE_NAME } from "./files.ts";

/** Milliseconds that a command waits for the server's transactions. */
const BUSY_TIMEOUT_MS = 5_000;

/** Opens the followers of a folder. Throws {@linkcode BrokerError} where there are no messages, or none of a server with webhooks. */
export function openSqliteFeedDesk(dir: string): FeedDesk {
  const file = `${dir}/${DATABASE_NAME}`;
  try {
    Deno.statSync(file);
  } catch {
    throw new BrokerError(`There are no messages in ${dir}; name their folder with --data`);
  }
  try {
    const database = new DatabaseSync(file);
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    database.prepare("SELECT 1 FROM cursors LIMIT 1").get();
    return deskOf(database);
  } catch (error) {
    throw new BrokerError(`Cannot read the webhooks in ${file}: ${reasonOf(error)}`);
  }
}

function deskOf(database: DatabaseSync): FeedDesk {
  return {
    list() {
      const rows = database.prepare("SELECT name, state, wish FROM cursors ORDER BY name").all();
      return Promise.resolve(rows.map(({ name, state, wish }) => ({
        name: String(name),
        state: String(state),
        wish: wish as string | null ?? undefined,
      })));
    },
    wish(name, wish) {
      return Promise.resolve(database.prepare("UPDATE cursors SET wish = ? WHERE name = ?").run(wish, name).changes > 0);
    },
    positionAt(ts) {
      return Promise.resolve(database.prepare("SELECT max(seq) AS seq FROM ticks WHERE ts <= ?").get(ts)!.seq as number ?? 0);
    },
    [Symbol.asyncDispose]() {
      database.close();
      return Promise.resolve();
    },
  };
}
