/** Colours of the terminal. */

/** Colours of the 256 that are readable on black and on white; a test computes the contrast. */
export const NAME_COLORS: readonly number[] = [28, 30, 31, 62, 64, 97, 130, 133, 161, 166];

/** Adds colours to text, or leaves it as it is. */
export interface Style {
  /** Colours `text` as the name, which is always the same. */
  name(text: string, name?: string): string;
  dim(text: string): string;
  bold(text: string): string;
  warning(text: string): string;
}

/** Returns whether colours are wanted: by `--color`, else by NO_COLOR and TERM. */
export function wantsColor(choice: string, env: (name: string) => string | undefined, isTerminal: boolean): boolean {
  if (choice !== "auto") return choice === "always";
  return isTerminal && !env("NO_COLOR") && env("TERM") !== "dumb";
}

/** Returns a style with or without colours. */
export function styleFor(color: boolean): Style {
  if (!color) return { name: (text) => text, dim: (text) => text, bold: (text) => text, warning: (text) => text };
  const wrap = (codes: string) => (text: string) => `\x1b[${codes}m${text}\x1b[0m`;
  return {
    name: (text, name = text) => wrap(`1;38;5;${colorOf(name)}`)(text),
    dim: wrap("2"),
    bold: wrap("1"),
    warning: wrap("38;5;166"),
  };
}

/** Returns the colour of a name, which depends on nothing else. */
export function colorOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0;
  return NAME_COLORS[hash % NAME_COLORS.length]!;
}
