/** Account of this browser: name, token and device; and the token in the address, which is taken away at once. */

import { parseName } from "../protocol.ts";
import { IS_SECURE, keep, keepInTab, kept, keptInTab, keptKeys, randomId } from "./place.ts";

/** Somebody who uses this page. */
export interface Account {
  /** Canonical name. */
  readonly user: string;
  /** Undefined in open mode. */
  readonly token?: string;
}

/** True where the server asks for tokens, as it wrote into the page. */
export const WANTS_TOKEN: boolean = document.documentElement.dataset.login === "token";

/** Returns the account of this tab, with the newest token that any tab was given, or the last one of this browser. */
export function keptAccount(): Account | undefined {
  const own = keptInTab<Account>("account"), last = kept<Account>("account");
  const account = own && own.user !== last?.user ? own : last;
  if (typeof account?.user !== "string") return undefined;
  return WANTS_TOKEN === (account.token !== undefined) ? account : undefined;
}

/** Keeps the account for the next visit. */
export function keepAccount(account: Account): void {
  keep("account", account);
  keepInTab("account", account);
}

/** Keeps a token for when the server refuses the one there is: it came with a link, and anybody makes links. */
export function keepSpare(account: Account): void {
  keep("spare", account);
}

/** Returns the spare token of a user, once. */
export function takeSpare(user: string): string | undefined {
  const spare = kept<Account>("spare");
  if (spare?.user !== user) return undefined;
  keep("spare", undefined);
  return spare.token;
}

/** Removes everything of this page from local and session storage. */
export function forgetAccount(): void {
  for (const key of keptKeys()) keep(key, undefined);
  keepInTab("account", undefined);
  keepInTab("device", undefined);
}

/** Makes an account of what somebody typed or pasted. Returns a sentence where that is none. */
export function accountOf(typed: string): Account | string {
  if (WANTS_TOKEN) {
    const token = typed.replace(/\s+/g, "");
    const user = nameIn(token);
    return user === undefined ? "This is no token. A token is a long line that begins with eyJ" : { user, token };
  }
  const user = parseName(typed.trim());
  return typeof user === "string" ? { user } : `${user.message.replace(/^"name"/, "A name")}`;
}

/** Returns the canonical name in a token, unchecked: the server checks it. */
export function nameIn(token: string): string | undefined {
  try {
    const [, payload] = token.split(".");
    const bytes = Uint8Array.from(atob(payload!.replaceAll("-", "+").replaceAll("_", "/")), (c) => c.charCodeAt(0));
    const name = parseName(JSON.parse(new TextDecoder().decode(bytes)).sub);
    return typeof name === "string" ? name : undefined;
  } catch {
    return undefined;
  }
}

/** Takes `#token=…` or `#name=…` out of the address, history included, and returns its account. */
export function accountInAddress(): Account | undefined {
  const asked = new URLSearchParams(location.hash.slice(1));
  const given = asked.get(WANTS_TOKEN ? "token" : "name");
  if (!asked.has("token") && !asked.has("name")) return undefined;
  history.replaceState(null, "", location.pathname + location.search);
  const account = given === null ? "" : accountOf(given);
  return typeof account === "string" ? undefined : account;
}

/** Returns the name of this device: the browser's, or where tabs cannot share a connection, the tab's. */
export function deviceName(): string {
  const device = (IS_SECURE ? kept<string>("device") : keptInTab<string>("device")) ?? `web-${randomId().slice(0, 12)}`;
  if (IS_SECURE) keep("device", device);
  else keepInTab("device", device);
  return device;
}

/** Makes this tab another device: its name was copied with the tab. */
export function renameDevice(): string {
  keepInTab("device", undefined);
  return deviceName();
}
