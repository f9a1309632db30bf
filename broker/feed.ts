/**
 * The port to the log as a whole, for programs that follow all of it rather than one user's part: webhooks. Whoever follows keeps
 * a cursor in the broker, beside the messages, so that a crash of either loses nothing and a cursor can be set back.
 */

import type { GroupRequest, Stored, Subscription } from "../broker.ts";

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

/** The log for those who follow all of it. */
export interface Feed {
  /** Returns the ends of the log: where one begins who is to get nothing of before. */
  ends(): Promise<{ readonly message: number; readonly change: number }>;

  /**
   * Reads messages after a position, those of ended groups included for as long as they are kept, at most `limit`, and never more
   * characters than {@linkcode FEED_CHARS_MAX} and one message. What was appended before the call is in it, or is not visible
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

/** Characters of content in a page. */
export const FEED_CHARS_MAX = 262_144;
/** Changes of groups that are kept: who follows is seldom further behind, and more fill no disk. */
export const CHANGES_KEPT = 100_000;
