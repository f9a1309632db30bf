/**
 * The real server on a SQLite broker that may be broken on purpose, to see that the checker of histories finds it:
 * `faulty_server.ts DATA none|ack-early|no-dedupe [deno|ws]`. With `failing-disk` or `slow-disk` the disk is what is broken, and every
 * promise has to hold. SIGTERM ends it as it ends the real one.
 */

import { openSqliteBroker } from "../broker/sqlite.ts";
import { openLog } from "../ops/log.ts";
import { startServer } from "../server.ts";
import type { TransportName } from "../server/transport_choice.ts";

const [dir, fault, transport = "deno"] = Deno.args as [string, string, TransportName?];
if (fault !== "none") {
  globalThis.Worker = class extends Worker {
    constructor(_program: string | URL, options?: WorkerOptions) {
      super(new URL("./faulty_worker.ts", import.meta.url), { ...options, name: fault });
    }
  };
}
// A disk that fails on purpose is no news.
const log = fault === "failing-disk" ? () => {} : openLog({ format: "text", level: "info" });
const server = await startServer({ port: 0, transport, broker: await openSqliteBroker({ dir }), log });
Deno.addSignalListener("SIGTERM", () => void server.shutdown().then(() => Deno.exit(0)));
console.log(server.url);
