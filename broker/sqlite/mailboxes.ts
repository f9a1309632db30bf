/** Numbers of direct messages that wait for users, counted once and then kept up to date. */

import type { SQLInputValue } from "node:sqlite";
import type { Database } from "./database.ts";

/** Waiting messages by user. */
export class Mailboxes {
  readonly #db: Database;
  readonly #waiting = new Map<number, number>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** Returns the number of direct messages that no device of the user has. */
  waitingFor(user: number): number {
    let waiting = this.#waiting.get(user);
    if (waiting === undefined) {
      waiting = 0;
      this.#db.flushThreads();
      const sql = `SELECT m.thread, m.delivered FROM members m JOIN threads t ON t.id = m.thread
        WHERE m.user = ? AND m.other > 0 AND t.last_seq > m.delivered`;
      for (const { thread, delivered } of this.#db.all(sql, user)) {
        waiting += this.countOthers(thread!, user, delivered as number, this.#db.head);
      }
      this.#waiting.set(user, waiting);
    }
    return waiting;
  }

  /** Adds a message that was sent to the user, whose number has just been asked for. */
  add(user: number): void {
    this.#waiting.set(user, this.#waiting.get(user)! + 1);
  }

  /**
   * Takes out the messages of a thread after `after` and up to `upTo`, which the user has now. Returns their number; undefined
   * where nothing was counted for the user yet.
   */
  deliver(user: number, thread: SQLInputValue, after: number, upTo: number): number | undefined {
    const waiting = this.#waiting.get(user);
    if (waiting === undefined) return undefined;
    const arrived = this.countOthers(thread, user, after, upTo);
    this.#waiting.set(user, waiting - arrived);
    return arrived;
  }

  /** Counts messages of a thread that are not the user's own, after `after` and up to `upTo`. */
  countOthers(thread: SQLInputValue, user: number, after: number, upTo: number): number {
    const sql = "SELECT count(*) AS n FROM messages WHERE thread = ? AND seq > ? AND seq <= ? AND sender <> ?";
    return this.#db.get(sql, thread, after, upTo, user)!.n as number;
  }

  /** Clears all numbers: they are counted again when they are asked for. */
  clear(): void {
    this.#waiting.clear();
  }
}
