/** Removal of messages that are too old, or of a group that has ended, in small steps between which others are served. */

import type { SQLInputValue } from "node:sqlite";
import { DAY_MS } from "../limits.ts";
import type { Database } from "./database.ts";
import type { Mailboxes } from "./mailboxes.ts";

/** Milliseconds between two notes of the head: retention is as exact as they are. */
const TICK_MS = 60_000;
/** Messages that one step removes: some milliseconds. */
const EXPIRE_STEP = 1_000;
/** Conversations that one step looks at. */
const EXPIRE_THREADS = 500;

/** Removes messages of one database. */
export class Retention {
  readonly #db: Database;
  readonly #mailboxes: Mailboxes;
  readonly #days: number;
  /** Milliseconds since 1970 of the last note of the head. */
  #lastTick = 0;
  /** Threads with an id up to this one have nothing old any more. */
  #expired = 0;

  constructor(db: Database, mailboxes: Mailboxes, days: number) {
    this.#db = db;
    this.#mailboxes = mailboxes;
    this.#days = days;
  }

  /** Notes the head now and then, from which retention learns the position that an age means. After every append. */
  tick(now: number): void {
    if (now - this.#lastTick > TICK_MS) this.#note(now);
  }

  #note(now: number): void {
    this.#lastTick = now;
    this.#db.run("INSERT OR REPLACE INTO ticks VALUES (?, ?)", now, this.#db.head);
  }

  /** Clears what is remembered of the database. */
  clear(): void {
    this.#lastTick = 0;
  }

  /** Takes one small step at `now`; returns 0 when there is nothing left to do for now. */
  expire(now: number): number {
    this.#db.flushThreads();
    return this.#expireEnded() || this.#expireOld(now);
  }

  #expireEnded(): number {
    const thread = this.#db.get("SELECT id FROM threads WHERE owner < 0 LIMIT 1")?.id;
    if (thread === undefined) return 0;
    const removed = this.#removeOldest(thread, this.#db.head);
    if (removed < EXPIRE_STEP) this.#db.run("DELETE FROM threads WHERE id = ?", thread);
    return Math.max(1, removed);
  }

  #expireOld(now: number): number {
    const limit = now - this.#days * DAY_MS;
    if (!Number.isFinite(limit)) return 0;
    const upTo = this.#db.get("SELECT max(seq) AS seq FROM ticks WHERE ts < ?", limit)!.seq as number | null;
    if (upTo === null) return this.#end(now, limit);
    const sql = `SELECT id FROM threads WHERE id > ? AND id <= ? AND
      EXISTS (SELECT 1 FROM messages WHERE thread = threads.id AND seq <= ?) ORDER BY id LIMIT 1`;
    const thread = this.#db.get(sql, this.#expired, this.#expired + EXPIRE_THREADS, upTo)?.id;
    if (thread !== undefined) return this.#expireThread(thread, upTo);
    this.#expired += EXPIRE_THREADS;
    if (this.#expired < (this.#db.get("SELECT max(id) AS id FROM threads")!.id as number)) return 1;
    return this.#end(now, limit);
  }

  #end(now: number, limit: number): 0 {
    this.#expired = 0;
    this.#db.run("DELETE FROM ticks WHERE ts < ?", limit);
    // What was sent since the last tick may be the last for long.
    this.#note(now);
    return 0;
  }

  #expireThread(thread: SQLInputValue, upTo: number): number {
    const removed = this.#removeOldest(thread, upTo);
    if (removed < EXPIRE_STEP) this.#db.run("UPDATE threads SET last_seq = 0 WHERE id = ? AND last_seq <= ?", thread, upTo);
    this.#mailboxes.clear();
    return removed;
  }

  /** Removes the oldest messages of a thread up to a position, and raises the horizon of those who could see them. */
  #removeOldest(thread: SQLInputValue, upTo: number): number {
    const oldest = "SELECT max(seq) AS seq FROM (SELECT seq FROM messages WHERE thread = ? AND seq <= ? ORDER BY seq LIMIT ?)";
    const last = this.#db.get(oldest, thread, upTo, EXPIRE_STEP)!.seq;
    if (last === null || last === undefined) return 0;
    const horizon = `UPDATE users SET horizon = max(horizon, ?)
      WHERE id IN (SELECT user FROM members WHERE thread = ? AND since < ?)`;
    this.#db.run(horizon, last, thread, last);
    return this.#db.run("DELETE FROM messages WHERE thread = ? AND seq <= ?", thread, last);
  }
}
