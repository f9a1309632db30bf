/**
 * The broker that keeps everything in this process: for trying Parley out, for tests, and where messages may be lost at the end.
 * It gives the guarantees of the port for as long as it lives; "durable" means nothing more here.
 */

import type {
  Appended,
  Attached,
  AttachOptions,
  Broker,
  BrokerRefusal,
  ConversationCursor,
  ConversationPage,
  DeviceMove,
  Draft,
  Found,
  GroupAnswer,
  GroupRequest,
  HistoryQuery,
  Marker,
  MarkerMove,
  MarkerResult,
  Page,
  SearchQuery,
  Signal,
  Stored,
  Subscriber,
  Subscription,
} from "../broker.ts";
import { type Clocks, SYSTEM_CLOCKS } from "./clocks.ts";
import { deviceToForget, WAITING_SCANNED_MAX } from "./device_rules.ts";
import { type BrokerLimits, DEFAULT_LIMITS, DEVICES_KEPT, shareOf } from "./limits.ts";
import { authorsBetween, countOthers, firstAfter, firstBy } from "./memory/counting.ts";
import { eraseUser } from "./memory/erasing.ts";
import { endedPassed } from "./memory/ended.ts";
import { MemoryFeed } from "./memory/feed.ts";
import { agree, MemoryGroups } from "./memory/groups.ts";
import type { MessageLog } from "./memory/message_log.ts";
import { MemoryReading, rangesOf } from "./memory/reading.ts";
import { Retention } from "./memory/retention.ts";
import { searchThreads } from "./memory/searching.ts";
import {
  addThread,
  addWaiting,
  type MarkerState,
  MemoryState,
  newDirect,
  otherOf,
  ownRead,
  type Thread,
  type User,
  waitingIn,
} from "./memory/state.ts";
import { isGroup } from "./names.ts";
import {
  idConflict,
  mailboxFull,
  mailboxShareFull,
  NO_ROOM,
  notMember,
  unknownGroup,
  unknownRecipient,
  unknownUser,
} from "./refusals.ts";

/** Messages that are kept in all: a quarter of a gigabyte of ordinary chat. */
export const MEMORY_MESSAGES_MAX = 1_000_000;

/** Options of a {@linkcode MemoryBroker}. */
export interface MemoryOptions extends Partial<BrokerLimits> {
  /** Messages that are kept in all, {@linkcode MEMORY_MESSAGES_MAX} by default. */
  readonly messagesMax?: number;
  /** The machine's by default. */
  readonly clocks?: Clocks;
}

/** Markers in a page: as many as are told at once. */
const MARKERS_PAGE = 512;

const NOBODY: readonly string[] = [];

/** A {@linkcode Broker} in memory. */
export class MemoryBroker implements Broker {
  readonly epoch: string = crypto.randomUUID().slice(0, 8);
  readonly #mailbox: number;
  readonly #clocks: Clocks;
  readonly #state = new MemoryState();
  /** Parts of the state, which the hot path takes without a detour. */
  readonly #users: Map<string, User> = this.#state.users;
  readonly #log: MessageLog = this.#state.log;
  readonly #retention: Retention;
  readonly #reading: MemoryReading;
  readonly #groups: MemoryGroups;
  readonly feed: MemoryFeed;

  constructor(options: MemoryOptions = {}) {
    const limits = { ...DEFAULT_LIMITS, ...options };
    this.#mailbox = limits.mailbox;
    this.#clocks = options.clocks ?? SYSTEM_CLOCKS;
    this.#retention = new Retention(this.#state, limits.retentionDays, options.messagesMax ?? MEMORY_MESSAGES_MAX);
    this.#reading = new MemoryReading(this.#state);
    this.#groups = new MemoryGroups(this.#state, this.#retention, limits);
    this.feed = new MemoryFeed(this.#state, this.#clocks);
  }

  // ---- Users and devices ----

  attach(name: string, device: string, { last, temporary = false }: AttachOptions = {}): Promise<Attached> {
    const user = this.#state.user(name), { head } = this.#log;
    const known = user.devices.get(device);
    const position = known?.position ?? this.#start(user, last);
    if (known === undefined) this.#makeRoom(user);
    user.devices.set(device, { position, attached: head, temporary: temporary && known?.temporary !== false });
    return Promise.resolve({ position, isNew: known === undefined, horizon: user.horizon, head, isLost: false });
  }

  /** Forgets a device of a user who has as many as are remembered. */
  #makeRoom(user: User): void {
    if (user.devices.size < DEVICES_KEPT) return;
    const devices = [...user.devices].map(([name, device]) => ({ name, ...device }));
    const gone = deviceToForget(devices, ({ name, position }) => this.#hasWaiting(user, name, position));
    if (gone) user.devices.delete(gone.name);
  }

  /** Returns true where there is a message after `position` that the device did not send itself. */
  #hasWaiting(user: User, device: string, position: number): boolean {
    for (const { thread: { seqs }, since } of rangesOf(user)) {
      const from = firstAfter(seqs, Math.max(since, position));
      if (seqs.length - from >= WAITING_SCANNED_MAX) return true;
      const isOthers = ({ sender, origin }: Stored) => sender !== user.name || origin !== device;
      if (seqs.slice(from).some((seq) => isOthers(this.#log.get(seq)!))) return true;
    }
    return false;
  }

  /** Returns the position at which a new device starts. */
  #start(user: User, last: number | undefined): number {
    // Who was never here may have been written to: an administrator made them known.
    if (user.devices.size === 0 && hasMail(user)) return 0;
    if (last === undefined) {
      return user.devices.size === 0 ? this.#log.head : Math.max(...[...user.devices.values()].map(({ position }) => position));
    }
    return this.#reading.startOfLast(user, last);
  }

  advance(moves: readonly DeviceMove[]): Promise<void> {
    for (const { user: name, device, seq: wanted } of moves) {
      const user = this.#users.get(name), known = user?.devices.get(device), seq = Math.min(wanted, this.#log.head);
      if (!user || !known || seq <= known.position) continue;
      known.position = seq;
      endedPassed(user, this.#retention);
    }
    return Promise.resolve();
  }

  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]> {
    return Promise.resolve(users.map((name) => this.#users.get(name)?.lastSeen));
  }

  seen(names: readonly string[], at: number): Promise<void> {
    for (const name of names) {
      const user = this.#state.user(name);
      user.lastSeen = Math.max(user.lastSeen, at);
    }
    return Promise.resolve();
  }

  // ---- Sending ----

  append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    const ts = this.#clocks.now();
    this.#retention.expireIfDue(this.#clocks.monotonic());
    const results = new Array<Appended>(drafts.length);
    for (let i = 0; i < drafts.length; i++) results[i] = this.#append(drafts[i]!, ts);
    this.feed.notify();
    return Promise.resolve(results);
  }

  #append(draft: Draft, ts: number): Appended {
    const sender = this.#state.user(draft.sender);
    if (draft.id !== undefined) {
      const stored = sender.ids?.get(draft.id);
      if (stored !== undefined) return repeated(this.#log.get(stored)!, draft, draft.id);
    }
    const known = sender.threads.get(draft.recipient), thread = known ?? this.#newThread(sender, draft.recipient);
    if ("code" in thread) return thread;
    const recipient = otherOf(thread, sender);
    const full = recipient && this.#whyFull(thread, recipient);
    if (full) return full;
    if (!this.#retention.hasRoom()) return NO_ROOM;
    if (!known) begin(thread);
    // The names as the broker has them: every message shares them.
    const from = sender.name, to = recipient?.name ?? (thread.group || from);
    const { content, id, origin } = draft;
    const seq = this.#log.head + 1;
    const message: Stored = { sender: from, recipient: to, content, id, origin, seq, ts };
    thread.push(message);
    if (id !== undefined) (sender.ids ??= new Map()).set(id, seq);
    if (recipient) addWaiting(thread, recipient, 1);
    else if (thread.passive.has(from)) agree(thread, from);
    deliver(message, thread, sender, recipient);
    return { seq, ts, duplicate: false };
  }

  /** Returns the refusal for a mailbox that takes no more, or no more of this conversation. */
  #whyFull(thread: Thread, recipient: User): BrokerRefusal | undefined {
    const { name, waiting } = recipient, own = waitingIn(thread, recipient);
    if (waiting >= this.#mailbox) return mailboxFull(name);
    return own >= shareOf(this.#mailbox, waiting - own) ? mailboxShareFull(name) : undefined;
  }

  /** Makes the direct conversation of two users who have none; {@linkcode begin} keeps it, once it has a message. */
  #newThread(sender: User, address: string): Thread | BrokerRefusal {
    if (isGroup(address)) return this.#whyNotIn(address);
    const other = this.#users.get(address);
    return other
      ? newDirect(this.#log, new Map([[sender.name, 0], [other.name, 0]]), sender, other)
      : unknownRecipient(address);
  }

  /** Returns the refusal for a group that is not among a user's threads. */
  #whyNotIn(group: string): BrokerRefusal {
    return this.#state.groups.has(group) ? notMember(group) : unknownGroup(group);
  }

  subscribe(name: string, subscriber: Subscriber): Subscription {
    const user = this.#state.user(name);
    user.subscribers = user.subscribers.concat(subscriber);
    return new MemorySubscription(user, subscriber);
  }

  signal(names: readonly string[], signal: Signal): void {
    for (const name of names) {
      for (const subscriber of this.#users.get(name)?.subscribers ?? []) subscriber.signal(signal);
    }
  }

  // ---- Reading ----

  read(name: string, after: number, limit: number): Promise<Page> {
    const user = this.#users.get(name);
    return Promise.resolve(user ? this.#reading.read(user, after, limit) : { messages: [], more: false });
  }

  history(name: string, query: HistoryQuery): Promise<Page | BrokerRefusal> {
    const thread = this.#existing(name, query.with);
    if ("code" in thread) return Promise.resolve(thread);
    const { seqs } = thread;
    const since = thread.members.get(name)!;
    const low = firstAfter(seqs, Math.max(since, query.after ?? 0));
    const high = query.before === undefined ? seqs.length : firstAfter(seqs, query.before - 1);
    const forward = query.after !== undefined && query.before === undefined;
    const start = forward ? low : Math.max(low, high - query.limit);
    const end = forward ? Math.min(high, low + query.limit) : high;
    const messages = seqs.slice(start, Math.max(start, end)).map((seq) => this.#log.get(seq)!);
    return Promise.resolve({ messages, more: forward ? end < high : start > low });
  }

  /** Returns the thread of `name` and `other`; one without messages, which is not kept, where they have none yet. */
  #existing(name: string, other: string): Thread | BrokerRefusal {
    const thread = this.#users.get(name)?.threads.get(other);
    if (thread) return thread;
    if (isGroup(other)) return this.#whyNotIn(other);
    return this.#users.has(other) ? newDirect(this.#log, new Map([[name, 0]])) : unknownUser(other);
  }

  conversations(name: string, limit: number, before?: ConversationCursor): Promise<ConversationPage> {
    const user = this.#users.get(name);
    return Promise.resolve(user ? this.#reading.conversations(user, limit, before) : { conversations: [], more: false });
  }

  search(name: string, query: SearchQuery): Promise<Found | BrokerRefusal> {
    const thread = query.with === undefined ? undefined : this.#existing(name, query.with);
    if (thread && "code" in thread) return Promise.resolve(thread);
    const threads = thread ? [thread] : [...this.#users.get(name)?.threads.values() ?? []];
    return Promise.resolve(searchThreads(this.#log, threads, name, query));
  }

  // ---- Markers ----

  mark(moves: readonly MarkerMove[]): Promise<readonly MarkerResult[]> {
    const ts = this.#clocks.now();
    return Promise.resolve(moves.map((move) => this.#move(move, ts)));
  }

  #move({ user: name, kind, with: other, seq: wanted, private: isPrivate }: MarkerMove, ts: number): MarkerResult {
    const user = this.#users.get(name);
    const thread = user?.threads.get(other);
    if (!user || !thread) return { moved: false, authors: NOBODY, ts };
    let markers = thread.markers.get(name);
    if (!markers) thread.markers.set(name, markers = newMarkers());
    const seq = Math.min(wanted, this.#log.head);
    if (isPrivate && kind === "read") return { moved: this.#moveOwn(markers, seq, ts), authors: NOBODY, ts };
    const before = markers[kind];
    if (seq <= before) return { moved: false, authors: NOBODY, ts };
    const isDirect = thread.group === "";
    if (seq > markers.delivered) {
      if (isDirect) addWaiting(thread, user, -countOthers(this.#log, thread.seqs, name, markers.delivered, seq));
      markers.delivered = seq;
      this.#retention.delivered();
    }
    if (kind === "read") markers.read = seq;
    markers.ts = ts;
    markers.at = this.#log.head;
    if (!isDirect) {
      const authors = authorsBetween(this.#log, thread, name, Math.max(before, thread.members.get(name)!), seq);
      return { moved: true, authors, ts };
    }
    return { moved: true, authors: countOthers(this.#log, thread.seqs, name, before, seq) > 0 ? [other] : NOBODY, ts };
  }

  #moveOwn(markers: MarkerState, seq: number, ts: number): boolean {
    if (seq <= ownRead(markers)) return false;
    Object.assign(markers.own, { read: seq, ts, at: this.#log.head });
    return true;
  }

  markAll(name: string, wanted: number): Promise<readonly (MarkerMove & MarkerResult)[]> {
    const ts = this.#clocks.now(), seq = Math.min(wanted, this.#log.head);
    const moved: (MarkerMove & MarkerResult)[] = [];
    const user = this.#users.get(name);
    for (const [other, thread] of user?.threads ?? []) {
      const move = this.#deliverUpTo(user!, other, thread, seq, ts);
      if (move) moved.push(move);
    }
    return Promise.resolve(moved);
  }

  /** Moves `delivered` of one conversation up to a position; returns what there is to tell of it. */
  #deliverUpTo(user: User, other: string, thread: Thread, upTo: number, ts: number): MarkerMove & MarkerResult | undefined {
    const { name } = user, seq = Math.min(upTo, thread.seqs.at(-1) ?? 0), markers = thread.markers.get(name);
    const before = Math.max(markers?.delivered ?? 0, thread.members.get(name)!);
    if (seq <= before) return undefined;
    const authors = authorsBetween(this.#log, thread, name, before, seq);
    if (authors.length === 0) {
      // All of it is the user's own: it is not looked at again, and nobody is told.
      if (thread.group === "") user.waiting -= countOthers(this.#log, thread.seqs, name, before, seq);
      if (markers) markers.delivered = seq;
      else thread.markers.set(name, { ...newMarkers(), delivered: seq });
      return undefined;
    }
    const { moved } = this.#move({ user: name, kind: "delivered", with: other, seq }, ts);
    return { user: name, kind: "delivered", with: other, seq, moved, authors, ts };
  }

  async *markers(name: string, since: number): AsyncIterable<readonly Marker[]> {
    let page: Marker[] = [];
    for (const [other, thread] of this.#users.get(name)?.threads ?? []) {
      const wrote = thread.group && thread.markers.size > 0 ? firstBy(this.#log, thread.seqs, name) : 0;
      const mine = thread.markers.get(name);
      if (mine && ownRead(mine) > 0 && Math.max(mine.at, mine.own.at) >= since) {
        const ts = mine.own.read > mine.read ? mine.own.ts : mine.ts;
        page.push({ user: name, kind: "read", with: other, seq: ownRead(mine), ts });
      }
      for (const [user, { delivered, read, ts, at }] of thread.markers) {
        if (user === name || at < since || delivered < wrote) continue;
        const conversation = thread.group ? other : name;
        if (delivered) page.push({ user, kind: "delivered", with: conversation, seq: delivered, ts });
        if (read) page.push({ user, kind: "read", with: conversation, seq: read, ts });
        if (page.length < MARKERS_PAGE) continue;
        yield page;
        page = [];
      }
    }
    await Promise.resolve();
    yield page;
  }

  // ---- Groups ----

  group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    // Who was brought in and joins is a member already: nothing that others see has changed.
    const isMember = request.op === "join" && this.#users.get(request.user)?.threads.has(request.group) === true;
    const answer = this.#groups.answer(request);
    if (request.op !== "list" && "changed" in answer && answer.changed && !isMember) this.feed.note(request, answer);
    return Promise.resolve(answer);
  }

  // ---- Erasure ----

  erase(name: string): Promise<number> {
    const user = this.#users.get(name);
    return Promise.resolve(user ? eraseUser(this.#state, user, this.#retention) : 0);
  }

  // ---- Retention ----

  /** Removes what is too old now; returns the number of messages that went. Sending does so by itself, once an hour. */
  expire(): number {
    return this.#retention.expire(this.#clocks.monotonic());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/** One subscriber's place among those of a user. */
class MemorySubscription implements Subscription {
  readonly #user: User;
  readonly #subscriber: Subscriber;

  constructor(user: User, subscriber: Subscriber) {
    this.#user = user;
    this.#subscriber = subscriber;
  }

  close(): void {
    this.#user.subscribers = this.#user.subscribers.filter((other) => other !== this.#subscriber);
  }
}

/** Returns whether there is a message that the user may have. */
function hasMail(user: User): boolean {
  for (const { thread: { seqs }, since, until } of rangesOf(user)) {
    const first = seqs[firstAfter(seqs, since)];
    if (first !== undefined && first <= until) return true;
  }
  return false;
}

/** Keeps a direct conversation among those of its users. */
function begin(thread: Thread): void {
  const one = thread.one!, two = thread.two!;
  addThread(one, two.name, thread);
  addThread(two, one.name, thread);
}

function deliver(message: Stored, thread: Thread, sender: User, recipient: User | undefined): void {
  if (thread.group !== "") {
    for (const { subscribers } of thread.users) for (const subscriber of subscribers) subscriber.message(message);
    return;
  }
  if (recipient) { for (const subscriber of recipient.subscribers) subscriber.message(message); }
  for (const subscriber of sender.subscribers) subscriber.message(message);
}

/** Makes markers that have never moved: nobody is told of them. */
function newMarkers(): MarkerState {
  return { delivered: 0, read: 0, ts: 0, at: -1, own: { read: 0, ts: 0, at: -1 } };
}

/** Answers a draft whose id is taken by `stored`. */
function repeated(stored: Stored, { recipient, content }: Draft, id: string): Appended {
  if (stored.recipient !== recipient || stored.content !== content) return idConflict(id);
  return { seq: stored.seq, ts: stored.ts, duplicate: true };
}
