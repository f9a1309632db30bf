/** WebSockets of Deno, with the token in a header and with further certificates, and reasons for their failures. */

import type { Diagnosis, Socket, SocketFactory } from "../chat_client.ts";
import type { PeerCertificate } from "./transport/certificate.ts";
import { errorIn, type Finding, type HttpAnswer, probe } from "./transport/probe.ts";

/** UTF-16 units that are shown of a server's own words. */
const TOLD_CHARS_MAX = 300;

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

/** The parameters of a connection. `token` may throw, where there is none to be had now. */
export interface Target {
  readonly server: string;
  readonly token: (() => string | undefined) | undefined;
  readonly ca: string | undefined;
}

/** Judges a refused token: whether the refusal is for good, and otherwise what is waited for. */
export type TokenJudge = (token: string) => Diagnosis;

/**
 * Returns a function that explains why a server could not be reached: it asks the server itself. `judge` decides about a token
 * that the server does not accept; without one, that is for good.
 */
export function explainFailure(target: Target, judge?: TokenJudge): () => Promise<Diagnosis> {
  return async () => {
    let token: string | undefined;
    try {
      token = target.token?.();
    } catch (error) {
      return { reason: (error as Error).message, fatal: false };
    }
    const finding = await probe({ server: target.server, token, ca: target.ca });
    if (finding.kind === "answer" && finding.status === 401 && token !== undefined && judge) return judge(token);
    return explainFinding(finding, target.server, token !== undefined);
  };
}

/** Returns a finding in words. `hasToken`: a token was shown to the server. */
export function explainFinding(finding: Finding, server: string, hasToken: boolean, now = Date.now()): Diagnosis {
  const { host, hostname } = new URL(server);
  switch (finding.kind) {
    case "answer":
      return explainAnswer(finding, server, hasToken);
    case "certificate":
      return explainCertificate(finding.certificate, finding.isForHost, host, now);
    case "no-host":
      return { reason: `There is no host called ${hostname}`, fatal: false };
    case "no-server":
      return { reason: `There is no server at ${host}`, fatal: false };
    case "silent":
      return { reason: `${host} takes connections and does not answer`, fatal: false };
    case "no-tls":
      return { reason: `${host} does not speak TLS: try ws://`, fatal: false };
    case "wants-tls":
      return { reason: `${host} does not speak plain HTTP: try wss://`, fatal: false };
  }
}

function explainAnswer({ status, location, body }: HttpAnswer, server: string, hasToken: boolean): Diagnosis {
  const { host } = new URL(server);
  const told = errorIn(body);
  const fatal = (text: string): Diagnosis => ({ reason: text, fatal: true });
  if (status >= 300 && status < 400) return fatal(explainRedirect(location, server));
  if (status === 401 && hasToken) return fatal(`${host} did not accept the token: get a new one`);
  if (status === 401) return fatal(`${host} wants a token: give one with --token-file FILE or PARLEY_TOKEN`);
  if (told) {
    return { reason: `${host} refuses: ${told.message.slice(0, TOLD_CHARS_MAX)}`, fatal: !(told.retryable ?? status >= 500) };
  }
  if (status === 403) return fatal(`${host} does not let you in: the token is revoked, or for another name`);
  if (status === 400) return fatal(`${host} did not accept the name`);
  if (status === 404 || status === 426 || status === 200) return fatal(`There is no chat server at ${server}: check --server`);
  if (status === 429) return { reason: `${host} has too many connections from here`, fatal: false };
  if (status === 502 || status === 504) {
    return { reason: `${host} is there, but the chat server behind it does not answer`, fatal: false };
  }
  if (status === 503) return { reason: `${host} is full or restarting`, fatal: false };
  if (status === 101) return { reason: `${host} took the connection, and it broke`, fatal: false };
  return { reason: `${host} answered with status ${status}`, fatal: false };
}

function explainRedirect(location: string | undefined, server: string): string {
  const { host } = new URL(server);
  const target = URL.parse(location ?? "", server.replace(/^ws/, "http"));
  if (!target) return `${host} says that it is elsewhere, but not where: check --server`;
  target.protocol = target.protocol.replace(/^http/, "ws");
  return `${host} says that the server is at ${target.href}: use --server ${target.href}`;
}

function explainCertificate({ from, to }: PeerCertificate, isForHost: boolean, host: string, now: number): Diagnosis {
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  if (now > to) {
    return {
      reason: `The certificate of ${host} has expired on ${day(to)}: whoever runs the server has to renew it`,
      fatal: false,
    };
  }
  if (now < from) {
    return {
      reason: `The certificate of ${host} is not valid before ${day(from)}: is this machine's clock right?`,
      fatal: false,
    };
  }
  if (!isForHost) return { reason: `The certificate of ${host} is for another name: check --server`, fatal: true };
  return { reason: `The certificate of ${host} is not trusted: give its authority with --ca FILE`, fatal: true };
}

type WebSocketOptions = ConstructorParameters<typeof WebSocket>[1];
