/** Credentials: `chat-server token` and `chat-server keys`, and reading the files of keys. */

import { decodeText } from "../auth/text.ts";
import { KeyError, makeKeys, makeToken } from "../auth/tokens.ts";
import { type CommandSpec, type OptionTable, UsageError, type Values } from "../cli/options.ts";
import { reasonOf } from "../ops/log.ts";
import { parseName, Refusal } from "../protocol.ts";

/** Seconds of a day. */
const DAY_S = 86_400;
const HELP = { kind: "flag", short: "h", help: "Show this help" } as const;

/** Options of `chat-server token`. */
export const TOKEN_OPTIONS = {
  name: { kind: "string", value: "NAME", help: "User that the token is for" },
  days: { kind: "integer", value: "DAYS", default: 30, min: 1, max: 3_650, help: "Days until it expires" },
  admin: { kind: "flag", help: "Let the user list and disconnect users" },
  out: { kind: "string", value: "FILE", help: "File to write it to, for its owner alone, instead of printing it" },
  "jwt-secret-file": { kind: "string", value: "FILE", env: "PARLEY_JWT_SECRET_FILE", help: "The server's HS256 secret" },
  "jwt-private-key": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_JWT_PRIVATE_KEY",
    help: "Private key (PEM), such as chat-server keys makes",
  },
  "jwt-audience": { kind: "string", value: "TEXT", env: "PARLEY_JWT_AUDIENCE", help: "Audience (aud) of the token" },
  "jwt-issuer": { kind: "string", value: "TEXT", env: "PARLEY_JWT_ISSUER", help: "Issuer (iss) of the token" },
  help: HELP,
} as const satisfies OptionTable;

/** Options of `chat-server keys`. */
export const KEYS_OPTIONS = {
  out: { kind: "string", value: "DIR", default: ".", help: "Folder for private.pem and public.pem" },
  help: HELP,
} as const satisfies OptionTable;

/** The commands `token` and `keys`. */
export const CREDENTIAL_COMMANDS = {
  token: {
    summary: "Make a token that somebody logs in with",
    operands: "",
    options: TOKEN_OPTIONS,
    examples: ["chat-server token --name alice --jwt-secret-file secret --out alice.token"],
  },
  keys: {
    summary: "Make a key pair: the private one makes tokens, the server needs only the public one",
    operands: "",
    options: KEYS_OPTIONS,
    examples: ["chat-server keys --out keys", "chat-server --jwt-public-key keys/public.pem"],
  },
} as const satisfies Record<string, CommandSpec>;

/**
 * Makes a token; returns it, or with `--out` where it was written. `note` takes a line for people that is no part of that. Throws
 * {@linkcode UsageError} and {@linkcode KeyError}.
 */
export async function tokenCommand(values: Values<typeof TOKEN_OPTIONS>, note: (line: string) => void): Promise<string> {
  if (values.name === undefined) throw new UsageError("token needs --name NAME");
  const name = parseName(values.name, "--name");
  if (name instanceof Refusal) throw new UsageError(name.message);
  const secretFile = values["jwt-secret-file"], keyFile = values["jwt-private-key"];
  if ((secretFile === undefined) === (keyFile === undefined)) {
    throw new UsageError("token needs one of --jwt-secret-file FILE and --jwt-private-key FILE");
  }
  const audience = values["jwt-audience"], issuer = values["jwt-issuer"];
  const [option, file] = secretFile === undefined
    ? ["jwt-private-key", keyFile!] as const
    : ["jwt-secret-file", secretFile] as const;
  const text = readKey(file);
  const { token, id } = await withFile(option, file, () =>
    makeToken({
      name,
      seconds: values.days * DAY_S,
      admin: values.admin,
      ...(secretFile === undefined ? { privateKey: text } : { secret: text }),
      ...(audience === undefined ? {} : { audience }),
      ...(issuer === undefined ? {} : { issuer }),
    }));
  note(`The token's id, which --revoked takes: ${id}`);
  if (values.out === undefined) return token;
  replace(values.out, token + "\n");
  return `The token of ${name} is in ${values.out}, for ${values.days} ${values.days === 1 ? "day" : "days"}`;
}

/** Writes a new pair and returns where. Throws {@linkcode KeyError}. */
export async function keysCommand({ out }: Values<typeof KEYS_OPTIONS>): Promise<string> {
  const { privateKey, publicKey } = await makeKeys();
  const files = [[`${out}/private.pem`, privateKey], [`${out}/public.pem`, publicKey]] as const;
  try {
    Deno.mkdirSync(out, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new KeyError(`Cannot make the folder ${out}: ${whyNot(error)}`);
  }
  // Both or none: a private key beside the public key of another pair makes tokens that nobody takes.
  for (const [file] of files) requireNone(file);
  for (const [file, pem] of files) write(file, pem);
  return `${out}/private.pem makes tokens: keep it to yourself\n${out}/public.pem is for the server: chat-server --jwt-public-key ${out}/public.pem`;
}

/** Reads a file with a key, as text without a byte order mark. Throws {@linkcode KeyError}. */
export function readKey(file: string): string {
  try {
    return decodeText(Deno.readFileSync(file));
  } catch (error) {
    throw new KeyError(`Cannot read ${file}: ${whyNot(error)}`);
  }
}

/** Uses what is in the file of an option; a `KeyError` of that names both. */
export async function withFile<T>(option: string, file: string, use: () => T | Promise<T>): Promise<T> {
  try {
    return await use();
  } catch (error) {
    throw error instanceof KeyError ? new KeyError(`--${option} ${file}: ${error.message}`) : error;
  }
}

function requireNone(file: string): void {
  try {
    Deno.lstatSync(file);
  } catch {
    return;
  }
  throw alreadyThere(file);
}

function write(file: string, text: string): void {
  try {
    Deno.writeTextFileSync(file, text, { createNew: true, mode: 0o600 });
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw alreadyThere(file);
    throw new KeyError(`Cannot write ${file}: ${whyNot(error)}`);
  }
}

/** Replaces a file, for its owner alone. Throws {@linkcode KeyError}. Tokens are renewed, so one may be there; whoever could read that one cannot read this one. */
export function replace(file: string, text: string): void {
  const next = `${file}.${crypto.randomUUID()}`;
  write(next, text);
  try {
    Deno.renameSync(next, file);
  } catch (error) {
    Deno.removeSync(next);
    throw new KeyError(`Cannot write ${file}: ${whyNot(error)}`);
  }
}

function alreadyThere(file: string): KeyError {
  return new KeyError(`${file} is there already; remove it or choose another folder`);
}

function whyNot(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "there is no such file";
  if (error instanceof Deno.errors.PermissionDenied) return "this user may not";
  return reasonOf(error);
}
