/** OPERATIONS.md lists the options that there are, as they are, and names no others. */

import { assert, assertEquals } from "@std/assert";
import type { OptionSpec, OptionTable } from "../cli/options.ts";
import { CHECK_OPTIONS, SERVER } from "../server/options.ts";
import { lacks } from "../testing/permissions.ts";

const ignore = lacks("read");
const text = ignore ? "" : Deno.readTextFileSync(new URL("OPERATIONS.md", import.meta.url));

Deno.test({
  name: "OPERATIONS.md has a row for each option of the server and its commands, with meaning, default and variable",
  ignore,
  fn: () => {
    assertEquals(rowsUnder("## Options"), rowsOf(SERVER.options));
    for (const [name, { operands, options }] of Object.entries(SERVER.commands!)) {
      if (options === CHECK_OPTIONS) continue; // the server's own
      assertEquals(rowsUnder(`### chat-server ${name} ${operands}`.trimEnd()), rowsOf(options));
    }
  },
});

Deno.test({
  name: "OPERATIONS.md names no option and no variable of the server that does not exist",
  ignore,
  fn: () => {
    const tables = [SERVER.options, ...Object.values(SERVER.commands!).map(({ options }) => options)];
    const specs = tables.flatMap((table) => Object.values(table));
    const variables = new Set(specs.map(({ env }) => env));
    const named = [...text.matchAll(/\bPARLEY_[A-Z_]*[A-Z]/g)].map(([name]) => name);
    assert(named.length > 0);
    for (const name of named) assert(variables.has(name), `${name} is no variable of the server`);
    const options = new Set(tables.flatMap((table) => Object.keys(table)));
    const commandLines = [...text.matchAll(/\bchat-server\b[^\n`|>]*/g)].flatMap((
      [line],
    ) => [...line.matchAll(/--([a-z-]+)/g)]);
    const inProse = [...text.matchAll(/`--([a-z-]+)/g)].filter(([, name]) => !OF_THE_CLIENT.has(name!));
    assert(commandLines.length > 0 && inProse.length > 0);
    for (const [, name] of [...commandLines, ...inProse]) assert(options.has(name!), `--${name} is no option of the server`);
  },
});

/** Options of `chat-client` that the page names. */
const OF_THE_CLIENT = new Set(["token-file", "ca"]);

/** The rows of the first table under a heading, cell by cell. */
function rowsUnder(heading: string): string[][] {
  const lines = text.split("\n");
  const start = lines.indexOf(heading);
  assert(start >= 0, `There is no heading "${heading}"`);
  const from = lines.findIndex((line, i) => i > start && line.startsWith("|"));
  const length = lines.slice(from).findIndex((line) => !line.startsWith("|"));
  return lines.slice(from + 2, length < 0 ? undefined : from + length).map((line) =>
    line.slice(1, -1).split("|").map((cell) => cell.trim())
  );
}

function rowsOf(options: OptionTable): string[][] {
  return Object.entries(options).map(([name, option]) => [
    code(`${option.short ? `-${option.short}, ` : ""}--${name}${valueOf(option)}`),
    option.choices ? `${option.help} (${option.choices.join(", ")})` : option.help,
    option.default === undefined || option.default === false ? "" : code(String(option.default)),
    option.env ? code(option.env) : "",
  ]);
}

function valueOf({ kind, value = "VALUE" }: OptionSpec): string {
  return kind === "flag" ? "" : ` ${value}`;
}

function code(text: string): string {
  return `\`${text}\``;
}
