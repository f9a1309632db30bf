/**
 * The real server on a SQLite broker that may be broken on purpose, to see that the checker of histories finds it:
 * `faulty_server.ts DATA none|ack-early|no-dedupe deno|ws`.
 */

import { openSqliteBroker } from "../broker/sqlite.ts";
import { logToStderr } from "../ops/log.ts";
import { startServer } from "../server.ts";
import type { TransportName } from "../server/transport_choice.ts";

const [dir, fault, transport] = Deno.args as [string, string, TransportName];
if (fault !== "none") {
  globalThis.Worker = class extends Worker {
    constructor(_program: string | URL, options?: WorkerOptions) {
      super(new URL("./faulty_worker.ts", import.meta.url), { ...options, name: fault });
    }
  };
}
const server = await startServer({ port: 0, transport, broker: await openSqliteBroker({ dir }), log: logToStderr });
console.log(server.url);
