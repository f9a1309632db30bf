/** Removal of messages from memory: those that are too old, and delivered ones where there is no room. */

import type { Stored } from "../../broker.ts";
import { DAY_MS } from "../limits.ts";
import { isGroup } from "../names.ts";
import { firstAfter } from "./counting.ts";
import { addWaiting, type MemoryState, type Thread } from "./state.ts";

/** One part in so many of the messages goes at once where room is made: small, as nobody is served meanwhile. */
const ROOM_PARTS = 100;
/** One part in so many of the messages looked at has to go, so that those that wait are not looked at again for every few. */
const ROOM_LOOKED_AT_PARTS = 10;

/** Milliseconds between two looks for messages that are too old: an hour more is nothing to an age in days. */
const EXPIRE_INTERVAL_MS = 3_600_000;
/** Milliseconds between two notes of the head: retention is as exact as they are. */
const TICK_MS = 60_000;

/** Position of the head at a time of the monotonic clock. */
interface Tick {
  readonly at: number;
  readonly seq: number;
}

/** Removes messages of a {@linkcode MemoryState}. */
export class Retention {
  readonly #state: MemoryState;
  readonly #days: number;
  readonly #messagesMax: number;
  /** True after a search for room that found none: another one would be in vain, and slow, until something is delivered. */
  #isJammed = false;
  /** Monotonic milliseconds after which it is time to look again. */
  #due = -Infinity;
  /** Notes of the head, oldest first: what is at or before one of them is at least as old. */
  #ticks: Tick[] = [];

  constructor(state: MemoryState, days: number, messagesMax: number) {
    this.#state = state;
    this.#days = days;
    this.#messagesMax = messagesMax;
  }

  /** Removes what is too old at `at` by the monotonic clock, at most once an hour. Before every append. */
  expireIfDue(at: number): void {
    if (at >= (this.#ticks.at(-1)?.at ?? -Infinity) + TICK_MS) this.#note(at);
    if (at <= this.#due) return;
    this.#due = at + EXPIRE_INTERVAL_MS;
    this.expire(at);
  }

  #note(at: number): void {
    if (Number.isFinite(this.#days)) this.#ticks.push({ at, seq: this.#state.log.head });
  }

  /** Removes what is too old at `at` by the monotonic clock; returns the number of messages that went. */
  expire(at: number): number {
    this.#note(at);
    const limit = at - this.#days * DAY_MS;
    const kept = this.#ticks.findIndex((tick) => tick.at >= limit);
    const upTo = this.#ticks.splice(0, kept < 0 ? this.#ticks.length : kept).at(-1)?.seq ?? 0;
    const old: Stored[] = [];
    for (const message of this.#state.log.all()) {
      if (message.seq > upTo) break;
      old.push(message);
    }
    this.#remove(old);
    return old.length;
  }

  /** Returns true where one more message fits in, after removing some of the oldest delivered ones if need be. */
  hasRoom(): boolean {
    return this.#state.log.size < this.#messagesMax || this.#makeRoom();
  }

  /** Tells that a message was delivered: it may be removed now. */
  delivered(): void {
    this.#isJammed = false;
  }

  /** Removes the messages of a group, if it has ended and no device is due any. */
  removeIfEnded(thread: Thread): void {
    if (thread.members.size > 0) return;
    const { endedGroups, log } = this.#state, { group } = thread;
    const others = (endedGroups.get(group) ?? []).filter((other) => other !== thread);
    const isKept = thread.endedKept > 0;
    if (isKept || others.length > 0) endedGroups.set(group, isKept ? [...others, thread] : others);
    else endedGroups.delete(group);
    if (isKept) return;
    for (const seq of thread.seqs) this.#removeOne(log.get(seq)!);
    thread.seqs = [];
  }

  #makeRoom(): boolean {
    if (this.#isJammed) return false;
    const wanted = Math.ceil(this.#messagesMax / ROOM_PARTS);
    const oldest: Stored[] = [];
    let lookedAt = 0;
    for (const message of this.#state.log.all()) {
      if (oldest.length >= wanted && oldest.length >= lookedAt / ROOM_LOOKED_AT_PARTS) break;
      lookedAt++;
      if (this.#isDelivered(message)) oldest.push(message);
    }
    this.#remove(oldest);
    this.#isJammed = oldest.length === 0;
    return oldest.length > 0;
  }

  #isDelivered({ sender, recipient, seq }: Stored): boolean {
    if (recipient === sender || isGroup(recipient)) return true;
    return (this.#state.users.get(recipient)!.threads.get(sender)?.markers.get(recipient)?.delivered ?? 0) >= seq;
  }

  /** Removes messages, given oldest first. */
  #remove(messages: readonly Stored[]): void {
    const { users } = this.#state;
    const newest = new Map<Thread, number>();
    for (const message of messages) {
      const thread = this.#threadOf(message);
      if (!newest.has(thread)) thread.list(); // while all of it is there
      newest.set(thread, message.seq);
      if (!this.#isDelivered(message)) addWaiting(thread, users.get(message.recipient)!, -1);
      this.#removeOne(message);
    }
    for (const [thread, seq] of newest) this.#clean(thread, seq);
    if (newest.size > 0) this.#cleanEnded(newest);
  }

  /** Returns the thread of a message: it may be that of a group that has ended, whose name another one has now. */
  #threadOf({ sender, recipient, seq }: Stored): Thread {
    const { users, groups, endedGroups } = this.#state;
    if (!isGroup(recipient)) return users.get(sender)!.threads.get(recipient)!;
    for (const thread of endedGroups.get(recipient) ?? []) if (seq <= thread.seqs.at(-1)!) return thread;
    return groups.get(recipient)!;
  }

  /** Takes positions without a message out of a thread, up to `upTo`, and raises the horizon of those who could see them. */
  #clean(thread: Thread, upTo: number): void {
    const { users, log } = this.#state;
    for (const [name, since] of thread.members) {
      const user = users.get(name)!;
      if (upTo > since) user.horizon = Math.max(user.horizon, upTo);
    }
    const end = firstAfter(thread.seqs, upTo);
    const kept = thread.seqs.slice(0, end).filter((seq) => log.sender(seq) !== undefined);
    if (kept.length === 0) thread.seqs.splice(0, end); // moves no more than it must
    else thread.seqs = kept.concat(thread.seqs.slice(end));
  }

  /** Raises the horizon of those who were due messages that have been removed, of threads up to a position each. */
  #cleanEnded(removed: ReadonlyMap<Thread, number>): void {
    const unused = new Set<Thread>();
    for (const user of this.#state.users.values()) {
      if (user.ended.length === 0) continue;
      user.ended = user.ended.filter(({ thread, since, until }) => {
        const upTo = removed.get(thread) ?? 0;
        if (upTo > since) user.horizon = Math.max(user.horizon, Math.min(upTo, until));
        if (upTo < until) return true;
        if (--thread.endedKept === 0) unused.add(thread);
        return false;
      });
    }
    for (const thread of unused) this.removeIfEnded(thread);
  }

  #removeOne({ sender, id, seq }: Stored): void {
    if (id !== undefined) this.#state.users.get(sender)!.ids?.delete(id);
    this.#state.log.delete(seq);
    this.#state.removed = Math.max(this.#state.removed, seq);
    this.#isJammed = false;
  }
}
