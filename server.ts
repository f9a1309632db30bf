/**
 * The server: HTTP and WebSockets on one port, the hub behind them, and the drain at the end.
 *
 * `startServer` wires everything and gives back a handle; `main` is the command line around it.
 */

import { setImmediate } from "node:timers";
import { MemoryBroker } from "./broker/memory.ts";
import { backup, openSqliteBroker } from "./broker/sqlite.ts";
import { BrokerError } from "./broker/sqlite_schema.ts";
import { type Broker, type Connection, Hub, type HubOptions, type Introduction, type Peer } from "./hub.ts";
import { commandOf, helpText, parseOptions, UsageError, type Values } from "./options.ts";
import { CLOSE_CODES, parseName, Refusal } from "./protocol.ts";
import { BACKUP_OPTIONS, SERVER, SERVER_OPTIONS, VERSION } from "./server_options.ts";

/** Milliseconds of silence after which Deno pings a socket, doubled: half of it later it is closed. */
const IDLE_TIMEOUT_S = 60;
/** Milliseconds that a drain takes at most: what is longer is cut. */
export const DRAIN_TIMEOUT_MS = 4_000;
/** Characters of a request's URL: a name fits many times. */
const URL_CHARS_MAX = 2_048;

/** What a server is made of. */
export interface ServerOptions extends Omit<HubOptions, "broker"> {
  readonly hostname?: string;
  /** 0 for any free port. */
  readonly port?: number;
  readonly broker?: Broker;
  /** One line for the operator. Never given content. */
  readonly log?: (line: string) => void;
}

/** A running server. */
export interface Server {
  readonly hub: Hub;
  readonly hostname: string;
  readonly port: number;
  /** Where clients connect. */
  readonly url: string;
  /** Stops accepting, says 1012 to every socket, lets what is in flight finish. Idempotent. */
  shutdown(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

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
  const sockets = new OpenSockets();
  let draining: Promise<void> | undefined;

  const http = Deno.serve({
    hostname: options.hostname ?? "127.0.0.1",
    port: options.port ?? 8080,
    onListen() {},
    onError: (error) => {
      tell(`request failed: ${reason(error)}`);
      return new Response("The server failed at this request\n", { status: 500 });
    },
  }, (request) => route(request, { hub, sockets, draining: draining !== undefined }));

  const { hostname, port } = http.addr as Deno.NetAddr;
  const shutdown = () => draining ??= drain(http, hub, sockets).finally(() => broker.close());
  return {
    hub,
    hostname,
    port,
    url: `ws://${hostname.includes(":") ? `[${hostname}]` : hostname}:${port}/ws`,
    shutdown,
    [Symbol.asyncDispose]: shutdown,
  };
}

// ---- HTTP --------------------------------------------------------------------------------------------------------------------

interface Context {
  readonly hub: Hub;
  readonly sockets: OpenSockets;
  readonly draining: boolean;
}

function route(request: Request, context: Context): Response {
  if (request.url.length > URL_CHARS_MAX) return plain(414, "The address is too long");
  const { pathname } = new URL(request.url);
  if (pathname !== "/" && pathname !== "/healthz" && pathname !== "/ws") {
    return plain(404, `There is nothing at this address; try /`);
  }
  if (request.method !== "GET" && request.method !== "HEAD") {
    return plain(405, "Only GET is answered here", { allow: "GET, HEAD" });
  }
  if (pathname === "/") return plain(200, welcomeText(request));
  if (pathname === "/healthz") return context.draining ? plain(503, "draining") : plain(200, "ok");
  return upgrade(request, context);
}

function plain(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text + "\n", {
    status,
    headers: { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff", ...headers },
  });
}

function welcomeText(request: Request): string {
  const { host, protocol } = new URL(request.url);
  const url = `${protocol === "https:" ? "wss" : "ws"}://${host}/ws`;
  return `Parley ${VERSION}: messages over a WebSocket, one line of JSON each.

Connect to ${url}?name=you with anything that speaks WebSocket and send
  {"sender":"you","recipient":"somebody","content":"hello"}

With the terminal client:
  chat-client --server ${url} --name you`;
}

// ---- WebSockets --------------------------------------------------------------------------------------------------------------

function upgrade(request: Request, context: Context): Response {
  if (request.headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return plain(426, "This is a WebSocket; connect with a WebSocket client", { upgrade: "websocket", connection: "Upgrade" });
  }
  if (!request.headers.has("sec-websocket-key")) return plain(400, "Sec-WebSocket-Key is missing");
  if (context.draining) return plain(503, "The server is restarting", { "retry-after": "5" });
  const introduction = introduce(request);
  if (introduction instanceof Refusal) return plain(400, introduction.message);
  const { socket, response } = Deno.upgradeWebSocket(request, { idleTimeout: IDLE_TIMEOUT_S });
  new SocketConnection(socket, context, introduction);
  return response;
}

function introduce(request: Request): Introduction | Refusal {
  const name = new URL(request.url).searchParams.get("name");
  if (name === null) return {};
  const user = parseName(name);
  return user instanceof Refusal ? user : { user };
}

/** The sockets that are not closed yet, ours to close or not. */
class OpenSockets {
  readonly #open = new Set<SocketConnection>();
  #emptied: (() => void) | undefined;

  add(socket: SocketConnection): void {
    this.#open.add(socket);
  }

  delete(socket: SocketConnection): void {
    this.#open.delete(socket);
    if (this.#open.size === 0) this.#emptied?.();
  }

  /** Resolves when none is left. */
  async empty(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#emptied = resolve);
  }
}

/** A WebSocket of Deno's as a {@linkcode Connection}. */
class SocketConnection implements Connection {
  readonly #socket: WebSocket;

  constructor(socket: WebSocket, { hub, sockets }: Context, introduction: Introduction) {
    this.#socket = socket;
    let peer: Peer | undefined;
    socket.onopen = () => {
      sockets.add(this);
      peer = hub.connect(this, introduction);
    };
    socket.onmessage = ({ data }) => peer?.receive(data);
    // Deno reports an end without a close frame as an error, and may report a close twice.
    socket.onerror = () => peer?.gone(false);
    socket.onclose = ({ code }) => {
      sockets.delete(this);
      peer?.gone(code === CLOSE_CODES.bye.code);
    };
  }

  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  send(frame: string): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  close(code: number, reason: string): void {
    if (this.#socket.readyState <= WebSocket.OPEN) this.#socket.close(code, reason);
  }
}

// ---- The end -----------------------------------------------------------------------------------------------------------------

async function drain(http: Deno.HttpServer, hub: Hub, sockets: OpenSockets): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const deadline = new Promise<void>((resolve) => timer = setTimeout(resolve, DRAIN_TIMEOUT_MS));
  await Promise.race([hub.drain("restart", "The server is restarting"), deadline]);
  // shutdown() says 1001 to every socket it still has: let the peers answer our 1012 first.
  await Promise.race([sockets.empty(), deadline]);
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
    if (error instanceof StartError || error instanceof BrokerError) return fail(FAILED, error.message);
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
  if (commandOf(SERVER, args) === "backup") return runBackup(args.slice(1), env);
  const { values, operands } = parseOptions(SERVER_OPTIONS, args, { env });
  if (values.help) return print(helpText(SERVER));
  if (values.version) return print(VERSION);
  if (operands.length > 0) throw new UsageError(`There is no command "${operands[0]}"`);
  // It would override --host and --port without a word.
  Deno.env.delete("DENO_SERVE_ADDRESS");
  const broker = await openBroker(values);
  let server: Server;
  try {
    server = listen(values, broker);
  } catch (error) {
    await broker.close();
    throw error;
  }
  announce(server, values);
  await terminated();
  console.error("Draining");
  await server.shutdown();
  return 0;
}

function runBackup(args: readonly string[], env: (name: string) => string | undefined): number {
  const { values, operands } = parseOptions(BACKUP_OPTIONS, args, { env });
  if (values.help) return print(helpText(SERVER, "backup"));
  const [file] = operands;
  if (operands.length !== 1 || file === undefined) throw new UsageError("backup takes one FILE");
  backup(values.data, file);
  return print(`The messages in ${values.data} are copied to ${file}`);
}

function openBroker(values: ServerValues): Promise<Broker> {
  const limits = {
    mailbox: values.mailbox || Infinity,
    retentionDays: values["retention-days"] || Infinity,
    groupsPerUser: values["max-groups"] || Infinity,
  };
  if (values.broker === "memory" || values.data === ":memory:") return Promise.resolve(new MemoryBroker(limits));
  const report = (error: unknown, where: string) => log(`${where} failed: ${reason(error)}`);
  return openSqliteBroker({ dir: values.data, sync: values.sync as "full" | "normal", report, ...limits });
}

function print(text: string): number {
  console.log(text);
  return 0;
}

/** One line for the operator. */
function log(line: string): void {
  console.error(`${new Date().toISOString()} ${line}`);
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

type ServerValues = Values<typeof SERVER_OPTIONS>;

function listen(values: ServerValues, broker: Broker): Server {
  const { host, port } = values;
  try {
    return startServer({
      broker,
      hostname: host,
      port,
      frameBytes: values["frame-bytes"],
      contentBytes: values["content-bytes"],
      queueBytes: values["queue-bytes"],
      helloTimeoutMs: values["hello-timeout"] * 1_000,
      devicesMax: values["max-devices"] || Infinity,
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

function announce({ url }: Server, { quiet, broker, data }: ServerValues): void {
  console.log(`Parley ${VERSION} listens on ${url}`);
  if (quiet) return;
  const isKept = broker === "sqlite" && data !== ":memory:";
  console.log(isKept ? `Messages are kept in ${data}` : "Messages are kept in memory and gone when it ends");
  const server = url === "ws://127.0.0.1:8080/ws" ? "" : ` --server ${url}`;
  console.log(`Try it: in two other terminals,
  ./chat-client --name alice${server}      (or: deno task client --name alice${server})
  ./chat-client --name bob --to alice${server}
Stop it with Ctrl-C.`);
}

/** Resolves at the first signal to end. */
async function terminated(): Promise<void> {
  const signals: Deno.Signal[] = Deno.build.os === "windows" ? ["SIGINT", "SIGBREAK"] : ["SIGINT", "SIGTERM"];
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
