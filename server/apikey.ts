/** `chat-server apikey`: makes keys of backends, and lists them. */

import {
  type ApiKey,
  KEY_BURST,
  KEY_RATE,
  lineOf,
  makeSecret,
  parseApiKeys,
  parsePatterns,
  readApiKeys,
  type Scope,
  SCOPES,
} from "../auth/api_keys.ts";
import { KeyError } from "../auth/tokens.ts";
import { type CommandSpec, type OptionTable, UsageError, type Values } from "../cli/options.ts";
import { reasonOf } from "../ops/log.ts";
import { parseName, Refusal } from "../protocol.ts";
import { readKey, replace } from "./credentials.ts";

const PATTERNS = { kind: "list", value: "NAMES", group: "Scopes (NAME, BEGINNING* or *; can be repeated)" } as const;

/** Options of `chat-server apikey`. */
export const APIKEY_OPTIONS = {
  name: { kind: "string", value: "NAME", help: "Name of the key, by which logs call it" },
  "api-keys": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_API_KEYS",
    help: "File that its line is added to; without it the line is printed",
  },
  out: { kind: "string", value: "FILE", help: "File to write the secret to, for its owner alone, instead of printing it" },
  list: { kind: "flag", help: "List the keys of the file, without making one" },
  rate: { kind: "limit", value: "N", default: KEY_RATE, help: "Requests and messages per second; 0 for any number" },
  burst: { kind: "integer", value: "N", default: KEY_BURST, min: 1, help: "Requests and messages at once" },
  write: { ...PATTERNS, help: "Users as whom it may write, and act in groups" },
  read: { ...PATTERNS, help: "Users whose conversations it may read" },
  users: { ...PATTERNS, help: "Users whom it may create and look up" },
  moderate: { ...PATTERNS, help: "Users whom it may disconnect and revoke" },
  erase: { ...PATTERNS, help: "Users whom it may erase, with what they wrote" },
  groups: { ...PATTERNS, help: "Groups that it may create, look into and change" },
  tokens: { ...PATTERNS, help: "Users for whom it may make tokens" },
  stats: { kind: "flag", group: PATTERNS.group, help: "Let it see the server's counts" },
  help: { kind: "flag", short: "h", group: "Other", help: "Show this help" },
} as const satisfies OptionTable;

/** The command `apikey`. */
export const APIKEY_COMMANDS = {
  apikey: {
    summary: "Make a key with which a backend uses the HTTP API, or list them",
    operands: "",
    options: APIKEY_OPTIONS,
    examples: [
      "chat-server apikey --name shop --api-keys api.keys --out shop.key --write 'shop,order-*' --read shop",
      "chat-server apikey --list --api-keys api.keys",
    ],
  },
} as const satisfies Record<string, CommandSpec>;

/**
 * Makes a key; returns its secret, or with `--out` where it was written. `note` takes lines for people that are no part of that.
 * Throws {@linkcode UsageError} and {@linkcode KeyError}.
 */
export function apikeyCommand(values: Values<typeof APIKEY_OPTIONS>, note: (line: string) => void): string {
  const file = values["api-keys"];
  if (values.list) {
    if (file === undefined) throw new UsageError("apikey --list needs --api-keys FILE");
    return listOf(named(file, () => readApiKeys(file)));
  }
  if (values.name === undefined) throw new UsageError("apikey needs --name NAME, or --list");
  const name = parseName(values.name, "--name");
  if (name instanceof Refusal) throw new UsageError(name.message);
  const secret = makeSecret();
  const line = lineOf({ name, rate: values.rate, burst: values.burst, scopes: scopesOf(values) }, secret);
  // A secret that was there is not overwritten before it is certain that the new one counts.
  const before = file === undefined ? "" : checkedFile(file, line);
  if (values.out !== undefined) replace(values.out, `${secret}\n`);
  if (file !== undefined) append(file, before, line);
  note(
    file === undefined
      ? `A line for the file of --api-keys:\n${line}`
      : `The key ${name} is in ${file}; a server that uses it reads it by itself`,
  );
  return values.out === undefined ? secret : `The secret of ${name} is in ${values.out}; it is nowhere else`;
}

function scopesOf(values: Values<typeof APIKEY_OPTIONS>): Map<Scope, readonly string[]> {
  const scopes = new Map<Scope, readonly string[]>();
  for (const scope of Object.keys(SCOPES) as Scope[]) {
    const given = scope === "stats" ? (values.stats ? ["*"] : []) : values[scope];
    try {
      if (given.length > 0) scopes.set(scope, parsePatterns(scope, given));
    } catch (error) {
      throw error instanceof KeyError ? new UsageError(`--${scope} ${error.message}`) : error;
    }
  }
  if (scopes.size === 0) throw new UsageError("apikey needs a scope, such as --write NAME: a key without one may do nothing");
  return scopes;
}

/** Returns the text of a file of keys, "" where there is none. Throws {@linkcode KeyError} where a line cannot be added to it. */
function checkedFile(file: string, line: string): string {
  const before = exists(file) ? readKey(file) : "";
  named(file, () => parseApiKeys(`${before}\n${line}`));
  return before;
}

/** Adds a line to a file, whose owner and mode stay: the server may be another user. A new one is for its owner alone. */
function append(file: string, before: string, line: string): void {
  const text = before === "" || before.endsWith("\n") ? `${line}\n` : `\n${line}\n`;
  try {
    // The mode would be set on a file that is there, too.
    Deno.writeTextFileSync(file, text, exists(file) ? { append: true } : { createNew: true, mode: 0o600 });
  } catch (error) {
    throw new KeyError(`Cannot write ${file}: ${reasonOf(error)}`);
  }
}

function exists(file: string): boolean {
  try {
    Deno.statSync(file);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw new KeyError(`Cannot read ${file}: ${reasonOf(error)}`);
  }
}

/** Names the file in a {@linkcode KeyError} about what is in it. */
function named<T>(file: string, use: () => T): T {
  try {
    return use();
  } catch (error) {
    throw error instanceof KeyError ? new KeyError(`${file}: ${error.message}`) : error;
  }
}

function listOf(keys: readonly ApiKey[]): string {
  if (keys.length === 0) return "There are no keys";
  return keys.map(({ name, rate, burst, scopes }) => {
    const limits = rate === Infinity ? "any rate" : `${rate}/s, ${burst} at once`;
    return [name, limits, ...[...scopes].map(([scope, patterns]) => `${scope}=${patterns.join(",")}`)].join("  ");
  }).join("\n");
}
