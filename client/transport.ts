/** WebSockets of Deno, with the token in a header and with further certificates, and reasons for their failures. */

import type { Diagnosis, Socket, SocketFactory } from "../chat_client.ts";
import { within } from "./within.ts";

/** Milliseconds that a server has to answer why it does not accept a connection. */
const ASK_MS = 5_000;
/** Key of a WebSocket handshake: any 16 bytes, as nothing is sent after this one. */
const SAMPLE_KEY = btoa("\0".repeat(16));

/**
 * Returns the URL of a server from an address as people write it: `host`, `host:port`, an http or a ws URL. Throws a `TypeError`
 * for anything else.
 */
export function serverUrl(text: string): string {
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `ws://${text}`);
  if (!url || url.hostname === "") {
    throw new TypeError(`${JSON.stringify(text)} is not an address of a server, such as ws://localhost:8080/ws`);
  }
  if (url.protocol === "http:" || url.protocol === "https:") url.protocol = url.protocol === "http:" ? "ws:" : "wss:";
  if (url.protocol !== "ws:" && url.protocol !== "wss:") {
    throw new TypeError(`${JSON.stringify(text)} has to start with ws:// or wss://`);
  }
  if (url.username !== "" || url.password !== "") throw new TypeError("A server's address has no password: use --token-file");
  if (url.pathname === "/") url.pathname = "/ws";
  url.hash = "";
  return url.href;
}

/** Returns a factory of sockets that also trust `caCerts` (PEM). */
export function socketFactory(caCerts: string | undefined): SocketFactory {
  const client = caCerts === undefined ? undefined : Deno.createHttpClient({ caCerts: [caCerts] });
  return (url, token) => {
    const options: { headers?: Record<string, string>; client?: Deno.HttpClient } = {};
    if (token !== undefined) options.headers = { authorization: `Bearer ${token}` };
    if (client) options.client = client;
    return new WebSocket(url, options as WebSocketOptions) as Socket;
  };
}

/** The parameters of a connection. */
export interface Target {
  readonly server: string;
  readonly token: (() => string | undefined) | undefined;
  readonly ca: string | undefined;
}

/** Returns a function that explains why a server could not be reached, from the reason that Deno gives. */
export function explainFailure(target: Target): (reason: string) => Promise<Diagnosis> {
  return async (reason) => {
    const told = Number(/status code: (\d{3})/.exec(reason)?.[1] ?? 0);
    const status = told === 0 && /h2 alpn/.test(reason) ? await askStatus(target) : told;
    return explainStatus(status, target) ?? explainReason(reason, target.server);
  };
}

function explainStatus(status: number, { server, token }: Target): Diagnosis | undefined {
  const { host } = new URL(server);
  const fatal = (text: string): Diagnosis => ({ reason: text, fatal: true });
  if (status < 200) return undefined;
  if (status === 401 && token) return fatal(`${host} did not accept the token: get a new one`);
  if (status === 401) return fatal(`${host} wants a token: give one with --token-file FILE or PARLEY_TOKEN`);
  if (status === 403) return fatal(`${host} does not let you in: the token is revoked, or for another name`);
  if (status === 400) return fatal(`${host} did not accept the name`);
  if (status === 404 || status === 426 || status === 200) return fatal(`There is no chat server at ${server}: check --server`);
  if (status === 429) return { reason: `${host} has too many connections from here`, fatal: false };
  if (status === 503) return { reason: `${host} is full or restarting`, fatal: false };
  return { reason: `${host} answered with status ${status}`, fatal: false };
}

function explainReason(reason: string, server: string): Diagnosis {
  const { host, hostname, protocol } = new URL(server);
  if (/certificate|UnknownIssuer|NotValidForName/i.test(reason)) {
    return { reason: `The certificate of ${host} is not trusted: give its authority with --ca FILE`, fatal: true };
  }
  if (/dns error/i.test(reason)) return { reason: `There is no host called ${hostname}`, fatal: false };
  if (/tls|corrupt message|InvalidContentType/i.test(reason) && protocol === "wss:") {
    return { reason: `${host} does not speak TLS: try ws://`, fatal: false };
  }
  if (/invalid HTTP version/i.test(reason)) return { reason: `${host} does not speak plain HTTP: try wss://`, fatal: false };
  return { reason: `There is no server at ${host}`, fatal: false };
}

/**
 * Asks the server for the status with which it answers an upgrade; 0 where it cannot be had. Over TLS the runtime does not
 * report it: it tries again with HTTP/2, and reports only what went wrong with that.
 */
async function askStatus({ server, token, ca }: Target): Promise<number> {
  const { host, hostname, port, pathname, search } = new URL(server);
  let connection: Deno.TlsConn | undefined;
  const ask = async () => {
    connection = await Deno.connectTls({
      hostname: hostname.replace(/^\[|\]$/g, ""),
      port: Number(port || 443),
      caCerts: ca === undefined ? [] : [ca],
    });
    const given = token?.();
    const head = [
      `GET ${pathname}${search} HTTP/1.1`,
      `Host: ${host}`,
      ...(given === undefined ? [] : [`Authorization: Bearer ${given}`]),
      ...["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", `Sec-WebSocket-Key: ${SAMPLE_KEY}`],
    ];
    await connection.write(new TextEncoder().encode(head.join("\r\n") + "\r\n\r\n"));
    const buffer = new Uint8Array(64);
    const length = await connection.read(buffer) ?? 0;
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(new TextDecoder().decode(buffer.subarray(0, length)))?.[1] ?? 0);
  };
  const status = await within(ask().catch(() => 0), ASK_MS);
  connection?.close();
  return status ?? 0;
}

type WebSocketOptions = ConstructorParameters<typeof WebSocket>[1];
