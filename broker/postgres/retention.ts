/**
 * Removal of messages that are too old, in small steps between which others are served. Every node looks; one at a time removes.
 *
 * A clock may be wrong, and a message that was removed for it is gone. So an age is that of a position: ticks say where the log
 * stood at a time of PostgreSQL's clock, and never go back. What is old is removed when a second look, an hour later, finds it
 * still old; a clock that is more than a day ahead of the newest tick has to be so at a second look too.
 */

import { DAY_MS } from "../limits.ts";
import type { Kind, Lane } from "./lane.ts";
import type { Sql } from "./link.ts";

/** Milliseconds between two looks for messages that are too old. */
const EXPIRE_INTERVAL_MS = 3_600_000;
/** Milliseconds between two steps of removing them. */
const EXPIRE_PAUSE_MS = 20;
/** Messages that one step removes: some milliseconds. */
const EXPIRE_STEP = 1_000;
/** Milliseconds between two ticks: retention is as exact as they are. */
const TICK_MS = 60_000;
/** Milliseconds between the first look that finds a message old and the second. */
const SECOND_LOOK_MS = 3_600_000;

/** Parts of a {@linkcode Retention}. */
export interface RetentionOptions {
  readonly lane: Lane;
  readonly days: number;
  /** Milliseconds since 1970; undefined for PostgreSQL's clock. */
  readonly now: (() => number) | undefined;
  /** Milliseconds; {@linkcode SECOND_LOOK_MS} by default. */
  readonly secondLookMs: number | undefined;
  /** Called when messages were removed. */
  readonly removed: () => void;
  /** Called with a sentence for the operator when much is about to be removed. */
  readonly notice: (words: string) => void;
}

/** First of two looks, as this process knows it. */
interface Look {
  readonly value: number;
  /** Monotonic milliseconds at which this process knew of it. */
  readonly since: number;
  /** True for one that was stored long enough before. */
  readonly isRipe: boolean;
}

/** Retention of one installation. */
export class Retention {
  readonly #options: RetentionOptions;
  readonly #secondLookMs: number;
  readonly #looks = new Map<string, Look>();
  /** Position up to which messages are removed now; 0 while nothing is. */
  #upTo = 0;
  #expiry: ReturnType<typeof setTimeout> | undefined;
  #ticking: ReturnType<typeof setInterval> | undefined;
  #stopped = false;
  readonly #tick: Kind<undefined, void>;
  readonly #step: Kind<undefined, number>;

  constructor(options: RetentionOptions) {
    this.#options = options;
    this.#secondLookMs = options.secondLookMs ?? SECOND_LOOK_MS;
    this.#tick = { most: 1, run: async (sql) => [await this.#note(sql, await this.#now(sql))] };
    this.#step = { most: 1, run: async (sql) => [await this.#remove(sql)] };
  }

  /** Begins to look now and then. */
  start(): void {
    this.#ticking = setInterval(() => void this.#options.lane.call(this.#tick, undefined).catch(() => {}), TICK_MS);
    this.#expireIn(TICK_MS);
  }

  /** Ends that. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#expiry);
    clearInterval(this.#ticking);
  }

  /** Removes what is too old now. */
  async expire(): Promise<void> {
    while (await this.#options.lane.call(this.#step, undefined) > 0);
  }

  #expireIn(ms: number): void {
    clearTimeout(this.#expiry);
    if (this.#stopped) return;
    this.#expiry = setTimeout(() => {
      this.#options.lane.call(this.#step, undefined)
        .then((removed) => removed > 0 ? EXPIRE_PAUSE_MS : EXPIRE_INTERVAL_MS, () => EXPIRE_INTERVAL_MS)
        .then((pause) => this.#expireIn(pause));
    }, ms);
  }

  async #now(sql: Sql): Promise<number> {
    if (this.#options.now) return this.#options.now();
    const [row] = await sql`SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now`;
    return row!.now;
  }

  /** Notes where the log stands. */
  async #note(sql: Sql, now: number): Promise<void> {
    const [row] = await sql`SELECT max(ts) AS newest FROM ticks`;
    const newest = row!.newest as number | null;
    if (newest === null || now <= newest + DAY_MS) await this.#dropLook(sql, "ahead");
    else if (await this.#looked(sql, "ahead", newest, now) === undefined) return;
    await sql`SELECT note_tick(${now})`;
  }

  /**
   * Looks at a value that only grows while all is well. Returns the value of the first look where this is the second one, long
   * enough after it and no smaller; stores a first look where there is none or the value is smaller.
   */
  async #looked(sql: Sql, name: string, value: number, now: number): Promise<number | undefined> {
    const look = this.#looks.get(name) ?? await this.#storedLook(sql, name, now);
    if (look === undefined || value < look.value) {
      await sql`INSERT INTO looks VALUES (${name}, ${value}, ${now})
        ON CONFLICT (name) DO UPDATE SET value = excluded.value, ts = excluded.ts`;
      this.#looks.set(name, { value, since: performance.now(), isRipe: this.#secondLookMs === 0 });
      return undefined;
    }
    return look.isRipe || performance.now() - look.since >= this.#secondLookMs ? look.value : undefined;
  }

  async #storedLook(sql: Sql, name: string, now: number): Promise<Look | undefined> {
    const [row] = await sql`SELECT value, ts FROM looks WHERE name = ${name}`;
    if (!row) return undefined;
    const look = { value: row.value, since: performance.now(), isRipe: now - row.ts >= this.#secondLookMs };
    this.#looks.set(name, look);
    return look;
  }

  async #dropLook(sql: Sql, name: string): Promise<void> {
    await sql`DELETE FROM looks WHERE name = ${name}`;
    this.#looks.delete(name);
  }

  /** Takes one small step; returns 0 when there is nothing left to do for now. */
  async #remove(sql: Sql): Promise<number> {
    if (this.#upTo === 0) this.#upTo = await this.#begin(sql);
    await sql`INSERT INTO meta SELECT 'removed', greatest(${this.#upTo}::bigint, (SELECT max(m.seq) FROM threads t
        JOIN messages m ON m.thread = t.id WHERE t.owner < 0 AND NOT EXISTS (SELECT 1 FROM ended e WHERE e.thread = t.id)))::text
      ON CONFLICT (key) DO UPDATE SET value = greatest(meta.value::bigint, excluded.value::bigint)::text`;
    const [row] = await sql`SELECT expire(${this.#upTo}, ${EXPIRE_STEP}) AS removed`;
    if (row!.removed > 0) this.#options.removed();
    if (row!.removed > 0 || this.#upTo === 0) return row!.removed;
    const done = this.#upTo;
    await this.#dropLook(sql, "old");
    // The look that is done may have been of a moment ago; where none has to wait for the second, the next is due now.
    this.#upTo = this.#secondLookMs === 0 ? await this.#begin(sql) : 0;
    if (this.#upTo > done) return 1;
    this.#upTo = 0;
    return 0;
  }

  /** Returns the position up to which everything is too old, by two looks; 0 where nothing is. */
  async #begin(sql: Sql): Promise<number> {
    if (!Number.isFinite(this.#options.days)) return 0;
    const now = await this.#now(sql);
    await this.#note(sql, now);
    const oldest = now - this.#options.days * DAY_MS;
    const [row] = await sql`SELECT max(seq) AS seq, min(ts) AS first, max(ts) AS last FROM ticks WHERE ts < ${oldest}`;
    if (!row!.seq) {
      await this.#dropLook(sql, "old");
      return 0;
    }
    const upTo = await this.#looked(sql, "old", row!.seq, now) ??
      (this.#secondLookMs === 0 ? await this.#looked(sql, "old", row!.seq, now) : 0) ?? 0;
    if (upTo > 0) this.#announce(row!.first, row!.last);
    return upTo;
  }

  #announce(first: number, last: number): void {
    const days = Math.floor((last - first) / DAY_MS);
    if (days < 1) return;
    const until = new Date(last).toISOString().slice(0, 16);
    this.#options.notice(
      `Messages of ${days} ${days === 1 ? "day" : "days"}, up to ${until}Z, are older than retention keeps and are removed now`,
    );
  }
}
