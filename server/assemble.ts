/** From option values to the parts of a server: what goes together is checked, and files are opened. */

import { ApiKeys } from "../auth/api_keys.ts";
import { Revoked } from "../auth/revoked.ts";
import { KeyError, makeToken, Tokens } from "../auth/tokens.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { openPostgresBroker, type PostgresOptions } from "../broker/postgres.ts";
import { DATABASE_NAME, openSqliteBroker } from "../broker/sqlite.ts";
import type { Broker } from "../broker.ts";
import { UsageError } from "../cli/options.ts";
import { CONFIRM_MESSAGES, type HubOptions } from "../hub.ts";
import { isLoopback, isUnspecified, placeOf } from "../limits/address.ts";
import type { AdmissionLimits } from "../limits/admission.ts";
import { TokenBuckets } from "../limits/rate.ts";
import { type Log, reasonOf } from "../ops/log.ts";
import type { ApiOptions, TokenMaker } from "./api.ts";
import { SlowLog } from "../ops/slow.ts";
import { readCertificate } from "./certificate.ts";
import { readKey, withFile } from "./credentials.ts";
import { FreeSpace } from "./free_space.ts";
import type { GateOptions } from "./gate.ts";
import type { MetricsAddress } from "./metrics.ts";
import { SERVER, type ServerValues } from "./options.ts";
import { keepsNothing, RULES } from "./rules.ts";
import type { Certificate } from "./transport.ts";
import { defaultTransport, type TransportName, whyNoWs } from "./transport_choice.ts";
import { readEndpoints, whyRefused } from "./webhooks.ts";
import { openWebAssets, type WebAssets } from "./web_assets.ts";

/** The part of a mailbox that may have been confirmed without the broker knowing it. */
const CONFIRM_MAILBOX_PARTS = 4;
/** Seconds of a day. */
const DAY_S = 86_400;
/** Bytes of a MiB. */
const MIB = 1_048_576;

/** Parts and limits of a server. Without options nothing is limited, except what no well-behaved client causes. */
export interface ServerOptions
  extends
    Omit<HubOptions, "broker" | "report" | "disconnected" | "refusesMessages" | "mailboxFull">,
    Omit<GateOptions, "admission" | "log" | "hostname"> {
  readonly hostname?: string;
  /** 0 for any free port. */
  readonly port?: number;
  /** Default: one in memory. */
  readonly broker?: Broker;
  readonly admission?: Partial<AdmissionLimits>;
  /** Serves TLS. */
  readonly certificate?: Certificate;
  /** Milliseconds over which connections are closed at most when the server ends. Default: at once. */
  readonly drainMs?: number;
  /** The page for browsers. Default: there is none. */
  readonly web?: WebAssets;
  /** Refuses messages while there is too little room for them. The caller's to close. */
  readonly space?: FreeSpace;
  /** File with the endpoints that are told of events. Default: nobody is. */
  readonly webhooks?: string;
  /** Serves metrics at an address of their own. Default: nothing is counted. */
  readonly metrics?: MetricsAddress & { readonly database?: string };
  /** The HTTP API; its keys are the caller's to close. Default: there is none. */
  readonly api?: Pick<ApiOptions, "keys" | "makeToken" | "bodyMs">;
  /** Default: Deno's sockets. */
  readonly transport?: TransportName;
  /** Default: nothing is logged. */
  readonly log?: Log;
}

/** Failure to start a server: one sentence for the operator. */
export class StartError extends Error {
  override readonly name = "StartError";
}

/**
 * Makes the options of a server from the values of a command line. Throws {@linkcode UsageError}, {@linkcode StartError}, and
 * what opening keys and a broker throws. The broker, the list of the revoked, the keys of the
 * API and the watch of the disk are the caller's to close.
 */
export async function assemble(values: ServerValues, log: Log): Promise<ServerOptions & { readonly broker: Broker }> {
  checkTogether(values);
  const tokens = await openTokens(values);
  const certificate = readCertificate(values);
  const web = openWebAssets(values, tokens !== undefined);
  const metrics = metricsOf(values);
  const makeToken = tokenMakerOf(values);
  if (values.webhooks !== undefined) readEndpoints(values.webhooks);
  const revoked = openRevoked(values, tokens !== undefined, log);
  let apiKeys: ApiKeys | undefined;
  try {
    apiKeys = openApiKeys(values, log);
    const broker = await openBroker(values, log);
    const space = keepsNothing(values) || values.postgres !== undefined ? undefined : await watchSpace(values, log);
    return {
      ...limitsOf(values),
      hostname: values.host,
      port: values.port,
      transport: transportOf(values),
      allowOrigin: values["allow-origin"],
      insecureOpen: values["insecure-open"],
      trustedHops: values["trust-proxy"],
      broker,
      log,
      slow: new SlowLog({
        log,
        appendMs: values["slow-append"],
        turnMs: values["slow-turn"],
        requestMs: values["slow-request"],
      }),
      ...space && { space },
      ...metrics && { metrics },
      ...values.webhooks !== undefined && { webhooks: values.webhooks },
      ...tokens && { tokens },
      ...web && { web },
      ...revoked && { revoked },
      ...apiKeys && { api: { keys: apiKeys, makeToken } },
      ...certificate && { certificate },
    };
  } catch (error) {
    revoked?.close();
    apiKeys?.close();
    throw error;
  }
}

/** Returns where metrics are served, and which file they measure; undefined where they are not asked for. */
export function metricsOf(values: ServerValues): ServerOptions["metrics"] {
  const address = values["metrics-listen"];
  if (address === undefined) return undefined;
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(address) ?? [];
  if (port === undefined || Number(port) > 65_535) {
    throw new UsageError(`--metrics-listen "${address}" is no address with a port, such as 127.0.0.1:9464`);
  }
  const place = { hostname: (bracketed ?? plain)!, port: Number(port) };
  if (keepsNothing(values) || values.postgres !== undefined) return place;
  return { ...place, database: `${values.data}/${DATABASE_NAME}` };
}

/** Returns the transport that was asked for, or the one that suits the address; refuses one that this Deno cannot serve. */
export function transportOf({ transport, host }: ServerValues): TransportName {
  if (transport === undefined) return defaultTransport(host);
  const why = transport === "ws" ? whyNoWs() : undefined;
  if (why !== undefined) throw new StartError(why);
  return transport as TransportName;
}

/** Refuses values that each may be, and together would leave somebody outside for ever. */
function checkTogether(values: ServerValues): void {
  for (const rule of RULES) for (const words of rule(values)) throw new UsageError(words);
}

/** Opens the keys of tokens; undefined in open mode, which is for this machine alone unless the operator insists. */
export async function openTokens(values: ServerValues): Promise<Tokens | undefined> {
  const { "jwt-secret-file": secret, "jwt-public-key": publicKey, jwks, "jwt-audience": audience, "jwt-issuer": issuer } =
    values;
  if (secret === undefined && publicKey === undefined && jwks === undefined) {
    for (const option of ["revoked", "jwt-audience", "jwt-issuer"] as const) {
      if (values[option] !== undefined) {
        throw new UsageError(`--${option} is about tokens, and needs a key such as --jwt-public-key`);
      }
    }
    if (values["insecure-open"]) return undefined;
    if (values["trust-proxy"] > 0) {
      throw new UsageError(
        "--trust-proxy brings in others than this machine, and needs a key such as --jwt-public-key, " +
          "or --insecure-open if anybody may be anybody",
      );
    }
    if (isLoopback(values.host)) return undefined;
    throw new StartError(
      `Without a key anybody who reaches ${values.host} could take any name, so only this machine is served. ` +
        `Give it a key (${SERVER.name} keys makes one; --jwt-public-key), or --insecure-open if you mean it`,
    );
  }
  const given = [["jwt-secret-file", secret], ["jwt-public-key", publicKey], ["jwks", jwks]] as const;
  const [option, file] = given.find(([, file]) => file !== undefined)!;
  const texts = {
    ...secret !== undefined && { secret: readKey(secret) },
    ...publicKey !== undefined && { publicKey: readKey(publicKey) },
    ...jwks !== undefined && { jwks: readKey(jwks) },
  };
  if (Object.keys(texts).length > 1) {
    throw new UsageError("Give one of --jwt-secret-file, --jwt-public-key and --jwks, not several");
  }
  return await withFile(option, file!, () =>
    Tokens.open({
      ...texts,
      ...audience !== undefined && { audience },
      ...issuer !== undefined && { issuer },
    }));
}

/** Returns what makes tokens, where the server's own key does: a public one only checks them. */
function tokenMakerOf(values: ServerValues): TokenMaker | undefined {
  const { "jwt-secret-file": file, "jwt-audience": audience, "jwt-issuer": issuer } = values;
  if (file === undefined) return undefined;
  const claims = { admin: false, ...audience !== undefined && { audience }, ...issuer !== undefined && { issuer } };
  const secret = readKey(file);
  return (name, seconds) => makeToken({ name, seconds, secret, ...claims });
}

function openApiKeys({ "api-keys": file }: ServerValues, log: Log): ApiKeys | undefined {
  if (file === undefined) return undefined;
  try {
    return new ApiKeys(file, log);
  } catch (error) {
    throw error instanceof KeyError ? new StartError(`--api-keys ${file}: ${error.message}`) : error;
  }
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
  if (keepsNothing(values)) return new MemoryBroker(limits);
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

async function watchSpace({ data: dir, "free-bytes": floorBytes }: ServerValues, log: Log): Promise<FreeSpace | undefined> {
  if (floorBytes === 0) return undefined;
  const space = new FreeSpace({ dir, floorBytes, log });
  await space.look();
  return space;
}

function limitsOf(values: ServerValues): ServerOptions {
  const { rate, burst, "max-refusals": refusalsMax, "max-devices": devicesMax, "max-stalled-per-user": stalledPerUser } =
    values;
  const bytesPerDay = values["sender-bytes-per-day"];
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
    ...bytesPerDay !== Infinity && { quota: new TokenBuckets(bytesPerDay / DAY_S, bytesPerDay, { refusalsMax }) },
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

/** Says why listening failed, and which option chooses something else. */
export function whyNot(error: unknown, host: string, port: number, options = { host: "--host", port: "--port" }): string {
  if (error instanceof Deno.errors.AddrInUse) return `Port ${port} on ${host} is in use; choose another with ${options.port}`;
  if (error instanceof Deno.errors.AddrNotAvailable) {
    return `${host} is no address of this machine; choose another with ${options.host}`;
  }
  if (error instanceof Deno.errors.PermissionDenied) {
    return `Listening on port ${port} is not permitted; choose one above 1023 with ${options.port}`;
  }
  return `Cannot listen on ${host} port ${port}: ${reasonOf(error)}`;
}

/** Says why listening for metrics failed. */
export function whyNoMetrics(error: unknown, { hostname, port }: MetricsAddress): string {
  return whyNot(error, hostname, port, { host: "--metrics-listen", port: "--metrics-listen" });
}

/**
 * Returns why metrics at an address that is listened on want a look: others than the operator's own networks may reach it, and
 * nobody is asked for a password there; undefined for an address of this machine or of a private network.
 */
export function whyMetricsExposed(address: string, port: number): string | undefined {
  const reached = isUnspecified(address)
    ? "every network that this machine is in"
    : whyRefused(address) === undefined
    ? "the internet"
    : undefined;
  if (reached === undefined) return undefined;
  return `--metrics-listen ${placeOf(address, port)} can be reached from ${reached}, and asks nobody for a password: ` +
    "choose an address that your monitoring alone reaches, or have a firewall see to it";
}
