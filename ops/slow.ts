/** Lines about what took too long: at most one of a kind in a second, and the next one says how many were left out. */

import type { SlowWatch } from "../hub.ts";
import type { Log } from "./log.ts";

/** Milliseconds of an append that are worth a line: a disk's sync takes some, a person waits for the whole. */
export const SLOW_APPEND_MS = 100;
/** Milliseconds of a turn of the event loop that are worth a line: everybody waits meanwhile. */
export const SLOW_TURN_MS = 50;
/** Milliseconds of an answer, such as a page of history, that are worth a line. */
export const SLOW_REQUEST_MS = 100;
/** Milliseconds between two lines of a kind: a disk that is slow is slow a thousand times. */
const PAUSE_MS = 1_000;

/** Options of {@linkcode SlowLog}. Milliseconds from which each is told; `Infinity` for never. */
export interface SlowLogOptions {
  readonly log: Log;
  readonly appendMs: number;
  readonly turnMs: number;
  readonly requestMs: number;
  /** Monotonic clock, in milliseconds. */
  readonly now?: () => number;
}

/** Tells the operator what took long in a hub. Its lines have counts and durations, nobody's name and no content. */
export class SlowLog implements SlowWatch {
  readonly #options: SlowLogOptions;
  readonly #append: Pauses;
  readonly #turn: Pauses;
  readonly #request: Pauses;

  constructor(options: SlowLogOptions) {
    this.#options = options;
    const { now = () => performance.now() } = options;
    [this.#append, this.#turn, this.#request] = [new Pauses(now), new Pauses(now), new Pauses(now)];
  }

  appended(ms: number, messages: number): void {
    if (ms < this.#options.appendMs) return;
    const suppressed = this.#append.next();
    if (suppressed !== undefined) this.#options.log("slow_append", { ms: Math.round(ms), messages, suppressed });
  }

  turned(ms: number, messages: number, connections: number): void {
    if (ms < this.#options.turnMs) return;
    const suppressed = this.#turn.next();
    if (suppressed !== undefined) this.#options.log("slow_turn", { ms: Math.round(ms), messages, connections, suppressed });
  }

  answered(ms: number, request: string): void {
    if (ms < this.#options.requestMs) return;
    const suppressed = this.#request.next();
    if (suppressed !== undefined) this.#options.log("slow_request", { request, ms: Math.round(ms), suppressed });
  }
}

/** Decides which lines of a kind are written, and counts the others. */
class Pauses {
  readonly #now: () => number;
  #until = -Infinity;
  #suppressed = 0;

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns how many were left out since the last line that was written, if another one may be; else counts it and returns undefined. */
  next(): number | undefined {
    const now = this.#now();
    if (now < this.#until) {
      this.#suppressed++;
      return undefined;
    }
    this.#until = now + PAUSE_MS;
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    return suppressed;
  }
}
