/**
 * The port to the log of messages: publish and subscribe plus history, and what is kept about both.
 *
 * {@linkcode Broker} is made of named parts, each a small interface whose methods state their guarantees. Errors that a person can
 * cause are values ({@linkcode BrokerRefusal}); a rejected promise means that the broker failed and that nothing of the call is
 * certain.
 *
 * Calls that change something are carried out in the order in which they were made; a question sees every change that had resolved
 * when it was asked. With several nodes on one log, what one node has stored is seen by another as soon as nothing is under way
 * below it. Every call settles within five seconds of the last thing that got done.
 *
 * Implementations are `broker/memory.ts`, `broker/sqlite.ts` and `broker/postgres.ts`; `broker/contract.ts` checks the guarantees in
 * all of them.
 */

import type { Cluster } from "./broker/cluster.ts";
import type { ErrorCode, ServerFrameOf } from "./protocol.ts";

export { BrokerError } from "./broker/errors.ts";
export { type BrokerLimits, DEFAULT_LIMITS } from "./broker/limits.ts";
export type { Cluster, ClusterListener, ConnectedUser, Presence } from "./broker/cluster.ts";
export { BASE_DEVICE, isBaseDevice } from "./broker/names.ts";

// ---- Records ----------------------------------------------------------------------------------------------------------------

/** A message that was validated and waits to be appended. Names are canonical. */
export interface Draft {
  readonly sender: string;
  readonly recipient: string;
  readonly content: string;
  /** The sender's id, unique per sender for as long as the message is kept; undefined where the sender gave none. */
  readonly id: string | undefined;
  /**
   * The device that sent it, which gets an ack instead of a copy. That of a base connection begins with {@linkcode BASE_DEVICE};
   * a backend has none, "".
   */
  readonly origin: string;
}

/** A message as it is stored: immutable, and the same object for every receiver. */
export interface Stored extends Draft {
  /** The broker's position: increasing, not contiguous, comparable only within one epoch. */
  readonly seq: number;
  /** Milliseconds since 1970. */
  readonly ts: number;
}

/** Result of one draft. `duplicate`: the same id and content was stored before, and this is its position. */
export type Appended = { readonly seq: number; readonly ts: number; readonly duplicate: boolean } | BrokerRefusal;

/** Reason for which a broker refused something. */
export interface BrokerRefusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** Wishes and facts about a device that connects. */
export interface AttachOptions {
  /** Messages before the head at which a new device starts. */
  readonly last?: number | undefined;
  /** True for a device whose name the server made up: nobody will come back under it, unless they name it themselves. */
  readonly temporary?: boolean | undefined;
  /** Position of this epoch that the device says it has everything up to. */
  readonly resume?: number | undefined;
}

/** Place in the log at which a device resumes when it connects. */
export interface Attached {
  /** The position that the device has confirmed, or the one where a new device starts. */
  readonly position: number;
  /** True for a device that was never seen before. */
  readonly isNew: boolean;
  /** The highest position of a message that was this user's and is not to be read any more; a position below it has missed something. */
  readonly horizon: number;
  /** The position up to which everything in the log can be read, and above which nothing was yielded yet. */
  readonly head: number;
  /** True where the log has lost messages up to the position of {@linkcode AttachOptions.resume}: it was given before a crash. */
  readonly isLost: boolean;
}

/** Some messages, oldest first; `more` where there are others in the direction of reading. */
export interface Page {
  readonly messages: readonly Stored[];
  readonly more: boolean;
}

/**
 * Selects a page of one conversation: the newest `limit` messages below `before`, or the oldest above `after`; with neither, the
 * newest.
 */
export interface HistoryQuery {
  /** A user or a group. */
  readonly with: string;
  readonly before?: number | undefined;
  readonly after?: number | undefined;
  readonly limit: number;
}

/** Selects what to search: the newest `limit` messages below `before` that match. */
export interface SearchQuery {
  readonly query: string;
  /** A user or a group; undefined for all conversations. */
  readonly with?: string | undefined;
  readonly before?: number | undefined;
  readonly limit: number;
}

/** Messages that were found, oldest first. */
export interface Found {
  readonly messages: readonly Stored[];
  /** Position below which there may be more; undefined where there is none. */
  readonly before: number | undefined;
  /** Position up to which the search knew everything. */
  readonly indexed: number;
}

/** One row of a user's list of conversations. */
export interface Conversation {
  readonly with: string;
  /** The newest message that the user may see; undefined in a group without any. */
  readonly last: Stored | undefined;
  /** The user's own read marker, moved publicly or privately; 0 for none. */
  readonly read: number;
  /** Messages of others after the read marker, among the newest `UNREAD_MAX` (broker/limits.ts) of the conversation. */
  readonly unread: number;
}

/** Place in a list of conversations: its last row. `with` is needed where `seq` is 0, in a group without messages. */
export interface ConversationCursor {
  readonly seq: number;
  readonly with?: string | undefined;
}

/** A user's conversations, the most recent first, groups without messages last, by name; `more` where there are others. */
export interface ConversationPage {
  readonly conversations: readonly Conversation[];
  readonly more: boolean;
}

/** Confirmation that `device` of `user` has everything up to `seq`. */
export interface DeviceMove {
  readonly user: string;
  readonly device: string;
  readonly seq: number;
}

/** Request to move a marker: `user` has seen everything up to `seq` of the conversation with `with` (a user or a group). */
export interface MarkerMove {
  readonly user: string;
  readonly kind: "delivered" | "read";
  readonly with: string;
  readonly seq: number;
  /** Of `read`: moves the user's own marker alone, by which unread messages are counted. Nobody else learns of it. */
  readonly private?: boolean | undefined;
}

/** Result of a {@linkcode MarkerMove}; markers only move forward. */
export interface MarkerResult {
  readonly moved: boolean;
  /** Authors of the messages that it newly covers and who are in the conversation still: they are told. Empty if it did not move. */
  readonly authors: readonly string[];
  /** Milliseconds since 1970. */
  readonly ts: number;
}

/** A kept marker, as it is told on resume. */
export interface Marker extends Omit<MarkerMove, "private"> {
  /** Milliseconds since 1970. */
  readonly ts: number;
}

/** A change to a group, or a question about groups. Names are canonical; `user` is who asks. */
export type GroupRequest =
  | { readonly op: "create"; readonly user: string; readonly group: string; readonly open: boolean }
  | { readonly op: "join" | "leave" | "members"; readonly user: string; readonly group: string }
  | { readonly op: "invite" | "remove"; readonly user: string; readonly group: string; readonly target: string }
  | {
    readonly op: "list";
    readonly user: string;
    /** The last group of the page before, where this is not the first. */
    readonly after?: string | undefined;
  };

/** Summary of a group. */
export interface GroupInfo {
  readonly group: string;
  /** "" where nobody is, as all members were brought in by others. */
  readonly owner: string;
  readonly open: boolean;
  /** Number of members. */
  readonly members: number;
}

/** Answer to a {@linkcode GroupRequest}. `changed` is false where it was so already (joining twice). */
export interface GroupAnswer {
  readonly changed: boolean;
  /** For `members`, and for a change: who is in the group now, in the order of joining. */
  readonly members: readonly string[];
  /** For every op but `list`: the owner now, "" where there is none. */
  readonly owner?: string;
  /** For `list`: the groups that the user is in, and then the open ones, by name. */
  readonly groups?: readonly GroupInfo[];
  /** For `list`: there are more than one answer takes. */
  readonly more?: boolean;
}

/** A change of a group's members, as it is kept. */
export interface GroupEvent {
  /** Place among the changes: increasing, not contiguous, comparable only within one epoch. */
  readonly number: number;
  /** Milliseconds since 1970. */
  readonly ts: number;
  readonly group: string;
  readonly op: Exclude<GroupRequest["op"], "list" | "members">;
  /** User who is a member now, or is none any more. */
  readonly user: string;
  /** User who did it. */
  readonly by: string;
  /** Owner after the change, "" where there is none. */
  readonly owner: string;
  /** Number of members after it. */
  readonly members: number;
}

/** Some of what is kept after a place, oldest first. */
export interface FeedPage<T> {
  readonly items: readonly T[];
  /**
   * Place up to which the page has everything that is kept, never below the one it was asked after: that of its last item where
   * there are more, else the log's end.
   */
  readonly upTo: number;
  /** Highest place of which retention, or the end of a group, has removed something; 0 for none. */
  readonly removed: number;
  /** The log's own clock, in milliseconds since 1970: what stamps messages. */
  readonly now: number;
}

/** A follower's place, as the broker keeps it: the follower says what is in it. */
export interface Cursor {
  /** Text as it was saved last; "" for a follower who was never here. */
  readonly state: string;
  /** Order of the operator that is still to be carried out; undefined for none. */
  readonly wish: string | undefined;
}

/** A frame of the at-most-once lane: never stored, first to be dropped. */
export type Signal = ServerFrameOf<"receipt" | "typing" | "group">;

// ---- Parts ------------------------------------------------------------------------------------------------------------------

/** Receiver of a subscription. Called from the broker, so neither method may throw. */
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

/** The log itself: what is sent goes in here, and everything that is delivered comes out of here. */
export interface MessageLog {
  /**
   * Appends in order; resolves once every message that got a position is durable, with one result per draft. A draft whose
   * (sender, id) is stored already gets the position it has, with `duplicate`, or `id_conflict` where recipient or content
   * differ; it is not stored again. Subscribers of the recipient, of all members of the group, and of the sender get each new
   * message exactly once, in the order of positions, after it is durable; that may be after this has resolved. Refusals: unknown_recipient, unknown_group,
   * not_member, mailbox_full, id_conflict, and unavailable where it could not be stored.
   */
  append(drafts: readonly Draft[]): Promise<readonly Appended[]>;

  /**
   * Yields, in order, everything appended for `user` from now on, from any node, and signals to them. A message that was appended
   * just before, and not yielded yet, may be the first.
   */
  subscribe(user: string, subscriber: Subscriber): Subscription;

  /**
   * Reads messages after position `after` of all the user's conversations (direct ones; groups since the user joined), oldest
   * first, at most `limit`, own messages included. Messages of a group that the user has left, or that has ended, are among them
   * up to the end of the membership, for as long as a device of theirs may need them; then, or where there are too many such
   * memberships, the user's horizon is raised. A subscription made before sees everything that this page does not. The cost of a
   * message does not depend on the number of conversations.
   */
  read(user: string, after: number, limit: number): Promise<Page>;
}

/** Devices of users, and how far each has confirmed. */
export interface Devices {
  /**
   * Registers `user` and `device` if unknown and returns where the device resumes: a known device at its stored position; a new
   * one `last` of the user's messages before the head, or without `last` at the user's most advanced device. Their first device
   * starts before the oldest message that waits for them, whatever `last`, or at the head. The start is stored as its position. A broker may keep a bounded number of devices per user, at least
   * 100, and forget one in favour of a new one: a `temporary` one first, then one for which no message waits, and one with mail
   * waiting only where all have. A temporary device that is attached without `temporary` is none from then on.
   */
  attach(user: string, device: string, options?: AttachOptions): Promise<Attached>;

  /** Stores the positions of devices; they only move forward. A crash may forget the last second of this. */
  advance(moves: readonly DeviceMove[]): Promise<void>;
}

/** Conversations as people look at them. */
export interface History {
  /**
   * Reads a page of one conversation, oldest first; groups since the user joined. Refusals: not_member, unknown_group,
   * unknown_recipient.
   */
  history(user: string, query: HistoryQuery): Promise<Page | BrokerRefusal>;

  /**
   * Lists the user's conversations, the most recent first; those that follow `before` in the list. There may be fewer than `limit`
   * with `more`, since the messages that are looked at are bounded too (`UNREAD_LOOKED_MAX` of broker/limits.ts); at least one.
   */
  conversations(user: string, limit: number, before?: ConversationCursor): Promise<ConversationPage>;
}

/** Search over what a user may read. */
export interface Search {
  /**
   * Finds messages in the user's conversations, or in the one `with` somebody, by the rules of broker/search_rules.ts. What the
   * user may not read, or was removed, is never found. The work of one call is bounded: where it ends before everything was
   * looked at, `before` says where to go on. What was sent a moment ago may not be found yet: `indexed` says up to where all is.
   * Refusals: bad_frame for a query without a word; not_member, unknown_group, unknown_recipient.
   */
  search(user: string, query: SearchQuery): Promise<Found | BrokerRefusal>;
}

/** Delivered and read markers: one of each per user and conversation. */
export interface Markers {
  /**
   * Moves markers; they only move forward and are kept; a crash may forget the last second of them. One result per move. A move in
   * a conversation that the user is not in does nothing. `read` moves `delivered` and the user's own marker along with it; a
   * private one moves the own marker alone, and has no authors.
   */
  mark(moves: readonly MarkerMove[]): Promise<readonly MarkerResult[]>;

  /**
   * Moves `delivered` up to `seq`, or to the newest message before it, in every conversation of the user with something of others
   * up to there that was not delivered yet: a device has everything. Returns the moves that somebody is to be told of.
   */
  markAll(user: string, seq: number): Promise<readonly (MarkerMove & MarkerResult)[]>;

  /**
   * Yields, a page at a time, the markers that changed since the log stood at `since` and that concern `user`: their own marker
   * as `read`, the public ones of the people they write to, and those of group members that cover a message of theirs. A marker
   * that moves meanwhile may come twice.
   */
  markers(user: string, since: number): AsyncIterable<readonly Marker[]>;
}

/** Groups and their members. */
export interface Groups {
  /**
   * Changes or asks about a group. Refusals: group_exists, unknown_group, not_member, forbidden (not open; not the owner's),
   * unknown_recipient, limit_reached. A group whose last member leaves is no more; an owner who leaves hands over to the
   * member who has been in it longest of those who created it, joined it or wrote in it. Where all others were only brought in,
   * it has no owner until one of them joins or writes, or somebody else joins.
   */
  group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal>;
}

/** Last connections of users. */
export interface LastSeen {
  /** Returns when users were last connected: milliseconds since 1970, 0 for never, undefined for an unknown user. */
  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]>;

  /**
   * Stores that `users` were connected at a time, in milliseconds since 1970; it only moves forward. Registers those who are
   * unknown: with 0, as users who were never here, and can be written to.
   */
  seen(users: readonly string[], at: number): Promise<void>;
}

/** Erasure of what is kept about users. */
export interface Erasure {
  /**
   * Erases what `user` wrote, and what is kept about them; resolves with the number of messages that it emptied once all of it is durable.
   * The messages stay at their positions without content, id and device, so that nobody's backlog has a hole; no search finds
   * them. Devices, markers, ended memberships and the last connection are gone, and what others wrote to the user is read by those
   * others alone: whoever comes back under the name begins anew. The name stays known. Memberships of groups are ended before, by
   * {@linkcode Groups.group}, so that members can be told. A crash in the middle leaves the rest: ask again. What the user sends
   * meanwhile may stay.
   */
  erase(user: string): Promise<number>;
}

/** The at-most-once lane. */
export interface Signals {
  /** Hands a signal to the subscribers of each of `users`, at most once, wherever they are connected. */
  signal(users: readonly string[], signal: Signal): void;
}

/**
 * The log as a whole, for programs that follow all of it rather than one user's part: webhooks. Whoever follows keeps a cursor in
 * the broker, beside the messages, so that a crash of either loses nothing and a cursor can be set back.
 */
export interface Feed {
  /** Returns the ends of the log: where one begins who is to get nothing of before. */
  ends(): Promise<{ readonly message: number; readonly change: number }>;

  /**
   * Reads messages after a position, those of ended groups included for as long as they are kept, at most `limit`, and never more
   * characters than `FEED_CHARS_MAX` (broker/limits.ts) and one message. What was appended before the call is in it, or is not visible
   * yet and above `upTo`.
   */
  messages(after: number, limit: number): Promise<FeedPage<Stored>>;

  /** Reads changes of groups after a place, at most `limit`, in their order. */
  changes(after: number, limit: number): Promise<FeedPage<GroupEvent>>;

  /** Returns, for each of some messages, the users who are due it and of whom no device has confirmed it: never its sender. */
  undelivered(messages: readonly Stored[]): Promise<readonly (readonly string[])[]>;

  /**
   * Makes this node the one that follows under `name` for some milliseconds, or goes on being so; returns the place. Undefined
   * where another node is. Without other nodes it is always this one.
   */
  claim(name: string, ms: number): Promise<Cursor | undefined>;

  /** Keeps a place, and forgets the wish that was carried out. False where another node has the name by now: nothing was kept. */
  save(name: string, state: string, carriedOut?: string): Promise<boolean>;

  /** Lets another node follow under `name`, and forgets nothing. */
  release(name: string): Promise<void>;

  /** Calls back, soon and not more than that, after something was added to the log. */
  watch(changed: () => void): Subscription;
}

/** The same for the operator's commands, while the server runs or not. */
export interface FeedDesk extends AsyncDisposable {
  /** Lists followers by name with their places. */
  list(): Promise<readonly (Cursor & { readonly name: string })[]>;
  /** Leaves an order for a follower, in the place of an earlier one; false where there never was one of that name. */
  wish(name: string, wish: string): Promise<boolean>;
  /** Returns a position at or before everything that was sent after a time, in milliseconds since 1970; exact to a minute. */
  positionAt(ts: number): Promise<number>;
}

/** Everything that is kept, and how it is told: what the hub needs of the world beside connections. */
export interface Broker extends MessageLog, Devices, History, Search, Markers, Groups, LastSeen, Erasure, Signals {
  /**
   * Identifies the log. Positions compare only within one epoch; a log that lost data has a new one. It may change while many
   * nodes run on one log: then the {@linkcode Cluster} says so.
   */
  readonly epoch: string;

  /** The other nodes on the same log; undefined where this process is the only one. */
  readonly cluster?: Cluster;

  /** The log as a whole, for those who follow all of it. */
  readonly feed: Feed;

  /** Returns why nothing can be stored now, a sentence for the operator; undefined where it can, as far as is known. */
  readonly health?: () => string | undefined;

  /** Finishes what was begun and lets go of everything. */
  close(): Promise<void>;
}
