/**
 * A lane: one connection on which calls are made one at a time, in order. Calls of one kind that wait are made together. Each
 * settles within {@linkcode SETTLE_MS}, whatever becomes of PostgreSQL.
 */

import postgres from "postgres";
import type { Link, Sql } from "./link.ts";
import { describeFailure, READ_ONLY } from "./trouble.ts";

/** Milliseconds within which a call settles where nothing gets done: clients are told `unavailable` within five seconds. */
export const SETTLE_MS = 4_500;
/** Milliseconds that a call waits behind others that get done: a long queue is no failure, until nobody waits for its end. */
const QUEUED_MS_MAX = 30_000;
/** Milliseconds between two looks at a statement that takes longer than that. */
const STUCK_LOOK_MS = 1_000;
/** Times that a call is made again when PostgreSQL has chosen it to end a deadlock. */
const DEADLOCKS_MAX = 10;
/** SQLSTATEs after which a call is made again: nothing of it has happened. */
const AGAIN = new Set(["40P01", "40001"]);
/** Failure of a call: nothing is known of what it did, or the server refused it. */
export class Unavailable extends Error {
  override readonly name = "Unavailable";
}

/** A kind of call. */
export interface Kind<Item, Result> {
  /** Items that are made together at most. */
  readonly most: number;
  /** Makes calls together; one result per item, or one for all. */
  run(sql: Sql, items: readonly Item[]): Promise<readonly Result[]>;
}

interface Entry {
  readonly kind: Kind<unknown, unknown>;
  readonly items: Waiting[];
}

interface Waiting {
  readonly item: unknown;
  /** Time of `performance.now()` at which it was made. */
  readonly since: number;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  settled: boolean;
}

/** Parts of a {@linkcode Lane}. */
export interface LaneOptions {
  readonly link: Link;
  /** Returns whether the lane's backend still lives, asked on another connection; rejects where nobody answers. */
  readonly isAlive: () => Promise<boolean>;
  /** Receives failures, not those of single connections while PostgreSQL is away. */
  readonly report: (error: unknown) => void;
  /** Called after each call that went well. */
  readonly worked: () => void;
}

/** One lane. */
export class Lane {
  readonly #options: LaneOptions;
  readonly #queue: Entry[] = [];
  #running: Entry | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;
  #idle: (() => void) | undefined;
  /** Time of `performance.now()` at which a call got done last. */
  #done = -Infinity;

  constructor(options: LaneOptions) {
    this.#options = options;
  }

  /** Makes a call after all those before it. Rejects with {@linkcode Unavailable}. */
  call<Item, Result>(kind: Kind<Item, Result>, item: Item): Promise<Result> {
    if (this.#closed) return Promise.reject(new Unavailable("The broker is closed"));
    const last = this.#queue.at(-1);
    let entry = last?.kind === kind && last.items.length < kind.most ? last : undefined;
    if (!entry) this.#queue.push(entry = { kind: kind as Kind<unknown, unknown>, items: [] });
    const promise = new Promise((resolve, reject) => {
      entry.items.push({ item, since: performance.now(), resolve, reject, settled: false });
    });
    if (!this.#running) void this.#work();
    this.#timer ??= setTimeout(() => this.#expire(), SETTLE_MS);
    return promise as Promise<Result>;
  }

  async #work(): Promise<void> {
    for (let entry = this.#next(); entry; entry = this.#next()) {
      this.#running = entry;
      try {
        const sql = await this.#client(entry);
        if (sql) await this.#run(sql, entry);
      } catch (error) {
        this.#fail(entry, error);
      }
      this.#running = undefined;
    }
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#idle?.();
  }

  /** Takes the next entry that somebody still waits for. */
  #next(): Entry | undefined {
    for (;;) {
      const entry = this.#queue.shift();
      if (!entry || entry.items.some(({ settled }) => !settled)) return entry;
    }
  }

  /** Waits for an open connection; undefined when nobody waits for it any more. */
  async #client(entry: Entry): Promise<Sql | undefined> {
    const client = this.#options.link.client();
    let sql: Sql | undefined;
    client.then((open) => sql = open, () => {});
    // Most times it is open already.
    await Promise.resolve();
    while (!sql && entry.items.some(({ settled }) => !settled)) {
      await Promise.race([client, new Promise((resolve) => this.#woken = () => resolve(undefined))]);
    }
    return sql;
  }

  #woken: (() => void) | undefined;

  async #run(sql: Sql, entry: Entry): Promise<void> {
    // Who has been told that it is unavailable sends again: it must not be made for them.
    const waiting = entry.items.filter(({ settled }) => !settled);
    for (let attempt = 1;; attempt++) {
      try {
        const results = await entry.kind.run(sql, waiting.map(({ item }) => item));
        for (const [index, one] of waiting.entries()) settle(one, () => one.resolve(results[index]));
        this.#done = performance.now();
        this.#options.worked();
        return;
      } catch (error) {
        const code = error instanceof postgres.PostgresError ? error.code : "";
        if (!AGAIN.has(code) || attempt > DEADLOCKS_MAX) throw error;
      }
    }
  }

  #fail(entry: Entry, error: unknown): void {
    if (error instanceof postgres.PostgresError && error.code === READ_ONLY) this.#options.link.drop();
    if (!this.#closed) this.#options.report(error);
    const failure = new Unavailable(describeFailure(error));
    for (const one of entry.items) settle(one, () => one.reject(failure));
  }

  /** Tells those who have waited too long, and sets the timer for the next. */
  #expire(): void {
    this.#timer = undefined;
    const now = performance.now();
    let next = Infinity, expired = 0;
    for (const entry of [...this.#running ? [this.#running] : [], ...this.#queue]) {
      for (const one of entry.items) {
        if (one.settled) continue;
        const due = Math.min(Math.max(one.since, this.#done) + SETTLE_MS, one.since + QUEUED_MS_MAX);
        if (due > now + 1) next = Math.min(next, due);
        else {
          expired++;
          settle(one, () => one.reject(new Unavailable(this.#options.link.trouble ?? "PostgreSQL does not answer")));
        }
      }
    }
    if (expired > 0) {
      this.#options.report(new Unavailable(this.#options.link.trouble ?? "PostgreSQL does not answer"));
      this.#woken?.();
      if (this.#running) void this.#unstick(this.#running);
    }
    if (next < Infinity) this.#timer = setTimeout(() => this.#expire(), Math.max(1, next - now));
  }

  #unsticking = false;

  /**
   * Waits for a statement that nobody waits for any more. A server that is stopped, or has no standby, ends it when it can; where
   * its backend is gone, the connection is one that only this side knows of.
   */
  async #unstick(stuck: Entry): Promise<void> {
    if (this.#unsticking) return;
    this.#unsticking = true;
    while (this.#running === stuck && !this.#closed) {
      const alive = await this.#options.isAlive().catch(() => true);
      if (this.#running !== stuck || this.#closed) break;
      if (!alive) this.#options.link.drop();
      await new Promise<void>((resolve) => {
        this.#pause = resolve;
        this.#pauseTimer = setTimeout(resolve, STUCK_LOOK_MS);
      });
    }
    this.#unsticking = false;
  }

  #pause: (() => void) | undefined;
  #pauseTimer: ReturnType<typeof setTimeout> | undefined;

  /** Finishes what was begun, if that takes no more than `ms`, and lets go of the connection. */
  async close(ms: number): Promise<void> {
    if (this.#running) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
        timer = setTimeout(resolve, ms);
      });
      clearTimeout(timer);
    }
    this.#closed = true;
    clearTimeout(this.#timer);
    clearTimeout(this.#pauseTimer);
    this.#pause?.();
    await this.#options.link.close();
  }
}

function settle(waiting: Waiting, how: () => void): void {
  if (waiting.settled) return;
  waiting.settled = true;
  how();
}
