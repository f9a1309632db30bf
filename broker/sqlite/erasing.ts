/** Erasure of a user in the database, as `Erasure` of broker.ts says. */

import type { Database } from "./database.ts";
import type { Steps } from "./steps.ts";

/** Messages that are looked at in one step: some milliseconds. */
const ERASE_STEP = 1_000;

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
    if (upTo === null) return count;
    const empty = `UPDATE messages SET content = '', id = NULL, origin = ''
      WHERE seq > ? AND seq <= ? AND sender = ? AND (content <> '' OR id IS NOT NULL OR origin <> '')`;
    count += db.run(empty, from, upTo, user);
    from = upTo;
    yield;
  }
}
