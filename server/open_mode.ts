/**
 * Open mode serves this machine alone. Listening on loopback is not enough for that: a proxy of this machine brings in whoever
 * reaches it, and a name of somebody else's can be made to lead here. Both show in the head of a request.
 */

import { isOwnHost } from "../limits/origin.ts";
import type { Fields } from "./head.ts";

/** Headers that proxies add to say whom they speak for. */
const PROXY_HEADERS: ReadonlySet<string> = new Set([
  "forwarded",
  "via",
  "x-real-ip",
  "x-client-ip",
  "x-cluster-client-ip",
  "true-client-ip",
  "cf-connecting-ip",
  "fly-client-ip",
]);
/** Beginnings of more of them. */
const PROXY_PREFIX_REGEXP = /^x-(original-)?forwarded(-|$)/;

/** Returns the header, as people write it, by which a request shows that it came through a proxy; undefined for one that does not. */
export function proxyHeader(headers: Pick<Fields, "keys">): string | undefined {
  for (const name of headers.keys()) if (PROXY_HEADERS.has(name) || PROXY_PREFIX_REGEXP.test(name)) return titleCase(name);
}

/**
 * Returns why a request to a server that listens on the address `listening` does not come from this machine, as the middle of a
 * sentence; undefined for one that may.
 */
export function cameFromElsewhere(headers: Pick<Fields, "get" | "keys">, listening: string): string | undefined {
  const header = proxyHeader(headers);
  if (header !== undefined) return `came through a proxy (it has ${header})`;
  const host = headers.get("host");
  return isOwnHost(host, listening) ? undefined : `asks for another host (Host: ${(host ?? "none").slice(0, HOST_CHARS)})`;
}

/** Characters of a host that are repeated in an answer. */
const HOST_CHARS = 100;

function titleCase(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase());
}
