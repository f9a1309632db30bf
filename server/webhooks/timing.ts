/** Time and chance, given from outside so that tests can step the one and choose the other. */

/** The clocks, timers and random numbers that webhooks use. */
export interface Timing {
  /** Returns milliseconds since 1970: for what outlives the process, and for receivers. */
  readonly now: () => number;
  /** Returns milliseconds of a clock that never steps: intervals are measured with it. */
  readonly monotonic: () => number;
  /** Calls back after some milliseconds; returns the undoing of that. */
  readonly after: (ms: number, call: () => void) => () => void;
  /** Returns a number from 0 to 1. */
  readonly random: () => number;
}

/** The machine's own. */
export const SYSTEM_TIMING: Timing = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after: (ms, call) => {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};
