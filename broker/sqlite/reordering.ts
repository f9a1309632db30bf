/**
 * Takes a file over whose messages lie by conversation, and puts them in the order of coming. The schema's step has given the old
 * table the name `clustered`; as long as there is one, this goes on where it was left. Every step is a transaction of its own that
 * leaves all messages in one table or the other, so that a kill at any moment loses nothing.
 */

import { statfsSync } from "node:fs";
import type { DatabaseSync, SQLInputValue } from "node:sqlite";
import { BrokerError } from "../errors.ts";

/** Positions that are copied in one transaction, and messages that are removed from the old table in one: some MiB of the log. */
const STEP = 32_768;
/** Milliseconds between two lines of progress. */
const SAY_MS = 5_000;
/**
 * Bytes that are needed while messages are put in order, for each that the file uses: the new table is as large as the old one,
 * and what is written passes through the log.
 */
const NEEDED = 1.4;
/** Bytes that the log takes at least. */
const LOG_BYTES = 2 ** 25;

/** Options of taking a file over. */
export interface Takeover {
  /** Called with sentences for the operator: what is done, and how far it is. */
  readonly notice?: (words: string) => void;
  /** Returns the bytes that are free on the disk of a file; undefined where that cannot be seen. */
  readonly freeBytes?: (file: string) => number | undefined;
  /** Messages in one transaction, {@linkcode STEP} by default. */
  readonly step?: number;
}

/** Returns true where messages are still in the old order, or partly. */
export function isReordering(database: DatabaseSync): boolean {
  return has(database, "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'clustered'");
}

function has(database: DatabaseSync, sql: string): boolean {
  return database.prepare(sql).get() !== undefined;
}

/** Returns the number of the first column of the first row; 0 where there is none. */
function number(database: DatabaseSync, sql: string, ...values: SQLInputValue[]): number {
  return Number(Object.values(database.prepare(sql).get(...values) ?? {})[0] ?? 0);
}

/**
 * Checks that there is room before a file with `messages` in the old order, or partly, is changed. Throws {@linkcode BrokerError}
 * with how much is needed, where, and what to do.
 */
export function checkRoom(database: DatabaseSync, { freeBytes = freeBytesOf }: Takeover): void {
  const file = String(database.prepare("PRAGMA database_list").get()!.file); // older runtimes have no location()
  if (file === "") return; // in memory
  const free = freeBytes(file), page = number(database, "PRAGMA page_size");
  const unused = number(database, "PRAGMA freelist_count") * page, used = number(database, "PRAGMA page_count") * page - unused;
  // What was copied before a kill counts among the used, and needs nothing any more.
  const before = isReordering(database) ? number(database, "SELECT value FROM meta WHERE key = 'reordering'") : used;
  const copied = Math.max(0, used - before);
  const needed = Math.max(0, before * NEEDED - copied - unused) + LOG_BYTES;
  if (free === undefined || free >= needed) return;
  throw new BrokerError(
    `The messages in ${file} have to be put in another order, once. That needs ${mib(needed)} MiB on the disk of the file, ` +
      `${mib(free)} MiB are free, and nothing was done: make room there, or move the folder to a larger disk, and start again`,
  );
}

function mib(bytes: number): number {
  return Math.ceil(bytes / 2 ** 20);
}

function freeBytesOf(file: string): number | undefined {
  try {
    const { bavail, bsize } = statfsSync(file);
    return bavail * bsize;
  } catch {
    return undefined; // what cannot be seen refuses nothing
  }
}

/** Puts the messages in the order of coming, or goes on with it. Does nothing where that has been done. */
export function reorder(database: DatabaseSync, takeover: Takeover): void {
  if (isReordering(database)) new Reordering(database, takeover).run();
}

class Reordering {
  readonly #database: DatabaseSync;
  readonly #notice: (words: string) => void;
  readonly #step: number;
  #saidAt = performance.now();

  constructor(database: DatabaseSync, { notice = () => {}, step = STEP }: Takeover) {
    this.#database = database;
    this.#notice = notice;
    this.#step = step;
  }

  run(): void {
    const isEmpty = !has(this.#database, "SELECT 1 FROM clustered LIMIT 1");
    if (!isEmpty) this.#takeOver();
    this.#transact(() => {
      this.#database.exec("DROP INDEX IF EXISTS messages_id");
      this.#indexIds();
      this.#database.exec("DROP TABLE clustered; DELETE FROM meta WHERE key = 'reordering'");
      const head = number(this.#database, "SELECT max(seq) FROM messages");
      this.#database.prepare("INSERT OR REPLACE INTO meta VALUES ('listed', ?)").run(head);
    });
    if (!isEmpty) this.#notice("The messages are in their new order");
  }

  #takeOver(): void {
    this.#notice(
      "The messages are put in another order first, once; a stop or a kill loses nothing, and the next start goes on",
    );
    const temporary = number(this.#database, "PRAGMA temp_store");
    // Sorting the ids of a large file takes more memory than there may be. What moves away leaves nothing in free pages.
    this.#database.exec("PRAGMA temp_store = FILE; PRAGMA secure_delete = ON");
    this.#copy();
    this.#transact(() => {
      this.#indexIds();
      this.#database.exec("DROP INDEX IF EXISTS messages_id");
    });
    this.#list();
    this.#database.exec(`PRAGMA temp_store = ${temporary}`);
  }

  #transact(change: () => void): void {
    this.#database.exec("BEGIN IMMEDIATE");
    try {
      change();
      this.#database.exec("COMMIT");
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec("ROLLBACK");
      throw error;
    }
  }

  /** Copies messages in the order of coming. */
  #copy(): void {
    const last = number(this.#database, "SELECT max(last_seq) FROM threads");
    const copy = this.#database.prepare(`INSERT INTO messages (seq, thread, sender, ts, id, origin, content)
      SELECT m.seq, m.thread, m.sender, m.ts, m.id, m.origin, m.content FROM threads t
      CROSS JOIN clustered m ON m.thread = t.id AND m.seq > ? AND m.seq <= ? ORDER BY m.seq`);
    // Positions that nobody has may be millions: they are passed at once.
    const next = `SELECT min((SELECT m.seq FROM clustered m WHERE m.thread = t.id AND m.seq > ? ORDER BY m.seq LIMIT 1))
      FROM threads t`;
    for (
      let low = number(this.#database, "SELECT max(seq) FROM messages"), first;
      (first = number(this.#database, next, low));
    ) {
      low = first - 1 + this.#step;
      this.#transact(() => copy.run(first - 1, low));
      this.#say(`The messages are put in another order: position ${Math.min(low, last)} of ${last} is copied`);
    }
  }

  #indexIds(): void {
    this.#database.exec("CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id ON messages (sender, id) WHERE id IS NOT NULL");
  }

  /** Lists the positions of conversations, and removes what was copied. */
  #list(): void {
    const last = number(this.#database, "SELECT max(thread) FROM clustered");
    const end = this.#database.prepare("SELECT thread, seq FROM clustered ORDER BY thread, seq LIMIT 1 OFFSET ? + 0");
    const list = this.#database.prepare(
      "INSERT INTO listed SELECT thread, seq, sender FROM clustered WHERE (thread, seq) <= (?, ?) ORDER BY thread, seq",
    );
    const remove = this.#database.prepare("DELETE FROM clustered WHERE (thread, seq) <= (?, ?)");
    while (has(this.#database, "SELECT 1 FROM clustered LIMIT 1")) {
      const { thread, seq } = end.get(this.#step) ?? { thread: last, seq: Number.MAX_SAFE_INTEGER };
      this.#transact(() => {
        list.run(thread!, seq!);
        remove.run(thread!, seq!);
      });
      this.#say(`The messages are put in another order: conversation ${thread} of ${last} is done`);
    }
  }

  /** Says how far it is, now and then. */
  #say(words: string): void {
    if (performance.now() - this.#saidAt < SAY_MS) return;
    this.#saidAt = performance.now();
    this.#notice(words);
  }
}
