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
    this.#entries = this.#read();
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
      this.#entries = this.#read();
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

  /** Names count in their canonical form, whatever the case they are written in; token ids as they are. */
  #read(): Set<string> {
    const entries = new Set<string>();
    const odd: number[] = [];
    for (const [index, line] of textOf(Deno.readFileSync(this.#file)).split(/\r\n|\r|\n/).entries()) {
      const entry = line.replace(/(^|\s)#.*/, "").trim();
      if (entry === "") continue;
      const name = parseName(entry);
      if (!(name instanceof Refusal)) entries.add(name);
      else if (/[\s"'\p{C}]/u.test(entry)) odd.push(index + 1);
      entries.add(entry);
    }
    if (odd.length > 0) {
      this.#report(`lines of ${this.#file} that are no names and no token ids: ${odd.length}, the first is line ${odd[0]}`);
    }
    return entries;
  }
}

/** Editors and shells of Windows write UTF-16. */
function textOf(bytes: Uint8Array): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe;
  return new TextDecoder(isUtf16 ? "utf-16le" : "utf-8").decode(bytes);
}

function stampOf(file: string): string {
  const { mtime, size, ino } = Deno.statSync(file);
  return `${mtime?.getTime()} ${size} ${ino}`;
}
