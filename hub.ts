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

import type { Appended, Broker, BrokerRefusal, ConnectedUser, Draft, Signal, Stored } from "./broker.ts";
import { delay } from "@std/async/delay";
import { Allowance } from "./hub/allowance.ts";
import { taken } from "./hub/arrays.ts";
import { Backend, type BackendHost } from "./hub/backend.ts";
import { Confirmations } from "./hub/confirmations.ts";
import type { Connection, Identity, Receiver } from "./hub/connection.ts";
import { MessageDraft } from "./hub/draft.ts";
import { LineCache } from "./hub/encoding.ts";
import { Handshake, type HandshakeHost, HELLO_GRACE_MS, HELLO_TIMEOUT_MS } from "./hub/handshake.ts";
import { Elsewhere, type ElsewhereHost, higher } from "./hub/elsewhere.ts";
import { type Meter, NO_METER, type SlowWatch, timed } from "./hub/meter.ts";
import type { NodeLocal, Status } from "./hub/node_local.ts";
import { LastSeenKeeper } from "./hub/last_seen.ts";
import { DEVICES_MAX, type HubOptions, QUEUE_BYTES_MAX, REFUSALS_MAX } from "./hub/options.ts";
import { Presence } from "./hub/presence.ts";
import { Member, type MemberHost } from "./hub/member.ts";
import { handleRequest } from "./hub/requests.ts";
import type { Author, SendOrderHost } from "./hub/send_order.ts";
import { Session, type SessionHost } from "./hub/session.ts";
import {
  type ClientFrame,
  type CloseName,
  CONTENT_BYTES_MAX,
  FRAME_BYTES_MAX,
  isGroup,
  type Limits,
  type Message,
  parseClientFrame,
  Refusal,
} from "./protocol.ts";

export type { Backend, UserStatus } from "./hub/backend.ts";
export { CONFIRM_MESSAGES } from "./hub/confirmations.ts";
export { timestamp } from "./hub/encoding.ts";
export { HELLO_TIMEOUT_MS } from "./hub/handshake.ts";
export { DEVICES_MAX, type HubOptions, QUEUE_BYTES_MAX, type RateLimit, REFUSALS_MAX } from "./hub/options.ts";
export { RefusalCount } from "./hub/refusal_count.ts";
export type { Connection, Identity, Receiver } from "./hub/connection.ts";
export type { Meter, SlowWatch } from "./hub/meter.ts";

/**
 * Connections written to in one turn of the event loop. Deno's runtime reads at most 128 sockets a turn, those first that became
 * readable last; were all written to at once, the peers just answered would take the whole of the next turn again, and others
 * starve. Half of it leaves room for those who wait, and costs no throughput.
 */
const FLUSH_CONNECTIONS_MAX = 64;
/** Users of other nodes in one list of an administrator: more than an answer has room for. */
const LISTED_MAX = 10_000;
/** Connections that a drain closes in a second at most, while it has time: they come back to others, each with a handshake. */
const DRAIN_RATE = 1_000;
/** Milliseconds between two closes of a drain that takes its time. */
const DRAIN_STEP_MS = 50;

/** Routes between the connections of this process by recipient, through the broker. */
export class Hub implements NodeLocal, SessionHost, MemberHost, HandshakeHost, BackendHost, SendOrderHost, ElsewhereHost {
  readonly broker: Broker;
  readonly limits: Limits;
  readonly frameBytes: number;
  readonly queueBytes: number;
  readonly refusalsMax: number;
  readonly helloTimeoutMs: number;
  readonly helloGraceMs: number;
  readonly presence: Presence;
  readonly meter: Meter;
  /** Questions and changes of backends, beside {@linkcode Hub.submit}. */
  readonly backend: Backend = new Backend(this);
  readonly #options: HubOptions;
  readonly slow: SlowWatch | undefined;
  readonly #defer: (callback: () => void) => void;
  readonly #handshake: Handshake;
  readonly #allowance: Allowance;
  readonly #elsewhere: Elsewhere;
  readonly #confirmations: Confirmations;
  readonly #lastSeen: LastSeenKeeper;
  readonly #lines = new LineCache();
  /** The registry: every user with a connection here. */
  readonly #members = new Map<string, Member>();
  readonly #sessions = new Set<Session>();
  readonly #drafts: Draft[] = [];
  readonly #authors: Author[] = [];
  /** Sessions with something to write, in the order in which they got it. */
  readonly #scheduled: Session[] = [];
  #turnDue = false;
  #turnCount = 0;
  /** Start of the turn whose end is due, as of `performance.now()`; 0 where nobody watches. */
  #turnBegun = 0;
  /** Start of the turn that ends, which may make another one due before it has written; 0 once that is told. */
  #endingBegun = 0;
  /** Messages that it appends. */
  #endingMessages = 0;
  /** Time at which the oldest message that is not handed over came out of the broker, as of `performance.now()`. */
  #cameAt: number | undefined;
  /** Appends and requests that the broker has not answered. */
  #inFlight = 0;
  #idle: (() => void) | undefined;
  #isDraining = false;
  readonly #atTurnsEnd = () => this.#endTurn();

  constructor(options: HubOptions) {
    this.#options = options;
    this.broker = options.broker;
    this.meter = options.meter ?? NO_METER;
    this.slow = options.slow;
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
    this.presence = new Presence(
      (user) => this.statusOf(user),
      options.presenceGraceMs,
      (user) => this.#elsewhere.unwatch(user),
    );
    this.#elsewhere = new Elsewhere(options.cluster ?? options.broker.cluster, this);
    this.#handshake = new Handshake(this);
    this.#allowance = new Allowance(options);
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

  /** Counts connections by level, those whose backlog is being read, and the bytes queued to all. Looks at each of them. */
  measure(): { base: number; extended: number; undecided: number; behind: number; queuedBytes: number } {
    const counts = { base: 0, extended: 0, undecided: 0, behind: 0, queuedBytes: 0 };
    for (const session of this.#sessions) {
      counts[session.level]++;
      if (session.isBehind) counts.behind++;
      counts.queuedBytes += session.queuedBytes;
    }
    return counts;
  }

  /** Users, sessions and watched users: all zero when nobody is connected. */
  get counts(): { users: number; sessions: number; presence: number } {
    return { users: this.#members.size, sessions: this.#sessions.size, presence: this.presence.size };
  }

  sessionsOf(user: string): readonly Session[] {
    return this.#members.get(user)?.sessions ?? [];
  }

  claim(session: Session): Promise<number> {
    return this.#elsewhere.claim(session);
  }

  register(session: Session, elsewhere: number): boolean {
    const { user } = session;
    if (session.level === "extended") this.replaceDevice(session);
    if (!this.hasRoomForDevice(user, elsewhere)) {
      session.close("overloaded", `"${user}" has too many devices connected`);
      return false;
    }
    const before = this.statusOf(user);
    let member = this.#members.get(user);
    if (!member) {
      member = new Member(this);
      member.subscription = this.broker.subscribe(user, member);
      this.#members.set(user, member);
    }
    member.add(session);
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
    const wasHere = member?.remove(session) === true, now = Date.now();
    if (wasHere && member.sessions.length === 0) {
      member.subscription?.close();
      this.#members.delete(user);
    }
    this.#elsewhere.release(session, session.saidGoodbye, now);
    if (!wasHere) return;
    if (this.statusOf(user) !== "offline") this.presence.changed(user, before);
    else this.presence.left(user, session.saidGoodbye, now);
    if (member.sessions.length === 0) this.#lastSeen.left(user, now);
  }

  // ---- Decisions about the connections of this node, and of the others (hub/node_local.ts, hub/elsewhere.ts) ----

  replaceDevice(session: Session): void {
    for (const other of this.#members.get(session.user)?.sessions ?? []) {
      if (other.device === session.device) other.close("replaced", "This device connected again");
    }
  }

  hasRoomForDevice(user: string, elsewhere: number): boolean {
    return elsewhere + (this.#members.get(user)?.sessions.length ?? 0) < (this.#options.devicesMax ?? DEVICES_MAX);
  }

  async list(): Promise<ConnectedUser[]> {
    const devices = new Map<string, string[]>();
    for (const [user, { sessions }] of this.#members) devices.set(user, sessions.map(({ device }) => device));
    for (const { user, devices: others } of await this.#elsewhere.list(LISTED_MAX)) {
      devices.set(user, [...devices.get(user) ?? [], ...others]);
    }
    return [...devices].map(([user, devices]) => ({ user, devices }));
  }

  async disconnect(user: string): Promise<number> {
    const here = this.disconnectHere(user);
    return here + await this.#elsewhere.disconnect(user);
  }

  disconnectHere(user: string, name: CloseName = "revoked", reason = "An administrator disconnected you"): number {
    const sessions = [...this.#sessions].filter((session) => session.user === user);
    for (const session of sessions) session.close(name, reason);
    return sessions.length;
  }

  watchElsewhere(users: readonly string[]): Promise<void> {
    return this.#elsewhere.watch(users);
  }

  changedElsewhere(user: string, before: Status, clean: boolean, at: number): void {
    if (this.statusOf(user) === "offline") this.presence.left(user, clean, at);
    else this.presence.changed(user, higher(before, this.statusHere(user)));
  }

  statusChanged(session: Session, before: Status): void {
    this.#elsewhere.setAway(session);
    this.presence.changed(session.user, before);
  }

  revokedElsewhere(entries: ReadonlySet<string>): void {
    this.#options.revokedElsewhere?.(entries);
  }

  epochChanged(): void {
    for (const session of [...this.#sessions]) session.close("restart", "The log has another epoch; connect again");
  }

  disconnectedBy(by: string, user: string, connections: number): void {
    this.#options.disconnected?.(user, by, connections);
  }

  statusOf(user: string): Status {
    return higher(this.statusHere(user), this.#elsewhere.statusOf(user));
  }

  statusHere(user: string): Status {
    const sessions = this.#members.get(user)?.sessions;
    if (!sessions) return "offline";
    for (const session of sessions) if (!session.away) return "online";
    return "away";
  }

  consumeRate(user: string, cost: number): number {
    return this.#allowance.consumeRate(user, cost);
  }

  consumeQuota(user: string, bytes: number): number {
    return this.#allowance.consumeQuota(user, bytes);
  }

  // ---- Routing: what arrives ----

  handle(session: Session, text: string): void {
    if (this.#isDraining) return; // without an ack it is sent again, to the server that comes next
    const frame = parseClientFrame(text, this.limits.content);
    if (frame instanceof Refusal) {
      this.meter.received("invalid");
      return session.refuse(frame);
    }
    this.meter.received(frame.type ?? "message");
    if (session.level === "undecided" && !this.#handshake.decide(session, frame, text)) return;
    if (frame.type === undefined) return this.#message(session, frame);
    if (frame.type === "hello") return this.#handshake.hello(session, frame);
    if (session.level !== "extended") {
      return session.refuse(Refusal.of(frame, "hello_required", `Send hello before frames of type "${frame.type}"`));
    }
    const isFree = (frame.type === "ack" || frame.type === "receipt") && session.mayConfirm();
    if (!isFree && !this.#allowance.admits(session, frame)) return;
    const handled = handleRequest(this, session, frame);
    if (handled) void this.#finish(handled, session, frame);
  }

  /** Waits for a request that asked the broker: a drain does not cut it off. */
  async #finish(handled: Promise<void>, session: Session, frame: ClientFrame): Promise<void> {
    this.#inFlight++;
    try {
      await timed(this.slow, String(frame.type), handled);
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
    if (!this.#allowance.admitsMessage(session, frame)) return order?.hold(recipient);
    const draft = new MessageDraft(sender, recipient, content, id, origin);
    if (order) order.append(draft);
    else this.add(draft, session);
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

  // ---- Routing: what is delivered ----

  came(): void {
    this.#cameAt ??= performance.now();
  }

  signalLine(signal: Signal): string {
    return this.#lines.signal(signal);
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
    if (this.slow) this.#turnBegun = performance.now();
    this.#defer(this.#atTurnsEnd);
  }

  #endTurn(): void {
    this.#turnDue = false;
    this.#turnCount++;
    this.#endingBegun ||= this.#turnBegun;
    this.#endingMessages += this.#drafts.length;
    if (this.#drafts.length > 0) {
      void this.#append(taken(this.#drafts), taken(this.#authors));
    }
    // A broker in memory has answered by the next microtask: acks then leave together with what they are for.
    queueMicrotask(this.#flush);
  }

  async #append(drafts: readonly Draft[], authors: readonly Author[]): Promise<void> {
    this.#inFlight++;
    const begun = performance.now();
    try {
      const results = await this.broker.append(drafts);
      for (let i = 0; i < drafts.length; i++) {
        const draft = drafts[i]!, result = results[i]!;
        if ("code" in result) this.#refused(draft, result);
        else if (!result.duplicate) this.meter.stored(isGroup(draft.recipient));
        authors[i]!.acknowledge(draft, result);
      }
    } catch (error) {
      this.report(error, "append");
      for (const [index, draft] of drafts.entries()) authors[index]!.notStored(draft);
    }
    const ms = performance.now() - begun;
    this.meter.appended(ms / 1_000, drafts.length);
    this.slow?.appended(ms, drafts.length);
    this.#ended();
  }

  #refused({ recipient, sender }: Draft, { code }: BrokerRefusal): void {
    if (code === "mailbox_full") this.#options.mailboxFull?.(recipient, sender);
  }

  readonly #flush = (): void => {
    const due = this.#scheduled.splice(0, FLUSH_CONNECTIONS_MAX);
    for (const session of due) session.endTurn();
    if (this.#cameAt !== undefined && this.#scheduled.length === 0) {
      this.meter.written((performance.now() - this.#cameAt) / 1_000);
      this.#cameAt = undefined;
    }
    this.#confirmations.gather(due);
    if (this.slow && this.#endingBegun > 0) {
      this.slow.turned(performance.now() - this.#endingBegun, this.#endingMessages, due.length);
    }
    this.#endingBegun = this.#endingMessages = 0;
    if (this.#scheduled.length > 0) return this.#wake();
    if (this.#idle && !this.#turnDue && this.#inFlight === 0) this.#idle();
  };

  /** Closes the connections that there are, spread over up to `ms` milliseconds, in which the others are served as before. */
  async disperse(name: CloseName, reason: string, ms: number): Promise<void> {
    const sessions = [...this.#sessions];
    const time = Math.min(ms, sessions.length / DRAIN_RATE * 1_000), begun = performance.now();
    let next = 0;
    while (next < sessions.length && time > DRAIN_STEP_MS) {
      const due = Math.ceil(sessions.length * (performance.now() - begun) / time);
      for (; next < Math.min(due, sessions.length); next++) sessions[next]!.close(name, reason);
      if (next < sessions.length) await delay(DRAIN_STEP_MS);
    }
  }

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
