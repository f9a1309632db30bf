/** Delivered and read markers: a user's own stand in their row of the conversation. */

import type { SQLInputValue } from "node:sqlite";
import type { Marker, MarkerMove, MarkerResult } from "../../broker.ts";
import { MARK_AUTHORS_MAX } from "../limits.ts";
import type { Database } from "./database.ts";
import type { Mailboxes } from "./mailboxes.ts";
import { isRefusal, type Reading } from "./reading.ts";

/** Messages that are looked at to find the authors whom a marker covers. */
const AUTHORS_SCANNED_MAX = 1_000;

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

  #authors(thread: SQLInputValue, user: number, after: number, upTo: number): string[] {
    const sql = `SELECT DISTINCT sender FROM (SELECT sender FROM messages WHERE thread = ? AND seq > ? AND seq <= ?
      ORDER BY seq DESC LIMIT ${AUTHORS_SCANNED_MAX}) WHERE sender <> ? LIMIT ${MARK_AUTHORS_MAX}`;
    return this.#db.all(sql, thread, after, upTo, user).map(({ sender }) => this.#db.userName(sender as number));
  }

  /** Lists markers as `Markers.markers` of broker.ts says. */
  list(name: string, since: number): Marker[] {
    const me = this.#db.userId(name);
    if (me === undefined) return [];
    const sql = `SELECT o.user, o.thread, o.delivered, o.read, o.marked_ts, t.name, t.owner FROM members mine
      JOIN members o ON o.thread = mine.thread AND o.marked_at >= ? JOIN threads t ON t.id = o.thread WHERE mine.user = ? AND o.user <> mine.user`;
    const found = this.#own(me, name, since);
    const wrote = new Map<SQLInputValue, number>();
    for (const row of this.#db.all(sql, since, me)) {
      const thread = row.thread!;
      if (row.owner !== 0) {
        if (!wrote.has(thread)) wrote.set(thread, this.#firstBy(thread, me));
        if ((row.delivered as number) < wrote.get(thread)!) continue;
      }
      const other = row.owner !== 0 ? String(row.name) : name;
      const marker = { user: this.#db.userName(row.user as number), with: other, ts: row.marked_ts as number };
      if (row.delivered !== 0) found.push({ ...marker, kind: "delivered", seq: row.delivered as number });
      if (row.read !== 0) found.push({ ...marker, kind: "read", seq: row.read as number });
    }
    return found;
  }

  /** Lists the user's own read markers that changed since the log stood at `since`. */
  #own(me: number, name: string, since: number): Marker[] {
    const sql =
      `SELECT max(m.read, m.own_read) AS seq, iif(m.own_read > m.read, m.own_ts, m.marked_ts) AS ts, m.other, t.name, t.owner
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND max(m.marked_at, m.own_at) >= ? AND max(m.read, m.own_read) > 0`;
    return this.#db.all(sql, me, since).map((row) => {
      const other = row.owner !== 0 ? String(row.name) : this.#db.userName(row.other as number);
      return { user: name, kind: "read", with: other, seq: row.seq as number, ts: row.ts as number };
    });
  }

  /** Returns the position of the user's first message among the newest of a thread, or `Infinity`. */
  #firstBy(thread: SQLInputValue, user: number): number {
    const sql = `SELECT min(seq) AS seq FROM
      (SELECT seq, sender FROM messages WHERE thread = ? ORDER BY seq DESC LIMIT ${AUTHORS_SCANNED_MAX}) WHERE sender = ?`;
    return this.#db.get(sql, thread, user)!.seq as number | null ?? Infinity;
  }
}
