/**
 * The database as the rooms of the store use it: statements, names, conversations and the head. What is cached here is written
 * by {@linkcode Database.flush} before a commit, and cleared after a rollback, when it may not have happened.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";

/** Names and conversations that are cached: past it all of them are cleared and read again. */
const CACHE_ENTRIES_MAX = 200_000;

/** A row of a query by column. */
export type Row = Record<string, SQLInputValue>;

/** A conversation or a group, as far as sending to it and listing it need. */
export interface Thread {
  readonly id: number;
  /** A group's name, also after its end, or that of {@linkcode directName}. */
  readonly name: string;
  readonly isGroup: boolean;
  lastSeq: number;
  /** True while `lastSeq` is newer than what the database says. */
  isDirty: boolean;
  /** Members of a group by id in the order of joining, once somebody has written to it; undefined for a direct conversation. */
  members: Set<number> | undefined;
  /** Members of a group by id who were brought in and have neither joined nor written since; filled with the members. */
  passive: Set<number>;
}

const NOBODY: Set<number> = new Set();

/** One database with what is cached of it. */
export class Database {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();
  readonly #userIds = new Map<string, number>();
  readonly #userNames = new Map<number, string>();
  readonly #threads = new Map<number, Thread>();
  /** Direct conversations by their users' ids; those of the threads that were written to. */
  readonly #directs = new Map<number, Thread>();
  /** Those of the threads that were asked for by name. */
  readonly #named = new Map<string, Thread>();
  readonly #dirty = new Set<Thread>();
  /** Position of the newest message; -1 where it has to be read. */
  #head = -1;
  #savedHead = -1;

  constructor(database: DatabaseSync) {
    this.#database = database;
  }

  // ---- Statements ----

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }

  /**
   * Returns the first row of a query. The statement stays prepared, so `sql` must not contain values. A bare `LIMIT ?` makes
   * SQLite prepare it anew for every value, which takes longer than most queries: `LIMIT ? + 0` does not.
   */
  get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  /** Returns all rows of a query. */
  all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values) as Row[];
  }

  /** Carries out a statement and returns the number of rows that it changed. */
  run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  /** Carries out statements without values. */
  exec(sql: string): void {
    this.#database.exec(sql);
  }

  /** Inserts a row and returns its id. */
  insert(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).lastInsertRowid);
  }

  // ---- Head and caches ----

  /** Identifies the log. */
  get epoch(): string {
    return String(this.get("SELECT value FROM meta WHERE key = 'epoch'")!.value);
  }

  /** Position of the newest message. */
  get head(): number {
    if (this.#head < 0) {
      this.#head = this.#savedHead = Number(this.get("SELECT value FROM meta WHERE key = 'head'")?.value ?? 0);
    }
    return this.#head;
  }

  /** Moves the head forward; positions in between are never given to a message. */
  set head(seq: number) {
    this.#head = seq;
  }

  /** Notes that the newest message of a thread is at `seq`. */
  touch(thread: Thread, seq: number): void {
    thread.lastSeq = seq;
    if (thread.isDirty) return;
    thread.isDirty = true;
    this.#dirty.add(thread);
  }

  /** Writes what is only cached: before every commit. */
  flush(): void {
    this.flushThreads();
    if (this.#head > this.#savedHead) {
      this.run("INSERT INTO meta VALUES ('head', ?) ON CONFLICT DO UPDATE SET value = excluded.value", this.#head);
      this.#savedHead = this.#head;
    }
  }

  /** Writes the newest positions of threads: before every query that looks at them. */
  flushThreads(): void {
    if (this.#dirty.size === 0) return;
    for (const thread of this.#dirty) {
      this.run("UPDATE threads SET last_seq = ? WHERE id = ?", thread.lastSeq, thread.id);
      thread.isDirty = false;
    }
    this.#dirty.clear();
  }

  /** True where more is cached than should be. */
  get isOverfull(): boolean {
    return this.#userIds.size + this.#threads.size > CACHE_ENTRIES_MAX;
  }

  /** Clears all caches. */
  clear(): void {
    for (const cache of [this.#userIds, this.#userNames, this.#threads, this.#named, this.#directs, this.#dirty]) cache.clear();
    this.#head = -1;
  }

  // ---- Users ----

  /** Returns the id of a user; undefined for one who was never connected. */
  userId(name: string): number | undefined {
    const known = this.#userIds.get(name);
    if (known !== undefined) return known;
    const id = this.get("SELECT id FROM users WHERE name = ?", name)?.id as number | undefined;
    if (id !== undefined) this.#userIds.set(name, id);
    return id;
  }

  /** Returns the id of a user, who is registered if unknown. */
  addUser(name: string): number {
    const known = this.userId(name);
    if (known !== undefined) return known;
    const id = this.insert("INSERT INTO users (name) VALUES (?)", name);
    this.#userIds.set(name, id);
    return id;
  }

  /** Returns the name of a user by id. */
  userName(id: number): string {
    let name = this.#userNames.get(id);
    if (name === undefined) this.#userNames.set(id, name = String(this.get("SELECT name FROM users WHERE id = ?", id)!.name));
    return name;
  }

  // ---- Threads ----

  /** Returns a thread by its name: a group's, or that of {@linkcode directName}. A group has its members. */
  thread(name: string): Thread | undefined {
    const known = this.#named.get(name);
    if (known) return known;
    const row = this.get("SELECT id, name, owner, last_seq FROM threads WHERE name = ?", name);
    if (!row) return undefined;
    const thread = this.keepThread(row);
    if (thread.isGroup && thread.members === undefined) {
      thread.members = new Set(this.#memberIds(thread.id));
      thread.passive = new Set(this.#passiveIds(thread.id));
    }
    this.#named.set(name, thread);
    return thread;
  }

  /** Returns the direct conversation of two users by their ids, which is faster than by name, or by name where there is none. */
  direct(one: number, two: number | undefined, from: string, to: string): Thread | undefined {
    if (two === undefined) return undefined;
    const key = one < two ? one * 2 ** 26 + two : two * 2 ** 26 + one;
    if (one >= 2 ** 26 || two >= 2 ** 26) return this.thread(directName(from, to));
    let thread = this.#directs.get(key);
    if (!thread && (thread = this.thread(directName(from, to)))) this.#directs.set(key, thread);
    return thread;
  }

  /** Returns the cached thread of a row with `id`, `name`, `owner` and `last_seq`, which is cached if it was not. */
  keepThread(row: Row): Thread {
    const known = this.#threads.get(row.id as number);
    if (known) return known;
    const thread = toThread(row);
    this.#threads.set(thread.id, thread);
    return thread;
  }

  /** Begins the direct conversation of two users, who may be the same. */
  addDirect(name: string, one: number, two: number): Thread {
    const id = this.insert("INSERT INTO threads (name) VALUES (?)", name);
    const join = "INSERT OR IGNORE INTO members (user, thread, other, since, joined) VALUES (?, ?, ?, 0, 0)";
    this.run(join, one, id, two);
    this.run(join, two, id, one);
    const thread: Thread = { id, name, isGroup: false, lastSeq: 0, isDirty: false, members: undefined, passive: NOBODY };
    this.#threads.set(id, thread);
    this.#named.set(name, thread);
    return thread;
  }

  /** Clears what is cached of a thread by its name: it has ended. */
  clearThread(name: string): void {
    this.#named.delete(name);
  }

  /** Tells that a thread has no messages any more. */
  emptied(id: number): void {
    const thread = this.#threads.get(id);
    if (thread) thread.lastSeq = 0;
  }

  /** Clears what is cached of a thread that is no more: another one may get its id. */
  dropThread(id: number): void {
    const thread = this.#threads.get(id);
    this.#threads.delete(id);
    if (thread && !thread.isGroup) {
      this.#named.delete(thread.name);
      this.#directs.clear();
    }
  }

  #passiveIds(thread: number): number[] {
    return this.all("SELECT user FROM members WHERE thread = ? AND passive = 1", thread).map(({ user }) => user as number);
  }

  /** Returns the members of a group by id, in the order of joining. */
  #memberIds(thread: number): number[] {
    return this.all("SELECT user FROM members WHERE thread = ? ORDER BY joined", thread).map(({ user }) => user as number);
  }
}

/** Makes a thread of a row with `id`, `name`, `owner` and `last_seq`. */
export function toThread({ id, name, owner, last_seq }: Row): Thread {
  const isGroup = owner !== 0;
  const words = isGroup ? groupName(String(name)) : String(name);
  return {
    id: id as number,
    name: words,
    isGroup,
    lastSeq: last_seq as number,
    isDirty: false,
    members: undefined,
    passive: NOBODY,
  };
}

/** Returns the name by which a group that has ended is kept: no other has it, as names have no space. */
export function endedName(id: number, group: string): string {
  return ` ${id} ${group}`;
}

/** Returns the name of a group by the one that it is kept by; see {@linkcode endedName}. */
export function groupName(kept: string): string {
  return kept.slice(kept.lastIndexOf(" ") + 1);
}

/** Returns the name of the thread of two users: their names have no space. */
export function directName(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

/** Returns the other of the two names in a {@linkcode directName}. */
export function otherName(direct: string, name: string): string {
  const space = direct.indexOf(" "), first = direct.slice(0, space);
  return first === name ? direct.slice(space + 1) : first;
}
