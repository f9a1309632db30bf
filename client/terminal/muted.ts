/** Conversations that a user has muted, kept in a file of this device. Clients that run at once append their decisions. */

import { parseAddress } from "../../protocol.ts";

/** A muted conversation. */
export interface Mute {
  /** Messages that mention the user count and ring as ever. */
  readonly mentions: boolean;
  /** Milliseconds since 1970 at which it ends; `Infinity` for never. */
  readonly until: number;
}

/** Milliseconds of the units of a time. */
const UNITS: Record<string, number> = { m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** The words that `/mute` takes after a name. */
export const MUTE_WORDS = ["mentions", "off", "1h", "8h", "1d", "1w"] as const;

/**
 * Parses the words after the name in `/mute`, in any order: `mentions`, and a time such as `8h`. Returns undefined for `off`, and
 * a sentence for what it does not understand.
 */
export function parseMute(words: readonly string[], now: number): Mute | string | undefined {
  if (words.length === 1 && words[0] === "off") return undefined;
  let mute: Mute = { mentions: false, until: Infinity };
  for (const word of words) {
    const [, count, unit] = /^(\d{1,4})([mhdw])$/.exec(word) ?? [];
    if (word === "mentions") mute = { ...mute, mentions: true };
    else if (count !== undefined) mute = { ...mute, until: now + Number(count) * UNITS[unit!]! };
    else return `/mute takes "mentions", "off", or a time such as 30m, 8h, 2d, and not ${JSON.stringify(word)}`;
  }
  return mute;
}

/** The muted conversations of one account, in a file that only its owner can read. */
export class MutedFile {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = `${folder}/muted`;
  }

  /** Returns the muted conversations by name; none where the file cannot be read. */
  load(): Map<string, Mute> {
    const muted = new Map<string, Mute>();
    for (const line of this.#lines()) {
      const [sign, given, until = ""] = line.split(" ");
      const name = parseAddress(given);
      if (typeof name !== "string") continue; // cut short by a crash
      if (sign === "-") muted.delete(name);
      else if (sign === "+" || sign === "@") muted.set(name, { mentions: sign === "@", until: Number(until) || Infinity });
    }
    return muted;
  }

  #lines(): string[] {
    try {
      return Deno.readTextFileSync(this.#file).split("\n");
    } catch {
      return [];
    }
  }

  /** Stores a decision; undefined ends it. Throws where it cannot be stored. */
  set(name: string, mute: Mute | undefined): void {
    const sign = mute === undefined ? "-" : mute.mentions ? "@" : "+";
    const until = mute === undefined || mute.until === Infinity ? "" : ` ${mute.until}`;
    Deno.writeTextFileSync(this.#file, `${sign} ${name}${until}\n`, { append: true, mode: 0o600 });
  }
}
