/** Time that a test steps: clocks and timers of webhooks. */

import { setImmediate } from "node:timers";
import type { Timing } from "../server/webhooks/timing.ts";

/** A {@linkcode Timing} whose time passes only when it is told to. */
export class FakeTiming implements Timing {
  #now = 0;
  #timers: { readonly at: number; readonly call: () => void }[] = [];
  /** Added to the monotonic clock for the wall's. */
  wall = 1_800_000_000_000;

  readonly now = () => this.wall + this.#now;
  readonly monotonic = () => this.#now;
  readonly random = () => 0.5;
  readonly after = (ms: number, call: () => void) => {
    if (ms === Infinity) return () => {};
    const timer = { at: this.#now + ms, call };
    this.#timers.push(timer);
    return () => void (this.#timers = this.#timers.filter((other) => other !== timer));
  };

  /** Lets time pass, with every timer at its time. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settled();
    for (;;) {
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.#timers = this.#timers.filter((other) => other !== next);
      this.#now = Math.max(this.#now, next.at);
      next.call();
      await settled();
    }
    this.#now = end;
  }
}

/** Lets everything that needs no timer come to its end. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(() => resolve()));
}
