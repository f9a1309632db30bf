/** Clocks that a broker reads, given from outside so that tests can step them. */

/** The two clocks: one that people set, and one that nobody can. */
export interface Clocks {
  /** Returns milliseconds since 1970, by a clock that may step in either direction. Messages are stamped with it. */
  readonly now: () => number;
  /** Returns milliseconds since some moment, by a clock that never steps: intervals are measured with it. */
  readonly monotonic: () => number;
}

/** The machine's own. */
export const SYSTEM_CLOCKS: Clocks = { now: () => Date.now(), monotonic: () => performance.now() };
