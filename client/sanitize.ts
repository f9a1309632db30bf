/**
 * Text from others, made safe for any terminal: characters that a terminal would obey are made visible, and those that would
 * deceive the reader are removed. Pure.
 */

/** Combining marks on one character at most: more than any script needs, and too few to leave the line. */
const MARKS_MAX = 4;

/** Characters that a terminal or a bidirectional layout might act upon, and invisible ones. */
const SUSPECT_REGEXP =
  // deno-lint-ignore no-control-regex
  /[\x00-\x1f\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}\p{Cs}\p{Co}\p{Cn}\p{Default_Ignorable_Code_Point}]|(?<=\p{M}{4})\p{M}/u;
const MARK_REGEXP = /\p{M}/u;
const EMOJI_REGEXP = /[\p{Extended_Pictographic}\p{Emoji_Modifier}\u{1f1e6}-\u{1f1ff}\ufe0f\u20e3]/u;
const PICTOGRAPH_REGEXP = /(?!\p{Cn})\p{Extended_Pictographic}/u;
const LETTER_REGEXP = /\p{L}/u;
const INVISIBLE_REGEXP = /[\p{Cf}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;
const UNASSIGNED_REGEXP = /[\p{Cs}\p{Co}\p{Cn}]/u;
/** Scripts in which joiners change how words are written. */
const JOINING_REGEXP =
  /[\p{Script=Arabic}\p{Script=Syriac}\p{Script=Mongolian}\p{Script=Devanagari}\p{Script=Bengali}\p{Script=Malayalam}\p{Script=Sinhala}\p{Script=Tamil}\p{Script=Telugu}\p{Script=Kannada}\p{Script=Gujarati}\p{Script=Khmer}]/u;

/** Options of {@linkcode sanitize}. */
export interface SanitizeOptions {
  /** Keep line breaks; else they are shown as `\n`, so that the text is one line. */
  readonly multiline?: boolean;
}

/**
 * Returns `text` without anything that a terminal obeys: control characters become `^X` and `\x9b`, direction controls and other
 * invisible characters go, and a character keeps at most four marks. Emoji sequences and the joiners that scripts need stay.
 */
export function sanitize(text: string, { multiline = false }: SanitizeOptions = {}): string {
  if (!SUSPECT_REGEXP.test(text)) return text;
  let out = "";
  let previous = "";
  let marks = 0;
  const characters = Array.from(text);
  for (const [index, character] of characters.entries()) {
    const shown = show(character, previous, characters[index + 1] ?? "", multiline);
    if (shown === "") continue;
    marks = MARK_REGEXP.test(character) ? marks + 1 : 0;
    if (marks > MARKS_MAX) continue;
    out += shown;
    previous = shown === character ? character : "";
  }
  return out;
}

function show(character: string, previous: string, next: string, multiline: boolean): string {
  const code = character.codePointAt(0)!;
  if (code === 0x0a) return multiline ? "\n" : "\\n";
  if (code === 0x09) return "    ";
  if (code < 0x20) return `^${String.fromCharCode(code + 64)}`;
  if (code === 0x7f) return "^?";
  if (code < 0xa0) return code < 0x80 ? character : `\\x${code.toString(16)}`;
  if (code === 0x200d) return isJoined(previous, next) ? character : "";
  if (code === 0x200c) return isJoining(previous, next) ? character : "";
  // The variation selectors choose between text and emoji; they mean something after a character alone.
  if (code === 0xfe0e || code === 0xfe0f) return previous === "" ? "" : character;
  if (UNASSIGNED_REGEXP.test(character)) return "\ufffd";
  return INVISIBLE_REGEXP.test(character) ? "" : character;
}

/** Returns whether a joiner stands between two characters that it joins; what comes after those does not matter. */
function isJoined(previous: string, next: string): boolean {
  if (EMOJI_REGEXP.test(previous)) return PICTOGRAPH_REGEXP.test(next);
  return isJoining(previous, next);
}

function isJoining(previous: string, next: string): boolean {
  return JOINING_REGEXP.test(previous) && JOINING_REGEXP.test(next) && LETTER_REGEXP.test(next);
}
