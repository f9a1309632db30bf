/** Origins of web pages: which may connect. They are compared as browsers write them, whatever an operator or a proxy writes. */

import { isLoopback } from "./address.ts";

/** A scheme and a host, as every origin begins. Apps have schemes of their own. */
const ORIGIN_REGEXP = /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+/i;
/** A Host header: what a URL has between its scheme and its path, without a user. */
const HOST_REGEXP = /^[^/\\?#@\s]+$/;
/** Schemes of URLs that no page is at, with the one that its pages have. */
const PAGE_SCHEMES: Readonly<Record<string, string>> = { "ws:": "http:", "wss:": "https:" };

/** Schemes that no origin begins with, and why. */
const NO_ORIGIN: Readonly<Record<string, string>> = {
  "file:": 'browsers say "null" for pages of files',
  "ftp:": "browsers open no pages of it",
};

/** Failure to understand an origin: one sentence for the operator. */
export class OriginError extends Error {
  override readonly name = "OriginError";
}

/**
 * Returns an origin as browsers write it: scheme and host in lower case, a name of many scripts in punycode, without the scheme's
 * own port, a final dot or a final slash. `*` and `null` stay as they are. Throws {@linkcode OriginError} for what no browser
 * sends.
 */
export function canonicalOrigin(text: string): string {
  const given = text.trim();
  if (given === "*" || given === "null") return given;
  const quoted = JSON.stringify(text);
  if (!ORIGIN_REGEXP.test(given) && !/^file:\/\//i.test(given) || !URL.canParse(given)) {
    throw new OriginError(`${quoted} is no origin, such as https://chat.example.org`);
  }
  const url = new URL(given);
  const why = NO_ORIGIN[url.protocol];
  if (why !== undefined) throw new OriginError(`${quoted} would match no page: ${why}`);
  if (url.hostname.includes("*")) throw new OriginError(`${quoted} has a wildcard; name each origin, or "*" alone for all`);
  const pages = PAGE_SCHEMES[url.protocol];
  if (pages) throw new OriginError(`${quoted} is no page's origin; those of its host begin with ${pages}//`);
  if (url.username !== "" || url.password !== "") throw new OriginError(`${quoted} names a user, which no origin does`);
  if (!/^\/?$/.test(url.pathname) || /[?#]/.test(given)) {
    throw new OriginError(`${quoted} has a path; an origin ends with its host or port`);
  }
  return originOf(url);
}

function originOf({ protocol, host }: URL): string {
  return `${protocol}//${withoutDot(host)}`;
}

/** Removes the dot that may end a name, before its port. */
function withoutDot(host: string): string {
  return host.replace(/\.(?=:\d+$|$)/, "");
}

/**
 * Returns whether a page of this origin may connect: one of the server's own host, or one that is among `allowed`, which are
 * canonical. Programs other than browsers send no origin, and no cookies that a page could abuse.
 *
 * In open mode (`named` false) the server's own host has to be an address or localhost: whoever owns a name can let it lead to
 * this machine while a page of theirs is open (DNS rebinding), and in open mode nothing but the origin keeps that page out.
 */
export function isOriginAllowed(origin: string | null, host: string | null, allowed: readonly string[], named = true): boolean {
  if (origin === null || allowed.includes("*") || allowed.includes(origin)) return true;
  if (!URL.canParse(origin)) return false;
  const page = new URL(origin);
  if (allowed.includes(originOf(page))) return true;
  if (page.protocol !== "http:" && page.protocol !== "https:") return false;
  // The scheme that the host was asked by is the page's: behind a proxy nothing else says it.
  const own = `${page.protocol}//${host ?? ""}`;
  if (host === null || !HOST_REGEXP.test(host) || !URL.canParse(own) || originOf(new URL(own)) !== originOf(page)) return false;
  return named || page.hostname === "localhost" || /^[\d.]+$|^\[.*\]$/.test(page.hostname);
}

/** Returns whether a Host header names this machine from within, or the address `listening`: nobody else can have been asked. */
export function isOwnHost(host: string | null, listening: string): boolean {
  const url = `http://${host ?? ""}`;
  if (host === null || !HOST_REGEXP.test(host) || !URL.canParse(url)) return false;
  const name = withoutDot(new URL(url).hostname);
  const bare = name.replace(/^\[(.*)\]$/, "$1");
  return isLoopback(bare) || name.endsWith(".localhost") || /^::ffff:7f[\da-f]{2}:/.test(bare) ||
    bare === listening.toLowerCase();
}
