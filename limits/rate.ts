/** How much each user may send: a token bucket over all their devices. */

import type { RateLimit } from "../hub.ts";
import { RestingMap, TokenBucket } from "./token_bucket.ts";

/** Refusals within the window after which a user is abusing and not just quick: a client that waits as it is told has none. */
const REFUSALS_MAX = 1_000;
/** Milliseconds in which refusals are counted. */
const ABUSE_WINDOW_MS = 60_000;

interface Sender {
  readonly bucket: TokenBucket;
  refusals: number;
  /** When counting began, in milliseconds. */
  refusalsSince: number;
}

/** Options of {@linkcode TokenBuckets}. */
export interface TokenBucketsOptions {
  /** Refusals of a user within a minute after which it is abuse. */
  readonly refusalsMax?: number;
  /** A monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

/** Buckets by user. A user who has not sent for long has none. */
export class TokenBuckets implements RateLimit {
  readonly #refusalsMax: number;
  readonly #now: () => number;
  readonly #senders: RestingMap<Sender>;

  /** `rate` in frames per second, `burst` in frames, at least 1. */
  constructor(rate: number, burst: number, options: TokenBucketsOptions = {}) {
    const { refusalsMax = REFUSALS_MAX, now = () => performance.now() } = options;
    this.#refusalsMax = refusalsMax;
    this.#now = now;
    this.#senders = new RestingMap(
      (now) => ({ bucket: new TokenBucket(rate, Math.max(1, burst), now), refusals: 0, refusalsSince: now }),
      ({ bucket, refusalsSince }, now) => bucket.isFull(now) && now - refusalsSince > ABUSE_WINDOW_MS,
    );
  }

  /** Users that are remembered. */
  get size(): number {
    return this.#senders.size;
  }

  consume(user: string, cost = 1): number {
    const now = this.#now();
    const sender = this.#senders.get(user, now);
    const wait = sender.bucket.consume(cost, now);
    return wait > 0 && this.#isAbuse(sender, now) ? Infinity : wait;
  }

  #isAbuse(sender: Sender, now: number): boolean {
    if (now - sender.refusalsSince > ABUSE_WINDOW_MS) {
      sender.refusals = 0;
      sender.refusalsSince = now;
    }
    return ++sender.refusals > this.#refusalsMax;
  }
}
