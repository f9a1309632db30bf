/** `chat-server health`: asks a server how it is, in one request that takes a bounded time. For containers, units and people. */

import { X509Certificate } from "node:crypto";
import { deadline } from "@std/async/deadline";
import { KeyError } from "../auth/tokens.ts";
import { UsageError, type Values } from "../cli/options.ts";
import { placeOf, reachable } from "../limits/address.ts";
import { printable, reasonOf } from "../ops/log.ts";
import { StartError } from "./assemble.ts";
import { readKey } from "./credentials.ts";
import type { HEALTH_OPTIONS } from "./options.ts";

/** Bytes of an answer that are read: a server's own is a line. */
const ANSWER_BYTES_MAX = 4_096;

/** Server to ask, and how. */
export interface Asked {
  readonly url: URL;
  /** Name that its certificate has to be for. Default: the URL's host. */
  readonly name?: string | undefined;
  /** Certificates (PEM) to trust beside the system's. */
  readonly caCerts: string[];
  readonly timeoutMs: number;
}

/** Answer of a server: status and the first line of text. */
export interface Answer {
  readonly status: number;
  readonly text: string;
}

/** Asks `url`, or the server of this machine that the options describe. Returns a line; throws {@linkcode StartError} where it is not well. */
export async function healthCommand(values: Values<typeof HEALTH_OPTIONS>, url: string | undefined): Promise<string> {
  const asked = url === undefined ? ownServer(values) : { url: urlOf(url), caCerts: [] };
  const { href } = asked.url.pathname === "/" ? new URL(values.live ? "/livez" : "/readyz", asked.url) : asked.url;
  const caCerts = [...asked.caCerts, ...values.ca === undefined ? [] : [readKey(values.ca)]];
  const { status, text } = await ask({ ...asked, url: new URL(href), caCerts, timeoutMs: values.timeout * 1_000 })
    .catch((error) => {
      throw new StartError(`${href} does not answer: ${printable(whyNot(error, values.timeout))}`);
    });
  if (status !== 200) throw new StartError(`${href} says ${status}: ${printable(text)}`);
  return `${href} says ${printable(text)}`;
}

function urlOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url && (url.protocol === "ws:" || url.protocol === "wss:")) {
    return new URL(text.replace(/^ws/i, "http").replace(/\/ws$/, "/"));
  }
  if (url?.protocol === "http:" || url?.protocol === "https:") return url;
  throw new UsageError(`"${text}" is no URL of a server, such as http://127.0.0.1:8080`);
}

/** Returns the server of this machine with these options: on the address that it listens on, with the certificate that it has. */
export function ownServer(
  { host, port, cert }: { readonly host: string; readonly port: number; readonly cert?: string | undefined },
): Pick<Asked, "url" | "name" | "caCerts"> {
  const place = placeOf(reachable(host), port);
  if (cert === undefined) return { url: new URL(`http://${place}`), caCerts: [] };
  const chain = readKey(cert);
  return { url: new URL(`https://${place}`), name: nameIn(chain, cert), caCerts: [chain] };
}

/** Returns a name that a certificate is for: the first of them is as good as any. */
function nameIn(chain: string, file: string): string | undefined {
  try {
    const { subjectAltName = "", subject } = new X509Certificate(chain);
    // Older runtimes do not say the alternative names; the common name is one of them.
    const [, name] = /(?:DNS:|IP Address:)([^,\s]+)/.exec(subjectAltName) ?? /CN=([^,\s]+)/.exec(subject) ?? [];
    return name?.replace(/^\*\./, "any.");
  } catch {
    throw new KeyError(`--cert ${file}: There is no certificate (PEM)`);
  }
}

/** Asks a server. Rejects with what connecting throws, and with a `TimeoutError`. */
export async function ask({ url, name, caCerts, timeoutMs }: Asked): Promise<Answer> {
  const isTls = url.protocol === "https:";
  const hostname = url.hostname.replace(/^\[(.*)\]$/, "$1"), port = Number(url.port || (isTls ? 443 : 80));
  const signal = AbortSignal.timeout(timeoutMs);
  const inTime = <T>(step: Promise<T>) => deadline(step, Infinity, { signal });
  let connection: Deno.Conn = await inTime(Deno.connect({ hostname, port }));
  try {
    if (isTls) {
      connection = await inTime(Deno.startTls(connection as Deno.TcpConn, { hostname: name ?? hostname, caCerts }));
    }
    const head = `GET ${url.pathname}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\nConnection: close\r\n\r\n`;
    await inTime(connection.write(new TextEncoder().encode(head)));
    return await inTime(readAnswer(connection));
  } finally {
    try {
      connection.close();
    } catch { /* a failed handshake has closed it */ }
  }
}

async function readAnswer(connection: Deno.Conn): Promise<Answer> {
  const bytes = new Uint8Array(ANSWER_BYTES_MAX);
  let length = 0;
  for (;;) {
    const text = new TextDecoder().decode(bytes.subarray(0, length));
    const [, status, head, body] = /^HTTP\/1\.\d (\d{3})[^\r\n]*((?:\r\n[^\r\n]+)*)\r\n\r\n([^]*)$/.exec(text) ?? [];
    const announced = Number(/^content-length: *(\d+)/im.exec(head ?? "")?.[1] ?? Infinity);
    if (status !== undefined && new TextEncoder().encode(body).length >= announced) {
      return { status: Number(status), text: lineOf(body!) };
    }
    const more = length < bytes.length ? await connection.read(bytes.subarray(length)) : null;
    if (more !== null) length += more;
    else if (status !== undefined) return { status: Number(status), text: lineOf(body!) };
    else throw new Error(length === 0 ? "it closed the connection without an answer" : "what it says is no HTTP");
  }
}

function lineOf(body: string): string {
  return body.split("\n", 1)[0]!;
}

function whyNot(error: unknown, timeoutS: number): string {
  if (error instanceof Deno.errors.ConnectionRefused) return "nobody listens there";
  if (error instanceof DOMException && error.name === "TimeoutError") return `nothing came within ${timeoutS} s`;
  return reasonOf(error);
}
