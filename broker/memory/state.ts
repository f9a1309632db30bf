/** State of the memory broker: users, conversations, and the log with all messages. */

import type { Subscriber } from "../../broker.ts";
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

/** A direct conversation or a group. */
export interface Thread {
  /** Name of the group, "" for a direct conversation. */
  readonly group: string;
  owner: string;
  open: boolean;
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
  /** Messages that wait for `one`, and for `two`. */
  waitingForOne: number;
  waitingForTwo: number;
  readonly markers: Map<string, MarkerState>;
  /** Positions of its messages, ascending. */
  seqs: number[];
  /** Number of ended memberships that still need its messages. */
  endedKept: number;
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
  /** Threads by the user or the group at the other end. */
  readonly threads: Map<string, Thread>;
  /** Memberships of groups that have ended, those first that ended first. */
  ended: Ended[];
  /** Positions of messages with an id, while they are kept; undefined before the first. */
  ids: Map<string, number> | undefined;
  /** Replaced, never changed: a delivery that is under way goes on with the list it has. */
  subscribers: readonly Subscriber[];
  /** Number of direct messages that no device of the user has. */
  waiting: number;
  /** Number of groups among the threads that the user created or joined. */
  groups: number;
  /** Number of groups among the threads that others brought the user into, by inviter. */
  readonly invitations: Map<string, number>;
  /** Groups that the user left after an invitation, by inviter. */
  readonly declined: Map<string, Set<string>>;
  /** Highest position that retention removed from what the user could see. */
  horizon: number;
  /** Milliseconds since 1970, 0 for never. */
  lastSeen: number;
}

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
      const invitations = { invitations: new Map(), declined: new Map() };
      const maps = { devices: new Map(), threads: new Map(), ended: [], ...invitations, ids: undefined };
      user = { name, ...maps, subscribers: [], waiting: 0, groups: 0, horizon: 0, lastSeen: 0 };
      this.users.set(name, user);
    }
    return user;
  }
}

/** Makes a direct conversation of one or two users, which are known to it from the first message on. */
export function newDirect(members: Map<string, number>, one?: User, two?: User): Thread {
  const nobody = { inviters: NO_INVITERS, passive: NO_NAMES, users: NO_USERS };
  const none = { waitingForOne: 0, waitingForTwo: 0, endedKept: 0 };
  return { group: "", owner: "", open: false, members, ...nobody, one, two, ...none, markers: new Map(), seqs: [] };
}

/** Makes a group without members. */
export function newGroup(group: string, owner: string, open: boolean): Thread {
  const members = new Map<string, number>(), users = new Set<User>(), markers = new Map<string, MarkerState>();
  const inviters = new Map<string, string>(), passive = new Set<string>();
  const none = { one: undefined, two: undefined, waitingForOne: 0, waitingForTwo: 0, endedKept: 0 };
  return { group, owner, open, members, inviters, passive, users, ...none, markers, seqs: [] };
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
