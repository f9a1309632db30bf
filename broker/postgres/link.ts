/**
 * Connections to the primary. A link is one connection, or a small pool, that is opened again whenever it breaks, on whichever
 * of the hosts takes writes. Nothing is read from a standby: its readers would not know what is under way on the primary.
 */

import postgres from "postgres";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { BrokerError } from "../errors.ts";
import type { Settings } from "./settings.ts";
import { Sockets } from "./socket.ts";
import { describeConnecting, isLasting } from "./trouble.ts";

/** Client of one host. */
export type Sql = postgres.Sql<{ bigint: number }>;

type Options = postgres.Options<{ bigint: postgres.PostgresType<number> }>;

/** Seconds to be let in by a server that takes the connection. */
const CONNECT_TIMEOUT_S = 3;
/** Milliseconds between two attempts to connect; and after a refusal that only an operator mends. */
const RETRY_MS = 100, LASTING_RETRY_MS = 1_000;
/** Milliseconds after which PostgreSQL drops a peer that takes nothing: a stopped listener would make its queue grow. */
const USER_TIMEOUT_MS = 15_000;
/** Milliseconds that a command or a start waits for a connection. */
const ONCE_MS = 4_500;
/** Milliseconds that commands and starts wait for a lock that somebody else holds. */
export const LOCK_MS = 4_500;
/** OID of bigint. */
const INT8 = 20;
/** Setting of sessions that nobody else has: a pooler that leaves out what it does not know leaves this out too. */
const PLANS = "force_generic_plan";

/** Purpose of a link. */
export interface LinkOptions {
  /** Connections that it has at most. */
  readonly max: number;
  /** Settings of its sessions beside those of all. */
  readonly session?: Readonly<Record<string, string | number>>;
  /** Called with each new client before it is used; a rejection makes the link try another host. */
  readonly prepare?: (sql: Sql) => Promise<void>;
  /** Receives notifications. */
  readonly notified?: (payload: string) => void;
  /** Receives warnings of the server, which it says beside an answer. */
  readonly warned?: (notice: postgres.Notice) => void;
  /** Called when a link of one connection has broken. */
  readonly broken?: () => void;
}

/** Words for a pooler: what a session is told at its start, and all of LISTEN and advisory locks, would be somebody else's. */
const POOLED = "It leaves out settings that sessions begin with, as a pooler such as PgBouncer does: " +
  "nodes need connections to PostgreSQL itself";

/** Words for a standby: it may be promoted any moment, so that it is asked again soon. */
const STANDBY = "The server is a standby, which takes no writes. Promote it, or name the primary in --postgres";

/** A client, and the sockets that only it has. */
interface Client {
  readonly sql: Sql;
  /** Index of its host. */
  readonly host: number;
  /** Called when it has turned out to be of use: a pool may replace connections from now on. */
  opened(): void;
  /** Ends it with everything under way. Resolves when its connections are closed. */
  end(): Promise<void>;
}

/** Hosts of one installation, and which of them is thought to be the primary. */
export class Connector {
  readonly #settings: Settings;
  readonly #session: Readonly<Record<string, string | number>>;
  #index = 0;

  /** `node` is how the sessions call themselves, `schema` the schema of the installation. */
  constructor(settings: Settings, schema: string, node: string) {
    this.#settings = settings;
    this.#session = {
      application_name: `parley ${node}`.slice(0, 63),
      search_path: `${schema}, pg_temp`,
      client_min_messages: "warning",
      // The plans are index walks that suit every value; planning them anew each time costs more than the small appends.
      plan_cache_mode: PLANS,
      jit: "off",
      // A plan is kept for as long as its connection: one of an empty table must not walk through a full one.
      enable_seqscan: "off",
      tcp_user_timeout: USER_TIMEOUT_MS,
    };
  }

  /** Number of hosts. */
  get hosts(): number {
    return this.#settings.hosts.length;
  }

  /** Opens a client of the host that is thought to be the primary. Throws where its password cannot be read. */
  open({ max, session, notified, warned }: LinkOptions, broken: () => void): Client {
    const index = this.#index, { user, database, tls } = this.#settings, host = this.#settings.hosts[index]!;
    const sockets = new Sockets(host, tls);
    const options = {
      host: host.host || "localhost",
      port: host.port,
      socket: () => sockets.connect(),
      user,
      password: this.#passwordOf(index),
      database,
      ssl: false, // the sockets see to that
      max,
      idle_timeout: 0,
      max_lifetime: 0,
      connect_timeout: CONNECT_TIMEOUT_S,
      keep_alive: 0,
      backoff: () => 0,
      fetch_types: false,
      prepare: true,
      debug: false,
      sslnegotiation: null,
      publications: "",
      max_pipeline: 100,
      target_session_attrs: "read-write",
      connection: { ...this.#session, ...session },
      types: { bigint: { to: INT8, from: [INT8], serialize: (value: number) => String(value), parse: Number } },
      onnotice: warned ?? (() => {}),
      onnotify: (_channel: string, payload: string) => notified?.(payload),
      onclose: broken,
    };
    // In place of an option that is not set the library takes what PG* of the environment says. What it has parsed it takes as it is.
    const { options: parsed } = postgres(options as unknown as Options);
    const sql = postgres({ ...parsed, target_session_attrs: null } as unknown as Options) as Sql;
    const end = async () => {
      await sql.end({ timeout: 0 });
      await sockets.end();
    };
    return { sql, host: index, opened: () => sockets.replaceLost(), end };
  }

  /** Returns what reads the password at each connection. The first time it may throw, later the last one stays. */
  #passwordOf(index: number): () => string {
    const { password, hosts } = this.#settings;
    let last = password(hosts[index]!);
    return () => {
      try {
        last = password(hosts[index]!);
      } catch { /* said when the next client is opened */ }
      return last;
    };
  }

  /** Says that a host is not the primary, or cannot be reached; the next client is one of the next host. */
  failed(host: number): void {
    if (host === this.#index) this.#index = (host + 1) % this.#settings.hosts.length;
  }

  /** Index of the host that is tried next. */
  get next(): number {
    return this.#index;
  }

  /** Returns what an operator may read of a failure to open a client of a host. */
  describe(error: unknown, host: number): string {
    return describeConnecting(error, this.#settings.hosts[host]!, this.#settings.tls !== undefined);
  }
}

/** One connection or small pool. */
export class Link {
  readonly #connector: Connector;
  readonly #options: LinkOptions;
  readonly #ending = new AbortController();
  /** Reasons for which each host could not be used the last time. */
  readonly #troubles = new Map<number, string>();
  #current: Promise<Sql> | undefined;
  #client: Client | undefined;
  /** The one that is being opened. */
  #opening: Client | undefined;
  /** Clients that are being ended. */
  readonly #leaving = new Set<Promise<void>>();
  #refused: ((error: Error) => void) | undefined;

  constructor(connector: Connector, options: LinkOptions) {
    this.#connector = connector;
    this.#options = options;
  }

  /** Reasons for which it could not be opened the last time; undefined while it is open. */
  get trouble(): string | undefined {
    return this.#troubles.size === 0 ? undefined : [...this.#troubles.values()].join("; ");
  }

  /** Resolves with an open client, however long that takes. Rejects once the link is closed. */
  client(): Promise<Sql> {
    return this.#current ??= this.#open();
  }

  /**
   * Resolves with an open client, or rejects with the reason why there is none within a few seconds; sooner where no host takes it
   * for a reason that does not go away by itself.
   */
  async once(): Promise<Sql> {
    const { promise, reject } = Promise.withResolvers<never>();
    promise.catch(() => {});
    this.#refused = reject;
    try {
      return await Promise.race([deadline(this.client(), ONCE_MS), promise]);
    } catch {
      throw new Error(this.trouble ?? "it does not answer");
    }
  }

  async #open(): Promise<Sql> {
    for (let lasting = 0; !this.#ending.signal.aborted;) {
      const host = this.#connector.next;
      try {
        return await this.#try();
      } catch (error) {
        if (this.#ending.signal.aborted) break;
        this.#troubles.set(host, this.#connector.describe(error, host));
        this.#connector.failed(host);
        lasting = isLasting(error) ? lasting + 1 : 0;
        const isRefused = lasting >= this.#connector.hosts;
        if (isRefused) this.#refused?.(new Error(this.trouble));
        await delay(isRefused ? LASTING_RETRY_MS : RETRY_MS, { signal: this.#ending.signal }).catch(() => {});
      }
    }
    throw new Error("The connection is closed");
  }

  /** Opens a client of one host. */
  async #try(): Promise<Sql> {
    const client = this.#opening = this.#connector.open(this.#options, () => {
      if (this.#client !== client || this.#options.max > 1) return;
      this.drop(client.sql);
      this.#options.broken?.();
    });
    try {
      const { sql } = client;
      const [state] = await sql`SELECT pg_is_in_recovery() AS standby, current_setting('plan_cache_mode') AS plans`;
      if (state!.plans !== PLANS) throw new BrokerError(POOLED);
      if (state!.standby) throw new Error(STANDBY);
      await this.#options.prepare?.(sql);
      this.#ending.signal.throwIfAborted();
      this.#client = client;
      this.#troubles.clear();
      client.opened();
      return sql;
    } catch (error) {
      await client.end();
      throw error;
    } finally {
      this.#opening = undefined;
    }
  }

  /** Lets go of a client, whatever it is doing; the next one is opened when it is asked for. Default: the present one. */
  drop(which = this.#client?.sql): void {
    const client = this.#client;
    if (!client || client.sql !== which) return;
    this.#client = this.#current = undefined;
    const leaving = client.end().finally(() => this.#leaving.delete(leaving));
    this.#leaving.add(leaving);
  }

  /** Ends it for good. Resolves when nothing of it is left. */
  async close(): Promise<void> {
    this.#ending.abort(new Error("The connection is closed"));
    await this.#opening?.end();
    await this.#current?.catch(() => {});
    await this.#client?.end();
    await Promise.all(this.#leaving);
  }
}

/** Returns an array of integers as PostgreSQL writes it; undefined becomes NULL. */
export function ints(values: readonly (number | undefined)[]): string {
  let list = "{";
  for (let i = 0; i < values.length; i++) list += `${i > 0 ? "," : ""}${values[i] ?? "NULL"}`;
  return list + "}";
}

/** Returns an array of texts as PostgreSQL writes it; undefined becomes NULL. */
export function texts(values: readonly (string | undefined)[]): string {
  let list = "{";
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    if (i > 0) list += ",";
    if (value === undefined) list += "NULL";
    else list += QUOTED_REGEXP.test(value) ? `"${value.replace(/["\\]/g, "\\$&")}"` : `"${value}"`;
  }
  return list + "}";
}

const QUOTED_REGEXP = /["\\]/;
