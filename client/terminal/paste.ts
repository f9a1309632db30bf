/** Bracketed paste: what is pasted becomes text to edit, its line breaks signs, and nothing in it a key. Pure. */

import { BREAK_SIGN } from "./view.ts";

/** Asks the terminal to say what was pasted. */
export const PASTE_ON = "\x1b[?2004h";
/** The end of that. */
export const PASTE_OFF = "\x1b[?2004l";

const START = "\x1b[200~";
const END = "\x1b[201~";
/** Stands for a joiner between emoji in the line being typed. */
const JOIN_SIGN = "\u2040";
const JOINER_REGEXP = /(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u200d(?=\p{Extended_Pictographic}|$)/gu;
const JOIN_SIGN_REGEXP = /(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u2040(?=\p{Extended_Pictographic}|$)/gu;
/** Characters from which on a sequence that is cut short is waited for; a lone escape key is not held back. */
const HELD_MIN = 3;

/** Turns what a terminal sends into keys; keeps what a chunk cut in two. */
export class PasteFilter {
  #pasting = false;
  #rest = "";

  /** The keys in the next chunk. */
  feed(chunk: string): string {
    let text = this.#rest + chunk;
    this.#rest = "";
    let keys = "";
    for (;;) {
      const marker = this.#pasting ? END : START;
      const at = text.indexOf(marker);
      const part = at < 0 ? this.#cutHeld(text, marker) : text.slice(0, at);
      keys += this.#pasting ? pasted(part) : part;
      if (at < 0) return keys;
      this.#pasting = !this.#pasting;
      text = text.slice(at + marker.length);
    }
  }

  #cutHeld(text: string, marker: string): string {
    if (this.#pasting && text.endsWith("\r")) {
      this.#rest = "\r"; // its line feed may follow
      return text.slice(0, -1);
    }
    for (let length = Math.min(marker.length - 1, text.length); length >= (this.#pasting ? 1 : HELD_MIN); length--) {
      if (!text.endsWith(marker.slice(0, length))) continue;
      this.#rest = text.slice(text.length - length);
      return text.slice(0, text.length - length);
    }
    return text;
  }
}

function pasted(text: string): string {
  return text.replace(/\r\n?|\n/g, BREAK_SIGN).replaceAll("\t", "    ")
    // deno-lint-ignore no-control-regex
    .replace(/[\x00-\x1f\x7f-\x9f]/g, "");
}

/**
 * Keys with the joiners of emoji as signs: terminals do not agree on how wide joined ones are, and the line being typed would be
 * drawn in the wrong place. `before` is what stands before the cursor: a joiner may come alone.
 */
export function withJoinSigns(keys: string, before = ""): string {
  return (before + keys).replace(JOINER_REGEXP, JOIN_SIGN).slice(before.length);
}

/** The message that an edited line stands for: signs become what they stand for again, line breaks at its end nothing. */
export function toContent(line: string): string {
  return line.replaceAll(BREAK_SIGN, "\n").replace(/\n+$/, "").replace(JOIN_SIGN_REGEXP, "\u200d");
}
