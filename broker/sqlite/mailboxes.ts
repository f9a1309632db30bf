/** Numbers of direct messages that wait for users, by conversation: counted once and then kept up to date. */

import type { SQLInputValue } from "node:sqlite";
import type { Database } from "./database.ts";

/** Messages that wait for one user. */
interface Mailbox {
  total: number;
  /** Of these, the messages of one conversation, by thread. */
  readonly byThread: Map<SQLInputValue, number>;
}

/** Waiting messages by user. */
export class Mailboxes {
  readonly #db: Database;
  readonly #mailboxes = new Map<number, Mailbox>();

  constructor(db: Database) {
    this.#db = db;
  }

  /** Returns the number of direct messages that no device of the user has. */
  waitingFor(user: number): number {
    return this.#mailbox(user).total;
  }

  /** Returns the number of those that are of one conversation. */
  waitingIn(user: number, thread: number): number {
    return this.#mailbox(user).byThread.get(thread) ?? 0;
  }

  #mailbox(user: number): Mailbox {
    const known = this.#mailboxes.get(user);
    if (known) return known;
    const mailbox: Mailbox = { total: 0, byThread: new Map() };
    this.#db.flushThreads();
    const sql = `SELECT m.thread, m.delivered FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND m.other > 0 AND t.last_seq > m.delivered`;
    for (const { thread, delivered } of this.#db.all(sql, user)) {
      add(mailbox, thread!, this.countOthers(thread!, user, delivered as number, this.#db.head));
    }
    this.#mailboxes.set(user, mailbox);
    return mailbox;
  }

  /** Adds a message that was sent to the user in a conversation. */
  add(user: number, thread: number): void {
    add(this.#mailbox(user), thread, 1);
  }

  /**
   * Takes out the messages of a thread after `after` and up to `upTo`, which the user has now. Returns their number; undefined
   * where nothing was counted for the user yet.
   */
  deliver(user: number, thread: SQLInputValue, after: number, upTo: number): number | undefined {
    const mailbox = this.#mailboxes.get(user);
    if (mailbox === undefined) return undefined;
    const arrived = this.countOthers(thread, user, after, upTo);
    add(mailbox, thread, -arrived);
    return arrived;
  }

  /** Counts anew what waits of a thread, of which messages were removed, where it is known: all of a user's may be many. */
  removedFrom(thread: SQLInputValue): void {
    for (
      const { user, delivered } of this.#db.all("SELECT user, delivered FROM members WHERE thread = ? AND other > 0", thread)
    ) {
      const mailbox = this.#mailboxes.get(user as number), before = mailbox?.byThread.get(thread) ?? 0;
      if (before === 0) continue;
      add(mailbox!, thread, this.countOthers(thread, user as number, delivered as number, this.#db.head) - before);
    }
  }

  /** Counts messages of a thread that are not the user's own, after `after` and up to `upTo`. */
  countOthers(thread: SQLInputValue, user: number, after: number, upTo: number): number {
    const sql = "SELECT count(*) AS n FROM positions WHERE thread = ? AND seq > ? AND seq <= ? AND sender <> ?";
    return this.#db.get(sql, thread, after, upTo, user)!.n as number;
  }

  /** Clears all numbers: they are counted again when they are asked for. */
  clear(): void {
    this.#mailboxes.clear();
  }
}

function add(mailbox: Mailbox, thread: SQLInputValue, count: number): void {
  const waiting = (mailbox.byThread.get(thread) ?? 0) + count;
  mailbox.total += count;
  if (waiting > 0) mailbox.byThread.set(thread, waiting);
  else mailbox.byThread.delete(thread);
}
