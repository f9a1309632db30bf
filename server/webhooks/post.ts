/**
 * One attempt: a POST over a connection of its own, to an address that was checked. Redirects are answers like others, and of
 * an answer its head alone is read. Written by hand since neither `fetch` nor `node:http` connects to an address that was looked
 * up before, on all versions of Deno that this runs on.
 */

import { lookup } from "node:dns/promises";
import { reasonOf } from "../../ops/log.ts";
import { bytesOf, whyRefused } from "./address.ts";

/** Bytes of an answer's head that are read: more than any receiver of good will sends. */
const HEAD_BYTES_MAX = 16_384;
/** Answers before the last one, such as `100 Continue`, that are passed over. */
const INTERIM_MAX = 4;
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

/** Head of an answer. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
}

/** Makes a request. Rejects with why there is no answer, words that have no secret in them. */
export type Post = (request: PostRequest) => Promise<Answer>;

/** Looks up the addresses of a name. */
export type Resolve = (name: string) => Promise<readonly string[]>;

const systemResolve: Resolve = async (name) => (await lookup(name, { all: true })).map(({ address }) => address);

/** Makes a {@linkcode Post}; names are looked up as the machine does by default. */
export function postWith(resolve: Resolve = systemResolve): Post {
  return async (request) => {
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
      return await Promise.race([attempt(request, resolve, abort.signal), late]);
    } finally {
      clearTimeout(timer);
      request.signal?.removeEventListener("abort", ended);
      abort.abort();
    }
  };
}

async function attempt(request: PostRequest, resolve: Resolve, signal: AbortSignal): Promise<Answer> {
  const addresses = await addressesOf(request, resolve);
  let failure = new Error("the name has no address");
  for (const address of addresses.slice(0, ADDRESSES_MAX)) {
    let connection: Deno.Conn;
    try {
      connection = await connect(request, address, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      failure = new Error(`cannot connect: ${reasonOf(error)}`);
      continue;
    }
    return await exchange(connection, request, signal);
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
  const connecting = Deno.connect({ hostname: address, port });
  const plain = await endedBy(connecting, signal);
  if (!isTls) return plain;
  try {
    const tls = await Deno.startTls(plain as Deno.TcpConn, { hostname: hostOf(url), ...ca !== undefined && { caCerts: [ca] } });
    const closing = closeOn(signal, tls);
    await tls.handshake();
    closing();
    return tls;
  } catch (error) {
    close(plain);
    throw error;
  }
}

/** Waits for a connection; one that comes after the end is closed. */
async function endedBy(connecting: Promise<Deno.Conn>, signal: AbortSignal): Promise<Deno.Conn> {
  const connection = await connecting;
  if (!signal.aborted) return connection;
  close(connection);
  throw new Error("it took too long");
}

async function exchange(connection: Deno.Conn, { url, headers, body }: PostRequest, signal: AbortSignal): Promise<Answer> {
  const closing = closeOn(signal, connection);
  try {
    const bytes = new TextEncoder().encode(body);
    const head = [
      `POST ${url.pathname}${url.search} HTTP/1.1`,
      `host: ${url.host}`,
      "connection: close",
      `content-length: ${bytes.length}`,
      ...url.username === "" ? [] : [`authorization: Basic ${btoa(`${decode(url.username)}:${decode(url.password)}`)}`],
      ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`),
    ].join("\r\n") + "\r\n\r\n";
    // Who refuses early may close before it has read everything: its answer counts all the same.
    const written = writeAll(connection, [new TextEncoder().encode(head), bytes]).catch(() => {});
    const answer = await readAnswer(connection);
    void written;
    return answer;
  } finally {
    closing();
    close(connection);
  }
}

function decode(text: string): string {
  return decodeURIComponent(text);
}

async function writeAll(connection: Deno.Conn, parts: readonly Uint8Array[]): Promise<void> {
  for (const part of parts) for (let at = 0; at < part.length;) at += await connection.write(part.subarray(at));
}

/** Reads the head of the first answer that is a last one. */
async function readAnswer(connection: Deno.Conn): Promise<Answer> {
  const buffer = new Uint8Array(HEAD_BYTES_MAX);
  let text = "", length = 0;
  for (let interim = 0;;) {
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) {
      const answer = parseHead(text.slice(0, end));
      if (answer.status >= 200) return answer;
      if (++interim > INTERIM_MAX) throw new Error("it answers 1xx again and again");
      text = text.slice(end + 4);
      continue;
    }
    if (length === buffer.length) throw new Error(`the head of its answer is longer than ${HEAD_BYTES_MAX} bytes`);
    const count = await connection.read(buffer.subarray(length));
    if (count === null) throw new Error("it closed the connection without an answer");
    text += LATIN1.decode(buffer.subarray(length, length + count));
    length += count;
  }
}

const LATIN1 = new TextDecoder("latin1");

function parseHead(head: string): Answer {
  const [first = "", ...lines] = head.split("\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})(?: |$)/.exec(first)?.[1];
  if (status === undefined) throw new Error("its answer is no HTTP");
  const retryAfter = lines.find((line) => /^retry-after:/i.test(line))?.slice("retry-after:".length).trim();
  return { status: Number(status), retryAfter };
}

/** Closes a connection when the time is up; returns the undoing of that. */
function closeOn(signal: AbortSignal, connection: Deno.Conn): () => void {
  const end = () => close(connection);
  if (signal.aborted) end();
  signal.addEventListener("abort", end);
  return () => signal.removeEventListener("abort", end);
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* it is closed already */ }
}
