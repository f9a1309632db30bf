/** Delivered and read markers: a user's own stand in their row of the conversation. */

import type { SQLInputValue } from "node:sqlite";
import type { Marker, MarkerMove, MarkerResult } from "../../broker.ts";
import { AUTHORS_LOOKED_MAX, MARK_AUTHORS_MAX } from "../limits.ts";
import type { Database, Row } from "./database.ts";
import type { Mailboxes } from "./mailboxes.ts";
import { isRefusal, type Reading } from "./reading.ts";
import type { Steps } from "./steps.ts";

/** Conversations, and markers, that are looked at in a step: about a millisecond. */
const THREADS_STEP = 512, ROWS_STEP = 512;
/** Conversations whose markers are listed together. */
const LISTED_STEP = 128;

/** Place in the markers that a user is told of: the last row that was looked at. */
export interface MarkerCursor {
  readonly thread: number;
  /** Position of the log when the row was marked. */
  readonly at: number;
  readonly user: number;
  /** Thread up to which the user's own markers were listed. */
  readonly own: number;
}

/** Some markers; `next` where there may be others. */
export interface MarkerRows {
  readonly markers: readonly Marker[];
  readonly next: MarkerCursor | undefined;
}

const FIRST: MarkerCursor = { thread: 0, at: 0, user: 0, own: 0 };

/** Markers of one database. */
export class Markers {
  readonly #db: Database;
  readonly #reading: Reading;
  readonly #mailboxes: Mailboxes;

  constructor(db: Database, reading: Reading, mailboxes: Mailboxes) {
    this.#db = db;
    this.#reading = reading;
    this.#mailboxes = mailboxes;
  }

  /** Moves a marker as `Markers.mark` of broker.ts says, at `ts` milliseconds since 1970. */
  move({ user: name, kind, with: other, seq: wanted, private: isPrivate }: MarkerMove, ts: number): MarkerResult {
    const row = this.#reading.membership(name, other);
    const seq = Math.min(wanted, this.#db.head);
    const isOwn = isPrivate === true && kind === "read";
    const known = isRefusal(row) ? 0 : isOwn ? Math.max(row.read as number, row.own_read as number) : row[kind] as number;
    if (isRefusal(row) || row.thread === 0 || seq <= known) return { moved: false, authors: [], ts };
    const user = this.#db.userId(name)!;
    if (isOwn) {
      const sql = "UPDATE members SET own_read = ?, own_ts = ?, own_at = ? WHERE user = ? AND thread = ?";
      this.#db.run(sql, seq, ts, this.#db.head, user, row.thread!);
      return { moved: true, authors: [], ts };
    }
    const before = row[kind] as number, delivered = row.delivered as number;
    const read = kind === "read" ? seq : row.read!;
    const sql = "UPDATE members SET delivered = ?, read = ?, marked_ts = ?, marked_at = ? WHERE user = ? AND thread = ?";
    this.#db.run(sql, Math.max(delivered, seq), read, ts, this.#db.head, user, row.thread!);
    if (row.owner === 0 && seq > delivered) {
      const arrived = this.#mailboxes.deliver(user, row.thread!, delivered, seq);
      // The count has told already whether there is an author.
      if (arrived !== undefined && before === delivered) return { moved: true, authors: arrived > 0 ? [other] : [], ts };
    }
    return { moved: true, authors: this.#authors(row.thread!, user, Math.max(before, row.since as number), seq), ts };
  }

  /**
   * Moves `delivered` of all the user's conversations as `Markers.markAll` of broker.ts says, at `ts` milliseconds since 1970.
   */
  *moveAll(name: string, wanted: number, ts: number): Steps<(MarkerMove & MarkerResult)[]> {
    const user = this.#db.userId(name), seq = Math.min(wanted, this.#db.head);
    const moved: (MarkerMove & MarkerResult)[] = [];
    if (user === undefined) return moved;
    const sql = `SELECT m.thread, m.since, m.delivered, m.other, t.name, t.owner, t.last_seq
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND m.thread > ? AND m.thread <= ? AND m.delivered < ? AND t.last_seq > m.delivered AND t.last_seq > m.since`;
    for (let after = 0, last: number | undefined; (last = this.#lastThread(user, after)) !== undefined; after = last) {
      this.#db.flushThreads();
      for (const row of this.#db.all(sql, user, after, last, seq)) {
        const one = this.#deliver(user, name, row, seq, ts);
        if (one) moved.push(one);
        yield;
      }
      yield;
    }
    return moved;
  }

  /** Moves `delivered` of one conversation up to a position; returns what there is to tell of it. */
  #deliver(user: number, name: string, row: Row, upTo: number, ts: number): (MarkerMove & MarkerResult) | undefined {
    const thread = row.thread!, seq = Math.min(upTo, row.last_seq as number);
    // It may have moved, or ended, since the row was read.
    const now = this.#db.get("SELECT delivered FROM members WHERE user = ? AND thread = ?", user, thread);
    if (!now || seq <= Math.max(now.delivered as number, row.since as number)) return undefined;
    const before = Math.max(now.delivered as number, row.since as number);
    const isDirect = row.owner === 0;
    if (isDirect) this.#mailboxes.deliver(user, thread, before, seq);
    const authors = this.#authors(thread, user, before, seq);
    if (authors.length === 0) {
      // All of it is the user's own: it is not looked at again, and nobody is told.
      this.#db.run("UPDATE members SET delivered = ? WHERE user = ? AND thread = ?", seq, user, thread);
      return undefined;
    }
    const sql = "UPDATE members SET delivered = ?, marked_ts = ?, marked_at = ? WHERE user = ? AND thread = ?";
    this.#db.run(sql, seq, ts, this.#db.head, user, thread);
    const other = isDirect ? this.#db.userName(row.other as number) : String(row.name);
    return { user: name, kind: "delivered", with: other, seq, moved: true, authors, ts };
  }

  /** Lists authors of messages who are in the conversation still. */
  #authors(thread: SQLInputValue, user: number, after: number, upTo: number): string[] {
    const sql =
      `SELECT sender FROM (SELECT DISTINCT sender FROM (SELECT seq, sender FROM positions WHERE thread = ? AND seq > ? AND seq <= ?
      ORDER BY seq DESC LIMIT ${AUTHORS_LOOKED_MAX}) WHERE sender <> ?)
      WHERE EXISTS (SELECT 1 FROM members WHERE user = sender AND thread = ?) LIMIT ${MARK_AUTHORS_MAX}`;
    return this.#db.all(sql, thread, after, upTo, user, thread).map(({ sender }) => this.#db.userName(sender as number));
  }

  /** Lists some of the markers that `Markers.markers` of broker.ts says, those after a cursor. */
  *list(name: string, since: number, after: MarkerCursor = FIRST): Steps<MarkerRows> {
    const me = this.#db.userId(name);
    const markers: Marker[] = [];
    if (me === undefined) return { markers, next: undefined };
    for (;;) {
      const threads = this.#threads(me, after);
      const last = threads.at(-1)?.id as number | undefined;
      if (last === undefined) return { markers, next: undefined };
      const own = Math.max(after.own, last);
      markers.push(...this.#own(me, name, since, after.own, own));
      for (const thread of threads) {
        // The thread of the cursor may have more rows; the others are begun.
        const { at, user } = thread.id === after.thread ? after : FIRST;
        const rows = this.#others(me, thread, Math.max(since, at), user);
        for (const row of rows) this.#add(markers, row, thread, name);
        const end = rows.at(-1), isCut = rows.length === ROWS_STEP;
        const [reached, by] = isCut ? [end!.marked_at as number, end!.user as number] : [Infinity, 0];
        after = { thread: thread.id as number, at: reached, user: by, own };
        if (markers.length >= ROWS_STEP) return { markers, next: after };
        yield;
        if (isCut) break;
      }
    }
  }

  /** Returns some of the threads of a user from that of a cursor on, if it has more rows, or after it. */
  #threads(user: number, { thread, at }: MarkerCursor): Row[] {
    const sql = `SELECT t.id, t.name, t.owner FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND m.thread >= ? ORDER BY m.thread LIMIT ${LISTED_STEP}`;
    return this.#db.all(sql, user, at === Infinity ? thread + 1 : thread);
  }

  /** Returns the rows of others in a thread that moved at or after a position; in a group those that cover a message of `me`. */
  #others(me: number, { id, owner }: Row, at: number, after: number): Row[] {
    const sql = `SELECT user, delivered, read, marked_ts, marked_at FROM members WHERE thread = ? AND marked_at >= ?
      AND (marked_at, user) > (?, ?) AND user <> ? AND delivered >= ? ORDER BY marked_at, user LIMIT ${ROWS_STEP}`;
    if (owner === 0) return this.#db.all(sql, id!, at, at, after, me, 0);
    const some = "SELECT 1 FROM members WHERE thread = ? AND marked_at >= ? AND user <> ? LIMIT 1";
    const wrote = this.#db.get(some, id!, at, me) ? this.#firstBy(id!, me) : Infinity;
    return wrote === Infinity ? [] : this.#db.all(sql, id!, at, at, after, me, wrote);
  }

  /** Adds the markers of another user's row of a thread. */
  #add(markers: Marker[], row: Row, thread: Row, name: string): void {
    const other = thread.owner !== 0 ? String(thread.name) : name;
    const marker = { user: this.#db.userName(row.user as number), with: other, ts: row.marked_ts as number };
    if (row.delivered !== 0) markers.push({ ...marker, kind: "delivered", seq: row.delivered as number });
    if (row.read !== 0) markers.push({ ...marker, kind: "read", seq: row.read as number });
  }

  /** Returns the last of the next threads of a user after one; undefined where there are none. */
  #lastThread(user: number, after: number): number | undefined {
    const sql = `SELECT max(thread) AS last FROM
      (SELECT thread FROM members WHERE user = ? AND thread > ? ORDER BY thread LIMIT ${THREADS_STEP})`;
    return this.#db.get(sql, user, after)!.last as number | null ?? undefined;
  }

  /** Lists the user's own read markers that changed since the log stood at `since`, of threads after one and up to another. */
  #own(me: number, name: string, since: number, after: number, upTo: number): Marker[] {
    const sql =
      `SELECT max(m.read, m.own_read) AS seq, iif(m.own_read > m.read, m.own_ts, m.marked_ts) AS ts, m.other, t.name, t.owner
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND m.thread > ? AND m.thread <= ?
      AND max(m.marked_at, m.own_at) >= ? AND max(m.read, m.own_read) > 0`;
    return this.#db.all(sql, me, after, upTo, since).map((row) => {
      const other = row.owner !== 0 ? String(row.name) : this.#db.userName(row.other as number);
      return { user: name, kind: "read", with: other, seq: row.seq as number, ts: row.ts as number };
    });
  }

  /** Returns the position of the user's first message among the newest of a thread, or `Infinity`. */
  #firstBy(thread: SQLInputValue, user: number): number {
    const sql = `SELECT min(seq) AS seq FROM
      (SELECT seq, sender FROM positions WHERE thread = ? ORDER BY seq DESC LIMIT ${AUTHORS_LOOKED_MAX}) WHERE sender = ?`;
    return this.#db.get(sql, thread, user)!.seq as number | null ?? Infinity;
  }
}
