/** The commands in which a program tells of itself: help, shell completions and the manual page. Pure. */

import { completionScript, SHELLS } from "./completions.ts";
import { helpText } from "./help.ts";
import { noCommand, type OptionTable, type ProgramSpec, UsageError } from "./options.ts";

/** Options of these commands. */
export const ABOUT_OPTIONS = {
  help: { kind: "flag", short: "h", group: "Other", help: "Show this help" },
} as const satisfies OptionTable;

/** Returns the specifications of the commands `help`, `completions` and `man` of a program. */
export function aboutCommands(name: string) {
  return {
    help: { summary: "Show the help of the program, or of a command", operands: "[COMMAND]", options: ABOUT_OPTIONS },
    completions: {
      summary: "Print completions for a shell",
      operands: SHELLS.join("|"),
      options: ABOUT_OPTIONS,
      examples: [
        `${name} completions bash > ~/.local/share/bash-completion/completions/${name}`,
        `source <(${name} completions zsh)         in ~/.zshrc, after compinit`,
        `${name} completions fish > ~/.config/fish/completions/${name}.fish`,
      ],
    },
    man: {
      summary: "Print the manual page",
      operands: "",
      options: ABOUT_OPTIONS,
      examples: [`${name} man > ~/.local/share/man/man1/${name}.1`],
    },
  } as const;
}

/** A command that {@linkcode aboutText} answers. */
export type AboutCommand = keyof ReturnType<typeof aboutCommands>;

/** Returns what one of the commands prints. `manual` makes the manual page. Throws a {@linkcode UsageError}. */
export function aboutText(
  program: ProgramSpec,
  command: AboutCommand,
  operands: readonly string[],
  manual: () => string,
): string {
  const [word, ...rest] = operands;
  if (rest.length > 0) throw new UsageError(`${command} takes one word, and not ${JSON.stringify(rest[0])} too`);
  switch (command) {
    case "help":
      if (word !== undefined && !Object.hasOwn(program.commands ?? {}, word)) throw noCommand(program, word);
      return helpText(program, word);
    case "completions": {
      const shell = SHELLS.find((known) => known === word);
      if (!shell) throw new UsageError(`completions needs a shell: ${program.name} completions ${SHELLS.join("|")}`);
      return completionScript(program, shell).trimEnd();
    }
    case "man":
      if (word !== undefined) throw new UsageError(`man takes no ${JSON.stringify(word)}`);
      return manual().trimEnd();
  }
}
