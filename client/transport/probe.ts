/**
 * Asks a server, with nothing but sockets, why a WebSocket to it failed: the runtime tells that in words that change from release
 * to release, and over TLS not at all. One HTTP/1.1 request is sent, the one that opens a WebSocket.
 */

import { lookupAll } from "../../cli/lookup.ts";
import { within } from "../within.ts";
import { type PeerCertificate, peerCertificate } from "./certificate.ts";

/** Milliseconds that a server has for each of: a connection, a handshake, an answer. */
const ASK_MS = 5_000;
/** Milliseconds to wait for more of an answer that has begun. */
const REST_MS = 500;
/** Bytes of an answer that are read at most. */
const ANSWER_BYTES_MAX = 16_384;
/** Key of a WebSocket handshake: any 16 bytes, as nothing is sent after this one. */
const SAMPLE_KEY = btoa("\0".repeat(16));
/** First byte of an alert of TLS, which a server of that answers plain HTTP with. */
const TLS_ALERT = 0x15;

/** A server, and what is needed to ask it. */
export interface Question {
  /** URL with the scheme ws or wss. */
  readonly server: string;
  readonly token: string | undefined;
  /** Further certificates to trust, in PEM. */
  readonly ca: string | undefined;
}

/** The answer of a server to the request. */
export interface HttpAnswer {
  readonly kind: "answer";
  readonly status: number;
  readonly location: string | undefined;
  readonly body: string;
}

/** The outcome of a probe. `silent`: something took the connection, and gave no answer that is HTTP. */
export type Finding =
  | HttpAnswer
  | { readonly kind: "no-host" | "no-server" | "silent" | "no-tls" | "wants-tls" }
  | { readonly kind: "certificate"; readonly certificate: PeerCertificate; readonly isForHost: boolean };

/** Asks a server. Never rejects. */
export async function probe(question: Question): Promise<Finding> {
  const { hostname, port, protocol } = new URL(question.server);
  const isTls = protocol === "wss:";
  const place = { hostname: hostname.replace(/^\[|\]$/g, ""), port: Number(port || (isTls ? 443 : 80)) };
  const connection = await inTime(Deno.connect(place));
  if (!connection) return { kind: await isNoHost(place.hostname) ? "no-host" : "no-server" };
  if (!isTls) return await askPlainly(connection, question, place);
  connection.close(); // it showed that there is a server
  const caCerts = question.ca === undefined ? [] : [question.ca];
  const secure = await connectTls({ ...place, caCerts, alpnProtocols: ["http/1.1"] });
  if (secure) return await ask(secure, question) ?? { kind: "silent" };
  const certificate = await inTime(peerCertificate(place.hostname, place.port));
  if (!certificate) return { kind: "no-tls" };
  const other = await connectTls({ ...place, caCerts, unsafelyDisableHostnameVerification: true } as Deno.ConnectTlsOptions);
  other?.close();
  return { kind: "certificate", certificate, isForHost: other === undefined };
}

async function askPlainly(connection: Deno.Conn, question: Question, place: Deno.ConnectOptions): Promise<Finding> {
  const answer = await ask(connection, question);
  // Servers of TLS answer plain HTTP with an alert, with an error of their own, or by hanging up.
  const isDoubtful = answer === undefined || (answer.status === 400 && errorIn(answer.body) === undefined);
  if (isDoubtful && await inTime(peerCertificate(place.hostname!, place.port))) return { kind: "wants-tls" };
  return answer ?? { kind: "silent" };
}

/** Returns the words in a body that has the shape of the wire's errors; undefined for any other. */
export function errorIn(body: string): { readonly message: string; readonly retryable: boolean | undefined } | undefined {
  try {
    const { type, message, retryable } = JSON.parse(body) as Record<string, unknown>;
    if (type !== "error" || typeof message !== "string" || message === "") return undefined;
    return { message, retryable: typeof retryable === "boolean" ? retryable : undefined };
  } catch {
    return undefined;
  }
}

async function connectTls(options: Deno.ConnectTlsOptions): Promise<Deno.TlsConn | undefined> {
  const connection = await inTime(Deno.connectTls(options));
  if (!connection) return undefined;
  if (await inTime(connection.handshake().then(() => true))) return connection;
  connection.close();
}

/** Sends the request on a connection, which is closed after it. */
async function ask(connection: Deno.Conn, { server, token }: Question): Promise<HttpAnswer | undefined> {
  const { host, pathname, search } = new URL(server);
  const head = [
    `GET ${pathname}${search} HTTP/1.1`,
    `Host: ${host}`,
    ...(token === undefined ? [] : [`Authorization: Bearer ${token}`]),
    ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${SAMPLE_KEY}`],
  ];
  const request = new TextEncoder().encode(head.join("\r\n") + "\r\n\r\n");
  const isSent = await inTime(connection.write(request).then(() => true));
  const bytes = isSent ? await readAnswer(connection) : new Uint8Array();
  connection.close();
  return parseAnswer(bytes);
}

/** Reads until the answer is whole, the other side closes or pauses, or there is enough of it. */
async function readAnswer(connection: Deno.Conn): Promise<Uint8Array> {
  const buffer = new Uint8Array(ANSWER_BYTES_MAX);
  let length = 0;
  while (length < buffer.length && !isWhole(buffer.subarray(0, length))) {
    const count = await within(connection.read(buffer.subarray(length)).catch(() => null), length === 0 ? ASK_MS : REST_MS);
    if (count === null || count === undefined) break;
    length += count;
  }
  return buffer.subarray(0, length);
}

function isWhole(bytes: Uint8Array): boolean {
  if (bytes[0] === TLS_ALERT) return true;
  const text = new TextDecoder("latin1").decode(bytes);
  const end = text.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const length = headerIn(text.slice(0, end), "content-length");
  // Without a length only the end of a chunked body, or the close, shows the end.
  if (length !== undefined) return bytes.length >= end + 4 + Number(length);
  return /^HTTP\/1\.1 (1|204|304)/.test(text) || text.endsWith("\r\n0\r\n\r\n");
}

/** Parses an answer; undefined for what is not HTTP. */
export function parseAnswer(bytes: Uint8Array): HttpAnswer | undefined {
  const text = new TextDecoder("latin1").decode(bytes); // a character for each byte, as lengths are in bytes
  const [head = "", ...rest] = text.split("\r\n\r\n");
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1];
  if (status === undefined) return undefined;
  const raw = rest.join("\r\n\r\n");
  const isChunked = headerIn(head, "transfer-encoding")?.toLowerCase() === "chunked";
  const body = Uint8Array.from(isChunked ? unchunked(raw) : raw, (character) => character.charCodeAt(0));
  return {
    kind: "answer",
    status: Number(status),
    location: headerIn(head, "location"),
    body: new TextDecoder().decode(body),
  };
}

function unchunked(raw: string): string {
  let body = "";
  for (let rest = raw;;) {
    const [line, size] = /^([\da-f]+)[^\r]*\r\n/i.exec(rest) ?? [];
    if (line === undefined || parseInt(size!, 16) === 0) return body;
    const end = line.length + parseInt(size!, 16);
    body += rest.slice(line.length, end);
    rest = rest.slice(end + 2);
  }
}

function headerIn(head: string, name: string): string | undefined {
  const line = head.split("\r\n").find((line) => line.toLowerCase().startsWith(`${name}:`));
  return line?.slice(name.length + 1).trim();
}

async function isNoHost(hostname: string): Promise<boolean> {
  try {
    await lookupAll(hostname);
    return false;
  } catch (error) {
    return ["ENOTFOUND", "EAI_AGAIN", "EAI_NONAME"].includes((error as { code?: string }).code ?? "");
  }
}

/** Resolves as `promise` does; to undefined where that rejects or takes too long, and closes what comes too late. */
async function inTime<T>(promise: Promise<T>): Promise<T | undefined> {
  let isLate = false;
  promise.then((value) => isLate && closeLate(value), () => {});
  const value = await within(promise.catch(() => undefined), ASK_MS);
  isLate = value === undefined;
  return value;
}

function closeLate(value: unknown): void {
  if (typeof value !== "object" || value === null || !("close" in value)) return;
  try {
    (value as Deno.Conn).close();
  } catch { /* it is closed already */ }
}
