/** State of the memory broker: users, conversations, and the log with all messages. */

import type { Stored, Subscriber } from "../../broker.ts";
import { MessageLog } from "./message_log.ts";

/** Markers of one user in one conversation: positions, 0 for none. */
export interface MarkerState {
  delivered: number;
  read: number;
  /** Milliseconds since 1970 at which one of them moved last. */
  ts: number;
  /** Position of the head at that time. */
  at: number;
  /** The private read marker, with its own time and head: those of the others must not tell of it. */
  readonly own: { read: number; ts: number; at: number };
}

/** A device of a user. */
export interface DeviceState {
  /** Position that it has confirmed. */
  position: number;
  /** Position of the head when it was attached last. */
  attached: number;
  /** True where the server made its name up. */
  temporary: boolean;
}

/** Parts of a {@linkcode Thread} that differ between conversations and groups. */
interface ThreadParts {
  /** Name of the group, "" for a direct conversation. */
  readonly group: string;
  readonly owner: string;
  readonly open: boolean;
  /** Members and the position since which they see messages, in the order of joining. */
  readonly members: Map<string, number>;
  /** Members of a group who were brought in, and by whom. */
  readonly inviters: Map<string, string>;
  /** Members who were brought in and have neither joined nor written since. */
  readonly passive: Set<string>;
  /** Members of a group as objects: looking up a thousand names for every message would be most of its cost. */
  readonly users: Set<User>;
  /** The two of a direct conversation, who may be the same; in fields, since the hot path reads them for every message. */
  readonly one: User | undefined;
  readonly two: User | undefined;
}

/** Positions that are linked at most: listing as many takes a millisecond or two. */
const LINKED_MAX = 16_384;

/**
 * A direct conversation or a group.
 *
 * At random recipients a message finds its conversation out of the processor's cache, and a list of positions would be two more
 * misses. So the newest positions are linked in the log, each message to the one before, and are listed when somebody asks.
 */
export class Thread implements ThreadParts {
  readonly group: string;
  owner: string;
  open: boolean;
  readonly members: Map<string, number>;
  readonly inviters: Map<string, string>;
  readonly passive: Set<string>;
  readonly users: Set<User>;
  readonly one: User | undefined;
  readonly two: User | undefined;
  /** Messages that wait for `one`, and for `two`. */
  waitingForOne = 0;
  waitingForTwo = 0;
  readonly markers: Map<string, MarkerState> = new Map();
  /** Number of ended memberships that still need its messages. */
  endedKept = 0;
  readonly #log: MessageLog;
  #listed: number[] = [];
  /** Newest of the positions that are not listed; 0 where all are. */
  #newest = 0;
  #linked = 0;

  constructor(log: MessageLog, parts: ThreadParts) {
    this.#log = log;
    this.group = parts.group;
    this.owner = parts.owner;
    this.open = parts.open;
    this.members = parts.members;
    this.inviters = parts.inviters;
    this.passive = parts.passive;
    this.users = parts.users;
    this.one = parts.one;
    this.two = parts.two;
  }

  /** Adds a message of this thread to the log, at its head. */
  push(message: Stored): void {
    if (this.#linked >= LINKED_MAX) this.list();
    this.#log.push(message, this.#newest);
    this.#newest = message.seq;
    this.#linked++;
  }

  /** Positions of its messages, ascending. */
  get seqs(): number[] {
    if (this.#linked > 0) this.list();
    return this.#listed;
  }

  set seqs(seqs: number[]) {
    this.#listed = seqs;
    this.#newest = this.#linked = 0;
  }

  /** Lists what is linked: before a message of this thread is deleted from the log, and the link with it. */
  list(): void {
    const listed = this.#listed, start = listed.length;
    for (let i = 0; i < this.#linked; i++) listed.push(0);
    for (let i = listed.length - 1, seq = this.#newest; i >= start; i--, seq = this.#log.previous(seq)) listed[i] = seq;
    this.#newest = this.#linked = 0;
  }
}

/** A membership that has ended: messages after `since` and up to `until` are due to devices that were away. */
export interface Ended {
  readonly thread: Thread;
  readonly since: number;
  readonly until: number;
}

/** A user who was connected once, or subscribed to. */
export interface User {
  readonly name: string;
  readonly devices: Map<string, DeviceState>;
  /** Threads by the user or the group at the other end; changed by {@linkcode addThread} and {@linkcode removeThread} alone. */
  threads: ReadonlyMap<string, Thread>;
  /** Memberships of groups that have ended, those first that ended first. */
  ended: readonly Ended[];
  /** Positions of messages with an id, while they are kept; undefined before the first. */
  ids: Map<string, number> | undefined;
  /** Replaced, never changed: a delivery that is under way goes on with the list it has. */
  subscribers: readonly Subscriber[];
  /** Number of direct messages that no device of the user has. */
  waiting: number;
  /** Number of groups among the threads that the user created or joined. */
  groups: number;
  /** Number of groups among the threads that others brought the user into, by inviter; undefined before the first. */
  invitations: Map<string, number> | undefined;
  /** Groups that the user left after an invitation, by inviter; undefined before the first. */
  declined: Map<string, Set<string>> | undefined;
  /** Highest position that retention removed from what the user could see. */
  horizon: number;
  /** Milliseconds since 1970, 0 for never. */
  lastSeen: number;
}

/** Shared by all who have none: an empty map is a quarter of a KiB. */
const NO_THREADS: ReadonlyMap<string, Thread> = new Map();
const NO_ENDED: readonly Ended[] = [];
const NO_SUBSCRIBERS: readonly Subscriber[] = [];
const NO_USERS: Set<User> = new Set();
const NO_NAMES: Set<string> = new Set();
const NO_INVITERS: Map<string, string> = new Map();

/** Users, groups and messages of one broker. */
export class MemoryState {
  readonly users = new Map<string, User>();
  readonly groups = new Map<string, Thread>();
  /** Groups that have ended, of which a device is due something, by name; the ones that ended first come first. */
  readonly endedGroups = new Map<string, readonly Thread[]>();
  readonly log = new MessageLog();
  /** Highest position of a message that was removed; 0 for none. */
  removed = 0;

  /** Returns a user, who is registered if unknown. */
  user(name: string): User {
    let user = this.users.get(name);
    if (!user) {
      user = {
        name,
        devices: new Map(),
        threads: NO_THREADS,
        ended: NO_ENDED,
        ids: undefined,
        subscribers: NO_SUBSCRIBERS,
        waiting: 0,
        groups: 0,
        invitations: undefined,
        declined: undefined,
        horizon: 0,
        lastSeen: 0,
      };
      this.users.set(name, user);
    }
    return user;
  }
}

/** Adds a thread to those of a user. */
export function addThread(user: User, other: string, thread: Thread): void {
  if (user.threads === NO_THREADS) user.threads = new Map();
  (user.threads as Map<string, Thread>).set(other, thread);
}

/** Removes a thread that a user has. */
export function removeThread(user: User, other: string): void {
  (user.threads as Map<string, Thread>).delete(other);
}

/** Makes a direct conversation of one or two users, which are known to it from the first message on. */
export function newDirect(log: MessageLog, members: Map<string, number>, one?: User, two?: User): Thread {
  const nobody = { inviters: NO_INVITERS, passive: NO_NAMES, users: NO_USERS };
  return new Thread(log, { group: "", owner: "", open: false, members, ...nobody, one, two });
}

/** Makes a group without members. */
export function newGroup(log: MessageLog, group: string, owner: string, open: boolean): Thread {
  const nobody = { members: new Map(), inviters: new Map(), passive: new Set<string>(), users: new Set<User>() };
  return new Thread(log, { group, owner, open, ...nobody, one: undefined, two: undefined });
}

/** Returns the receiver of a message of `sender` in a direct conversation; undefined for a group, and for notes to oneself. */
export function otherOf(thread: Thread, sender: User): User | undefined {
  const other = thread.one === sender ? thread.two : thread.one;
  return other === sender ? undefined : other;
}

/** Returns the number of messages of a direct conversation that wait for one of the two. */
export function waitingIn(thread: Thread, user: User): number {
  return user === thread.one ? thread.waitingForOne : thread.waitingForTwo;
}

/** Changes the number of messages of a direct conversation that wait for one of the two. */
export function addWaiting(thread: Thread, user: User, count: number): void {
  user.waiting += count;
  if (user === thread.one) thread.waitingForOne += count;
  else thread.waitingForTwo += count;
}

/** Returns the position up to which the user has read, whether others know it or not; 0 for none. */
export function ownRead(markers: MarkerState | undefined): number {
  return markers ? Math.max(markers.read, markers.own.read) : 0;
}
