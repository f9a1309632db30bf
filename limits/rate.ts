/** How much each user may send: a token bucket over all their devices. */

import type { RateLimit } from "../hub.ts";

/** Refusals within the window after which a user is abusing and not just quick: a client that waits as it is told has none. */
const REFUSALS_MAX = 1_000;
const ABUSE_WINDOW_MS = 60_000;
/** Users after which those with a full bucket are forgotten. */
const SWEEP_USERS = 1_024;

interface Bucket {
  /** Frames that may be sent now. */
  allowance: number;
  /** When that was true, in milliseconds. */
  at: number;
  refusals: number;
  refusalsSince: number;
}

/** Buckets by user. A user who has not sent for long has none. */
export class TokenBuckets implements RateLimit {
  readonly #rate: number;
  readonly #burst: number;
  readonly #refusalsMax: number;
  readonly #now: () => number;
  readonly #buckets = new Map<string, Bucket>();
  #sweepAt = SWEEP_USERS;

  /** `rate` in frames per second, `burst` in frames; `refusalsMax` a minute, `now` in milliseconds. */
  constructor(
    rate: number,
    burst: number,
    { refusalsMax = REFUSALS_MAX, now = () => performance.now() }: { refusalsMax?: number; now?: () => number } = {},
  ) {
    this.#rate = rate;
    this.#burst = Math.max(1, burst);
    this.#refusalsMax = refusalsMax;
    this.#now = now;
  }

  /** Users that are remembered. */
  get size(): number {
    return this.#buckets.size;
  }

  consume(user: string, cost = 1): number {
    const now = this.#now();
    const bucket = this.#bucket(user, now);
    bucket.allowance = Math.min(this.#burst, bucket.allowance + ((now - bucket.at) / 1_000) * this.#rate);
    bucket.at = now;
    // What costs more than the whole bucket waits for a full one, and leaves a debt.
    const missing = Math.min(cost, this.#burst) - bucket.allowance;
    if (missing <= 0) {
      bucket.allowance -= cost;
      return 0;
    }
    return this.#isAbuse(bucket, now) ? Infinity : (missing / this.#rate) * 1_000;
  }

  #bucket(user: string, now: number): Bucket {
    let bucket = this.#buckets.get(user);
    if (!bucket) {
      if (this.#buckets.size >= this.#sweepAt) this.#sweep(now);
      this.#buckets.set(user, bucket = { allowance: this.#burst, at: now, refusals: 0, refusalsSince: now });
    }
    return bucket;
  }

  #isAbuse(bucket: Bucket, now: number): boolean {
    if (now - bucket.refusalsSince > ABUSE_WINDOW_MS) {
      bucket.refusals = 0;
      bucket.refusalsSince = now;
    }
    return ++bucket.refusals > this.#refusalsMax;
  }

  /** Forgets those whose bucket is full again; looks again when twice as many as are left have come. */
  #sweep(now: number): void {
    for (const [user, { allowance, at, refusalsSince }] of this.#buckets) {
      const isFull = allowance + ((now - at) / 1_000) * this.#rate >= this.#burst;
      if (isFull && now - refusalsSince > ABUSE_WINDOW_MS) this.#buckets.delete(user);
    }
    this.#sweepAt = Math.max(SWEEP_USERS, this.#buckets.size * 2);
  }
}
