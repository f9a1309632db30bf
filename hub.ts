/**
 * The hub: who is connected here, and the routing of what they send.
 *
 * 1. A transport accepts a peer and gives it to {@linkcode Hub.connect} as a {@linkcode Connection}.
 * 2. The peer says who it is (token, `?name=`, `hello`, or the `sender` of its first frame) and becomes a device of a user.
 * 3. Messages that arrive within one turn of the event loop are appended to the {@linkcode Broker} together.
 * 4. Delivery comes from the broker's subscription, never straight from the sender's frame.
 * 5. What is due to a connection is gathered and handed over at the end of the turn; one that does not read is closed.
 *
 * The hub knows no socket, no SQL and no engine.
 */

import type { Appended, Broker, Draft, Stored, Subscriber, Subscription } from "./broker.ts";
import { Confirmations } from "./hub/confirmations.ts";
import type { Connection, Identity, Receiver } from "./hub/connection.ts";
import { LineCache } from "./hub/encoding.ts";
import { Handshake, type HandshakeHost, HELLO_GRACE_MS, HELLO_TIMEOUT_MS } from "./hub/handshake.ts";
import type { ConnectedUser, NodeLocal, Status } from "./hub/node_local.ts";
import { LastSeenKeeper } from "./hub/last_seen.ts";
import { Presence } from "./hub/presence.ts";
import { handleRequest, type RequestHost } from "./hub/requests.ts";
import type { Author, SendOrderHost } from "./hub/send_order.ts";
import { Session, type SessionHost } from "./hub/session.ts";
import {
  type ClientFrame,
  type CloseName,
  CONTENT_BYTES_MAX,
  FRAME_BYTES_MAX,
  type Limits,
  type Message,
  parseClientFrame,
  Refusal,
  utf8Bytes,
} from "./protocol.ts";

export { CONFIRM_MESSAGES } from "./hub/confirmations.ts";
export { HELLO_TIMEOUT_MS } from "./hub/handshake.ts";
export { RefusalCount } from "./hub/refusal_count.ts";
export type { Connection, Identity, Receiver } from "./hub/connection.ts";

/** Bytes queued to one connection before it is closed to resume later: minutes of chat, a thousandth of a small machine. */
export const QUEUE_BYTES_MAX = 1_048_576;
/** Refused frames in a minute before the connection is closed: a fuzzer by hand stays below it, a flood does not. */
export const REFUSALS_MAX = 1_000;
/** Devices of one user at a time: every one costs a copy of everything. */
export const DEVICES_MAX = 32;

/**
 * Connections written to in one turn of the event loop. Deno's runtime reads at most 128 sockets a turn, those first that became
 * readable last; were all written to at once, the peers just answered would take the whole of the next turn again, and others
 * starve. Half of it leaves room for those who wait, and costs no throughput.
 */
const FLUSH_CONNECTIONS_MAX = 64;
/** UTF-16 units of content that count as another frame against the rate: what people type is one, a flood of pages is many. */
const RATE_CONTENT_CHARS = 4_096;

/** Frames that a search counts as against the rate: it costs the server as much as several messages. */
const SEARCH_COST = 4;

/** Limit on how much a user may send. */
export interface RateLimit {
  /**
   * Consumes `cost` of the user's allowance. Returns the milliseconds to wait: 0 to go on, Infinity to close the connection for
   * abuse.
   */
  consume(user: string, cost: number): number;
}

/** Parts and limits of a {@linkcode Hub}. */
export interface HubOptions {
  readonly broker: Broker;
  /** Calls back at the end of this turn of the event loop. Default: a microtask. */
  readonly defer?: (callback: () => void) => void;
  readonly frameBytes?: number;
  readonly contentBytes?: number;
  readonly queueBytes?: number;
  readonly helloTimeoutMs?: number;
  readonly helloGraceMs?: number;
  readonly refusalsMax?: number;
  readonly devicesMax?: number;
  readonly confirmIntervalMs?: number;
  /** A part of what may wait for a user: what was confirmed, and not told yet, still counts as waiting. */
  readonly confirmMessages?: number;
  readonly presenceGraceMs?: number;
  readonly rateLimit?: RateLimit;
  /** Limit on bytes of content that a user may send. */
  readonly quota?: RateLimit;
  /** Returns why no messages are taken at this moment, as a sentence for their senders; undefined while they are. */
  readonly refusesMessages?: () => string | undefined;
  /** Rate as `welcome` says it: frames per second and burst, 0 for none. */
  readonly rate?: { readonly rate: number; readonly burst: number };
  /** Told that the administrator `by` has disconnected `user`, who had so many connections. */
  readonly disconnected?: (user: string, by: string, connections: number) => void;
  /** Receives failures that no peer can be blamed for. Never given content. */
  readonly report?: (error: unknown, where: string) => void;
}

/** A user with at least one device here. */
interface Member {
  readonly sessions: Set<Session>;
  readonly subscription: Subscription;
}

/** Routes between the connections of this process by recipient, through the broker. */
export class Hub implements NodeLocal, SessionHost, HandshakeHost, RequestHost, SendOrderHost {
  readonly broker: Broker;
  readonly limits: Limits;
  readonly frameBytes: number;
  readonly queueBytes: number;
  readonly refusalsMax: number;
  readonly helloTimeoutMs: number;
  readonly helloGraceMs: number;
  readonly presence: Presence;
  readonly #options: HubOptions;
  readonly #defer: (callback: () => void) => void;
  readonly #handshake: Handshake;
  readonly #confirmations: Confirmations;
  readonly #lastSeen: LastSeenKeeper;
  readonly #lines = new LineCache();
  /** The registry: every user with a connection here. */
  readonly #members = new Map<string, Member>();
  readonly #sessions = new Set<Session>();
  #drafts: Draft[] = [];
  #authors: Author[] = [];
  /** Sessions with something to write, in the order in which they got it. */
  readonly #scheduled: Session[] = [];
  #turnDue = false;
  #turnCount = 0;
  /** Appends and requests that the broker has not answered. */
  #inFlight = 0;
  #idle: (() => void) | undefined;
  #isDraining = false;
  readonly #turn = () => this.#endTurn();

  constructor(options: HubOptions) {
    this.#options = options;
    this.broker = options.broker;
    this.frameBytes = options.frameBytes ?? FRAME_BYTES_MAX;
    this.queueBytes = options.queueBytes ?? QUEUE_BYTES_MAX;
    this.refusalsMax = options.refusalsMax ?? REFUSALS_MAX;
    this.helloTimeoutMs = options.helloTimeoutMs ?? HELLO_TIMEOUT_MS;
    this.helloGraceMs = options.helloGraceMs ?? HELLO_GRACE_MS;
    this.limits = {
      frame: this.frameBytes,
      content: options.contentBytes ?? CONTENT_BYTES_MAX,
      rate: options.rate?.rate ?? 0,
      burst: options.rate?.burst ?? 0,
    };
    this.#defer = options.defer ?? queueMicrotask;
    this.presence = new Presence((user) => this.statusOf(user), options.presenceGraceMs);
    this.#handshake = new Handshake(this);
    this.#lastSeen = new LastSeenKeeper({
      broker: this.broker,
      users: () => this.#members.keys(),
      report: (error, where) => this.report(error, where),
    });
    this.#confirmations = new Confirmations({
      broker: this.broker,
      intervalMs: options.confirmIntervalMs,
      messages: options.confirmMessages,
      report: (error, where) => this.report(error, where),
    });
  }

  // ---- Registry ----

  /** Takes a connected peer. The transport feeds the {@linkcode Receiver} it gets back. */
  connect(connection: Connection, identity: Identity = {}): Receiver {
    const session = new Session(this, connection, identity);
    this.#sessions.add(session);
    this.#handshake.begin(session);
    return session;
  }

  /** Users, sessions and watched users: all zero when nobody is connected. */
  get counts(): { users: number; sessions: number; presence: number } {
    return { users: this.#members.size, sessions: this.#sessions.size, presence: this.presence.size };
  }

  register(session: Session): boolean {
    const { user } = session;
    if (session.level === "extended") this.replaceDevice(session);
    if (!this.hasRoomForDevice(user)) {
      session.close("overloaded", `"${user}" has too many devices connected`);
      return false;
    }
    const before = this.statusOf(user);
    let member = this.#members.get(user);
    if (!member) {
      const sessions = new Set<Session>();
      member = { sessions, subscription: this.broker.subscribe(user, this.#subscriber(sessions)) };
      this.#members.set(user, member);
    }
    member.sessions.add(session);
    this.presence.changed(user, before);
    this.#lastSeen.joined();
    return true;
  }

  withdraw(session: Session): void {
    this.unregister(session);
    session.restart();
    this.#sessions.add(session);
  }

  /** Takes a session out of the registry; the last device takes the user's entry with it. Idempotent. */
  unregister(session: Session): void {
    this.#sessions.delete(session);
    this.presence.unwatch(session);
    this.reportConfirmed([session]);
    const { user } = session, member = this.#members.get(user), before = this.statusOf(user);
    if (!member?.sessions.delete(session)) return;
    if (member.sessions.size > 0) return this.presence.changed(user, before);
    member.subscription.close();
    this.#members.delete(user);
    const now = Date.now();
    this.presence.left(user, session.saidGoodbye, now);
    this.#lastSeen.left(user, now);
  }

  // ---- Decisions that see this process only (hub/node_local.ts) ----

  replaceDevice(session: Session): void {
    for (const other of this.#members.get(session.user)?.sessions ?? []) {
      if (other.device === session.device) other.close("replaced", "This device connected again");
    }
  }

  hasRoomForDevice(user: string): boolean {
    return (this.#members.get(user)?.sessions.size ?? 0) < (this.#options.devicesMax ?? DEVICES_MAX);
  }

  list(): ConnectedUser[] {
    return [...this.#members].map(([user, { sessions }]) => ({ user, devices: [...sessions].map(({ device }) => device) }));
  }

  disconnect(user: string, name: CloseName, reason: string): number {
    const sessions = [...this.#sessions].filter((session) => session.user === user);
    for (const session of sessions) session.close(name, reason);
    return sessions.length;
  }

  disconnectedBy(by: string, user: string, connections: number): void {
    this.#options.disconnected?.(user, by, connections);
  }

  statusOf(user: string): Status {
    const sessions = this.#members.get(user)?.sessions;
    if (!sessions) return "offline";
    for (const session of sessions) if (!session.away) return "online";
    return "away";
  }

  consumeRate(user: string, cost: number): number {
    return this.#options.rateLimit?.consume(user, cost) ?? 0;
  }

  consumeQuota(user: string, bytes: number): number {
    return this.#options.quota?.consume(user, bytes) ?? 0;
  }

  // ---- Routing: what arrives ----

  handle(session: Session, text: string): void {
    if (this.#isDraining) return; // without an ack it is sent again, to the server that comes next
    const frame = parseClientFrame(text, this.limits.content);
    if (frame instanceof Refusal) return session.refuse(frame);
    if (session.level === "undecided" && !this.#handshake.decide(session, frame, text)) return;
    if (frame.type === undefined) return this.#message(session, frame);
    if (frame.type === "hello") return this.#handshake.hello(session, frame);
    if (session.level !== "extended") {
      return session.refuse(Refusal.of(frame, "hello_required", `Send hello before frames of type "${frame.type}"`));
    }
    const isFree = (frame.type === "ack" || frame.type === "receipt") && session.mayConfirm();
    if (!isFree && !this.#consume(session, frame, frame.type === "search" ? SEARCH_COST : 1)) return;
    const handled = handleRequest(this, session, frame);
    if (handled) void this.#finish(handled, session, frame);
  }

  /** Waits for a request that asked the broker: a drain does not cut it off. */
  async #finish(handled: Promise<void>, session: Session, frame: ClientFrame): Promise<void> {
    this.#inFlight++;
    try {
      await handled;
    } catch (error) {
      this.report(error, String(frame.type));
      session.refuse(Refusal.of(frame, "unavailable", "The server could not do this now; try again"));
    }
    this.#ended();
  }

  /** Ends one call to the broker; the last of them ends a drain. */
  #ended(): void {
    this.#inFlight--;
    if (this.#idle) this.#wake();
  }

  #message(session: Session, frame: Message): void {
    const { user: sender, origin } = session, { content, id } = frame;
    if (frame.sender !== sender) {
      const words = `You are "${sender}" and cannot send as "${frame.sender}"`;
      return session.refuse(Refusal.of(frame, "forbidden", words));
    }
    const recipient = session.sharedRecipient(frame.recipient);
    const { order } = session;
    if (order && !order.admit(recipient, id, frame.again === true)) return;
    if (!this.#mayBeStored(session, frame)) return order?.hold(recipient);
    const draft = { sender, recipient, content, id, origin };
    if (order) order.append(draft);
    else this.add(draft, session);
  }

  /** Returns whether rate, disk and quota let a message through; refuses it where they do not. */
  #mayBeStored(session: Session, frame: Message): boolean {
    if (!this.#consume(session, frame, 1 + Math.floor(frame.content.length / RATE_CONTENT_CHARS))) return false;
    const closed = this.#options.refusesMessages?.();
    if (closed === undefined) return !this.#options.quota || this.#isWithinQuota(session, frame);
    session.answer(Refusal.of(frame, "unavailable", closed));
    return false;
  }

  /**
   * Takes a message from a backend, without a connection: names are canonical and content is valid, as the parsers of
   * protocol.ts give them. It goes to every device of the recipient and of the sender. Resolves with its position, a duplicate's
   * old one, or a refusal; the message is durable then.
   */
  submit(message: Pick<Draft, "sender" | "recipient" | "content" | "id">): Promise<Appended> {
    const closed = this.#options.refusesMessages?.();
    if (closed !== undefined) return Promise.resolve({ code: "unavailable", message: closed });
    return new Promise((resolve) => {
      this.add({ ...message, origin: "" }, {
        acknowledge: (_, result) => resolve(result),
        notStored: () => resolve({ code: "unavailable", message: "The message could not be stored; send it again" }),
      });
    });
  }

  /** Number of the current turn. */
  get turn(): number {
    return this.#turnCount;
  }

  add(draft: Draft, author: Author): void {
    this.#drafts.push(draft);
    this.#authors.push(author);
    this.#wake();
  }

  /** Counts a frame against the user's rate; false where it is over and was refused. */
  #consume(session: Session, frame: ClientFrame, cost: number): boolean {
    const wait = this.consumeRate(session.user, cost);
    return wait === 0 || this.#slowDown(session, Refusal.of(frame, "rate_limited", "Too many frames; slow down"), wait);
  }

  /** Counts the content of a message against what the user may send in a day; false where it is over and was refused. */
  #isWithinQuota(session: Session, frame: Message): boolean {
    const wait = this.consumeQuota(session.user, utf8Bytes(frame.content));
    const words = "You have sent as much as one may in a day; try again later";
    return wait === 0 || this.#slowDown(session, Refusal.of(frame, "quota_exceeded", words), wait);
  }

  /** Refuses a frame that came too early by `wait` milliseconds; Infinity closes the connection. Returns false. */
  #slowDown(session: Session, refusal: Refusal, wait: number): false {
    if (wait === Infinity) {
      session.close("flood", "The rate limit was ignored for long");
      return false;
    }
    refusal.retryAfterMs = Math.ceil(wait);
    session.answer(refusal);
    return false;
  }

  // ---- Routing: what is delivered ----

  #subscriber(sessions: ReadonlySet<Session>): Subscriber {
    return {
      message: (message) => {
        for (const session of sessions) session.deliver(message);
      },
      signal: (signal) => {
        for (const session of sessions) {
          if (session.level === "extended" && !session.congested) session.queue(this.#lines.signal(signal));
        }
      },
    };
  }

  line(session: Session, message: Stored): string {
    return this.#lines.message(message, session.level === "base");
  }

  reportConfirmed(sessions: readonly Session[]): void {
    this.#confirmations.report(sessions);
  }

  // ---- The turn ----

  scheduleFlush(session: Session): void {
    this.#scheduled.push(session);
    this.#wake();
  }

  #wake(): void {
    if (this.#turnDue) return;
    this.#turnDue = true;
    this.#defer(this.#turn);
  }

  #endTurn(): void {
    this.#turnDue = false;
    this.#turnCount++;
    if (this.#drafts.length > 0) {
      const drafts = this.#drafts, authors = this.#authors;
      this.#drafts = [];
      this.#authors = [];
      void this.#append(drafts, authors);
    }
    // A broker in memory has answered by the next microtask: acks then leave together with what they are for.
    queueMicrotask(this.#flush);
  }

  async #append(drafts: readonly Draft[], authors: readonly Author[]): Promise<void> {
    this.#inFlight++;
    try {
      const results = await this.broker.append(drafts);
      for (let i = 0; i < drafts.length; i++) authors[i]!.acknowledge(drafts[i]!, results[i]!);
    } catch (error) {
      this.report(error, "append");
      for (const [index, draft] of drafts.entries()) authors[index]!.notStored(draft);
    }
    this.#ended();
  }

  readonly #flush = (): void => {
    const due = this.#scheduled.splice(0, FLUSH_CONNECTIONS_MAX);
    for (const session of due) session.endTurn();
    this.#confirmations.gather(due);
    if (this.#scheduled.length > 0) return this.#wake();
    if (this.#idle && !this.#turnDue && this.#inFlight === 0) this.#idle();
  };

  /**
   * Takes no more frames, lets what is in flight finish, then closes every connection. Frames that still come are not answered:
   * their senders have no ack for them, and send them again after the close. `deadline` ends the wait for the broker.
   */
  async drain(name: CloseName, reason: string, deadline?: Promise<void>): Promise<void> {
    this.#isDraining = true;
    this.#wake();
    await Promise.race([new Promise<void>((resolve) => this.#idle = resolve), ...deadline ? [deadline] : []]);
    for (const session of [...this.#sessions]) session.close(name, reason);
    this.presence.close();
  }

  report(error: unknown, where: string): void {
    this.#options.report?.(error, where);
  }
}
