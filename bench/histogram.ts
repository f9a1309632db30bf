/**
 * Latencies in buckets whose width grows with the value: at most 1.6 % off at any size, and mergeable between processes.
 */

/** Buckets per power of two. */
const STEPS = 64;

/** The buckets that are not empty, as [index, count], and the largest value. */
export interface HistogramData {
  readonly counts: readonly (readonly [number, number])[];
  readonly max: number;
}

/** Counts values from 0 up, in whatever unit the caller has; the benchmark's is microseconds. */
export class Histogram {
  readonly #counts = new Map<number, number>();
  #total = 0;
  #max = 0;

  /** Number of values added. */
  get total(): number {
    return this.#total;
  }

  /** The largest value, exactly; 0 without any. */
  get max(): number {
    return this.#max;
  }

  /** Adds a value; what is below 0 counts as 0 and fractions are dropped. */
  add(value: number): void {
    const whole = Math.max(0, Math.floor(value));
    this.#count(indexOf(whole), 1);
    if (whole > this.#max) this.#max = whole;
  }

  /** Adds what another histogram counted. */
  merge(data: HistogramData): void {
    for (const [index, count] of data.counts) this.#count(index, count);
    if (data.max > this.#max) this.#max = data.max;
  }

  /** The smallest value that at least `percent` of all values are at or below, to the bucket's width; 0 without any. */
  percentile(percent: number): number {
    const wanted = Math.max(1, Math.ceil(this.#total * percent / 100));
    let seen = 0;
    for (const index of [...this.#counts.keys()].sort((a, b) => a - b)) {
      seen += this.#counts.get(index)!;
      if (seen >= wanted) return Math.min(this.#max, lastOf(index));
    }
    return 0;
  }

  /** State for {@linkcode merge}, fit for JSON. */
  toData(): HistogramData {
    return { counts: [...this.#counts], max: this.#max };
  }

  #count(index: number, count: number): void {
    this.#counts.set(index, (this.#counts.get(index) ?? 0) + count);
    this.#total += count;
  }
}

function indexOf(value: number): number {
  if (value < STEPS) return value;
  const power = Math.floor(Math.log2(value / STEPS));
  return (power + 1) * STEPS + Math.floor(value / 2 ** power) - STEPS;
}

/** The largest value of a bucket. */
function lastOf(index: number): number {
  if (index < STEPS) return index;
  const power = Math.floor(index / STEPS) - 1;
  return (index % STEPS + STEPS + 1) * 2 ** power - 1;
}
