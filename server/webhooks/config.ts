/**
 * The file of `--webhooks`: JSON with the endpoints that are told of events. A mistake in it is one sentence that names the
 * endpoint and never repeats a secret.
 */

import { describe, findBlock } from "../../auth/pem.ts";
import { SecretError, type Signer, signerOf } from "./secrets.ts";

/** Events by name. */
export const EVENT_TYPES = [
  "message.created",
  "message.undelivered",
  "user.online",
  "user.offline",
  "group.changed",
  "mailbox.full",
] as const;

/** Name of an event. */
export type EventType = typeof EVENT_TYPES[number];

/** Endpoints in one file: each has a cursor, a lease and connections of its own. */
const ENDPOINTS_MAX = 100;
/** Secrets of one endpoint: an old and a new one, in both forms. */
const SECRETS_MAX = 4;
/** Patterns of one endpoint. */
const PATTERNS_MAX = 1_000;
/** Seconds for one attempt, and the most that can be asked for. */
const TIMEOUT_S = 15, TIMEOUT_S_MAX = 60;
/** Attempts at a time at one endpoint, and the most that can be asked for. */
const CONCURRENCY = 4, CONCURRENCY_MAX = 32;
/** Seconds that nobody takes a message before it counts as undelivered; and the most that can be asked for, a day. */
const UNDELIVERED_S = 30, UNDELIVERED_S_MAX = 86_400;
const NAME_REGEXP = /^[a-z0-9][a-z0-9_-]{0,63}$/;

/** One endpoint. */
export interface Endpoint {
  readonly name: string;
  readonly url: URL;
  readonly signers: readonly Signer[];
  readonly events: ReadonlySet<EventType>;
  /** Returns true for a recipient, or another user or group, whom the endpoint is told of. */
  readonly concerns: (name: string) => boolean;
  /** True where bodies have what messages say. */
  readonly content: boolean;
  readonly undeliveredMs: number;
  readonly timeoutMs: number;
  readonly concurrency: number;
  readonly allowPrivate: boolean;
  /** Certificates (PEM) of authorities to believe beside the machine's. */
  readonly ca: string | undefined;
}

/** Mistake in the file: one sentence for the operator. */
export class WebhookFileError extends Error {
  override readonly name = "WebhookFileError";
}

/** Reads the file's text; `readFile` reads a file that it names. Throws {@linkcode WebhookFileError}. */
export function parseEndpoints(text: string, readFile: (path: string) => string): readonly Endpoint[] {
  const file = asObject(parseJson(text), "the file", ["endpoints"]);
  const list = file.endpoints;
  if (!Array.isArray(list)) throw new WebhookFileError('the file needs "endpoints", a list');
  if (list.length > ENDPOINTS_MAX) {
    throw new WebhookFileError(`there are ${list.length} endpoints; at most ${ENDPOINTS_MAX} may be`);
  }
  const endpoints = list.map((one, index) => parseEndpoint(one, index, readFile));
  const names = new Set<string>();
  for (const { name } of endpoints) {
    if (names.has(name)) throw new WebhookFileError(`two endpoints have the name "${name}"`);
    names.add(name);
  }
  return endpoints;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new WebhookFileError("the file is no JSON"); // the parser's own words would repeat a part of it
  }
}

const MEMBERS = [
  "name",
  "url",
  "secret",
  "secrets",
  "events",
  "recipients",
  "content",
  "undelivered_after",
  "timeout",
  "concurrency",
  "allow_private",
  "ca",
];

function parseEndpoint(value: unknown, index: number, readFile: (path: string) => string): Endpoint {
  const members = asObject(value, `endpoint ${index + 1}`, MEMBERS);
  const { name } = members;
  if (typeof name !== "string" || !NAME_REGEXP.test(name)) {
    throw new WebhookFileError(`endpoint ${index + 1} needs a "name" of small letters, digits, - and _, at most 64`);
  }
  const wrong = (words: string) => new WebhookFileError(`endpoint "${name}": ${words}`);
  const number = (member: string, fallback: number, most: number) => {
    const given = members[member] ?? fallback;
    if (typeof given !== "number" || !Number.isInteger(given) || given < 1 || given > most) {
      throw wrong(`"${member}" has to be a whole number from 1 to ${most}`);
    }
    return given;
  };
  const flag = (member: string, fallback: boolean) => {
    const given = members[member] ?? fallback;
    if (typeof given !== "boolean") throw wrong(`"${member}" has to be true or false`);
    return given;
  };
  return {
    name,
    url: parseUrl(members.url, wrong),
    signers: parseSecrets(members, wrong),
    events: parseEvents(members.events, wrong),
    concerns: parsePatterns(members.recipients ?? ["*"], wrong),
    content: flag("content", true),
    undeliveredMs: number("undelivered_after", UNDELIVERED_S, UNDELIVERED_S_MAX) * 1_000,
    timeoutMs: number("timeout", TIMEOUT_S, TIMEOUT_S_MAX) * 1_000,
    concurrency: number("concurrency", CONCURRENCY, CONCURRENCY_MAX),
    allowPrivate: flag("allow_private", false),
    ca: parseCa(members.ca, readFile, wrong),
  };
}

type Wrong = (words: string) => WebhookFileError;

function asObject(value: unknown, what: string, known: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new WebhookFileError(`${what} has to be an object`);
  }
  for (const member of Object.keys(value)) {
    if (!known.includes(member)) throw new WebhookFileError(`${what} has a member ${JSON.stringify(member)} that there is not`);
  }
  return value as Record<string, unknown>;
}

function parseUrl(value: unknown, wrong: Wrong): URL {
  if (typeof value !== "string" || !URL.canParse(value)) {
    throw wrong('"url" has to be an address such as https://example.org/hook');
  }
  const url = new URL(value);
  if (url.protocol !== "https:" && url.protocol !== "http:") throw wrong('"url" has to begin with https:// or http://');
  try {
    for (const part of [url.username, url.password]) btoa(decodeURIComponent(part)); // as they are sent
  } catch {
    throw wrong('"url" has a user or a password that HTTP does not take');
  }
  return url;
}

function parseSecrets({ secret, secrets }: Record<string, unknown>, wrong: Wrong): readonly Signer[] {
  const given = secrets ?? (secret === undefined ? undefined : [secret]);
  if (
    !Array.isArray(given) || given.length === 0 || given.length > SECRETS_MAX || (secrets !== undefined && secret !== undefined)
  ) {
    throw wrong(`it needs "secret", or "secrets" with at most ${SECRETS_MAX}`);
  }
  return given.map((one, index) => {
    if (typeof one !== "string") throw wrong(`secret ${index + 1} has to be text`);
    try {
      return signerOf(one);
    } catch (error) {
      throw error instanceof SecretError ? wrong(`secret ${index + 1} ${error.message}`) : error;
    }
  });
}

function parseEvents(value: unknown, wrong: Wrong): ReadonlySet<EventType> {
  if (!Array.isArray(value) || value.length === 0) throw wrong(`it needs "events", some of ${EVENT_TYPES.join(", ")}`);
  for (const event of value) {
    if (!EVENT_TYPES.some((type) => type === event)) {
      throw wrong(`there is no event ${JSON.stringify(event)}; there are ${EVENT_TYPES.join(", ")}`);
    }
  }
  return new Set(value as EventType[]);
}

/** Makes the test of names: `*` stands for any characters, everything else for itself, whatever its case. */
function parsePatterns(value: unknown, wrong: Wrong): (name: string) => boolean {
  const isList = Array.isArray(value) && value.length > 0 && value.length <= PATTERNS_MAX;
  if (!isList || !value.every((pattern) => typeof pattern === "string" && pattern !== "" && pattern.length <= 256)) {
    throw wrong(`"recipients" has to be a list of up to ${PATTERNS_MAX} patterns, such as "support-*"`);
  }
  const patterns = (value as string[]).map((pattern) => pattern.toLowerCase().split("*"));
  return (name) => patterns.some((parts) => matches(parts, name));
}

/** Matches a name with the literal parts between stars. No regular expression: a pattern of many stars would take for ever. */
export function matches(parts: readonly string[], name: string): boolean {
  const first = parts[0]!, last = parts.at(-1)!;
  if (parts.length === 1) return name === first;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  const end = name.length - last.length;
  let at = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = name.indexOf(part, at);
    if (found < 0 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}

function parseCa(value: unknown, readFile: (path: string) => string, wrong: Wrong): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw wrong('"ca" has to be the name of a file');
  let text: string;
  try {
    text = readFile(value);
  } catch {
    throw wrong(`the file of "ca" cannot be read`);
  }
  if (findBlock(text, ["CERTIFICATE"])) return text;
  throw wrong(`the file of "ca" has no certificate (PEM): ${describe(text, {})}`);
}
