/** Waiting times before another attempt. Pure. */

import type { ErrorFrame } from "../protocol.ts";

/** Milliseconds of the longest first wait; doubled with every attempt. */
const BACKOFF_FIRST_MS = 500;
/** Milliseconds of the longest wait: a server that is back, or has room again, is found within half a minute. */
const BACKOFF_MAX_MS = 30_000;
/** Milliseconds before anything is sent again, whatever the server says: it may say 0. */
const RETRY_MIN_MS = 50;
/** Milliseconds of the longest wait that a server can ask for; a timer takes no more than 24 days. */
const RETRY_MAX_MS = 3_600_000;

/** Returns the milliseconds to wait after `attempts` failures: a random part, so that many clients do not return as one. */
export function backOffMs(attempts: number, random: () => number): number {
  return Math.round(random() * Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts));
}

/** Returns the milliseconds after which what was refused is sent again: as the server says, else by the number of tries. */
export function retryMs(error: ErrorFrame, tries: number, random: () => number): number {
  return boundedMs(error.retry_after_ms ?? backOffMs(tries, random));
}

/** Returns a wait that a server has asked for, within the bounds of those that are kept. */
export function boundedMs(ms: number): number {
  return Math.min(Math.max(ms, RETRY_MIN_MS), RETRY_MAX_MS);
}
