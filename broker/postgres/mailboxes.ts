/**
 * Numbers of direct messages that wait for users, as this node knows them: counted once, then added to by what the node appends
 * and by what its tail shows. Exact on one node; over several they are behind by what is under way.
 */

import { ints, type Sql } from "./link.ts";

/** Milliseconds for which a count is believed: markers that moved on other nodes make it too high. */
const BELIEVED_MS = 60_000;
/** Milliseconds in which a full mailbox is not counted again, unless its user has read here. */
const FULL_MS = 100;
/** Counts that are remembered. */
const ENTRIES_MAX = 100_000;

interface Count {
  waiting: number;
  /** Time of `performance.now()`. */
  readonly since: number;
}

/** Waiting messages by user number. */
export class Mailboxes {
  readonly #limit: number;
  readonly #counts = new Map<number, Count>();
  /** Positions that this node has appended and its tail has not shown yet, and those that the tail was first to show. */
  readonly #own = new Set<number>();
  readonly #shown = new Set<number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts for those users whose number is not known or old, or leaves no room for the messages that are to come. */
  async count(sql: Sql, wanted: ReadonlyMap<number, number>): Promise<void> {
    if (this.#limit === Infinity) return;
    const now = performance.now();
    const asked = [...wanted].filter(([user, number]) => {
      const count = this.#counts.get(user);
      if (!count || now - count.since > BELIEVED_MS) return true;
      return count.waiting + number > this.#limit && now - count.since > FULL_MS;
    }).map(([user]) => user);
    if (asked.length === 0) return;
    if (this.#counts.size > ENTRIES_MAX) this.#counts.clear();
    for (const { usr, n } of await sql`SELECT usr, n FROM waiting(${ints(asked)}::int[], ${this.#limit})`) {
      this.#counts.set(usr, { waiting: n, since: now });
    }
  }

  /** Returns how many more messages a user may get; those of {@linkcode count} alone are bounded. */
  roomOf(user: number): number {
    return this.#limit - (this.#counts.get(user)?.waiting ?? 0);
  }

  /** Adds what this node has appended. */
  add(user: number, seq: number): void {
    if (this.#limit === Infinity) return;
    const count = this.#counts.get(user);
    if (!count || this.#shown.delete(seq)) return;
    count.waiting++;
    this.#own.add(seq);
  }

  /** Adds what the tail shows, unless it is this node's own. */
  shown(user: number, seq: number): void {
    if (this.#own.delete(seq)) return;
    const count = this.#counts.get(user);
    if (!count) return;
    count.waiting++;
    if (this.#shown.size > ENTRIES_MAX) this.#shown.clear();
    this.#shown.add(seq);
  }

  /** Clears the number of a user who has read, or all of them. */
  forget(user?: number): void {
    if (user !== undefined) return void this.#counts.delete(user);
    this.#counts.clear();
    this.#own.clear();
    this.#shown.clear();
  }
}
