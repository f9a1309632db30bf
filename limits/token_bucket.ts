/** Token buckets, and entries by key that are forgotten once they have rested. */

/** An allowance that is spent, and grows again at a rate up to a burst. */
export class TokenBucket {
  readonly #rate: number;
  readonly #burst: number;
  #allowance: number;
  /** Time of the allowance, in milliseconds. */
  #at: number;

  /** `rate` per second, `burst` at once; `now` in milliseconds. A new bucket is full. A rate of `Infinity` limits nothing. */
  constructor(rate: number, burst: number, now: number) {
    this.#rate = rate;
    this.#burst = burst;
    this.#allowance = burst;
    this.#at = now;
  }

  /**
   * Spends `cost` and returns 0, or spends nothing and returns the milliseconds until there is enough. What costs more than a
   * full bucket is let through by a full one, and leaves a debt. `spent` is what was spent on the same thing before: a bucket that
   * lacks no more than that counts as full.
   */
  consume(cost: number, now: number, spent = 0): number {
    if (this.#rate === Infinity) return 0;
    this.#refill(now);
    const missing = Math.min(cost, this.#burst - spent) - this.#allowance;
    if (missing > 0) return (missing / this.#rate) * 1_000;
    this.#allowance -= cost;
    return 0;
  }

  /** Returns whether nothing is missing: a new bucket would be the same. */
  isFull(now: number): boolean {
    if (this.#rate === Infinity) return true;
    this.#refill(now);
    return this.#allowance >= this.#burst;
  }

  #refill(now: number): void {
    this.#allowance = Math.min(this.#burst, this.#allowance + ((now - this.#at) / 1_000) * this.#rate);
    this.#at = now;
  }
}

/** Entries after which those that rest are forgotten: few enough to cost nothing, and rarely looked through. */
const SWEEP_ENTRIES = 1_024;

/** Entries by key, made when they are first asked for. Those that rest are forgotten as others come. */
export class RestingMap<T> {
  readonly #make: (now: number) => T;
  readonly #isResting: (entry: T, now: number) => boolean;
  readonly #entries = new Map<string, T>();
  #sweepAt = SWEEP_ENTRIES;

  /** `isResting` says of an entry that a new one would be the same. */
  constructor(make: (now: number) => T, isResting: (entry: T, now: number) => boolean) {
    this.#make = make;
    this.#isResting = isResting;
  }

  /** Entries that are remembered. */
  get size(): number {
    return this.#entries.size;
  }

  /** Returns the entry of `key`; `now` in milliseconds. */
  get(key: string, now: number): T {
    let entry = this.#entries.get(key);
    if (entry === undefined) {
      if (this.#entries.size >= this.#sweepAt) this.sweep(now);
      this.#entries.set(key, entry = this.#make(now));
    }
    return entry;
  }

  /** Forgets what rests; looks again when there are twice as many entries as are left. */
  sweep(now: number): void {
    for (const [key, entry] of this.#entries) {
      if (this.#isResting(entry, now)) this.#entries.delete(key);
    }
    this.#sweepAt = Math.max(SWEEP_ENTRIES, this.#entries.size * 2);
  }
}
