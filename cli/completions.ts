/** Completion scripts for shells, made from the tables of options. Pure. */

import type { OptionSpec, OptionTable, ProgramSpec } from "./options.ts";

/** The shells that there are scripts for. */
export const SHELLS = ["bash", "zsh", "fish"] as const;
/** A shell that there is a script for. */
export type Shell = typeof SHELLS[number];

/** Returns the script that a shell reads. */
export function completionScript(program: ProgramSpec, shell: Shell): string {
  return shell === "bash" ? bash(program) : shell === "zsh" ? zsh(program) : fish(program);
}

function commandsOf({ commands = {} }: ProgramSpec): [string, { summary: string; operands: string; options: OptionTable }][] {
  return Object.entries(commands);
}

/** Returns the words that stand for themselves after a command, as in `bash|zsh|fish` or `list|create [NAME]`. */
function literals(operands: string): string[] {
  return /^[a-z]+(?:\|[a-z]+)+(?= |$)/.exec(operands)?.[0].split("|") ?? [];
}

function flags(options: OptionTable): string[] {
  return Object.entries(options).flatMap(([name, { short }]) => short ? [`--${name}`, `-${short}`] : [`--${name}`]);
}

// ---- bash ----

function bash(program: ProgramSpec): string {
  const commands = commandsOf(program);
  const tables = [program.options, ...commands.map(([, { options }]) => options)];
  const cases = commands.map(([name, { options, operands }]) =>
    `    ${name}) words="${[...flags(options), ...literals(operands)].join(" ")}" ;;`
  );
  const fn = `_${program.name.replaceAll("-", "_")}`;
  return `# Completion of ${program.name} for bash
${fn}() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} words
  [ "$current" = = ] && current=
  [ "$previous" = = ] && previous=\${COMP_WORDS[COMP_CWORD-2]}
  case $previous in
${bashValues(tables)}
  esac
  case \${COMP_WORDS[1]} in
${cases.join("\n")}
    *) words="${flags(program.options).join(" ")}"
       [ "$COMP_CWORD" -eq 1 ] && words="$words ${commands.map(([name]) => name).join(" ")}" ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -F ${fn} ${program.name}
`;
}

function bashValues(tables: readonly OptionTable[]): string {
  const lines = new Map<string, string>();
  for (const table of tables) {
    for (const [name, option] of Object.entries(table)) {
      if (option.kind === "flag") continue;
      const pattern = option.short ? `--${name}|-${option.short}` : `--${name}`;
      const reply = option.choices
        ? `mapfile -t COMPREPLY < <(compgen -W "${option.choices.join(" ")}" -- "$current")`
        : isPath(option)
        ? `mapfile -t COMPREPLY < <(compgen -f -- "$current")`
        : "COMPREPLY=()";
      lines.set(name, `    ${pattern}) ${reply}; return ;;`);
    }
  }
  return [...lines.values()].join("\n");
}

function isPath({ value }: OptionSpec): boolean {
  return value === "FILE" || value === "DIR" || value === "COMMAND";
}

// ---- zsh ----

function zsh(program: ProgramSpec): string {
  const commands = commandsOf(program);
  const described = commands.map(([name, { summary }]) => `    ${single(`${name}:${summary}`)}`);
  const cases = commands.map(([name, { options, operands }]) => {
    const words = literals(operands);
    const rest = words.length > 0 ? single(`1:word:(${words.join(" ")})`) : single("*:text:()");
    return `    ${name}) shift words; (( CURRENT-- )); _arguments -s ${zshOptions(options)} ${rest} ;;`;
  });
  const fn = `_${program.name}`;
  return `#compdef ${program.name}
# Completion of ${program.name} for zsh: as a file ${fn} in fpath, or by source <(...)
${fn}() {
  local -a subcommands=(
${described.join("\n")}
  )
  if (( CURRENT == 2 )) && [[ $words[2] != -* ]]; then
    _describe command subcommands
  else
    case $words[2] in
${cases.join("\n")}
    *) _arguments -s ${zshOptions(program.options)} ;;
    esac
  fi
}
if [[ $funcstack[1] == ${fn} ]]; then ${fn} "$@"; else compdef ${fn} ${program.name}; fi
`;
}

function zshOptions(options: OptionTable): string {
  return Object.entries(options).flatMap(([name, option]) => {
    const help = option.help.replace(/[[\]:]/g, (character) => `\\${character}`);
    const action = option.choices ? `(${option.choices.join(" ")})` : isPath(option) ? "_files" : "";
    const value = option.kind === "flag" ? "" : `:${option.value ?? "value"}:${action}`;
    const sign = option.kind === "flag" ? "" : "="; // accepts the value as the next word too
    return [`--${name}${sign}`, ...(option.short ? [`-${option.short}`] : [])].map((flag) =>
      single(`${flag}[${help}]${value}`)
    );
  }).join(" ");
}

function single(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

// ---- fish ----

function fish(program: ProgramSpec): string {
  const commands = commandsOf(program);
  const runs = `__${program.name.replaceAll("-", "_")}_runs`;
  const line = (condition: string, rest: string) => `complete -c ${program.name} -n ${fishQuoted(condition)} ${rest}`;
  const lines = commands.map(([name, { summary }]) => line(`${runs} nothing`, `-a ${name} -d ${fishQuoted(summary)}`));
  lines.push(...fishOptions(program.options).map((option) => line(`${runs} ""`, option)));
  for (const [name, { options, operands }] of commands) {
    lines.push(...literals(operands).map((word) => line(`${runs} ${name}`, `-a ${word}`)));
    lines.push(...fishOptions(options).map((option) => line(`${runs} ${name}`, option)));
  }
  return `# Completion of ${program.name} for fish
# Tests which command the line has; "" is for a line without one, and "nothing" for an empty line.
function ${runs}
    set -l words (commandline -opc)
    if test "$argv[1]" = nothing
        test (count $words) -eq 1
        return
    end
    set -l command "$words[2]"
    contains -- "$command" ${commands.map(([name]) => name).join(" ")}; or set command ""
    test "$command" = "$argv[1]"
end
complete -c ${program.name} -f
${lines.join("\n")}
`;
}

function fishOptions(options: OptionTable): string[] {
  return Object.entries(options).map(([name, option]) => {
    const value = option.kind === "flag"
      ? ""
      : option.choices
      ? ` -x -a ${fishQuoted(option.choices.join(" "))}`
      : isPath(option)
      ? " -r -F"
      : " -x";
    return `-l ${name}${option.short ? ` -s ${option.short}` : ""}${value} -d ${fishQuoted(option.help)}`;
  });
}

function fishQuoted(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
