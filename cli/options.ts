/**
 * The options of a program as a table, and the parser of its command line. `help.ts`, `completions.ts` and `manual.ts` are made
 * from the same tables.
 *
 * A value comes from the command line, else from the environment, else from a file of settings, else it is the default.
 */

import { parseArgs } from "@std/cli/parse-args";
import { nearest } from "./suggest.ts";

/**
 * One option. `env` names its environment variable; `min` and `max` are inclusive. A `limit` is a whole number where 0 means no
 * limit: it is given, and has its default, as 0, and parses to `Infinity`. A `list` takes several values with commas, and on the
 * command line also when it is repeated.
 */
export interface OptionSpec {
  readonly kind: "string" | "integer" | "limit" | "flag" | "list";
  readonly help: string;
  /** The word that stands for the value in the help, in capitals. Default: VALUE. */
  readonly value?: string;
  readonly env?: string;
  readonly short?: string;
  readonly default?: string | number | boolean;
  readonly choices?: readonly string[];
  readonly min?: number;
  readonly max?: number;
  /** Heading of the help under which the option stands. Default: Options. */
  readonly group?: string;
}

/** Options by name, without the dashes. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

/** A command of a program, with options of its own. */
export interface CommandSpec {
  readonly summary: string;
  /** The words that follow the command, as the help shows them; `a|b|c` where they stand for themselves. */
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

/** The values of a table's options: flags and lists always have one, others where they have a default. */
export type Values<T extends OptionTable> = {
  readonly [K in keyof T]: HasValue<T[K]> extends true ? ValueOf<T[K]> : ValueOf<T[K]> | undefined;
};

/** The source of a value. */
export type Origin = "command line" | "environment" | "settings" | "default";

/** A parsed command line. `operands` are the words that are no options. */
export interface Parsed<T extends OptionTable> {
  readonly operands: readonly string[];
  readonly values: Values<T>;
  readonly origins: Readonly<Record<keyof T & string, Origin>>;
}

/** A mistake in a command line, the environment or the settings. The message is one line for people. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** Returns the error for a word that stands where none belongs, in a program with commands. */
export function noCommand({ name, commands = {} }: ProgramSpec, word: string): UsageError {
  if (Object.hasOwn(commands, word)) return new UsageError(`The command comes first: ${name} ${word} ...`);
  const near = word.length > 1 ? nearest(word, Object.keys(commands)) : undefined;
  return new UsageError(
    `There is no command ${JSON.stringify(word)}; ${near ? `did you mean ${near}?` : `see ${name} --help`}`,
  );
}

/** The sources of values beside the command line. */
export interface Surroundings {
  /** Returns the value of an environment variable. Default: none is set. */
  readonly env?: (name: string) => string | undefined;
  /** Values of a settings file by option. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Told of every value that cannot be, whose option has its default then. Without it the first of them is thrown. */
  readonly wrong?: (error: UsageError) => void;
}

// ---- Parsing -----------------------------------------------------------------------------------------------------------------

/** Returns the command that a command line begins with; "" where it begins with none. */
export function commandOf(program: ProgramSpec, args: readonly string[]): string {
  const [first = ""] = args;
  return program.commands && Object.hasOwn(program.commands, first) ? first : "";
}

/** Parses a command line, from which a command has been taken off. Throws nothing but a {@linkcode UsageError}. */
export function parseOptions<const T extends OptionTable>(
  options: T,
  args: readonly string[],
  { env = () => undefined, settings = {}, wrong }: Surroundings = {},
): Parsed<T> {
  const given = scan(options, args);
  const values: Record<string, unknown> = {};
  const origins: Record<string, Origin> = {};
  for (const [name, spec] of Object.entries(options) as [string, OptionSpec][]) {
    const fromEnv = spec.env === undefined ? undefined : env(spec.env) || undefined;
    const onLine = given.values[name];
    const set = (value: unknown, origin: Origin) => [values[name], origins[name]] = [value, origin];
    try {
      if (onLine !== undefined) set(convert(spec, onLine, `--${name}`), "command line");
      else if (fromEnv !== undefined) set(convert(spec, fromEnv, spec.env!), "environment");
      else if (spec.env !== undefined && Object.hasOwn(settings, name)) { // an option without a variable is for one call
        set(convert(spec, settings[name], `"${name}" in the settings`), "settings");
      } else set(defaultOf(spec), "default");
    } catch (error) {
      if (!wrong || !(error instanceof UsageError)) throw error;
      wrong(error);
      set(defaultOf(spec), "default");
    }
  }
  return { operands: given.operands, values: values as Values<T>, origins: origins as Parsed<T>["origins"] };
}

/** Returns the value of an option that is not given. */
function defaultOf({ kind, default: value }: OptionSpec): unknown {
  if (value !== undefined) return kind === "limit" ? Number(value) || Infinity : value;
  return kind === "flag" ? false : kind === "list" ? [] : undefined;
}

/** Separates the words of a command line from the values of its options, as they were typed. */
function scan(options: OptionTable, args: readonly string[]): { operands: string[]; values: Record<string, unknown> } {
  const entries = Object.entries(options);
  const names = (...kinds: OptionSpec["kind"][]) =>
    entries.filter(([, { kind }]) => kinds.includes(kind)).map(([name]) => name);
  const alias = Object.fromEntries(entries.flatMap(([name, { short }]) => short ? [[short, name]] : []));
  const { words, flags } = takeFlags(options, alias, args);
  requireValues(options, alias, words);
  const parsed = parseArgs(words, {
    string: [...names("string", "integer", "limit", "list"), "_"], // "_": an operand "007" is no number
    collect: names("list"),
    alias,
    "--": true,
    unknown(word, key) {
      if (key === undefined || !word.startsWith("-") || word === "-") return true;
      throw new UsageError(unknownOption(word, Object.keys(options)));
    },
  }) as Record<string, unknown> & { _: unknown[]; "--": string[] };
  const values: Record<string, unknown> = { ...flags };
  for (const [name, { kind }] of entries) {
    if (kind === "flag") continue;
    const value = parsed[name];
    const wasGiven = kind !== "list" || (value as unknown[])?.length > 0;
    if (value !== undefined && wasGiven) values[name] = kind !== "list" && Array.isArray(value) ? value.at(-1) : value;
  }
  return { operands: [...parsed._.map(String), ...parsed["--"]], values };
}

/**
 * Takes the flags off a command line, the last of each counting. Left to itself, parseArgs takes a word "true" behind a flag for
 * its value, anything but "false" after `=` for true, and the flag `--no-receipts` for the opposite of a flag `--receipts`.
 */
function takeFlags(
  options: OptionTable,
  alias: Record<string, string>,
  args: readonly string[],
): { words: string[]; flags: Record<string, boolean> } {
  const isFlag = (name: string | undefined): name is string =>
    name !== undefined && Object.hasOwn(options, name) && options[name]!.kind === "flag";
  const flags: Record<string, boolean> = {};
  const end = args.indexOf("--");
  const words = args.slice(0, end < 0 ? args.length : end).flatMap((word) => {
    const [, long, letter, value = "true"] = /^-(?:-([^=]+)|([a-z]))(?:=(.*))?$/is.exec(word) ?? [];
    const name = letter === undefined ? long : alias[letter];
    const negated = name?.startsWith("no-") ? name.slice(3) : undefined;
    if (isFlag(name)) flags[name] = toFlag(value, `--${name}`);
    else if (isFlag(negated)) flags[negated] = !toFlag(value, `--${name}`);
    else return takeLetters(word);
    return [];
  });
  /** Takes flags off the beginning of letters behind one dash. */
  function takeLetters(word: string): string[] {
    if (!/^-[a-z]+$/i.test(word)) return [word];
    const letters = [...word.slice(1)];
    while (isFlag(alias[letters[0]!])) flags[alias[letters.shift()!]!] = true;
    return letters.length === 0 ? [] : [`-${letters.join("")}`];
  }
  return { words: [...words, ...end < 0 ? [] : args.slice(end)], flags };
}

/**
 * Throws for an option without its value: parseArgs would give it the empty string, or take the next option for the value.
 */
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
  const option = word.replace(/=.*/s, "");
  const name = option.replace(/^-+/, "");
  const near = name.length > 1 ? nearest(name, names) : undefined;
  return `There is no option ${JSON.stringify(option)}${near ? `; did you mean --${near}?` : ""}`;
}

function convert(spec: OptionSpec, raw: unknown, where: string): unknown {
  switch (spec.kind) {
    case "flag":
      return toFlag(raw, where);
    case "list":
      return (Array.isArray(raw) ? raw : [raw]).flatMap((entry) => toEntries(spec, entry, where));
    case "integer":
      return toInteger(spec, raw, where);
    case "limit":
      return toInteger(spec, raw, where) || Infinity;
    case "string":
      return toText(spec, raw, where);
  }
}

/** Returns the entries of a list that stand in one text, with commas. */
function toEntries(spec: OptionSpec, raw: unknown, where: string): string[] {
  return toText(spec, raw, where).split(",").map((entry) => toText(spec, entry, where));
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
