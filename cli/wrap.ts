/** Word wrap. Pure. */

/** Returns `text` as lines of at most `width` characters, broken at its spaces; a word that is longer has a line of its own. */
export function wrap(text: string, width: number): string[] {
  const [first = "", ...words] = text.split(" ");
  const lines = [first];
  for (const word of words) {
    const line = lines.at(-1)!;
    if (line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}
