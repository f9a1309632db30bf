/** Metrics of a server on a listener of their own, which has no authentication and so its own address. */

import { readdirSync, readFileSync } from "node:fs";
import { X509Certificate } from "node:crypto";
import process from "node:process";
import type { Admission } from "../limits/admission.ts";
import type { Hub, Meter } from "../hub.ts";
import { Metrics, type Sampled } from "../ops/metrics.ts";
import { API_ROUTE_NAMES } from "./api.ts";
import { plain } from "./http.ts";
import { VERSION } from "./options.ts";
import type { Certificate, Upgrade } from "./transport.ts";
import { WEBHOOK_RESULTS } from "./webhooks.ts";

/** Status of the answer that stands for an upgrade which was done, by transport: Deno's own, and that of `ws`. */
const UPGRADED = [101, 204];

/** Parts that are measured. */
export interface Measured {
  readonly hub: Hub;
  readonly admission: Admission;
  /** Path of the database; undefined where messages are kept elsewhere. */
  readonly database: string | undefined;
  /** Bytes that are free where it is; undefined where that is not known. */
  readonly freeBytes: () => number | undefined;
  readonly certificate: () => Certificate | undefined;
  /** Returns what waits for endpoints of webhooks. */
  readonly webhooks?: () => Sampled["webhooks"];
}

/** Address to serve metrics at. */
export interface MetricsAddress {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
}

/** Counts for a server, and serves what it counts. */
export class MetricsServer {
  readonly #metrics: Metrics;
  readonly #http: Deno.HttpServer<Deno.NetAddr>;
  #measured: Measured | undefined;

  /** Listens. Throws what `Deno.serve` throws, such as `Deno.errors.AddrInUse`. */
  constructor({ hostname, port }: MetricsAddress) {
    this.#metrics = new Metrics({
      apiRoutes: API_ROUTE_NAMES,
      webhookResults: WEBHOOK_RESULTS,
      version: VERSION,
      deno: Deno.version.deno,
      sample: () => this.#sample(),
    });
    try {
      this.#http = Deno.serve({ hostname, port, onListen() {} }, (request) => this.#answer(request));
    } catch (error) {
      this.#metrics[Symbol.dispose]();
      throw error;
    }
  }

  /** Address that is listened on, of a name the one that it stands for. */
  get hostname(): string {
    return this.#http.addr.hostname;
  }

  get port(): number {
    return this.#http.addr.port;
  }

  /** Counts for a hub. */
  get meter(): Meter {
    return this.#metrics;
  }

  /** Counts events of webhooks. */
  webhook(endpoint: string, result: string, count: number): void {
    this.#metrics.webhook(endpoint, result, count);
  }

  /** Begins to measure a server that has started. */
  measure(measured: Measured): void {
    this.#measured = measured;
  }

  /** Counts the answers of `upgrade`. */
  counting(upgrade: Upgrade): Upgrade {
    const counted = (response: Response) => {
      this.#metrics.upgraded(UPGRADED.includes(response.status) ? 101 : response.status);
      return response;
    };
    return (request, address) => {
      const response = upgrade(request, address);
      return response instanceof Promise ? response.then(counted) : counted(response);
    };
  }

  /** Counts an answer of the API, by the name of its route. */
  apiAnswered(route: string, status: number): void {
    this.#metrics.apiAnswered(route, status);
  }

  /** Stops serving. Idempotent. */
  async close(): Promise<void> {
    this.#metrics[Symbol.dispose]();
    await this.#http.shutdown();
  }

  async #answer(request: Request): Promise<Response> {
    if (new URL(request.url).pathname !== "/metrics") return plain(404, "There is nothing at this address; try /metrics");
    if (request.method !== "GET" && request.method !== "HEAD") {
      return plain(405, "Only GET is answered here", { allow: "GET, HEAD" });
    }
    return new Response(await this.#metrics.render(), { headers: { "content-type": this.#metrics.contentType } });
  }

  #sample(): Sampled {
    const { hub, admission, database, freeBytes, certificate, webhooks } = this.#measured ?? {};
    const { user, system } = process.cpuUsage();
    return {
      ...hub?.measure() ?? { base: 0, extended: 0, undecided: 0, behind: 0, queuedBytes: 0 },
      users: hub?.counts.users ?? 0,
      stalled: admission?.counts.stalled ?? 0,
      residentBytes: Deno.memoryUsage().rss,
      cpuSeconds: (user + system) / 1_000_000,
      openFds: attempt(() => readdirSync("/proc/self/fd").length),
      maxFds: attempt(() => Number(/^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8"))![1])),
      databaseBytes: database === undefined ? undefined : attempt(() => Deno.statSync(database).size),
      walBytes: database === undefined ? undefined : attempt(() => Deno.statSync(`${database}-wal`).size),
      freeBytes: freeBytes?.(),
      webhooks: webhooks?.(),
      certificateEnds: endOf(certificate?.()),
    };
  }
}

/** Returns the end of a certificate in seconds since 1970. */
function endOf(certificate: Certificate | undefined): number | undefined {
  return certificate && attempt(() => Date.parse(new X509Certificate(certificate.cert).validTo) / 1_000);
}

/** Returns a value, or undefined where this machine does not have it or does not let it be read. */
function attempt(value: () => number): number | undefined {
  try {
    return value();
  } catch {
    return undefined;
  }
}
