/** Bracketed paste: pasted text is edited as one line, its line breaks and tabs shown as signs, and nothing in it is a key. Pure. */

import { BREAK_SIGN, TAB_SIGN } from "./view.ts";

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

/**
 * Milliseconds after which a paste whose end has not come is over when a single key comes: a paste comes in one go, and a person
 * cannot press a key as soon after it. Where the end never comes, the keys would be taken for text for ever.
 */
const QUIET_MS = 500;
/** The keys that end a paste at once where they come alone: who presses them wants out. */
const WAYS_OUT: readonly string[] = ["\x03", "\x04"];
// deno-lint-ignore no-control-regex
const ONE_KEY_REGEXP = /^(?:\x1b(?:\[[\d;]*[ -/]*[@-~]|O.|.)?|.)$/su;

/** Turns the input of a terminal into keys, whatever its chunks. */
export class PasteFilter {
  #pasting = false;
  #rest = "";
  /** Time of the last chunk, in milliseconds. */
  #at = -Infinity;

  /** True within a paste, whose end has not come. */
  get isPasting(): boolean {
    return this.#pasting;
  }

  /** Returns the keys of the next chunk, which came at `now`, in milliseconds of a clock that never goes back. */
  feed(chunk: string, now: number): string {
    if (this.#pasting && this.#isOver(chunk, now)) {
      const held = pasted(this.#rest);
      this.#rest = "";
      this.#pasting = false;
      return held + this.#feed(chunk, now);
    }
    return this.#feed(chunk, now);
  }

  #isOver(chunk: string, now: number): boolean {
    const isEnd = END.startsWith(this.#rest + chunk);
    if (isEnd && this.#rest !== "") return false;
    return WAYS_OUT.includes(chunk) || (now - this.#at >= QUIET_MS && ONE_KEY_REGEXP.test(chunk));
  }

  #feed(chunk: string, now: number): string {
    this.#at = now;
    let text = this.#rest + chunk;
    this.#rest = "";
    let keys = "";
    for (;;) {
      const marker = this.#pasting ? END : START;
      const at = text.indexOf(marker);
      const part = at < 0 ? this.#cutHeld(text, marker) : text.slice(0, at);
      // An end without its beginning belongs to a paste that was over before.
      keys += this.#pasting ? pasted(part) : part.replaceAll(END, "");
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
  return text.replace(/\r\n?|\n/g, BREAK_SIGN).replaceAll("\t", TAB_SIGN)
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

/** Returns the message that an edited line stands for: signs become line breaks, tabs and joiners again, breaks at the end go. */
export function toContent(line: string): string {
  return line.replaceAll(BREAK_SIGN, "\n").replaceAll(TAB_SIGN, "\t").replace(/\n+$/, "").replace(JOIN_SIGN_REGEXP, "\u200d");
}
