/**
 * Backlogs under way: what a device has missed, merged over all the conversations of its user. One that was left at the end of a
 * page is kept for the next, so that a page costs what it has, however many conversations there are.
 */

import { Merge, type Source } from "../merge.ts";
import type { Database, Row, Thread } from "./database.ts";
import { messagesOf, packing } from "./messages.ts";

/** Conversations with something new up to which messages are read ahead; of more, positions alone. */
const FEW = 32;
/** Characters that are read ahead over all conversations: a page. */
const AHEAD_CHARS_MAX = 131_072;
/** Conversations that are merged at once, some ten MiB; with more, the merge ends earlier and another one follows. */
const SOURCES_MAX = 50_000;

const MESSAGES = packing(
  `(SELECT seq FROM positions WHERE thread = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ? + 0) p
    CROSS JOIN messages m ON m.seq = p.seq`,
);

/** Place of a message in a backlog. */
export interface Item {
  readonly seq: number;
  /** Characters of its content, or bytes where it was not read. */
  readonly size: number;
  readonly part: Part;
  /** The message; undefined where only its position was read. */
  readonly row: Row | undefined;
}

/** One conversation's part of a backlog. */
export class Part implements Source<Item> {
  readonly #db: Database;
  readonly thread: Thread;
  readonly #low: number;
  readonly #high: number;
  /** Characters that are read ahead; 0 for positions alone. */
  readonly #chars: number;

  /** Takes positions after `low` and up to `high`. */
  constructor(db: Database, thread: Thread, low: number, high: number, chars: number) {
    this.#db = db;
    this.thread = thread;
    this.#low = low;
    this.#high = high;
    this.#chars = chars;
  }

  take(from: number | undefined, count: number): Item[] {
    const low = from ?? this.#low;
    if (low >= this.#high) return [];
    if (this.#chars > 0) return this.#messages(low, count);
    const sql = `SELECT m.seq, octet_length(m.content) AS size FROM
      (SELECT seq FROM positions WHERE thread = ? AND seq > ? AND seq <= ? ORDER BY seq LIMIT ? + 0) p
      CROSS JOIN messages m ON m.seq = p.seq ORDER BY p.seq`;
    const rows = this.#db.all(sql, this.thread.id, low, this.#high, count);
    return rows.map(({ seq, size }) => ({ seq: seq as number, size: size as number, part: this, row: undefined }));
  }

  #messages(low: number, count: number): Item[] {
    const items: Item[] = [];
    // Large messages are few at a time: their size is known only when they are read.
    for (let chars = 0, wanted = Math.min(count, 8); items.length < count && chars < this.#chars;) {
      const before = items.length;
      for (const row of messagesOf(this.#db, MESSAGES, "ASC", this.thread.id, low, this.#high, wanted)) {
        const size = row.content.length;
        chars += size;
        items.push({ seq: row.seq as number, size, part: this, row });
      }
      if (items.length - before < wanted) break;
      low = items.at(-1)!.seq;
      wanted = Math.min(count - items.length, 32);
    }
    return items;
  }
}

/** Messages that a user has after one position and up to another: fixed, whatever is sent, joined or left meanwhile. */
export class Backlog {
  readonly #db: Database;
  readonly #merge = new Merge<Item>(1);
  /** The first conversations, until it is known whether there are more than a few. */
  #first: [Thread, number, number][] | undefined = [];
  /** It is complete up to here. */
  upTo: number;

  constructor(db: Database, upTo: number) {
    this.#db = db;
    this.upTo = upTo;
  }

  /** Number of things that are held: a measure of memory. */
  get size(): number {
    return this.#merge.size;
  }

  /** Adds a conversation after `low` and up to `high`. */
  add(thread: Thread, low: number, high: number): void {
    const end = Math.min(high, thread.lastSeq, this.upTo);
    if (end <= low) return;
    if (!this.#first) return this.#addPart(thread, low, end, 0);
    this.#first.push([thread, low, end]);
    if (this.#first.length > FEW) this.#addFirst(0);
  }

  /** Ends adding. */
  ready(): void {
    if (this.#first) this.#addFirst(Math.ceil(AHEAD_CHARS_MAX / Math.max(1, this.#first.length)));
  }

  #addFirst(chars: number): void {
    for (const [thread, low, end] of this.#first!) this.#addPart(thread, low, end, chars);
    this.#first = undefined;
  }

  #addPart(thread: Thread, low: number, high: number, chars: number): void {
    this.#merge.add(new Part(this.#db, thread, low, high, chars));
    if (this.#merge.sources > SOURCES_MAX) this.upTo = this.#merge.halve();
  }

  /** Returns the next place without passing it; undefined at the end. */
  peek(): Item | undefined {
    const item = this.#merge.peek();
    return item && item.seq <= this.upTo ? item : undefined;
  }

  /** Passes the place that {@linkcode Backlog.peek} returns. */
  pass(): void {
    this.#merge.pop();
  }
}

/** Things held over all kept backlogs: some ten MiB. The ones kept longest go first, and are made again if they are asked for. */
const KEPT_SIZE_MAX = 250_000;
/** Things that a kept backlog counts at least: it may have read large messages ahead. */
const KEPT_SIZE_MIN = 1_000;

/** Backlogs that wait for their next page. */
export class KeptBacklogs {
  /** By user and position; two devices may stand at the same place. */
  readonly #kept = new Map<string, Backlog[]>();
  #size = 0;

  /** Takes out the backlog that ended its last page at a position. */
  take(user: number, after: number): Backlog | undefined {
    const key = `${user} ${after}`, same = this.#kept.get(key), backlog = same?.pop();
    if (!backlog) return undefined;
    if (same!.length === 0) this.#kept.delete(key);
    this.#size -= weigh(backlog);
    return backlog;
  }

  /** Keeps a backlog whose last page ended at a position. */
  keep(user: number, after: number, backlog: Backlog): void {
    const key = `${user} ${after}`, same = this.#kept.get(key) ?? [];
    this.#kept.delete(key);
    this.#kept.set(key, same);
    same.push(backlog);
    this.#size += weigh(backlog);
    for (const [oldest, backlogs] of this.#kept) {
      if (this.#size <= KEPT_SIZE_MAX || oldest === key) break;
      for (const one of backlogs) this.#size -= weigh(one);
      this.#kept.delete(oldest);
    }
  }

  /** Drops all. */
  clear(): void {
    this.#kept.clear();
    this.#size = 0;
  }
}

/** Measures a backlog, which does not change while it is kept. */
function weigh({ size }: Backlog): number {
  return size + KEPT_SIZE_MIN;
}
