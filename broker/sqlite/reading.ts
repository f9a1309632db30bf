/**
 * Backlogs, history and lists of conversations.
 *
 * A backlog, a page of history and a count of unread are each a walk along the positions of a conversation, however much else is
 * stored; see positions.ts.
 */

import type { SQLInputValue } from "node:sqlite";
import type {
  BrokerRefusal,
  Conversation,
  ConversationCursor,
  ConversationPage,
  HistoryQuery,
  Page,
  Stored,
} from "../../broker.ts";
import { UNREAD_LOOKED_MAX, UNREAD_MAX } from "../limits.ts";
import { Merge, type Source } from "../merge.ts";
import { isGroup } from "../names.ts";
import { notMember, unknownGroup, unknownUser } from "../refusals.ts";
import { Backlog, type Item, KeptBacklogs } from "./backlog.ts";
import { type Database, directName, otherName, type Row, type Thread, toThread } from "./database.ts";
import type { Ended } from "./ended.ts";
import type { Membership, Memberships } from "./memberships.ts";
import { messagesOf, packing } from "./messages.ts";
import type { Steps } from "./steps.ts";

/** Characters of a page of backlog: a device far behind costs a page, and many may come back at once. */
const PAGE_CHARS_MAX = 131_072;
/** Characters of a page of history: what one answer has at most. */
const HISTORY_CHARS_MAX = 262_144;
/** Messages that are looked for at once, before it is known whether they fit: more than the page that clients ask for. */
const READ_STEP = 64;
/** Messages of a new device's past that are passed in a step: some hundred microseconds. */
const LAST_STEP = 256;
/** Conversations that are gathered beyond twice the wanted ones before the least recent are left out: sorting costs less then. */
const CANDIDATES_SPARE = 256;
/** Above every position. */
const HIGHEST = Number.MAX_SAFE_INTEGER;

const MESSAGE = "m.seq, m.sender, m.ts, m.id, m.origin, m.content";

/** Statements that read the messages of a conversation between two positions, from one end, and those at positions in JSON. */
const BETWEEN = { ASC: between("ASC"), DESC: between("DESC") };
const AT = packing("json_each(?) p CROSS JOIN messages m ON m.seq = p.value");

function between(order: "ASC" | "DESC"): string {
  return packing(`(SELECT seq FROM positions WHERE thread = ? AND seq > ? AND seq < ? ORDER BY seq ${order} LIMIT ? + 0) p
    CROSS JOIN messages m ON m.seq = p.seq`);
}

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

/** A conversation in a list that is being made, and its newest message; 0 for a group without any. */
interface Candidate {
  readonly membership: Membership;
  readonly seq: number;
}

/** Reads messages of one database. */
export class Reading {
  readonly #db: Database;
  readonly #memberships: Memberships;
  readonly #ended: Ended;
  readonly #backlogs = new KeptBacklogs();

  constructor(db: Database, memberships: Memberships, ended: Ended) {
    this.#db = db;
    this.#memberships = memberships;
    this.#ended = ended;
  }

  /** Drops the backlogs under way. */
  clear(): void {
    this.#backlogs.clear();
  }

  // ---- Backlog ----

  /** Reads a page as `MessageLog.read` of broker.ts says, and never more characters than one page may have. */
  *read(name: string, after: number, limit: number): Steps<Page> {
    const user = this.#db.userId(name);
    if (user === undefined) return { messages: [], more: false };
    const head = this.#db.head;
    let backlog = this.#backlogs.take(user, after) ?? (yield* this.#backlog(user, after));
    const items: Item[] = [];
    let next: Item | undefined;
    for (let chars = 0;; backlog.pass()) {
      while ((next = backlog.peek()) === undefined && backlog.upTo < head) backlog = yield* this.#backlog(user, backlog.upTo);
      if (!next || items.length >= limit || (items.length > 0 && (chars += next.size) > PAGE_CHARS_MAX)) break;
      items.push(next);
    }
    if (next) this.#backlogs.keep(user, items.at(-1)!.seq, backlog);
    return { messages: this.#messages(items), more: next !== undefined };
  }

  /** Makes the backlog of a user after a position. */
  *#backlog(user: number, after: number): Steps<Backlog> {
    for (;;) {
      const backlog = new Backlog(this.#db, this.#db.head);
      const isWhole = yield* this.#memberships.each(user, ({ thread, since }) => {
        backlog.add(thread, Math.max(since, after), HIGHEST);
      });
      if (!isWhole) continue;
      for (const row of this.#ended.of(user, after)) {
        backlog.add(toThread(row), Math.max(row.since as number, after), row.until as number);
      }
      backlog.ready();
      return backlog;
    }
  }

  /** Returns the messages at places of a backlog; without those that have been removed meanwhile. */
  #messages(items: readonly Item[]): Stored[] {
    const isRead = items.every(({ row }) => row !== undefined);
    if (isRead) return items.map(({ row, part }) => this.stored(row!, part.thread));
    const found = new Map<number, Row>();
    const seqs = JSON.stringify(items.map(({ seq }) => seq));
    for (const row of messagesOf(this.#db, AT, "ASC", seqs)) found.set(row.seq as number, row);
    return items.flatMap(({ seq, part }) => {
      const row = found.get(seq);
      return row ? this.stored(row, part.thread) : [];
    });
  }

  /** Returns the position before the `last` newest messages that the user may see; the head where there are none. */
  *startOfLast(user: number, last: number): Steps<number> {
    if (last === 0) return this.#db.head;
    for (;;) {
      const merge = new Merge<{ readonly seq: number }>(-1);
      const add = (thread: Thread, since: number, until: number) => {
        const high = Math.min(thread.lastSeq, until);
        if (high > since) merge.add(this.#newest(thread, since, high), high);
      };
      const isWhole = yield* this.#memberships.each(user, ({ thread, since }) => add(thread, since, HIGHEST));
      if (!isWhole) continue;
      for (const row of this.#ended.of(user, 0)) add(toThread(row), row.since as number, row.until as number);
      let first: number | undefined;
      for (let count = 0; count < last; count++) {
        const item = merge.pop();
        if (!item) break;
        first = item.seq;
        if (count % LAST_STEP === LAST_STEP - 1) yield;
      }
      return first === undefined ? this.#db.head : first - 1;
    }
  }

  /** Returns the positions of a thread after `low` and up to `high`, the newest first. */
  #newest({ id }: Thread, low: number, high: number): Source<{ readonly seq: number }> {
    const sql = "SELECT seq FROM positions WHERE thread = ? AND seq > ? AND seq < ? ORDER BY seq DESC LIMIT ? + 0";
    return { take: (from = high + 1, count) => this.#db.all(sql, id, low, from, count) as unknown as { seq: number }[] };
  }

  /** Reads messages of a thread between two positions, from one end: up to `limit`, or until they have more than `chars`. */
  #rows(thread: SQLInputValue, between: Range, order: "ASC" | "DESC", limit: number, chars: number): Rows {
    const rows: Row[] = [];
    let { low, high } = between;
    for (let total = 0; rows.length < limit;) {
      const wanted = Math.min(READ_STEP, limit - rows.length), before = rows.length;
      for (const row of messagesOf(this.#db, BETWEEN[order], order, thread, low, high, wanted)) {
        if (total > chars) return { rows, isEnd: false };
        rows.push(row);
        total += row.content.length;
      }
      if (rows.length - before < wanted) return { rows, isEnd: true };
      const last = rows.at(-1)!.seq as number;
      if (order === "ASC") low = last;
      else high = last;
    }
    return { rows, isEnd: false };
  }

  /** Makes a message of its row and its thread. */
  stored(row: Row, { name, isGroup }: Thread): Stored {
    const sender = this.#db.userName(row.sender as number);
    const recipient = isGroup ? name : otherName(name, sender);
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
    const thread = toThread({ ...membership, id: membership.thread!, last_seq: 0 });
    const messages = (isEnd ? rows : rows.slice(0, -1)).map((row) => this.stored(row, thread));
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
  *conversations(name: string, limit: number, before?: ConversationCursor): Steps<ConversationPage> {
    const user = this.#db.userId(name);
    const conversations: Conversation[] = [];
    if (user === undefined) return { conversations, more: false };
    for (let below = before, looked = 0;;) {
      const found = yield* this.#newestConversations(user, limit + 1 - conversations.length, below);
      for (const { membership, seq } of found) {
        if (conversations.length === limit || (looked > UNREAD_LOOKED_MAX && conversations.length > 0)) {
          return { conversations, more: true };
        }
        below = { seq, with: membership.thread.name };
        const row = this.#conversation(user, membership);
        looked += row?.looked ?? 0;
        if (row) conversations.push(row.conversation);
        yield;
      }
      if (found.length === 0) return { conversations, more: false };
    }
  }

  /** Returns the `count` most recent conversations of a user below a cursor. */
  *#newestConversations(user: number, count: number, below: ConversationCursor | undefined): Steps<Candidate[]> {
    for (;;) {
      let found: Candidate[] = [];
      const isWhole = yield* this.#memberships.each(user, (membership) => {
        const { thread, since } = membership, seq = thread.lastSeq > since ? thread.lastSeq : 0;
        // A direct conversation of which everything has expired is none; a group always is one.
        if ((seq === 0 && !thread.isGroup) || (below && !isBelow(seq, thread.name, below))) return;
        found.push({ membership, seq });
        if (found.length > 2 * count + CANDIDATES_SPARE) found = found.sort(byRecency).slice(0, count);
      });
      if (isWhole) return found.sort(byRecency).slice(0, count);
    }
  }

  /** Returns a conversation as it is listed, and the number of messages looked at; undefined where there is none any more. */
  #conversation(user: number, { thread, since }: Membership): { conversation: Conversation; looked: number } | undefined {
    const own = "SELECT max(read, own_read) AS read, other FROM members WHERE user = ? AND thread = ?";
    const row = this.#db.get(own, user, thread.id);
    const newest = `SELECT ${MESSAGE} FROM messages m
      WHERE m.seq = (SELECT seq FROM positions WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT 1)`;
    const last = this.#db.get(newest, thread.id, since);
    if (!row || (!last && !thread.isGroup)) return undefined;
    const read = row.read as number;
    const count = `SELECT count(*) AS looked, count(*) FILTER (WHERE sender <> ?) AS unread FROM
      (SELECT seq, sender FROM positions WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT ${UNREAD_MAX})`;
    const { looked, unread } = this.#db.get(count, user, thread.id, Math.max(since, read))!;
    const other = thread.isGroup ? thread.name : this.#db.userName(row.other as number);
    const conversation = { with: other, last: last && this.stored(last, thread), read, unread: unread as number };
    return { conversation, looked: looked as number };
  }
}

/** Orders the most recent first, groups without messages last, by name. */
function byRecency(a: Candidate, b: Candidate): number {
  return b.seq - a.seq || (a.membership.thread.name < b.membership.thread.name ? -1 : 1);
}

/** Returns whether a conversation comes after a cursor in a list. */
function isBelow(seq: number, name: string, below: ConversationCursor): boolean {
  return seq < below.seq || (seq === 0 && below.seq === 0 && name > (below.with ?? ""));
}

/** Returns true for a refusal, false for a row. */
export function isRefusal(value: Row | BrokerRefusal): value is BrokerRefusal {
  return "code" in value;
}
