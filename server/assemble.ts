/** From option values to the parts of a server: what goes together is checked, and files are opened. */

import { Revoked } from "../auth/revoked.ts";
import { Tokens } from "../auth/tokens.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { openPostgresBroker, type PostgresOptions } from "../broker/postgres.ts";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { Broker } from "../broker.ts";
import { UsageError } from "../cli/options.ts";
import { CONFIRM_MESSAGES, type HubOptions } from "../hub.ts";
import { isLoopback } from "../limits/address.ts";
import type { AdmissionLimits } from "../limits/admission.ts";
import { TokenBuckets } from "../limits/rate.ts";
import { type Log, reasonOf } from "../ops/log.ts";
import { readKey } from "./credentials.ts";
import type { GateOptions } from "./gate.ts";
import { SERVER, type ServerValues } from "./options.ts";
import type { Certificate } from "./tls_terminator.ts";

/** The part of a mailbox that may have been confirmed without the broker knowing it. */
const CONFIRM_MAILBOX_PARTS = 4;
/** Frames that a connection's queue has room for at least: one that waits, and the next. */
const QUEUE_FRAMES_MIN = 2;
/** Bytes of a MiB. */
const MIB = 1_048_576;
/** An origin as browsers give it: a scheme and a host, without a path. Apps have schemes of their own. */
const ORIGIN_REGEXP = /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/;

/** Parts and limits of a server. Without options nothing is limited, except what no well-behaved client causes. */
export interface ServerOptions extends Omit<HubOptions, "broker" | "report">, Omit<GateOptions, "admission" | "log"> {
  readonly hostname?: string;
  /** 0 for any free port. */
  readonly port?: number;
  /** Default: one in memory. */
  readonly broker?: Broker;
  readonly admission?: Partial<AdmissionLimits>;
  /** Milliseconds over which connections are closed at most when the server ends. Default: at once. */
  readonly drainMs?: number;
  /** Serves TLS. */
  readonly certificate?: Certificate;
  /** Default: nothing is logged. */
  readonly log?: Log;
}

/** Failure to start a server: one sentence for the operator. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/**
 * Makes the options of a server from the values of a command line. Throws {@linkcode UsageError}, {@linkcode StartError}, and
 * what opening keys and a broker throws. The broker and the list of the revoked are the caller's to close.
 */
export async function assemble(values: ServerValues, log: Log): Promise<ServerOptions & { readonly broker: Broker }> {
  checkTogether(values);
  const tokens = await openTokens(values);
  const certificate = readCertificate(values);
  const revoked = openRevoked(values, tokens !== undefined, log);
  try {
    return {
      ...limitsOf(values),
      hostname: values.host,
      port: values.port,
      allowOrigin: values["allow-origin"],
      trustedHops: values["trust-proxy"],
      broker: await openBroker(values, log),
      log,
      ...tokens && { tokens },
      ...revoked && { revoked },
      ...certificate && { certificate },
    };
  } catch (error) {
    revoked?.close();
    throw error;
  }
}

/** Refuses values that each may be, and together would leave somebody outside for ever. */
function checkTogether(values: ServerValues): void {
  const { "queue-bytes": queue, "frame-bytes": frame, "allow-origin": origins } = values;
  for (const option of ["postgres-password-file", "postgres-ca", "postgres-allow-async", "node"] as const) {
    if (values.postgres === undefined && values[option]) {
      throw new UsageError(`--${option} is about PostgreSQL, and needs --postgres`);
    }
  }
  if (values.postgres !== undefined && (values.broker === "memory" || values.data === ":memory:")) {
    throw new UsageError("--postgres keeps messages, and --broker memory keeps none: choose one");
  }
  const least = frame * QUEUE_FRAMES_MIN;
  if (queue < least) {
    throw new UsageError(`--queue-bytes ${queue} is too few for frames of ${frame} bytes; it has to be at least ${least}`);
  }
  for (const origin of origins) {
    if (origin === "*" || origin === "null" || ORIGIN_REGEXP.test(origin)) continue;
    throw new UsageError(`--allow-origin "${origin}" is no origin, such as https://chat.example.org`);
  }
}

/** Opens the keys of tokens; undefined in open mode, which is for this machine alone unless the operator insists. */
async function openTokens(values: ServerValues): Promise<Tokens | undefined> {
  const { "jwt-secret-file": secret, "jwt-public-key": publicKey, jwks, "jwt-audience": audience, "jwt-issuer": issuer } =
    values;
  if (secret === undefined && publicKey === undefined && jwks === undefined) {
    for (const option of ["revoked", "jwt-audience", "jwt-issuer"] as const) {
      if (values[option] !== undefined) {
        throw new UsageError(`--${option} is about tokens, and needs a key such as --jwt-public-key`);
      }
    }
    if (isLoopback(values.host) || values["insecure-open"]) return undefined;
    throw new StartError(
      `Without a key anybody who reaches ${values.host} could take any name, so only this machine is served. ` +
        `Give it a key (${SERVER.name} keys makes one; --jwt-public-key), or --insecure-open if you mean it`,
    );
  }
  return await Tokens.open({
    ...secret !== undefined && { secret: readKey(secret) },
    ...publicKey !== undefined && { publicKey: readKey(publicKey) },
    ...jwks !== undefined && { jwks: readKey(jwks) },
    ...audience !== undefined && { audience },
    ...issuer !== undefined && { issuer },
  });
}

function openRevoked({ revoked, postgres }: ServerValues, hasTokens: boolean, log: Log): Revoked | undefined {
  // The other nodes may have a list where this one has none.
  if (revoked === undefined && !(postgres !== undefined && hasTokens)) return undefined;
  try {
    return new Revoked(revoked, log);
  } catch (error) {
    throw new StartError(`Cannot read --revoked ${revoked}: ${reasonOf(error)}`);
  }
}

/** Reads certificate and key; undefined without TLS. Throws {@linkcode UsageError} for one of both, and `KeyError`. */
export function readCertificate({ cert, key }: ServerValues): Certificate | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError("TLS needs both --cert and --key");
  return { cert: readKey(cert), key: readKey(key) };
}

async function openBroker(values: ServerValues, log: Log): Promise<Broker> {
  const limits = {
    mailbox: values.mailbox,
    retentionDays: values["retention-days"],
    groupsPerUser: values["max-groups"],
    groupMembers: values["max-group-members"],
  };
  if (values.postgres !== undefined) {
    return await openPostgresBroker({
      ...addressOf(values, values.postgres),
      node: nodeOf(values),
      allowAsync: values["postgres-allow-async"],
      report: (error, task) => log("failed", { task, reason: reasonOf(error) }),
      notice: (words) => log("storage", { words }),
      ...limits,
    });
  }
  if (values.broker === "memory" || values.data === ":memory:") return new MemoryBroker(limits);
  return await openSqliteBroker({
    dir: values.data,
    sync: values.sync as "full" | "normal",
    report: (error, task) => log("failed", { task, reason: reasonOf(error) }),
    notice: (words) => log("storage", { words }),
    ...limits,
  });
}

/** Returns where a PostgreSQL is, and with what it is asked, from the options of the server or of `move`. */
export function addressOf(
  values: Pick<ServerValues, "postgres-password-file" | "postgres-ca" | "postgres-schema">,
  url: string,
): PostgresOptions {
  return {
    url,
    passwordFile: values["postgres-password-file"],
    passFile: Deno.env.get("PGPASSFILE"),
    caFile: values["postgres-ca"],
    schema: values["postgres-schema"],
  };
}

/** Returns the name of this node: the machine's and the port, where none is given. */
function nodeOf({ node, port }: ServerValues): string {
  if (node !== undefined) return node;
  try {
    return `${Deno.readTextFileSync("/etc/hostname").trim()}:${port}`;
  } catch {
    return `node-${crypto.randomUUID().slice(0, 8)}`;
  }
}

function limitsOf(values: ServerValues): ServerOptions {
  const { rate, burst, "max-refusals": refusalsMax, "max-devices": devicesMax, "max-stalled-per-user": stalledPerUser } =
    values;
  return {
    frameBytes: values["frame-bytes"],
    contentBytes: values["content-bytes"],
    queueBytes: values["queue-bytes"],
    confirmMessages: Math.min(CONFIRM_MESSAGES, values.mailbox / CONFIRM_MAILBOX_PARTS),
    helloTimeoutMs: values["hello-timeout"] * 1_000,
    drainMs: values["drain-seconds"] * 1_000,
    devicesMax,
    refusalsMax,
    ...rate !== Infinity && { rateLimit: new TokenBuckets(rate, burst, { refusalsMax }), rate: { rate, burst } },
    admission: {
      connections: values["max-connections"],
      namelessPerAddress: values["max-connections-per-address"],
      upgradesPerSecond: values["max-upgrades-per-second"],
      memoryBytes: values["max-memory"] * MIB,
      stalled: values["max-stalled"],
      stalledPerUser,
      // The hub refuses devices that are too many once it knows them; those that come all at once are stopped here.
      connectionsPerUser: devicesMax + stalledPerUser,
    },
  };
}

/** Turns a failure to listen into a {@linkcode StartError}. */
export function cannotListen(error: unknown, { host, port }: ServerValues): StartError {
  return new StartError(whyNot(error, host, port));
}

function whyNot(error: unknown, host: string, port: number): string {
  if (error instanceof Deno.errors.AddrInUse) return `Port ${port} on ${host} is in use; choose another with --port`;
  if (error instanceof Deno.errors.AddrNotAvailable) return `${host} is no address of this machine; choose another with --host`;
  if (error instanceof Deno.errors.PermissionDenied) {
    return `Listening on port ${port} is not permitted; choose one above 1023 with --port`;
  }
  return `Cannot listen on ${host} port ${port}: ${reasonOf(error)}`;
}
