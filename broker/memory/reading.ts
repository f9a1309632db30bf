/** Backlogs and lists of conversations in memory. */

import type { Conversation, ConversationCursor, ConversationPage, Page, Stored } from "../../broker.ts";
import { UNREAD_LOOKED_MAX, UNREAD_MAX } from "../limits.ts";
import { Merge, type Source } from "../merge.ts";
import { countOthersOfNewest, firstAfter } from "./counting.ts";
import { type MemoryState, ownRead, type Thread, type User } from "./state.ts";

/** Backlogs that are kept for their next page; the ones kept longest go first, and are made again if they are asked for. */
const KEPT_MAX = 64;

/** Place of a message. */
interface Place {
  readonly seq: number;
}

/** Messages that a user has after one position and up to another: fixed, whatever is sent, joined or left meanwhile. */
interface Backlog {
  readonly merge: Merge<Place>;
  readonly upTo: number;
}

/** A conversation in a list, and the position of its newest message; 0 for a group without any. */
interface Candidate {
  readonly other: string;
  readonly thread: Thread;
  readonly seq: number;
}

/** Reads from a {@linkcode MemoryState}. */
export class MemoryReading {
  readonly #state: MemoryState;
  /** By user and position at which the last page ended. */
  readonly #kept = new Map<string, Backlog[]>();

  constructor(state: MemoryState) {
    this.#state = state;
  }

  /** Reads a page as `MessageLog.read` of broker.ts says. */
  read(user: User, after: number, limit: number): Page {
    const { log } = this.#state, head = log.head, messages: Stored[] = [];
    let backlog = this.#take(user, after) ?? this.#backlog(user, after);
    let end = after;
    for (;;) {
      if (!backlog.merge.peek() && backlog.upTo < head) backlog = this.#backlog(user, backlog.upTo);
      const next = backlog.merge.peek();
      if (!next || messages.length >= limit) break;
      backlog.merge.pop();
      end = next.seq;
      const message = log.get(next.seq);
      if (message) messages.push(message);
    }
    const more = backlog.merge.peek() !== undefined;
    if (more) this.#keep(user, end, backlog);
    return { messages, more };
  }

  #backlog(user: User, after: number): Backlog {
    const merge = new Merge<Place>(1), upTo = this.#state.log.head;
    for (const { thread, since, until } of rangesOf(user)) {
      const low = Math.max(since, after), high = Math.min(until, upTo);
      if (Math.min(thread.seqs.at(-1) ?? 0, high) > low) merge.add(ascending(thread, low, high));
    }
    return { merge, upTo };
  }

  #take(user: User, after: number): Backlog | undefined {
    const key = `${user.name} ${after}`, same = this.#kept.get(key), backlog = same?.pop();
    if (same?.length === 0) this.#kept.delete(key);
    return backlog;
  }

  #keep(user: User, after: number, backlog: Backlog): void {
    const key = `${user.name} ${after}`, same = this.#kept.get(key) ?? [];
    this.#kept.delete(key);
    this.#kept.set(key, same);
    same.push(backlog);
    if (this.#kept.size > KEPT_MAX) this.#kept.delete(this.#kept.keys().next().value!);
  }

  /** Returns the position before the `last` newest messages that the user may see; the head where there are none. */
  startOfLast(user: User, last: number): number {
    const merge = new Merge<Place>(-1);
    for (const { thread, since, until } of last === 0 ? [] : rangesOf(user)) {
      const high = Math.min(thread.seqs.at(-1) ?? 0, until);
      if (high > since) merge.add(descending(thread, since, high), high);
    }
    let first: number | undefined;
    for (let count = 0; count < last; count++) {
      const place = merge.pop();
      if (!place) break;
      first = place.seq;
    }
    return first === undefined ? this.#state.log.head : first - 1;
  }

  /** Lists conversations as `History.conversations` of broker.ts says. */
  conversations(user: User, limit: number, before?: ConversationCursor): ConversationPage {
    const found: Candidate[] = [];
    for (const [other, thread] of user.threads) {
      const newest = thread.seqs.at(-1) ?? 0, seq = newest > thread.members.get(user.name)! ? newest : 0;
      const isBelow = !before || seq < before.seq || (seq === 0 && before.seq === 0 && other > (before.with ?? ""));
      if (isBelow && (seq > 0 || thread.group !== "")) found.push({ other, thread, seq });
    }
    found.sort((a, b) => b.seq - a.seq || (a.other < b.other ? -1 : 1));
    const conversations: Conversation[] = [];
    for (let looked = 0; conversations.length < found.length; looked += UNREAD_MAX) {
      if (conversations.length === limit || looked > UNREAD_LOOKED_MAX) return { conversations, more: true };
      conversations.push(this.#conversation(user, found[conversations.length]!));
    }
    return { conversations, more: false };
  }

  #conversation({ name }: User, { other, thread, seq }: Candidate): Conversation {
    const { log } = this.#state, read = ownRead(thread.markers.get(name));
    const last = seq > 0 ? log.get(seq) : undefined;
    const unread = countOthersOfNewest(log, thread.seqs, name, Math.max(read, thread.members.get(name)!));
    return { with: other, last, read, unread };
  }
}

/** Yields the ranges of threads that a user may read or is due. */
export function* rangesOf(user: User): Generator<{ thread: Thread; since: number; until: number }> {
  for (const thread of user.threads.values()) yield { thread, since: thread.members.get(user.name)!, until: Infinity };
  yield* user.ended;
}

function ascending(thread: Thread, low: number, high: number): Source<Place> {
  return {
    take: (from = low, count) => {
      // The positions are looked up again each time: retention moves them.
      const { seqs } = thread, places: Place[] = [];
      for (let i = firstAfter(seqs, from); i < seqs.length && seqs[i]! <= high && places.length < count; i++) {
        places.push({ seq: seqs[i]! });
      }
      return places;
    },
  };
}

function descending({ seqs }: Thread, low: number, high: number): Source<Place> {
  return {
    take: (from = high + 1, count) => {
      const places: Place[] = [];
      for (let i = firstAfter(seqs, from - 1) - 1; i >= 0 && seqs[i]! > low && places.length < count; i--) {
        places.push({ seq: seqs[i]! });
      }
      return places;
    },
  };
}
