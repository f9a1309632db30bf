/**
 * One server, or several nodes, and several processes of clients, as a scenario uses them: open, send, measure, and check that
 * all arrived.
 */

import { type Command, nowUs, type OpenCommand, type Opened, type Report, type SendCommand } from "./agent.ts";
import { countLost, type Faults, noFaults } from "./checker.ts";
import { Histogram } from "./histogram.ts";
import { type Cpus, MeasuredProcess } from "./measured_process.ts";

/** Settings of a fleet. */
export interface FleetOptions {
  readonly broker: "memory" | "sqlite" | "postgres";
  /** Folder of SQLite, or address of PostgreSQL. */
  readonly data: string;
  /** Schema in PostgreSQL. */
  readonly schema?: string;
  /** Servers on one PostgreSQL; 1 by default. */
  readonly nodes?: number;
  /** Microseconds on a processor of what the servers stand on. */
  readonly engineCpuUs?: () => number;
  readonly agents: number;
  readonly serverCpus: Cpus;
  readonly agentCpus: Cpus;
  readonly metrics?: boolean;
}

/** Everything that all agents have seen. */
export interface Total {
  readonly faults: Faults;
  readonly complaint: string;
  readonly delivered: number;
  readonly acked: number;
  readonly latency: Histogram;
  readonly ackLatency: Histogram;
  readonly lateness: Histogram;
  readonly sent: number;
}

/** Figures measured between two times. */
export interface Measured {
  readonly seconds: number;
  /** Of all nodes together. */
  readonly serverCpuUs: number;
  readonly engineCpuUs: number;
  readonly agentsCpuUs: number;
}

/** Milliseconds without anything new after which what is missing is lost. */
const STALLED_MS = 10_000;
/** Milliseconds after everything was there in which nothing more may come. */
const AFTERWARDS_MS = 500;
/** Microseconds from asking to the start: every process has heard it by then. */
const START_DELAY_US = 300_000;

/** The servers and their clients. */
export class Fleet {
  readonly nodes: readonly MeasuredProcess[];
  readonly agents: readonly MeasuredProcess[];
  readonly #engineCpuUs: () => number;
  #ports: readonly number[] = [];

  private constructor(options: FleetOptions) {
    this.#engineCpuUs = options.engineCpuUs ?? (() => 0);
    const here = import.meta.dirname!;
    const permissions = ["run", "--no-prompt", "--allow-net", "--allow-read", "--allow-write"];
    const server = ["--allow-env=PARLEY_*,PG*,DENO_SERVE_ADDRESS,USER,USERNAME", `${here}/server.ts`, "--port", "0"];
    const broker = ["--broker", options.broker, options.broker === "postgres" ? "--postgres" : "--data", options.data];
    if (options.metrics) broker.push("--metrics");
    if (options.schema !== undefined) broker.push("--postgres-schema", options.schema);
    const start = () => new MeasuredProcess([...permissions, ...server, ...broker], options.serverCpus);
    this.nodes = Array.from({ length: options.nodes ?? 1 }, start);
    const agent = ["run", "--no-prompt", "--allow-net", `${here}/agent.ts`];
    this.agents = Array.from({ length: options.agents }, () => new MeasuredProcess(agent, options.agentCpus));
  }

  /** Starts them all. */
  static async start(options: FleetOptions): Promise<Fleet> {
    const fleet = new Fleet(options);
    fleet.#ports = await Promise.all(fleet.nodes.map(async (node) => {
      const port = /:(\d+)\/ws$/.exec(await node.line());
      if (!port) throw new Error("bench: the server did not say where it listens");
      return Number(port[1]);
    }));
    return fleet;
  }

  /** The first node. */
  get server(): MeasuredProcess {
    return this.nodes[0]!;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.agents, ...this.nodes].map((process) => process.stop()));
  }

  /** Asks every agent; `command` is given the agent's index. */
  async all<T>(command: (index: number) => Command): Promise<T[]> {
    return await Promise.all(this.agents.map((agent, index) => agent.ask<T>(command(index))));
  }

  /** Opens an equal share of the names at each agent, one name after the other at another node. */
  async open(
    names: readonly string[],
    options: Omit<OpenCommand, "op" | "port" | "names">,
  ): Promise<Opened & { time: Histogram }> {
    const shares = this.share(names), opened: Opened[] = [];
    for (const [node, port] of this.#ports.entries()) {
      const here = (index: number) => shares[index]!.filter((_, n) => n % this.#ports.length === node);
      opened.push(...await this.all<Opened>((index) => ({ op: "open", port, names: here(index), ...options })));
    }
    const time = new Histogram();
    for (const { ready } of opened) time.merge(ready);
    return { ...opened[0]!, seq: Math.max(...opened.map(({ seq }) => seq)), time };
  }

  /** Opens names at one agent. */
  async openAt(agent: number, names: readonly string[], level: OpenCommand["level"]): Promise<void> {
    await this.agents[agent]!.ask({ op: "open", port: this.#ports[0]!, names, level } satisfies Command);
  }

  /** Equal shares of `names`, one per agent. */
  share(names: readonly string[]): string[][] {
    const size = Math.ceil(names.length / this.agents.length);
    return this.agents.map((_, index) => names.slice(index * size, (index + 1) * size));
  }

  /** Sends for a while from all agents that have flows, and measures after the warm-up. */
  async run(
    flows: (agent: number) => SendCommand["flows"],
    how: Omit<SendCommand, "op" | "flows" | "startUs" | "untilUs">,
    seconds: { warmup: number; measured: number },
  ): Promise<Measured> {
    const startUs = nowUs() + START_DELAY_US;
    const fromUs = startUs + seconds.warmup * 1e6, untilUs = fromUs + seconds.measured * 1e6;
    await this.all(() => ({ op: "measure", fromUs, untilUs }));
    await this.all((agent) => ({ op: "send", flows: flows(agent), startUs, untilUs, ...how }));
    return await this.#measure(fromUs, untilUs);
  }

  async #measure(fromUs: number, untilUs: number): Promise<Measured> {
    await until(fromUs);
    const before = { server: this.#nodesCpuUs(), engine: this.#engineCpuUs(), agents: this.#agentsCpuUs(), at: nowUs() };
    await until(untilUs);
    return {
      serverCpuUs: this.#nodesCpuUs() - before.server,
      engineCpuUs: this.#engineCpuUs() - before.engine,
      agentsCpuUs: this.#agentsCpuUs() - before.agents,
      seconds: (nowUs() - before.at) / 1e6,
    };
  }

  #nodesCpuUs(): number {
    return this.nodes.reduce((sum, node) => sum + node.cpuUs(), 0);
  }

  #agentsCpuUs(): number {
    return this.agents.reduce((sum, agent) => sum + agent.cpuUs(), 0);
  }

  /** Waits until all that was sent has arrived, or nothing arrives any more, and says what the agents saw. `copies`: see {@linkcode expected}. */
  async settle(copies: (flow: string) => readonly string[] = direct): Promise<Total> {
    let last = -1, since = Date.now(), isLast = false;
    for (;;) {
      const reports = await this.all<Report>(() => ({ op: "report" }));
      const sent = expected(reports, copies);
      const received = Object.assign({}, ...reports.map((report) => report.received));
      const lost = countLost(sent, received);
      const missing = lost + reports.reduce((sum, { faults }) => sum + faults.unacked, 0);
      if (missing !== last) [last, since] = [missing, Date.now()];
      if (isLast || Date.now() - since > STALLED_MS) return add(reports, lost);
      isLast = missing === 0;
      await new Promise((resolve) => setTimeout(resolve, isLast ? AFTERWARDS_MS : 200));
    }
  }
}

function direct(flow: string): readonly string[] {
  return [flow.slice(flow.indexOf(">") + 1)];
}

/** Counts the messages of each `sender>address>receiver` there should be; `copies` names the receivers of a `sender>address`. */
function expected(reports: readonly Report[], copies: (flow: string) => readonly string[]): Record<string, number> {
  const sent: Record<string, number> = {};
  for (const report of reports) {
    for (const [flow, count] of Object.entries(report.sent)) for (const name of copies(flow)) sent[`${flow}>${name}`] = count;
  }
  return sent;
}

function add(reports: readonly Report[], lost: number): Total {
  const faults = noFaults();
  const [latency, ackLatency, lateness] = [new Histogram(), new Histogram(), new Histogram()];
  let delivered = 0, acked = 0, sent = 0;
  for (const report of reports) {
    for (const kind of Object.keys(faults) as (keyof Faults)[]) faults[kind] += report.faults[kind];
    latency.merge(report.latency);
    ackLatency.merge(report.ackLatency);
    lateness.merge(report.lateness);
    delivered += report.delivered;
    acked += report.acked;
    for (const count of Object.values(report.sent)) sent += count;
  }
  const complaint = reports.find((report) => report.complaint)?.complaint ?? "";
  faults.lost = lost;
  return { faults, complaint, delivered, acked, latency, ackLatency, lateness, sent };
}

async function until(timeUs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, Math.max(0, (timeUs - nowUs()) / 1_000)));
}
