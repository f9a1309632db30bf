/**
 * A file of token ids and names that may not connect, one per line, `#` starts a comment. It is read again when it changes;
 * while it cannot be read the last good one counts. Beside it the server keeps a list of its own, of whom a backend revoked: the
 * first is the operator's, and never written.
 */

import { stampOf } from "../ops/file_stamp.ts";
import type { Log } from "../ops/log.ts";
import { parseName, Refusal } from "../protocol.ts";
import { KeptNames } from "./kept_names.ts";
import { decodeText } from "./text.ts";

/** Milliseconds between two looks: a look is one system call, and editors replace files in ways that watching misses. */
const LOOK_MS = 1_000;

/** End of the name of the list that the server keeps. */
const KEPT_SUFFIX = ".api";

/** Names and token ids that are revoked now. */
export class Revoked {
  /** Name of the file; undefined for a list that has entries of other nodes alone. */
  readonly file: string | undefined;
  readonly #log: Log;
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  /** Users whom a backend revoked. */
  readonly #kept: KeptNames | undefined;
  #changed: (isOwn: boolean) => void = () => {};
  /** Entries of the lists of other nodes. */
  #others: ReadonlySet<string> = new Set();
  /** Names and token ids as they are written. */
  #listed: ReadonlySet<string> = new Set();
  /** The same, and names in their canonical form. */
  #entries: ReadonlySet<string> = new Set();
  #stamp = "";

  /** Reads the files, if there are, and from now on again when they change. Throws what reading throws. */
  constructor(file: string | undefined, log: Log) {
    this.file = file;
    this.#log = log;
    if (file === undefined) return;
    this.#kept = new KeptNames(`${file}${KEPT_SUFFIX}`);
    this.#stamp = stampOf(file);
    this.#read(file);
    this.#timer = setInterval(() => this.look(), LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Returns whether a name or a token id is revoked. */
  has(user: string, tokenId: string | undefined): boolean {
    return this.#has(user) || (tokenId !== undefined && this.#has(tokenId));
  }

  #has(entry: string): boolean {
    return this.#entries.has(entry) || this.#others.has(entry) || (this.#kept?.names.has(entry) ?? false);
  }

  /** Entries of the files; undefined where there are none. */
  get own(): readonly string[] | undefined {
    return this.file === undefined ? undefined : [...this.#entries.union(this.#kept!.names)];
  }

  /** Name of the file of those whom a backend revoked; undefined where there is none, and none can be kept. */
  get keptFile(): string | undefined {
    return this.#kept?.file;
  }

  /** Revokes a user, by their canonical name, until {@linkcode Revoked.remove}. Rejects with what writing throws. */
  async add(user: string): Promise<void> {
    if (await this.#kept?.change((names) => names.add(user))) this.#changed(true);
  }

  /** Takes back what {@linkcode Revoked.add} did. Rejects with what writing throws. */
  async remove(user: string): Promise<void> {
    if (await this.#kept?.change((names) => names.delete(user))) this.#changed(true);
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
    if (this.file === undefined) return;
    this.#lookAtKept();
    try {
      const stamp = stampOf(this.file);
      if (stamp === this.#stamp) return;
      const before = this.#listed;
      this.#read(this.file);
      this.#stamp = stamp;
      this.#logChange(before);
    } catch (error) {
      if (this.#stamp !== "") this.#log("revoked_unreadable", { file: this.file, reason: String(error) });
      this.#stamp = "";
      return;
    }
    this.#changed(true);
  }

  #lookAtKept(): void {
    try {
      if (this.#kept!.look()) this.#changed(true);
    } catch (error) {
      this.#log("revoked_unreadable", { file: this.#kept!.file, reason: String(error) });
    }
  }

  /** Stops looking at the file. */
  close(): void {
    clearInterval(this.#timer);
  }

  #logChange(before: ReadonlySet<string>): void {
    const added = this.#listed.difference(before).size, removed = before.difference(this.#listed).size;
    if (added + removed > 0) this.#log("revoked_read", { file: this.file ?? "", added, removed, entries: this.#listed.size });
  }

  /** Reads the entries: names in their canonical form, whatever the case they are written in; token ids as they are. */
  #read(file: string): void {
    const entries = new Set<string>(), listed = new Set<string>();
    const odd: number[] = [];
    for (const [index, line] of decodeText(Deno.readFileSync(file)).split(/\r\n|\r|\n/).entries()) {
      const entry = line.replace(/(^|\s)#.*/, "").trim();
      if (entry === "") continue;
      const name = parseName(entry);
      if (!(name instanceof Refusal)) entries.add(name);
      else if (/[\s"'\p{C}]/u.test(entry)) odd.push(index + 1);
      entries.add(entry);
      listed.add(entry);
    }
    if (odd.length > 0) this.#log("revoked_odd_lines", { file, lines: odd.length, first: odd[0]! });
    this.#entries = entries;
    this.#listed = listed;
  }
}
