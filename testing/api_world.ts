/** A server with an HTTP API, for tests: keys with their secrets, and requests with them. */

import { ApiKeys, lineOf, makeSecret, type Scope, SCOPES } from "../auth/api_keys.ts";
import { Revoked } from "../auth/revoked.ts";
import { makeToken, Tokens } from "../auth/tokens.ts";
import { type Server, type ServerOptions, startServer } from "../server.ts";
import type { LogEvent } from "../ops/log.ts";
import { delay } from "@std/async/delay";
import { findRoutes } from "../server/api/routes.ts";
import { outcomesOf } from "./api_outcomes.ts";

/** Secret of the tokens of an {@linkcode ApiWorld}. */
export const JWT_SECRET = "a secret of more than thirty-two bytes";

/** Settings of a key. */
export interface KeySettings {
  readonly rate?: number;
  readonly burst?: number;
  readonly scopes?: Partial<Record<Scope, readonly string[]>>;
}

/** Every scope for every name. */
export const ALL_SCOPES = Object.fromEntries(Object.keys(SCOPES).map((scope) => [scope, ["*"]])) as Record<Scope, string[]>;

/** Status, headers and JSON of an answer; undefined where it has no body. */
export interface ApiAnswer {
  readonly status: number;
  readonly headers: Headers;
  // deno-lint-ignore no-explicit-any -- tests say what they expect of it
  readonly body: any;
}

/** A server with a folder for its keys. */
export class ApiWorld implements AsyncDisposable {
  readonly dir: string;
  readonly server: Server;
  readonly keys: ApiKeys;
  readonly revoked: Revoked | undefined;
  readonly logged: { event: LogEvent; fields: Record<string, unknown> }[];
  /** Secrets by the names of their keys. */
  readonly secrets: Record<string, string> = {};

  private constructor(
    parts: Pick<ApiWorld, "dir" | "server" | "keys" | "revoked" | "logged" | "secrets">,
  ) {
    ({ dir: this.dir, server: this.server, keys: this.keys, logged: this.logged, secrets: this.secrets } = parts);
    this.revoked = parts.revoked;
  }

  /** Starts a server with these keys, by default `shop`, which may do everything; `withTokens` where people need tokens. */
  static async start(
    { keys = { shop: { scopes: ALL_SCOPES } }, withTokens = false, bodyMs, ...options }: ServerOptions & {
      keys?: Record<string, KeySettings>;
      withTokens?: boolean;
      bodyMs?: number;
    } = {},
  ): Promise<ApiWorld> {
    const dir = await Deno.makeTempDir({ prefix: "parley-api-" });
    const secrets: Record<string, string> = {};
    const lines = Object.entries(keys).map(([name, settings]) => lineFor(name, settings, secrets[name] = makeSecret()));
    await Deno.writeTextFile(`${dir}/keys`, lines.join("\n"));
    const logged: ApiWorld["logged"] = [];
    const log: ServerOptions["log"] = (event, fields) => void logged.push({ event, fields });
    const apiKeys = new ApiKeys(`${dir}/keys`, log);
    if (withTokens) await Deno.writeTextFile(`${dir}/revoked`, "");
    const revoked = withTokens ? new Revoked(`${dir}/revoked`, log) : undefined;
    const server = await startServer({
      port: 0,
      helloGraceMs: 0,
      log,
      api: {
        keys: apiKeys,
        bodyMs,
        makeToken: withTokens ? (name, seconds) => makeToken({ name, seconds, admin: false, secret: JWT_SECRET }) : undefined,
      },
      ...withTokens && { tokens: await Tokens.open({ secret: JWT_SECRET }) },
      ...revoked && { revoked },
      ...options,
    });
    return new ApiWorld({ dir, server, keys: apiKeys, revoked, logged, secrets });
  }

  /** Replaces the file of keys by these lines, and has it read. */
  async rewrite(...lines: string[]): Promise<void> {
    await Deno.remove(`${this.dir}/keys`).catch(() => {});
    await delay(2); // a file system may give the same inode and time again
    await Deno.writeTextFile(`${this.dir}/keys`, lines.join("\n"));
    this.keys.look();
  }

  /** URL of a path below the prefix. */
  url(path: string): string {
    return `http://127.0.0.1:${this.server.port}/api/v1${path}`;
  }

  /** Asks with a key, by default `shop`. An object is sent as JSON. */
  async ask(
    method: string,
    path: string,
    body?: unknown,
    { key = "shop", headers = {} }: { key?: string; headers?: Record<string, string> } = {},
  ): Promise<ApiAnswer> {
    const response = await fetch(this.url(path), {
      method,
      headers: {
        authorization: `Bearer ${this.secrets[key] ?? key}`,
        ...body !== undefined && { "content-type": "application/json" },
        ...headers,
      },
      ...body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) },
    });
    const text = await response.text();
    const answer = { status: response.status, headers: response.headers, body: text === "" ? undefined : JSON.parse(text) };
    requireDocumented(method, new URL(this.url(path)).pathname, answer);
    return answer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.shutdown();
    this.keys.close();
    this.revoked?.close();
    await Deno.remove(this.dir, { recursive: true });
  }
}

/** Throws for a refusal that docs/openapi.json, which is compared with the outcomes, does not have for its route. */
function requireDocumented(method: string, pathname: string, { status, body }: ApiAnswer): void {
  const route = findRoutes(pathname)?.routes.get(method);
  if (!route || status < 400 || outcomesOf(route)[status]?.includes(body.code)) return;
  throw new Error(`${method} ${route.at} may not answer ${status} ${body.code}: ${body.message}`);
}

/** Returns the line of a key. */
export function lineFor(name: string, { rate = Infinity, burst = 1_000, scopes = {} }: KeySettings, secret: string): string {
  return lineOf({ name, rate, burst, scopes: new Map(Object.entries(scopes)) as never }, secret);
}
