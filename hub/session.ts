/**
 * One connection at the hub: what is due to it, how far it has read, and what it has not confirmed.
 *
 * A session is live when everything up to the newest message has been handed to its connection; then messages come straight
 * from the subscription. Until then, and again whenever it falls behind, it reads pages from the broker as fast as the
 * connection takes them, so that a device far behind costs a page and not a backlog.
 */

import {
  type Appended,
  type DeviceMove,
  type Draft,
  isBaseDevice,
  type MarkerMove,
  type MessageLog,
  type Stored,
} from "../broker.ts";
import {
  CLOSE_CODES,
  type CloseName,
  encode,
  idOf,
  isGroup,
  isOverBytes,
  linesOf,
  Refusal,
  type ServerFrame,
} from "../protocol.ts";
import type { Connection, Identity, Receiver } from "./connection.ts";
import { taken } from "./arrays.ts";
import { encodeAck } from "./encoding.ts";
import { type Meter, type SlowWatch, timed } from "./meter.ts";
import type { Level, Settled } from "./level.ts";
import { RefusalCount } from "./refusal_count.ts";
import type { SendOrder } from "./send_order.ts";

/** Frames that may arrive while the broker settles a name: a script's outbox, not a flood. */
export const INBOX_FRAMES_MAX = 4_096;
/** UTF-16 units of such frames. */
export const INBOX_CHARS_MAX = 1_048_576;

/** UTF-16 units of one gathered frame: as much as clients must take, and few enough that a write does not hold up the others. */
const GATHERED_CHARS_MAX = 65_536;
/** The part of the queue after whose writing the connection is asked again how full it is. */
const ROOM_PARTS = 16;
/** The part of the queue, still in the socket, at which the backlog pauses: enough to keep a fast reader busy. */
const BACKLOG_PARTS = 4;
/** Acks and receipts per message: what a client says of each that comes. More count as other frames do. */
const CONFIRMATIONS_PER_MESSAGE = 2;
/** Messages in one page of backlog: one query, and at most a few MiB in passing. */
const BACKLOG_PAGE = 128;
/** Milliseconds between looks at a socket that was full and tells nobody when it drains, as Deno's do not. */
const DRAIN_POLL_MS = 20;
/** Milliseconds without any progress after which a reader of backlog is taken for stalled. */
const STALL_MS = 30_000;
/** Factor over the frame limit at which the sender is closed: nobody gets there by mistake. */
const FRAME_ABSURD_FACTOR = 2;
/** Milliseconds between two typing signals of a device that are passed on. */
const TYPING_INTERVAL_MS = 1_000;

/** Needs of a session, which the hub that it belongs to meets. */
export interface SessionHost {
  readonly broker: MessageLog;
  /** Bytes that may be queued to one connection. */
  readonly queueBytes: number;
  /** Bytes of one frame from the peer. */
  readonly frameBytes: number;
  /** Bad frames in a minute before the connection is closed. */
  readonly refusalsMax: number;
  /** Counts what happens. */
  readonly meter: Meter;
  /** Told how long pages of backlog took. */
  readonly slow: SlowWatch | undefined;
  /** Handles one object of the peer's. */
  handle(session: Session, text: string): void;
  /** Asks for a flush at the end of this turn. */
  scheduleFlush(session: Session): void;
  /** Encodes a message as `session` gets it. */
  line(session: Session, message: Stored): string;
  /** Takes a closed session out of the registry. Idempotent. */
  unregister(session: Session): void;
  /** Tells the operator of a failure that no peer can be blamed for. */
  report(error: unknown, where: string): void;
}

/** Positions by conversation. */
type ReadPositions = Map<string, number>;

/** Messages of one conversation that were handed over and not confirmed: none lies below `oldest`. */
interface Unconfirmed {
  oldest: number;
  newest: number;
}

/** One connection's state, written by itself alone. Made by the hub. */
export class Session implements Receiver {
  /** True for an administrator. */
  readonly admin: boolean;
  readonly #host: SessionHost;
  readonly #connection: Connection;
  readonly #gatheredMax: number;

  #user: string;
  #level: Level = "undecided";
  #device = "";
  #origin = "";
  #batch = false;
  #order: SendOrder | undefined;
  /** The broker is settling where it stands; frames wait in the inbox. */
  #settling = false;
  #inbox: string[] = [];
  #inboxChars = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  #closed = false;
  #saidGoodbye = false;
  #away = false;
  /** Well-behaved peers have none. */
  #refusals: RefusalCount | undefined;
  #lastTyping = -Infinity;
  #lastRecipient = "";

  readonly #out: string[] = [];
  #outChars = 0;
  #isScheduled = false;
  /** Bytes that surely fit into the connection's queue: only what is written here fills it. */
  #room = 0;
  #paused: { timer: ReturnType<typeof setTimeout>; resume: () => void } | undefined;

  #live = false;
  /** Counts the devices that the connection has been: a backlog that was begun for an earlier one is not read on. */
  #generation = 0;
  /** Everything up to here was handed over. */
  #cursor = 0;
  /** The newest position that the subscription has shown. */
  #newest = 0;
  /** Acks and receipts that it may still send for nothing. */
  #confirmations = CONFIRMATIONS_PER_MESSAGE; // the end of the backlog is confirmed too
  /** Positions up to which the person has read conversations, where the broker does not know it yet. Most have none. */
  #reads: ReadPositions | undefined;
  /** The same of what is not told to others. */
  #privateReads: ReadPositions | undefined;
  /** The highest of those positions. */
  #readsUpTo = 0;
  /** Positions handed over per conversation and not yet confirmed: what "delivered" is made from. Idle ones have none. */
  #unconfirmed: Map<string, Unconfirmed> | undefined;
  /** The device says that it has everything up to here: further on than the cursor until it is live, since it may know. */
  #acked = -1;
  /** Confirmations that come now are about another log. */
  #isForeign = false;
  /** The broker knows that it has everything up to here. */
  #reported = -1;
  /** True once the broker knows that it has everything from before this connection. */
  #isPastReported = false;
  /** Time of the last report, in milliseconds of `performance.now()`, and messages since. */
  #reportedAt = -Infinity;
  #unreported = 0;

  constructor(host: SessionHost, connection: Connection, identity: Identity) {
    this.#host = host;
    this.#connection = connection;
    this.#user = identity.user ?? "";
    this.admin = identity.admin ?? false;
    this.#gatheredMax = Math.min(GATHERED_CHARS_MAX, host.queueBytes / ROOM_PARTS);
  }

  get user(): string {
    return this.#user;
  }

  get level(): Level {
    return this.#level;
  }

  /** Device, or `~` for the base level, which has one position for all its connections. */
  get device(): string {
    return this.#device;
  }

  get origin(): string {
    return this.#origin;
  }

  get batch(): boolean {
    return this.#batch;
  }

  /** Keeps the order of what the peer sends, where it asked for that. */
  get order(): SendOrder | undefined {
    return this.#order;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** True once the peer has closed the connection on purpose. */
  get saidGoodbye(): boolean {
    return this.#saidGoodbye;
  }

  get away(): boolean {
    return this.#away;
  }

  // ---- In ----

  receive(data: unknown): void {
    if (this.#closed) return;
    try {
      if (typeof data !== "string") return this.refuse(new Refusal("binary_frame", "Send text frames, not binary ones"));
      if (isOverBytes(data, this.#host.frameBytes)) return this.#refuseOversized(data);
      const isPlain = this.#level !== "undecided" && !this.#settling && this.#inbox.length === 0 && !data.includes("\n");
      if (isPlain) return this.#host.handle(this, data);
      for (const line of linesOf(data)) {
        if (this.#closed) return;
        if (this.#settling) this.#keep(line);
        else this.#host.handle(this, line);
      }
    } catch (error) {
      this.#host.report(error, "receive");
      this.refuse(new Refusal("internal", "The server failed at this frame"));
    }
  }

  #refuseOversized(data: string): void {
    const limit = this.#host.frameBytes;
    if (data.length > limit * FRAME_ABSURD_FACTOR) return this.close("too_big", `A frame has at most ${limit} bytes`);
    this.refuse(new Refusal("too_large", `The frame is over ${limit} bytes`, idOf(data)));
  }

  #keep(line: string): void {
    this.#inboxChars += line.length;
    const isFull = this.#inbox.length >= INBOX_FRAMES_MAX || this.#inboxChars > INBOX_CHARS_MAX;
    if (isFull) this.close("flood", "Too many frames before the welcome");
    else this.#inbox.push(line);
  }

  gone(clean: boolean): void {
    this.#saidGoodbye = clean;
    this.end();
  }

  // ---- Who it is ----

  /** Calls `late` in `ms` milliseconds, unless the session is settled, closed or given another timer before. */
  startTimer(ms: number, late: () => void): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(late, ms);
  }

  /** Settles name, level and device. Frames wait from now until {@linkcode Session.release}; `first` is the first of them. */
  settle({ user, level, device, origin, batch, order }: Settled, first?: string): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#user = user;
    this.#level = level;
    this.#device = device;
    this.#origin = origin;
    this.#batch = batch;
    this.#order = order;
    this.#settling = true;
    if (first !== undefined) this.#inbox.push(first);
  }

  /**
   * Handles, in order, what arrived while the name was being settled. `isForeign`: the device resumed in another epoch, so the
   * positions of these frames say nothing here.
   */
  release(isForeign: boolean): void {
    this.#settling = false;
    this.#isForeign = isForeign;
    while (this.#inbox.length > 0 && !this.#closed && !this.#settling) this.#host.handle(this, this.#inbox.shift()!);
    this.#isForeign = false;
    if (this.#inbox.length === 0) this.#inboxChars = 0;
  }

  /** Forgets what the connection has been: it becomes another device, for which nothing of the old one counts. */
  restart(): void {
    this.flush();
    this.#generation++;
    this.#live = false;
    this.#unconfirmed = undefined;
    this.#acked = this.#reported = -1;
    this.#isPastReported = false;
  }

  /** Sets whether the person is away; returns whether that changed. */
  setAway(away: boolean): boolean {
    if (this.#away === away) return false;
    this.#away = away;
    return true;
  }

  /** Consumes the device's turn to signal typing; false where the last one was just now. */
  mayType(): boolean {
    const now = performance.now();
    if (now - this.#lastTyping < TYPING_INTERVAL_MS) return false;
    this.#lastTyping = now;
    return true;
  }

  /** Returns `recipient` as the same string as last time, which every map on its way finds faster. */
  sharedRecipient(recipient: string): string {
    if (recipient !== this.#lastRecipient) this.#lastRecipient = recipient;
    return this.#lastRecipient;
  }

  // ---- Out ----

  /** Queues one frame for the end of the turn. */
  send(frame: ServerFrame): void {
    this.queue(encode(frame));
  }

  /** Answers a frame with a refusal that is nobody's fault, or is counted elsewhere. */
  answer(refusal: Refusal): void {
    this.#host.meter.refused(refusal.code);
    this.send(refusal.toFrame());
  }

  /** Answers a bad frame; too many close the connection. */
  refuse(refusal: Refusal): void {
    this.answer(refusal);
    this.#refusals ??= new RefusalCount();
    if (this.#refusals.add(performance.now()) > this.#host.refusalsMax) this.close("policy", "Too many bad frames");
  }

  /** Tells the peer what became of a message. */
  acknowledge({ id }: Draft, result: Appended): void {
    if ("code" in result) this.refuse(new Refusal(result.code, result.message, id));
    else if (id !== undefined) this.queue(encodeAck(id, result));
  }

  /** Tells the peer that the broker failed at a message. */
  notStored({ id }: Draft): void {
    this.answer(new Refusal("unavailable", "The message could not be stored; send it again", id));
  }

  /** Queues one encoded frame for the end of the turn. */
  queue(line: string): void {
    if (this.#closed) return;
    if (this.#out.length === 0) this.#scheduleFlush();
    this.#out.push(line);
    this.#outChars += line.length;
    if (this.#outChars > this.#gatheredMax) this.flush();
  }

  #scheduleFlush(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#host.scheduleFlush(this);
  }

  /** Ends the wait for the end of the turn, and hands over what is queued. */
  endTurn(): void {
    this.#isScheduled = false;
    this.flush();
  }

  /** Hands over what is queued: as frames of many lines where the peer takes them, else one by one. */
  flush(): void {
    if (this.#out.length === 0 || this.#closed) return;
    const lines = taken(this.#out);
    this.#outChars = 0;
    if (lines.length === 1) return this.#write(lines[0]!);
    if (!this.#batch) {
      for (const line of lines) this.#write(line);
      return;
    }
    this.#write(lines.join("\n"));
  }

  /** True while the connection is not keeping up: frames that may be lost should be. */
  get congested(): boolean {
    return this.#connection.buffered > this.#host.queueBytes / BACKLOG_PARTS;
  }

  /** Returns whether a frame may be queued to the connection. Asking how full that is costs a call into the runtime. */
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

  /** Resolves when there is room for more; writes what is queued first. */
  async drained(): Promise<void> {
    this.flush();
    let least = this.#connection.buffered;
    let since = performance.now();
    const waitMs = this.#connection.drained ? STALL_MS : DRAIN_POLL_MS;
    while (this.congested && !this.#closed) {
      await new Promise<void>((resume) => {
        this.#paused = { timer: setTimeout(resume, waitMs), resume };
        void this.#connection.drained?.().then(resume);
      });
      clearTimeout(this.#paused?.timer);
      this.#paused = undefined;
      if (this.#connection.buffered < least) {
        least = this.#connection.buffered;
        since = performance.now();
      } else if (performance.now() - since >= STALL_MS) {
        this.close("slow", "Nothing was read for long; reconnect and resume");
      }
    }
  }

  /** Resolves in `ms` milliseconds, or when the session ends. */
  async pause(ms: number): Promise<void> {
    if (this.#closed) return;
    await new Promise<void>((resume) => this.#paused = { timer: setTimeout(resume, ms), resume });
    this.#paused = undefined;
  }

  /** Closes the connection and leaves the hub. What is queued is written first, unless the peer is slow. */
  close(name: CloseName, reason: string): void {
    if (this.#closed) return;
    if (name !== "slow") this.flush();
    this.end();
    const { code } = CLOSE_CODES[name];
    this.#host.meter.closed(code);
    this.#connection.close(code, reason);
  }

  /** Ends the session of a connection that is gone. Idempotent: a socket's close can be reported twice. */
  end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#inbox.length = 0;
    clearTimeout(this.#timer);
    if (this.#paused) {
      clearTimeout(this.#paused.timer);
      this.#paused.resume();
    }
    this.#host.unregister(this);
  }

  // ---- Messages ----

  /** Queues a message of the user's from the subscription, if it is due to this device now. */
  deliver(message: Stored): void {
    this.#newest = message.seq;
    if (this.#live && message.seq > this.#cursor && this.#advancePast(message)) this.#queueMessage(message);
  }

  #queueMessage(message: Stored): void {
    this.#host.meter.delivered(isGroup(message.recipient));
    this.queue(this.#host.line(this, message));
  }

  /** True while the device's backlog is being read. */
  get isBehind(): boolean {
    return !this.#live && this.#level !== "undecided";
  }

  /** Bytes handed to the transport that its network has not taken, for the operator. */
  get queuedBytes(): number {
    return this.#connection.buffered;
  }

  /** Advances past a message; returns whether the device gets it: all but what it sent itself. */
  #advancePast(message: Stored): boolean {
    this.#cursor = message.seq;
    this.#unreported++;
    this.#confirmations += CONFIRMATIONS_PER_MESSAGE;
    if (message.sender === this.#user) return !this.#isOwn(message);
    this.#unconfirmed ??= new Map();
    const conversation = isGroup(message.recipient) ? message.recipient : message.sender;
    const positions = this.#unconfirmed.get(conversation);
    if (positions) positions.newest = message.seq;
    else this.#unconfirmed.set(conversation, { oldest: message.seq, newest: message.seq });
    return true;
  }

  #isOwn(message: Stored): boolean {
    if (this.#level === "extended") return message.origin === this.#device;
    // A base connection has no copy of what another one of the user sent while this one was away.
    return message.origin === this.#origin || (!this.#live && isBaseDevice(message.origin));
  }

  /**
   * Reads what was missed after `position` and then goes live. Live messages that arrive meanwhile neither overtake nor double:
   * they are left to the next page. The session is live once a page has nothing more and the subscription has shown nothing
   * since that page was asked for; a message shown before and not in the page is no longer the user's to read.
   */
  async catchUp(position: number): Promise<void> {
    this.#cursor = position;
    const generation = this.#generation;
    for (;;) {
      const shown = this.#newest;
      const page = await timed(this.#host.slow, "backlog", this.#host.broker.read(this.#user, this.#cursor, BACKLOG_PAGE));
      if (this.#closed || generation !== this.#generation) return;
      for (const message of page.messages) {
        if (this.congested) await this.drained();
        if (this.#closed || generation !== this.#generation) return;
        if (this.#advancePast(message)) this.#queueMessage(message);
      }
      if (!page.more && this.#newest <= Math.max(this.#cursor, shown)) break;
    }
    this.#live = true;
    this.#acked = Math.min(this.#acked, this.#cursor);
    if (this.#level === "extended") this.send({ type: "synced", seq: this.#cursor });
  }

  // ---- Confirmations ----

  /** Consumes one of the acks and receipts that come with messages and count for nothing; false where none is left. */
  mayConfirm(): boolean {
    return this.#confirmations > 0 && this.#confirmations-- > 0;
  }

  /** Confirms that the device has everything up to `seq`: what it gets again counts as soon as it was handed over. */
  confirm(seq: number): void {
    if (this.#isForeign) return;
    this.#acked = Math.max(this.#acked, this.#live ? Math.min(seq, this.#cursor) : seq);
    if (this.isUnreported) this.#scheduleFlush();
  }

  /** Notes that the person has read the conversation with `other` up to `seq`; privately: others are not told. */
  read(other: string, seq: number, isPrivate = false): void {
    if (this.#isForeign) return;
    const reads = isPrivate ? this.#privateReads ??= new Map() : this.#reads ??= new Map();
    reads.set(other, Math.max(reads.get(other) ?? 0, seq));
    this.#readsUpTo = Math.max(this.#readsUpTo, seq);
    this.#scheduleFlush();
  }

  /** Everything up to here was handed over and confirmed. */
  get #confirmed(): number {
    return Math.min(this.#acked, this.#cursor);
  }

  /** True where the broker can be told what was read: positions beyond the cursor wait for the backlog. */
  get #hasReads(): boolean {
    return (this.#reads ?? this.#privateReads) !== undefined && (this.#live || this.#readsUpTo <= this.#cursor);
  }

  /** True while the device has something that the broker does not know of. */
  get isUnreported(): boolean {
    return this.#confirmed !== this.#reported || this.#hasReads || (this.#level === "base" && this.#cursor > this.#reported);
  }

  /** Returns whether enough time or messages have passed since the last report; `now` on the clock of `performance.now()`. */
  isReportDue(now: number, intervalMs: number, messages: number): boolean {
    return now - this.#reportedAt >= intervalMs || this.#unreported >= messages;
  }

  /**
   * Adds to `moves` and `marks` what the broker does not know yet of the device; `now` as for {@linkcode Session.isReportDue}.
   * Returns the position up to which the device has everything, in conversations too of which nothing came on this connection: the
   * first time that it has confirmed something, else undefined.
   */
  takeReport(now: number, moves: DeviceMove[], marks: MarkerMove[]): number | undefined {
    this.#reportedAt = now;
    this.#unreported = 0;
    const past = this.#takeConfirmed(moves, marks);
    if (!this.#hasReads) return past;
    const read = (other: string, seq: number) => {
      return { user: this.#user, kind: "read", with: other, seq: Math.min(seq, this.#cursor) } as const;
    };
    for (const [other, seq] of this.#reads ?? []) marks.push(read(other, seq));
    for (const [other, seq] of this.#privateReads ?? []) marks.push({ ...read(other, seq), private: true });
    this.#reads = this.#privateReads = undefined;
    this.#readsUpTo = 0;
    return past;
  }

  #takeConfirmed(moves: DeviceMove[], marks: MarkerMove[]): number | undefined {
    // A base connection cannot confirm: what was handed to its socket counts.
    if (this.#level === "base" && this.#out.length === 0) this.#acked = Math.max(this.#acked, this.#cursor);
    const confirmed = this.#confirmed;
    if (confirmed === this.#reported) return undefined;
    this.#reported = confirmed;
    for (const [conversation, positions] of this.#unconfirmed ?? []) {
      const { oldest, newest } = positions;
      if (oldest > confirmed) continue; // a marker that covers no message costs as much as one that does
      if (newest <= confirmed) this.#unconfirmed!.delete(conversation);
      else positions.oldest = confirmed + 1;
      marks.push({ user: this.#user, kind: "delivered", with: conversation, seq: Math.min(newest, confirmed) });
    }
    moves.push({ user: this.#user, device: this.#device, seq: confirmed });
    if (this.#isPastReported || confirmed === 0) return undefined;
    this.#isPastReported = true;
    return confirmed;
  }
}
