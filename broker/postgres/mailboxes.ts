/**
 * Numbers of direct messages that wait for users, by conversation, as this node knows them: counted once, then added to by what the
 * node appends and by what its tail shows. Exact on one node; over several they are behind by what is under way.
 */

import type { BrokerRefusal } from "../../broker.ts";
import { shareOf } from "../limits.ts";
import { mailboxFull, mailboxShareFull } from "../refusals.ts";
import { ints, type Sql } from "./link.ts";

/** Milliseconds for which a count is believed: markers that moved on other nodes make it too high. */
const BELIEVED_MS = 60_000;
/** Milliseconds in which a mailbox that may be full is not counted again, unless its user has read here. */
const FULL_MS = 100;
/** Counts that are remembered. */
const ENTRIES_MAX = 100_000;

/** Messages that wait for one user. */
interface Mailbox {
  total: number;
  readonly byThread: Map<number, number>;
  /** Time of `performance.now()`. */
  readonly since: number;
}

/** Waiting messages by user number. */
export class Mailboxes {
  readonly #limit: number;
  readonly #mailboxes = new Map<number, Mailbox>();
  /** Positions that this node has appended and its tail has not shown yet, and those that the tail was first to show. */
  readonly #own = new Set<number>();
  readonly #shown = new Set<number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts for those users whose number is not known or old, or may leave no room for as many messages as are to come. */
  async count(sql: Sql, wanted: ReadonlyMap<number, number>): Promise<void> {
    if (this.#limit === Infinity) return;
    const now = performance.now();
    const asked = [...wanted].filter(([user, number]) => {
      const mailbox = this.#mailboxes.get(user);
      if (!mailbox || now - mailbox.since > BELIEVED_MS) return true;
      return this.isTight(user, number) && now - mailbox.since > FULL_MS;
    }).map(([user]) => user);
    if (asked.length === 0) return;
    if (this.#mailboxes.size > ENTRIES_MAX) this.#mailboxes.clear();
    for (const user of asked) this.#mailboxes.set(user, { total: 0, byThread: new Map(), since: now });
    for (const { usr, thread, n } of await sql`SELECT usr, thread, n FROM waiting(${ints(asked)}::int[], ${this.#limit})`) {
      const mailbox = this.#mailboxes.get(usr)!;
      mailbox.total += n;
      mailbox.byThread.set(thread, n);
    }
  }

  /** Returns whether `number` more messages may be too many for a user. While less than half is taken, nobody's share is full. */
  isTight(user: number, number: number): boolean {
    return ((this.#mailboxes.get(user)?.total ?? 0) + number) * 2 > this.#limit;
  }

  /** Returns why a user may not get one more message of a conversation; `added`: those that are to come before it. */
  whyFull(user: number, thread: number, name: string, added: readonly number[]): BrokerRefusal | undefined {
    const mailbox = this.#mailboxes.get(user);
    const total = (mailbox?.total ?? 0) + added.length;
    if (total * 2 < this.#limit) return undefined;
    if (total >= this.#limit) return mailboxFull(name);
    const own = (mailbox?.byThread.get(thread) ?? 0) + added.filter((other) => other === thread).length;
    return own >= shareOf(this.#limit, total - own) ? mailboxShareFull(name) : undefined;
  }

  /** Adds what this node has appended. */
  add(user: number, thread: number, seq: number): void {
    if (this.#limit === Infinity || !this.#mailboxes.has(user) || this.#shown.delete(seq)) return;
    this.#count(user, thread);
    this.#own.add(seq);
  }

  /** Adds what the tail shows, unless it is this node's own. */
  shown(user: number, thread: number, seq: number): void {
    if (this.#own.delete(seq) || !this.#mailboxes.has(user)) return;
    this.#count(user, thread);
    if (this.#shown.size > ENTRIES_MAX) this.#shown.clear();
    this.#shown.add(seq);
  }

  #count(user: number, thread: number): void {
    const mailbox = this.#mailboxes.get(user)!;
    mailbox.total++;
    mailbox.byThread.set(thread, (mailbox.byThread.get(thread) ?? 0) + 1);
  }

  /** Clears the number of a user who has read, or all of them. */
  forget(user?: number): void {
    if (user !== undefined) return void this.#mailboxes.delete(user);
    this.#mailboxes.clear();
    this.#own.clear();
    this.#shown.clear();
  }
}
