/**
 * Search by an index of words (FTS5), which holds no content: it finds positions, and the messages are looked at themselves.
 *
 * A word is stored with the number of its conversation before it, so that a search walks along words of conversations that its
 * user is in and along no others. The index is built behind the appends, in small steps: `threads.indexed` says up to where it
 * has a conversation. What is removed from the messages leaves the index in the same transaction, by a trigger.
 */

import type { SQLInputValue } from "node:sqlite";
import type { BrokerRefusal, Found, SearchQuery, Stored } from "../../broker.ts";
import { isFound, parseQuery, type Sought, wordsOf } from "../search_rules.ts";
import { type Database, type Row, type Thread, toThread } from "./database.ts";
import type { Membership, Memberships } from "./memberships.ts";
import { isRefusal, type Reading } from "./reading.ts";
import type { Steps } from "./steps.ts";

/** Messages that one step adds to the index: some milliseconds. */
const INDEX_STEP = 256;
/** Conversations that one step looks at, of those that were left when the server ended. */
const INDEX_THREADS = 500;
/** Steps that a search takes first in the conversations it is about, so that it finds what was sent a moment ago. */
const CATCH_UP_STEPS = 2;
/** Conversations that one search looks at, the most recent ones. */
const THREADS_SEARCHED_MAX = 1_000;
/** Messages that one search looks at in all: some hundred kilobytes. */
const LOOKED_AT_MAX = 2_000;
/** Characters of what is found: what one answer has at most. */
const FOUND_CHARS_MAX = 262_144;
/** Separates the number of a conversation from a word: no word has it, and the tokenizer takes it for a letter. */
const MARK = "\u00b7";
/** Above every position. */
const HIGHEST = Number.MAX_SAFE_INTEGER;

/** Message that the index has found. */
interface Hit {
  readonly seq: number;
  readonly thread: Thread;
}

/** Indexes and searches one database. */
export class Search {
  readonly #db: Database;
  readonly #reading: Reading;
  readonly #memberships: Memberships;
  /** Conversations with messages that are not in the index, as far as this process has written them. */
  readonly #pending = new Set<number>();
  /** Conversations with an id up to this one were looked at since the start; `Infinity` when all were. */
  #lookedAt = 0;

  constructor(db: Database, reading: Reading, memberships: Memberships) {
    this.#db = db;
    this.#reading = reading;
    this.#memberships = memberships;
  }

  // ---- The index ----

  /** Notes that a conversation has a new message. */
  note(thread: number): void {
    this.#pending.add(thread);
  }

  /** Has all conversations looked at again: messages were changed, which have left the index. */
  lookAgain(): void {
    this.#lookedAt = 0;
  }

  /** Takes one small step of indexing; returns 0 when nothing is left to do for now. */
  index(): number {
    if (this.#pending.size === 0) return this.#lookForMore();
    const threads: Row[] = [];
    const sql = "SELECT id AS thread, indexed FROM threads WHERE id = ? AND owner >= 0";
    for (const id of this.#pending) {
      const row = this.#db.get(sql, id);
      if (row) threads.push(row);
      else this.#pending.delete(id);
      if (threads.length === INDEX_STEP) break;
    }
    this.#indexSome(threads);
    return this.#pending.size + (this.#lookedAt < Infinity ? 1 : 0);
  }

  #lookForMore(): number {
    if (this.#lookedAt === Infinity) return 0;
    this.#db.flushThreads();
    const sql = "SELECT id FROM threads WHERE id > ? AND id <= ? AND owner >= 0 AND last_seq > indexed";
    const upTo = this.#lookedAt + INDEX_THREADS;
    for (const { id } of this.#db.all(sql, this.#lookedAt, upTo)) this.#pending.add(id as number);
    const highest = this.#db.get("SELECT max(id) AS id FROM threads")!.id as number | null ?? 0;
    this.#lookedAt = upTo >= highest ? Infinity : upTo;
    return 1;
  }

  /** Adds messages of some conversations, in the order of positions, which the index takes fastest. */
  #indexSome(threads: readonly Row[]): void {
    const sql = `SELECT m.seq, m.content FROM
      (SELECT seq FROM positions WHERE thread = ? AND seq > ? ORDER BY seq LIMIT ? + 0) p
      CROSS JOIN messages m ON m.seq = p.seq ORDER BY p.seq`;
    const rows: { seq: number; words: string }[] = [];
    for (const { thread, indexed } of threads) {
      const wanted = INDEX_STEP - rows.length;
      if (wanted <= 0) break;
      const some = this.#db.all(sql, thread!, indexed!, wanted);
      for (const { seq, content } of some) rows.push({ seq: seq as number, words: entryOf(thread!, content as string) });
      if (some.length < wanted) this.#pending.delete(thread as number);
      const last = some.at(-1)?.seq;
      if (last !== undefined) this.#db.run("UPDATE threads SET indexed = ? WHERE id = ?", last, thread!);
    }
    rows.sort((a, b) => a.seq - b.seq);
    for (const { seq, words } of rows) this.#db.run("INSERT OR REPLACE INTO search (rowid, words) VALUES (?, ?)", seq, words);
  }

  // ---- Searching ----

  /** Searches as `Search.search` of broker.ts says. */
  *search(name: string, query: SearchQuery): Steps<Found | BrokerRefusal> {
    const sought = parseQuery(query.query);
    if ("code" in sought) return sought;
    const places = query.with === undefined ? yield* this.#all(name) : this.#one(name, query.with);
    if (!Array.isArray(places)) return places;
    const indexed = this.#catchUp(places);
    const most = Math.min(query.limit + 1, LOOKED_AT_MAX);
    const found = yield* this.#find(places, sought, query.before ?? HIGHEST, most);
    return { ...this.#page(found, sought, query.limit, found.length >= most), indexed };
  }

  /** Returns the most recent of the user's conversations, newest first. */
  *#all(name: string): Steps<Membership[]> {
    const user = this.#db.userId(name);
    if (user === undefined) return [];
    for (;;) {
      const found: Membership[] = [];
      const isWhole = yield* this.#memberships.each(user, (membership) => {
        if (membership.thread.lastSeq > membership.since) found.push(membership);
      });
      if (isWhole) return found.sort((a, b) => b.thread.lastSeq - a.thread.lastSeq).slice(0, THREADS_SEARCHED_MAX);
    }
  }

  #one(name: string, other: string): Membership[] | BrokerRefusal {
    const row = this.#reading.membership(name, other);
    if (isRefusal(row)) return row;
    this.#db.flushThreads();
    const last = this.#db.get("SELECT last_seq FROM threads WHERE id = ?", row.thread!);
    return last ? [{ thread: toThread({ ...row, ...last, id: row.thread! }), since: row.since as number }] : [];
  }

  /** Indexes some of what is missing in these conversations. Returns the position up to which the index has all of them. */
  #catchUp(places: readonly Membership[]): number {
    this.#db.flushThreads();
    let missing = this.#missing(places);
    for (let step = 0; step < CATCH_UP_STEPS && missing.length > 0; step++) {
      this.#indexSome(missing);
      missing = this.#missing(places);
    }
    for (const { thread } of missing) this.#pending.add(thread as number);
    return missing.reduce((low, { indexed }) => Math.min(low, indexed as number), this.#db.head);
  }

  #missing(places: readonly Membership[]): Row[] {
    const sql = "SELECT id AS thread, indexed FROM threads WHERE id = ? AND last_seq > indexed";
    return places.flatMap(({ thread }): Row[] => this.#db.all(sql, thread.id));
  }

  /** Returns the newest places below `before` that the index has all the words at, newest first, at most `most`. */
  *#find(places: readonly Membership[], sought: Sought, before: number, most: number): Steps<Hit[]> {
    const found: Hit[] = [];
    for (const { thread, since } of places) {
      // Conversations come with the most recent first: what lies in the rest of them is older than what is wanted.
      if (found.length >= most) found.sort((a, b) => b.seq - a.seq).length = most;
      if (found.length >= most && thread.lastSeq < found.at(-1)!.seq) break;
      for (const seq of this.#matches(thread.id, since, sought, before, most)) found.push({ seq, thread });
      yield;
    }
    return found.sort((a, b) => b.seq - a.seq).slice(0, most);
  }

  /** Returns the newest positions of a conversation after `since` and below `before` that have all the words, newest first. */
  #matches(thread: number, since: number, { words }: Sought, before: number, limit: number): number[] {
    const terms = words.map((word) => `"${thread}${MARK}${word}"${word.length === 1 ? "" : "*"}`).join(" AND ");
    const sql =
      "SELECT rowid AS seq FROM search WHERE search MATCH ? AND rowid > ? AND rowid < ? ORDER BY rowid DESC LIMIT ? + 0";
    return this.#db.all(sql, terms, since, before, limit).map(({ seq }) => seq as number);
  }

  /** Looks at the messages found, newest first, and makes a page of those that are what was sought. */
  #page(found: readonly Hit[], sought: Sought, limit: number, isCut: boolean): Pick<Found, "messages" | "before"> {
    const messages: Stored[] = [];
    const sql = "SELECT seq, sender, ts, id, origin, content FROM messages WHERE seq = ? AND thread = ?";
    let chars = 0;
    let last: number | undefined;
    for (const { seq, thread } of found) {
      if (messages.length === limit || chars > FOUND_CHARS_MAX) return { messages: messages.reverse(), before: last };
      last = seq;
      const row = this.#db.get(sql, seq, thread.id);
      if (!row || !isFound(row.content as string, sought)) continue;
      messages.push(this.#reading.stored(row, thread));
      chars += (row.content as string).length;
    }
    return { messages: messages.reverse(), before: isCut ? last : undefined };
  }
}

function entryOf(thread: SQLInputValue, content: string): string {
  return wordsOf(content).map((word) => `${thread}${MARK}${word}`).join(" ");
}
