/** Address of a PostgreSQL: hosts, names, password and TLS, from a URL and the files beside it. */

import { BrokerError } from "../errors.ts";
import { type Host, placeOf } from "./host.ts";
import { readFile, readPassword } from "./password.ts";

/** Port of those who name none, and the highest. */
const PORT = 5432, PORT_MAX = 65_535;
/** Schema that installations use where none is named. */
export const DEFAULT_SCHEMA = "parley";
/** PostgreSQL cuts longer names off without an error. */
const NAME_BYTES_MAX = 63;
/** Longest name of a schema: names of channels are made from it. */
const SCHEMA_REGEXP = /^[a-z_][a-z0-9_]{0,39}$/;
/**
 * Ways to use TLS that are not an accident: `prefer` and `allow` would go on without it, and nobody would know. All but `disable`
 * are one: libpq's `require` takes any certificate, and so whoever stands in between.
 */
const TLS_MODES = ["disable", "require", "verify-ca", "verify-full"] as const;

/** Everything needed to connect. The password is never shown: {@linkcode describe} is for logs. */
export interface Settings {
  readonly hosts: readonly Host[];
  readonly user: string;
  /** Reads the password for a host, anew each time, as it may change; "" for none. Throws {@linkcode BrokerError}. */
  readonly password: (host: Host) => string;
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
  const passwordFor = (host: Host) => readPassword({ passwordFile, password, passFile }, host, { user, database });
  for (const host of hosts) passwordFor(host); // a file that cannot be read is said now
  return { hosts, user, database, password: passwordFor, tls: tlsFrom(query.get("sslmode"), caFile) };
}

/** Returns the address for logs and errors, without the password. */
export function describe({ hosts, user, database }: Pick<Settings, "hosts" | "user" | "database">): string {
  return `postgres://${user}@${hosts.map(placeOf).join(",")}/${database}`;
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
  // What follows may be the rest of a password, which no error may repeat.
  if (!parts[1]) throw new BrokerError("--postgres names no user: postgres://USER@HOST/DATABASE");
  if (parts.slice(3).some((part) => part?.includes("@"))) {
    throw new BrokerError(
      "--postgres has an @ too many; in a user or password write %40 for @, %3A for :, %2F for /, %3F for ?",
    );
  }
  const [user, password, database] = [parts[1], parts[2], parts[4]].map((part) => decode(part ?? ""));
  const query = new URLSearchParams(parts[5] ?? "");
  for (const name of query.keys()) {
    if (name !== "sslmode" && name !== "host") {
      throw new BrokerError(`--postgres has "${name}", which this server does not know; it takes sslmode and host`);
    }
  }
  if (tooLong(user!) || tooLong(database!)) throw new BrokerError("--postgres has a name over 63 bytes");
  const folder = query.get("host");
  const hosts = folder === null ? (parts[3] || "localhost").split(",").map(parseHost) : [socketIn(folder, parts[3]!)];
  return { hosts, user: user!, password: password!, database: database || user!, query };
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
  return { host: decode(parts[1]!).replace(/^\[|\]$/g, ""), port: portOf(parts[2]), path: undefined };
}

function portOf(digits: string | undefined): number {
  const port = digits === undefined ? PORT : Number(digits);
  if (port < 1 || port > PORT_MAX) throw new BrokerError(`--postgres has port ${port}; ports are 1 to ${PORT_MAX}`);
  return port;
}

function socketIn(folder: string, address: string): Host {
  const port = portOf(/:(\d{1,5})$/.exec(address)?.[1]);
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
