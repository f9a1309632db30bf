/**
 * The server: HTTP and WebSockets on one port, the hub behind them, and the drain at the end.
 *
 * `startServer` composes the parts and returns a handle; `main` is the command line around it.
 */

import { setImmediate } from "node:timers";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import type { Revoked } from "./auth/revoked.ts";
import { KeyError } from "./auth/tokens.ts";
import { MemoryBroker } from "./broker/memory.ts";
import { PostgresBroker } from "./broker/postgres.ts";
import { type Broker, BrokerError } from "./broker.ts";
import { readVariable } from "./cli/environment.ts";
import { helpText } from "./cli/help.ts";
import { commandOf, noCommand, type Parsed, parseOptions, UsageError } from "./cli/options.ts";
import { Hub } from "./hub.ts";
import { placeOf } from "./limits/address.ts";
import { Admission, UNLIMITED } from "./limits/admission.ts";
import { formatFor, type Log, type LogFormat, type LogLevel, openLog, reasonOf } from "./ops/log.ts";
import { Api } from "./server/api.ts";
import { announce } from "./server/announce.ts";
import { assemble, cannotListen, type ServerOptions, StartError, whyMetricsExposed, whyNoMetrics } from "./server/assemble.ts";
import { readCertificate } from "./server/certificate.ts";
import { runCommand } from "./server/commands.ts";
import { slipsInEnvironment } from "./server/environment.ts";
import { Gate } from "./server/gate.ts";
import { Guests } from "./server/guest.ts";
import { type Head, StandardHead } from "./server/head.ts";
import { httpHandler, type HttpOptions, plain } from "./server/http.ts";
import { Listener } from "./server/listener.ts";
import type { MetricsAddress, MetricsServer } from "./server/metrics.ts";
import { SERVER, SERVER_OPTIONS, type ServerValues, VERSION } from "./server/options.ts";
import { renewOnHangup, terminated } from "./server/signals.ts";
import { SocketConnection, withSpacedProtocols } from "./server/sockets.ts";
import { TlsTerminator } from "./server/tls_terminator.ts";
import { WebhookFileError, Webhooks } from "./server/webhooks.ts";
import type { Certificate, Transport, TransportOptions } from "./server/transport.ts";
import type { TransportName } from "./server/transport_choice.ts";

export type { ServerOptions } from "./server/assemble.ts";

/** Seconds. Deno pings a socket that was silent for half of this, and closes it if no pong comes within the other half. */
const IDLE_TIMEOUT_S = 60;
/** Milliseconds that a drain takes at most; whatever takes longer is cut. */
const DRAIN_TIMEOUT_MS = 4_000;
/** The part of that in which what is in flight may end; the rest is for the goodbyes to be answered. */
const FINISH_TIMEOUT_MS = 2_500;
/** Milliseconds that the webhooks, and the broker, may take to close after that; a disk that never answers must not keep the process. */
const CLOSE_TIMEOUT_MS = 1_000;
/** Sentence for senders while there is too little room for messages. */
const NO_SPACE = "The server has too little free space for messages; try again later";

/** A running server. */
export interface Server {
  readonly hub: Hub;
  readonly admission: Admission;
  readonly hostname: string;
  readonly port: number;
  /** URL that clients connect to. */
  readonly url: string;
  /** Port of the metrics; undefined where they are not served. */
  readonly metricsPort: number | undefined;
  /** Gives new connections this certificate. Rejects for one that cannot be used. */
  renew(certificate: Certificate): Promise<void>;
  /** Takes no more frames, lets what is in flight finish, says 1012 to every socket, and closes the broker. Idempotent. */
  shutdown(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Starts a server. Rejects with what `Deno.serve` throws, such as `Deno.errors.AddrInUse`, and with {@linkcode StartError} where
 * metrics cannot be served.
 */
export async function startServer(options: ServerOptions = {}): Promise<Server> {
  const { hostname = "127.0.0.1", port: wanted = 8080, certificate, revoked, space, log = () => {} } = options;
  const broker: Broker = options.broker ?? new MemoryBroker();
  const report = (error: unknown, task: string) => log("failed", { task, reason: reasonOf(error) });
  const disconnected = (user: string, by: string, connections: number) => {
    guests.disconnected(user);
    log("disconnected", { user, connections, by });
  };
  const refusesMessages = () => space?.isShort ? NO_SPACE : undefined;
  const revokedElsewhere = (entries: ReadonlySet<string>) => revoked?.setOthers(entries);
  const metrics = options.metrics && await openMetrics(options.metrics, log);
  let webhooks: Webhooks | undefined;
  const mailboxFull = (user: string, sender: string) => webhooks?.mailboxFull(user, sender);
  const told = { report, disconnected, refusesMessages, revokedElsewhere, mailboxFull };
  const hub = new Hub({ defer: setImmediate, ...options, ...metrics && { meter: metrics.meter }, broker, ...told });
  const admission = new Admission({ ...UNLIMITED, ...options.admission }, () => Deno.memoryUsage().rss);
  const publish = ({ own }: Revoked) => own && broker.cluster?.publishRevoked(own);
  const guests = new Guests(hub, { revoked, log, publish });
  const gate = new Gate({ ...options, hostname, admission });

  const scheme = certificate ? "wss" : "ws";
  let isDraining = false;
  let isListening = () => false;
  const unstored = () => {
    if (space?.isShort) return "there is too little free space for messages (--free-bytes)";
    const unwell = broker.health?.();
    return unwell === undefined ? undefined : `nothing can be stored (${unwell})`;
  };
  const answers: Omit<HttpOptions, "upgrade"> = {
    scheme,
    unstored,
    trustedHops: options.trustedHops ?? 0,
    isDraining: () => isDraining,
    unreadiness() {
      if (isDraining) return "it is draining";
      if (!isListening()) return "it does not listen: there are no file descriptors";
      const unable = unstored();
      if (unable !== undefined) return unable;
      const full = admission.full();
      return full === undefined ? undefined : `it is at a limit (${full})`;
    },
    explain: (request, address) => gate.explain(request, address),
    web: options.web,
    api: options.api && new Api({
      ...options.api,
      hub,
      revoked,
      trustedHops: options.trustedHops ?? 0,
      version: VERSION,
      isDraining: () => isDraining,
      answered: metrics && ((route, status) => metrics.apiAnswered(route, status)),
      log,
    }),
  };
  let served = certificate;
  metrics?.measure({
    hub,
    admission,
    database: options.metrics?.database,
    freeBytes: () => space?.freeBytes,
    certificate: () => served,
    webhooks: () => webhooks?.waiting,
  });
  const transport = await listen(options.transport ?? "deno", {
    hostname,
    port: wanted,
    certificate,
    gate,
    guests,
    frameBytes: hub.frameBytes,
    handlerOf: (upgrade) => httpHandler({ ...answers, upgrade: metrics?.counting(upgrade) ?? upgrade }),
    log,
  }).catch(async (error) => {
    await metrics?.close();
    throw error;
  });

  try {
    if (options.webhooks !== undefined) webhooks = openWebhooks(options.webhooks, hub, metrics, log);
  } catch (error) {
    await transport.close();
    await metrics?.close();
    throw error;
  }

  isListening = () => transport.isListening;
  const { port } = transport;
  let drained: Promise<void> | undefined;
  const shutdown = () => {
    isDraining = true;
    guests.turnAway();
    return drained ??= drain(hub, guests, transport, options.drainMs ?? 0).finally(() =>
      webhooks && closeInTime(webhooks, "closing the webhooks", report)
    )
      .finally(() => closeInTime(broker, "closing the messages", report))
      .finally(() => metrics?.close());
  };
  return {
    hub,
    admission,
    hostname,
    port,
    url: `${scheme}://${placeOf(hostname, port)}/ws`,
    async renew(renewed) {
      await transport.renew(renewed);
      served = renewed;
    },
    metricsPort: metrics?.port,
    shutdown,
    [Symbol.asyncDispose]: shutdown,
  };
}

/** Loads what counts, where somebody asks for it, and listens. Rejects with {@linkcode StartError}. */
async function openMetrics(address: MetricsAddress, log: Log): Promise<MetricsServer> {
  const { MetricsServer } = await import("./server/metrics.ts");
  try {
    const metrics = new MetricsServer(address);
    const words = whyMetricsExposed(metrics.hostname, metrics.port);
    if (words !== undefined) log("metrics_exposed", { words });
    return metrics;
  } catch (error) {
    throw new StartError(whyNoMetrics(error, address));
  }
}

/** Begins with webhooks. Throws {@linkcode WebhookFileError}. */
function openWebhooks(file: string, hub: Hub, metrics: MetricsServer | undefined, log: Log): Webhooks {
  const online = async () => (await hub.list()).map(({ user }) => user);
  const meter = metrics && ((endpoint: string, result: string, count: number) => metrics.webhook(endpoint, result, count));
  return new Webhooks({ file, broker: hub.broker, online, log, meter });
}

/** Listens with the transport of that name. Rejects with what `Deno.serve` throws, and for a certificate that cannot be used. */
async function listen(name: TransportName, options: TransportOptions): Promise<Transport> {
  if (name === "deno") return listenWithDeno(options);
  // Loaded where it is needed: it reads the environment, and does not load on every version of Deno.
  const { listenWithWs } = await import("./server/ws_transport.ts");
  return await listenWithWs(options);
}

/** Closes a part, and waits no longer for that than is reasonable. */
async function closeInTime(
  part: { close(): Promise<void> },
  task: string,
  report: (error: unknown, task: string) => void,
): Promise<void> {
  const signal = AbortSignal.timeout(CLOSE_TIMEOUT_MS);
  await deadline(part.close(), Infinity, { signal }).catch((error) => report(error, task));
}

async function drain(hub: Hub, guests: Guests, transport: Transport, ms: number): Promise<void> {
  await hub.disperse("restart", "The server is restarting", ms);
  const signal = AbortSignal.timeout(DRAIN_TIMEOUT_MS);
  // A step that takes too long is left behind, and the next one is still begun.
  const inTime = (step: Promise<void>) => deadline(step, Infinity, { signal }).catch(() => {});
  transport.stop();
  const patience = new AbortController();
  const finished = delay(FINISH_TIMEOUT_MS, { signal: patience.signal }).catch(() => {});
  await inTime(hub.drain("restart", "The server is restarting", finished));
  patience.abort();
  // Closing the transport cuts every socket: let the peers answer our 1012 first.
  await inTime(guests.empty());
  await inTime(transport.close());
}

// ---- Deno's sockets ----------------------------------------------------------------------------------------------------------

/**
 * Listens with Deno's own sockets, the TLS in front of them. Throws what `Deno.serve` throws, such as `Deno.errors.AddrInUse`, and
 * for a certificate that cannot be used.
 */
export function listenWithDeno(options: TransportOptions): Transport {
  const { hostname, port, certificate, gate, guests, handlerOf, log } = options;
  const handle = handlerOf((request, address) => upgrade(request, address, gate, guests));
  let terminator: TlsTerminator | undefined;
  const listener = new Listener({
    port: certificate ? 0 : port,
    log,
    listen: (port) =>
      Deno.serve({
        hostname: certificate ? "127.0.0.1" : hostname,
        port,
        onListen() {},
        onError(error) {
          log("request_failed", { reason: reasonOf(error) });
          return plain(500, "The server failed at this request");
        },
      }, (request, { remoteAddr }) => {
        return handle(new StandardHead(request), terminator ? terminator.peerOf(remoteAddr.port) : remoteAddr.hostname);
      }),
  });
  try {
    if (certificate) terminator = new TlsTerminator({ ...certificate, hostname, port, target: listener.port });
  } catch (error) {
    void listener.shutdown();
    throw error;
  }
  return {
    get isListening() {
      return listener.isListening;
    },
    port: terminator?.port ?? listener.port,
    renew: async (renewed) => await terminator?.renew(renewed),
    stop: () => terminator?.stop(),
    async close() {
      terminator?.close();
      // The listener says 1001 to every socket that it still has.
      await listener.shutdown();
    },
  };
}

/** Upgrades a request if the gate admits it; from then on the socket feeds the hub. */
async function upgrade(head: Head, address: string, gate: Gate, guests: Guests): Promise<Response> {
  const admitted = await gate.enter(head, address);
  if (admitted instanceof Response) return admitted;
  const { protocol, slot } = admitted, request = head.standard();
  try {
    const { socket, response } = Deno.upgradeWebSocket(protocol ? withSpacedProtocols(request) : request, {
      idleTimeout: IDLE_TIMEOUT_S,
      ...protocol ? { protocol } : {},
    });
    new SocketConnection(socket, guests, admitted);
    return response;
  } catch {
    slot.release();
    return plain(400, "This request cannot be upgraded to a WebSocket");
  }
}

// ---- The command line --------------------------------------------------------------------------------------------------------

/** Exit statuses: 1 for what the machine refuses, 2 for what the command line has wrong. */
const FAILED = 1, USAGE = 2;

/** Runs the command line; resolves with the exit status. */
export async function main(args: readonly string[]): Promise<number> {
  try {
    return await run(args);
  } catch (error) {
    if (error instanceof UsageError) return fail(USAGE, withHelp(error.message));
    if (
      error instanceof StartError || error instanceof BrokerError || error instanceof KeyError ||
      error instanceof WebhookFileError
    ) {
      return fail(FAILED, error.message);
    }
    throw error;
  }
}

/** Returns what is wrong with a command line, with the way to the help where it does not end with that itself. */
function withHelp(message: string): string {
  const help = `see ${SERVER.name} --help`;
  return message.endsWith(help) ? message : `${message}; ${help}`;
}

function fail(status: number, message: string): number {
  if (format === "json") log("start_failed", { reason: message });
  else console.error(`${SERVER.name}: ${message}`);
  return status;
}

function print(text: string): number {
  console.log(text);
  return 0;
}

/** Log of this process. Text, until the options are known: a wrong command line is told to people. */
let format: LogFormat = "text";
let log: Log = openLog({ format, level: "info" });

/** Opens the log that the options ask for. */
function openOwnLog({ "log-format": asked, "log-level": level }: ServerValues): void {
  format = formatFor(Deno.stderr, asked as LogFormat | undefined);
  log = openLog({ format, level: level as LogLevel });
}

async function run(args: readonly string[]): Promise<number> {
  const env = readVariable;
  format = "text";
  const command = commandOf(SERVER, args);
  const slips = slipsInEnvironment();
  const tellSlips = () => slips.forEach((slip) => console.error(`${SERVER.name}: ${slip}`));
  if (command !== "") {
    tellSlips();
    const { text, status } = await runCommand(command, args.slice(1), env);
    if (text !== "") print(text);
    return status;
  }
  let parsed: Parsed<typeof SERVER_OPTIONS>;
  try {
    parsed = parseOptions(SERVER_OPTIONS, args, { env });
  } catch (error) {
    tellSlips(); // one of them may be why
    throw error;
  }
  const { values, operands } = parsed;
  const serves = !values.help && !values.version && operands.length === 0;
  if (serves) openOwnLog(values);
  if (format === "text") tellSlips();
  else for (const words of slips) log("variable_unread", { words });
  if (values.help) return print(helpText(SERVER));
  if (values.version) return print(VERSION);
  if (operands.length > 0) throw noCommand(SERVER, operands[0]!);
  // It would override --host and --port without a word.
  Deno.env.delete("DENO_SERVE_ADDRESS");
  return await serve(values);
}

/** Serves until a signal ends it. */
async function serve(values: ServerValues): Promise<number> {
  const { options, server } = await start(values);
  // Without a certificate SIGHUP has nothing to renew, and says that the terminal which the server was started in is gone.
  const endsOnHangup = values.cert === undefined && Deno.stdin.isTerminal();
  const renew = values.cert === undefined ? undefined : () => server.renew(readCertificate(values)!);
  const ended = terminated(endsOnHangup);
  const stopRenewing = endsOnHangup ? () => {} : renewOnHangup(renew, log);
  const { broker, web, transport = "deno" } = options;
  const kept = broker instanceof PostgresBroker ? broker.promise : undefined;
  announce(formatFor(Deno.stdout, values["log-format"] as LogFormat | undefined), values, {
    url: server.url,
    transport,
    hasPage: web !== undefined,
    kept,
  });
  await ended;
  stopRenewing();
  options.revoked?.close();
  options.api?.keys.close();
  options.space?.close();
  const begun = performance.now();
  log("draining", { connections: server.hub.counts.sessions });
  await server.shutdown();
  log("ended", { ms: Math.round(performance.now() - begun) });
  return 0;
}

/** Starts what the option values ask for. Throws what {@linkcode assemble} throws, and {@linkcode StartError}. */
async function start(values: ServerValues): Promise<{ options: ServerOptions & { readonly broker: Broker }; server: Server }> {
  const options = await assemble(values, log);
  try {
    return { options, server: await startServer(options) };
  } catch (error) {
    options.revoked?.close();
    options.api?.keys.close();
    options.space?.close();
    await options.broker.close();
    throw error instanceof WebhookFileError || error instanceof StartError ? error : cannotListen(error, values);
  }
}

if (import.meta.main) {
  // An error that nobody caught is logged and does not end the process: one connection's fault is nobody else's.
  addEventListener("unhandledrejection", (event) => {
    event.preventDefault();
    log("unhandled_rejection", { reason: event.reason instanceof Error ? event.reason.message : "unknown" });
  });
  addEventListener("error", (event) => {
    event.preventDefault();
    log("uncaught_error", { reason: event.message });
  });
  Deno.exit(await main(Deno.args));
}
