import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { manualPage, markdownOptions } from "./manual.ts";
import type { ProgramSpec } from "./options.ts";

const PROGRAM: ProgramSpec = {
  name: "app",
  summary: "App 1.0: does things.",
  options: {
    port: { kind: "integer", short: "p", value: "PORT", default: 80, env: "APP_PORT", help: "The port" },
    mode: { kind: "string", choices: ["fast", "safe"], help: "The manner" },
  },
};
const PARTS = {
  source: "App 1.0",
  name: "does things",
  description: ".dots do no harm",
  sections: [{ heading: "Exit status", entries: [["0", "All is well"]] as const }],
};

Deno.test("the manual page has the program's options and the sections that are handed in, and nothing else", () => {
  const page = manualPage(PROGRAM, PARTS);
  for (const line of ['.TH APP 1 "" "App 1.0" "User Commands"', "app \\- does things", "\\&.dots do no harm"]) {
    assertStringIncludes(page, `${line}\n`);
  }
  assertStringIncludes(page, "\\fB\\-p, \\-\\-port PORT\\fR\nThe port (default 80; environment APP_PORT).\n");
  assertStringIncludes(page, "The manner (one of fast, safe).\n");
  assertStringIncludes(page, ".SH EXIT STATUS\n.TP\n\\fB0\\fR\nAll is well\n");
  assert(!page.includes("COMMAND") && !page.includes("EXAMPLES"));
});

Deno.test("a command in the manual page has the options that the program has not, or means otherwise", () => {
  const { port, mode } = PROGRAM.options as Required<typeof PROGRAM.options>;
  const options = {
    port: port!,
    mode: { ...mode!, help: "Another manner" },
    force: { kind: "flag", help: "Overwrite" },
  } as const;
  const page = manualPage({ ...PROGRAM, commands: { copy: { summary: "Copies", operands: "FILE", options } } }, PARTS);
  const [, ofCommand] = page.split(".SS copy FILE\nCopies.\n") as [string, string];
  assertStringIncludes(ofCommand, "Another manner");
  assertStringIncludes(ofCommand, "\\-\\-force");
  assert(!ofCommand.includes("port"));
});

Deno.test("a table in Markdown has a row for each option", () => {
  assertEquals(markdownOptions(PROGRAM.options).split("\n"), [
    "| Option            | Meaning                 | Default | Environment |",
    "| ----------------- | ----------------------- | ------- | ----------- |",
    "| `-p, --port PORT` | The port                | `80`    | `APP_PORT`  |",
    "| `--mode VALUE`    | The manner (fast, safe) |         |             |",
  ]);
});
