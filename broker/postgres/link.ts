/**
 * Connections to the primary. A link is one connection, or a small pool, that is opened again whenever it breaks, on whichever
 * of the hosts takes writes. Nothing is read from a standby: its readers would not know what is under way on the primary.
 */

import postgres from "postgres";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { reasonOf } from "../errors.ts";
import type { Settings } from "./settings.ts";

/** Client of one host. */
export type Sql = postgres.Sql<{ bigint: number }>;

/** Seconds to connect and to be let in: a host that is gone does not answer at all. */
const CONNECT_TIMEOUT_S = 3;
/** Milliseconds between two attempts to connect. */
const RETRY_MS = 100;
/** Seconds of silence on a connection before TCP asks whether the peer is still there. */
const KEEP_ALIVE_S = 10;
/** Milliseconds after which PostgreSQL drops a peer that takes nothing: a stopped listener would make its queue grow. */
const USER_TIMEOUT_MS = 15_000;
/** Milliseconds that a command or a start waits for a connection. */
const ONCE_MS = 4_500;
/** OID of bigint. */
const INT8 = 20;

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
      plan_cache_mode: "force_generic_plan",
      jit: "off",
      // A plan is kept for as long as its connection: one of an empty table must not walk through a full one.
      enable_seqscan: "off",
      tcp_user_timeout: USER_TIMEOUT_MS,
    };
  }

  /** Opens a client of the host that is thought to be the primary. */
  open({ max, session, notified, warned }: LinkOptions, broken: () => void): { readonly sql: Sql; readonly host: number } {
    const host = this.#index, { host: name, port, path } = this.#settings.hosts[host]!;
    const { user, password, database, tls } = this.#settings;
    const options = {
      host: name || "localhost",
      port,
      ...path !== undefined && { path },
      user,
      password: password || (() => ""),
      database,
      ssl: tls ? { rejectUnauthorized: true, ...tls.ca !== undefined && { ca: tls.ca } } : false,
      max,
      idle_timeout: 0,
      max_lifetime: 0,
      connect_timeout: CONNECT_TIMEOUT_S,
      keep_alive: KEEP_ALIVE_S,
      backoff: () => RETRY_MS / 1_000,
      fetch_types: false,
      prepare: true,
      debug: false,
      sslnegotiation: null,
      publications: "",
      max_pipeline: 100,
      target_session_attrs: null,
      connection: { ...this.#session, ...session },
      types: { bigint: { to: INT8, from: [INT8], serialize: (value: number) => String(value), parse: Number } },
      onnotice: warned ?? (() => {}),
      onnotify: (_channel: string, payload: string) => notified?.(payload),
      onclose: broken,
    };
    return { sql: postgres(options as unknown as postgres.Options<{ bigint: postgres.PostgresType<number> }>) as Sql, host };
  }

  /** Says that a host is not the primary, or cannot be reached; the next client is one of the next host. */
  failed(host: number): void {
    if (host === this.#index) this.#index = (host + 1) % this.#settings.hosts.length;
  }
}

/** One connection or small pool. */
export class Link {
  readonly #connector: Connector;
  readonly #options: LinkOptions;
  #current: Promise<Sql> | undefined;
  #sql: Sql | undefined;
  #closed = false;
  /** Reason for which it could not be opened the last time; undefined while it is open. */
  trouble: string | undefined;

  constructor(connector: Connector, options: LinkOptions) {
    this.#connector = connector;
    this.#options = options;
  }

  /** Resolves with an open client, however long that takes. Rejects once the link is closed. */
  client(): Promise<Sql> {
    return this.#current ??= this.#open();
  }

  /** Resolves with an open client, or rejects with the reason why there is none within a few seconds. */
  async once(): Promise<Sql> {
    try {
      return await deadline(this.client(), ONCE_MS);
    } catch {
      throw new Error(this.trouble ?? "it does not answer");
    }
  }

  async #open(): Promise<Sql> {
    while (!this.#closed) {
      const { sql, host } = this.#connector.open(this.#options, () => {
        if (this.#sql !== sql || this.#options.max > 1) return;
        this.drop(sql);
        this.#options.broken?.();
      });
      try {
        const [state] = await sql`SELECT pg_is_in_recovery() AS standby`;
        if (state!.standby) throw new Error("The server is a standby, which takes no writes");
        await this.#options.prepare?.(sql);
        this.#sql = sql;
        this.trouble = undefined;
        if (this.#closed) break;
        return sql;
      } catch (error) {
        this.trouble = reasonOf(error);
        this.#connector.failed(host);
        await sql.end({ timeout: 0 });
        if (!this.#closed) await delay(RETRY_MS);
      }
    }
    await this.#sql?.end({ timeout: 0 });
    throw new Error("The connection is closed");
  }

  /** Lets go of a client, whatever it is doing; the next one is opened when it is asked for. Default: the present one. */
  drop(which = this.#sql): void {
    const sql = this.#sql;
    if (!sql || sql !== which) return;
    this.#sql = this.#current = undefined;
    sql.end({ timeout: 0 }).catch(() => {});
  }

  /** Ends it for good. */
  async close(): Promise<void> {
    this.#closed = true;
    const current = this.#current;
    await this.#sql?.end({ timeout: 0 });
    await current?.catch(() => {});
    await this.#sql?.end({ timeout: 0 });
  }
}

/** Returns an array of integers as PostgreSQL writes it. */
export function ints(values: readonly number[]): string {
  return `{${values.join(",")}}`;
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
