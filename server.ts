/**
 * The server: HTTP and WebSockets on one port, the hub behind them, and the drain at the end.
 *
 * `startServer` wires everything and gives back a handle; `main` is the command line around it.
 */

import { setImmediate } from "node:timers";
import { MemoryBroker } from "./broker/memory.ts";
import { type Broker, type Connection, Hub, type HubOptions, type Introduction, type Peer } from "./hub.ts";
import { helpText, parseOptions, UsageError, type Values } from "./options.ts";
import { CLOSE_CODES, parseName, Refusal } from "./protocol.ts";
import { SERVER, SERVER_OPTIONS, VERSION } from "./server_options.ts";

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
  const log = options.log ?? (() => {});
  const broker = options.broker ?? new MemoryBroker();
  const hub = new Hub({
    report: (error, where) => log(`${where} failed: ${error instanceof Error ? error.message : String(error)}`),
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
      log(`request failed: ${error instanceof Error ? error.message : String(error)}`);
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
    if (error instanceof StartError) return fail(FAILED, error.message);
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
  const { values, operands } = parseOptions(SERVER_OPTIONS, args, { env: (name) => Deno.env.get(name) });
  if (values.help) return print(helpText(SERVER));
  if (values.version) return print(VERSION);
  // It would override --host and --port without a word.
  Deno.env.delete("DENO_SERVE_ADDRESS");
  if (operands.length > 0) throw new UsageError(`There is no command "${operands[0]}"`);
  await using server = listen(values);
  announce(server, values.quiet);
  await terminated();
  console.error("Draining");
  await server.shutdown();
  return 0;
}

function print(text: string): number {
  console.log(text);
  return 0;
}

function listen(values: Values<typeof SERVER_OPTIONS>): Server {
  const { host, port } = values;
  try {
    return startServer({
      hostname: host,
      port,
      frameBytes: values["frame-bytes"],
      contentBytes: values["content-bytes"],
      queueBytes: values["queue-bytes"],
      helloTimeoutMs: values["hello-timeout"] * 1_000,
      devicesMax: values["max-devices"] || Infinity,
      log: (line) => console.error(`${new Date().toISOString()} ${line}`),
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
  return `Cannot listen on ${host} port ${port}: ${error instanceof Error ? error.message : String(error)}`;
}

function announce({ url }: Server, quiet: boolean): void {
  console.log(`Parley ${VERSION} listens on ${url}`);
  if (quiet) return;
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
