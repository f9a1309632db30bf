/**
 * The hub: who is connected here, and the routing of what they send.
 *
 * 1. A transport accepts a peer and gives it to {@linkcode Hub.connect} as a {@linkcode Connection}.
 * 2. The peer says who it is (token, `?name=`, `hello`, or the `sender` of its first frame) and becomes a device of a user.
 * 3. Messages that arrive within one turn of the event loop are appended to the {@linkcode Broker} together.
 * 4. Delivery comes from the broker's subscription, never straight from the sender's frame.
 * 5. What is due to a connection is gathered and handed over at the end of the turn; one that does not read is closed.
 *
 * The hub knows no socket, no SQL and no NATS.
 */

import { encodeAck, encodeBase, encodeExtended, toReceipt } from "./encoding.ts";
import { Presence } from "./presence.ts";
import {
  type ClientFrame,
  type ClientFrameOf,
  type CloseName,
  CONTENT_BYTES_MAX,
  encode,
  type ErrorCode,
  FRAME_BYTES_MAX,
  isOverBytes,
  type Limits,
  linesOf,
  type Message,
  parseClientFrame,
  PROTOCOL_VERSION,
  Refusal,
  type ServerFrameOf,
} from "./protocol.ts";
import { handleRequest } from "./requests.ts";
import { Session, type SessionHost } from "./session.ts";

// ---- Ports: what the hub needs of the world ----------------------------------------------------------------------------------

/** One device of one user, as bytes out. Implemented by a transport. */
export interface Connection {
  /** Bytes handed over and not yet taken by the network. */
  readonly buffered: number;
  /** Hands over one text frame. False when the connection is closed and took nothing. Never throws, never blocks. */
  send(frame: string): boolean;
  /** Begins to close, with a code of the protocol's table. Idempotent. */
  close(code: number, reason: string): void;
}

/** A message that was validated and waits to be appended. Names are canonical. */
export interface Draft {
  readonly sender: string;
  readonly recipient: string;
  readonly content: string;
  /** The sender's id, unique per sender for as long as the message is kept. */
  readonly id?: string;
  /** The device that sent it, which gets an ack instead of a copy. Base connections have one each, starting with `~`. */
  readonly origin: string;
}

/** A message as it is stored: immutable, and the same object for every receiver. */
export interface Stored extends Draft {
  /** The broker's position: increasing, not contiguous, comparable only within one epoch. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly ts: number;
}

/** What became of a draft. `duplicate`: the same id and content was stored before, and this is its position. */
export type Appended = { readonly seq: number; readonly ts: number; readonly duplicate: boolean } | BrokerRefusal;

/** Why a broker did not do something. */
export interface BrokerRefusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Where a device stands when it connects. */
export interface Attached {
  /** The position that the device has confirmed, or the one where a new device starts. */
  readonly position: number;
  /** Whether the device was never seen before. */
  readonly isNew: boolean;
  /** The highest position that retention has removed from this user's conversations; a position below it misses messages. */
  readonly horizon: number;
  /** The position of the newest message in the log. */
  readonly head: number;
}

/** Some messages, oldest first, and whether there are more in the direction of reading. */
export interface Page {
  readonly messages: readonly Stored[];
  readonly more: boolean;
}

/** `user` has seen everything up to `seq` of the conversation with `with` (a user or a group). */
export interface Mark {
  readonly user: string;
  readonly kind: "delivered" | "read";
  readonly with: string;
  readonly seq: number;
}

/** What became of a mark: markers only move forward. */
export interface Marked {
  readonly moved: boolean;
  /** Whose messages it newly covers: they are told. Empty where it did not move. */
  readonly authors: readonly string[];
  /** Milliseconds since 1970. */
  readonly ts: number;
}

/** A kept marker, as it is told on resume. */
export interface Marker extends Mark {
  readonly ts: number;
}

/** One row of a user's list of conversations. */
export interface Conversation {
  readonly with: string;
  /** The newest message that the user may see; undefined in a group without any. */
  readonly last: Stored | undefined;
  /** The user's own read marker, 0 for none. */
  readonly read: number;
  /** Messages of others after the read marker, counted up to {@linkcode UNREAD_MAX}. */
  readonly unread: number;
}

/** Unread messages are counted up to here: beyond it nobody cares, and the count stays cheap. */
export const UNREAD_MAX = 1000;

/** A change to a group, or a question about groups. Names are canonical; `user` is who asks. */
export type GroupRequest =
  | { readonly op: "create"; readonly user: string; readonly group: string; readonly open: boolean }
  | { readonly op: "join" | "leave" | "members"; readonly user: string; readonly group: string }
  | { readonly op: "invite" | "remove"; readonly user: string; readonly group: string; readonly target: string }
  | { readonly op: "list"; readonly user: string };

/** What is known of a group. */
export interface GroupInfo {
  readonly group: string;
  readonly owner: string;
  readonly open: boolean;
  readonly members: number;
}

/** The answer to a {@linkcode GroupRequest}. `changed` is false where it was so already (joining twice). */
export interface GroupAnswer {
  readonly changed: boolean;
  /** For `members`, and for a change: who is in the group now. */
  readonly members: readonly string[];
  /** For every op but `list`. */
  readonly owner?: string;
  /** For `list`: the groups that the user is in, and then the open ones, by name. */
  readonly groups?: readonly GroupInfo[];
  /** For `list`: there are more than one answer takes. */
  readonly more?: boolean;
}

/** A frame of the at-most-once lane: never stored, first to be dropped. */
export type Signal = ServerFrameOf<"receipt" | "typing" | "presence" | "group">;

/** What a subscription yields. Called from the broker, so neither may throw. */
export interface Subscriber {
  /** A message for this user, or of this user; in the order of positions. */
  message(message: Stored): void;
  signal(signal: Signal): void;
}

/** A live subscription. */
export interface Subscription {
  /** Nothing is yielded after this. Idempotent. */
  close(): void;
}

/**
 * The log of messages, and what is kept about it: publish and subscribe plus history.
 *
 * Errors that a person can cause are values ({@linkcode BrokerRefusal}); a rejected promise means that the broker failed and
 * that nothing of the call is certain. Calls are carried out in the order in which they were made.
 */
export interface Broker {
  /** Identifies the log. Positions compare only within one epoch; a log that lost data has a new one. */
  readonly epoch: string;

  /**
   * Makes `user` known, and `device` a device of theirs; says where it stands. A new device starts `last` of the user's messages
   * before the head (0: now); without `last` where the user's most advanced device stands, so that what none of them has seen
   * is not missed, and the first device of a user at the head. That start is kept as its position. A broker may remember so many
   * devices of a user, at least 100, and give the place of the one furthest behind to a new one.
   */
  attach(user: string, device: string, last?: number): Promise<Attached>;

  /**
   * Appends in order; resolves once every message that got a position is durable, with one result per draft. A draft whose
   * (sender, id) is stored already gets the position it has, with `duplicate`, or `id_conflict` where recipient or content
   * differ; it is not stored again. Subscribers of the recipient, of all members of the group, and of the sender get each new
   * message exactly once, in the order of positions, after it is durable. Refusals: unknown_recipient, unknown_group,
   * not_member, mailbox_full, id_conflict, and unavailable where it could not be stored.
   */
  append(drafts: readonly Draft[]): Promise<readonly Appended[]>;

  /** Yields, in order, everything appended for `user` from now on, from any node, and signals to them. */
  subscribe(user: string, subscriber: Subscriber): Subscription;

  /**
   * Messages after position `after` of all the user's conversations (direct ones; groups since the user joined), oldest first,
   * at most `limit`, own messages included. A subscription made before sees everything that this page does not.
   */
  read(user: string, after: number, limit: number): Promise<Page>;

  /**
   * One conversation, oldest first: the newest `limit` messages below `before`, or the oldest above `after`; with neither, the
   * newest. Groups since the user joined. Refusals: not_member, unknown_group, unknown_recipient.
   */
  history(
    user: string,
    query: { readonly with: string; readonly before?: number; readonly after?: number; readonly limit: number },
  ): Promise<Page | BrokerRefusal>;

  /** The user's conversations, the most recent first. */
  conversations(
    user: string,
    limit: number,
  ): Promise<{ readonly conversations: readonly Conversation[]; readonly more: boolean }>;

  /** Keeps the positions of devices; they only move forward. */
  advance(moves: readonly { readonly user: string; readonly device: string; readonly seq: number }[]): Promise<void>;

  /**
   * Moves markers; they only move forward and are kept. One result per mark. A mark on a conversation that the user is not in
   * moves nothing. `read` moves `delivered` along with it.
   */
  mark(marks: readonly Mark[]): Promise<readonly Marked[]>;

  /**
   * The markers that changed since the log stood at `since` and that concern `user`: their own, those of the people they
   * write to, and those of group members that cover a message of theirs.
   */
  markers(user: string, since: number): Promise<readonly Marker[]>;

  /**
   * Changes or asks about a group. Refusals: group_exists, unknown_group, not_member, forbidden (not open; not the owner's),
   * unknown_recipient, limit_reached. A group whose last member leaves is no more; an owner who leaves hands over to the
   * member who has been in it longest.
   */
  group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal>;

  /** Whether users are known, and when they were last connected (milliseconds since 1970; 0 for never). */
  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]>;

  /** Keeps that `user` was connected until now. */
  seen(user: string): Promise<void>;

  /** Hands a signal to the subscribers of `user`, at most once, wherever they are connected. */
  signal(user: string, signal: Signal): void;

  /** Finishes what was begun and lets go of everything. */
  close(): Promise<void>;
}

/** How much a user may send. */
export interface RateLimit {
  /**
   * Takes a frame that counts for `cost` of `user`'s allowance. Milliseconds to wait, 0 for go on, Infinity for: close, this is
   * abuse.
   */
  take(user: string, cost: number): number;
}

// ---- The hub -----------------------------------------------------------------------------------------------------------------

/** Bytes queued to one connection before it is closed to resume later: minutes of chat, a thousandth of a small machine. */
export const QUEUE_BYTES_MAX = 1_048_576;
/** Milliseconds to say who one is: a person pasting a frame makes it, a socket that only holds a place does not. */
export const HELLO_TIMEOUT_MS = 10_000;
/** Milliseconds a connection named in its URL has for `hello`, before it is taken for the base level. */
export const HELLO_GRACE_MS = 250;
/** Refused frames in a minute before the connection is closed: a fuzzer by hand stays below it, a flood does not. */
export const REFUSALS_MAX = 1_000;
/** Frames that may arrive while the broker settles a name, and UTF-16 units of them: a script's outbox, not a flood. */
export const INBOX_FRAMES_MAX = 4_096;
export const INBOX_CHARS_MAX = 1_048_576;
/**
 * Connections written to in one turn of the event loop. Deno's runtime reads at most 128 sockets a turn, those first that became
 * readable last; were all written to at once, the peers just answered would take the whole of the next turn again, and others
 * starve. Half of it leaves room for those who wait, and costs no throughput.
 */
export const FLUSH_CONNECTIONS_MAX = 64;
/**
 * Milliseconds, and messages, after which the broker is told again what a device has: it is a write each time. The first time is
 * at once, so that who talks now and then does not wait.
 */
export const CONFIRM_INTERVAL_MS = 100;
export const CONFIRM_MESSAGES = 2_048;
/** Devices of one user at a time: every one costs a copy of everything. */
export const DEVICES_MAX = 32;

/** Characters of content that count as another frame against the rate: what people type is one, a flood of pages is many. */
const RATE_CONTENT_CHARS = 4_096;
const REFUSALS_WINDOW_MS = 60_000;
/** How far over the limit a frame is before its sender is closed: nobody gets there by mistake. */
const FRAME_ABSURD_FACTOR = 2;

/** What a hub is made of. */
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
  readonly flushConnectionsMax?: number;
  readonly confirmIntervalMs?: number;
  /** A part of what may wait for a user: what was confirmed, and not told yet, still counts as waiting. */
  readonly confirmMessages?: number;
  readonly presenceGraceMs?: number;
  readonly rateLimit?: RateLimit;
  /** What `welcome` says of the rate: frames per second and burst, 0 for none. */
  readonly rate?: { readonly rate: number; readonly burst: number };
  /** Told of failures that no peer can be blamed for. Never given content. */
  readonly report?: (error: unknown, where: string) => void;
}

/** What is known of a peer before its first frame. */
export interface Introduction {
  /** The canonical name, from a token or from `?name=`. */
  readonly user?: string;
  readonly admin?: boolean;
}

/** What a transport does with a connection that it gave to the hub. */
export interface Peer {
  /** Takes one frame as it came: text, or anything else to have it refused. Never throws. */
  receive(data: unknown): void;
  /** The socket is gone; `clean` where the peer said goodbye. Idempotent. */
  gone(clean: boolean): void;
  /** Closes it with a code of the protocol's table. */
  close(name: CloseName, reason: string): void;
  /** The name, or "" until it is settled. */
  readonly user: string;
}

/** A user with at least one device here. */
interface Member {
  readonly sessions: Set<Session>;
  readonly subscription: Subscription;
}

/** Routes between the connections of this process by recipient, through the broker. */
export class Hub implements SessionHost {
  readonly broker: Broker;
  readonly queueBytes: number;
  readonly presence: Presence;
  readonly #options: HubOptions;
  readonly #limits: Limits;
  readonly #defer: (callback: () => void) => void;
  /** The registry: every user with a connection here. */
  readonly #members = new Map<string, Member>();
  readonly #sessions = new Set<Session>();
  #drafts: Draft[] = [];
  #draftSessions: Session[] = [];
  /** Sessions with something to write, in the order in which they got it. */
  readonly #touched: Session[] = [];
  readonly #flushMax: number;
  readonly #confirmIntervalMs: number;
  readonly #confirmMessages: number;
  /** Sessions of which the broker will be told what they have, and when. */
  readonly #confirming = new Set<Session>();
  #confirmTimer: ReturnType<typeof setTimeout> | undefined;
  #turnDue = false;
  /** Appends that the broker has not answered. */
  #inFlight = 0;
  #idle: (() => void) | undefined;
  #nextOrigin = 0;
  readonly #turn = () => this.#endTurn();
  readonly #entrance: Entrance = {
    receive: (session, data) => this.#receive(session, data),
    gone: (session, clean) => this.#gone(session, clean),
  };
  // One message, and one signal, goes to many receivers in a row: it is encoded once.
  #encoded: Stored | undefined;
  #extendedLine = "";
  #baseLine = "";
  #signal: Signal | undefined;
  #encodedSignal = "";

  constructor(options: HubOptions) {
    this.broker = options.broker;
    this.queueBytes = options.queueBytes ?? QUEUE_BYTES_MAX;
    this.#options = options;
    this.#defer = options.defer ?? queueMicrotask;
    this.#flushMax = options.flushConnectionsMax ?? FLUSH_CONNECTIONS_MAX;
    this.#confirmIntervalMs = options.confirmIntervalMs ?? CONFIRM_INTERVAL_MS;
    this.#confirmMessages = options.confirmMessages ?? CONFIRM_MESSAGES;
    this.#limits = {
      frame: options.frameBytes ?? FRAME_BYTES_MAX,
      content: options.contentBytes ?? CONTENT_BYTES_MAX,
      rate: options.rate?.rate ?? 0,
      burst: options.rate?.burst ?? 0,
    };
    this.presence = new Presence((user) => this.#statusOf(user), options.presenceGraceMs);
  }

  // ---- Connections ----

  /** A peer is connected. The transport feeds the {@linkcode Peer} it gets back. */
  connect(connection: Connection, introduction: Introduction = {}): Peer {
    const session = new Session(this, connection);
    session.user = introduction.user ?? "";
    session.admin = introduction.admin ?? false;
    this.#sessions.add(session);
    if (session.user) {
      // Known from now on: what is sent to them while they settle their level waits for them.
      this.broker.attach(session.user, BASE_DEVICE).catch((error) => this.report(error, "attach"));
      session.helloTimer = setTimeout(() => this.#startBase(session), this.#options.helloGraceMs ?? HELLO_GRACE_MS);
    } else {
      session.helloTimer = setTimeout(
        () => session.close("nameless", "Say who you are within the first seconds: send hello, or a message"),
        this.#options.helloTimeoutMs ?? HELLO_TIMEOUT_MS,
      );
    }
    return new SessionPeer(session, this.#entrance);
  }

  /** Users, sessions and watched users: all zero when nobody is connected. */
  get counts(): { users: number; sessions: number; presence: number } {
    return { users: this.#members.size, sessions: this.#sessions.size, presence: this.presence.size };
  }

  /** The sessions of `user` here. */
  sessionsOf(user: string): ReadonlySet<Session> {
    return this.#members.get(user)?.sessions ?? NO_SESSIONS;
  }

  /** Everybody who is connected here, with their devices. */
  list(): { user: string; devices: string[] }[] {
    return [...this.#members].map(([user, { sessions }]) => ({ user, devices: [...sessions].map((s) => s.device) }));
  }

  /** Closes every connection of `user`; says how many there were. */
  disconnect(user: string, name: CloseName, reason: string): number {
    const sessions = [...this.#sessions].filter((session) => session.user === user);
    for (const session of sessions) session.close(name, reason);
    return sessions.length;
  }

  /** Lets what is in flight finish, then closes every connection. */
  async drain(name: CloseName, reason: string): Promise<void> {
    this.#wake();
    await new Promise<void>((resolve) => this.#idle = resolve);
    for (const session of [...this.#sessions]) session.close(name, reason);
    this.presence.close();
  }

  #gone(session: Session, clean: boolean): void {
    session.saidGoodbye = clean;
    session.end();
  }

  /** Leaves the registry; the last device takes the user's entry with it. */
  forget(session: Session): void {
    this.#sessions.delete(session);
    this.presence.unwatch(session);
    this.handOver([session]);
    const member = this.#members.get(session.user);
    if (!member?.sessions.delete(session) || member.sessions.size > 0) return;
    member.subscription.close();
    this.#members.delete(session.user);
    this.presence.left(session.user, session.saidGoodbye);
    this.broker.seen(session.user).catch((error) => this.report(error, "seen"));
  }

  report(error: unknown, where: string): void {
    this.#options.report?.(error, where);
  }

  // ---- What arrives ----

  #receive(session: Session, data: unknown): void {
    if (session.closed) return;
    try {
      if (typeof data !== "string") {
        return this.#refuse(session, new Refusal("binary_frame", "Send text frames, not binary ones"));
      }
      if (isOverBytes(data, this.#limits.frame)) return this.#refuseOversized(session, data);
      if (session.level !== "undecided" && !session.settling && session.inbox.length === 0 && !data.includes("\n")) {
        return this.#frame(session, data);
      }
      for (const line of linesOf(data)) {
        if (session.closed) return;
        if (session.settling) this.#keep(session, line);
        else this.#frame(session, line);
      }
    } catch (error) {
      this.report(error, "receive");
      this.#refuse(session, new Refusal("internal", "The server failed at this frame"));
    }
  }

  #refuseOversized(session: Session, data: string): void {
    const limit = this.#limits.frame;
    if (data.length > limit * FRAME_ABSURD_FACTOR) return session.close("too_big", `A frame has at most ${limit} bytes`);
    this.#refuse(session, new Refusal("too_large", `The frame is over ${limit} bytes`));
  }

  /** Answers a refused frame; too many close the connection. */
  #refuse(session: Session, refusal: Refusal): void {
    session.refuse(refusal);
    const now = Date.now();
    if (now - session.refusalsSince > REFUSALS_WINDOW_MS) {
      session.refusalsSince = now;
      session.refusals = 0;
    }
    if (++session.refusals > (this.#options.refusalsMax ?? REFUSALS_MAX)) session.close("policy", "Too many bad frames");
  }

  #keep(session: Session, line: string): void {
    session.inboxChars += line.length;
    const isFull = session.inbox.length >= INBOX_FRAMES_MAX || session.inboxChars > INBOX_CHARS_MAX;
    if (isFull) session.close("flood", "Too many frames before the welcome");
    else session.inbox.push(line);
  }

  #frame(session: Session, text: string): void {
    const frame = parseClientFrame(text, this.#limits.content);
    if (frame instanceof Refusal) return this.#refuse(session, frame);
    if (session.level === "undecided" && !this.#decide(session, frame, text)) return;
    if (frame.type === undefined) return this.#message(session, frame);
    if (frame.type === "hello") return this.#hello(session, frame);
    if (session.level !== "extended") {
      return this.#refuse(session, refusal("hello_required", `Send hello before frames of type "${frame.type}"`, frame));
    }
    const isFree = (frame.type === "ack" || frame.type === "receipt") && session.mayConfirm();
    const wait = isFree ? 0 : this.#wait(session);
    if (wait > 0) return this.#refuseRate(session, wait, frame);
    handleRequest(this, session, frame)?.catch((error) => {
      this.report(error, frame.type);
      this.#refuse(session, refusal("unavailable", "The server could not do this now; try again", frame));
    });
  }

  /** The first frame settles name and level. True when the frame goes on to be handled now. */
  #decide(session: Session, frame: ClientFrame, text: string): boolean {
    if (frame.type === "hello") return true;
    if (frame.type === undefined) {
      if (session.user === "") session.user = frame.sender;
      session.inbox.push(text);
      this.#startBase(session);
    } else if (session.user === "") {
      this.#refuse(session, refusal("name_required", "Say who you are first: send hello, or a message", frame));
    } else {
      this.#refuse(session, refusal("hello_required", `Send hello before frames of type "${frame.type}"`, frame));
    }
    return false;
  }

  #message(session: Session, frame: Message): void {
    if (frame.sender !== session.user) {
      return this.#refuse(
        session,
        refusal("forbidden", `You are "${session.user}" and cannot send as "${frame.sender}"`, frame),
      );
    }
    const wait = this.#wait(session, 1 + Math.floor(frame.content.length / RATE_CONTENT_CHARS));
    if (wait > 0) return this.#refuseRate(session, wait, frame);
    const { content, id } = frame, { origin, user: sender } = session;
    // A name that is the same string as last time is found faster by every map on its way.
    const recipient = frame.recipient === session.lastRecipient
      ? session.lastRecipient
      : session.lastRecipient = frame.recipient;
    this.#drafts.push(id === undefined ? { sender, recipient, content, origin } : { sender, recipient, content, id, origin });
    this.#draftSessions.push(session);
    this.#wake();
  }

  #wait(session: Session, cost = 1): number {
    return this.#options.rateLimit?.take(session.user, cost) ?? 0;
  }

  #refuseRate(session: Session, wait: number, frame: ClientFrame): void {
    if (wait === Infinity) return session.close("flood", "The rate limit was ignored for long");
    const slow = refusal("rate_limited", "Too many frames; slow down", frame);
    slow.retryAfterMs = Math.ceil(wait);
    session.refuse(slow);
  }

  // ---- Naming ----

  #hello(session: Session, frame: ClientFrameOf<"hello">): void {
    if (session.level === "extended") return this.#refuse(session, new Refusal("bad_frame", "hello was said already"));
    const user = session.user || frame.name;
    if (user === undefined) {
      return this.#refuse(
        session,
        new Refusal("name_required", 'Say who you are: hello needs a "name" where no token says it'),
      );
    }
    if (frame.name !== undefined && frame.name !== user) {
      return this.#refuse(session, new Refusal("forbidden", `You are "${user}" and cannot be "${frame.name}"`));
    }
    if (session.level === "base") this.#leave(session);
    session.user = user;
    session.level = "extended";
    session.batch = frame.caps?.includes("batch") ?? false;
    session.device = frame.device ?? `d-${crypto.randomUUID().slice(0, 8)}`;
    session.origin = session.device;
    this.#start(session, frame);
  }

  #startBase(session: Session): void {
    session.level = "base";
    session.device = BASE_DEVICE;
    session.origin = `~${++this.#nextOrigin}`;
    this.#start(session, undefined);
  }

  #start(session: Session, hello: ClientFrameOf<"hello"> | undefined): void {
    clearTimeout(session.helloTimer);
    session.helloTimer = undefined;
    session.settling = true;
    this.#welcome(session, hello).catch((error) => {
      this.report(error, "start");
      session.close("internal", "The server could not open your mailbox; try again");
    });
  }

  async #welcome(session: Session, hello: ClientFrameOf<"hello"> | undefined): Promise<void> {
    const attached = await this.broker.attach(session.user, session.device, hello?.last);
    if (session.closed || !this.#join(session)) return;
    const { position, recovered } = whereToResume(attached, this.broker.epoch, hello?.resume);
    if (hello) {
      session.send({
        type: "welcome",
        v: PROTOCOL_VERSION,
        user: session.user,
        device: session.device,
        caps: session.batch ? ["batch"] : [],
        epoch: this.broker.epoch,
        seq: attached.head,
        recovered,
        limits: this.#limits,
      });
      const since = recovered && hello.resume ? position : 0;
      for (const marker of await this.broker.markers(session.user, since)) {
        if (session.congested) await session.drained();
        if (session.closed) return;
        session.send(toReceipt(marker, marker.ts));
      }
    }
    const caughtUp = session.catchUp(position, (message) => this.#line(session, message));
    this.#release(session);
    await caughtUp;
  }

  /** Enters the registry. The same device again replaces the older connection. */
  #join(session: Session): boolean {
    const { user } = session;
    let member = this.#members.get(user);
    if (session.level === "extended") {
      for (const other of member?.sessions ?? []) {
        if (other.device === session.device) other.close("replaced", "This device connected again");
      }
      member = this.#members.get(user);
    }
    if (member && member.sessions.size >= (this.#options.devicesMax ?? DEVICES_MAX)) {
      session.close("overloaded", `"${user}" has too many devices connected`);
      return false;
    }
    if (!member) {
      const sessions = new Set<Session>();
      member = { sessions, subscription: this.broker.subscribe(user, this.#subscriber(sessions)) };
      this.#members.set(user, member);
    }
    member.sessions.add(session);
    if (member.sessions.size === 1) this.presence.changed(user);
    return true;
  }

  /** A base connection says hello: it leaves the registry to come back as a device. */
  #leave(session: Session): void {
    this.forget(session);
    session.restart();
    this.#sessions.add(session);
  }

  /** What arrived while the name was being settled is handled, in order. */
  #release(session: Session): void {
    session.settling = false;
    while (session.inbox.length > 0 && !session.closed && !session.settling) this.#frame(session, session.inbox.shift()!);
    if (session.inbox.length === 0) session.inboxChars = 0;
  }

  // ---- What is delivered ----

  #subscriber(sessions: ReadonlySet<Session>): Subscriber {
    return {
      message: (message) => {
        for (const session of sessions) if (session.take(message)) session.queue(this.#line(session, message));
      },
      signal: (signal) => {
        for (const session of sessions) {
          if (session.level === "extended" && !session.congested) session.queue(this.#signalLine(signal));
        }
      },
    };
  }

  #line(session: Session, message: Stored): string {
    if (this.#encoded !== message) {
      this.#encoded = message;
      this.#baseLine = this.#extendedLine = "";
    }
    if (session.level === "base") return this.#baseLine ||= encodeBase(message);
    return this.#extendedLine ||= encodeExtended(message);
  }

  #signalLine(signal: Signal): string {
    if (this.#signal !== signal) {
      this.#signal = signal;
      this.#encodedSignal = encode(signal);
    }
    return this.#encodedSignal;
  }

  // ---- The turn ----

  touch(session: Session): void {
    if (session.isTouched) return;
    session.isTouched = true;
    this.#touched.push(session);
    this.#wake();
  }

  #wake(): void {
    if (this.#turnDue) return;
    this.#turnDue = true;
    this.#defer(this.#turn);
  }

  #endTurn(): void {
    this.#turnDue = false;
    if (this.#drafts.length > 0) {
      const drafts = this.#drafts, sessions = this.#draftSessions;
      this.#drafts = [];
      this.#draftSessions = [];
      void this.#append(drafts, sessions);
    }
    // A broker in memory has answered by the next microtask: acks then leave together with what they are for.
    queueMicrotask(this.#flush);
  }

  async #append(drafts: Draft[], sessions: Session[]): Promise<void> {
    this.#inFlight++;
    try {
      this.#acknowledge(drafts, sessions, await this.broker.append(drafts));
    } catch (error) {
      this.report(error, "append");
      for (const [index, session] of sessions.entries()) {
        session.refuse(new Refusal("unavailable", "The message could not be stored; send it again", drafts[index]!.id));
      }
    }
    this.#inFlight--;
    if (this.#idle) this.#wake();
  }

  #acknowledge(drafts: Draft[], sessions: Session[], results: readonly Appended[]): void {
    for (let i = 0; i < drafts.length; i++) {
      const result = results[i]!, { id } = drafts[i]!;
      if ("code" in result) this.#refuse(sessions[i]!, new Refusal(result.code, result.message, id));
      else if (id !== undefined) sessions[i]!.queue(encodeAck(id, result));
    }
  }

  readonly #flush = (): void => {
    const due = this.#touched.splice(0, this.#flushMax);
    for (const session of due) {
      session.isTouched = false;
      session.flush();
    }
    this.#confirm(due);
    if (this.#touched.length > 0) return this.#wake();
    if (this.#idle && !this.#turnDue && this.#inFlight === 0) this.#idle();
  };

  /** Hands over what devices have, or lets it gather where that was done just now. */
  #confirm(sessions: readonly Session[]): void {
    const now = performance.now();
    const due: Session[] = [];
    for (const session of sessions) {
      if (session.closed || !session.isUnreported) continue;
      const isDue = now - session.reportedAt >= this.#confirmIntervalMs || session.unreported >= this.#confirmMessages;
      if (isDue) due.push(session);
      else this.#confirming.add(session);
    }
    if (due.length > 0) this.handOver(due);
    if (this.#confirming.size === 0) return;
    this.#confirmTimer ??= setTimeout(() => {
      this.#confirmTimer = undefined;
      this.handOver([...this.#confirming]);
    }, this.#confirmIntervalMs);
  }

  /** Tells the broker what devices have, and the authors that it was delivered. */
  handOver(sessions: readonly Session[]): void {
    const now = performance.now();
    for (const session of sessions) {
      session.reportedAt = now;
      session.unreported = 0;
      this.#confirming.delete(session);
    }
    if (this.#confirming.size === 0) {
      clearTimeout(this.#confirmTimer);
      this.#confirmTimer = undefined;
    }
    const marks: Mark[] = [];
    const moves: { user: string; device: string; seq: number }[] = [];
    for (const session of sessions) {
      const seq = session.takeConfirmed(marks);
      session.takeRead(marks);
      if (seq !== undefined) moves.push({ user: session.user, device: session.device, seq });
    }
    if (moves.length > 0) this.broker.advance(moves).catch((error) => this.report(error, "advance"));
    if (marks.length > 0) this.#mark(marks).catch((error) => this.report(error, "mark"));
  }

  /** Moves markers and tells those whose messages they cover; a read marker also goes to the user's own devices. */
  async #mark(marks: readonly Mark[]): Promise<void> {
    const results = await this.broker.mark(marks);
    for (const [index, { moved, authors, ts }] of results.entries()) {
      if (!moved) continue;
      const mark = marks[index]!;
      const frame = toReceipt(mark, ts);
      for (const author of authors) this.broker.signal(author, frame);
      if (mark.kind === "read") this.broker.signal(mark.user, frame);
    }
  }

  #statusOf(user: string): "online" | "away" | "offline" {
    const sessions = this.#members.get(user)?.sessions;
    if (!sessions) return "offline";
    for (const session of sessions) if (!session.away) return "online";
    return "away";
  }
}

/** What a hub does for its peers: one object for all of them, since every idle one counts. */
interface Entrance {
  receive(session: Session, data: unknown): void;
  gone(session: Session, clean: boolean): void;
}

class SessionPeer implements Peer {
  readonly #session: Session;
  readonly #entrance: Entrance;

  constructor(session: Session, entrance: Entrance) {
    this.#session = session;
    this.#entrance = entrance;
  }

  get user(): string {
    return this.#session.user;
  }

  receive(data: unknown): void {
    this.#entrance.receive(this.#session, data);
  }

  gone(clean: boolean): void {
    this.#entrance.gone(this.#session, clean);
  }

  close(name: CloseName, reason: string): void {
    this.#session.close(name, reason);
  }
}

const NO_SESSIONS: ReadonlySet<Session> = new Set();
/** The base level's device: no client can name one so. */
const BASE_DEVICE = "~";

function refusal(code: ErrorCode, message: string, frame: ClientFrame): Refusal {
  return new Refusal(code, message, "id" in frame ? frame.id : undefined);
}

/** From which position a device goes on, and whether nothing was missed before it. */
function whereToResume(
  attached: Attached,
  epoch: string,
  resume: { epoch: string; seq: number } | undefined,
): { position: number; recovered: boolean } {
  const { position, horizon, head, isNew } = attached;
  if (!resume) return { position: Math.max(position, horizon), recovered: !isNew && position >= horizon };
  const known = resume.epoch === epoch && resume.seq >= horizon && resume.seq <= head;
  return known ? { position: resume.seq, recovered: true } : { position: Math.max(position, horizon), recovered: false };
}
