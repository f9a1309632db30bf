/**
 * Positions by conversation. Messages lie in the order of coming, so that an append writes to the end of one table; a conversation
 * finds its own by `listed`, in which neighbours in a conversation are neighbours on the disk.
 *
 * With many conversations under way, nearly every message belongs on a page of its own there. So the newest positions wait in
 * `unlisted`, a table in memory, and are listed many at a time, some with each commit. Both together are the view `positions`,
 * which is what others ask. After a start `unlisted` is made again from the messages themselves.
 */

import type { Database } from "./database.ts";

/**
 * Positions that wait before the next ones are listed: with 5,000 conversations under way some 13 of each, for the price of one.
 * They take 2 MiB, and some tenths of a second to be read at the next start.
 */
const UNLISTED_MAX = 65_536;
/** Positions that are listed with a commit at least, while there are too many: some milliseconds. */
const LIST_STEP = 4_096;

const SCHEMA = `
  CREATE TEMP TABLE IF NOT EXISTS unlisted (
    thread INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    PRIMARY KEY (thread, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TEMP VIEW IF NOT EXISTS positions AS
    SELECT thread, seq, sender FROM main.listed UNION ALL SELECT thread, seq, sender FROM temp.unlisted;
  CREATE TEMP TRIGGER IF NOT EXISTS message_removed AFTER DELETE ON main.messages BEGIN
    DELETE FROM unlisted WHERE thread = old.thread AND seq = old.seq;
  END;
`;

/** Positions of one database. */
export class Positions {
  readonly #db: Database;
  /** Number of positions that wait, or more; -1 where they have to be counted. */
  #waiting = -1;
  /** Messages since the last commit. */
  #added = 0;
  /** Thread up to which the walk under way has listed; -1 between two walks. */
  #walked = -1;
  /** Position up to which all is listed once the walk under way ends. */
  #upTo = 0;

  /** Takes a database with the newest schema. */
  constructor(db: Database) {
    this.#db = db;
    db.exec(SCHEMA);
    this.#readUnlisted();
  }

  #readUnlisted(): void {
    const listed = this.#db.get("SELECT value FROM meta WHERE key = 'listed'")?.value ?? 0;
    const sql = `INSERT OR IGNORE INTO temp.unlisted SELECT thread, seq, sender FROM main.messages AS m
      WHERE seq > ? AND NOT EXISTS (SELECT 1 FROM main.listed l WHERE l.thread = m.thread AND l.seq = m.seq)`;
    this.#db.run(sql, listed);
  }

  /** Takes the positions of messages that were added after a position. A trigger on each would take five times as long. */
  addedAfter(seq: number): void {
    const sql = "INSERT INTO temp.unlisted SELECT thread, seq, sender FROM main.messages WHERE seq > ?";
    this.#added += this.#db.run(sql, seq);
  }

  /** Lists some of what waits, where that is too much: before every commit. */
  list(): void {
    if (this.#added === 0) return;
    if (this.#waiting < 0) this.#waiting = this.#db.get("SELECT count(*) AS n FROM temp.unlisted")!.n as number;
    else this.#waiting += this.#added;
    // Twice what came, so that the walk ends.
    const count = Math.max(LIST_STEP, 2 * this.#added);
    this.#added = 0;
    if (this.#walked < 0) {
      if (this.#waiting <= UNLISTED_MAX) return;
      this.#walked = 0;
      this.#upTo = this.#db.head;
    }
    this.#listSome(count);
  }

  /** Lists the next positions of the walk, whole conversations: whose pages are written anyway. */
  #listSome(count: number): void {
    const sql = "SELECT thread FROM temp.unlisted WHERE thread > ? ORDER BY thread LIMIT 1 OFFSET ? + 0";
    const last = this.#db.get(sql, this.#walked, count)?.thread as number | undefined ?? Number.MAX_SAFE_INTEGER;
    const move = `INSERT INTO main.listed SELECT thread, seq, sender FROM temp.unlisted
      WHERE thread > ? AND thread <= ? ORDER BY thread, seq`;
    this.#waiting -= this.#db.run(move, this.#walked, last);
    this.#db.run("DELETE FROM temp.unlisted WHERE thread > ? AND thread <= ?", this.#walked, last);
    this.#walked = last;
    if (last < Number.MAX_SAFE_INTEGER) return;
    this.#db.run("INSERT OR REPLACE INTO meta VALUES ('listed', ?)", this.#upTo);
    this.#walked = -1;
  }

  /** Clears what is remembered: after a rollback, which has undone what happened in both tables. */
  clear(): void {
    this.#waiting = -1;
    this.#added = 0;
    this.#walked = -1;
  }
}
