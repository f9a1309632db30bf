/**
 * The log for the operator: one port, an event with its fields. {@linkcode EVENTS} has every event with its level, its fields and
 * its sentence; {@linkcode openLog} writes them as sentences or as JSON. Events never carry content of messages, tokens or secrets.
 */

/** Characters of one line of text, and of one field in JSON: what others chose must not fill the log. */
const TEXT_CHARS_MAX = 1_000;
/** Characters that a terminal or a reader of logs might obey: controls, invisible ones, and separators of lines. */
const UNSAFE_REGEXP = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Levels, the most urgent first. */
export const LOG_LEVELS = ["error", "warn", "info", "debug"] as const;
/** Level of an event: `error` wants somebody, `warn` a look, `info` tells what happened, `debug` is for finding faults. */
export type LogLevel = typeof LOG_LEVELS[number];
/** Formats: a sentence for people, or an object for programs, each on one line. */
export const LOG_FORMATS = ["text", "json"] as const;
/** Format of the log. */
export type LogFormat = typeof LOG_FORMATS[number];

type FieldKinds = Readonly<Record<string, "string" | "number">>;
type FieldsOf<F extends FieldKinds> = { readonly [K in keyof F]: F[K] extends "number" ? number : string };

/** One event: how urgent it is, which fields it has, and how it is told to people. */
interface EventSpec<F extends FieldKinds> {
  readonly level: LogLevel;
  readonly fields: F;
  readonly sentence: (fields: FieldsOf<F>) => string;
}

function event<const F extends FieldKinds>(
  level: LogLevel,
  fields: F,
  sentence: (fields: FieldsOf<F>) => string,
): EventSpec<F> {
  return { level, fields, sentence };
}

/** Events by name. docs/OPERATIONS.md says of each when it comes; a test compares the two. */
export const EVENTS = {
  // ---- Beginning and end
  listening: event(
    "info",
    { version: "string", deno: "string", url: "string", transport: "string", kept: "string" },
    ({ version, url }) => `Parley ${version} listens on ${url}`,
  ),
  start_failed: event("error", { reason: "string" }, ({ reason }) => reason),
  variable_unread: event("warn", { words: "string" }, ({ words }) => words),
  metrics_exposed: event("warn", { words: "string" }, ({ words }) => words),
  draining: event("info", { connections: "number" }, ({ connections }) => `draining: connections to close: ${connections}`),
  ended: event("info", { ms: "number" }, ({ ms }) => `ended after ${ms} ms of draining`),

  // ---- Faults
  failed: event("error", { task: "string", reason: "string" }, ({ task, reason }) => `${task} failed: ${reason}`),
  request_failed: event("error", { reason: "string" }, ({ reason }) => `request failed: ${reason}`),
  unhandled_rejection: event("error", { reason: "string" }, ({ reason }) => `unhandled rejection: ${reason}`),
  uncaught_error: event("error", { reason: "string" }, ({ reason }) => `uncaught: ${reason}`),
  accept_failed: event(
    "error",
    { reason: "string" },
    ({ reason }) => `cannot take more connections (${reason}); open ones go on, and it tries again until it can`,
  ),

  // ---- Storage
  storage: event("warn", { words: "string" }, ({ words }) => words),
  space_short: event(
    "error",
    { dir: "string", bytes: "number", floorBytes: "number" },
    ({ dir, bytes, floorBytes }) =>
      `${dir} has ${mib(bytes)} free, fewer than --free-bytes (${mib(floorBytes)}): messages are refused, reading goes on`,
  ),
  space_back: event(
    "info",
    { dir: "string", bytes: "number", floorBytes: "number" },
    ({ dir, bytes }) => `${dir} has ${mib(bytes)} free again: messages are taken`,
  ),

  // ---- What takes long
  slow_append: event(
    "warn",
    { ms: "number", messages: "number", suppressed: "number" },
    ({ ms, messages, suppressed }) => `storing ${messages} messages took ${ms} ms${andMore(suppressed)}`,
  ),
  slow_turn: event(
    "warn",
    { ms: "number", messages: "number", connections: "number", suppressed: "number" },
    ({ ms, messages, connections, suppressed }) =>
      `a turn of the event loop took ${ms} ms: messages in it: ${messages}, connections written to: ${connections}` +
      andMore(suppressed),
  ),
  slow_request: event(
    "warn",
    { request: "string", ms: "number", suppressed: "number" },
    ({ request, ms, suppressed }) => `answering "${request}" took ${ms} ms${andMore(suppressed)}`,
  ),

  // ---- Who comes, goes and is kept out
  admitted: event(
    "debug",
    { address: "string", user: "string" },
    ({ address, user }) => `${address} was let in${user === "" ? ", without a name so far" : ` as ${user}`}`,
  ),
  refused: event(
    "debug",
    { address: "string", status: "number" },
    ({ address, status }) => `${address} was refused a WebSocket with ${status}`,
  ),
  closed: event(
    "debug",
    { user: "string", ms: "number", code: "number" },
    ({ user, ms, code }) =>
      `a connection of ${user || "nobody"} ended after ${ms} ms${code === 0 ? "" : `, closed with ${code}`}`,
  ),
  login_refused: event(
    "warn",
    { address: "string", cause: "string" },
    ({ address, cause }) => `login of ${address} refused: ${cause}`,
  ),
  elsewhere_refused: event(
    "warn",
    { cause: "string" },
    ({ cause }) =>
      `refused, as without a key this machine alone is served: a request ${cause}; see --jwt-public-key and --insecure-open`,
  ),
  disconnected: event(
    "info",
    { user: "string", connections: "number", by: "string" },
    ({ user, connections, by }) => `${by} disconnected ${user}: connections closed: ${connections}`,
  ),
  revoked_closed: event(
    "info",
    { user: "string", connections: "number", file: "string" },
    ({ user, connections, file }) => `${user} is revoked by ${file}: connections closed: ${connections}`,
  ),
  api_refused: event(
    "warn",
    { address: "string", cause: "string", others: "number" },
    ({ address, cause, others }) =>
      `API request of ${address} refused: ${cause}${others > 0 ? `; ${others} more since the last of these` : ""}`,
  ),
  user_revoked: event(
    "info",
    { user: "string", by: "string", file: "string" },
    ({ user, by, file }) => `${by} revoked ${user}, which ${file} keeps`,
  ),
  user_restored: event(
    "info",
    { user: "string", by: "string", file: "string" },
    ({ user, by, file }) => `${by} took ${user} off ${file}`,
  ),
  user_erased: event(
    "info",
    { user: "string", by: "string", messages: "number", connections: "number" },
    ({ user, by, messages, connections }) =>
      `${by} erased ${user}: messages emptied: ${messages}, connections closed: ${connections}`,
  ),
  token_made: event(
    "info",
    { user: "string", id: "string", seconds: "number", by: "string" },
    ({ user, id, seconds, by }) => `${by} made a token for ${user}, for ${seconds} seconds: ${id}`,
  ),

  // ---- Files that are read again
  revoked_read: event(
    "info",
    { file: "string", added: "number", removed: "number", entries: "number" },
    ({ file, added, removed, entries }) =>
      `${file} was read again: ${added} revoked, ${removed} no more; names and token ids in it: ${entries}`,
  ),
  revoked_unreadable: event(
    "error",
    { file: "string", reason: "string" },
    ({ file, reason }) => `${file} cannot be read, what was revoked stays so: ${reason}`,
  ),
  revoked_odd_lines: event(
    "warn",
    { file: "string", lines: "number", first: "number" },
    ({ file, lines, first }) => `lines of ${file} that are no names and no token ids: ${lines}, the first is line ${first}`,
  ),
  api_keys_read: event(
    "info",
    { file: "string", keys: "number" },
    ({ file, keys }) => `${file} was read again: keys of the API in it: ${keys}`,
  ),
  api_keys_kept: event(
    "error",
    { file: "string", reason: "string" },
    ({ file, reason }) => `the keys of the API stay as they were: ${file}: ${reason}`,
  ),
  webhooks_read: event(
    "info",
    { file: "string", endpoints: "number" },
    ({ file, endpoints }) => `${file} was read again; endpoints of webhooks in it: ${endpoints}`,
  ),
  webhooks_unreadable: event(
    "error",
    { file: "string", reason: "string" },
    ({ file, reason }) => `${file} is not used, the endpoints stay as they were: ${reason}`,
  ),
  certificate_renewed: event("info", {}, () => "the certificate was read again"),
  certificate_kept: event("error", { reason: "string" }, ({ reason }) => `the certificate stays as it was: ${reason}`),
  certificate_missing: event("info", {}, () => "SIGHUP: there is no --cert to read again"),

  // ---- Webhooks
  webhook_failed: event(
    "warn",
    { endpoint: "string", reason: "string" },
    ({ endpoint, reason }) => `webhook ${endpoint} failed, and is tried again for three days: ${reason}`,
  ),
  webhook_works: event("info", { endpoint: "string" }, ({ endpoint }) => `webhook ${endpoint} takes events again`),
  webhook_given_up: event(
    "error",
    { endpoint: "string", events: "number", from: "number" },
    ({ endpoint, events, from }) =>
      `webhook ${endpoint} has not taken events for three days, which are given up: ${events}` +
      (from < 0 ? "" : `; chat-server webhook replay ${endpoint} --from ${from} sends them again`),
  ),
  webhook_gone: event(
    "error",
    { endpoint: "string" },
    ({ endpoint }) =>
      `webhook ${endpoint} answered 410 Gone and is sent nothing any more; chat-server webhook enable ${endpoint} lets it go on`,
  ),
  webhook_missed: event(
    "error",
    { endpoint: "string", from: "number", to: "number" },
    ({ endpoint, from, to }) =>
      `webhook ${endpoint} was too late: some of what is between ${from} and ${to} of the log has been removed`,
  ),
  webhook_enabled: event("info", { endpoint: "string" }, ({ endpoint }) => `webhook ${endpoint} is enabled`),
  webhook_replayed: event(
    "info",
    { endpoint: "string", from: "number" },
    ({ endpoint, from }) => `webhook ${endpoint} is sent again what comes after ${from} of the log`,
  ),
} as const;

/** Name of an event. */
export type LogEvent = keyof typeof EVENTS;

/** Fields of the events, by name. */
export type LogEvents = { readonly [E in LogEvent]: FieldsOf<typeof EVENTS[E]["fields"]> };

/** Takes one event for the operator. Never throws, never blocks. */
export type Log = <E extends LogEvent>(event: E, fields: LogEvents[E]) => void;

function mib(bytes: number): string {
  return `${Math.floor(bytes / 1_048_576)} MiB`;
}

/** Returns the end of a line that stands for others that were left out. */
function andMore(suppressed: number): string {
  return suppressed === 0 ? "" : `; lines like it that were left out before: ${suppressed}`;
}

/** Renders an event as one sentence on one line, with whatever a terminal or a reader of logs might obey spelled out. */
export function sentenceOf<E extends LogEvent>(event: E, fields: LogEvents[E]): string {
  return printable(rawSentence(event, fields));
}

function rawSentence<E extends LogEvent>(event: E, fields: LogEvents[E]): string {
  return (EVENTS[event].sentence as (fields: LogEvents[E]) => string)(fields);
}

/** Returns text of others as one line that a terminal shows and does not obey, and of bounded length. */
export function printable(text: string): string {
  return text.slice(0, TEXT_CHARS_MAX).replace(UNSAFE_REGEXP, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}

/**
 * Renders an event as one line of JSON: `ts` (RFC 3339, UTC), `level`, `event`, `message` (the sentence), and the event's fields.
 * It is ASCII where a reader might obey a character: those are escaped as JSON does it.
 */
export function jsonOf<E extends LogEvent>(event: E, fields: LogEvents[E], at: Date): string {
  const line: Record<string, string | number> = {
    ts: at.toISOString(),
    level: EVENTS[event].level,
    event,
    message: rawSentence(event, fields).slice(0, TEXT_CHARS_MAX),
  };
  for (const name of Object.keys(EVENTS[event].fields)) {
    const value = (fields as Record<string, string | number>)[name]!;
    line[name] = typeof value === "string" ? value.slice(0, TEXT_CHARS_MAX) : value;
  }
  return JSON.stringify(line).replace(UNSAFE_REGEXP, escapeUnits);
}

/** Escapes a character as JSON does: a pair of surrogates is two escapes. */
function escapeUnits(char: string): string {
  return [...Array(char.length).keys()].map((i) => `\\u${char.charCodeAt(i).toString(16).padStart(4, "0")}`).join("");
}

/** Renders an event as a line of that format, with the time. */
export function lineOf<E extends LogEvent>(format: LogFormat, event: E, fields: LogEvents[E]): string {
  const at = new Date();
  return format === "json" ? jsonOf(event, fields, at) : `${at.toISOString()} ${sentenceOf(event, fields)}`;
}

/** Options of {@linkcode openLog}. */
export interface LogOptions {
  readonly format: LogFormat;
  /** Least urgent level that is written. */
  readonly level: LogLevel;
  /** Takes a line. Default: it is written to stderr. */
  readonly write?: (line: string) => void;
}

/** Returns a log that writes a line for each event of that level or a more urgent one. */
export function openLog({ format, level, write = console.error }: LogOptions): Log {
  const least = LOG_LEVELS.indexOf(level);
  return (event, fields) => {
    if (LOG_LEVELS.indexOf(EVENTS[event].level) <= least) write(lineOf(format, event, fields));
  };
}

/** Returns the format that was asked for, or the one that suits where the lines go. */
export function formatFor(stream: { isTerminal(): boolean }, asked: LogFormat | undefined): LogFormat {
  return asked ?? (stream.isTerminal() ? "text" : "json");
}

/** Returns the message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
