/**
 * Proxies that the environment names. The runtime sends every connection through them, also those to this machine, and reports
 * a proxy that is down as if the server were.
 */

import type { Diagnosis } from "../chat_client.ts";

type Env = (name: string) => string | undefined;

/** Names of the variables, each in the two spellings that are in use, the first of which counts. */
const PLAIN = ["HTTP_PROXY", "http_proxy"], TLS = ["HTTPS_PROXY", "https_proxy"], ALL = ["ALL_PROXY", "all_proxy"];
const NONE = ["NO_PROXY", "no_proxy"];

/** A proxy, and the variable that names it. */
export interface Proxy {
  readonly variable: string;
  readonly address: string;
}

/** Returns whether a host of a URL is this machine. */
export function isLoopback(hostname: string): boolean {
  return /^(localhost|.+\.localhost|127(\.\d+){3}|\[::1\])$/.test(hostname);
}

/** Returns the proxy between here and a server (a ws or wss URL); undefined where there is none. */
export function proxyFor(server: string, env: Env): Proxy | undefined {
  const { hostname, protocol } = new URL(server);
  if (isLoopback(hostname) || isExempt(hostname, env)) return undefined;
  const variable = [...(protocol === "wss:" ? TLS : PLAIN), ...ALL].find((name) => env(name));
  if (variable === undefined) return undefined;
  // A proxy's address may have a password.
  const address = env(variable)!.replace(/^.*@/, "").replace(/^[a-z0-9]+:\/\//i, "");
  return { variable, address };
}

function isExempt(hostname: string, env: Env): boolean {
  return exemptions(env).some((entry) => {
    const domain = entry.replace(/^\*?\./, "");
    return entry === "*" || hostname === domain || hostname.endsWith(`.${domain}`);
  });
}

function exemptions(env: Env): string[] {
  const name = NONE.find((name) => env(name));
  return name === undefined ? [] : env(name)!.split(",").map((entry) => entry.trim()).filter((entry) => entry !== "");
}

/**
 * Returns the value of NO_PROXY with which no proxy stands between here and a server on this machine; undefined where nothing
 * has to change. The runtime reads it at the first connection.
 */
export function withoutProxy(server: string, env: Env): string | undefined {
  const host = new URL(server).hostname.replace(/^\[|\]$/g, "");
  if (!isLoopback(new URL(server).hostname) || ![...PLAIN, ...TLS, ...ALL].some((name) => env(name))) return undefined;
  const known = exemptions(env);
  return known.includes(host) ? undefined : [...known, host].join(",");
}

/** Makes sure that a server on this machine is reached without a proxy. Before the first connection. */
export function bypassProxy(server: string): void {
  const value = withoutProxy(server, (name) => Deno.env.get(name));
  if (value !== undefined) Deno.env.set("NO_PROXY", value);
}

/** Returns `explain` with the proxy named, where one stands in between. */
export function namingProxy(
  explain: (reason: string) => Promise<Diagnosis>,
  server: string,
  env: Env = (name) => Deno.env.get(name),
): (reason: string) => Promise<Diagnosis> {
  const proxy = proxyFor(server, env);
  if (!proxy) return explain;
  return async (reason) => {
    const diagnosis = await explain(reason);
    return { ...diagnosis, reason: `${diagnosis.reason} (through the proxy of ${proxy.variable}, ${proxy.address})` };
  };
}
