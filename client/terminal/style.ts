/** Colours, where they are wanted. */

/** Colours of the 256 that stand out from black and from white alike; a test computes it. */
export const NAME_COLORS: readonly number[] = [28, 30, 31, 62, 64, 97, 130, 133, 161, 166];

/** Writes text in colours, or leaves it. */
export interface Style {
  /** A name, always in the same colour. */
  name(text: string, name?: string): string;
  dim(text: string): string;
  bold(text: string): string;
  warning(text: string): string;
}

/** Whether colours are wanted: by `--color`, else by NO_COLOR and TERM. */
export function wantsColor(choice: string, env: (name: string) => string | undefined, isTerminal: boolean): boolean {
  if (choice !== "auto") return choice === "always";
  return isTerminal && !env("NO_COLOR") && env("TERM") !== "dumb";
}

/** A style with or without colours. */
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

/** The colour of a name: the same everywhere and always. */
export function colorOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const character of name) hash = Math.imul(hash ^ character.codePointAt(0)!, 0x01000193) >>> 0;
  return NAME_COLORS[hash % NAME_COLORS.length]!;
}
