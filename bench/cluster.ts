/**
 * Many nodes: SQLite, one node on PostgreSQL and three, as whole servers, in turns in one run, all on the same processors.
 *
 *     deno task bench:cluster --only rate,single
 *
 * Where others work on the machine the ratios of one round count, not the numbers.
 */

import { parseArgs } from "@std/cli/parse-args";
import { openPostgresBroker } from "../broker/postgres.ts";
import { LACKS_POSTGRES, PostgresServer } from "../testing/postgres.ts";
import { fillLog, PAGE_USERS, pageTimes } from "./cluster_pages.ts";
import { Fleet, type FleetOptions, type Measured, type Total } from "./fleet.ts";
import { MeasuredProcess } from "./measured_process.ts";
import { describeFaults } from "./report.ts";

const HELP = `Measures servers on SQLite, one node on PostgreSQL and three, in turns.

  --only a,b     of: rate (100 clients, 16 messages in flight each, random recipients), calm (the same, one in flight),
                 single (two clients on two nodes, one message in flight), idle (connections that do nothing),
                 pages (backlogs and history in a log of two million messages); without it all of them
  --rounds N     turns (default 3)
  --seconds N    seconds measured in each (default 4)
  --rows N       messages of the log for pages (default 2000000)
  --connections N  that do nothing (default 4000), beside three thousand before they are measured
`;

/** Characters of a content, and clients that send. */
const CHARS = 64, CLIENTS = 100;
/** Seconds before anything is measured: three processes compile their code on the processors on which one does. And seconds at the rate measured. */
const WARMUP_S = 5, STEADY_S = 0.5;
/** Settings of an engine of a machine of this size; everything that decides what an acknowledgement promises is as it comes. */
const ENGINE = ["shared_buffers = 512MB", "max_wal_size = 4GB", "checkpoint_timeout = 15min"];
/** Connections before memory is measured: with the first thousands V8's room for what is new grows to its size, once for each process. */
const IDLE_BEFORE = 3_000;
/** Milliseconds until memory of connections that were opened is settled. */
const SETTLE_MS = 3_000;

/** Servers that are compared. */
interface Kind {
  readonly name: "SQLite" | "one node" | "three nodes";
  readonly nodes: number;
}

const KINDS: readonly Kind[] = [
  { name: "SQLite", nodes: 1 },
  { name: "one node", nodes: 1 },
  { name: "three nodes", nodes: 3 },
];

/** Figures of one kind of one round: acked and delivered a second, the lower of both; times in milliseconds; µs per message. */
interface Row {
  readonly perSecond: number;
  readonly acked: string;
  readonly delivered: string;
  readonly nodes: number;
  readonly engine: number;
  readonly clients: number;
}

class Cluster {
  readonly #postgres: PostgresServer;
  readonly #seconds: { readonly warmup: number; readonly measured: number };
  readonly #folders: string[] = [];

  constructor(postgres: PostgresServer, seconds: number) {
    this.#postgres = postgres;
    this.#seconds = { warmup: STEADY_S, measured: seconds };
  }

  /** Starts servers on an empty log. */
  start({ name, nodes }: Kind): Promise<Fleet> {
    const common = { agents: 1, serverCpus: undefined, agentCpus: undefined, nodes };
    if (name === "SQLite") {
      this.#folders.push(Deno.makeTempDirSync({ prefix: "parley-bench-" }));
      return Fleet.start({ ...common, broker: "sqlite", data: this.#folders.at(-1)! });
    }
    const engineCpuUs = () => this.#engineCpuUs(), schema = this.#postgres.newSchema();
    const options: FleetOptions = { ...common, broker: "postgres", data: this.#postgres.url(), schema, engineCpuUs };
    return Fleet.start(options);
  }

  #engineCpuUs(): number {
    return this.#postgres.pids().reduce((sum, pid) => {
      try {
        return sum + Number.parseInt(Deno.readTextFileSync(`/proc/${pid}/schedstat`), 10) / 1_000;
      } catch {
        return sum; // it has ended
      }
    }, 0);
  }

  /** Lets clients send to each other, each with some messages on their way that are neither acked nor delivered. */
  async exchange(kind: Kind, clients: number, size: number): Promise<Row> {
    await using fleet = await this.start(kind);
    const names = Array.from({ length: clients }, (_, n) => `c${n}`);
    await fleet.open(names, { level: "extended" });
    const flows = names.map((from) => ({ from, to: names.filter((to) => to !== from) }));
    const how = { chars: CHARS, ids: true, window: { size, endedBy: "both" } } as const;
    // PostgreSQL plans for empty tables until it has looked at them, which it does within the first minute.
    await fleet.run(() => flows, how, { warmup: 0, measured: WARMUP_S });
    await fleet.settle();
    if (kind.name !== "SQLite") this.#postgres.query("ANALYZE");
    const measured = await fleet.run(() => flows, how, this.#seconds);
    return toRow(measured, await fleet.settle());
  }

  /** Returns KiB of a server's memory, and of the engine's, that a connection costs that does nothing. */
  async idle(kind: Kind, connections: number): Promise<{ readonly server: number; readonly engine: number }> {
    await using fleet = await this.start(kind);
    const names = Array.from({ length: IDLE_BEFORE + connections }, (_, n) => `c${n}`);
    await fleet.open(names.slice(0, IDLE_BEFORE), { level: "extended" });
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const before = fleet.server.memoryKib().now, engine = this.#engineKib();
    await fleet.open(names.slice(IDLE_BEFORE), { level: "extended" });
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const server = fleet.server.memoryKib().now - before;
    return { server: server / connections, engine: (this.#engineKib() - engine) / connections };
  }

  #engineKib(): number {
    return this.#postgres.pids().reduce((sum, pid) => {
      const rollup = Deno.readTextFileSync(`/proc/${pid}/smaps_rollup`);
      return sum + Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
    }, 0);
  }

  clean(): void {
    for (const folder of this.#folders.splice(0)) Deno.removeSync(folder, { recursive: true });
  }
}

function toRow(measured: Measured, total: Total): Row {
  const faults = describeFaults({ ...total } as never);
  if (faults !== "") throw new Error(`bench: it does not count: ${faults}`);
  const count = Math.min(total.acked, total.delivered);
  const ms = (us: number) => (us / 1_000).toFixed(2);
  return {
    perSecond: count / measured.seconds,
    acked: `${ms(total.ackLatency.percentile(50))} / ${ms(total.ackLatency.percentile(99))}`,
    delivered: `${ms(total.latency.percentile(50))} / ${ms(total.latency.percentile(99))}`,
    nodes: measured.serverCpuUs / count,
    engine: measured.engineCpuUs / count,
    clients: measured.agentsCpuUs / count,
  };
}

function print(kind: Kind, row: Row, beside: string): void {
  const cpu = [row.nodes, row.engine, row.clients].map((us) => us.toFixed(1)).join(", ");
  console.log(
    `  ${kind.name}: ${Math.round(row.perSecond)}/s${beside}; µs a message of nodes, engine, clients: ${cpu}; ` +
      `ms p50 / p99: ack ${row.acked}, there ${row.delivered}`,
  );
}

/** Prints rounds of all kinds, each with its ratio to the one before. */
async function rounds(cluster: Cluster, what: string, count: number, clients: number, size: number): Promise<void> {
  const ratios = new Map<string, number[]>();
  for (let round = 1; round <= count; round++) {
    console.log(`${what}, round ${round}`);
    let before: number | undefined;
    for (const kind of KINDS) {
      const row = await cluster.exchange(kind, clients, size);
      const ratio = before === undefined ? undefined : row.perSecond / before;
      if (ratio !== undefined) ratios.set(kind.name, [...ratios.get(kind.name) ?? [], ratio]);
      print(kind, row, ratio === undefined ? "" : ` (${ratio.toFixed(2)} of that)`);
      before = row.perSecond;
    }
  }
  for (const [name, list] of ratios) {
    const sorted = list.toSorted((a, b) => a - b), [low, mid, high] = [sorted[0]!, sorted[sorted.length >> 1]!, sorted.at(-1)!];
    const to = name === "one node" ? "SQLite" : "one node";
    console.log(`${what}: ${name} ${mid.toFixed(2)} of ${to} (${low.toFixed(2)}-${high.toFixed(2)})`);
  }
}

async function pages(postgres: PostgresServer, rows: number): Promise<void> {
  const schema = postgres.newSchema();
  await using broker = await openPostgresBroker({ url: postgres.url(), schema });
  fillLog(postgres, schema, rows);
  for (const user of PAGE_USERS) for (const line of await pageTimes(broker, user, rows)) console.log(line);
}

async function main(): Promise<void> {
  const flags = parseArgs(Deno.args, {
    boolean: ["help"],
    string: ["only", "rounds", "seconds", "rows", "connections"],
    default: { only: "rate,calm,single,idle,pages", rounds: "3", seconds: "4", rows: "2000000", connections: "4000" },
  });
  if (flags.help) return console.log(HELP);
  if (LACKS_POSTGRES) throw new Error("bench: there is no PostgreSQL here");
  const parts = flags.only!.split(","), count = Number(flags.rounds);
  await using postgres = new PostgresServer({ settings: ENGINE });
  const cluster = new Cluster(postgres, Number(flags.seconds));
  try {
    if (parts.includes("rate")) await rounds(cluster, `${CLIENTS} clients, 16 in flight`, count, CLIENTS, 16);
    if (parts.includes("calm")) await rounds(cluster, `${CLIENTS} clients, 1 in flight`, count, CLIENTS, 1);
    if (parts.includes("single")) {
      const kind: Kind = { name: "three nodes", nodes: 3 };
      console.log("two clients on two nodes, 1 in flight");
      for (let round = 0; round < count; round++) print(kind, await cluster.exchange(kind, 2, 1), "");
    }
    if (parts.includes("idle")) {
      for (const kind of KINDS.slice(0, 2)) {
        const { server, engine } = await cluster.idle(kind, Number(flags.connections));
        console.log(
          `idle connection, ${kind.name}: ${server.toFixed(1)} KiB of the server, ${engine.toFixed(2)} of the engine`,
        );
      }
    }
    if (parts.includes("pages")) await pages(postgres, Number(flags.rows));
  } finally {
    cluster.clean();
    MeasuredProcess.killAll();
  }
}

if (import.meta.main) await main();
