/**
 * Backlogs, history and lists of conversations.
 *
 * Messages are clustered by conversation and position, so that a backlog, a page of history and a count of unread are each a walk
 * along one index, however much else is stored.
 */

import type { SQLInputValue } from "node:sqlite";
import type { BrokerRefusal, Conversation, ConversationPage, HistoryQuery, Page, Stored } from "../../broker.ts";
import { UNREAD_MAX } from "../limits.ts";
import { isGroup } from "../names.ts";
import { notMember, unknownGroup, unknownUser } from "../refusals.ts";
import { type Database, directName, otherName, type Row } from "./database.ts";

/** Characters of a page of backlog: a device far behind costs a page, and many may come back at once. */
const PAGE_CHARS_MAX = 131_072;
/** Characters of a page of history: what one answer has at most. */
const HISTORY_CHARS_MAX = 262_144;
/** Messages that are read at once, before their size is looked at. */
const READ_STEP = 32;
/** Fewest messages that each of many conversations gives to a page: with fewer, most of it would wait for the next page. */
const PART_MIN = 8;
/** Above every position. */
const HIGHEST = Number.MAX_SAFE_INTEGER;

const MESSAGE = "seq, sender, ts, id, origin, content";

/** Positions, both ends excluded. */
interface Range {
  readonly low: number;
  readonly high: number;
}

/** Rows of a range; `isEnd` where they are all that it has. */
interface Rows {
  readonly rows: Row[];
  readonly isEnd: boolean;
}

/** Reads messages of one database. */
export class Reading {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  // ---- Backlog ----

  /** Reads a page as `MessageLog.read` of broker.ts says, and never more characters than one page may have. */
  read(name: string, after: number, limit: number): Page {
    const user = this.#db.userId(name);
    if (user === undefined) return { messages: [], more: false };
    const threads = this.threadsOf(user, after);
    // With many conversations each gives a part of the page; what lies behind the end of any part has to wait.
    const part = Math.max(PART_MIN, Math.ceil((2 * (limit + 1)) / Math.max(1, threads.length)));
    const take = Math.min(limit + 1, part);
    const chars = (2 * PAGE_CHARS_MAX) / Math.max(1, threads.length);
    let complete = Infinity;
    const found: Stored[] = [];
    for (const thread of threads) {
      const { rows } = this.#rows(thread.thread!, { low: thread.since as number, high: HIGHEST }, "ASC", take, chars);
      const last = rows.at(-1)?.seq as number | undefined;
      if (last !== undefined && last < (thread.last_seq as number)) complete = Math.min(complete, last);
      for (const row of rows) found.push(this.#stored(row, thread));
    }
    found.sort((a, b) => a.seq - b.seq);
    const messages = cutPage(found.filter(({ seq }) => seq <= complete), limit);
    return { messages, more: found.length > messages.length || complete < Infinity };
  }

  /** Returns the position before the `last` newest messages that the user may see; the head where there are none. */
  startOfLast(user: number, last: number): number {
    if (last === 0) return this.#db.head;
    const newest = "SELECT seq FROM messages WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT ?";
    const seqs = this.threadsOf(user, 0)
      .flatMap(({ thread, since }) => this.#db.all(newest, thread!, since!, last).map(({ seq }) => seq as number))
      .sort((a, b) => b - a);
    const first = seqs[Math.min(last, seqs.length) - 1];
    return first === undefined ? this.#db.head : first - 1;
  }

  /** Returns the user's conversations that have something after `after`. */
  threadsOf(user: number, after: number): Row[] {
    this.#db.flushThreads();
    const sql = `SELECT m.thread, max(m.since, ?) AS since, t.name, t.owner, t.last_seq, m.other
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND t.last_seq > max(m.since, ?)`;
    return this.#db.all(sql, after, user, after);
  }

  /** Reads messages of a thread between two positions, from one end: up to `limit`, or until they have more than `chars`. */
  #rows(thread: SQLInputValue, between: Range, order: "ASC" | "DESC", limit: number, chars: number): Rows {
    // Not with iterate(): on older runtimes a statement that was left early goes on from there the next time.
    const sql = `SELECT ${MESSAGE} FROM messages WHERE thread = ? AND seq > ? AND seq < ? ORDER BY seq ${order} LIMIT ?`;
    const rows: Row[] = [];
    let { low, high } = between;
    for (let total = 0; rows.length < limit && total <= chars;) {
      const wanted = Math.min(READ_STEP, limit - rows.length);
      const some = this.#db.all(sql, thread, low, high, wanted);
      for (const row of some) {
        rows.push(row);
        total += (row.content as string).length;
      }
      if (some.length < wanted) return { rows, isEnd: true };
      const last = some.at(-1)!.seq as number;
      if (order === "ASC") low = last;
      else high = last;
    }
    return { rows, isEnd: false };
  }

  /** Makes a message of its row and of a row of its thread with `name` and `owner`. */
  #stored(row: Row, thread: Row): Stored {
    const sender = this.#db.userName(row.sender as number);
    const recipient = thread.owner !== 0 ? String(thread.name) : otherName(String(thread.name), sender);
    const id = row.id === null ? undefined : row.id as string;
    const content = row.content as string, origin = row.origin as string;
    return { sender, recipient, content, id, origin, seq: row.seq as number, ts: row.ts as number };
  }

  // ---- History ----

  /** Reads a page as `History.history` of broker.ts says, and never more characters than one answer may have. */
  history(name: string, { with: other, before, after, limit }: HistoryQuery): Page | BrokerRefusal {
    const membership = this.membership(name, other);
    if (isRefusal(membership)) return membership;
    const between = { low: Math.max(membership.since as number, after ?? 0), high: before ?? HIGHEST };
    const forward = after !== undefined && before === undefined;
    // One more than is asked for, or than fits, tells whether there is more.
    const { rows, isEnd } = this.#rows(membership.thread!, between, forward ? "ASC" : "DESC", limit + 1, HISTORY_CHARS_MAX);
    const messages = (isEnd ? rows : rows.slice(0, -1)).map((row) => this.#stored(row, membership));
    return { messages: forward ? messages : messages.reverse(), more: !isEnd };
  }

  /** Returns the user's row of a conversation; one with thread 0 where they have no direct conversation yet. */
  membership(name: string, other: string): Row | BrokerRefusal {
    const user = this.#db.userId(name) ?? 0;
    const isOfGroup = isGroup(other);
    const sql = `SELECT m.thread, m.since, m.delivered, m.read, m.own_read, m.other, t.name, t.owner
      FROM threads t JOIN members m ON m.thread = t.id
      WHERE t.name = ? AND m.user = ?`;
    const row = this.#db.get(sql, isOfGroup ? other : directName(name, other), user);
    if (row) return row;
    if (isOfGroup) return this.#db.thread(other) ? notMember(other) : unknownGroup(other);
    if (this.#db.userId(other) === undefined) return unknownUser(other);
    return { thread: 0, since: 0, delivered: 0, read: 0, own_read: 0, other: 0, name: directName(name, other), owner: 0 };
  }

  // ---- Conversations ----

  /** Lists conversations as `History.conversations` of broker.ts says. */
  conversations(name: string, limit: number): ConversationPage {
    const user = this.#db.userId(name);
    if (user === undefined) return { conversations: [], more: false };
    this.#db.flushThreads();
    // A direct conversation of which everything has expired is none; a group always is one.
    const sql = `SELECT m.thread, m.since, max(m.read, m.own_read) AS read, m.other, t.name, t.owner,
      iif(t.last_seq > m.since, t.last_seq, 0) AS last
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND (t.last_seq > 0 OR t.owner > 0) ORDER BY last DESC, t.name LIMIT ?`;
    const rows = this.#db.all(sql, user, limit + 1);
    return { conversations: rows.slice(0, limit).map((row) => this.#conversation(user, row)), more: rows.length > limit };
  }

  #conversation(user: number, row: Row): Conversation {
    const newest = `SELECT ${MESSAGE} FROM messages WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT 1`;
    const last = this.#db.get(newest, row.thread!, row.since!);
    const count = `SELECT count(*) AS n FROM
      (SELECT 1 FROM messages WHERE thread = ? AND seq > ? AND sender <> ? ORDER BY seq LIMIT ${UNREAD_MAX})`;
    const unread = this.#db.get(count, row.thread!, Math.max(row.since as number, row.read as number), user)!.n as number;
    const other = row.owner === 0 ? this.#db.userName(row.other as number) : String(row.name);
    return { with: other, last: last && this.#stored(last, row), read: row.read as number, unread };
  }
}

/** Returns true for a refusal, false for a row. */
export function isRefusal(value: Row | BrokerRefusal): value is BrokerRefusal {
  return "code" in value;
}

/** Returns the first messages, up to `limit` and to the characters of a page; at least one. */
function cutPage(messages: readonly Stored[], limit: number): Stored[] {
  let total = 0;
  const end = messages.findIndex(({ content }, index) => index > 0 && (total += content.length) > PAGE_CHARS_MAX);
  return messages.slice(0, end < 0 ? limit : Math.min(end, limit));
}
