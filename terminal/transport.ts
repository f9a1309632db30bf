/** Sockets as Deno opens them: with a token in a header, with certificates of one's own, and with words for what goes wrong. */

import type { Diagnosis, Socket, SocketFactory } from "../chat_client.ts";

/** The address of a server as people write it: `host`, `host:port`, an http or a ws URL. Throws a `TypeError` for others. */
export function serverUrl(text: string): string {
  const url = URL.parse(/^[a-z]+:\/\//i.test(text) ? text : `ws://${text}`);
  if (!url || url.hostname === "") {
    throw new TypeError(`${JSON.stringify(text)} is no address of a server, such as ws://localhost:8080/ws`);
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

/** Opens sockets that trust `caCerts` (PEM) too. */
export function socketFactory(caCerts: string | undefined): SocketFactory {
  const client = caCerts === undefined ? undefined : Deno.createHttpClient({ caCerts: [caCerts] });
  return (url, token) => {
    const options: { headers?: Record<string, string>; client?: Deno.HttpClient } = {};
    if (token !== undefined) options.headers = { authorization: `Bearer ${token}` };
    if (client) options.client = client;
    return new WebSocket(url, options as WebSocketOptions) as Socket;
  };
}

/** Words for why `url` could not be reached, from what Deno says of it. */
export function explainFailure(url: string, hasToken: boolean): (reason: string) => Diagnosis {
  const { host, protocol } = new URL(url);
  return (reason) => {
    const status = Number(/status code: (\d{3})/.exec(reason)?.[1] ?? 0);
    const fatal = (text: string): Diagnosis => ({ reason: text, fatal: true });
    if (status === 401 && hasToken) return fatal(`${host} did not accept the token: get a new one`);
    if (status === 401) return fatal(`${host} wants a token: give one with --token-file FILE or PARLEY_TOKEN`);
    if (status === 403) return fatal(`${host} does not let you in: the token is revoked, or for another name`);
    if (status === 400) return fatal(`${host} did not accept the name`);
    if (status === 404 || status === 426 || status === 200) return fatal(`There is no chat server at ${url}: check --server`);
    if (status === 429) return { reason: `${host} has too many connections from here`, fatal: false };
    if (status === 503) return { reason: `${host} is full or restarting`, fatal: false };
    if (status > 0) return { reason: `${host} answered with status ${status}`, fatal: false };
    if (/certificate|UnknownIssuer|NotValidForName/i.test(reason)) {
      return fatal(`The certificate of ${host} is not trusted: give its authority with --ca FILE`);
    }
    if (/dns error/i.test(reason)) return { reason: `There is no host called ${new URL(url).hostname}`, fatal: false };
    if (/tls|corrupt message|InvalidContentType/i.test(reason) && protocol === "wss:") {
      return { reason: `${host} does not speak TLS: try ws://`, fatal: false };
    }
    return { reason: `There is no server at ${host}`, fatal: false };
  };
}

type WebSocketOptions = ConstructorParameters<typeof WebSocket>[1];
