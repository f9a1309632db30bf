/**
 * The real server for load generators: rate, connection and mailbox limits are lifted, nothing else is changed.
 *
 *     deno task bench:server --port 8081 --broker sqlite --data /tmp/bench
 */

import { parseArgs } from "@std/cli/parse-args";
import { MemoryBroker } from "../broker/memory.ts";
import type { Broker } from "../hub.ts";
import { startServer } from "../server.ts";

function openBroker(kind: string, _data: string | undefined): Broker {
  // Load generators do not say what they have got: in memory nothing would ever be free to go.
  const limits = { mailbox: Infinity, messagesMax: Infinity };
  if (kind === "memory") return new MemoryBroker(limits);
  console.error(`bench: there is no broker "${kind}"; use --broker memory`);
  Deno.exit(2);
}

function main(): void {
  const flags = parseArgs(Deno.args, { string: ["port", "broker", "data"] });
  const server = startServer({
    port: Number(flags.port ?? 8081),
    broker: openBroker(flags.broker ?? "memory", flags.data),
    log: (line: string) => console.error(line),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => server.shutdown().then(() => Deno.exit()));
  }
  console.log(`Listening on ${server.url}`);
}

if (import.meta.main) main();
