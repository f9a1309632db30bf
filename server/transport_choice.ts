/** Transports that there are, and which one serves where nobody says. */

import { isLoopback } from "../limits/address.ts";

/** deno: Deno's own sockets. ws: the library `ws` on Deno's `node:http`. */
export const TRANSPORTS = ["deno", "ws"] as const;

/** Name of a transport. */
export type TransportName = typeof TRANSPORTS[number];

/** Oldest Deno that `ws` is served with: earlier ones report no connections, enforce no deadlines, or take no more upgrades. */
const WS_DENO_MIN = [2, 8, 3] as const;

/** Returns why the `ws` transport cannot serve on this version of Deno, as a sentence; undefined where it can. */
export function whyNoWs(version: string = Deno.version.deno): string | undefined {
  const parts = version.split(".").map((part) => Number.parseInt(part));
  const differs = WS_DENO_MIN.findIndex((part, i) => parts[i] !== part);
  if (differs === -1 || parts[differs]! > WS_DENO_MIN[differs]!) return undefined;
  return `--transport ws needs Deno ${WS_DENO_MIN.join(".")} or newer, and this is ${version}; use --transport deno`;
}

/**
 * Returns the transport for an address where nobody says: Deno's sockets for this machine, whose programs its user started, and
 * `ws` for others, since it can end every peer that misbehaves. SECURITY.md has the reasons.
 */
export function defaultTransport(hostname: string, version: string = Deno.version.deno): TransportName {
  return isLoopback(hostname) || whyNoWs(version) !== undefined ? "deno" : "ws";
}
