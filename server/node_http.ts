/** Heads of requests, and standard responses, over Node's HTTP, so that one handler answers whatever carries it. */

import type { Buffer } from "node:buffer";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";
import type { Fields, Head } from "./head.ts";

/** Milliseconds for an answer to leave before a connection is cut off whose request goes on. */
const CUT_OFF_MS = 50;

/** Methods that a standard request cannot have. */
const FORBIDDEN_METHODS: readonly (string | undefined)[] = ["CONNECT", "TRACE", "TRACK"];
/** Characters with which a Host header would say more of an address than its host: a path, say. */
const BEYOND_HOST_REGEXP = /[/\\?#@]/;

/** Head of a request of Node's. */
export class NodeHead implements Head {
  readonly message: IncomingMessage;
  readonly method: string;
  readonly url: string;
  readonly headers: NodeFields;
  readonly #proceed: () => void;

  /** `proceed` is called before the body is read, for a peer that waits for a word. */
  constructor(message: IncomingMessage, scheme: "http" | "https", proceed: () => void = () => {}) {
    const { method = "GET", url = "/", rawHeaders } = message;
    this.message = message;
    this.method = method;
    this.headers = new NodeFields(rawHeaders);
    // An empty Host is none: with it, the first part of the path would be the host.
    const address = url.startsWith("/") ? `${scheme}://${this.headers.get("host") || "localhost"}${url}` : url;
    // As in a standard request: what is said of the characters of an address goes for those of its canonical form.
    this.url = URL.parse(address)?.href ?? "";
    this.#proceed = proceed;
  }

  /** True where no standard request could be made of it, its address is not one of HTTP, or it names several hosts, or no host. */
  get isRefused(): boolean {
    return !/^https?:/.test(this.url) || FORBIDDEN_METHODS.includes(this.method) || this.headers.count("host") > 1 ||
      BEYOND_HOST_REGEXP.test(this.headers.get("host") ?? "");
  }

  /** The body is read from the network as somebody reads it. */
  standard(): Request {
    const { message, method, url } = this, { rawHeaders } = message;
    const headers = new Headers();
    for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    const hasBody = method !== "GET" && method !== "HEAD" && hasMore(message);
    return new Request(url, { method, headers, ...hasBody && { body: bodyOf(message, this.#proceed) } });
  }
}

/** Headers of a request of Node's, as they came: its own table drops what comes twice. */
class NodeFields implements Fields {
  readonly #raw: readonly string[];
  readonly #names: string[] = [];

  constructor(raw: readonly string[]) {
    this.#raw = raw;
    for (let i = 0; i < raw.length; i += 2) this.#names.push(raw[i]!.toLowerCase());
  }

  /** Lines in all. */
  get size(): number {
    return this.#names.length;
  }

  get(name: string): string | null {
    let value: string | null = null;
    for (let i = this.#names.indexOf(name); i >= 0; i = this.#names.indexOf(name, i + 1)) {
      const line = this.#raw[i * 2 + 1]!;
      value = value === null ? line : `${value}, ${line}`;
    }
    return value;
  }

  has(name: string): boolean {
    return this.#names.includes(name);
  }

  keys(): readonly string[] {
    return this.#names;
  }

  /** Returns the number of lines with a name. */
  count(name: string): number {
    return this.#names.filter((other) => other === name).length;
  }
}

/**
 * Answers a request. One whose body was not read to its end is cut off: nobody else would stop reading it. So is one whose answer
 * announces more than there is, even if its body has come by now: the next answer would be taken for the rest.
 */
export async function respond(message: IncomingMessage, response: ServerResponse, answer: Response): Promise<void> {
  const body = await answer.bytes();
  const isShort = message.method !== "HEAD" && Number(answer.headers.get("content-length")) > body.length;
  const isOver = (message.complete || !hasMore(message)) && !isShort;
  response.writeHead(answer.status, { ...headersOf(answer, body), ...!isOver && { connection: "close" } });
  response.end(message.method === "HEAD" ? undefined : body);
  if (!isOver) cutOff(message.socket);
}

/** Answers a request on its bare socket, which it ends: one to upgrade that is refused. */
export async function refuse(socket: Socket, method: string | undefined, answer: Response): Promise<void> {
  const body = await answer.bytes();
  const headers = Object.entries({ ...headersOf(answer, body), connection: "close" }).map(([name, value]) =>
    `${name}: ${value}\r\n`
  );
  socket.write(`HTTP/1.1 ${answer.status} ${STATUS_CODES[answer.status] ?? ""}\r\n${headers.join("")}\r\n`, "latin1");
  socket.end(method === "HEAD" ? new Uint8Array() : body);
  cutOff(socket);
}

/** Headers of an answer. Its length is that of its body, unless it announces more, so as to be cut off. */
function headersOf(answer: Response, body: Uint8Array): Record<string, string> {
  return { "content-length": String(body.length), ...Object.fromEntries(answer.headers) };
}

function hasMore({ headers }: IncomingMessage): boolean {
  return headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0";
}

function bodyOf(message: IncomingMessage, proceed: () => void): ReadableStream<Uint8Array> {
  const chunks = message[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      proceed();
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value));
    },
  }, { highWaterMark: 0 });
}

function cutOff(socket: Socket): void {
  const timer = setTimeout(() => socket.destroy(), CUT_OFF_MS);
  socket.once("close", () => clearTimeout(timer));
}
