/** The manual page of a program, and tables of its options for documents in Markdown. Pure. */

import { optionHead } from "./help.ts";
import type { OptionSpec, OptionTable, ProgramSpec } from "./options.ts";

/** A section of a manual page: a heading, and entries of a head and its meaning. */
export interface ManualSection {
  readonly heading: string;
  readonly entries: readonly (readonly [head: string, meaning: string])[];
}

/** The parts of a manual page that the options do not say. */
export interface ManualParts {
  /** The package and its version, which stand at the foot of the page. */
  readonly source: string;
  /** The program in a few words, for `apropos`. */
  readonly name: string;
  /** Description of the program, in sentences. */
  readonly description: string;
  /** Sections after the commands, in their order. */
  readonly sections: readonly ManualSection[];
}

/** Returns a manual page of section 1, in the language of man(7). */
export function manualPage(program: ProgramSpec, { source, name, description, sections }: ManualParts): string {
  const { commands = {}, examples = [] } = program;
  const lines = [
    `.TH ${program.name.toUpperCase()} 1 "" "${source}" "User Commands"`,
    ".SH NAME",
    `${roff(program.name)} \\- ${roff(name)}`,
    ".SH SYNOPSIS",
    `.B ${roff(program.name)}\n[\\fIOPTIONS\\fR]`,
    ...program.commands ? [`.br\n.B ${roff(program.name)}\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]`] : [],
    ".SH DESCRIPTION",
    roff(description),
    ".SH OPTIONS",
    ...optionEntries(program.options),
    ...program.commands ? [".SH COMMANDS"] : [],
  ];
  for (const [word, { summary, operands, options }] of Object.entries(commands)) {
    lines.push(`.SS ${roff(`${word} ${operands}`.trim())}`, roff(`${summary}.`));
    lines.push(...optionEntries(withoutCommon(options, program.options)));
  }
  for (const { heading, entries } of sections) {
    lines.push(`.SH ${roff(heading.toUpperCase())}`, ...entries.flatMap(([head, meaning]) => entry(head, meaning)));
  }
  if (examples.length > 0) lines.push(".SH EXAMPLES", ".nf", ...examples.map(roff), ".fi");
  return lines.join("\n") + "\n";
}

/** Returns the options of a command that the program itself does not have, or means differently. */
function withoutCommon(options: OptionTable, common: OptionTable): OptionTable {
  return Object.fromEntries(Object.entries(options).filter(([name, { help }]) => common[name]?.help !== help));
}

function optionEntries(options: OptionTable): string[] {
  return Object.entries(options).flatMap(([name, option]) => entry(optionHead(name, option), optionMeaning(option)));
}

function optionMeaning(option: OptionSpec): string {
  const notes = [
    ...option.choices ? [`one of ${option.choices.join(", ")}`] : [],
    ...option.default === undefined ? [] : [`default ${option.default}`],
    ...option.env ? [`environment ${option.env}`] : [],
  ];
  return notes.length > 0 ? `${option.help} (${notes.join("; ")}).` : `${option.help}.`;
}

function entry(head: string, text: string): string[] {
  return [".TP", `\\fB${roff(head)}\\fR`, roff(text)];
}

/** Escapes what roff would act upon. */
function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^([.'])/, "\\&$1");
}

/** Returns the options as a table in Markdown. */
export function markdownOptions(options: OptionTable): string {
  const rows = Object.entries(options).map(([name, option]) => [
    `\`${optionHead(name, option)}\``,
    [option.help, ...(option.choices ? [`(${option.choices.join(", ")})`] : [])].join(" "),
    option.default === undefined ? "" : `\`${option.default}\``,
    option.env ? `\`${option.env}\`` : "",
  ]);
  return markdownTable(["Option", "Meaning", "Default", "Environment"], rows);
}

/** Returns a table in Markdown, its columns padded to the same width. */
export function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(3, ...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  const [first, ...rest] = all;
  return [line(first!), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest.map(line)].join("\n");
}
