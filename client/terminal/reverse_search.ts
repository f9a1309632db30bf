/** Ctrl-R: a search backwards through the lines typed before, as shells have it. Pure. */

/** Result of a key: the search goes on, ends with the line it found or with the one before, or the key was not one of its own. */
export type SearchStep = "goes on" | "accepted" | "cancelled";

const CTRL_R = "\x12", CTRL_C = "\x03", CTRL_G = "\x07", ESCAPE = "\x1b";
const BACKSPACES: readonly string[] = ["\x7f", "\b"];

/** One search. */
export class ReverseSearch {
  readonly #lines: readonly string[];
  readonly #before: string;
  #query = "";
  /** Index of the line found; -1 before the first, and where none has the query. */
  #at = -1;

  /** `lines` were typed before, the newest first; `before` is the line being typed. */
  constructor(lines: readonly string[], before: string) {
    this.#lines = lines;
    this.#before = before;
  }

  /** The line that stands for what was found so far; the one being typed where nothing was looked for, or is gone back to. */
  get line(): string {
    return this.#lines[this.#at] ?? (this.#query === "" ? this.#before : "");
  }

  /** The prompt during the search. */
  get prompt(): string {
    return this.#query !== "" && this.#at < 0 ? `(not found: ${this.#query}) ` : `(search: ${this.#query}) `;
  }

  /** The line that was being typed. */
  get before(): string {
    return this.#before;
  }

  /** Takes a key, or a text. After "accepted", the key still has to do what it does outside of a search. */
  take(part: string): SearchStep {
    if (part === CTRL_G || part === CTRL_C || part === ESCAPE) return "cancelled";
    if (part === CTRL_R) {
      const next = this.#find(this.#at + 1);
      if (next >= 0) this.#at = next;
      return "goes on";
    }
    if (BACKSPACES.includes(part)) this.#query = [...this.#query].slice(0, -1).join("");
    // deno-lint-ignore no-control-regex
    else if (/[\x00-\x1f\x7f]/.test(part)) return "accepted";
    else this.#query += part;
    this.#at = this.#find(0);
    return "goes on";
  }

  #find(from: number): number {
    if (this.#query === "") return -1;
    const wanted = this.#query.toLowerCase();
    return this.#lines.findIndex((line, index) => index >= from && line.toLowerCase().includes(wanted));
  }
}
