/** Address of a PostgreSQL: hosts, names, password and TLS, from a URL and the files beside it. */

import { BrokerError, reasonOf } from "../errors.ts";

/** Port of those who name none. */
const PORT = 5432;
/** Schema that installations use where none is named. */
export const DEFAULT_SCHEMA = "parley";
/** PostgreSQL cuts longer names off without an error. */
const NAME_BYTES_MAX = 63;
/** Longest name of a schema: names of channels are made from it. */
const SCHEMA_REGEXP = /^[a-z_][a-z0-9_]{0,39}$/;
/** Ways to use TLS that are not an accident: `prefer` and `allow` would go on without it, and nobody would know. */
const TLS_MODES = ["disable", "require", "verify-ca", "verify-full"] as const;

/** One server of a cluster; `path` is a folder with a Unix socket, for which `host` is empty. */
export interface Host {
  readonly host: string;
  readonly port: number;
  readonly path: string | undefined;
}

/** Everything needed to connect. The password is never shown: {@linkcode describe} is for logs. */
export interface Settings {
  readonly hosts: readonly Host[];
  readonly user: string;
  readonly password: string;
  readonly database: string;
  /** Undefined for no TLS; the certificate and the name in it are verified always. */
  readonly tls: { readonly ca: string | undefined } | undefined;
}

/** Parts of an address as an operator gives them. */
export interface AddressOptions {
  /** `postgres://USER[:PASSWORD]@HOST[:PORT][,HOST[:PORT]…]/DATABASE[?sslmode=…][&host=/FOLDER]`. */
  readonly url: string;
  /** File whose first line is the password. It wins over the URL. */
  readonly passwordFile?: string | undefined;
  /** File of passwords as libpq reads it, for who gives none elsewhere. */
  readonly passFile?: string | undefined;
  /** File with the certificates (PEM) that the server's is checked with. TLS is used then. */
  readonly caFile?: string | undefined;
}

/** Reads an address. Throws {@linkcode BrokerError} in words without the password. */
export function readSettings({ url, passwordFile, passFile, caFile }: AddressOptions): Settings {
  const { hosts, user, password, database, query } = parseUrl(url);
  const given = passwordFile === undefined ? password : readFile(passwordFile).split(/\r?\n/)[0]!;
  return {
    hosts,
    user,
    database,
    password: given || passwordFrom(passFile, hosts, database, user),
    tls: tlsFrom(query.get("sslmode"), caFile),
  };
}

/** Returns the address for logs and errors, without the password. */
export function describe({ hosts, user, database }: Pick<Settings, "hosts" | "user" | "database">): string {
  const places = hosts.map(({ host, port, path }) => path ?? `${host}:${port}`);
  return `postgres://${user}@${places.join(",")}/${database}`;
}

/** Checks the name of a schema. Throws {@linkcode BrokerError}. */
export function checkSchema(schema: string): string {
  if (SCHEMA_REGEXP.test(schema) && !schema.startsWith("pg_")) return schema;
  throw new BrokerError(`"${schema}" is no schema for --postgres-schema: small letters, digits and _, up to 40 of them`);
}

function parseUrl(url: string) {
  // URL knows one host; several are taken out first.
  const parts = /^postgres(?:ql)?:\/\/(?:([^:@/?#]*)(?::([^@/?#]*))?@)?([^/?#]*)(?:\/([^?#]*))?(?:\?([^#]*))?$/.exec(url);
  if (!parts) throw new BrokerError("--postgres is no address like postgres://USER@HOST:5432/DATABASE");
  const [user, password, database] = [parts[1], parts[2], parts[4]].map((part) => decode(part ?? ""));
  const query = new URLSearchParams(parts[5] ?? "");
  for (const name of query.keys()) {
    if (name !== "sslmode" && name !== "host") {
      throw new BrokerError(`--postgres has "${name}", which this server does not know; it takes sslmode and host`);
    }
  }
  if (!user) throw new BrokerError("--postgres names no user: postgres://USER@HOST/DATABASE");
  if (tooLong(user) || tooLong(database!)) throw new BrokerError("--postgres has a name over 63 bytes");
  const folder = query.get("host");
  const hosts = folder === null ? (parts[3] || "localhost").split(",").map(parseHost) : [socketIn(folder, parts[3]!)];
  return { hosts, user, password: password!, database: database || user, query };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new BrokerError("--postgres has a % that begins no character; write %25 for the sign itself");
  }
}

function tooLong(name: string): boolean {
  return new TextEncoder().encode(name).length > NAME_BYTES_MAX;
}

function parseHost(text: string): Host {
  const parts = /^(\[[0-9a-fA-F:.]+\]|[^:[\]]+)(?::(\d{1,5}))?$/.exec(text);
  if (!parts) throw new BrokerError(`--postgres has "${text}", which is no HOST:PORT`);
  return { host: decode(parts[1]!).replace(/^\[|\]$/g, ""), port: parts[2] ? Number(parts[2]) : PORT, path: undefined };
}

function socketIn(folder: string, address: string): Host {
  const port = Number(/:(\d{1,5})$/.exec(address)?.[1] ?? PORT);
  return { host: "", port, path: `${folder}/.s.PGSQL.${port}` };
}

function tlsFrom(mode: string | null, caFile: string | undefined): Settings["tls"] {
  if (mode !== null && !(TLS_MODES as readonly string[]).includes(mode)) {
    throw new BrokerError(`--postgres has sslmode=${mode}; it takes disable, and verify-full for TLS`);
  }
  if (caFile === undefined) return mode === null || mode === "disable" ? undefined : { ca: undefined };
  if (mode === "disable") throw new BrokerError("--postgres-ca is about TLS, which sslmode=disable forbids");
  return { ca: readFile(caFile) };
}

function readFile(file: string): string {
  try {
    return Deno.readTextFileSync(file);
  } catch (error) {
    throw new BrokerError(`Cannot read ${file}: ${reasonOf(error)}`);
  }
}

/** Returns the password of the first line that fits, or "". The same rules as libpq's, modes of the file included. */
function passwordFrom(file: string | undefined, hosts: readonly Host[], database: string, user: string): string {
  if (file === undefined) return "";
  const text = readFile(file);
  const { mode } = Deno.statSync(file);
  if (mode !== null && (mode & 0o077) !== 0) {
    throw new BrokerError(`${file} can be read by others; make it yours alone: chmod 600 ${file}`);
  }
  for (const line of text.split(/\r?\n/)) {
    if (line === "" || line.startsWith("#")) continue;
    const fields = fieldsOf(line);
    if (fields.length !== 5) continue;
    const [host, port, base, name, password] = fields as [string, string, string, string, string];
    const fits = (pattern: string, value: string) => pattern === "*" || pattern === value;
    const isHere = hosts.some((one) => fits(host, one.host || "localhost") && fits(port, String(one.port)));
    if (isHere && fits(base, database) && fits(name, user)) return password;
  }
  return "";
}

/** Splits a line at colons; a backslash takes the next character as it is. */
function fieldsOf(line: string): string[] {
  const fields: string[] = [];
  let field = "";
  for (let i = 0; i < line.length; i++) {
    if (line[i] === ":") {
      fields.push(field);
      field = "";
    } else {
      field += line[i] === "\\" && i + 1 < line.length ? line[++i]! : line[i]!;
    }
  }
  return [...fields, field];
}
