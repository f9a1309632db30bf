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

import type { ErrorCode, ServerFrameOf } from "./protocol.ts";

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
  /** For `list`: the groups that the user is in, and the open ones. */
  readonly groups?: readonly GroupInfo[];
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
   * is not missed, and the first device of a user at the head. That start is kept as its position.
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
