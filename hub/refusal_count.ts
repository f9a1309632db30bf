/** Counting refusals by the minute: a few are mistakes, many are abuse. */

/** Milliseconds in which refusals are counted together. */
const WINDOW_MS = 60_000;

/** Refusals of one peer. Times are those of a monotonic clock, in milliseconds. */
export class RefusalCount {
  #count = 0;
  #since = -Infinity;

  /** Counts one more; returns how many there have been in this minute, which begins with the first. */
  add(now: number): number {
    if (this.isOver(now)) {
      this.#count = 0;
      this.#since = now;
    }
    return ++this.#count;
  }

  /** Returns whether the minute is over: those that were counted count no more. */
  isOver(now: number): boolean {
    return now - this.#since > WINDOW_MS;
  }
}
