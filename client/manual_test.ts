import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { completionScript, SHELLS } from "../cli/completions.ts";
import { helpText } from "../cli/help.ts";
import { markdownOptions, markdownTable } from "../cli/manual.ts";
import type { OptionTable } from "../cli/options.ts";
import { lacks } from "../testing/permissions.ts";
import { EXIT, EXIT_STATUSES } from "./exit.ts";
import { clientManual } from "./manual.ts";
import { CLIENT, CLIENT_OPTIONS } from "./options.ts";
import { CHAT_COMMANDS, helpLines, usageOf } from "./terminal/commands.ts";

const TABLES: [string, OptionTable][] = [
  ["", CLIENT.options],
  ...Object.entries(CLIENT.commands!).map(([name, { options }]): [string, OptionTable] => [name, options]),
];

Deno.test("help, manual page and completions name every command and option", () => {
  const manual = clientManual().replaceAll("\\-", "-");
  for (const [command, options] of TABLES) {
    const help = helpText(CLIENT, command);
    assertStringIncludes(helpText(CLIENT), command);
    assertStringIncludes(manual, command);
    for (const [name, { env }] of Object.entries(options)) {
      assertStringIncludes(help, `--${name}`);
      assertStringIncludes(manual, `--${name}`);
      if (env) assertStringIncludes(manual, env);
    }
    for (const shell of SHELLS) {
      const script = completionScript(CLIENT, shell);
      assertStringIncludes(script, command);
      for (const name of Object.keys(options)) assertStringIncludes(script, shell === "fish" ? `-l ${name}` : `--${name}`);
    }
  }
});

Deno.test("help and manual page name every command of the chat, and every exit status", () => {
  const manual = clientManual();
  const help = helpLines().join("\n");
  for (const [name, { help: text }] of Object.entries(CHAT_COMMANDS)) {
    assertStringIncludes(help, `/${name}`);
    assertStringIncludes(help, text);
    assertStringIncludes(manual, `/${name}`);
  }
  assertEquals(EXIT_STATUSES.map(([status]) => status), Object.values(EXIT));
});

Deno.test("no name of an environment variable stands for two options", () => {
  const names = new Map<string, string>();
  for (const [, options] of TABLES) {
    for (const [name, { env }] of Object.entries(options)) {
      if (env === undefined) continue;
      assert((names.get(env) ?? name) === name, env);
      names.set(env, name);
    }
  }
});

Deno.test({
  name: "docs/CLIENT.md has the tables as they are",
  ignore: lacks("read"),
  fn: async () => {
    const text = await Deno.readTextFile(new URL("../docs/CLIENT.md", import.meta.url));
    // Only what is said counts, not how wide the columns are.
    const said = (table: string) => table.replace(/[ \t]+/g, " ").replace(/-{2,}/g, "-");
    const chatCommands = Object.entries(CHAT_COMMANDS).map(([name, { help }]) => [`\`${usageOf(name)}\``, help]);
    assertStringIncludes(said(text), said(markdownOptions(CLIENT_OPTIONS)));
    assertStringIncludes(said(text), said(markdownTable(["Command", "Meaning"], chatCommands)));
    for (const [command, options] of TABLES) {
      assertStringIncludes(text, command === "" ? "chat-client" : `### ${command}`);
      for (const name of Object.keys(options)) assertStringIncludes(text, `--${name}`);
    }
    for (const [, meaning] of EXIT_STATUSES) assertStringIncludes(text, meaning);
  },
});
