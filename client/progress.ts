/** Progress of long work, told to people. */

import { warn } from "./output.ts";

/** Milliseconds between two lines: enough to see that the work goes on. */
const TELL_MS = 1_000;

/**
 * Tells how far work is, on stderr: only where that is a terminal, and `other`, the stream that the work goes through, is none.
 */
export class Progress {
  readonly #isWatched: boolean;
  #toldAt = performance.now();
  #wasTold = false;

  constructor(other: { isTerminal(): boolean }) {
    this.#isWatched = Deno.stderr.isTerminal() && !other.isTerminal();
  }

  /** Notes a step. `words` is called only when its result is told. */
  step(words: () => string): void {
    if (!this.#isWatched || performance.now() - this.#toldAt < TELL_MS) return;
    this.#toldAt = performance.now();
    this.#wasTold = true;
    warn(words());
  }

  /** Notes the end, which is told only when a step was told before. */
  done(words: () => string): void {
    if (this.#wasTold) warn(words());
    this.#wasTold = false;
  }
}
