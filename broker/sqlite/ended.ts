/**
 * Memberships of groups that have ended: what was sent while a user was in a group stays due to those of their devices that were
 * away, whoever ended the membership. Where it cannot be held, the user's horizon says so.
 */

import { ENDED_KEPT } from "../limits.ts";
import type { Database, Row, Thread } from "./database.ts";

/** Ended memberships of one database. */
export class Ended {
  readonly #db: Database;
  /** Users who have some; undefined before it is asked for. Most have none, and are not asked about. */
  #users: Set<number> | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Keeps the membership of a user who is leaving a group and has been in it since a position, if a device may need it. */
  add(user: number, thread: Thread, since: number): void {
    const until = thread.lastSeq;
    if (until <= since) return;
    const slowest = this.#slowest(user);
    if (slowest === undefined || slowest >= until) return this.#raise(user, until);
    this.#db.run("INSERT INTO ended VALUES (?, ?, ?, ?)", user, thread.id, since, until);
    this.#holders().add(user);
    const count = this.#db.get("SELECT count(*) AS n FROM ended WHERE user = ?", user)!.n as number;
    if (count <= ENDED_KEPT) return;
    const sql = "SELECT until FROM ended WHERE user = ? ORDER BY until LIMIT 1 OFFSET ? + 0";
    this.#drop(user, this.#db.get(sql, user, count - ENDED_KEPT - 1)!.until as number);
  }

  /** Drops what every device of a user has now: after one of them has moved. */
  passed(user: number): void {
    if (!this.#holders().has(user)) return;
    const slowest = this.#slowest(user);
    if (slowest !== undefined) this.#drop(user, slowest);
  }

  /** Returns the user's ended memberships with something after `after`, each with the row of its thread. */
  of(user: number, after: number): Row[] {
    if (!this.#holders().has(user)) return [];
    const sql = `SELECT t.id, t.name, t.owner, t.last_seq, e.since, e.until
      FROM ended e JOIN threads t ON t.id = e.thread WHERE e.user = ? AND e.until > ?`;
    return this.#db.all(sql, user, after);
  }

  /** Tells that retention has removed a thread's messages up to a position. */
  removed(thread: number, upTo: number): void {
    const horizon = `UPDATE users SET horizon = max(horizon, min(?, e.until)) FROM ended e
      WHERE e.thread = ? AND e.user = users.id AND e.since < ?`;
    this.#db.run(horizon, upTo, thread, upTo);
    this.#db.run("DELETE FROM ended WHERE thread = ? AND until <= ?", thread, upTo);
  }

  /** Clears what is cached. */
  clear(): void {
    this.#users = undefined;
  }

  /** Drops memberships that ended at a position or before; a device that resumes below has missed something then. */
  #drop(user: number, upTo: number): void {
    const last = this.#db.get("SELECT max(until) AS until FROM ended WHERE user = ? AND until <= ?", user, upTo)!.until;
    if (last === null) return;
    this.#raise(user, last as number);
    this.#db.run("DELETE FROM ended WHERE user = ? AND until <= ?", user, upTo);
    if (!this.#db.get("SELECT 1 FROM ended WHERE user = ? LIMIT 1", user)) this.#holders().delete(user);
  }

  #raise(user: number, horizon: number): void {
    this.#db.run("UPDATE users SET horizon = max(horizon, ?) WHERE id = ?", horizon, user);
  }

  /** Returns the position of the device of a user that is furthest behind. */
  #slowest(user: number): number | undefined {
    return this.#db.get("SELECT min(position) AS position FROM devices WHERE user = ?", user)!.position as number ?? undefined;
  }

  #holders(): Set<number> {
    return this.#users ??= new Set(this.#db.all("SELECT DISTINCT user FROM ended").map(({ user }) => user as number));
  }
}
