/**
 * One connection at the hub: what is due to it, how far it has read, and what it has not confirmed.
 *
 * A session is live when everything up to the newest message has been handed to its connection; then messages come straight
 * from the subscription. Until then, and again whenever it falls behind, it reads pages from the broker as fast as the
 * connection takes them, so that a device far behind costs a page and not a backlog.
 */

import type { Broker, Connection, Mark, Stored } from "./hub.ts";
import { CLOSE_CODES, type CloseName, encode, isGroup, isOverBytes, Refusal, type ServerFrame } from "./protocol.ts";

/** Bytes of one gathered frame: as much as clients must take, and few enough that a write does not hold up the others. */
const GATHERED_CHARS_MAX = 65_536;
/** How full a connection is, is asked again after this part of its queue was written. */
const ROOM_PARTS = 16;
/** The part of the queue, still in the socket, at which the backlog pauses: enough to keep a fast reader busy. */
const BACKLOG_PARTS = 4;
/** Acks and receipts per message: what a client says of each that comes. More count as other frames do. */
const CONFIRMATIONS_PER_MESSAGE = 2;
/** Messages in one page of backlog: one query, and at most a few MiB in passing. */
const BACKLOG_PAGE = 128;
/** Milliseconds between looks at a socket that was full: Deno tells nobody when a WebSocket drains. */
const DRAIN_POLL_MS = 20;
/** Milliseconds without any progress after which a reader of backlog is taken for stalled. */
const STALL_MS = 30_000;

/** base: messages and errors only. extended: after `hello`. Before either is settled: undecided. */
export type Level = "undecided" | "base" | "extended";

/** What a session needs of the hub it belongs to. */
export interface SessionHost {
  readonly broker: Broker;
  /** Bytes that may be queued to one connection. */
  readonly queueBytes: number;
  /** Asks for a flush at the end of this turn. */
  touch(session: Session): void;
  /** The session is closed and leaves the registry. Idempotent. */
  forget(session: Session): void;
  /** Tells the operator of a failure that no peer can be blamed for. */
  report(error: unknown, where: string): void;
}

/** One connection's state. Made by the hub alone. */
export class Session {
  level: Level = "undecided";
  /** Canonical name, or "" until it is settled. */
  user = "";
  /** Device, or `~` for the base level, which has one position for all its connections. */
  device = "";
  /** What tells this session's own messages from those of the user's other devices. */
  origin = "";
  /** The broker is settling where it stands; frames wait in the inbox. */
  settling = false;
  batch = false;
  admin = false;
  away = false;
  /** The peer closed the connection on purpose. */
  saidGoodbye = false;
  /** Frames that arrived while the name was being settled. */
  readonly inbox: string[] = [];
  inboxChars = 0;
  /** Whom it watches. */
  watched: readonly string[] = [];
  refusals = 0;
  refusalsSince = 0;
  lastTyping = 0;
  /** Whom it wrote to last. */
  lastRecipient = "";
  /** It is among those whose turn to be flushed comes. */
  isTouched = false;
  /** When the broker was told last what the device has, on the clock of this process, and messages since. */
  reportedAt = -Infinity;
  unreported = 0;
  helloTimer: ReturnType<typeof setTimeout> | undefined;

  readonly #host: SessionHost;
  readonly #connection: Connection;
  readonly #gatheredMax: number;
  #out: string[] = [];
  #outChars = 0;
  /** Bytes that surely fit into the connection's queue: only what is written here fills it. */
  #room = 0;
  #closed = false;
  #live = false;
  /** Counts what the connection has been: a backlog that was begun for another device is not read on. */
  #life = 0;
  /** Everything up to here was handed over. */
  #cursor = 0;
  /** The newest position that the subscription has shown. */
  #newest = 0;
  /** Acks and receipts that it may still send for nothing. */
  #confirmations = CONFIRMATIONS_PER_MESSAGE; // the end of the backlog is confirmed too
  /** How far the person has read in conversations, where the broker does not know it yet. Most have none. */
  #reads: Map<string, number> | undefined;
  /** Highest position handed over per conversation and not yet confirmed: what "delivered" is made from. Idle ones have none. */
  #unconfirmed: Map<string, number> | undefined;
  /** The device has everything up to here. */
  #confirmed = -1;
  /** The broker knows that it has everything up to here. */
  #reported = -1;
  #paused: { timer: ReturnType<typeof setTimeout>; resume: () => void } | undefined;

  constructor(host: SessionHost, connection: Connection) {
    this.#host = host;
    this.#connection = connection;
    this.#gatheredMax = Math.min(GATHERED_CHARS_MAX, host.queueBytes / ROOM_PARTS);
  }

  get closed(): boolean {
    return this.#closed;
  }

  // ---- Out ----

  /** Queues one frame for the end of the turn. */
  send(frame: ServerFrame): void {
    this.queue(encode(frame));
  }

  /** Answers a frame that was refused. */
  refuse(refusal: Refusal): void {
    this.send(refusal.toFrame());
  }

  /** Queues one encoded frame for the end of the turn. */
  queue(line: string): void {
    if (this.#closed) return;
    if (this.#out.length === 0) this.#host.touch(this);
    this.#out.push(line);
    this.#outChars += line.length;
    if (this.#outChars > this.#gatheredMax) this.flush();
  }

  /** Hands over what is queued: as frames of many lines where the peer takes them, else one by one. */
  flush(): void {
    const lines = this.#out;
    if (lines.length === 0 || this.#closed) return;
    this.#out = [];
    this.#outChars = 0;
    if (lines.length === 1) return this.#write(lines[0]!);
    if (!this.batch) {
      for (const line of lines) this.#write(line);
      return;
    }
    this.#write(lines.join("\n"));
  }

  /** Whether frames that may be lost should be: the connection is not keeping up. */
  get congested(): boolean {
    return this.#connection.buffered > this.#host.queueBytes / BACKLOG_PARTS;
  }

  /** Whether a frame may be queued to the connection. How full that is, is asked seldom: it is a call into the runtime. */
  #fits(frame: string): boolean {
    const bytesMax = frame.length * 3;
    if (bytesMax > this.#room) {
      const room = this.#host.queueBytes - this.#connection.buffered;
      if (isOverBytes(frame, room)) return false;
      this.#room = Math.min(room, this.#host.queueBytes / ROOM_PARTS);
    }
    this.#room -= bytesMax;
    return true;
  }

  #write(frame: string): void {
    if (this.#closed) return;
    if (!this.#fits(frame)) {
      this.#out.push(frame); // not handed over, so a base connection has not got it
      return this.close("slow", "Too much is waiting to be read; reconnect and resume");
    }
    try {
      this.#connection.send(frame);
    } catch (error) {
      // One broken transport must not keep a turn from the others.
      this.#out.push(frame);
      this.#host.report(error, "send");
      this.end();
    }
  }

  /** Closes the connection and leaves the hub. What is queued is written first, unless the peer is slow. */
  close(name: CloseName, reason: string): void {
    if (this.#closed) return;
    if (name !== "slow") this.flush();
    this.end();
    this.#connection.close(CLOSE_CODES[name].code, reason);
  }

  /** The connection is gone. Idempotent: a socket's close can be reported twice. */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.inbox.length = 0;
    clearTimeout(this.helloTimer);
    if (this.#paused) {
      clearTimeout(this.#paused.timer);
      this.#paused.resume();
    }
    this.#host.forget(this);
  }

  // ---- Messages ----

  /** The connection becomes another device: nothing of the old one counts for it. */
  restart(): void {
    this.flush();
    this.#life++;
    this.#live = false;
    this.#unconfirmed = undefined;
    this.#confirmed = this.#reported = -1;
  }

  /** A message of the user's, from the subscription: whether it is due to this device now. */
  take(message: Stored): boolean {
    this.#newest = message.seq;
    return this.#live && message.seq > this.#cursor && this.#isDue(message);
  }

  /** Goes past a message; whether the device gets it: all but what it sent itself. */
  #isDue(message: Stored): boolean {
    this.#cursor = message.seq;
    this.unreported++;
    this.#confirmations += CONFIRMATIONS_PER_MESSAGE;
    if (message.sender === this.user) return !this.#isOwn(message);
    this.#unconfirmed ??= new Map();
    this.#unconfirmed.set(isGroup(message.recipient) ? message.recipient : message.sender, message.seq);
    return true;
  }

  #isOwn(message: Stored): boolean {
    if (this.level === "extended") return message.origin === this.device;
    // A base connection has no copy of what another one of the user sent while this one was away.
    return message.origin === this.origin || (!this.#live && message.origin.startsWith("~"));
  }

  /**
   * Reads what was missed after `position` and then goes live. Live messages that arrive meanwhile neither overtake nor double:
   * they are left to the next page, and the session is live once a page has nothing more and nothing has come since.
   */
  async catchUp(position: number, line: (message: Stored) => string): Promise<void> {
    this.#cursor = position;
    const life = this.#life;
    for (;;) {
      const page = await this.#host.broker.read(this.user, this.#cursor, BACKLOG_PAGE);
      if (this.#closed || life !== this.#life) return;
      for (const message of page.messages) {
        if (this.congested) await this.drained();
        if (this.#closed || life !== this.#life) return;
        if (this.#isDue(message)) this.queue(line(message));
      }
      if (!page.more && this.#newest <= this.#cursor) break;
    }
    this.#live = true;
    if (this.level === "extended") this.send({ type: "synced", seq: this.#cursor });
  }

  /** Writes what is queued, and resolves when there is room for more. */
  async drained(): Promise<void> {
    this.flush();
    let least = this.#connection.buffered;
    let since = Date.now();
    while (this.congested && !this.#closed) {
      await new Promise<void>((resume) => this.#paused = { timer: setTimeout(resume, DRAIN_POLL_MS), resume });
      this.#paused = undefined;
      if (this.#connection.buffered < least) {
        least = this.#connection.buffered;
        since = Date.now();
      } else if (Date.now() - since > STALL_MS) {
        this.close("slow", "Nothing was read for long; reconnect and resume");
      }
    }
  }

  /** Whether an ack or receipt is one of those that come with messages, and counts for nothing. */
  mayConfirm(): boolean {
    return this.#confirmations > 0 && this.#confirmations-- > 0;
  }

  /** The device has everything up to `seq`. */
  confirm(seq: number): void {
    if (this.#confirmAt(seq)) this.#host.touch(this);
  }

  /** The person has read the conversation with `other` up to `seq`. */
  read(other: string, seq: number): void {
    this.#reads ??= new Map();
    this.#reads.set(other, Math.max(this.#reads.get(other) ?? 0, Math.min(seq, this.#cursor)));
    this.#host.touch(this);
  }

  #confirmAt(seq: number): boolean {
    const position = Math.min(seq, this.#cursor);
    if (position <= this.#confirmed) return false;
    this.#confirmed = position;
    return true;
  }

  /** Whether the broker does not know yet what the device has. */
  get isUnreported(): boolean {
    return this.#confirmed !== this.#reported || this.#reads !== undefined ||
      (this.level === "base" && this.#cursor > this.#reported);
  }

  /**
   * The position up to which the device has everything, where the broker does not know it yet; adds to `marks` what became
   * delivered by it. A base connection cannot confirm: what was handed to its socket counts.
   */
  takeConfirmed(marks: Mark[]): number | undefined {
    if (this.level === "base" && this.#out.length === 0) this.#confirmAt(this.#cursor);
    if (this.#confirmed === this.#reported) return undefined;
    this.#reported = this.#confirmed;
    for (const [conversation, seq] of this.#unconfirmed ?? []) {
      if (seq <= this.#confirmed) this.#unconfirmed!.delete(conversation);
      marks.push({ user: this.user, kind: "delivered", with: conversation, seq: Math.min(seq, this.#confirmed) });
    }
    return this.#confirmed;
  }

  /** Adds to `marks` what was read. */
  takeRead(marks: Mark[]): void {
    for (const [conversation, seq] of this.#reads ?? []) marks.push({ user: this.user, kind: "read", with: conversation, seq });
    this.#reads = undefined;
  }
}
