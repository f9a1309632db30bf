import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { helpText } from "./help.ts";
import { commandOf, noCommand, type OptionTable, parseOptions, type ProgramSpec, UsageError } from "./options.ts";

const OPTIONS = {
  host: { kind: "string", value: "HOST", default: "127.0.0.1", env: "APP_HOST", help: "Where it listens" },
  port: { kind: "integer", value: "PORT", default: 8080, min: 0, max: 65_535, env: "APP_PORT", help: "The port" },
  mode: { kind: "string", choices: ["fast", "safe"], help: "How" },
  origin: { kind: "list", value: "URL", env: "APP_ORIGIN", help: "May come several times" },
  quiet: { kind: "flag", short: "q", env: "APP_QUIET", help: "Say less" },
  receipts: { kind: "flag", default: true, help: "Send receipts" },
} as const satisfies OptionTable;
const PROGRAM: ProgramSpec = {
  name: "app",
  summary: "Does things.",
  options: OPTIONS,
  commands: { backup: { summary: "Copies", operands: "FILE", options: { force: { kind: "flag", help: "Overwrite" } } } },
  examples: ["app --port 9000"],
};

function parse(line: string, env: Record<string, string> = {}, settings: Record<string, unknown> = {}) {
  return parseOptions(OPTIONS, line === "" ? [] : line.split(" "), { env: (name) => env[name], settings });
}

function usage(line: string, env: Record<string, string> = {}): string {
  const error = assertThrows(() => parse(line, env), UsageError);
  assert(!error.message.includes("\n"));
  return error.message;
}

Deno.test("noCommand tells a command that stands in the wrong place from one that is none", () => {
  const program = {
    name: "p",
    summary: "",
    options: {},
    commands: { go: { summary: "", operands: "", options: {}, examples: [] } },
  };
  const told = ["go", "gone", "thither"].map((word) => noCommand({ ...program, examples: [] }, word).message);
  assertEquals(told, [
    "The command comes first: p go ...",
    'There is no command "gone"; did you mean go?',
    'There is no command "thither"; see p --help',
  ]);
});

Deno.test("an option's value comes from the line, the environment, the settings, or is the default", () => {
  const env = { APP_PORT: "2" }, settings = { port: 3 };
  assertEquals([parse("--port 1", env, settings).values.port, parse("--port 1", env, settings).origins.port], [
    1,
    "command line",
  ]);
  assertEquals([parse("", env, settings).values.port, parse("", env, settings).origins.port], [2, "environment"]);
  assertEquals([parse("", {}, settings).values.port, parse("", {}, settings).origins.port], [3, "settings"]);
  assertEquals([parse("").values.port, parse("").origins.port], [8080, "default"]);
  assertEquals(parse("", { APP_PORT: "" }).values.port, 8080);
});

Deno.test("a limit of 0, given or by default, is none, and the help says 0", () => {
  const options = {
    most: { kind: "limit", default: 10, env: "APP_MOST", help: "Most; 0 for any" },
    all: { kind: "limit", default: 0, help: "All; 0 for any" },
    some: { kind: "limit", help: "Some" },
  } as const satisfies OptionTable;
  const of = (args: string[], most = "") => parseOptions(options, args, { env: () => most }).values;
  assertEquals(of([]), { most: 10, all: Infinity, some: undefined });
  assertEquals(of(["--most", "0", "--all=7", "--some", "0"]), { most: Infinity, all: 7, some: Infinity });
  assertEquals(of([], "0").most, Infinity);
  assertThrows(() => of(["--most", "-1"]), UsageError, "needs a value");
  assertThrows(() => of(["--most=-1"]), UsageError, "whole number from 0");
  assertStringIncludes(helpText({ name: "app", summary: "", options }), "[default 0]");
});

Deno.test("options take their value after a space or an equals sign, and the last one counts", () => {
  assertEquals(parse("--host a --host=b --port=0").values.host, "b");
  assertEquals(parse("--origin a --origin b").values.origin, ["a", "b"]);
  assertEquals(parse("--origin a,b --origin c").values.origin, ["a", "b", "c"]);
  assertEquals(parse("", { APP_ORIGIN: "a,b" }).values.origin, ["a", "b"]);
  for (const list of ["a,", ",a", "a,,b"]) assertEquals(usage(`--origin ${list}`), "--origin is empty");
});

Deno.test("flags can be switched on, off, and by one letter", () => {
  assertEquals([parse("").values.quiet, parse("--quiet").values.quiet, parse("-q").values.quiet], [false, true, true]);
  assertEquals([parse("").values.receipts, parse("--no-receipts").values.receipts], [true, false]);
  assertEquals(parse("", { APP_QUIET: "1" }).values.quiet, true);
  assertEquals(parse("--no-quiet", { APP_QUIET: "1" }).values.quiet, false);
});

Deno.test("a flag's value is what it says, or an error, and never the word behind it", () => {
  for (
    const [word, value] of [["-q=0", false], ["--quiet=no", false], ["--quiet=0", false], ["--quiet=1", true], [
      "--no-quiet=true",
      false,
    ]]
  ) {
    assertEquals(parse(word as string, { APP_QUIET: "1" }).values.quiet, value, word as string);
  }
  assertEquals(usage("--quiet=maybe"), '--quiet is "maybe"; it can be 1 or 0');
  assertEquals(usage("--quiet="), '--quiet is ""; it can be 1 or 0');
  for (const line of ["--quiet true", "-q true"]) {
    assertEquals([parse(line).values.quiet, parse(line).operands], [true, ["true"]]);
  }
  assertEquals([parse("--no-receipts false").values.receipts, parse("--no-receipts false").operands], [false, ["false"]]);
});

Deno.test("an operand stays as it was typed, also where it looks like a number", () => {
  const words = ["007", "1e3", "0x10", "12345678901234567890", "1.50"];
  assertEquals(parse(words.join(" ")).operands, words);
});

Deno.test("words are operands, and everything after -- is", () => {
  assertEquals(parse("alice --port 1 hi -- --port 2").operands, ["alice", "hi", "--port", "2"]);
  assertEquals(parse("alice -").operands, ["alice", "-"]);
  assertEquals([commandOf(PROGRAM, ["backup", "x"]), commandOf(PROGRAM, ["x"]), commandOf(PROGRAM, [])], ["backup", "", ""]);
});

Deno.test("a wrong command line is one line that names what is wrong", () => {
  assertEquals(usage("--prot 1"), 'There is no option "--prot"; did you mean --port?');
  assertEquals(usage("--zzzzzzzzzz"), 'There is no option "--zzzzzzzzzz"');
  assertEquals(usage("-x"), 'There is no option "-x"');
  assertEquals(usage("--port 80x"), '--port is "80x"; it has to be a whole number from 0 to 65535');
  assertEquals(usage("--port 65536"), '--port is "65536"; it has to be a whole number from 0 to 65535');
  assertEquals(usage("--port=-1"), '--port is "-1"; it has to be a whole number from 0 to 65535');
  assertEquals(usage("--port"), "--port needs a value: --port PORT");
  assertEquals(usage("--port --quiet"), "--port needs a value: --port PORT");
  assertEquals(usage("--host="), "--host is empty");
  assertEquals(usage("--mode slow"), '--mode is "slow"; it can be fast, safe');
  assertEquals(usage("", { APP_PORT: "http" }), 'APP_PORT is "http"; it has to be a whole number from 0 to 65535');
  assertEquals(usage("", { APP_QUIET: "maybe" }), 'APP_QUIET is "maybe"; it can be 1 or 0');
});

Deno.test("any command line gives values or a UsageError", () => {
  const word = fc.oneof(
    fc.string({ maxLength: 8 }),
    fc.constantFrom("--port", "--", "-q", "--no-quiet", "--__proto__", "--origin", "-", "--=x"),
  );
  fc.assert(fc.property(fc.array(word, { maxLength: 6 }), (args) => {
    try {
      const { values } = parseOptions(OPTIONS, args);
      assert(Number.isInteger(values.port) && typeof values.quiet === "boolean" && Array.isArray(values.origin));
    } catch (error) {
      assert(error instanceof UsageError, String(error));
    }
  }));
});

Deno.test("the help names every option with its default and variable, in 80 columns", () => {
  const help = helpText(PROGRAM);
  for (const name of Object.keys(OPTIONS)) assertStringIncludes(help, `--${name}`);
  for (const word of ["APP_PORT", "default 8080", "fast, safe", "backup FILE", "app --port 9000"]) {
    assertStringIncludes(help, word);
  }
  for (const line of help.split("\n")) assert(line.length <= 80, line);
  assertStringIncludes(helpText(PROGRAM, "backup"), "--force");
});
