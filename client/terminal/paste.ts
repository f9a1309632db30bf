/** Bracketed paste: pasted text is edited as one line, its line breaks shown as signs, and nothing in it is a key. Pure. */

import { BREAK_SIGN } from "./view.ts";

/** Asks the terminal to mark pasted text. */
export const PASTE_ON = "\x1b[?2004h";
/** Ends that. */
export const PASTE_OFF = "\x1b[?2004l";

const START = "\x1b[200~";
const END = "\x1b[201~";
/** Stands for a joiner between emoji in the line being typed. */
const JOIN_SIGN = "\u2040";
const JOINER_REGEXP = /(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u200d(?=\p{Extended_Pictographic}|$)/gu;
const JOIN_SIGN_REGEXP = /(?<=[\p{Extended_Pictographic}\p{Emoji_Modifier}\ufe0f])\u2040(?=\p{Extended_Pictographic}|$)/gu;
/** Characters of a sequence that has to be there for the rest to be waited for: a lone escape key is not held back. */
const HELD_MIN = 3;

/** Turns the input of a terminal into keys, whatever its chunks. */
export class PasteFilter {
  #pasting = false;
  #rest = "";

  /** Returns the keys of the next chunk. */
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
 * Returns keys with the joiners of emoji replaced by signs: terminals do not agree on the width of joined emoji, and the line
 * being typed would be drawn in the wrong place. `before` is the text before the cursor, as a joiner may come alone.
 */
export function withJoinSigns(keys: string, before = ""): string {
  return (before + keys).replace(JOINER_REGEXP, JOIN_SIGN).slice(before.length);
}

/** Returns the message that an edited line stands for: signs become line breaks and joiners again, breaks at the end go. */
export function toContent(line: string): string {
  return line.replaceAll(BREAK_SIGN, "\n").replace(/\n+$/, "").replace(JOIN_SIGN_REGEXP, "\u200d");
}
