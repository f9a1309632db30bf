/** Typed lines, kept in a file that only its owner can read. Clients that run at once append their lines. */

import { writePrivately } from "../paths.ts";

/** Lines kept; the file is cut to this when it has twice as many. */
const LINES_MAX = 500;

/** The typed lines in a folder. */
export class Recall {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = `${folder}/typed`;
  }

  /** Returns the lines, newest first; none where the file cannot be read. */
  load(): string[] {
    let lines: string[];
    try {
      lines = Deno.readTextFileSync(this.#file).split("\n").map(withoutControls).filter((line) => line !== "");
    } catch {
      return [];
    }
    try {
      if (lines.length > 2 * LINES_MAX) writePrivately(this.#file, lines.slice(-LINES_MAX).join("\n") + "\n");
    } catch { /* it stays long */ }
    return [...new Set(lines.reverse())].slice(0, LINES_MAX);
  }

  /** Adds a line, where it can be stored. */
  add(line: string): void {
    try {
      Deno.writeTextFileSync(this.#file, line + "\n", { append: true, mode: 0o600 });
    } catch { /* it can be typed again */ }
  }
}

/** Removes control characters, as recalled lines are written to the terminal as they are. */
function withoutControls(line: string): string {
  // deno-lint-ignore no-control-regex
  return line.replace(/[\x00-\x1f\x7f-\x9f]/g, "");
}
