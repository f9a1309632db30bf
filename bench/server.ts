/**
 * The real server for load generators: rate, connection and mailbox limits are lifted, nothing else is changed.
 *
 *     deno task bench:server --port 8081 --broker sqlite --data ./bench-data
 */

import { MemoryBroker } from "../broker/memory.ts";
import { openPostgresBroker } from "../broker/postgres.ts";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { Broker } from "../broker.ts";
import { helpText } from "../cli/help.ts";
import { parseOptions, type ProgramSpec, UsageError, type Values } from "../cli/options.ts";
import { openLog } from "../ops/log.ts";
import { SLOW_APPEND_MS, SLOW_REQUEST_MS, SLOW_TURN_MS, SlowLog } from "../ops/slow.ts";
import { startServer } from "../server.ts";
import { type TransportName, TRANSPORTS } from "../server/transport_choice.ts";

const OPTIONS = {
  port: { kind: "integer", value: "N", default: 8081, min: 0, max: 65_535, help: "the port, on loopback; 0 for a free one" },
  broker: {
    kind: "string",
    value: "KIND",
    default: "memory",
    choices: ["memory", "sqlite", "postgres"],
    help: "where messages are kept",
  },
  data: { kind: "string", value: "DIR", default: "./data", help: "the folder of --broker sqlite" },
  postgres: { kind: "string", value: "URL", default: "", help: "the address of --broker postgres" },
  "postgres-schema": { kind: "string", value: "NAME", default: "parley", help: "its schema" },
  transport: { kind: "string", value: "KIND", default: "deno", choices: TRANSPORTS, help: "what carries the connections" },
  metrics: { kind: "flag", help: "count as with --metrics-listen, at a free port of loopback" },
  help: { kind: "flag", short: "h", help: "show this" },
} as const;

const PROGRAM: ProgramSpec = { name: "bench:server", summary: "The server for load generators.", options: OPTIONS };

function openBroker({ broker, data: dir, ...values }: Values<typeof OPTIONS>): Promise<Broker> {
  // Load generators do not say what they have got: in memory nothing would ever be free to go.
  if (broker === "memory") return Promise.resolve(new MemoryBroker({ mailbox: Infinity, messagesMax: Infinity }));
  if (broker === "postgres") {
    const report = (error: unknown, where: string) => console.error(`bench: ${where}: ${error}`);
    return openPostgresBroker({ url: values.postgres, schema: values["postgres-schema"], mailbox: Infinity, report });
  }
  return openSqliteBroker({ dir, mailbox: Infinity });
}

async function main(): Promise<void> {
  const { values, operands } = parseOptions(OPTIONS, Deno.args);
  if (values.help) return console.log(helpText(PROGRAM));
  if (operands.length > 0) throw new UsageError(`What is "${operands[0]}"?`);
  const log = openLog({ format: "text", level: "info" });
  const server = await startServer({
    port: values.port,
    broker: await openBroker(values),
    transport: values.transport as TransportName,
    log,
    slow: new SlowLog({ log, appendMs: SLOW_APPEND_MS, turnMs: SLOW_TURN_MS, requestMs: SLOW_REQUEST_MS }),
    ...values.metrics && { metrics: { hostname: "127.0.0.1", port: 0 } },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    Deno.addSignalListener(signal, () => server.shutdown().then(() => Deno.exit()));
  }
  console.log(`Listening on ${server.url}`);
}

if (import.meta.main) {
  await main().catch((error) => {
    console.error(`bench: ${error instanceof Error ? error.message : error}`);
    Deno.exit(error instanceof UsageError ? 2 : 1);
  });
}
