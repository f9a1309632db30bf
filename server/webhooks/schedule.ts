/** Times of attempts, as Standard Webhooks recommends them. */

/** Milliseconds between an attempt and the next one; the last counts for all that follow. */
const DELAYS_MS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400].map((seconds) => seconds * 1_000);
/** Part of a delay by which it is longer or shorter, so that what failed together does not come again together. */
const JITTER = 0.2;
/** Milliseconds after the first attempt at which an event is given up: three days, a long weekend. */
export const GIVE_UP_MS = 259_200_000;
/** Milliseconds that a receiver may ask to be left alone for at most. */
const RETRY_AFTER_MS_MAX = 86_400_000;

/** Returns the milliseconds to wait after so many failed attempts; `random` gives numbers from 0 to 1. */
export function delayAfter(attempts: number, random: () => number): number {
  const base = DELAYS_MS[Math.min(attempts, DELAYS_MS.length) - 1]!;
  return Math.round(base * (1 + JITTER * (2 * random() - 1)));
}

/** Returns the milliseconds that a `retry-after` header asks for, in seconds or as a date; undefined for none. */
export function retryAfterMs(header: string | undefined, now: number): number | undefined {
  if (header === undefined) return undefined;
  const ms = /^\d+$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - now;
  return Number.isNaN(ms) ? undefined : Math.min(Math.max(0, ms), RETRY_AFTER_MS_MAX);
}
