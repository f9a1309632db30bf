/**
 * The real server with its default limits, but for those of one address, from which a test plays everybody; it prints what it
 * holds as a line of JSON whenever it is sent SIGUSR2: `counted_server.ts DATA deno|ws`, with `--v8-flags=--expose-gc`.
 */

import { openSqliteBroker } from "../broker/sqlite.ts";
import { TokenBuckets } from "../limits/rate.ts";
import { openLog } from "../ops/log.ts";
import { startServer } from "../server.ts";
import { SERVER_OPTIONS } from "../server/options.ts";
import type { TransportName } from "../server/transport_choice.ts";

const [dir, transport] = Deno.args as [string, string];
const rate = SERVER_OPTIONS.rate.default, burst = SERVER_OPTIONS.burst.default;
const server = await startServer({
  port: 0,
  transport: transport as TransportName,
  broker: await openSqliteBroker({ dir }),
  rateLimit: new TokenBuckets(rate, burst),
  rate: { rate, burst },
  admission: { connections: SERVER_OPTIONS["max-connections"].default },
  log: openLog({ format: "text", level: "info" }),
});
// Not SIGUSR1: Deno starts its debugger at that.
Deno.addSignalListener("SIGUSR2", () => {
  (globalThis as unknown as { gc(): void }).gc();
  const { heapUsed, external } = Deno.memoryUsage();
  console.log(JSON.stringify({ counts: { ...server.hub.counts, ...server.admission.counts }, heap: heapUsed + external }));
});
Deno.addSignalListener("SIGTERM", () => void server.shutdown().then(() => Deno.exit()));
console.log(server.url);
