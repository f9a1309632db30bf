/**
 * The options of a program as a table, and everything made from it: parsing, environment variables, help.
 *
 * A value comes from the command line, else from the environment, else from a file of settings, else it is the default.
 */

import { parseArgs } from "@std/cli/parse-args";
import { closestString } from "@std/text/closest-string";

/** Columns of a help text: what fits an ordinary terminal. */
const HELP_COLUMNS = 80;

/**
 * One option. `env` names its environment variable; `value` stands for the value in the help. A `limit` is a whole number where 0
 * means no limit: it is given, and has its default, as 0, and parses to `Infinity`.
 */
export interface OptionSpec {
  readonly kind: "string" | "integer" | "limit" | "flag" | "list";
  readonly help: string;
  readonly value?: string;
  readonly env?: string;
  readonly short?: string;
  readonly default?: string | number | boolean;
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  /** The heading it stands under in the help. */
  readonly group?: string;
}

/** Options by name, without the dashes. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** A command of a program: its own options, and the words that follow it. */
export interface CommandSpec {
  readonly summary: string;
  /** The words after the command, as the help shows them. */
  readonly operands: string;
  readonly options: OptionTable;
  readonly examples?: readonly string[];
}

/** A program with its options and commands. */
export interface ProgramSpec {
  readonly name: string;
  readonly summary: string;
  readonly options: OptionTable;
  readonly commands?: Readonly<Record<string, CommandSpec>>;
  readonly examples?: readonly string[];
}

type ValueOf<S extends OptionSpec> = S["kind"] extends "integer" | "limit" ? number : S["kind"] extends "flag" ? boolean
: S["kind"] extends "list" ? string[]
: string;
type HasValue<S extends OptionSpec> = S["kind"] extends "flag" | "list" ? true
  : S extends { readonly default: unknown } ? true
  : false;

/** What parsing gives for a table: flags and lists always have a value, others where they have a default. */
export type Values<T extends OptionTable> = {
  readonly [K in keyof T]: HasValue<T[K]> extends true ? ValueOf<T[K]> : ValueOf<T[K]> | undefined;
};

/** Where a value came from. */
export type Origin = "command line" | "environment" | "settings" | "default";

/** A parsed command line. `command` is "" for none. */
export interface Parsed<T extends OptionTable> {
  readonly command: string;
  readonly operands: readonly string[];
  readonly values: Values<T>;
  readonly origins: Readonly<Record<keyof T & string, Origin>>;
}

/** What is wrong with a command line: one line for people. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** What is wrong with a word that stands where none belongs, of a program with commands. */
export function noCommand({ name, commands = {} }: ProgramSpec, word: string): UsageError {
  if (Object.hasOwn(commands, word)) return new UsageError(`The command comes first: ${name} ${word} ...`);
  const near = nearWord(word, Object.keys(commands));
  return new UsageError(
    `There is no command ${JSON.stringify(word)}; ${near ? `did you mean ${near}?` : `see ${name} --help`}`,
  );
}

/** What options may be set by, beside the command line. */
export interface Surroundings {
  /** The value of an environment variable. Default: none is set. */
  readonly env?: (name: string) => string | undefined;
  /** Values of a settings file by option. */
  readonly settings?: Readonly<Record<string, unknown>>;
}

// ---- Parsing -----------------------------------------------------------------------------------------------------------------

/** Which command a command line names: its first word that is one, where no option came before it. */
export function commandOf(program: ProgramSpec, args: readonly string[]): string {
  const [first = ""] = args;
  return program.commands && Object.hasOwn(program.commands, first) ? first : "";
}

/** Parses a command line by `options`; `command` was taken off it already. Throws {@linkcode UsageError} alone. */
export function parseOptions<const T extends OptionTable>(
  options: T,
  args: readonly string[],
  { env = () => undefined, settings = {} }: Surroundings = {},
  command = "",
): Parsed<T> {
  const given = scan(options, args);
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  for (const [name, spec] of Object.entries(options) as [string, OptionSpec][]) {
    const fromEnv = spec.env === undefined ? undefined : env(spec.env) || undefined;
    const onLine = given.values[name];
    if (onLine !== undefined) [values[name], origins[name]] = [convert(spec, onLine, `--${name}`), "command line"];
    else if (fromEnv !== undefined) [values[name], origins[name]] = [convert(spec, fromEnv, spec.env!), "environment"];
    else if (spec.env !== undefined && Object.hasOwn(settings, name)) { // what has no variable is for one call
      [values[name], origins[name]] = [convert(spec, settings[name], `"${name}" in the settings`), "settings"];
    } else [values[name], origins[name]] = [defaultOf(spec), "default"];
  }
  return { command, operands: given.operands, values: values as Values<T>, origins: origins as Parsed<T>["origins"] };
}

function defaultOf({ kind, default: value }: OptionSpec): unknown {
  if (value !== undefined) return kind === "limit" ? Number(value) || Infinity : value;
  return kind === "flag" ? false : kind === "list" ? [] : undefined;
}

/** The words and the raw values on a command line. */
function scan(options: OptionTable, args: readonly string[]): { operands: string[]; values: Record<string, unknown> } {
  const entries = Object.entries(options);
  const names = (...kinds: OptionSpec["kind"][]) =>
    entries.filter(([, { kind }]) => kinds.includes(kind)).map(([name]) => name);
  const alias = Object.fromEntries(entries.flatMap(([name, { short }]) => short ? [[short, name]] : []));
  const words = spellOutFlags(options, alias, args);
  requireValues(options, alias, words);
  const parsed = parseArgs(words, {
    string: [...names("string", "integer", "limit", "list"), "_"], // "_": an operand "007" is no number
    boolean: names("flag"),
    collect: names("list"),
    alias,
    "--": true,
    unknown(word, key) {
      if (key === undefined || !word.startsWith("-") || word === "-") return true;
      throw new UsageError(unknownOption(word, Object.keys(options)));
    },
  }) as Record<string, unknown> & { _: unknown[]; "--": string[] };
  const values: Record<string, unknown> = {};
  for (const [name, { kind }] of entries) {
    const value = parsed[name];
    const wasGiven = kind === "flag"
      ? words.includes(`--${name}=true`) || words.includes(`--${name}=false`)
      : kind === "list"
      ? (value as unknown[])?.length > 0
      : true;
    if (value !== undefined && wasGiven) values[name] = kind !== "list" && Array.isArray(value) ? value.at(-1) : value;
  }
  return { operands: [...parsed._.map(String), ...parsed["--"]], values };
}

/**
 * The words with every flag as `--flag=true` or `--flag=false`: left to itself, parseArgs takes a word "true" behind a flag for its
 * value, and anything but "false" after `=` for true.
 */
function spellOutFlags(options: OptionTable, alias: Record<string, string>, args: readonly string[]): string[] {
  const isFlag = (name: string | undefined) =>
    name !== undefined && Object.hasOwn(options, name) && options[name]!.kind === "flag";
  const end = args.indexOf("--");
  const words = args.slice(0, end < 0 ? args.length : end).flatMap((word) => {
    const [, long, letter, value = "true"] = /^-(?:-([^=]+)|([a-z]))(?:=(.*))?$/is.exec(word) ?? [];
    const name = letter === undefined ? long : alias[letter];
    if (isFlag(name)) return [`--${name}=${toFlag(value, `--${name}`)}`];
    const negated = name?.startsWith("no-") ? name.slice(3) : undefined;
    if (isFlag(negated)) return [`--${negated}=${!toFlag(value, `--${name}`)}`];
    if (!/^-[a-z]+$/i.test(word)) return [word];
    const letters = [...word.slice(1)];
    const others = letters.findIndex((letter) => !isFlag(alias[letter]));
    const flags = others < 0 ? letters : letters.slice(0, others);
    const rest = letters.slice(flags.length).join("");
    return [...flags.map((letter) => `--${alias[letter]}=true`), ...rest === "" ? [] : [`-${rest}`]];
  });
  return [...words, ...end < 0 ? [] : args.slice(end)];
}

/** parseArgs gives an option without a value the empty string, and takes the next option for the value of the one before. */
function requireValues(options: OptionTable, alias: Record<string, string>, args: readonly string[]): void {
  for (const [index, arg] of args.entries()) {
    if (arg === "--") return;
    const [, dashes, word] = /^(--?)([a-z][a-z0-9-]*)$/i.exec(arg) ?? [];
    const name = dashes === "-" ? alias[word!] : word;
    if (name === undefined || !Object.hasOwn(options, name)) continue;
    const { kind, value = "VALUE" } = options[name]!;
    const next = args[index + 1];
    if (kind !== "flag" && (next === undefined || /^-./.test(next))) {
      throw new UsageError(`--${name} needs a value: --${name} ${value}`);
    }
  }
}

function unknownOption(word: string, names: readonly string[]): string {
  const near = nearWord(word.replace(/^-+/, "").replace(/=.*/s, ""), names);
  return `There is no option ${JSON.stringify(word.replace(/=.*/s, ""))}${near ? `; did you mean --${near}?` : ""}`;
}

/** Returns which of `names` a word may have been meant for; undefined where none is near. */
export function nearWord(word: string, names: readonly string[]): string | undefined {
  const near = word.length > 1 && names.length > 0 ? closestString(word, [...names]) : undefined;
  return near !== undefined && (near.startsWith(word) || distanceAtMost(near, word)) ? near : undefined;
}

/** Whether two words share most of their letters: near enough to be a slip. */
function distanceAtMost(a: string, b: string): boolean {
  const shared = [...b].filter((letter) => a.includes(letter)).length;
  return Math.abs(a.length - b.length) <= 2 && shared >= b.length - 2;
}

function convert(spec: OptionSpec, raw: unknown, where: string): unknown {
  switch (spec.kind) {
    case "flag":
      return toFlag(raw, where);
    case "list":
      return (Array.isArray(raw) ? raw : String(raw).split(",")).map((entry) => toText(spec, entry, where));
    case "integer":
      return toInteger(spec, raw, where);
    case "limit":
      return toInteger(spec, raw, where) || Infinity;
    case "string":
      return toText(spec, raw, where);
  }
}

function toText(spec: OptionSpec, raw: unknown, where: string): string {
  if (typeof raw !== "string") throw new UsageError(`${where} is not text`);
  if (raw === "") throw new UsageError(`${where} is empty`);
  if (spec.choices && !spec.choices.includes(raw)) {
    throw new UsageError(`${where} is ${JSON.stringify(raw)}; it can be ${spec.choices.join(", ")}`);
  }
  return raw;
}

function toInteger({ min = 0, max = Number.MAX_SAFE_INTEGER }: OptionSpec, raw: unknown, where: string): number {
  const text = String(raw);
  const value = /^-?\d+$/.test(text) ? Number(text) : NaN;
  if (value >= min && value <= max) return value;
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min}` : `from ${min} to ${max}`;
  throw new UsageError(`${where} is ${JSON.stringify(text)}; it has to be a whole number ${range}`);
}

function toFlag(raw: unknown, where: string): boolean {
  if (typeof raw === "boolean") return raw;
  if (raw === "1" || raw === "true" || raw === "yes") return true;
  if (raw === "0" || raw === "false" || raw === "no") return false;
  throw new UsageError(`${where} is ${JSON.stringify(raw)}; it can be 1 or 0`);
}

// ---- Help --------------------------------------------------------------------------------------------------------------------

/** The help of a program, or of one of its commands. */
export function helpText(program: ProgramSpec, command = ""): string {
  const spec = command === "" ? undefined : program.commands?.[command];
  const lines = spec ? commandHead(program, command, spec) : programHead(program);
  for (const [group, options] of grouped(spec?.options ?? program.options)) {
    lines.push("", `${group}:`, ...options.flatMap(([name, option]) => optionLines(name, option)));
  }
  const examples = (spec ?? program).examples ?? [];
  if (examples.length > 0) lines.push("", "Examples:", ...examples.map((example) => `  ${example}`));
  return lines.join("\n");
}

function programHead({ name, summary, commands = {} }: ProgramSpec): string[] {
  const rows = Object.entries(commands);
  const width = Math.max(0, ...rows.map(([word, { operands }]) => `${word} ${operands}`.length)) + 2;
  const listed = rows.flatMap(([word, { summary, operands }]) =>
    columns(`${word} ${operands}`.trim(), summary, Math.min(width, 34))
  );
  const usage = [`Usage: ${name} [OPTIONS]`, ...rows.length > 0 ? [`       ${name} COMMAND [OPTIONS]`] : []];
  return [summary, "", ...usage, ...listed.length > 0 ? ["", "Commands:", ...listed] : []];
}

function commandHead({ name }: ProgramSpec, command: string, { summary, operands }: CommandSpec): string[] {
  return [summary, "", `Usage: ${name} ${command} ${operands} [OPTIONS]`.replace(/ {2,}/g, " ")];
}

function grouped(options: OptionTable): Map<string, [string, OptionSpec][]> {
  return Map.groupBy(Object.entries(options), ([, { group }]) => group ?? "Options");
}

function optionLines(name: string, option: OptionSpec): string[] {
  const left = `${option.short ? `-${option.short}, ` : ""}--${name}${
    option.kind === "flag" ? "" : ` ${option.value ?? "VALUE"}`
  }`;
  const notes = [
    ...option.choices ? [`${option.choices.join(", ")}`] : [],
    ...option.default === undefined || option.default === false ? [] : [`default ${option.default}`],
    ...option.env ? [option.env] : [],
  ];
  return columns(left, notes.length > 0 ? `${option.help} [${notes.join("; ")}]` : option.help, 30);
}

/** Two columns: the right one is wrapped, and begins on a line of its own where the left one is too wide. */
function columns(left: string, right: string, width: number): string[] {
  const indent = " ".repeat(width + 2);
  const lines: string[] = [];
  let line = `  ${left}`.padEnd(width + 2);
  if (left.length >= width) {
    lines.push(line);
    line = indent;
  }
  for (const word of right.split(" ")) {
    if (line.trim() !== "" && line.length > indent.length && line.length + 1 + word.length > HELP_COLUMNS) {
      lines.push(line.trimEnd());
      line = indent;
    }
    line += line.length === indent.length ? word : ` ${word}`;
  }
  return [...lines, line.trimEnd()];
}
