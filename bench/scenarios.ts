/**
 * Scenarios, each a function that starts its own server and clients, and gives back figures only if all arrived.
 */

import type { SendCommand } from "./agent.ts";
import type { Faults } from "./checker.ts";
import { Fleet, type Measured, type Total } from "./fleet.ts";
import type { Histogram } from "./histogram.ts";
import type { Cpus } from "./measured_process.ts";

/** Percentiles in microseconds. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly p999: number;
  readonly max: number;
}

/** Figures of a scenario; those that do not apply are left out. */
export interface Figures {
  /** In closed loop, with the server as busy as the clients can make it; for a backlog, of one reader. */
  readonly delivered_per_s?: number;
  /** The server's, all threads, per message delivered. */
  readonly cpu_us_per_message?: number;
  /** Load of the server, in processors. */
  readonly server_cpu?: number;
  /** Load of the clients' processes, in processors: at the number they have, they and not the server were the limit. */
  readonly clients_cpu?: number;
  /** From when a message was due to when it was there, in open loop at `at_per_s` deliveries. */
  readonly latency_us?: Percentiles;
  /** The same until the sender had the ack. */
  readonly ack_latency_us?: Percentiles;
  readonly at_per_s?: number;
  /** Lateness of the clients at sending, which the latencies include. */
  readonly lateness_p99_us?: number;
  readonly kib_per_connection?: number;
  /** Of the server, in the whole run. */
  readonly memory_peak_mib?: number;
  /** From when everybody wanted to be connected to being connected with nothing missing. */
  readonly ready_us?: Percentiles;
  readonly ready_per_s?: number;
}

/** One scenario's outcome. */
export interface Result {
  readonly scenario: string;
  readonly what: string;
  readonly broker: "memory" | "sqlite";
  readonly connections: number;
  readonly figures: Figures;
  readonly faults: Faults;
  /** First words of the server when it refused something, or "". */
  readonly complaint: string;
}

/** Parameters of a scenario. */
export interface Setting {
  /** Seconds of warm-up and of measurement. */
  readonly seconds: { readonly warmup: number; readonly measured: number };
  /** 1 for the sizes that the scenarios are named after; less for a quick run. */
  readonly scale: number;
  /** Files that one process may have open. */
  readonly filesMax: number;
  readonly serverCpus: Cpus;
  readonly agentCpus: Cpus;
  /** True to have the server count as with `--metrics-listen`. */
  readonly metrics: boolean;
  /** An empty directory for one server's data. */
  readonly directory: () => string;
}

/** A scenario by its name. */
export interface Scenario {
  readonly name: string;
  readonly run: (setting: Setting) => Promise<Result>;
}

/** Busy clients in one process: below what its event loop reads in one turn. */
const CLIENTS_PER_AGENT = 100;
/** Idle clients in one process. */
const IDLE_PER_AGENT = 2_500;
/** Messages per second at which latency is measured: what a large company sends, and a fraction of what the server can. */
const OPEN_LOOP_PER_SECOND = 20_000;
/** Part of the closed loop's rate at which latency is measured where the server can do less than twice that. */
const OPEN_LOOP_SHARE = 0.5;
/** Users for whom a backlog is made at a time, and messages on their way then: their acks fit into one connection's queue. */
const FED_AT_ONCE = 1_000, FED_IN_FLIGHT = 4_000;
const FOREVER_US = 1e18;
/** Characters of ordinary content. */
const CHARS = 64;
/** Open files that a process needs beside its connections, and connections below which nothing is measured. */
const OTHER_FILES = 500, CONNECTIONS_MIN = 100;

/** All of them, in the order they are run. */
export const SCENARIOS: readonly Scenario[] = [
  direct("direct-base-w1", { level: "base", window: 1 }),
  direct("direct-base-w16", { level: "base", window: 16 }),
  direct("direct-w1", { window: 1 }),
  direct("direct-w16", { window: 16 }),
  direct("direct-w16-1k", { window: 16, chars: 1_024 }),
  direct("direct-w4-16k", { window: 4, chars: 16_000 }),
  direct("direct-n1000-w4", { window: 4, connections: 1_000 }),
  direct("acked-w16", { window: 16, ids: true }),
  direct("durable-w16", { window: 16, ids: true, broker: "sqlite" }),
  { name: "group-1000", run: group },
  { name: "idle-10k", run: idle },
  { name: "storm-10k", run: storm },
  { name: "backlog-100k", run: backlog },
];

interface DirectOptions {
  readonly level?: "base" | "extended";
  readonly window: number;
  readonly chars?: number;
  readonly connections?: number;
  readonly ids?: boolean;
  readonly broker?: "memory" | "sqlite";
}

/** Everybody writes to one other: first as much as the window lets through, then evenly at a fixed rate. */
function direct(name: string, options: DirectOptions): Scenario {
  const { level = "extended", window, chars = CHARS, connections = 100, ids = false, broker = "memory" } = options;
  const what = `${connections} ${level} connections, ${window} in flight each, ${chars} characters${ids ? ", ids" : ""}`;
  const run = async (setting: Setting): Promise<Result> => {
    const agents = Math.ceil(connections / CLIENTS_PER_AGENT);
    await using fleet = await Fleet.start({ ...setting, broker, data: setting.directory(), agents });
    const names = namesOf(connections);
    await fleet.open(names, { level });
    const flows = fleet.share(names).map(ring);
    const closed = await fleet.run((agent) => flows[agent]!, {
      chars,
      ids,
      window: { size: window, endedBy: "delivery" },
    }, setting.seconds);
    const full = await fleet.settle();
    const rate = Math.floor(Math.min(OPEN_LOOP_PER_SECOND, full.delivered / closed.seconds * OPEN_LOOP_SHARE));
    await fleet.run((agent) => flows[agent]!, { chars, ids, perSecond: rate / agents, spins: agents === 1 }, setting.seconds);
    const half = await fleet.settle();
    return {
      ...{ scenario: name, what, broker, connections, complaint: half.complaint, faults: half.faults },
      figures: { ...load(closed, full), ...latencies(half, rate), ...memory(fleet) },
    };
  };
  return { name, run };
}

/** One writes to a group, evenly; the others only read. */
async function group(setting: Setting): Promise<Result> {
  const members = Math.max(100, 1_000 * setting.scale), perSecond = 40_000 / members;
  const agents = 1 + Math.ceil(members / CLIENTS_PER_AGENT / 2);
  await using fleet = await Fleet.start({ ...setting, broker: "memory", data: setting.directory(), agents });
  const sender = "c0", readers = namesOf(members).slice(1), address = "#bench";
  const size = Math.ceil(readers.length / (agents - 1));
  const parts = fleet.agents.map((_, agent) => agent === 0 ? [sender] : readers.slice((agent - 1) * size, agent * size));
  for (const [agent, names] of parts.entries()) {
    await fleet.openAt(agent, names, "extended");
    await fleet.agents[agent]!.ask({ op: "group", group: address, names, create: agent === 0 });
  }
  const flow = [{ from: sender, to: address }];
  const how = { chars: CHARS, ids: true, perSecond };
  const measured = await fleet.run((agent) => agent === 0 ? flow : [], how, setting.seconds);
  const total = await fleet.settle(() => readers);
  const { delivered_per_s: _, ...figures } = load(measured, total);
  return {
    ...{ scenario: "group-1000", what: `one writes to a group of ${members}, evenly`, broker: "memory", connections: members },
    figures: { ...figures, ...latencies(total, Math.round(perSecond * readers.length)), ...memory(fleet) },
    ...{ faults: total.faults, complaint: total.complaint },
  };
}

/** Connections that do nothing. */
async function idle(setting: Setting): Promise<Result> {
  const connections = tenThousand(setting);
  const agents = Math.ceil(connections / IDLE_PER_AGENT);
  await using fleet = await Fleet.start({ ...setting, broker: "memory", data: setting.directory(), agents });
  const names = namesOf(connections);
  await fleet.open(names.slice(0, 1), { level: "extended" });
  const before = fleet.server.memoryKib().now;
  const { time } = await fleet.open(names.slice(1), { level: "extended" });
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  const after = fleet.server.memoryKib().now;
  const total = await fleet.settle();
  return {
    ...{ scenario: "idle-10k", what: "connections that do nothing", broker: "memory", connections },
    figures: {
      kib_per_connection: round((after - before) / (connections - 1), 1),
      ready_per_s: Math.round(1e6 * connections / time.max),
      ...memory(fleet),
    },
    ...{ faults: total.faults, complaint: total.complaint },
  };
}

/** Everybody was cut off, ten messages came for each, and all come back at once. */
async function storm(setting: Setting): Promise<Result> {
  const connections = tenThousand(setting), each = 10;
  const agents = Math.ceil(connections / IDLE_PER_AGENT);
  await using fleet = await Fleet.start({ ...setting, broker: "sqlite", data: setting.directory(), agents });
  const names = namesOf(connections);
  const { epoch, seq } = await fleet.open(names, { level: "extended" });
  const shares = fleet.share(names);
  await fleet.all((agent) => ({ op: "drop", names: shares[agent]! }));
  await feed(fleet, names, each);
  const cpuUs = fleet.server.cpuUs();
  const { time } = await fleet.open(names, { level: "extended", resume: { epoch, seq, missed: each } });
  const usedUs = fleet.server.cpuUs() - cpuUs;
  const total = await fleet.settle();
  return {
    ...{ scenario: "storm-10k", what: `all come back at once to ${each} messages each`, broker: "sqlite", connections },
    figures: {
      ready_us: percentiles(time),
      ready_per_s: Math.round(1e6 * connections / time.max),
      delivered_per_s: Math.round(1e6 * connections * each / time.max),
      cpu_us_per_message: round(usedUs / connections / each, 1),
      ...memory(fleet),
    },
    ...{ faults: total.faults, complaint: total.complaint },
  };
}

/** One user returns to what was written meanwhile. */
async function backlog(setting: Setting): Promise<Result> {
  const messages = 100_000 * setting.scale, reader = "c0";
  await using fleet = await Fleet.start({ ...setting, broker: "sqlite", data: setting.directory(), agents: 1 });
  const { epoch, seq } = await fleet.open([reader], { level: "extended" });
  await fleet.all(() => ({ op: "drop", names: [reader] }));
  await feed(fleet, [reader], messages);
  const cpuUs = fleet.server.cpuUs();
  const { time } = await fleet.open([reader], { level: "extended", resume: { epoch, seq, missed: messages } });
  const usedUs = fleet.server.cpuUs() - cpuUs;
  const total = await fleet.settle();
  return {
    ...{ scenario: "backlog-100k", what: `one user returns to ${messages} messages`, broker: "sqlite", connections: 1 },
    figures: {
      ready_us: percentiles(time),
      delivered_per_s: Math.round(1e6 * messages / time.max),
      cpu_us_per_message: round(usedUs / messages, 1),
      ...memory(fleet),
    },
    ...{ faults: total.faults, complaint: total.complaint },
  };
}

/** Has a writer at the first agent send `each` messages to everybody, all acked; those are not connected. */
async function feed(fleet: Fleet, names: readonly string[], each: number): Promise<void> {
  await fleet.openAt(0, ["feeder"], "extended");
  for (let start = 0; start < names.length; start += FED_AT_ONCE) {
    const flows = names.slice(start, start + FED_AT_ONCE).map((to) => ({ from: "feeder", to }));
    const window = { size: Math.floor(FED_IN_FLIGHT / flows.length), endedBy: "ack", count: each } as const;
    await fleet.agents[0]!.ask({ op: "send", flows, chars: CHARS, ids: true, startUs: 0, untilUs: FOREVER_US, window });
    const { sent } = await fleet.settle(() => []);
    const wanted = Math.min(names.length, start + FED_AT_ONCE) * each;
    if (sent !== wanted) throw new Error(`${sent} of ${wanted} messages could be sent`);
  }
}

/** As many connections as the scenario is named after, or as this process may have. */
function tenThousand({ scale, filesMax }: Setting): number {
  const connections = Math.min(10_000 * scale, filesMax - OTHER_FILES);
  if (connections < CONNECTIONS_MIN) throw new Error(`only ${filesMax} files may be open: raise that with "ulimit -n 20000"`);
  return connections;
}

// ---- Figures -----------------------------------------------------------------------------------------------------------------

function namesOf(count: number): string[] {
  return Array.from({ length: count }, (_, index) => `c${index}`);
}

function ring(names: readonly string[]): SendCommand["flows"] {
  return names.map((from, index) => ({ from, to: names[(index + 1) % names.length]! }));
}

function load(measured: Measured, total: Total): Figures {
  return {
    delivered_per_s: Math.round(total.delivered / measured.seconds),
    cpu_us_per_message: round(measured.serverCpuUs / total.delivered, 2),
    server_cpu: round(measured.serverCpuUs / 1e6 / measured.seconds, 2),
    clients_cpu: round(measured.agentsCpuUs / 1e6 / measured.seconds, 2),
  };
}

function latencies(total: Total, rate: number): Figures {
  return {
    at_per_s: rate,
    latency_us: percentiles(total.latency),
    ...(total.ackLatency.total > 0 ? { ack_latency_us: percentiles(total.ackLatency) } : {}),
    lateness_p99_us: total.lateness.percentile(99),
  };
}

function memory(fleet: Fleet): Figures {
  return { memory_peak_mib: Math.round(fleet.server.memoryKib().peak / 1_024) };
}

function percentiles(histogram: Histogram): Percentiles {
  const [p50, p99, p999] = [50, 99, 99.9].map((percent) => histogram.percentile(percent));
  return { p50: p50!, p99: p99!, p999: p999!, max: histogram.max };
}

function round(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
