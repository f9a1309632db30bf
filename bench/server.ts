/**
 * The real server for load generators: rate, connection and mailbox limits are lifted, nothing else is changed.
 *
 *     deno task bench:server --port 8081 --broker sqlite --data /tmp/bench
 */

import { parseArgs } from "@std/cli/parse-args";
import { MemoryBroker } from "../broker/memory.ts";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { Broker } from "../hub.ts";
import { startServer } from "../server.ts";

function openBroker(kind: string, data: string | undefined): Promise<Broker> {
  // Load generators do not say what they have got: in memory nothing would ever be free to go.
  const limits = { mailbox: Infinity, messagesMax: Infinity };
  if (kind === "memory") return Promise.resolve(new MemoryBroker(limits));
  if (kind === "sqlite") return openSqliteBroker({ dir: data ?? "./data", mailbox: Infinity });
  console.error(`bench: there is no broker "${kind}"; use --broker memory or sqlite`);
  Deno.exit(2);
}

async function main(): Promise<void> {
  const flags = parseArgs(Deno.args, { string: ["port", "broker", "data"] });
  const server = startServer({
    port: Number(flags.port ?? 8081),
    broker: await openBroker(flags.broker ?? "memory", flags.data),
    log: (line: string) => console.error(line),
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => server.shutdown().then(() => Deno.exit()));
  }
  console.log(`Listening on ${server.url}`);
}

if (import.meta.main) await main();
