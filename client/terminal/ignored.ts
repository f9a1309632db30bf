/** People whom a user ignores, kept in a file. Clients that run at once append their decisions; the last one counts. */

import { parseName } from "../../protocol.ts";

/** The ignored people of one account, in a file that only its owner can read. */
export class IgnoredFile {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = `${folder}/ignored`;
  }

  /** Returns the names of those who are ignored; none where the file cannot be read. */
  load(): Set<string> {
    const names = new Set<string>();
    for (const line of this.#lines()) {
      const name = parseName(line.slice(1));
      if (typeof name !== "string") continue; // cut short by a crash
      if (line.startsWith("+")) names.add(name);
      else if (line.startsWith("-")) names.delete(name);
    }
    return names;
  }

  #lines(): string[] {
    try {
      return Deno.readTextFileSync(this.#file).split("\n");
    } catch {
      return [];
    }
  }

  /** Stores a decision. Throws where it cannot be stored. */
  add(name: string, isIgnored: boolean): void {
    Deno.writeTextFileSync(this.#file, `${isIgnored ? "+" : "-"}${name}\n`, { append: true, mode: 0o600 });
  }
}
