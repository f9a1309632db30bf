/** Commands that the documents tell people to type are what the programs take, and the files that they name are there. */

import { assert, assertEquals } from "@std/assert";
import { CLIENT } from "../client/options.ts";
import { commandOf, parseOptions, type ProgramSpec } from "../cli/options.ts";
import { SERVER } from "../server/options.ts";
import { lacks } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);
const ignore = lacks("read");

Deno.test({
  name: "command lines in the documents and in the help are ones that the programs take",
  ignore,
  async fn() {
    const documents = (await Promise.all(["README.md", "docs/OPERATIONS.md"].map(read))).join("\n");
    const blocks = [...documents.matchAll(/```sh\n(.*?)```/gs)].flatMap(([, block]) => block!.split("\n"));
    const lines = [...blocks, ...SERVER.examples ?? []].map((line) => line.replace(/ (?:#| {3}).*/, ""));
    for (const program of [SERVER, CLIENT]) {
      // Without what runs it, and what a shell does with its output.
      const called = new RegExp(String.raw`(?:^|[|(;"\s]|\./)${program.name} ([^|>);]*)`);
      const ofProgram = lines.flatMap((line) => called.exec(line)?.[1] ?? []).filter((words) => words.includes("--"));
      assert(ofProgram.length >= 3, `${program.name}: ${ofProgram.length}`);
      for (const words of ofProgram) parse(program, words.split(" ").filter((word) => word !== "" && word !== "\\"));
    }
  },
});

Deno.test({
  name: "options and variables that README and SECURITY name are there",
  ignore,
  async fn() {
    const tables = [SERVER, CLIENT].flatMap(({ options, commands }) => [
      options,
      ...Object.values(commands ?? {}).map((command) => command.options),
    ]);
    const names = new Set(tables.flatMap((table) => Object.keys(table)));
    const variables = new Set(tables.flatMap((table) => Object.values(table).map(({ env }) => env)));
    for (const file of ["README.md", "SECURITY.md"]) {
      const text = await read(file);
      for (const [, name] of text.matchAll(/`--([a-z][a-z-]+)/g)) {
        assert(names.has(name!) || name === "standalone", `${file} names --${name}`);
      }
      for (const [name] of text.matchAll(/PARLEY_[A-Z_]+/g)) assert(variables.has(name), `${file} names ${name}`);
    }
  },
});

Deno.test({
  name: "links of OPERATIONS and SECURITY lead somewhere, and the files that they name are there",
  ignore,
  async fn() {
    const missing: string[] = [];
    for (const file of ["SECURITY.md", "docs/OPERATIONS.md"]) {
      const text = await read(file);
      const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)/g)].map((match) => new URL(match[1]!, new URL(file, ROOT)));
      const named = [...text.matchAll(/`([\w/]+\.ts)`/g)].map((match) => new URL(match[1]!, ROOT));
      for (const url of [...links, ...named]) await Deno.stat(url).catch(() => missing.push(`${file}: ${url.pathname}`));
    }
    assertEquals(missing, []);
  },
});

/** Throws for a command line that the program does not take. */
function parse(program: ProgramSpec, words: readonly string[]): void {
  const command = commandOf(program, words);
  const { options } = command === "" ? program : program.commands![command]!;
  parseOptions(options, command === "" ? words : words.slice(1));
}

async function read(file: string): Promise<string> {
  return await Deno.readTextFile(new URL(file, ROOT));
}
