/**
 * The wire of Parley: frames, their parser, limits, error codes and close codes.
 *
 * One JSON object per text frame. An object without a `type` is a message; every other frame has one. `parse` is total: any
 * text gives a frame or a {@linkcode Refusal}, never an exception. docs/PROTOCOL.md is the normative description.
 *
 * This module is browser compatible and imports nothing.
 */

/** The version of the extended level that `hello` and `welcome` carry. */
export const PROTOCOL_VERSION = 1;

// ---- Limits -----------------------------------------------------------------------------------------------------------------

/** Bytes of one text frame: room for the largest content with every byte escaped twice over, and small enough to parse at once. */
export const FRAME_BYTES_MAX = 65_536;
/** UTF-8 bytes of one message's content: several pages of prose; longer things are files. */
export const CONTENT_BYTES_MAX = 16_384;
/** UTF-16 units of a name: fits an e-mail address or a directory's user id. */
export const NAME_CHARS_MAX = 64;
/** UTF-16 units of an id that a client gives a frame: a UUID or a hash fits twice. */
export const ID_CHARS_MAX = 64;
/** Names in one `watch` frame: presence is for the people one looks at, not for a directory. */
export const WATCHED_USERS_MAX = 100;
/** Messages in one page of history. */
export const HISTORY_LIMIT_MAX = 500;
/** Messages a new device may ask for with `hello.last`. */
export const LAST_MESSAGES_MAX = 10_000;
/** UTF-16 units of a search: a sentence. */
export const QUERY_CHARS_MAX = 256;
/** Capabilities in one `hello`. */
export const CAPS_MAX = 16;

// ---- Codes ------------------------------------------------------------------------------------------------------------------

/** Every `code` of an error frame: whether the same frame may succeed later, and what it means. */
export const ERROR_CODES = {
  bad_json: { retryable: false, meaning: "The frame is not JSON." },
  bad_frame: { retryable: false, meaning: "The frame is JSON, but a member is missing, of the wrong type or out of range." },
  unknown_type: { retryable: false, meaning: "The server knows no frame of this type." },
  too_large: { retryable: false, meaning: "The frame or its content is over the limit." },
  binary_frame: { retryable: false, meaning: "The wire is text frames only." },
  bad_name: { retryable: false, meaning: "A name is empty, too long, or has characters that names may not have." },
  bad_content: { retryable: false, meaning: "The content has U+0000 or half a surrogate pair." },
  name_required: { retryable: false, meaning: "The connection has not said who it is." },
  hello_required: { retryable: false, meaning: "This frame belongs to the extended level, which starts with hello." },
  forbidden: { retryable: false, meaning: "Not yours to do, such as sending under another name." },
  unauthorized: { retryable: false, meaning: "The token is missing or not valid." },
  unknown_recipient: { retryable: false, meaning: "There is no user of this name." },
  unknown_group: { retryable: false, meaning: "There is no group of this name." },
  not_member: { retryable: false, meaning: "You are not a member of this group or conversation." },
  group_exists: { retryable: false, meaning: "The group's name is taken." },
  limit_reached: { retryable: false, meaning: "A limit on members, groups or watched users is reached." },
  id_conflict: { retryable: false, meaning: "The id was used for a message with other content." },
  out_of_order: { retryable: true, meaning: "An earlier message to this recipient has to come first." },
  rate_limited: { retryable: true, meaning: "Too many frames; wait retry_after_ms." },
  quota_exceeded: { retryable: true, meaning: "Too many bytes in one day; wait retry_after_ms." },
  mailbox_full: { retryable: true, meaning: "The recipient has too many messages waiting, in all or of this sender." },
  unavailable: { retryable: true, meaning: "The message could not be stored now." },
  internal: { retryable: true, meaning: "The server failed at this frame." },
} as const satisfies Record<string, { retryable: boolean; meaning: string }>;

/** The code of an error frame. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Action of a client after a close. */
export type Reconnect = "now" | "later" | "never";

/**
 * Every close code the server uses. The range tells a client that does not know the code what to do: 4000-4099 never connect
 * again without a change, 4100-4199 after a back-off, 4200-4299 at once.
 */
export const CLOSE_CODES = {
  bye: { code: 1000, reconnect: "never", meaning: "The client ended the session." },
  idle: { code: 1001, reconnect: "later", meaning: "No answer to a ping, or the server is going away." },
  policy: { code: 1008, reconnect: "never", meaning: "Too many bad frames." },
  too_big: { code: 1009, reconnect: "never", meaning: "A frame far over the limit." },
  internal: { code: 1011, reconnect: "later", meaning: "The server failed." },
  restart: { code: 1012, reconnect: "later", meaning: "The server restarts." },
  unauthorized: { code: 4001, reconnect: "never", meaning: "The token is not valid." },
  revoked: { code: 4003, reconnect: "never", meaning: "The token or user was revoked, or an administrator disconnected it." },
  nameless: { code: 4008, reconnect: "never", meaning: "The connection did not say who it is in time." },
  replaced: { code: 4009, reconnect: "never", meaning: "The same device connected again." },
  slow: { code: 4100, reconnect: "later", meaning: "Too much was waiting to be read; reconnect and resume." },
  overloaded: { code: 4103, reconnect: "later", meaning: "The server has no room, or cannot reach its store." },
  flood: { code: 4108, reconnect: "later", meaning: "The rate limit was ignored for long." },
  token_expired: { code: 4201, reconnect: "now", meaning: "The token expired; connect with a newer one." },
} as const satisfies Record<string, { code: number; reconnect: Reconnect; meaning: string }>;

/** The name of a close code. */
export type CloseName = keyof typeof CLOSE_CODES;

/** Says what a client does after a close with `code`; codes nobody knows are answered by their range. */
export function reconnectAfter(code: number): Reconnect {
  for (const entry of Object.values(CLOSE_CODES)) if (entry.code === code) return entry.reconnect;
  if (code >= 4000 && code < 4100) return "never";
  return code >= 4200 && code < 4300 ? "now" : "later";
}

// ---- Refusals ---------------------------------------------------------------------------------------------------------------

/** Reason for which something was not done: the content of an error frame. */
export class Refusal {
  /** The id of the frame that is refused, where it had one. */
  id?: string;
  /** Milliseconds to wait before trying again. */
  retryAfterMs?: number;

  constructor(readonly code: ErrorCode, readonly message: string, id?: string) {
    if (id !== undefined) this.id = id;
  }

  /** Makes the refusal of a frame, with the id of the frame if it has one. */
  static of(frame: ClientFrame, code: ErrorCode, message: string): Refusal {
    return new Refusal(code, message, "id" in frame ? frame.id : undefined);
  }

  /** Converts this refusal to an error frame. */
  toFrame(): ErrorFrame {
    const { retryable } = ERROR_CODES[this.code];
    const frame: ErrorFrame = { type: "error", code: this.code, message: this.message, retryable };
    if (this.id !== undefined) frame.id = this.id;
    if (this.retryAfterMs !== undefined) frame.retry_after_ms = this.retryAfterMs;
    return frame;
  }
}

// ---- Values -----------------------------------------------------------------------------------------------------------------

/** Checks one value: gives it back, perhaps in canonical form, or says what is wrong with it. */
type Check<T> = (value: unknown, member: string) => T | Refusal;

const PLAIN_NAME_REGEXP = /^[a-z0-9][a-z0-9_.-]*$/;
const NAME_REGEXP = /^[\p{L}\p{N}][\p{L}\p{M}\p{N}._@+:|-]*$/u;
// Default-ignorable code points render as nothing: two names would look the same.
const INVISIBLE_REGEXP = /[\p{Default_Ignorable_Code_Point}\p{White_Space}\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/u;

/**
 * Returns the canonical form of a user's name: NFKC, lower case, so that one name is one name whatever its case. A refusal where it is
 * empty, over {@linkcode NAME_CHARS_MAX}, or has white space, control, invisible or other characters that names may not have.
 */
export function parseName(value: unknown, member = "name"): string | Refusal {
  if (typeof value !== "string") return wrongType(value, member, "a string");
  if (value.length === 0) return new Refusal("bad_name", `"${member}" is empty`);
  if (value.length > NAME_CHARS_MAX) return new Refusal("bad_name", `"${member}" is over ${NAME_CHARS_MAX} characters`);
  if (PLAIN_NAME_REGEXP.test(value)) return value;
  if (INVISIBLE_REGEXP.test(value)) {
    return new Refusal("bad_name", `"${member}" has white space, control or invisible characters`);
  }
  const name = foldCase(value);
  if (name.length > NAME_CHARS_MAX || foldCase(name) !== name || INVISIBLE_REGEXP.test(name) || !NAME_REGEXP.test(name)) {
    return new Refusal("bad_name", `"${member}" may have letters, digits and . _ - @ + : | and starts with a letter or digit`);
  }
  return name;
}

function foldCase(text: string): string {
  return text.normalize("NFKC").toLowerCase().normalize("NFKC");
}

/** Returns the canonical form of a group's name: `#` and then what {@linkcode parseName} takes. */
export function parseGroup(value: unknown, member = "group"): string | Refusal {
  if (typeof value !== "string") return wrongType(value, member, "a string");
  if (!value.startsWith("#")) return new Refusal("bad_name", `"${member}" is no group: groups start with #`);
  const name = parseName(value.slice(1), member);
  return typeof name === "string" ? "#" + name : name;
}

/** Returns whether a name is a group's. */
export function isGroup(name: string): boolean {
  return name.charCodeAt(0) === 35;
}

/** Returns the canonical form of a user's or a group's name. */
export function parseAddress(value: unknown, member = "recipient"): string | Refusal {
  return typeof value === "string" && isGroup(value) ? parseGroup(value, member) : parseName(value, member);
}

/** Returns content that can be stored and shown: a string within the limit, without U+0000 and without half a surrogate pair. */
export function parseContent(value: unknown, member = "content", bytes = CONTENT_BYTES_MAX): string | Refusal {
  if (typeof value !== "string") return wrongType(value, member, "a string");
  if (isOverBytes(value, bytes)) return new Refusal("too_large", `"${member}" is over ${bytes} bytes`);
  if (value.includes("\0")) return new Refusal("bad_content", `"${member}" has U+0000`);
  if (!value.isWellFormed()) return new Refusal("bad_content", `"${member}" has half a surrogate pair`);
  return value;
}

/** Returns whether `text` takes more than `bytes` in UTF-8. */
export function isOverBytes(text: string, bytes: number): boolean {
  if (text.length > bytes) return true;
  if (text.length * 3 <= bytes) return false;
  return new TextEncoder().encode(text).length > bytes;
}

/** Returns the bytes that `text` takes in UTF-8; it has no half of a surrogate pair. */
export function utf8Bytes(text: string): number {
  let bytes = text.length;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    // A character of two units has four bytes: each half adds one.
    if (unit > 0x7f) bytes += unit > 0x7ff && (unit & 0xf800) !== 0xd800 ? 2 : 1;
  }
  return bytes;
}

function wrongType(value: unknown, member: string, wanted: string): Refusal {
  if (value === undefined) return new Refusal("bad_frame", `"${member}" is missing`);
  const given = value === null ? "null" : Array.isArray(value) ? "an array" : `a ${typeof value}`;
  return new Refusal("bad_frame", `"${member}" is ${given}, not ${wanted}`);
}

function text(max: number): Check<string> {
  return (value, member) => {
    if (typeof value !== "string") return wrongType(value, member, "a string");
    if (value.length === 0) return new Refusal("bad_frame", `"${member}" is empty`);
    if (value.length > max) return new Refusal("bad_frame", `"${member}" is over ${max} characters`);
    if (value.includes("\0") || !value.isWellFormed()) {
      return new Refusal("bad_frame", `"${member}" has U+0000 or half a surrogate pair`);
    }
    return value;
  };
}

function integer(min: number, max = Number.MAX_SAFE_INTEGER): Check<number> {
  return (value, member) => {
    if (typeof value !== "number") return wrongType(value, member, "a number");
    if (Number.isInteger(value) && value >= min && value <= max) return value === 0 ? 0 : value;
    return new Refusal("bad_frame", `"${member}" is not a whole number from ${min} to ${max}`);
  };
}

const flag: Check<boolean> = (value, member) => typeof value === "boolean" ? value : wrongType(value, member, "true or false");

function oneOf<const T extends string>(...words: T[]): Check<T> {
  return (value, member) => {
    if (typeof value !== "string") return wrongType(value, member, "a string");
    return words.find((word) => word === value) ?? new Refusal("bad_frame", `"${member}" is not one of ${words.join(", ")}`);
  };
}

function list<T>(check: Check<T>, max: number): Check<T[]> {
  return (value, member) => {
    if (!Array.isArray(value)) return wrongType(value, member, "an array");
    if (value.length > max) return new Refusal("limit_reached", `"${member}" has more than ${max} entries`);
    const out: T[] = [];
    for (const [index, entry] of value.entries()) {
      const checked = check(entry, `${member}[${index}]`);
      if (checked instanceof Refusal) return checked;
      out.push(checked);
    }
    return out;
  };
}

type Optional<T> = Check<T> & { readonly optional: true };

function optional<T>(check: Check<T>): Optional<T> {
  return Object.assign((value: unknown, member: string) => check(value, member), { optional: true } as const);
}

type Shape = Record<string, Check<unknown>>;
type Checked<C> = C extends Check<infer T> ? T : never;
type OptionalKeys<S extends Shape> = { [K in keyof S]: S[K] extends { optional: true } ? K : never }[keyof S];
type Flat<T> = { [K in keyof T]: T[K] };
/** The type of the objects that a shape lets through. */
type Members<S extends Shape> = Flat<
  & { [K in Exclude<keyof S, OptionalKeys<S>>]: Checked<S[K]> }
  & { [K in OptionalKeys<S>]?: Checked<S[K]> }
>;
type Frames<T extends Record<string, Shape>> = { [K in keyof T]: Flat<{ type: K } & Members<T[K]>> }[keyof T];

function members(shape: Shape, value: unknown, target: Record<string, unknown>): Refusal | undefined {
  const source = value as Record<string, unknown>;
  for (const member in shape) {
    const check = shape[member]!;
    const given = Object.hasOwn(source, member) ? source[member] : undefined;
    if (given === undefined && "optional" in check) continue;
    const checked = check(given, member);
    if (checked instanceof Refusal) return checked;
    target[member] = checked;
  }
}

function object<S extends Shape>(shape: S): Check<Members<S>> {
  return (value, member) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) return wrongType(value, member, "an object");
    const out: Record<string, unknown> = {};
    const refusal = members(shape, value, out);
    return refusal ? new Refusal(refusal.code, `in "${member}": ${refusal.message}`) : out as Members<S>;
  };
}

// ---- Frames: the one place that says what there is --------------------------------------------------------------------------

const id = text(ID_CHARS_MAX);

/** Returns an id that a client may give a frame, or a message: up to {@linkcode ID_CHARS_MAX} characters. */
export function parseId(value: unknown, member = "id"): string | Refusal {
  return id(value, member);
}

const position = integer(0);
const time = text(32);
const user: Check<string> = parseName;
const address: Check<string> = parseAddress;
const pageSize = integer(1, HISTORY_LIMIT_MAX);

/**
 * A message as it is on the wire. `id` and `again` are the sender's; `seq` and `ts` are the server's and only the extended level has
 * them.
 */
const MESSAGE = {
  sender: user,
  recipient: address,
  // Content that a server lets through may be over this version's own limit.
  content: ((value, member) => parseContent(value, member, Infinity)) as Check<string>,
  id: optional(id),
  seq: optional(position),
  ts: optional(time),
  again: optional(flag),
};

const GROUP_OPS = ["create", "join", "leave", "invite", "remove", "members", "list"] as const;
const ADMIN_OPS = ["list", "disconnect", "create"] as const;
const groupSummary = object({ group: parseGroup, owner: optional(user), members: integer(0), open: flag });
const conversationSummary = object({
  with: address,
  seq: position,
  read: position,
  unread: integer(0),
  last: optional(object(MESSAGE)),
});

/** The frames that a client sends, beside messages. */
const CLIENT_FRAMES = {
  hello: {
    v: integer(1),
    name: optional(user),
    device: optional(user),
    caps: optional(list(text(32), CAPS_MAX)),
    resume: optional(object({ epoch: text(64), seq: position })),
    last: optional(integer(0, LAST_MESSAGES_MAX)),
  },
  ack: { seq: position },
  receipt: { kind: oneOf("read"), with: address, seq: position, private: optional(flag) },
  watch: { users: list(user, WATCHED_USERS_MAX) },
  presence: { status: oneOf("online", "away") },
  typing: { recipient: address },
  group: {
    op: oneOf(...GROUP_OPS),
    group: optional(parseGroup as Check<string>),
    user: optional(user),
    open: optional(flag),
    after: optional(parseGroup as Check<string>),
    id: optional(id),
  },
  history: {
    with: address,
    before: optional(position),
    after: optional(position),
    limit: optional(pageSize),
    id: optional(id),
  },
  conversations: { limit: optional(pageSize), before: optional(position), with: optional(address), id: optional(id) },
  search: {
    query: text(QUERY_CHARS_MAX),
    with: optional(address),
    before: optional(position),
    limit: optional(pageSize),
    id: optional(id),
  },
  admin: { op: oneOf(...ADMIN_OPS), user: optional(user), after: optional(user), id: optional(id) },
  ping: { id: optional(id) },
} as const satisfies Record<string, Shape>;

/** The frames that the server sends, beside messages. */
const SERVER_FRAMES = {
  welcome: {
    v: integer(1),
    user: user,
    device: user,
    caps: list(text(32), CAPS_MAX),
    epoch: text(64),
    seq: position,
    recovered: flag,
    limits: object({ frame: integer(1), content: integer(1), rate: integer(0), burst: integer(0) }),
  },
  synced: { seq: position },
  ack: { id, seq: position, ts: time, duplicate: optional(flag) },
  receipt: { kind: oneOf("delivered", "read"), user, with: address, seq: position, ts: time },
  presence: { user, status: oneOf("online", "away", "offline"), last_seen: optional(time) },
  typing: { sender: user, recipient: address },
  group: {
    op: oneOf(...GROUP_OPS),
    group: optional(parseGroup as Check<string>),
    user: optional(user),
    by: optional(user),
    id: optional(id),
    members: optional(list(user, 100_000)),
    owner: optional(user),
    groups: optional(list(groupSummary, 100_000)),
    more: optional(flag),
  },
  history: { with: address, messages: list(object(MESSAGE), HISTORY_LIMIT_MAX), more: flag, id: optional(id) },
  conversations: { conversations: list(conversationSummary, HISTORY_LIMIT_MAX), more: flag, id: optional(id) },
  search: {
    query: text(QUERY_CHARS_MAX),
    with: optional(address),
    messages: list(object(MESSAGE), HISTORY_LIMIT_MAX),
    more: flag,
    before: optional(position),
    indexed: position,
    id: optional(id),
  },
  admin: {
    op: oneOf(...ADMIN_OPS),
    users: optional(list(object({ user, devices: list(text(NAME_CHARS_MAX + 1), 100_000) }), 100_000)),
    user: optional(user),
    closed: optional(integer(0)),
    created: optional(flag),
    more: optional(flag),
    id: optional(id),
  },
  error: {
    code: text(64),
    message: text(1024),
    retryable: flag,
    id: optional(id),
    retry_after_ms: optional(integer(0)),
  },
  pong: { id: optional(id) },
} as const satisfies Record<string, Shape>;

/** A message on the wire. */
export type Message = Members<typeof MESSAGE> & { type?: undefined };
/** A frame that a client sends. */
export type ClientFrame = Message | Frames<typeof CLIENT_FRAMES>;
/** A frame that the server sends. */
export type ServerFrame = Message | Frames<typeof SERVER_FRAMES>;
/** The client's frame of type `T`. */
export type ClientFrameOf<T extends keyof typeof CLIENT_FRAMES> = Extract<ClientFrame, { type: T }>;
/** The server's frame of type `T`. */
export type ServerFrameOf<T extends keyof typeof SERVER_FRAMES> = Extract<ServerFrame, { type: T }>;
/** An error frame. */
export type ErrorFrame = ServerFrameOf<"error">;
/** Limits of a server, as its `welcome` says them: bytes of a frame and of content, frames per second and at once. */
export type Limits = ServerFrameOf<"welcome">["limits"];
/** The types of frames that a client may send. */
export const CLIENT_TYPES = Object.keys(CLIENT_FRAMES) as readonly (keyof typeof CLIENT_FRAMES)[];
/** The types of frames that the server may send. */
export const SERVER_TYPES = Object.keys(SERVER_FRAMES) as readonly (keyof typeof SERVER_FRAMES)[];

// ---- Parsing and encoding ---------------------------------------------------------------------------------------------------

/** Parses one object that a client sent; `contentBytes` is how much content a message may have. */
export function parseClientFrame(text: string, contentBytes = CONTENT_BYTES_MAX): ClientFrame | Refusal {
  return parsePlainMessage(text, contentBytes) ?? parse(text, CLIENT_FRAMES, contentBytes) as ClientFrame | Refusal;
}

/** Matches what programs send most: plain names, nothing escaped, members in this order. It is its own canonical form. */
const PLAIN_MESSAGE_REGEXP =
  // deno-lint-ignore no-control-regex
  /^\{"sender":"[a-z0-9][a-z0-9_.-]{0,63}","recipient":"#?[a-z0-9][a-z0-9_.-]{0,63}","content":"[^"\\\0-\x1f]*"(?:,"id":"[ !#-[\]-~]{1,64}")?\}$/;
/** UTF-16 units that stand before each value, with the quotes. */
const SENDER_CHARS = '{"sender":"'.length, RECIPIENT_CHARS = '","recipient":"'.length;
const CONTENT_CHARS = '","content":"'.length, PLAIN_ID_CHARS = '","id":"'.length, END_CHARS = '"}'.length;

/**
 * The hot path: several times as fast as JSON. Undefined for what it does not know; the long way says what is wrong with it.
 * Values are cut out by their quotes, as a match with groups takes longer.
 */
function parsePlainMessage(text: string, contentBytes: number): Message | undefined {
  if (!PLAIN_MESSAGE_REGEXP.test(text)) return undefined;
  const senderEnd = text.indexOf('"', SENDER_CHARS);
  const recipientEnd = text.indexOf('"', senderEnd + RECIPIENT_CHARS);
  const contentEnd = text.indexOf('"', recipientEnd + CONTENT_CHARS);
  const sender = text.slice(SENDER_CHARS, senderEnd);
  const recipient = text.slice(senderEnd + RECIPIENT_CHARS, recipientEnd);
  const content = text.slice(recipientEnd + CONTENT_CHARS, contentEnd);
  if (isOverBytes(content, contentBytes) || !content.isWellFormed()) return undefined;
  if (contentEnd + END_CHARS === text.length) return { sender, recipient, content };
  return { sender, recipient, content, id: text.slice(contentEnd + PLAIN_ID_CHARS, -END_CHARS) };
}

/** Parses one object that the server sent. Members and types it does not know are for a newer client: ignore the refusal. */
export function parseServerFrame(text: string): ServerFrame | Refusal {
  return parse(text, SERVER_FRAMES, Infinity) as ServerFrame | Refusal;
}

function parse(text: string, table: Record<string, Shape>, contentBytes: number): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return new Refusal("bad_json", "The frame is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return new Refusal("bad_frame", "The frame is JSON, but no object");
  }
  const source = value as Record<string, unknown>;
  if (!Object.hasOwn(source, "type")) return parseMessage(source, contentBytes, table === SERVER_FRAMES);
  const type = source.type;
  if (typeof type !== "string") return identified(wrongType(type, "type", "a string"), source);
  if (!Object.hasOwn(table, type)) {
    return identified(new Refusal("unknown_type", `There is no frame of type ${JSON.stringify(type.slice(0, 32))}`), source);
  }
  const frame: Record<string, unknown> = { type };
  const refusal = members(table[type]!, source, frame);
  return refusal ? identified(refusal, source) : frame;
}

/** Optional members of a message from a client, and from the server. */
const DRAFT_MEMBERS = ["id", "again"] as const, STORED_MEMBERS = ["id", "seq", "ts"] as const;

/** Parses a message by hand, as this is the hot path: a fresh object with nothing in it but checked members. */
function parseMessage(source: Record<string, unknown>, contentBytes: number, isStored: boolean): Message | Refusal {
  const sender = parseName(own(source, "sender"), "sender");
  if (typeof sender !== "string") return identified(sender, source);
  const recipient = parseAddress(own(source, "recipient"), "recipient");
  if (typeof recipient !== "string") return identified(recipient, source);
  const content = parseContent(own(source, "content"), "content", contentBytes);
  if (typeof content !== "string") return identified(content, source);
  const message: Message = { sender, recipient, content };
  // Position and time are the server's: what a client says of them is ignored.
  for (const member of isStored ? STORED_MEMBERS : DRAFT_MEMBERS) {
    const given = own(source, member);
    if (given === undefined) continue;
    const checked = MESSAGE[member](given, member);
    if (checked instanceof Refusal) return identified(checked, source);
    (message as Record<string, unknown>)[member] = checked;
  }
  return message;
}

/** Returns the id of a frame that is not handled for another reason, such as its size; undefined where it has none to be read. */
export function idOf(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null) return undefined;
    const given = id(own(value as Record<string, unknown>, "id"), "id");
    return typeof given === "string" ? given : undefined;
  } catch {
    return undefined;
  }
}

function own(source: Record<string, unknown>, member: string): unknown {
  return Object.hasOwn(source, member) ? source[member] : undefined;
}

function identified(refusal: Refusal, source: Record<string, unknown>): Refusal {
  const given = id(own(source, "id"), "id");
  if (typeof given === "string") refusal.id = given;
  return refusal;
}

/**
 * The objects of one text frame: several may stand in it, a line each. A frame whose first line is no JSON of its own is one
 * object, so that JSON laid out over several lines is understood too.
 */
export function linesOf(text: string): string[] {
  const end = text.indexOf("\n");
  if (end < 0) return [text];
  // Within JSON no object begins right after another: two that meet at the line's end are two lines, and need not be parsed for it.
  const meet = text[end - 1] === "}" && text[end + 1] === "{";
  if (!meet && !isJson(text.slice(0, end))) return [text];
  return text.split("\n").filter((line) => line.trim() !== "");
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** Encodes one frame as text, on one line. */
export function encode(frame: ClientFrame | ServerFrame): string {
  return JSON.stringify(frame);
}
