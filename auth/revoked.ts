/**
 * A file of token ids and names that may not connect, one per line, `#` starts a comment. It is read again when it changes;
 * while it cannot be read the last good one counts.
 */

import type { Log } from "../ops/log.ts";
import { parseName, Refusal } from "../protocol.ts";

/** Milliseconds between two looks: a look is one system call, and editors replace files in ways that watching misses. */
const LOOK_MS = 1_000;

/** Names and token ids that are revoked now. */
export class Revoked {
  readonly #file: string | undefined;
  readonly #log: Log;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #changed: (isOwn: boolean) => void = () => {};
  #entries: ReadonlySet<string> = new Set();
  /** Entries of the lists of other nodes. */
  #others: ReadonlySet<string> = new Set();
  #stamp = "";

  /**
   * Reads the file, and from now on again when it changes; undefined for a list that has entries of other nodes alone. Throws what
   * reading throws.
   */
  constructor(file: string | undefined, log: Log) {
    this.#file = file;
    this.#log = log;
    if (file === undefined) return;
    this.#stamp = stampOf(file);
    this.#entries = this.#read(file);
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Returns whether a name or a token id is revoked. */
  has(user: string, tokenId: string | undefined): boolean {
    return this.#has(user) || (tokenId !== undefined && this.#has(tokenId));
  }

  #has(entry: string): boolean {
    return this.#entries.has(entry) || this.#others.has(entry);
  }

  /** Entries of the file; undefined where there is none. */
  get own(): readonly string[] | undefined {
    return this.#file === undefined ? undefined : [...this.#entries];
  }

  /** Replaces the entries of the lists of other nodes. */
  setOthers(entries: ReadonlySet<string>): void {
    this.#others = entries;
    this.#changed(false);
  }

  /**
   * Calls `changed` whenever the list has changed, in the place of whoever asked for that before; `isOwn` where the file was read
   * again.
   */
  onChange(changed: (isOwn: boolean) => void): void {
    this.#changed = changed;
  }

  /** Reads the file again if it has changed. */
  look(): void {
    if (this.#file === undefined) return;
    try {
      const stamp = stampOf(this.#file);
      if (stamp === this.#stamp) return;
      this.#entries = this.#read(this.#file);
      this.#stamp = stamp;
    } catch (error) {
      if (this.#stamp !== "") this.#log("revoked_unreadable", { file: this.#file, reason: String(error) });
      this.#stamp = "";
      return;
    }
    this.#changed(true);
  }

  /** Stops looking at the file. */
  close(): void {
    clearInterval(this.#timer);
  }

  /** Reads the entries: names in their canonical form, whatever the case they are written in; token ids as they are. */
  #read(file: string): Set<string> {
    const entries = new Set<string>();
    const odd: number[] = [];
    for (const [index, line] of textOf(Deno.readFileSync(file)).split(/\r\n|\r|\n/).entries()) {
      const entry = line.replace(/(^|\s)#.*/, "").trim();
      if (entry === "") continue;
      const name = parseName(entry);
      if (!(name instanceof Refusal)) entries.add(name);
      else if (/[\s"'\p{C}]/u.test(entry)) odd.push(index + 1);
      entries.add(entry);
    }
    if (odd.length > 0) this.#log("revoked_odd_lines", { file, lines: odd.length, first: odd[0]! });
    return entries;
  }
}

/** Decodes UTF-8, or UTF-16 as editors and shells of Windows write it. */
function textOf(bytes: Uint8Array): string {
  const isUtf16 = bytes[0] === 0xff && bytes[1] === 0xfe;
  return new TextDecoder(isUtf16 ? "utf-16le" : "utf-8").decode(bytes);
}

function stampOf(file: string): string {
  const { mtime, size, ino } = Deno.statSync(file);
  return `${mtime?.getTime()} ${size} ${ino}`;
}
