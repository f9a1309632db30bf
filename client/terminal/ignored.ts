/** Whom a user ignores, kept for the next time. Clients at once append, each what was typed in it; the last word counts. */

import { parseName } from "../../protocol.ts";

/** The ignored of one account, in a file of its folder that only its owner reads. */
export class IgnoredFile {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = `${folder}/ignored`;
  }

  /** Who is ignored; nobody where that cannot be read. */
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

  /** Keeps one decision. Throws where it cannot be kept. */
  add(name: string, isIgnored: boolean): void {
    Deno.writeTextFileSync(this.#file, `${isIgnored ? "+" : "-"}${name}\n`, { append: true, mode: 0o600 });
  }
}
