/**
 * The log for the operator: one port, an event with its fields. {@linkcode sentenceOf} renders an event as text, and
 * {@linkcode logToStderr} is the log of the programs. Events never carry content of messages, tokens or secrets.
 */

/** Characters of one line: text that others chose must not fill the log. */
const LINE_CHARS_MAX = 1_000;
/** Characters that a terminal or a reader of logs might obey: controls, invisible ones, and separators of lines. */
const UNSAFE_REGEXP = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Events by name, with their fields. */
export interface LogEvents {
  /** A part of the server failed at a task that no peer can be blamed for; `task` names it. */
  failed: { task: string; reason: string };
  /** The store of messages does something worth knowing that is no failure; `words` is a sentence. */
  storage: { words: string };
  /** Answering one HTTP request failed. */
  request_failed: { reason: string };
  /** An upgrade was refused for its credentials; `cause` has no secret in it. */
  login_refused: { address: string; cause: string };
  /** In open mode, a request came from elsewhere than this machine; `cause` says by which it shows. At most once a minute. */
  elsewhere_refused: { cause: string };
  /** Connections cannot be accepted, as descriptors have run out. */
  accept_failed: { reason: string };
  /** There is less free space for messages than there has to be; sizes in bytes. */
  space_short: { dir: string; bytes: number; floorBytes: number };
  /** There is enough free space for messages again. */
  space_back: { dir: string; bytes: number; floorBytes: number };
  /** Connections of a user were closed, as the user or their token is in the list of the revoked. */
  revoked_closed: { user: string; connections: number; file: string };
  /** An administrator disconnected a user. */
  disconnected: { user: string; connections: number; by: string };
  /** The list of the revoked was read again, and has changed: how many entries came, went and are there. */
  revoked_read: { file: string; added: number; removed: number; entries: number };
  /** The list of the revoked cannot be read any more. */
  revoked_unreadable: { file: string; reason: string };
  /** Lines of the list of the revoked are neither names nor token ids: how many, and the number of the first. */
  revoked_odd_lines: { file: string; lines: number; first: number };
  /** A request to the API was refused for its key; at most one entry in ten seconds, with how many `others` came meanwhile. */
  api_refused: { address: string; cause: string; others: number };
  /** The keys of the API were read again. */
  api_keys_read: { file: string; keys: number };
  /** The keys of the API cannot be read any more; the old ones stay. */
  api_keys_kept: { file: string; reason: string };
  /** A user was put on the list of the revoked that the server keeps. */
  user_revoked: { user: string; by: string; file: string };
  /** A user was taken off the list of the revoked that the server keeps. */
  user_restored: { user: string; by: string; file: string };
  /** A user was erased, with what they wrote. */
  user_erased: { user: string; by: string; messages: number; connections: number };
  /** A token was made. `id` is what revokes it, and no secret. */
  token_made: { user: string; id: string; seconds: number; by: string };
  /** SIGHUP had a certificate read again. */
  certificate_renewed: Record<never, never>;
  /** SIGHUP could not have the certificate read again; the old one stays. */
  certificate_kept: { reason: string };
  /** SIGHUP came to a server without a certificate. */
  certificate_missing: Record<never, never>;
  /** A promise was rejected and nobody handled it. */
  unhandled_rejection: { reason: string };
  /** An error was thrown and nobody caught it. */
  uncaught_error: { reason: string };
}

/** Name of an event. */
export type LogEvent = keyof LogEvents;

/** Takes one event for the operator. Never throws, never blocks. */
export type Log = <E extends LogEvent>(event: E, fields: LogEvents[E]) => void;

const SENTENCES: { readonly [E in LogEvent]: (fields: LogEvents[E]) => string } = {
  failed: ({ task, reason }) => `${task} failed: ${reason}`,
  storage: ({ words }) => words,
  request_failed: ({ reason }) => `request failed: ${reason}`,
  login_refused: ({ address, cause }) => `login of ${address} refused: ${cause}`,
  elsewhere_refused: ({ cause }) =>
    `refused, as without a key this machine alone is served: a request ${cause}; see --jwt-public-key and --insecure-open`,
  accept_failed: ({ reason }) => `cannot take more connections (${reason}); open ones go on, and it tries again until it can`,
  space_short: ({ dir, bytes, floorBytes }) =>
    `${dir} has ${mib(bytes)} free, fewer than --free-bytes (${mib(floorBytes)}): messages are refused, reading goes on`,
  space_back: ({ dir, bytes }) => `${dir} has ${mib(bytes)} free again: messages are taken`,
  revoked_closed: ({ user, connections, file }) => `${user} is revoked by ${file}: connections closed: ${connections}`,
  disconnected: ({ user, connections, by }) => `${by} disconnected ${user}: connections closed: ${connections}`,
  revoked_read: ({ file, added, removed, entries }) =>
    `${file} was read again: ${added} revoked, ${removed} no more; names and token ids in it: ${entries}`,
  revoked_unreadable: ({ file, reason }) => `${file} cannot be read, what was revoked stays so: ${reason}`,
  revoked_odd_lines: ({ file, lines, first }) =>
    `lines of ${file} that are no names and no token ids: ${lines}, the first is line ${first}`,
  api_refused: ({ address, cause, others }) =>
    `API request of ${address} refused: ${cause}${others > 0 ? `; ${others} more since the last of these` : ""}`,
  api_keys_read: ({ file, keys }) => `${file} was read again: keys of the API in it: ${keys}`,
  api_keys_kept: ({ file, reason }) => `the keys of the API stay as they were: ${file}: ${reason}`,
  user_revoked: ({ user, by, file }) => `${by} revoked ${user}, which ${file} keeps`,
  user_restored: ({ user, by, file }) => `${by} took ${user} off ${file}`,
  user_erased: ({ user, by, messages, connections }) =>
    `${by} erased ${user}: messages emptied: ${messages}, connections closed: ${connections}`,
  token_made: ({ user, id, seconds, by }) => `${by} made a token for ${user}, for ${seconds} seconds: ${id}`,
  certificate_renewed: () => "the certificate was read again",
  certificate_kept: ({ reason }) => `the certificate stays as it was: ${reason}`,
  certificate_missing: () => "SIGHUP: there is no --cert to read again",
  unhandled_rejection: ({ reason }) => `unhandled rejection: ${reason}`,
  uncaught_error: ({ reason }) => `uncaught: ${reason}`,
};

function mib(bytes: number): string {
  return `${Math.floor(bytes / 1_048_576)} MiB`;
}

/** Renders an event as one sentence on one line, with whatever a terminal or a reader of logs might obey spelled out. */
export function sentenceOf<E extends LogEvent>(event: E, fields: LogEvents[E]): string {
  return SENTENCES[event](fields).slice(0, LINE_CHARS_MAX)
    .replace(UNSAFE_REGEXP, (char) => `\\u{${char.codePointAt(0)!.toString(16)}}`);
}

/** Writes an event to stderr as a line of text, with its time. */
export const logToStderr: Log = (event, fields) => {
  console.error(`${new Date().toISOString()} ${sentenceOf(event, fields)}`);
};

/** Returns the message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
