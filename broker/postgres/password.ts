/** Passwords: of the address, of a file of its own, or of a file like libpq's. A file is read at each new connection. */

import { BrokerError, reasonOf } from "../errors.ts";
import type { Host } from "./host.ts";

/** Fields of a line of such a file. */
const FIELDS = 5;
/** Bits of a file's mode by which others than its owner may use it. */
const OTHERS = 0o077;

/** Places of a password, the first one that there is. */
export interface PasswordOptions {
  /** File whose first line is the password. */
  readonly passwordFile: string | undefined;
  /** The one in the address; "" for none. */
  readonly password: string;
  /** File of passwords as libpq has it: `host:port:database:user:password` in each line. */
  readonly passFile: string | undefined;
}

/** Reads the password for a host: "" where there is none. Throws {@linkcode BrokerError} in words for operators. */
export function readPassword(
  { passwordFile, password, passFile }: PasswordOptions,
  host: Host,
  { user, database }: { readonly user: string; readonly database: string },
): string {
  if (passwordFile !== undefined) return firstLineOf(passwordFile);
  if (password !== "" || passFile === undefined) return password;
  const text = readFile(passFile), { mode } = Deno.statSync(passFile);
  if (mode !== null && (mode & OTHERS) !== 0) {
    throw new BrokerError(`${passFile} can be read by others; make it yours alone: chmod 600 ${passFile}`);
  }
  return passwordOf(text, host, database, user);
}

function firstLineOf(file: string): string {
  const [line] = readFile(file).split(/\r?\n/);
  if (!line) throw new BrokerError(`${file} has no password in its first line`);
  return line;
}

/** Reads a file that the operator names. Throws {@linkcode BrokerError}. */
export function readFile(file: string): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    throw new BrokerError(`Cannot read ${file}: ${reasonOf(error)}`);
  }
}

/** Returns the password of the first line that fits, or "", by the rules of libpq. Pure. */
export function passwordOf(text: string, { host, port, path }: Host, database: string, user: string): string {
  // A socket is "localhost", and also the folder that it is in.
  const places = path === undefined ? [host] : ["localhost", path.replace(/\/[^/]*$/, "")];
  for (const line of text.split(/\r?\n/)) {
    if (line.startsWith("#")) continue;
    const fields = fieldsOf(line);
    if (fields.length < FIELDS) continue;
    const [place, ...rest] = fields as [string, string, string, string, string];
    const isHere = places.some((one) => fits(place, one));
    if (isHere && [String(port), database, user].every((value, i) => fits(rest[i]!, value))) return unescape(rest[3]);
  }
  return "";
}

function fits(pattern: string, value: string): boolean {
  return pattern === "*" || unescape(pattern) === value;
}

/** Splits a line at its colons, but for those after a backslash; backslashes stay. */
function fieldsOf(line: string): string[] {
  const fields = [""];
  for (let i = 0; i < line.length; i++) {
    if (line[i] === ":") fields.push("");
    else fields[fields.length - 1] += line[i] === "\\" && i + 1 < line.length ? line[i]! + line[++i]! : line[i]!;
  }
  return fields;
}

function unescape(field: string): string {
  return field.replace(/\\(.)/g, "$1");
}
