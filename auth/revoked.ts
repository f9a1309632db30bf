/**
 * A file of token ids and names that may not connect, one per line, `#` starts a comment. It is read again when it changes;
 * while it cannot be read the last good one counts.
 */

import { parseName, Refusal } from "../protocol.ts";

/** Milliseconds between two looks: a look is one system call, and editors replace files in ways that watching misses. */
const LOOK_MS = 1_000;

/** What is revoked now. */
export class Revoked {
  readonly #file: string;
  readonly #report: (line: string) => void;
  readonly #changed: (revoked: Revoked) => void;
  readonly #timer: ReturnType<typeof setInterval>;
  #entries: ReadonlySet<string>;
  #stamp: string;

  /** Reads the file; throws what reading throws. `changed` is called when it has changed since. */
  constructor(file: string, changed: (revoked: Revoked) => void, report: (line: string) => void) {
    this.#file = file;
    this.#changed = changed;
    this.#report = report;
    this.#stamp = stampOf(file);
    this.#entries = parse(Deno.readTextFileSync(file));
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Whether a name or a token id is revoked. */
  has(user: string, tokenId: string | undefined): boolean {
    return this.#entries.has(user) || (tokenId !== undefined && this.#entries.has(tokenId));
  }

  /** Looks whether the file has changed, and reads it then. */
  look(): void {
    try {
      const stamp = stampOf(this.#file);
      if (stamp === this.#stamp) return;
      this.#entries = parse(Deno.readTextFileSync(this.#file));
      this.#stamp = stamp;
    } catch (error) {
      if (this.#stamp !== "") this.#report(`${this.#file} cannot be read, what was revoked stays so: ${String(error)}`);
      this.#stamp = "";
      return;
    }
    this.#changed(this);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

function stampOf(file: string): string {
  const { mtime, size, ino } = Deno.statSync(file);
  return `${mtime?.getTime()} ${size} ${ino}`;
}

/** Names count in their canonical form, whatever the case they are written in; token ids as they are. */
function parse(text: string): Set<string> {
  const lines = text.split("\n").map((line) => line.replace(/(^|\s)#.*/, "").trim()).filter((line) => line !== "");
  return new Set(lines.flatMap((line) => {
    const name = parseName(line);
    return name instanceof Refusal ? [line] : [line, name];
  }));
}
