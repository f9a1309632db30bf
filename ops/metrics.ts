/**
 * Metrics in the text format of Prometheus, on a listener of their own. Names, units and labels follow Prometheus' rules: base
 * units, `_total` for counters, labels from closed sets, nothing per user or conversation. docs/OPERATIONS.md lists them.
 */

import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { Meter } from "../hub.ts";
import { CLIENT_TYPES, CLOSE_CODES, ERROR_CODES } from "../protocol.ts";

/** Seconds up to which an append is counted, from a fast disk's sync to a client's patience. */
const APPEND_BUCKETS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
/** Messages up to which a batch is counted: from one to a full turn. */
const BATCH_BUCKETS = [1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500];
/** Seconds up to which the way out of the broker to the sockets is counted. */
const LAG_BUCKETS_S = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1];
/** Seconds up to which a delay of the event loop is counted. */
const LOOP_BUCKETS_S = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5];
/** Milliseconds between two looks at the event loop: a stall of a tenth of a second is seen, and looking costs nothing. */
const LOOP_LOOK_MS = 100;

/** Values that are looked up when somebody asks. Undefined for what cannot be known here. */
export interface Sampled {
  readonly base: number;
  readonly extended: number;
  readonly undecided: number;
  readonly behind: number;
  readonly queuedBytes: number;
  readonly users: number;
  /** Connections that the server has closed and whose peers do not let go. */
  readonly stalled: number;
  readonly residentBytes: number;
  readonly openFds: number | undefined;
  readonly maxFds: number | undefined;
  readonly cpuSeconds: number | undefined;
  readonly databaseBytes: number | undefined;
  readonly walBytes: number | undefined;
  readonly freeBytes: number | undefined;
  /** Endpoints of webhooks, with the events that wait for each and the age of the oldest in seconds. */
  readonly webhooks?: readonly { readonly endpoint: string; readonly events: number; readonly seconds: number }[] | undefined;
  /** Seconds since 1970 at which the TLS certificate ends. */
  readonly certificateEnds: number | undefined;
}

/** Parts of {@linkcode Metrics}. */
export interface MetricsOptions {
  readonly version: string;
  /** Version of the runtime. */
  readonly deno: string;
  /** Names of the routes of the API. Default: there are none. */
  readonly apiRoutes?: readonly string[];
  /** Looks up what has no counter. */
  readonly sample: () => Sampled;
}

/** Counts what a server does, as a hub's {@linkcode Meter}, and renders it. */
export class Metrics implements Meter, Disposable {
  readonly #registry = new Registry();
  readonly #sample: () => Sampled;
  readonly #received: ReadonlyMap<string, Tally>;
  readonly #refused: ReadonlyMap<string, Tally>;
  readonly #closed: ReadonlyMap<number, Tally>;
  readonly #stored: Pair;
  readonly #delivered: Pair;
  readonly #welcomed: Pair;
  readonly #upgrades: Counter<"result">;
  readonly #api: Counter<"route" | "class">;
  readonly #apiRoutes: ReadonlySet<string>;
  readonly #cpu: Counter;
  readonly #append: Histogram;
  readonly #batch: Histogram;
  readonly #lag: Histogram;
  readonly #loop: Histogram;
  readonly #gauges: readonly (readonly [Gauge.Internal<string>, (sampled: Sampled) => number | undefined])[];
  readonly #webhooks: Counter<"endpoint" | "result">;
  readonly #webhooksWaiting: Gauge<"endpoint">;
  readonly #webhooksOldest: Gauge<"endpoint">;
  readonly #timer: ReturnType<typeof setInterval>;

  constructor({ version, deno, sample, apiRoutes = [] }: MetricsOptions) {
    this.#sample = sample;
    const registers = [this.#registry];
    const counter = <L extends string>(name: string, help: string, ...labelNames: L[]) =>
      new Counter({ name, help, labelNames, registers });
    const histogram = (name: string, help: string, buckets: number[]) => new Histogram({ name, help, buckets, registers });

    const received = counter("parley_frames_received_total", "Frames from clients", "type");
    this.#received = children(["message", ...CLIENT_TYPES, "invalid"], (type) => received.labels(type));
    const refused = counter("parley_errors_total", "Error frames to clients", "code");
    this.#refused = children(Object.keys(ERROR_CODES), (code) => refused.labels(code));
    const closed = counter("parley_closes_total", "Connections that the server closed", "code");
    this.#closed = children(Object.values(CLOSE_CODES).map(({ code }) => code), (code) => closed.labels(String(code)));
    this.#stored = pair(
      counter("parley_messages_stored_total", "Messages stored for the first time", "kind"),
      "group",
      "direct",
    );
    this.#delivered = pair(
      counter("parley_messages_delivered_total", "Copies queued to connections", "kind"),
      "group",
      "direct",
    );
    this.#welcomed = pair(counter("parley_resumes_total", "Welcomes of the extended level", "recovered"), "true", "false");
    this.#upgrades = counter("parley_upgrades_total", "Requests for a WebSocket, by status of the answer", "result");
    this.#api = counter("parley_api_requests_total", "Requests of the HTTP API, by status of the answer", "route", "class");
    this.#apiRoutes = new Set(apiRoutes);
    this.#append = histogram("parley_append_duration_seconds", "Time until a batch was durable or refused", APPEND_BUCKETS_S);
    this.#batch = histogram("parley_append_batch_messages", "Messages appended together", BATCH_BUCKETS);
    this.#lag = histogram("parley_delivery_lag_seconds", "Time from the broker to the sockets, once a turn", LAG_BUCKETS_S);
    this.#loop = histogram("parley_event_loop_delay_seconds", "Delay of a timer of the event loop", LOOP_BUCKETS_S);

    this.#cpu = counter("process_cpu_seconds_total", "CPU time of the process");
    const info = new Gauge({ name: "parley_build_info", help: "Versions", labelNames: ["version", "deno"], registers });
    info.labels(version, deno).set(1);
    const started = new Gauge({ name: "process_start_time_seconds", help: "Start of the process, since 1970", registers });
    started.set((performance.timeOrigin || Date.now()) / 1_000);
    this.#gauges = gauges(registers);

    this.#webhooks = counter("parley_webhook_events_total", "Attempts and ends of events, by endpoint", "endpoint", "result");
    const gauge = (name: string, help: string) => new Gauge({ name, help, labelNames: ["endpoint"] as const, registers });
    this.#webhooksWaiting = gauge("parley_webhook_waiting", "Events that wait for an endpoint, those under way included");
    this.#webhooksOldest = gauge("parley_webhook_oldest_seconds", "Age of the oldest of them");

    let expected = performance.now() + LOOP_LOOK_MS;
    this.#timer = setInterval(() => {
      const now = performance.now();
      this.#loop.observe(Math.max(0, now - expected) / 1_000);
      expected = now + LOOP_LOOK_MS;
    }, LOOP_LOOK_MS);
  }

  /** Content type of {@linkcode Metrics.render}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Renders everything in the text format. */
  async render(): Promise<string> {
    const sampled = this.#sample();
    for (const [gauge, valueOf] of this.#gauges) {
      const value = valueOf(sampled);
      if (value !== undefined) gauge.set(value);
    }
    for (const gauge of [this.#webhooksWaiting, this.#webhooksOldest]) gauge.reset();
    for (const { endpoint, events, seconds } of sampled.webhooks ?? []) {
      this.#webhooksWaiting.labels(endpoint).set(events);
      this.#webhooksOldest.labels(endpoint).set(seconds);
    }
    for (const tallies of [this.#received, this.#refused, this.#closed]) tallies.forEach((tally) => tally.settle());
    for (const tally of [...this.#stored, ...this.#delivered, ...this.#welcomed]) tally.settle();
    this.#cpu.reset();
    this.#cpu.inc(sampled.cpuSeconds ?? 0);
    return await this.#registry.metrics();
  }

  /** Counts the answer to a request for a WebSocket. */
  upgraded(status: number): void {
    this.#upgrades.labels(status === 101 ? "ok" : String(status)).inc();
  }

  /** Counts an answer of the API; what leads to no route that there is, is `none`. */
  apiAnswered(route: string, status: number): void {
    this.#api.labels(this.#apiRoutes.has(route) ? route : "none", `${Math.floor(status / 100)}xx`).inc();
  }

  received(type: string): void {
    this.#received.get(type)?.inc();
  }

  refused(code: string): void {
    this.#refused.get(code)?.inc();
  }

  closed(code: number): void {
    this.#closed.get(code)?.inc();
  }

  stored(isGroup: boolean): void {
    this.#stored[isGroup ? 0 : 1].inc();
  }

  delivered(isGroup: boolean): void {
    this.#delivered[isGroup ? 0 : 1].inc();
  }

  welcomed(recovered: boolean): void {
    this.#welcomed[recovered ? 0 : 1].inc();
  }

  appended(seconds: number, messages: number): void {
    this.#append.observe(seconds);
    this.#batch.observe(messages);
  }

  written(seconds: number): void {
    this.#lag.observe(seconds);
  }

  /** Counts events of webhooks; endpoints are few, as an operator names them. */
  webhook(endpoint: string, result: string, count: number): void {
    this.#webhooks.labels(endpoint, result).inc(count);
  }

  /** Stops looking at the event loop. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }
}

/**
 * Counts for one child of a counter, and hands it over when somebody asks for the metrics: an increment of the library's costs a
 * tenth of a microsecond, and a message has three.
 */
class Tally {
  readonly #child: Counter.Internal;
  #count = 0;

  /** Shows the child from the start, as 0. */
  constructor(child: Counter.Internal) {
    this.#child = child;
    child.inc(0);
  }

  inc(): void {
    this.#count++;
  }

  /** Hands over what was counted. */
  settle(): void {
    this.#child.inc(this.#count);
    this.#count = 0;
  }
}

type Pair = readonly [yes: Tally, no: Tally];

/** Returns the two children of a counter with one label of two values. */
function pair<L extends string>(counter: Counter<L>, yes: string, no: string): Pair {
  return [new Tally(counter.labels(yes)), new Tally(counter.labels(no))];
}

/** Looks up the child of every label value once: the hot path then only counts. All of them are shown from the start, as 0. */
function children<K>(keys: readonly K[], childOf: (key: K) => Counter.Internal): Map<K, Tally> {
  return new Map(keys.map((key) => [key, new Tally(childOf(key))]));
}

function gauges(registers: Registry[]): [Gauge.Internal<string>, (sampled: Sampled) => number | undefined][] {
  const rows: [string, string, Record<string, (sampled: Sampled) => number | undefined>, string?][] = [
    ["parley_connections", "Connections, by level", {
      base: ({ base }) => base,
      extended: ({ extended }) => extended,
      undecided: ({ undecided }) => undecided,
    }, "level"],
    ["parley_connections_stalled", "Closed connections whose peers do not let go", { "": ({ stalled }) => stalled }],
    ["parley_users_online", "Users with a connection", { "": ({ users }) => users }],
    ["parley_devices_behind", "Devices whose backlog is being read", { "": ({ behind }) => behind }],
    ["parley_send_queue_bytes", "Bytes queued to all connections", { "": ({ queuedBytes }) => queuedBytes }],
    ["parley_store_bytes", "Size of the store's files", {
      db: ({ databaseBytes }) => databaseBytes,
      wal: ({ walBytes }) => walBytes,
    }, "file"],
    ["parley_store_free_bytes", "Free space where the store is", { "": ({ freeBytes }) => freeBytes }],
    ["parley_tls_certificate_expiry_timestamp_seconds", "End of the TLS certificate, since 1970", {
      "": ({ certificateEnds }) => certificateEnds,
    }],
    ["process_resident_memory_bytes", "Resident memory", { "": ({ residentBytes }) => residentBytes }],
    ["process_open_fds", "Open file descriptors", { "": ({ openFds }) => openFds }],
    ["process_max_fds", "Most file descriptors", { "": ({ maxFds }) => maxFds }],
  ];
  return rows.flatMap(([name, help, values, label]) => {
    const gauge = new Gauge({ name, help, labelNames: label === undefined ? [] : [label], registers });
    if (label === undefined) gauge.remove(); // shown once it has a value
    return Object.entries(values).map(([value, valueOf]) =>
      [label === undefined ? gauge.labels() : gauge.labels(value), valueOf] as [Gauge.Internal<string>, typeof valueOf]
    );
  });
}
