/** Erasure of a user in the database, as `Erasure` of broker.ts says. */

import type { DatabaseSync } from "node:sqlite";
import type { Database } from "./database.ts";
import type { Steps } from "./steps.ts";

/** Messages that are looked at in one step: some milliseconds. */
const ERASE_STEP = 1_000;
/**
 * Positions that the log may span where the index of ids is made anew at once: a tenth of a second in which nothing else is
 * served, as SQLite makes no index in steps. Beyond it that waits for the next start.
 */
const INDEX_SPAN_MAX = 250_000;
/**
 * Row of `meta` that is there while the index may have erased ids in the unused parts of its pages: where SQLite moves what is
 * left on a page to another, it does not overwrite the copies that stay behind.
 */
const STALE_INDEX = "stale_ids";

/**
 * Erases what a user wrote, and what is kept about them. Returns the number of messages that were emptied. It may be left after any step, and begun
 * again. What is cached of it is the caller's to clear: `forgotten` is called with the user's number after the first step.
 */
export function* eraseUser(db: Database, name: string, forgotten: (user: number) => void): Steps<number> {
  const user = db.userId(name);
  if (user === undefined) return 0;
  for (const table of ["devices", "declined", "ended"]) db.run(`DELETE FROM ${table} WHERE user = ?`, user);
  db.run("UPDATE users SET last_seen = 0 WHERE id = ?", user);
  // Nothing of what was sent before waits for whoever comes back under the name, nor is theirs to read.
  const marks = "read = 0, marked_ts = 0, marked_at = -1, own_read = 0, own_ts = 0, own_at = -1";
  const direct = `UPDATE members SET since = ?, delivered = ?, ${marks} WHERE user = ? AND other > 0`;
  db.run(direct, db.head, db.head, user);
  db.run(`UPDATE members SET delivered = 0, ${marks} WHERE user = ? AND other = 0`, user);
  forgotten(user);
  let count = 0;
  for (let from = 0;;) {
    const next = `SELECT max(seq) AS seq FROM (SELECT seq FROM messages WHERE seq > ? ORDER BY seq LIMIT ${ERASE_STEP})`;
    const upTo = db.get(next, from)!.seq as number | null;
    if (upTo === null) break;
    const empty = `UPDATE messages SET content = '', id = NULL, origin = ''
      WHERE seq > ? AND seq <= ? AND sender = ? AND (content <> '' OR id IS NOT NULL OR origin <> '')`;
    const emptied = db.run(empty, from, upTo, user);
    if (emptied > 0) db.run("INSERT OR IGNORE INTO meta VALUES (?, 1)", STALE_INDEX);
    count += emptied;
    from = upTo;
    yield;
  }
  const { span } = db.get("SELECT max(seq) - min(seq) AS span FROM messages")!;
  const isStale = db.get("SELECT 1 FROM meta WHERE key = ?", STALE_INDEX) !== undefined;
  if (!isStale || Number(span) > INDEX_SPAN_MAX) return count;
  db.exec("REINDEX messages_by_id");
  db.run("DELETE FROM meta WHERE key = ?", STALE_INDEX);
  return count;
}

/** Makes the index of ids anew where an earlier run has erased somebody and left that; before anything else is done with a database. */
export function finishErasing(database: DatabaseSync, notice: (words: string) => void): void {
  if (database.prepare("SELECT 1 FROM meta WHERE key = ?").get(STALE_INDEX) === undefined) return;
  notice("The index of ids is made anew, so that nothing is left in it of users who were erased; the server starts after it");
  const temporary = Number(database.prepare("PRAGMA temp_store").get()!.temp_store);
  // Sorting the ids of a large file takes more memory than there may be.
  database.exec("PRAGMA temp_store = FILE; REINDEX messages_by_id");
  database.prepare("DELETE FROM meta WHERE key = ?").run(STALE_INDEX);
  database.exec(`PRAGMA temp_store = ${temporary}`);
}
