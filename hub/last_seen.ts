/**
 * Last seen: when users were connected, told to the broker as they leave, and now and then while they are here: a process that is
 * killed tells nobody.
 */

import type { LastSeen } from "../broker.ts";

/** Milliseconds between two notes of everybody who is connected: after a kill, last seen is wrong by this at most. */
const NOTE_INTERVAL_MS = 60_000;
/** Users in one note: a transaction of some milliseconds, behind which others' messages wait. */
const NOTE_USERS = 500;

/** Parts of a {@linkcode LastSeenKeeper}. */
export interface LastSeenOptions {
  readonly broker: LastSeen;
  /** Lists the users who are connected. */
  readonly users: () => Iterable<string>;
  /** Receives failures of the broker. */
  readonly report: (error: unknown, where: string) => void;
  /** Milliseconds; see the constant. */
  readonly intervalMs?: number;
}

/** Keeps the broker informed. */
export class LastSeenKeeper {
  readonly #options: LastSeenOptions;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(options: LastSeenOptions) {
    this.#options = options;
  }

  /** Says that somebody is connected. */
  joined(): void {
    this.#timer ??= setTimeout(() => void this.#note(), this.#options.intervalMs ?? NOTE_INTERVAL_MS);
  }

  /** Says that a user has left, at a time in milliseconds since 1970. */
  left(user: string, at: number): void {
    const { broker, users, report } = this.#options;
    broker.seen([user], at).catch((error) => report(error, "seen"));
    if (!users()[Symbol.iterator]().next().done) return;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  async #note(): Promise<void> {
    const { broker, users, report } = this.#options;
    const all = [...users()];
    try {
      for (let i = 0; i < all.length; i += NOTE_USERS) await broker.seen(all.slice(i, i + NOTE_USERS), Date.now());
    } catch (error) {
      report(error, "seen");
    }
    this.#timer = undefined;
    if (!users()[Symbol.iterator]().next().done) this.joined();
  }
}
