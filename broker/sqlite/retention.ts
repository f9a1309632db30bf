/**
 * Removal of messages that are too old, or of a group that has ended, in small steps between which others are served.
 *
 * The clock may be wrong, and a message that was removed for it is gone. So an age is that of a position: ticks say where the log
 * stood at a time, and never go back in time, whatever the clock does. What is old is removed only when a second look, an hour
 * later, finds it still old. The first look is stored, so that a server that never runs for an hour removes messages too.
 */

import type { SQLInputValue } from "node:sqlite";
import type { Clocks } from "../clocks.ts";
import { DAY_MS } from "../limits.ts";
import type { Database } from "./database.ts";
import type { Ended } from "./ended.ts";
import type { Mailboxes } from "./mailboxes.ts";

/** Milliseconds between two ticks: retention is as exact as they are. */
const TICK_MS = 60_000;
/** Messages that one step removes: some milliseconds, as each may lie on a page of its own. */
const EXPIRE_STEP = 250;
/** Conversations that one step looks at. */
const EXPIRE_THREADS = 500;
/** Milliseconds between the first look that finds a message old and the second: time for an operator, or NTP, to set the clock. */
export const SECOND_LOOK_MS = 3_600_000;

/** First of two looks. */
interface Look {
  /** Position up to which all is old, or time of the newest tick: no smaller at the second look. */
  readonly value: number;
  /** Monotonic milliseconds of this process at which it knew of the look. */
  readonly since: number;
  /** True for a look that a process before this one had, long enough ago by the clock. */
  readonly isRipe: boolean;
}

/** Options of {@linkcode Retention}. */
export interface RetentionOptions {
  readonly days: number;
  readonly clocks: Clocks;
  /** Milliseconds; {@linkcode SECOND_LOOK_MS} by default. */
  readonly secondLookMs?: number | undefined;
  /** Drops what others have read ahead: at the beginning and at the end of a removal. */
  readonly dropReadAhead: () => void;
  /** Called with a sentence for the operator when much is about to be removed. */
  readonly notice: (words: string) => void;
}

/** Removes messages of one database. */
export class Retention {
  readonly #db: Database;
  readonly #mailboxes: Mailboxes;
  readonly #ended: Ended;
  readonly #options: RetentionOptions;
  readonly #secondLookMs: number;
  /** Monotonic milliseconds of the next tick. */
  #tickDue = -Infinity;
  /** Looks by their name, as far as this process has read or stored them. */
  readonly #looks = new Map<string, Look>();
  /** Position up to which messages are removed now; 0 while nothing is. */
  #upTo = 0;
  /** Threads with an id up to this one have nothing old any more. */
  #expired = 0;

  constructor(db: Database, mailboxes: Mailboxes, ended: Ended, options: RetentionOptions) {
    this.#db = db;
    this.#mailboxes = mailboxes;
    this.#ended = ended;
    this.#options = options;
    this.#secondLookMs = options.secondLookMs ?? SECOND_LOOK_MS;
  }

  // ---- Ticks ----

  /** Notes the head now and then, from which retention learns the position that an age means. After every append. */
  tick(): void {
    if (this.#options.clocks.monotonic() >= this.#tickDue) this.#note();
  }

  /**
   * Notes the head at the clock's time, or at the newest time stored where the clock is behind it. A clock that is more than a
   * day ahead of it has to be so at a second look too: positions get a later time then, and are kept the longer.
   */
  #note(): void {
    const now = this.#options.clocks.now(), newest = this.#newestTick();
    this.#tickDue = this.#options.clocks.monotonic() + TICK_MS;
    if (newest === null || now <= newest + DAY_MS) this.#dropLook("ahead");
    else if (this.#looked("ahead", newest, now) === undefined) return;
    this.#db.run("INSERT OR REPLACE INTO ticks VALUES (?, ?)", Math.max(now, newest ?? now), this.#db.head);
  }

  #newestTick(): number | null {
    return this.#db.get("SELECT max(ts) AS ts FROM ticks")!.ts as number | null;
  }

  /** Clears what is remembered of the database. What a look has seen stays seen. */
  clear(): void {
    this.#tickDue = -Infinity;
  }

  // ---- Looks ----

  /**
   * Looks at a value that only grows while all is well. Returns the value of the first look where this is the second one, long
   * enough after it and no smaller; stores a first look where there is none or the value is smaller.
   */
  #looked(name: string, value: number, now: number): number | undefined {
    const look = this.#looks.get(name) ?? this.#storedLook(name, now);
    if (look === undefined || value < look.value) {
      this.#storeLook(name, value, now);
      return undefined;
    }
    const isSecond = look.isRipe || this.#options.clocks.monotonic() - look.since >= this.#secondLookMs;
    return isSecond ? look.value : undefined;
  }

  #storedLook(name: string, now: number): Look | undefined {
    const row = this.#db.get("SELECT value, ts FROM looks WHERE name = ?", name);
    if (!row) return undefined;
    const isRipe = now - (row.ts as number) >= this.#secondLookMs;
    const look = { value: row.value as number, since: this.#options.clocks.monotonic(), isRipe };
    this.#looks.set(name, look);
    return look;
  }

  #storeLook(name: string, value: number, now: number): void {
    this.#db.run("INSERT OR REPLACE INTO looks VALUES (?, ?, ?)", name, value, now);
    this.#looks.set(name, { value, since: this.#options.clocks.monotonic(), isRipe: false });
  }

  #dropLook(name: string): void {
    this.#db.run("DELETE FROM looks WHERE name = ?", name);
    this.#looks.delete(name);
  }

  // ---- Removal ----

  /** Takes one small step; returns 0 when there is nothing left to do for now. */
  expire(): number {
    this.#db.flushThreads();
    return this.#expireEnded() || this.#expireOld();
  }

  #expireEnded(): number {
    const sql = `SELECT id FROM threads WHERE owner < 0 AND NOT EXISTS (SELECT 1 FROM ended WHERE thread = threads.id) LIMIT 1`;
    const thread = this.#db.get(sql)?.id;
    if (thread === undefined) return 0;
    const removed = this.#removeOldest(thread, this.#db.head);
    if (this.#isEmpty(thread)) {
      this.#db.run("DELETE FROM threads WHERE id = ?", thread);
      this.#db.dropThread(thread as number);
    }
    return Math.max(1, removed);
  }

  #expireOld(): number {
    if (!Number.isFinite(this.#options.days)) return 0;
    if (this.#upTo === 0 && (this.#upTo = this.#begin()) === 0) return 0;
    const sql = `SELECT id FROM threads WHERE id > ? AND id <= ? AND
      EXISTS (SELECT 1 FROM positions WHERE thread = threads.id AND seq <= ?) ORDER BY id LIMIT 1`;
    const thread = this.#db.get(sql, this.#expired, this.#expired + EXPIRE_THREADS, this.#upTo)?.id;
    if (thread !== undefined) return this.#expireThread(thread);
    this.#expired += EXPIRE_THREADS;
    if (this.#expired < (this.#db.get("SELECT max(id) AS id FROM threads")!.id as number)) return 1;
    return this.#end();
  }

  /** Returns the position up to which everything is too old, by two looks; 0 where nothing is. */
  #begin(): number {
    // What was sent since the last tick may be the last for long.
    this.#note();
    const now = this.#options.clocks.now(), old = this.#oldPosition(now);
    if (old === 0) {
      this.#dropLook("old");
      return 0;
    }
    const upTo = this.#looked("old", old, now) ?? 0;
    if (upTo > 0) {
      this.#announce(now);
      this.#options.dropReadAhead();
    }
    return upTo;
  }

  #oldPosition(now: number): number {
    const sql = "SELECT max(seq) AS seq FROM ticks WHERE ts < ?";
    return this.#db.get(sql, this.#oldest(now))!.seq as number | null ?? 0;
  }

  /** Returns the time of the oldest message that is kept at `now`. */
  #oldest(now: number): number {
    return now - this.#options.days * DAY_MS;
  }

  #announce(now: number): void {
    const sql = "SELECT min(ts) AS first, max(ts) AS last FROM ticks WHERE ts < ?";
    const { first, last } = this.#db.get(sql, this.#oldest(now))!;
    const days = Math.floor((Number(last) - Number(first)) / DAY_MS);
    if (days < 1) return;
    const until = new Date(Number(last)).toISOString().slice(0, 16);
    this.#options.notice(
      `Messages of ${days} ${days === 1 ? "day" : "days"}, up to ${until}Z, are older than retention keeps and are removed now`,
    );
  }

  #end(): 0 {
    // The newest stays in any case: no later tick is dated before it.
    this.#db.run("DELETE FROM ticks WHERE seq <= ? AND ts < (SELECT max(ts) FROM ticks)", this.#upTo);
    this.#upTo = this.#expired = 0;
    this.#options.dropReadAhead();
    this.#dropLook("old");
    const now = this.#options.clocks.now(), old = this.#oldPosition(now);
    this.#db.run("DELETE FROM changes WHERE ts < ? AND number < (SELECT max(number) FROM changes)", this.#oldest(now));
    if (old > 0) this.#storeLook("old", old, now);
    return 0;
  }

  #expireThread(thread: SQLInputValue): number {
    const removed = this.#removeOldest(thread, this.#upTo);
    if (this.#isEmpty(thread)) {
      this.#db.run("UPDATE threads SET last_seq = 0 WHERE id = ?", thread);
      this.#db.emptied(thread as number);
    }
    this.#mailboxes.removedFrom(thread);
    return removed;
  }

  #isEmpty(thread: SQLInputValue): boolean {
    return this.#db.get("SELECT 1 AS one FROM positions WHERE thread = ? LIMIT 1", thread) === undefined;
  }

  /** Removes the oldest messages of a thread up to a position, and raises the horizon of those who could see them. */
  #removeOldest(thread: SQLInputValue, upTo: number): number {
    const oldest =
      "SELECT max(seq) AS seq FROM (SELECT seq FROM positions WHERE thread = ? AND seq <= ? ORDER BY seq LIMIT ? + 0)";
    const last = this.#db.get(oldest, thread, upTo, EXPIRE_STEP)!.seq;
    if (last === null || last === undefined) return 0;
    const horizon = `UPDATE users SET horizon = max(horizon, ?)
      WHERE id IN (SELECT user FROM members WHERE thread = ? AND since < ?)`;
    this.#db.run(horizon, last, thread, last);
    this.#ended.removed(thread as number, last as number);
    const removed = "INSERT INTO meta VALUES ('removed', ?) ON CONFLICT DO UPDATE SET value = max(value, excluded.value)";
    this.#db.run(removed, last);
    const remove = "DELETE FROM messages WHERE seq IN (SELECT seq FROM positions WHERE thread = ? AND seq <= ?)";
    return this.#db.run(remove, thread, last);
  }
}
