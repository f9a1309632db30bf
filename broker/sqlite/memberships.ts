/**
 * The conversations that users are in, cached for those who have asked of late: a page of a backlog, or of a list of
 * conversations, looks at all of them.
 */

import { type Database, type Row, type Thread, toThread } from "./database.ts";
import type { Steps } from "./steps.ts";

/** Conversations of all users that are cached; each takes some hundred bytes. Users who asked longest ago go first. */
const CACHED_MAX = 100_000;
/** Conversations above which a user's are not cached, but read every time: one user does not take the cache from the others. */
const CACHED_OF_ONE_MAX = 25_000;
/** Conversations that are visited in a step: one or two milliseconds, if each is asked for its next message. */
const STEP = 512;

/** A conversation that a user is in, and the position since which they see its messages. */
export interface Membership {
  readonly thread: Thread;
  readonly since: number;
}

/** A walk along conversations that are not cached yet. */
interface Walk {
  readonly user: number;
  isStale: boolean;
}

/** Memberships of the users of one database. */
export class Memberships {
  readonly #db: Database;
  /** By user, in the order of the last use. */
  readonly #cached = new Map<number, Membership[]>();
  #size = 0;
  #walk: Walk | undefined;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Calls `visit` with every conversation that a user is in. Yields now and then. Returns false where what the user is in has
   * changed meanwhile: the caller begins again.
   */
  *each(user: number, visit: (membership: Membership) => void): Steps<boolean> {
    const walk = this.#walk = { user, isStale: false };
    const cached = this.#cached.get(user);
    if (!cached) return yield* this.#read(walk, visit);
    this.#cached.delete(user);
    this.#cached.set(user, cached);
    const count = cached.length; // what is added from now on is none of this walk's
    for (let i = 0; i < count; i++) {
      if (i % STEP === STEP - 1) {
        yield;
        if (walk.isStale) return false;
      }
      visit(cached[i]!);
    }
    return true;
  }

  *#read(walk: Walk, visit: (membership: Membership) => void): Steps<boolean> {
    const { user } = walk,
      sql = `SELECT t.id, t.name, t.owner, t.last_seq, m.since FROM members m JOIN threads t
      ON t.id = m.thread WHERE m.user = ? AND m.thread > ? ORDER BY m.thread LIMIT ${STEP}`;
    let found: Membership[] | undefined = [];
    for (let last = 0;;) {
      this.#db.flushThreads();
      const rows: Row[] = this.#db.all(sql, user, last);
      if (found && found.length + rows.length > CACHED_OF_ONE_MAX) found = undefined;
      for (const row of rows) {
        const thread = found ? this.#db.keepThread(row) : toThread(row);
        const membership = { thread, since: row.since as number };
        found?.push(membership);
        visit(membership);
      }
      if (rows.length < STEP) break;
      last = rows.at(-1)!.id as number;
      yield;
      if (walk.isStale) return false;
    }
    if (found) this.#keep(user, found);
    return true;
  }

  #keep(user: number, memberships: Membership[]): void {
    this.#drop(user);
    this.#cached.set(user, memberships);
    this.#size += memberships.length;
    for (const other of this.#cached.keys()) {
      if (this.#size <= CACHED_MAX || other === user) break;
      this.#drop(other);
    }
  }

  #drop(user: number): void {
    this.#size -= this.#cached.get(user)?.length ?? 0;
    this.#cached.delete(user);
  }

  /** Tells that a direct conversation of a user has begun. */
  added(user: number, thread: Thread): void {
    const cached = this.#cached.get(user);
    if (!cached) return;
    cached.push({ thread, since: 0 });
    this.#size++;
    if (cached.length > CACHED_OF_ONE_MAX) this.#drop(user);
  }

  /** Tells that a user has entered or left a group. */
  changed(user: number): void {
    if (this.#walk?.user === user) this.#walk.isStale = true;
    this.#drop(user);
  }

  /** Clears what is cached. */
  clear(): void {
    if (this.#walk) this.#walk.isStale = true;
    this.#cached.clear();
    this.#size = 0;
  }
}
