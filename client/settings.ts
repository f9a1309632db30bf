/** Settings of the client: the file `client.json`, and the account that they make with command line and environment. */

import { resolve } from "node:path";
import type { OptionTable, Surroundings } from "../cli/options.ts";
import { UsageError } from "../cli/options.ts";
import { parseAddress, parseName, Refusal } from "../protocol.ts";
import { type Folders, foldersFor } from "./paths.ts";
import { readText } from "./text.ts";
import { serverUrl } from "./transport.ts";

/** A server and a user on it, checked. */
export interface Account {
  /** URL of the server's WebSocket. */
  readonly server: string;
  /** Canonical name, or "" where the token decides. */
  readonly name: string;
  /** Reads the token anew. */
  readonly token: (() => string | undefined) | undefined;
  readonly device: string | undefined;
  /** Certificates in PEM. */
  readonly ca: string | undefined;
  /** Absolute paths of the files with token and certificates, for clients that this one starts. */
  readonly files: { readonly token: string | undefined; readonly ca: string | undefined };
}

/** The options that all commands that connect have in common. */
export interface ConnectionValues {
  readonly server: string;
  readonly name: string | undefined;
  readonly token: string | undefined;
  readonly "token-file": string | undefined;
  readonly device: string | undefined;
  readonly ca: string | undefined;
}

/** Returns the folders of this process's user. Throws a {@linkcode UsageError}. */
export function ownFolders(): Folders {
  try {
    return foldersFor((name) => Deno.env.get(name), Deno.build.os);
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** Returns the path of the settings file. */
export function settingsFile(folders: Folders): string {
  return `${folders.config}/client.json`;
}

/**
 * Returns environment and settings file as sources of options. `servers` in the file has settings for servers by a short name,
 * which `--server` accepts. Throws a {@linkcode UsageError} for a file that cannot be used.
 */
export function surroundings(folders: Folders, options: OptionTable, args: readonly string[]): Surroundings {
  const file = settingsFile(folders);
  const { servers = {}, ...common } = readSettings(file);
  if (!isObject(servers)) throw new UsageError(`"servers" in ${file} is not an object`);
  const wanted = serverIn(args) ?? Deno.env.get("PARLEY_SERVER") ?? common.server;
  const named = typeof wanted === "string" && Object.hasOwn(servers, wanted) ? servers[wanted] : {};
  if (!isObject(named)) throw new UsageError(`"${wanted}" under "servers" in ${file} is not an object`);
  const settings = { ...common, ...named };
  for (const key of Object.keys(settings)) {
    if (key === "token") throw new UsageError(`"token" does not belong into ${file}: use "token-file"`);
  }
  const known = Object.fromEntries(Object.entries(settings).filter(([key]) => Object.hasOwn(options, key)));
  return { env: (name) => Deno.env.get(name), settings: known };
}

/** Returns the names in the settings that are none of `known`: likely slips. */
export function strangeSettings(folders: Folders, known: readonly string[]): string[] {
  const { servers, ...common } = readSettings(settingsFile(folders));
  const entries = isObject(servers) ? Object.values(servers).filter(isObject) : [];
  const names = [common, ...entries].flatMap((settings) => Object.keys(settings));
  return [...new Set(names)].filter((name) => !known.includes(name));
}

/** Returns the address behind a short name in the settings' `servers`; anything else as it was given. */
export function namedServer(folders: Folders, given: string): string {
  const { servers } = readSettings(settingsFile(folders));
  if (!isObject(servers) || !Object.hasOwn(servers, given)) return given;
  const entry = servers[given];
  return isObject(entry) && typeof entry.server === "string" ? entry.server : given;
}

/** Checks the options of a connection. Throws a {@linkcode UsageError}. */
export function accountOf(values: ConnectionValues, folders: Folders): Account {
  if (values.device !== undefined) check(parseName(values.device, "--device"), "--device");
  const token = tokenOf(values);
  const name = values.name === undefined ? nameIn(token?.() ?? "") : check(parseName(values.name, "--name"), "--name");
  if (name === "" && !token) throw new UsageError('Say who you are: --name NAME, or PARLEY_NAME, or "name" in the settings');
  let server: string;
  try {
    server = serverUrl(namedServer(folders, values.server));
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
  const ca = values.ca === undefined ? undefined : readGiven(values.ca, "--ca");
  if (ca?.includes("-----BEGIN CERTIFICATE-----") === false) {
    throw new UsageError(`There is no certificate (PEM) in ${values.ca}`);
  }
  const files = { token: values.token === undefined ? absolute(values["token-file"]) : undefined, ca: absolute(values.ca) };
  return { server, name, token, device: values.device, ca, files };
}

/** Returns a typed name or #group in its canonical form. Throws a {@linkcode UsageError}. */
export function addressOf(text: string, where: string): string {
  return check(parseAddress(text, where), where);
}

function absolute(path: string | undefined): string | undefined {
  return path === undefined ? undefined : resolve(path);
}

function check(name: string | Refusal, where: string): string {
  if (name instanceof Refusal) throw new UsageError(name.message.replace(`"${where}"`, where));
  return name;
}

function tokenOf(values: ConnectionValues): (() => string) | undefined {
  const file = values["token-file"];
  if (values.token !== undefined) return () => checkToken(values.token!, "PARLEY_TOKEN");
  if (file === undefined) return undefined;
  const read = () => checkToken(readGiven(file, "--token-file"), file);
  read();
  return read;
}

/** Checks that a token can stand in a header. No error has its text. */
function checkToken(text: string, where: string): string {
  const token = text.trim();
  if (token === "") throw new UsageError(`There is no token in ${where}`);
  if (!/^[\x21-\x7e]+$/.test(token)) {
    throw new UsageError(`The text in ${where} is not a token: a token is one word, alone on one line`);
  }
  return token;
}

/** Returns whom a token is for, as state is kept by name before there is a connection; "" where the token does not show it. */
function nameIn(token: string): string {
  try {
    const payload = Uint8Array.fromBase64(token.split(".")[1] ?? "", { alphabet: "base64url" });
    const name = parseName((JSON.parse(new TextDecoder().decode(payload)) as { sub?: unknown }).sub);
    return typeof name === "string" ? name : "";
  } catch {
    return ""; // the server knows
  }
}

function readGiven(file: string, option: string): string {
  try {
    return readText(file);
  } catch (error) {
    const why = error instanceof Deno.errors.NotFound ? "there is no such file" : (error as Error).message;
    throw new UsageError(`Cannot read ${option} ${file}: ${why}`);
  }
}

function readSettings(file: string): Record<string, unknown> {
  let text: string;
  try {
    text = readText(file);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return {};
    throw new UsageError(`Cannot read the settings ${file}: ${(error as Error).message}`);
  }
  try {
    const value: unknown = JSON.parse(text);
    if (isObject(value)) return value;
  } catch (error) {
    throw new UsageError(`The settings ${file} are not JSON: ${(error as Error).message}`);
  }
  throw new UsageError(`The settings ${file} are not a JSON object`);
}

function serverIn(args: readonly string[]): string | undefined {
  for (const [index, arg] of args.entries()) {
    if (arg === "--") return undefined;
    if (arg === "--server" || arg === "-s") return args[index + 1];
    if (arg.startsWith("--server=")) return arg.slice("--server=".length);
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
