/** How far long work is, told to people. */

import { warn } from "./open.ts";

/** Milliseconds between two lines: enough to see that it goes on. */
const TELL_MS = 1_000;

/** Tells on stderr, where that is a terminal and `other`, the stream that the work goes through, is none. */
export class Progress {
  readonly #isWatched: boolean;
  #toldAt = performance.now();
  #wasTold = false;

  constructor(other: { isTerminal(): boolean }) {
    this.#isWatched = Deno.stderr.isTerminal() && !other.isTerminal();
  }

  /** Something was done. `words` are asked for where they are told. */
  step(words: () => string): void {
    if (!this.#isWatched || performance.now() - this.#toldAt < TELL_MS) return;
    this.#toldAt = performance.now();
    this.#wasTold = true;
    warn(words());
  }

  /** All was done: told where it took long. */
  done(words: () => string): void {
    if (this.#wasTold) warn(words());
    this.#wasTold = false;
  }
}
