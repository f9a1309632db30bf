/**
 * Keys of backends: a file with a line for each, which has its name, the hash of its secret, its rate and its scopes. The file is
 * read again when it changes; while it cannot be read, the keys that were read last count.
 *
 * ```text
 * shop sha256:4RkZ… rate=50 burst=100 write=shop,order-* read=shop users=*
 * ```
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { base64url } from "jose";
import { stampOrNone } from "../ops/file_stamp.ts";
import { type Log, reasonOf } from "../ops/log.ts";
import { parseAddress, parseName, Refusal } from "../protocol.ts";
import { decodeText } from "./text.ts";
import { KeyError } from "./tokens.ts";

/** Scopes that a key may have, and what each is about: names of users, or of groups. */
export const SCOPES = {
  write: "users as whom it may write, and act in groups",
  read: "users whose conversations it may read",
  users: "users whom it may create and look up",
  moderate: "users whom it may disconnect and revoke",
  erase: "users whom it may erase, with what they wrote",
  groups: "groups that it may create, look into and change",
  tokens: "users for whom it may make tokens",
  stats: "* where it may see the server's counts",
} as const;

/** Name of a scope. */
export type Scope = keyof typeof SCOPES;

/** Requests in a second of a key that says nothing else: a busy shop, and no load for a small machine. */
export const KEY_RATE = 50;
/** Requests at once of a key that says nothing else. */
export const KEY_BURST = 100;
/** Keys in one file: each request is compared with all of them. */
export const KEYS_MAX = 1_000;
/** Patterns of one scope: a directory belongs into a prefix. */
export const PATTERNS_MAX = 100;
/** Bytes of the file: a thousand keys with scopes of ordinary length fit several times. */
const FILE_BYTES_MAX = 1_048_576;
/** Bytes of a secret: nobody guesses it, so that a fast hash of it is enough. */
const SECRET_BYTES = 32;
/** Beginning of every secret, by which searches for leaked ones find it. */
const SECRET_PREFIX = "parley_";
/** Characters of a secret that is looked at. */
const SECRET_CHARS_MAX = 128;
const HASH_REGEXP = /^sha256:([\w-]{43})$/;
/** Milliseconds between two looks: a look is one system call, and editors replace files in ways that watching misses. */
const LOOK_MS = 1_000;

/** A key as it stands in the file. */
export interface ApiKey {
  /** Canonical, by the rules of users' names. */
  readonly name: string;
  /** SHA-256 of the secret. */
  readonly hash: Uint8Array;
  /** Requests, and messages, per second; `Infinity` for any number. */
  readonly rate: number;
  /** The same at once, at least 1. */
  readonly burst: number;
  /** Patterns by scope: canonical names, beginnings of names with `*` at the end, or `*` for all. */
  readonly scopes: ReadonlyMap<Scope, readonly string[]>;
}

/** Returns whether a key has a scope for a name; without one, for any. */
export function isAllowed({ scopes }: ApiKey, scope: Scope, name?: string): boolean {
  const patterns = scopes.get(scope);
  if (patterns === undefined || name === undefined) return patterns !== undefined;
  return patterns.some((pattern) => pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern);
}

/** The keys of a file, as they are now. */
export class ApiKeys {
  readonly file: string;
  readonly #log: Log;
  readonly #timer: ReturnType<typeof setInterval>;
  #keys: readonly ApiKey[];
  #stamp: string;

  /** Reads the file, and from now on again when it changes. Throws {@linkcode KeyError}. */
  constructor(file: string, log: Log) {
    this.file = file;
    this.#log = log;
    this.#stamp = stampOrNone(file);
    this.#keys = readApiKeys(file);
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Number of keys. */
  get size(): number {
    return this.#keys.length;
  }

  /** Returns the key of a secret. Takes the same time whichever it is, and where there is none. */
  find(secret: string): ApiKey | undefined {
    if (secret.length > SECRET_CHARS_MAX) return undefined;
    const hash = hashOf(secret);
    let found: ApiKey | undefined;
    for (const key of this.#keys) if (timingSafeEqual(hash, key.hash)) found = key;
    return found;
  }

  /** Reads the file again if it has changed. */
  look(): void {
    const stamp = stampOrNone(this.file);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      this.#keys = readApiKeys(this.file);
      this.#log("api_keys_read", { file: this.file, keys: this.#keys.length });
    } catch (error) {
      this.#log("api_keys_kept", { file: this.file, reason: reasonOf(error) });
    }
  }

  /** Stops looking at the file. */
  close(): void {
    clearInterval(this.#timer);
  }
}

/** Reads a file of keys. Throws {@linkcode KeyError}. */
export function readApiKeys(file: string): ApiKey[] {
  let bytes;
  try {
    bytes = Deno.readFileSync(file);
  } catch (error) {
    const isMissing = error instanceof Deno.errors.NotFound;
    throw new KeyError(
      isMissing ? "there is no such file; chat-server apikey makes one" : `cannot be read: ${reasonOf(error)}`,
    );
  }
  if (bytes.length > FILE_BYTES_MAX) throw new KeyError(`has more than ${FILE_BYTES_MAX} bytes`);
  return parseApiKeys(decodeText(bytes));
}

// ---- Lines -------------------------------------------------------------------------------------------------------------------

/** Parses the text of a file of keys. Throws {@linkcode KeyError} with the number of the first line that is wrong. */
export function parseApiKeys(text: string): ApiKey[] {
  const keys: ApiKey[] = [];
  const names = new Set<string>(), hashes = new Set<string>();
  for (const [index, line] of text.split(/\r\n|\r|\n/).entries()) {
    const words = line.trim().split(/\s+/);
    if (words[0] === "" || words[0]!.startsWith("#")) continue;
    const key = atLine(index + 1, () => parseKey(words));
    if (names.has(key.name)) throw new KeyError(`line ${index + 1}: there is another key "${key.name}" above`);
    if (hashes.has(words[1]!)) throw new KeyError(`line ${index + 1}: the key has the secret of another one above`);
    if (keys.length === KEYS_MAX) throw new KeyError(`line ${index + 1}: there are more than ${KEYS_MAX} keys`);
    names.add(key.name);
    hashes.add(words[1]!);
    keys.push(key);
  }
  return keys;
}

function atLine<T>(line: number, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw error instanceof KeyError ? new KeyError(`line ${line}: ${error.message}`) : error;
  }
}

function parseKey([first = "", hash = "", ...settings]: readonly string[]): ApiKey {
  const name = parseName(first, "the key's name");
  if (name instanceof Refusal) throw new KeyError(name.message);
  const [, digest] = HASH_REGEXP.exec(hash) ?? [];
  if (digest === undefined) {
    throw new KeyError('after the name comes "sha256:" and 43 characters, as chat-server apikey writes them');
  }
  const given = new Map<string, string>();
  for (const setting of settings) {
    const [, member, value] = /^([a-z]+)=(.+)$/.exec(setting) ?? [];
    if (member === undefined) throw new KeyError(`${quote(setting)} is no setting, such as rate=50 or read=shop`);
    if (given.has(member)) throw new KeyError(`"${member}" stands twice`);
    given.set(member, value!);
  }
  const rate = toLimit(given, "rate", KEY_RATE);
  const burst = Math.max(1, toLimit(given, "burst", KEY_BURST));
  const scopes = new Map<Scope, readonly string[]>();
  for (const [scope, value] of given) {
    if (!Object.hasOwn(SCOPES, scope)) {
      throw new KeyError(`there is no setting ${quote(scope)}; there are rate, burst, ${scopeNames()}`);
    }
    scopes.set(scope as Scope, parsePatterns(scope as Scope, value.split(",")));
  }
  return { name, hash: base64url.decode(digest), rate, burst, scopes };
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 32));
}

function scopeNames(): string {
  return Object.keys(SCOPES).join(", ");
}

/** Takes a number out of the settings; 0 is no limit. */
function toLimit(given: Map<string, string>, member: string, usual: number): number {
  const text = given.get(member);
  given.delete(member);
  if (text === undefined) return usual;
  if (!/^\d{1,9}$/.test(text)) throw new KeyError(`"${member}" is ${quote(text)}, not a whole number`);
  return Number(text) || Infinity;
}

/** Checks the patterns of a scope, and returns them in canonical form. Throws {@linkcode KeyError}. */
export function parsePatterns(scope: Scope, patterns: readonly string[]): string[] {
  if (patterns.length > PATTERNS_MAX) throw new KeyError(`"${scope}" has more than ${PATTERNS_MAX} names`);
  return patterns.map((pattern) => {
    if (pattern === "*") return pattern;
    if (scope === "stats") throw new KeyError(`"stats" is ${quote(pattern)}; it can be *`);
    const stem = pattern.endsWith("*") ? pattern.slice(0, -1) : pattern;
    if (scope === "groups" && pattern === "#*") return pattern;
    const name = scope === "groups" ? parseAddress(stem, scope) : parseName(stem, scope);
    if (name instanceof Refusal) throw new KeyError(`${quote(pattern)}: ${name.message}`);
    if (scope === "groups" && !name.startsWith("#")) throw new KeyError(`${quote(pattern)} is no group: groups start with #`);
    return pattern.endsWith("*") ? `${name}*` : name;
  });
}

// ---- Making keys -------------------------------------------------------------------------------------------------------------

/** Makes a new secret. */
export function makeSecret(): string {
  return SECRET_PREFIX + base64url.encode(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
}

/** Returns the line of a file for a key with this secret. */
export function lineOf(key: Omit<ApiKey, "hash">, secret: string): string {
  const limit = (value: number) => value === Infinity ? 0 : value;
  const scopes = [...key.scopes].map(([scope, patterns]) => `${scope}=${patterns.join(",")}`);
  const hash = `sha256:${base64url.encode(hashOf(secret))}`;
  return [key.name, hash, `rate=${limit(key.rate)}`, `burst=${limit(key.burst)}`, ...scopes].join(" ");
}

function hashOf(secret: string): Uint8Array {
  return createHash("sha256").update(secret).digest();
}
