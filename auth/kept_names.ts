/** A list of names that a server keeps in a file of its own: replaced as a whole, so that a crash leaves the old one or the new. */

import { stampOf } from "../ops/file_stamp.ts";
import { parseName, Refusal } from "../protocol.ts";
import { decodeText } from "./text.ts";

const HEADER =
  "# Kept by chat-server: users whom a backend revoked through the API. A line that is removed restores its user.\n";

/** The names of a file, which may not be there yet. */
export class KeptNames {
  readonly file: string;
  #names: ReadonlySet<string> = new Set();
  #stamp = "";
  /** The change that is under way. */
  #changing: Promise<unknown> = Promise.resolve();

  /** Reads the file, if there is one. Throws what reading throws. */
  constructor(file: string) {
    this.file = file;
    this.look();
  }

  /** Canonical names. */
  get names(): ReadonlySet<string> {
    return this.#names;
  }

  /** Reads the file again if it has changed; returns whether it had. Throws what reading throws, once for each state of the file. */
  look(): boolean {
    const stamp = this.#stampOf();
    if (stamp === this.#stamp) return false;
    this.#stamp = stamp;
    this.#names = stamp === "" ? new Set() : this.#read();
    return true;
  }

  /**
   * Changes the names as `change` does, which returns whether there was anything to do. Resolves with that once it is on the disk;
   * rejects with what writing throws, and nothing has changed then.
   */
  async change(change: (names: Set<string>) => unknown): Promise<boolean> {
    const changed = this.#changing.catch(() => {}).then(async () => {
      this.look(); // another server on this machine may keep the same list
      const names = new Set(this.#names);
      change(names);
      if (names.size === this.#names.size) return false;
      await this.#write(names);
      return true;
    });
    this.#changing = changed;
    return await changed;
  }

  async #write(names: ReadonlySet<string>): Promise<void> {
    const next = `${this.file}.${crypto.randomUUID()}`;
    try {
      {
        using file = await Deno.open(next, { write: true, createNew: true, mode: 0o600 });
        const bytes = new TextEncoder().encode(HEADER + [...names].map((name) => `${name}\n`).join(""));
        for (let written = 0; written < bytes.length;) written += await file.write(bytes.subarray(written));
        await file.sync();
      }
      await Deno.rename(next, this.file);
    } catch (error) {
      await Deno.remove(next).catch(() => {});
      throw error;
    }
    this.#names = names;
    this.#stamp = this.#stampOf();
  }

  #read(): Set<string> {
    const lines = decodeText(Deno.readFileSync(this.file)).split(/\r\n|\r|\n/).map((line) => parseName(line.trim()));
    return new Set(lines.filter((name): name is string => !(name instanceof Refusal)));
  }

  /** Returns what tells one state of the file from another; "" where there is none. */
  #stampOf(): string {
    try {
      return stampOf(this.file);
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return "";
      throw error;
    }
  }
}
