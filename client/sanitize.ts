/**
 * Text from others as text and nothing else: what a terminal would obey is made visible, what would deceive the reader is
 * taken away. Pure; the result is safe to write to any terminal.
 */

/** Marks that may be stacked on one character: more than any script needs, and too few to leave the line. */
const MARKS_MAX = 4;

/** Everything a terminal or a bidirectional layout might act upon, and what nobody sees. */
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

/** How line breaks are shown. */
export interface SanitizeOptions {
  /** Keep line breaks; else they are shown as `\n`, so that the text is one line. */
  readonly multiline?: boolean;
}

/**
 * `text` without anything that a terminal obeys: controls as `^X` and `\x9b`, direction controls and other invisibles gone,
 * at most four marks on a character. Emoji sequences and the joiners that scripts need stay.
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

/** Whether a joiner stands between two things that it joins. What follows is shown whatever comes after it. */
function isJoined(previous: string, next: string): boolean {
  if (EMOJI_REGEXP.test(previous)) return PICTOGRAPH_REGEXP.test(next);
  return isJoining(previous, next);
}

function isJoining(previous: string, next: string): boolean {
  return JOINING_REGEXP.test(previous) && JOINING_REGEXP.test(next) && LETTER_REGEXP.test(next);
}
