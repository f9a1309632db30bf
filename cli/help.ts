/** The help of a program and of its commands, made from the tables of its options. Pure. */

import type { CommandSpec, OptionSpec, OptionTable, ProgramSpec } from "./options.ts";
import { wrap } from "./wrap.ts";

/** Columns of a help text: an ordinary terminal has as many. */
const HELP_COLUMNS = 80;
/** Columns for options and for commands, beside which their meaning stands; those that are wider have a line of their own. */
const OPTION_COLUMNS = 30, COMMAND_COLUMNS_MAX = 34;

/** Returns the help of a program, or of one of its commands. */
export function helpText(program: ProgramSpec, command = ""): string {
  const spec = command === "" ? undefined : program.commands?.[command];
  const lines = spec ? commandHead(program, command, spec) : programHead(program);
  for (const [group, options] of groups(spec?.options ?? program.options)) {
    lines.push("", `${group}:`, ...options.flatMap(([name, option]) => optionLines(name, option)));
  }
  const { examples = [] } = spec ?? program;
  if (examples.length > 0) lines.push("", "Examples:", ...examples.map((example) => `  ${example}`));
  return lines.join("\n");
}

/** Returns an option as it is typed: `-p, --port PORT`. */
export function optionHead(name: string, { short, kind, value = "VALUE" }: OptionSpec): string {
  return `${short ? `-${short}, ` : ""}--${name}${kind === "flag" ? "" : ` ${value}`}`;
}

function programHead({ name, summary, commands = {} }: ProgramSpec): string[] {
  const rows = Object.entries(commands).map(([word, { operands, summary }]) =>
    [`${word} ${operands}`.trim(), summary] as const
  );
  const width = Math.min(Math.max(...rows.map(([command]) => command.length)) + 2, COMMAND_COLUMNS_MAX);
  const usage = [`Usage: ${name} [OPTIONS]`, ...rows.length > 0 ? [`       ${name} COMMAND [OPTIONS]`] : []];
  const listed = rows.flatMap(([command, summary]) => besides(command, summary, width));
  return [summary, "", ...usage, ...listed.length > 0 ? ["", "Commands:", ...listed] : []];
}

function commandHead({ name }: ProgramSpec, command: string, { summary, operands }: CommandSpec): string[] {
  return [summary, "", `Usage: ${name} ${command} ${operands} [OPTIONS]`.replace(/ {2,}/g, " ")];
}

function groups(options: OptionTable): Map<string, [string, OptionSpec][]> {
  return Map.groupBy(Object.entries(options), ([, { group }]) => group ?? "Options");
}

function optionLines(name: string, option: OptionSpec): string[] {
  const notes = [
    ...option.choices ? [option.choices.join(", ")] : [],
    ...option.default === undefined || option.default === false ? [] : [`default ${option.default}`],
    ...option.env ? [option.env] : [],
  ];
  const meaning = notes.length > 0 ? `${option.help} [${notes.join("; ")}]` : option.help;
  return besides(optionHead(name, option), meaning, OPTION_COLUMNS);
}

/** Lays out two columns, the left one `width` wide; the right one is wrapped. */
function besides(left: string, right: string, width: number): string[] {
  const indent = " ".repeat(width + 2);
  const [first = "", ...rest] = wrap(right, HELP_COLUMNS - indent.length);
  const head = `  ${left}`;
  const begin = left.length < width ? [head.padEnd(indent.length) + first] : [head, indent + first];
  return [...begin, ...rest.map((line) => indent + line)].map((line) => line.trimEnd());
}
