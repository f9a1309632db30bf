/** Standard requests and responses over Node's HTTP, so that one handler answers whatever carries it. */

import type { Buffer } from "node:buffer";
import { type IncomingMessage, type ServerResponse, STATUS_CODES } from "node:http";
import type { Socket } from "node:net";

/** Milliseconds for an answer to leave before a connection is cut off whose request goes on. */
const CUT_OFF_MS = 50;

/**
 * Returns a request as the handler takes it, or undefined for one whose address or headers cannot be. The body is read from the
 * network as the handler reads it; `proceed` is called before, for a peer that waits for a word.
 */
export function requestOf(message: IncomingMessage, scheme: "http" | "https", proceed = () => {}): Request | undefined {
  const { method = "GET", url = "/", headers: { host = "localhost" }, rawHeaders } = message;
  const hasBody = method !== "GET" && method !== "HEAD" && hasMore(message);
  try {
    const headers = new Headers();
    for (let i = 0; i < rawHeaders.length; i += 2) headers.append(rawHeaders[i]!, rawHeaders[i + 1]!);
    return new Request(url.startsWith("/") ? `${scheme}://${host}${url}` : url, {
      method,
      headers,
      ...hasBody && { body: bodyOf(message, proceed) },
    });
  } catch {
    return undefined;
  }
}

/** Answers a request. One whose body was not read to its end is cut off: nobody else would stop reading it. */
export async function respond(message: IncomingMessage, response: ServerResponse, answer: Response): Promise<void> {
  const body = await answer.bytes();
  const isOver = message.complete || !hasMore(message);
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
