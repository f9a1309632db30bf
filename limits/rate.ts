/** Limits on frames and bytes of each user: token buckets over all their devices. */

import { type RateLimit, RefusalCount } from "../hub.ts";
import { RestingMap, TokenBucket } from "./token_bucket.ts";

/** Refusals in a minute after which a user is abusing and not just quick: a client that waits as it is told has none. */
const REFUSALS_MAX = 1_000;

interface Sender {
  readonly bucket: TokenBucket;
  readonly refusals: RefusalCount;
}

/** Options of {@linkcode TokenBuckets}. */
export interface TokenBucketsOptions {
  /** Refusals of a user in a minute after which it is abuse. */
  readonly refusalsMax?: number;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

/** Buckets by user. A user who has not sent for long has none. */
export class TokenBuckets implements RateLimit {
  readonly #refusalsMax: number;
  readonly #now: () => number;
  readonly #senders: RestingMap<Sender>;

  /** `rate` in frames or bytes per second, `burst` in the same, at least 1. */
  constructor(rate: number, burst: number, options: TokenBucketsOptions = {}) {
    const { refusalsMax = REFUSALS_MAX, now = () => performance.now() } = options;
    this.#refusalsMax = refusalsMax;
    this.#now = now;
    this.#senders = new RestingMap(
      (now) => ({ bucket: new TokenBucket(rate, Math.max(1, burst), now), refusals: new RefusalCount() }),
      ({ bucket, refusals }, now) => bucket.isFull(now) && refusals.isOver(now),
    );
  }

  /** Users that are remembered. */
  get size(): number {
    return this.#senders.size;
  }

  consume(user: string, cost = 1): number {
    const now = this.#now();
    const { bucket, refusals } = this.#senders.get(user, now);
    const wait = bucket.consume(cost, now);
    return wait > 0 && refusals.add(now) > this.#refusalsMax ? Infinity : wait;
  }
}
