/** The manual page, and the tables of docs/CLIENT.md: made from the same tables as the help. Pure. */

import type { OptionSpec, OptionTable, ProgramSpec } from "./options.ts";
import { CHAT_COMMANDS } from "../client/terminal/commands.ts";

/** What the exit statuses of the client mean. */
export const EXIT_STATUSES: readonly (readonly [number, string])[] = [
  [0, "Everything was sent and acked, or there was nothing to send."],
  [1, "The server refused a message, the name or the token, or a program of --exec could not be run."],
  [2, "The command line, the environment or the settings are wrong."],
  [3, "The server could not be reached, or did not ack in time."],
];

/** Files that the client uses, as they are called on Linux. */
export const FILES: readonly (readonly [string, string])[] = [
  ["~/.config/parley/client.json", "Settings: options by their names, without the dashes, and servers by short names"],
  ["~/.local/state/parley/", "What was read, what is not acked yet, and typed lines; readable by their owner alone"],
];

/** The manual page, in the language of man(7). */
export function manualPage(program: ProgramSpec, version: string): string {
  const { name, summary, commands = {}, examples = [] } = program;
  const lines = [
    `.TH ${name.toUpperCase()} 1 "" "Parley ${version}" "User Commands"`,
    ".SH NAME",
    `${roff(name)} \\- ${roff(summary.replace(/^Parley \S+: /, "").replace(/\.$/, ""))}`,
    ".SH SYNOPSIS",
    `.B ${roff(name)}\n[\\fIOPTIONS\\fR]`,
    `.br\n.B ${roff(name)}\n\\fICOMMAND\\fR [\\fIOPTIONS\\fR]`,
    ".SH DESCRIPTION",
    "On a terminal this is a chat. Between other programs every line of the input is a message, and what arrives is written to",
    "the output, a line each; everything else goes to the error output.",
    ".SH OPTIONS",
    ...optionEntries(program.options),
    ".SH COMMANDS",
  ];
  for (const [word, { summary, operands, options }] of Object.entries(commands)) {
    lines.push(
      `.SS ${roff(`${word} ${operands}`.trim())}`,
      roff(`${summary}.`),
      ...optionEntries(onlyIn(options, program.options)),
    );
  }
  lines.push(".SH IN THE CHAT");
  for (const [word, { args, help }] of Object.entries(CHAT_COMMANDS)) lines.push(...entry(`/${word} ${args}`.trim(), help));
  lines.push(".SH EXIT STATUS");
  for (const [code, meaning] of EXIT_STATUSES) lines.push(...entry(String(code), meaning));
  lines.push(".SH FILES");
  for (const [file, meaning] of FILES) lines.push(...entry(file, meaning));
  lines.push(".SH EXAMPLES", ".nf", ...examples.map(roff), ".fi");
  return lines.join("\n") + "\n";
}

/** Options that are not those of the program itself, or not the same. */
function onlyIn(options: OptionTable, common: OptionTable): OptionTable {
  return Object.fromEntries(Object.entries(options).filter(([name, { help }]) => common[name]?.help !== help));
}

function optionEntries(options: OptionTable): string[] {
  return Object.entries(options).flatMap(([name, option]) => entry(optionHead(name, option), optionHelp(option)));
}

function entry(head: string, text: string): string[] {
  return [".TP", `\\fB${roff(head)}\\fR`, roff(text)];
}

function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^([.'])/, "\\&$1");
}

function optionHead(name: string, { short, kind, value = "VALUE" }: OptionSpec): string {
  return `${short ? `-${short}, ` : ""}--${name}${kind === "flag" ? "" : ` ${value}`}`;
}

function optionHelp(option: OptionSpec): string {
  const notes = [
    ...option.choices ? [`one of ${option.choices.join(", ")}`] : [],
    ...option.default === undefined ? [] : [`default ${option.default}`],
    ...option.env ? [`environment ${option.env}`] : [],
  ];
  return notes.length > 0 ? `${option.help} (${notes.join("; ")}).` : `${option.help}.`;
}

/** The options of a table, as a table in Markdown. */
export function markdownOptions(options: OptionTable): string {
  const rows = Object.entries(options).map(([name, option]) => [
    `\`${optionHead(name, option)}\``,
    [option.help, ...(option.choices ? [`(${option.choices.join(", ")})`] : [])].join(" "),
    option.default === undefined ? "" : `\`${option.default}\``,
    option.env ? `\`${option.env}\`` : "",
  ]);
  return markdownTable(["Option", "Meaning", "Default", "Environment"], rows);
}

/** The commands of the chat, as a table in Markdown. */
export function markdownChatCommands(): string {
  const rows = Object.entries(CHAT_COMMANDS).map((
    [name, { args, help }],
  ) => [`\`/${name}${args === "" ? "" : ` ${args}`}\``, help]);
  return markdownTable(["Command", "Meaning"], rows);
}

function markdownTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const all = [head, ...rows].map((row) => row.map((cell) => cell.replaceAll("|", "\\|")));
  const widths = head.map((_, column) => Math.max(3, ...all.map((row) => row[column]!.length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column]!)).join(" | ")} |`;
  const [first, ...rest] = all;
  return [line(first!), `| ${widths.map((width) => "-".repeat(width)).join(" | ")} |`, ...rest.map(line)].join("\n");
}
