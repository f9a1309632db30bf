/** The rate at which a server takes messages, kept by the client itself, so that few are refused. */

import type { Limits } from "../protocol.ts";

/** UTF-16 units of content that count as another frame, as PROTOCOL.md says. */
const COST_CHARS = 4_096;

/** Allowance of one connection: full at its start, spent by messages, and growing at the server's rate. */
export class Pace {
  #rate = 0;
  #burst = 0;
  #allowance = 0;
  /** Time of the allowance, in milliseconds. */
  #at = 0;

  /** Begins a connection with these limits, at `now` in milliseconds. */
  restart({ rate, burst }: Pick<Limits, "rate" | "burst">, now: number): void {
    this.#rate = rate;
    this.#burst = this.#allowance = Math.max(1, burst);
    this.#at = now;
  }

  /** Returns the time from which content of `chars` UTF-16 units may be sent; `now` where it may go at once. */
  readyAt(chars: number, now: number): number {
    if (this.#rate === 0) return now;
    this.#refill(now);
    const missing = Math.min(costOf(chars), this.#burst) - this.#allowance;
    return missing <= 0 ? now : now + Math.ceil((missing / this.#rate) * 1_000);
  }

  /** Spends the allowance for content of `chars` UTF-16 units. */
  spend(chars: number): void {
    this.#allowance -= costOf(chars);
  }

  /** Notes that the server refused something at `now`, as other devices of the user spend the same allowance. */
  empty(now: number): void {
    this.#refill(now);
    this.#allowance = Math.min(this.#allowance, 0);
  }

  #refill(now: number): void {
    this.#allowance = Math.min(this.#burst, this.#allowance + ((now - this.#at) / 1_000) * this.#rate);
    this.#at = now;
  }
}

function costOf(chars: number): number {
  return 1 + Math.floor(chars / COST_CHARS);
}
