/**
 * One attempt: a POST to an address that was checked. Redirects are answers like others, and of an answer its head alone counts.
 * Written by hand since neither `fetch` nor `node:http` connects to an address that was looked up before, on all versions of Deno
 * that this runs on.
 */

import { lookupAll } from "../../cli/lookup.ts";
import { reasonOf } from "../../ops/log.ts";
import { bytesOf, whyRefused } from "./address.ts";
import { type Answer, readAnswer, readRest, Unanswered } from "./answer.ts";
import { KeptConnections, Wire } from "./connections.ts";

/** Addresses of a name that are tried. */
const ADDRESSES_MAX = 3;

/** A request to be made. */
export interface PostRequest {
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Milliseconds for all of it. */
  readonly timeoutMs: number;
  /** Takes addresses that are not the internet's. */
  readonly allowPrivate: boolean;
  /** Certificates (PEM) of authorities to believe, beside those that the machine believes. */
  readonly ca?: string | undefined;
  /** Ends it early. */
  readonly signal?: AbortSignal | undefined;
}

/** Makes requests. */
export interface Post {
  /** Makes a request. Rejects with why there is no answer, words that have no secret in them. */
  (request: PostRequest): Promise<Answer>;
  /** Closes the connections that are kept for the next request. */
  close?(): void;
}

/** Looks up the addresses of a name. */
export type Resolve = (name: string) => Promise<readonly string[]>;

/** Makes a {@linkcode Post}, which has to be closed; names are looked up as the machine does by default. */
export function postWith(resolve: Resolve = lookupAll, connections: KeptConnections = new KeptConnections()): Post {
  const post = async (request: PostRequest) => {
    const abort = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined, ended = () => {};
    const late = new Promise<never>((_, reject) => {
      const end = (words: string) => {
        abort.abort();
        reject(new Error(words));
      };
      timer = setTimeout(() => end(`no answer within ${request.timeoutMs / 1_000} s`), request.timeoutMs);
      request.signal?.addEventListener("abort", ended = () => end("it was cut off"));
      if (request.signal?.aborted) ended();
    });
    try {
      return await Promise.race([attempt(request, resolve, connections, abort.signal), late]);
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", ended);
      abort.abort();
    }
  };
  return Object.assign(post, { close: () => connections.close() });
}

async function attempt(
  request: PostRequest,
  resolve: Resolve,
  connections: KeptConnections,
  signal: AbortSignal,
): Promise<Answer> {
  const kept = connections.take(keyOf(request));
  if (kept) {
    const answer = await exchange(kept, request, connections, signal).catch((error) => {
      if (error instanceof Unanswered) return undefined; // it was closed meanwhile, as receivers do without a word
      throw error;
    });
    if (answer) return answer;
  }
  return await exchange(await open(request, resolve, signal), request, connections, signal);
}

/** Returns what two requests have in common that may use one connection: where it leads, and what was checked for it. */
function keyOf({ url, allowPrivate, ca = "" }: PostRequest): string {
  return JSON.stringify([url.origin, allowPrivate, ca]);
}

/** Connects to the first address of the host that can be reached. */
async function open(request: PostRequest, resolve: Resolve, signal: AbortSignal): Promise<Wire> {
  const addresses = await addressesOf(request, resolve);
  let failure = new Error("the name has no address");
  for (const address of addresses.slice(0, ADDRESSES_MAX)) {
    try {
      return new Wire(await connect(request, address, signal));
    } catch (error) {
      if (signal.aborted) throw error;
      failure = new Error(`cannot connect: ${reasonOf(error)}`);
    }
  }
  throw failure;
}

/** Returns the addresses to try: checked here, and connected to as they are. */
async function addressesOf({ url, allowPrivate }: PostRequest, resolve: Resolve): Promise<readonly string[]> {
  const host = hostOf(url);
  let addresses: readonly string[];
  try {
    addresses = bytesOf(host) ? [host] : await resolve(host);
  } catch {
    throw new Error("the name of the host cannot be looked up");
  }
  const allowed = addresses.filter((address) => allowPrivate || whyRefused(address) === undefined);
  if (allowed.length > 0 || addresses.length === 0) return allowed;
  throw new Error(`its address is ${whyRefused(addresses[0]!)}; allow_private lets it be`);
}

function hostOf({ hostname }: URL): string {
  return hostname.replace(/^\[|\]$/g, "");
}

async function connect({ url, ca }: PostRequest, address: string, signal: AbortSignal): Promise<Deno.Conn> {
  const isTls = url.protocol === "https:";
  const port = url.port === "" ? (isTls ? 443 : 80) : Number(url.port);
  const plain = await endedBy(Deno.connect({ hostname: address, port }), signal);
  // The end of a handshake and a request are two writes: else the second would wait for the first to be confirmed, 40 ms.
  plain.setNoDelay(true);
  if (!isTls) return plain;
  try {
    const tls = await Deno.startTls(plain, { hostname: hostOf(url), ...ca !== undefined && { caCerts: [ca] } });
    const undo = onEnd(signal, () => close(tls));
    await tls.handshake();
    undo();
    return tls;
  } catch (error) {
    close(plain);
    throw error;
  }
}

/** Waits for a connection; one that comes after the end is closed. */
async function endedBy(connecting: Promise<Deno.TcpConn>, signal: AbortSignal): Promise<Deno.TcpConn> {
  const connection = await connecting;
  if (!signal.aborted) return connection;
  close(connection);
  throw new Error("it took too long");
}

/** Sends a request and reads the head of its answer; then keeps the connection, or closes it. */
async function exchange(wire: Wire, request: PostRequest, connections: KeptConnections, signal: AbortSignal): Promise<Answer> {
  const undo = onEnd(signal, () => wire.close());
  try {
    // Who refuses early may close before it has read everything: its answer counts all the same.
    const written = wire.write(requestBytes(request)).then(() => true, () => false);
    const { answer, body } = await readAnswer(wire);
    undo();
    void connections.keep(keyOf(request), wire, written.then((isWhole) => isWhole && readRest(wire, body)));
    return answer;
  } catch (error) {
    undo();
    wire.close();
    throw error;
  }
}

function requestBytes({ url, headers, body }: PostRequest): Uint8Array {
  const encoder = new TextEncoder(), content = encoder.encode(body);
  const head = encoder.encode(
    [
      `POST ${url.pathname}${url.search} HTTP/1.1`,
      `host: ${url.host}`,
      `content-length: ${content.length}`,
      ...url.username === "" ? [] : [`authorization: Basic ${btoa(`${decode(url.username)}:${decode(url.password)}`)}`],
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ].join("\r\n") + "\r\n\r\n",
  );
  const bytes = new Uint8Array(head.length + content.length);
  bytes.set(head);
  bytes.set(content, head.length);
  return bytes;
}

function decode(text: string): string {
  return decodeURIComponent(text);
}

/** Does something when the time is up, at once where it is; returns the undoing of that. */
function onEnd(signal: AbortSignal, end: () => void): () => void {
  if (signal.aborted) end();
  signal.addEventListener("abort", end);
  return () => signal.removeEventListener("abort", end);
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* it is closed already */ }
}
