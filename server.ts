/**
 * The server: HTTP and WebSockets on one port, the hub behind them, and the drain at the end.
 *
 * `startServer` wires everything and gives back a handle; `main` is the command line around it.
 */

import { setImmediate } from "node:timers";
import { KEYS_OPTIONS, keysCommand, readKey, TOKEN_OPTIONS, tokenCommand } from "./server/credentials.ts";
import { Revoked } from "./auth/revoked.ts";
import { KeyError, Tokens } from "./auth/tokens.ts";
import { MemoryBroker } from "./broker/memory.ts";
import { backup, openSqliteBroker } from "./broker/sqlite.ts";
import { Gate, type GateOptions } from "./server/gate.ts";
import { type Broker, BrokerError } from "./broker.ts";
import { CONFIRM_MESSAGES, Hub, type HubOptions } from "./hub.ts";
import { isLoopback } from "./limits/address.ts";
import { Admission, type AdmissionLimits, ZOMBIES_MAX, ZOMBIES_PER_USER_MAX } from "./limits/admission.ts";
import { TokenBuckets } from "./limits/rate.ts";
import { Serving } from "./server/listener.ts";
import { commandOf, helpText, noCommand, type OptionTable, parseOptions, UsageError, type Values } from "./cli/options.ts";
import { BACKUP_OPTIONS, SERVER, SERVER_OPTIONS, VERSION } from "./server/options.ts";
import { OpenSockets, SocketConnection, type SocketContext } from "./server/sockets.ts";
import { type Certificate, TlsFront } from "./server/tls_terminator.ts";

/** Milliseconds of silence after which Deno pings a socket, doubled: half of it later it is closed. */
const IDLE_TIMEOUT_S = 60;
/** Milliseconds that a drain takes at most: what is longer is cut. */
export const DRAIN_TIMEOUT_MS = 4_000;
/** Characters of a request's URL: a name fits many times. */
const URL_CHARS_MAX = 2_048;

/** Milliseconds for an answer to leave before its connection is cut off. */
const CUT_OFF_MS = 50;
const TEXT_HEADERS = { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" };
/** 16 bytes in base64 (RFC 6455, 4.2.1). */
const WEBSOCKET_KEY_REGEXP = /^[+/0-9A-Za-z]{22}==$/;
/** Characters of one line in the log: what comes from others must not fill it. */
const LOG_CHARS_MAX = 1_000;

/** What a server is made of. */
export interface ServerOptions extends Omit<HubOptions, "broker">, Omit<GateOptions, "admission"> {
  readonly hostname?: string;
  /** 0 for any free port. */
  readonly port?: number;
  readonly broker?: Broker;
  readonly admission?: Partial<AdmissionLimits>;
  /** Serves TLS. */
  readonly certificate?: Certificate;
  /** One line for the operator. Never given content. */
  readonly log?: (line: string) => void;
}

/** A running server. */
export interface Server {
  readonly hub: Hub;
  readonly admission: Admission;
  readonly hostname: string;
  readonly port: number;
  /** Where clients connect. */
  readonly url: string;
  /** Gives new connections this certificate. Rejects for one that cannot be used. */
  renew(certificate: Certificate): Promise<void>;
  /** Closes the connections of those who are revoked by now. */
  closeRevoked(revoked: Revoked): void;
  /** Stops accepting, says 1012 to every socket, lets what is in flight finish. Idempotent. */
  shutdown(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What is not given is not bounded, but for what no peer of good will meets. */
const ADMISSION_LIMITS: AdmissionLimits = {
  connections: Infinity,
  namelessPerAddress: Infinity,
  upgradesPerSecond: Infinity,
  memoryBytes: Infinity,
  zombies: ZOMBIES_MAX,
  zombiesPerUser: ZOMBIES_PER_USER_MAX,
  connectionsPerUser: Infinity,
};

/** Starts a server. Throws what `Deno.serve` throws, such as `Deno.errors.AddrInUse`. */
export function startServer(options: ServerOptions = {}): Server {
  const tell = options.log ?? (() => {});
  const broker = options.broker ?? new MemoryBroker();
  const hub = new Hub({
    report: (error, where) => tell(`${where} failed: ${reason(error)}`),
    defer: setImmediate,
    ...options,
    broker,
  });
  const admission = new Admission({ ...ADMISSION_LIMITS, ...options.admission }, () => Deno.memoryUsage().rss);
  const sockets = new OpenSockets();
  const { hostname: host = "127.0.0.1", port: wanted = 8080, certificate } = options;
  const context: Context = {
    hub,
    sockets,
    gate: new Gate({ ...options, admission }),
    scheme: certificate ? "wss" : "ws",
    trustedHops: options.trustedHops ?? 0,
    front: undefined,
    draining: false,
  };

  const http = new Serving({
    hostname: certificate ? "127.0.0.1" : host,
    port: certificate ? 0 : wanted,
    handler: (request, remote) => route(request, remote, context),
    onError: (error) => {
      tell(`request failed: ${reason(error)}`);
      return plain(500, "The server failed at this request");
    },
    report: tell,
  });
  try {
    if (certificate) context.front = new TlsFront({ ...certificate, hostname: host, port: wanted, target: http.port });
  } catch (error) {
    void http.shutdown();
    throw error;
  }

  const port = context.front?.port ?? http.port;
  let drained: Promise<void> | undefined;
  const shutdown = () => drained ??= drain(http, context).finally(() => broker.close());
  return {
    hub,
    admission,
    hostname: host,
    port,
    url: `${context.scheme}://${host.includes(":") ? `[${host}]` : host}:${port}/ws`,
    renew: async (renewed) => await context.front?.renew(renewed),
    closeRevoked: (revoked) => sockets.closeRevoked(revoked),
    shutdown,
    [Symbol.asyncDispose]: shutdown,
  };
}

// ---- HTTP --------------------------------------------------------------------------------------------------------------------

interface Context extends SocketContext {
  readonly gate: Gate;
  readonly scheme: "ws" | "wss";
  /** Proxies in front. */
  readonly trustedHops: number;
  front: TlsFront | undefined;
  draining: boolean;
}

function route(request: Request, remote: Deno.NetAddr, context: Context): Response | Promise<Response> {
  const address = context.front ? context.front.peerOf(remote.port) : remote.hostname;
  if (address === undefined) return plain(403, "Connect with TLS, on the server's own port");
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (hasBody(request.headers)) return cutOff(isRead ? 400 : 405, "Only GET is answered here, and no body is read");
  if (request.url.length > URL_CHARS_MAX) return plain(414, "The address is too long");
  if (!URL.canParse(request.url)) return plain(400, "Host is no name of a host");
  const { pathname } = new URL(request.url);
  if (pathname !== "/" && pathname !== "/healthz" && pathname !== "/ws") {
    return plain(404, "There is nothing at this address; try /");
  }
  if (!isRead) return plain(405, "Only GET is answered here", { allow: "GET, HEAD" });
  if (pathname === "/") return plain(200, welcomeText(request, schemeOf(request, context)));
  if (pathname === "/healthz") return context.draining ? plain(503, "draining") : plain(200, "ok");
  return upgrade(request, address, context);
}

function hasBody(headers: Headers): boolean {
  return headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0";
}

/**
 * Answers a request and ends its connection: the runtime would read the body for as long as anybody sends one. There is no call
 * for that, but an answer that ends before its announced length is cut off.
 */
function cutOff(status: number, text: string): Response {
  const bytes = new TextEncoder().encode(text + "\n");
  const headers = { ...TEXT_HEADERS, "content-length": String(bytes.length + 1) };
  let timer: ReturnType<typeof setTimeout>;
  const body = new ReadableStream({
    start(controller) {
      controller.enqueue(bytes);
      timer = setTimeout(() => controller.close(), CUT_OFF_MS);
    },
    cancel: () => clearTimeout(timer),
  });
  return new Response(body, { status, headers });
}

/** What clients connect with. Only a proxy of ours is believed that it speaks TLS for this server. */
function schemeOf(request: Request, context: Context): "ws" | "wss" {
  const isForwarded = context.trustedHops > 0 && request.headers.get("x-forwarded-proto") === "https";
  return isForwarded ? "wss" : context.scheme;
}

function plain(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text + "\n", { status, headers: { ...TEXT_HEADERS, ...headers } });
}

function welcomeText(request: Request, scheme: string): string {
  const url = `${scheme}://${new URL(request.url).host}/ws`;
  return `Parley ${VERSION}: messages over a WebSocket, one line of JSON each.

Connect to ${url}?name=you with anything that speaks WebSocket and send
  {"sender":"you","recipient":"somebody","content":"hello"}

With the terminal client:
  chat-client --server ${url} --name you`;
}

// ---- WebSockets --------------------------------------------------------------------------------------------------------------

async function upgrade(request: Request, address: string, context: Context): Promise<Response> {
  const { headers, method } = request;
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return plain(426, "This is a WebSocket; connect with a WebSocket client", { upgrade: "websocket", connection: "Upgrade" });
  }
  if (method !== "GET") return plain(405, "A WebSocket begins with GET", { allow: "GET" });
  if (headers.get("sec-websocket-version") !== "13") {
    return plain(426, "Only version 13 of WebSockets is spoken here", { "sec-websocket-version": "13" });
  }
  if (!WEBSOCKET_KEY_REGEXP.test(headers.get("sec-websocket-key") ?? "")) {
    return plain(400, "Sec-WebSocket-Key is missing, or not 16 bytes in base64");
  }
  if (context.draining) return plain(503, "The server is restarting", { "retry-after": "5" });
  const admitted = await context.gate.enter(request, address);
  if (admitted instanceof Response) return admitted;
  const { protocol } = admitted;
  try {
    const { socket, response } = Deno.upgradeWebSocket(request, {
      idleTimeout: IDLE_TIMEOUT_S,
      ...protocol ? { protocol } : {},
    });
    new SocketConnection(socket, context, admitted);
    return response;
  } catch {
    admitted.slot.release();
    return plain(400, "This request cannot be upgraded to a WebSocket");
  }
}

// ---- The end -----------------------------------------------------------------------------------------------------------------

async function drain(http: Serving, context: Context): Promise<void> {
  context.draining = true;
  context.front?.stop();
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, DRAIN_TIMEOUT_MS));
  await Promise.race([context.hub.drain("restart", "The server is restarting"), deadline]);
  // shutdown() says 1001 to every socket it still has: let the peers answer our 1012 first.
  await Promise.race([context.sockets.empty(), deadline]);
  context.front?.close();
  await Promise.race([http.shutdown(), deadline]);
  clearTimeout(timer);
}

// ---- The command line --------------------------------------------------------------------------------------------------------

/** Exit statuses: 1 for what the machine refuses, 2 for what the command line has wrong. */
const FAILED = 1, USAGE = 2;

/** Runs the command line; resolves with the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    if (error instanceof UsageError) return fail(USAGE, `${error.message}; see ${SERVER.name} --help`);
    if (error instanceof StartError || error instanceof BrokerError || error instanceof KeyError) {
      return fail(FAILED, error.message);
    }
    throw error;
  }
}

/** Why the server does not start, in a sentence. */
class StartError extends Error {
  override readonly name = "StartError";
}

function fail(status: number, message: string): number {
  console.error(`${SERVER.name}: ${message}`);
  return status;
}

async function run(args: readonly string[]): Promise<number> {
  const env = (name: string) => Deno.env.get(name);
  const command = commandOf(SERVER, args);
  if (command !== "") return await runCommand(command, args.slice(1), env);
  const { values, operands } = parseOptions(SERVER_OPTIONS, args, { env });
  if (values.help) return print(helpText(SERVER));
  if (values.version) return print(VERSION);
  if (operands.length > 0) throw noCommand(SERVER, operands[0]!);
  // It would override --host and --port without a word.
  Deno.env.delete("DENO_SERVE_ADDRESS");
  return await serve(values);
}

/** Serves until a signal ends it. */
async function serve(values: ServerValues): Promise<number> {
  checkTogether(values);
  const tokens = await openTokens(values);
  const certificate = readCertificate(values);
  const revoked = openRevoked(values, (changed) => server?.closeRevoked(changed));
  const broker = await openBroker(values);
  let server: Server | undefined;
  try {
    server = listen(values, { broker, ...tokens && { tokens }, ...revoked && { revoked }, ...certificate && { certificate } });
  } catch (error) {
    await broker.close();
    throw error;
  }
  const ended = terminated(endsOnHangup(values));
  const stopRenewing = renewOnHangup(server, values);
  announce(server, values);
  await ended;
  stopRenewing();
  revoked?.close();
  console.error("Draining");
  await server.shutdown();
  return 0;
}

async function runCommand(
  command: string,
  args: readonly string[],
  env: (name: string) => string | undefined,
): Promise<number> {
  if (command === "backup") return await runBackup(args, env);
  const options = command === "token" ? TOKEN_OPTIONS : KEYS_OPTIONS;
  const { values, operands } = parseOptions<OptionTable>(options, args, { env });
  if (values.help) return print(helpText(SERVER, command));
  if (operands.length > 0) throw new UsageError(`${command} takes options only, not "${operands[0]}"`);
  if (command === "token") return print(await tokenCommand(values as Values<typeof TOKEN_OPTIONS>));
  return print(await keysCommand(values as Values<typeof KEYS_OPTIONS>));
}

/** The part of a mailbox that may have been confirmed without the broker knowing it. */
const CONFIRM_MAILBOX_PARTS = 4;
/** Frames that a connection's queue has room for at least: one that waits, and the next. */
const QUEUE_FRAMES_MIN = 2;
/** As browsers say it: a scheme and a host, without a path. Apps have schemes of their own. */
const ORIGIN_REGEXP = /^[a-z][a-z0-9+.-]*:\/\/[^/\s]+$/;

/** Values that each may be, and together would leave somebody outside for ever. */
function checkTogether({ "queue-bytes": queue, "frame-bytes": frame, "allow-origin": origins }: ServerValues): void {
  if (queue < frame * QUEUE_FRAMES_MIN) {
    const least = frame * QUEUE_FRAMES_MIN;
    throw new UsageError(`--queue-bytes ${queue} is too few for frames of ${frame} bytes; it has to be at least ${least}`);
  }
  for (const origin of origins) {
    if (origin === "*" || origin === "null" || ORIGIN_REGEXP.test(origin)) continue;
    throw new UsageError(`--allow-origin "${origin}" is no origin, such as https://chat.example.org`);
  }
}

/** Undefined in open mode, which is for this machine alone unless the operator insists. */
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

function openRevoked({ revoked }: ServerValues, changed: (revoked: Revoked) => void): Revoked | undefined {
  if (revoked === undefined) return undefined;
  try {
    return new Revoked(revoked, changed, log);
  } catch (error) {
    throw new StartError(`Cannot read --revoked ${revoked}: ${reason(error)}`);
  }
}

function readCertificate({ cert, key }: ServerValues): Certificate | undefined {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new UsageError("TLS needs both --cert and --key");
  return { cert: readKey(cert), key: readKey(key) };
}

/** SIGHUP: certificates are read again. Returns how to stop that. */
function renewOnHangup(server: Server, values: ServerValues): () => void {
  if (Deno.build.os === "windows" || endsOnHangup(values)) return () => {};
  const renew = async () => {
    if (values.cert === undefined) return log("SIGHUP: there is no --cert to read again");
    try {
      await server.renew(readCertificate(values)!);
      log("the certificate was read again");
    } catch (error) {
      log(`the certificate stays as it was: ${reason(error)}`);
    }
  };
  Deno.addSignalListener("SIGHUP", renew);
  return () => Deno.removeSignalListener("SIGHUP", renew);
}

/** SIGHUP has nothing to renew, and says that the terminal which the server was started in is gone. */
function endsOnHangup(values: ServerValues): boolean {
  return values.cert === undefined && Deno.stdin.isTerminal();
}

async function runBackup(args: readonly string[], env: (name: string) => string | undefined): Promise<number> {
  const { values, operands } = parseOptions(BACKUP_OPTIONS, args, { env });
  if (values.help) return print(helpText(SERVER, "backup"));
  const [file] = operands;
  if (operands.length !== 1 || file === undefined) throw new UsageError("backup takes one FILE");
  await backup(values.data, file);
  return print(`The messages in ${values.data} are copied to ${file}`);
}

function openBroker(values: ServerValues): Promise<Broker> {
  const limits = {
    mailbox: values.mailbox || Infinity,
    retentionDays: values["retention-days"] || Infinity,
    groupsPerUser: values["max-groups"] || Infinity,
    groupMembers: values["max-group-members"] || Infinity,
  };
  if (values.broker === "memory" || values.data === ":memory:") return Promise.resolve(new MemoryBroker(limits));
  const report = (error: unknown, where: string) => log(`${where} failed: ${reason(error)}`);
  return openSqliteBroker({ dir: values.data, sync: values.sync as "full" | "normal", report, ...limits });
}

function print(text: string): number {
  console.log(text);
  return 0;
}

/** A line on stderr. What others chose is in some, so whatever a terminal or a reader of logs might obey is spelled out. */
function log(line: string): void {
  const safe = line.slice(0, LOG_CHARS_MAX).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => `\\u{${c.codePointAt(0)!.toString(16)}}`);
  console.error(`${new Date().toISOString()} ${safe}`);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type ServerValues = Values<typeof SERVER_OPTIONS>;

function listen(values: ServerValues, parts: Partial<ServerOptions>): Server {
  const { host, port, rate, burst } = values;
  const refusalsMax = values["max-refusals"] || Infinity;
  try {
    return startServer({
      ...parts,
      hostname: host,
      port,
      frameBytes: values["frame-bytes"],
      contentBytes: values["content-bytes"],
      queueBytes: values["queue-bytes"],
      confirmMessages: Math.min(CONFIRM_MESSAGES, (values.mailbox || Infinity) / CONFIRM_MAILBOX_PARTS),
      helloTimeoutMs: values["hello-timeout"] * 1_000,
      devicesMax: values["max-devices"] || Infinity,
      refusalsMax,
      ...rate > 0 && { rateLimit: new TokenBuckets(rate, burst, { refusalsMax }), rate: { rate, burst } },
      admission: {
        connections: values["max-connections"] || Infinity,
        namelessPerAddress: values["max-connections-per-address"] || Infinity,
        upgradesPerSecond: values["max-upgrades-per-second"] || Infinity,
        memoryBytes: values["max-memory"] * 1_048_576 || Infinity,
        zombies: values["max-stalled"] || Infinity,
        zombiesPerUser: values["max-stalled-per-user"] || Infinity,
        // The hub refuses devices that are too many once it knows them; those that come all at once are stopped here.
        connectionsPerUser: (values["max-devices"] || Infinity) + (values["max-stalled-per-user"] || Infinity),
      },
      allowOrigin: values["allow-origin"],
      trustedHops: values["trust-proxy"],
      log,
    });
  } catch (error) {
    throw new StartError(whyNot(error, host, port));
  }
}

function whyNot(error: unknown, host: string, port: number): string {
  if (error instanceof Deno.errors.AddrInUse) return `Port ${port} on ${host} is in use; choose another with --port`;
  if (error instanceof Deno.errors.AddrNotAvailable) return `${host} is no address of this machine; choose another with --host`;
  if (error instanceof Deno.errors.PermissionDenied) {
    return `Listening on port ${port} is not permitted; choose one above 1023 with --port`;
  }
  return `Cannot listen on ${host} port ${port}: ${reason(error)}`;
}

function announce({ url }: Server, values: ServerValues): void {
  const { quiet, broker, data } = values;
  console.log(`Parley ${VERSION} listens on ${url}`);
  if (quiet) return;
  const isKept = broker === "sqlite" && data !== ":memory:";
  console.log(isKept ? `Messages are kept in ${data}` : "Messages are kept in memory and gone when it ends");
  const server = url === "ws://127.0.0.1:8080/ws" ? "" : ` --server ${url}`;
  console.log(`${hints(values, server)}\nStop it with Ctrl-C.`);
}

/** What to type next. */
function hints(values: ServerValues, server: string): string {
  const { "jwt-secret-file": secret, "jwt-public-key": publicKey, jwks } = values;
  if (secret === undefined && publicKey === undefined && jwks === undefined) {
    return `Try it: in two other terminals,
  ./chat-client --name alice${server}      (or: deno task client --name alice${server})
  ./chat-client --name bob --to alice${server}`;
  }
  const key = secret === undefined ? "--jwt-private-key private.pem" : `--jwt-secret-file ${secret}`;
  const make = `./chat-server token --name alice ${key} --out alice.token`;
  return `Who connects needs a token:
  ${jwks === undefined ? make : "alice.token: as your identity provider makes them"}
  ./chat-client --token-file alice.token${server}`;
}

/** Resolves at the first signal to end. */
async function terminated(hangup: boolean): Promise<void> {
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
  if (hangup && Deno.build.os !== "windows") signals.push("SIGHUP");
  let stop = () => {};
  await new Promise<void>((resolve) => {
    stop = resolve;
    for (const signal of signals) Deno.addSignalListener(signal, stop);
  });
  for (const signal of signals) Deno.removeSignalListener(signal, stop);
}

if (import.meta.main) {
  // What slips through ends in the log, not the process: one connection's fault is nobody else's.
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    console.error(`unhandled rejection: ${event.reason instanceof Error ? event.reason.message : "unknown"}`);
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    console.error(`uncaught: ${event.message}`);
  });
  Deno.exit(await main(Deno.args));
}
