/**
 * The broker that keeps everything in this process: for trying Parley out, for tests, and where messages may be lost at the end.
 * It gives the guarantees of the port for as long as it lives; "durable" means nothing more here.
 */

import type {
  Appended,
  Attached,
  Broker,
  BrokerRefusal,
  Conversation,
  Draft,
  GroupAnswer,
  GroupRequest,
  Marker,
  MarkerMove,
  MarkerResult,
  Page,
  Signal,
  Stored,
  Subscriber,
  Subscription,
} from "../broker.ts";
import { UNREAD_MAX } from "../broker/limits.ts";
import { type BrokerLimits, DEFAULT_LIMITS, DEVICES_KEPT, GROUPS_LISTED_MAX, MARK_AUTHORS_MAX, refuse } from "./limits.ts";
import { MessageLog } from "./memory/message_log.ts";

/** Messages that are kept in all: a quarter of a gigabyte of ordinary chat. */
export const MEMORY_MESSAGES_MAX = 1_000_000;

/** The part of the messages that goes at once where room is made: small, as nobody is served meanwhile. */
const ROOM_PARTS = 100;
/** At least this part of what was looked at has to go, so that what is waiting is not looked at for every few. */
const ROOM_LOOKED_AT_PARTS = 10;

/** Milliseconds between two looks for messages that are too old. */
const EXPIRE_INTERVAL_MS = 3_600_000;

/** What a {@linkcode MemoryBroker} is made of. */
export interface MemoryOptions extends Partial<BrokerLimits> {
  readonly messagesMax?: number;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
}

interface Markers {
  delivered: number;
  read: number;
  ts: number;
  /** Where the log stood when one of them moved last. */
  at: number;
}

/** A direct conversation or a group. */
interface Thread {
  /** "" for a direct conversation. */
  readonly group: string;
  owner: string;
  open: boolean;
  /** Member and the position since which they see messages, in the order of joining. */
  readonly members: Map<string, number>;
  /** A group's members: looking up a thousand names for every message would be most of its cost. */
  readonly users: Set<User>;
  /** The two of a direct conversation, who may be the same; in fields, as one look into memory less is felt. */
  readonly one: User | undefined;
  readonly two: User | undefined;
  readonly markers: Map<string, Markers>;
  /** Positions of its messages, ascending. */
  seqs: number[];
}

const NO_USERS: Set<User> = new Set();
const NOBODY: readonly string[] = [];

interface User {
  readonly name: string;
  readonly devices: Map<string, number>;
  /** Threads by who the user talks to: a user or a group. */
  readonly threads: Map<string, Thread>;
  /** Positions of messages with an id, while they are kept. */
  ids: Map<string, number> | undefined;
  subscribers: Subscriber[];
  /** Direct messages that no device of the user has. */
  waiting: number;
  /** Groups among the threads. */
  groups: number;
  horizon: number;
  lastSeen: number;
}

/** A {@linkcode Broker} in memory. */
export class MemoryBroker implements Broker {
  readonly epoch: string = crypto.randomUUID().slice(0, 8);
  readonly #limits: BrokerLimits;
  readonly #messagesMax: number;
  readonly #now: () => number;
  readonly #users = new Map<string, User>();
  readonly #groups = new Map<string, Thread>();
  readonly #log = new MessageLog();
  /** Looking for room found none, and nothing was delivered since: looking again would be in vain, and is slow. */
  #isJammed = false;
  #expiryDue = 0;

  constructor(options: MemoryOptions = {}) {
    this.#limits = { ...DEFAULT_LIMITS, ...options };
    this.#messagesMax = options.messagesMax ?? MEMORY_MESSAGES_MAX;
    this.#now = options.now ?? Date.now;
  }

  // ---- Users and devices ----

  attach(name: string, device: string, last?: number): Promise<Attached> {
    const user = this.#user(name);
    const known = user.devices.get(device);
    const position = known ?? this.#start(user, last);
    user.devices.set(device, position);
    if (known === undefined && user.devices.size > DEVICES_KEPT) forgetDevice(user.devices, device);
    return Promise.resolve({ position, isNew: known === undefined, horizon: user.horizon, head: this.#log.head });
  }

  #user(name: string): User {
    let user = this.#users.get(name);
    if (!user) {
      const maps = { devices: new Map(), threads: new Map(), ids: undefined };
      user = { name, ...maps, subscribers: [], waiting: 0, groups: 0, horizon: 0, lastSeen: 0 };
      this.#users.set(name, user);
    }
    return user;
  }

  #start(user: User, last: number | undefined): number {
    if (last === undefined) return user.devices.size === 0 ? this.#log.head : Math.max(...user.devices.values());
    if (last === 0) return this.#log.head;
    const seqs = this.#visible(user, 0).flatMap(({ seqs, from }) => seqs.slice(Math.max(from, seqs.length - last)))
      .sort((a, b) => a - b);
    const first = seqs[Math.max(0, seqs.length - last)];
    return first === undefined ? this.#log.head : first - 1;
  }

  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]> {
    return Promise.resolve(users.map((name) => this.#users.get(name)?.lastSeen));
  }

  seen(names: readonly string[], at: number): Promise<void> {
    for (const name of names) {
      const user = this.#user(name);
      user.lastSeen = Math.max(user.lastSeen, at);
    }
    return Promise.resolve();
  }

  advance(moves: readonly { readonly user: string; readonly device: string; readonly seq: number }[]): Promise<void> {
    for (const { user: name, device, seq } of moves) {
      const devices = this.#users.get(name)?.devices;
      const position = devices?.get(device);
      if (position !== undefined && seq > position) devices!.set(device, Math.min(seq, this.#log.head));
    }
    return Promise.resolve();
  }

  // ---- Messages ----

  append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    const ts = this.#now();
    if (ts > this.#expiryDue) {
      this.#expiryDue = ts + EXPIRE_INTERVAL_MS;
      this.expire();
    }
    const results = new Array<Appended>(drafts.length);
    for (let i = 0; i < drafts.length; i++) results[i] = this.#append(drafts[i]!, ts);
    return Promise.resolve(results);
  }

  #append(draft: Draft, ts: number): Appended {
    const sender = this.#user(draft.sender);
    if (draft.id !== undefined) {
      const stored = sender.ids?.get(draft.id);
      if (stored !== undefined) return repeated(this.#log.get(stored)!, draft);
    }
    const thread = this.#threadOf(sender, draft.recipient);
    if ("code" in thread) return thread;
    const recipient = otherOf(thread, sender);
    if (recipient && recipient.waiting >= this.#limits.mailbox) {
      return refuse("mailbox_full", `The mailbox of "${recipient.name}" is full; try again when they have read it`);
    }
    if (this.#log.size >= this.#messagesMax && !this.#makeRoom()) {
      return refuse("unavailable", "The server has no room for messages");
    }
    // The names as the broker has them: every message shares them.
    const from = sender.name, to = recipient?.name ?? (thread.group || from);
    const { content, id, origin } = draft;
    const seq = this.#log.head + 1;
    const message: Stored = { sender: from, recipient: to, content, id, origin, seq, ts };
    this.#log.push(message);
    thread.seqs.push(seq);
    if (id !== undefined) (sender.ids ??= new Map()).set(id, seq);
    if (recipient) recipient.waiting++;
    this.#deliver(message, thread, sender, recipient);
    return { seq, ts, duplicate: false };
  }

  #deliver(message: Stored, thread: Thread, sender: User, recipient: User | undefined): void {
    if (thread.group !== "") {
      for (const { subscribers } of thread.users) for (const subscriber of subscribers) subscriber.message(message);
      return;
    }
    if (recipient) { for (const subscriber of recipient.subscribers) subscriber.message(message); }
    for (const subscriber of sender.subscribers) subscriber.message(message);
  }

  /** The thread that a message of `sender` to `address` belongs to; a direct one is begun where there is none. */
  #threadOf(sender: User, address: string): Thread | BrokerRefusal {
    const known = sender.threads.get(address);
    if (known) return known;
    if (address.startsWith("#")) {
      if (this.#groups.has(address)) return refuse("not_member", `You are not a member of "${address}"`);
      return refuse("unknown_group", `There is no group "${address}"`);
    }
    const other = this.#users.get(address);
    if (!other) return refuse("unknown_recipient", `There is no user "${address}"; they have to connect once first`);
    const members = new Map([[sender.name, 0], [other.name, 0]]);
    const thread = newThread(members, sender, other);
    sender.threads.set(other.name, thread);
    other.threads.set(sender.name, thread);
    return thread;
  }

  subscribe(name: string, subscriber: Subscriber): Subscription {
    const user = this.#user(name);
    user.subscribers = [...user.subscribers, subscriber];
    return { close: () => void (user.subscribers = user.subscribers.filter((other) => other !== subscriber)) };
  }

  signal(name: string, signal: Signal): void {
    for (const subscriber of this.#users.get(name)?.subscribers ?? []) subscriber.signal(signal);
  }

  // ---- Reading ----

  read(name: string, after: number, limit: number): Promise<Page> {
    const user = this.#users.get(name);
    if (!user) return Promise.resolve({ messages: [], more: false });
    const found: number[] = [];
    // One more per thread than is asked for tells whether there is more.
    for (const { seqs, from } of this.#visible(user, after)) found.push(...seqs.slice(from, from + limit + 1));
    found.sort((a, b) => a - b);
    return Promise.resolve({ messages: this.#messages(found.slice(0, limit)), more: found.length > limit });
  }

  #messages(seqs: readonly number[]): Stored[] {
    return seqs.map((seq) => this.#log.get(seq)!);
  }

  /** The user's threads with something after `after`, and where in them that begins. */
  #visible(user: User, after: number): { seqs: number[]; from: number }[] {
    const found: { seqs: number[]; from: number }[] = [];
    for (const { seqs, members } of user.threads.values()) {
      const since = Math.max(after, members.get(user.name) ?? Infinity);
      if (seqs.length > 0 && seqs.at(-1)! > since) found.push({ seqs, from: firstAfter(seqs, since) });
    }
    return found;
  }

  history(
    name: string,
    query: { readonly with: string; readonly before?: number; readonly after?: number; readonly limit: number },
  ): Promise<Page | BrokerRefusal> {
    const thread = this.#existing(name, query.with);
    if ("code" in thread) return Promise.resolve(thread);
    const { seqs } = thread;
    const since = thread.members.get(name)!;
    const low = firstAfter(seqs, Math.max(since, query.after ?? 0));
    const high = query.before === undefined ? seqs.length : firstAfter(seqs, query.before - 1);
    const forward = query.after !== undefined && query.before === undefined;
    const start = forward ? low : Math.max(low, high - query.limit);
    const end = forward ? Math.min(high, low + query.limit) : high;
    const messages = this.#messages(seqs.slice(start, Math.max(start, end)));
    return Promise.resolve({ messages, more: forward ? end < high : start > low });
  }

  #existing(name: string, other: string): Thread | BrokerRefusal {
    const thread = this.#users.get(name)?.threads.get(other);
    if (thread) return thread;
    if (other.startsWith("#")) {
      if (this.#groups.has(other)) return refuse("not_member", `You are not a member of "${other}"`);
      return refuse("unknown_group", `There is no group "${other}"`);
    }
    if (!this.#users.has(other)) return refuse("unknown_recipient", `There is no user "${other}"`);
    return newThread(new Map([[name, 0]]));
  }

  conversations(name: string, limit: number): Promise<{ conversations: readonly Conversation[]; more: boolean }> {
    const rows: Conversation[] = [];
    for (const [other, thread] of this.#users.get(name)?.threads ?? []) {
      const since = thread.members.get(name)!;
      const newest = thread.seqs.at(-1) ?? 0;
      const read = thread.markers.get(name)?.read ?? 0;
      const last = newest > since ? this.#log.get(newest) : undefined;
      if (last || thread.group) {
        rows.push({ with: other, last, read, unread: this.#unread(thread.seqs, name, Math.max(read, since)) });
      }
    }
    rows.sort((a, b) => (b.last?.seq ?? 0) - (a.last?.seq ?? 0) || (a.with < b.with ? -1 : 1));
    return Promise.resolve({ conversations: rows.slice(0, limit), more: rows.length > limit });
  }

  // ---- Markers ----

  mark(marks: readonly MarkerMove[]): Promise<readonly MarkerResult[]> {
    const ts = this.#now();
    return Promise.resolve(marks.map((mark) => this.#mark(mark, ts)));
  }

  #mark({ user: name, kind, with: other, seq: wanted }: MarkerMove, ts: number): MarkerResult {
    const user = this.#users.get(name);
    const thread = user?.threads.get(other);
    if (!user || !thread) return { moved: false, authors: NOBODY, ts };
    let markers = thread.markers.get(name);
    if (!markers) thread.markers.set(name, markers = { delivered: 0, read: 0, ts: 0, at: 0 });
    const seq = Math.min(wanted, this.#log.head);
    const before = markers[kind];
    if (seq <= before) return { moved: false, authors: NOBODY, ts };
    const isDirect = thread.group === "";
    if (seq > markers.delivered) {
      if (isDirect) user.waiting -= this.#othersBetween(thread.seqs, name, markers.delivered, seq);
      markers.delivered = seq;
      this.#isJammed = false;
    }
    if (kind === "read") markers.read = seq;
    markers.ts = ts;
    markers.at = this.#log.head;
    if (!isDirect) {
      const authors = this.#authorsBetween(thread.seqs, name, Math.max(before, thread.members.get(name)!), seq);
      return { moved: true, authors, ts };
    }
    return { moved: true, authors: this.#othersBetween(thread.seqs, name, before, seq) > 0 ? [other] : NOBODY, ts };
  }

  markers(name: string, since: number): Promise<readonly Marker[]> {
    const found: Marker[] = [];
    for (const [other, thread] of this.#users.get(name)?.threads ?? []) {
      const wrote = thread.group ? this.#firstOf(thread.seqs, name) : 0;
      for (const [user, { delivered, read, ts, at }] of thread.markers) {
        if (at < since || (user !== name && delivered < wrote)) continue;
        const conversation = user === name || thread.group ? other : name;
        if (delivered && user !== name) found.push({ user, kind: "delivered", with: conversation, seq: delivered, ts });
        if (read) found.push({ user, kind: "read", with: conversation, seq: read, ts });
      }
    }
    return Promise.resolve(found);
  }

  // ---- Groups ----

  group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    return Promise.resolve(this.#group(request));
  }

  #group(request: GroupRequest): GroupAnswer | BrokerRefusal {
    if (request.op === "list") return this.#list(request.user);
    const thread = this.#groups.get(request.group);
    if (request.op === "create") return this.#create(request, thread);
    if (!thread) return refuse("unknown_group", `There is no group "${request.group}"`);
    const isMember = thread.members.has(request.user);
    if (request.op === "join") {
      if (!isMember && !thread.open) return refuse("forbidden", `"${request.group}" is by invitation only`);
      return this.#enter(thread, request.user);
    }
    if (!isMember) return refuse("not_member", `You are not a member of "${request.group}"`);
    if (!("target" in request)) return request.op === "members" ? answer(thread, false) : this.#exit(thread, request.user);
    if (request.op === "invite") {
      if (!this.#users.has(request.target)) return refuse("unknown_recipient", `There is no user "${request.target}"`);
      return this.#enter(thread, request.target);
    }
    if (thread.owner !== request.user) return refuse("forbidden", `Only the owner "${thread.owner}" may remove members`);
    if (!thread.members.has(request.target)) return refuse("not_member", `"${request.target}" is not a member`);
    return this.#exit(thread, request.target);
  }

  #create(request: Extract<GroupRequest, { op: "create" }>, existing: Thread | undefined): GroupAnswer | BrokerRefusal {
    if (existing) return refuse("group_exists", `There is a group "${request.group}" already`);
    const { group, user: owner, open } = request;
    const thread = { ...newThread(new Map()), group, owner, open };
    const entered = this.#enter(thread, owner);
    if (!("code" in entered)) this.#groups.set(group, thread);
    return entered;
  }

  #enter(thread: Thread, name: string): GroupAnswer | BrokerRefusal {
    if (thread.members.has(name)) return answer(thread, false);
    const user = this.#user(name);
    if (thread.members.size >= this.#limits.groupMembers) {
      return refuse("limit_reached", `"${thread.group}" has ${this.#limits.groupMembers} members, the most there may be`);
    }
    if (user.groups >= this.#limits.groupsPerUser) {
      return refuse("limit_reached", `"${name}" is in ${this.#limits.groupsPerUser} groups, the most one may be in`);
    }
    user.groups++;
    thread.members.set(name, this.#log.head);
    thread.users.add(this.#user(name));
    user.threads.set(thread.group, thread);
    return answer(thread, true);
  }

  #exit(thread: Thread, name: string): GroupAnswer {
    const user = this.#user(name);
    user.groups--;
    thread.members.delete(name);
    thread.users.delete(this.#user(name));
    thread.markers.delete(name);
    user.threads.delete(thread.group);
    const [eldest] = thread.members.keys();
    if (thread.owner === name) thread.owner = eldest ?? "";
    if (eldest === undefined) this.#dissolve(thread);
    return answer(thread, true);
  }

  #dissolve(thread: Thread): void {
    this.#groups.delete(thread.group);
    for (const seq of thread.seqs) this.#forget(this.#log.get(seq)!);
  }

  #list(name: string): GroupAnswer {
    const own: Thread[] = [], others: Thread[] = [];
    for (const thread of this.#groups.values()) {
      if (thread.members.has(name)) own.push(thread);
      else if (thread.open) others.push(thread);
    }
    const byName = (a: Thread, b: Thread) => a.group < b.group ? -1 : 1;
    const threads = [...own.sort(byName), ...others.sort(byName)];
    const groups = threads.slice(0, GROUPS_LISTED_MAX)
      .map(({ group, owner, open, members }) => ({ group, owner, open, members: members.size }));
    return { changed: false, members: [], groups, more: threads.length > groups.length };
  }

  // ---- Retention ----

  /** Removes what is too old; returns how many messages went. Done now and then by itself. */
  expire(): number {
    const limit = this.#now() - this.#limits.retentionDays * 86_400_000;
    const gone: Stored[] = [];
    for (const message of this.#log.all()) {
      if (message.ts >= limit) break;
      gone.push(message);
    }
    this.#remove(gone);
    return gone.length;
  }

  /** Makes room by removing some of the oldest messages that were delivered. False when there are none. */
  #makeRoom(): boolean {
    if (this.#isJammed) return false;
    const wanted = Math.ceil(this.#messagesMax / ROOM_PARTS);
    const gone: Stored[] = [];
    let lookedAt = 0;
    for (const message of this.#log.all()) {
      if (gone.length >= wanted && gone.length >= lookedAt / ROOM_LOOKED_AT_PARTS) break;
      lookedAt++;
      if (this.#isDelivered(message)) gone.push(message);
    }
    this.#remove(gone);
    this.#isJammed = gone.length === 0;
    return gone.length > 0;
  }

  #isDelivered({ sender, recipient, seq }: Stored): boolean {
    if (recipient === sender || recipient.startsWith("#")) return true;
    return (this.#users.get(recipient)!.threads.get(sender)?.markers.get(recipient)?.delivered ?? 0) >= seq;
  }

  /** Removes messages, the oldest first. */
  #remove(gone: readonly Stored[]): void {
    const newest = new Map<Thread, number>();
    for (const message of gone) {
      const thread = this.#groups.get(message.recipient) ?? this.#users.get(message.sender)!.threads.get(message.recipient)!;
      newest.set(thread, message.seq);
      if (!this.#isDelivered(message)) this.#users.get(message.recipient)!.waiting--;
      this.#forget(message);
    }
    for (const [thread, seq] of newest) {
      for (const [name, since] of thread.members) {
        const user = this.#users.get(name)!;
        if (seq > since) user.horizon = Math.max(user.horizon, seq);
      }
      const end = firstAfter(thread.seqs, seq);
      const left = thread.seqs.slice(0, end).filter((seq) => this.#log.sender(seq) !== undefined);
      if (left.length === 0) thread.seqs.splice(0, end); // moves no more than it must
      else thread.seqs = left.concat(thread.seqs.slice(end));
    }
  }

  #forget({ sender, id, seq }: Stored): void {
    if (id !== undefined) this.#users.get(sender)!.ids?.delete(id);
    this.#log.delete(seq);
    this.#isJammed = false;
  }

  // ---- Counting ----

  #othersBetween(seqs: readonly number[], name: string, after: number, upTo: number): number {
    let count = 0;
    for (let i = firstAfter(seqs, after); i < seqs.length && seqs[i]! <= upTo; i++) {
      if (this.#log.sender(seqs[i]!) !== name) count++;
    }
    return count;
  }

  /** Authors of messages in between, the most recent first, up to a bound. */
  #authorsBetween(seqs: readonly number[], name: string, after: number, upTo: number): string[] {
    const authors = new Set<string>();
    for (let i = firstAfter(seqs, upTo) - 1; i >= 0 && seqs[i]! > after && authors.size < MARK_AUTHORS_MAX; i--) {
      const sender = this.#log.sender(seqs[i]!)!;
      if (sender !== name) authors.add(sender);
    }
    return [...authors];
  }

  /** The first position of a message by `name`, or infinity. */
  #firstOf(seqs: readonly number[], name: string): number {
    return seqs.find((seq) => this.#log.sender(seq) === name) ?? Infinity;
  }

  #unread(seqs: readonly number[], name: string, after: number): number {
    let count = 0;
    for (let i = seqs.length - 1; i >= 0 && seqs[i]! > after && count < UNREAD_MAX; i--) {
      if (this.#log.sender(seqs[i]!) !== name) count++;
    }
    return count;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

function newThread(members: Map<string, number>, one?: User, two?: User): Thread {
  const users = one ? NO_USERS : new Set<User>();
  return { group: "", owner: "", open: false, members, users, one, two, markers: new Map(), seqs: [] };
}

/** Whom a message of `sender` in a direct conversation goes to; undefined for a group, and for notes to oneself. */
function otherOf(thread: Thread, sender: User): User | undefined {
  const other = thread.one === sender ? thread.two : thread.one;
  return other === sender ? undefined : other;
}

/** What becomes of a draft whose id is taken. */
function repeated(stored: Stored, draft: Draft): Appended {
  const isSame = stored.recipient === draft.recipient && stored.content === draft.content;
  if (isSame) return { seq: stored.seq, ts: stored.ts, duplicate: true };
  return refuse("id_conflict", `The id "${draft.id}" was used for another message`);
}

function answer(thread: Thread, changed: boolean): GroupAnswer {
  return { changed, members: [...thread.members.keys()], owner: thread.owner };
}

/** Forgets the device that is furthest behind. */
function forgetDevice(devices: Map<string, number>, newest: string): void {
  const [oldest] = [...devices].filter(([name]) => name !== newest && !name.startsWith("~"))
    .sort(([a, x], [b, y]) => x - y || (a < b ? -1 : 1));
  if (oldest) devices.delete(oldest[0]);
}

/** Index of the first position after `seq`. Mostly one of the newest is asked for: the steps back from there double. */
function firstAfter(seqs: readonly number[], seq: number): number {
  let high = seqs.length, step = 1;
  while (high - step >= 0 && seqs[high - step]! > seq) {
    high -= step;
    step *= 2;
  }
  let low = Math.max(0, high - step);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (seqs[middle]! > seq) high = middle;
    else low = middle + 1;
  }
  return low;
}
