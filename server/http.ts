/** HTTP: a table of routes, and plain answers. A new path is a new row: it says its methods and whether it reads a body. */

import { isLoopback } from "../limits/address.ts";
import type { Api } from "./api.ts";
import { cutOff } from "./cut_off.ts";
import { type Fields, hasBody, type Head } from "./head.ts";
import { proxyHeader } from "./open_mode.ts";
import { VERSION } from "./options.ts";
import type { Handler, Upgrade } from "./transport.ts";
import type { WebAssets } from "./web_assets.ts";

/** Characters of a request's URL: a name fits many times. */
const URL_CHARS_MAX = 2_048;
const TEXT_HEADERS = { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff" };
/** 16 bytes in base64 (RFC 6455, 4.2.1). */
const WEBSOCKET_KEY_REGEXP = /^[+/0-9A-Za-z]{22}==$/;

/** Parts of the server that the routes need. */
export interface HttpOptions {
  /** Scheme of the server's own port. */
  readonly scheme: "ws" | "wss";
  /** Proxies in front: only one of ours is believed that it speaks TLS for this server. */
  readonly trustedHops: number;
  readonly isDraining: () => boolean;
  /** Returns why the server cannot do its work now, as the end of a sentence; undefined while it can. */
  readonly unreadiness: () => string | undefined;
  /** Returns why nothing can be stored, or undefined while it can. */
  readonly unstored: () => string | undefined;
  /** Answers a request that is a proper WebSocket handshake; `address` is the peer's. */
  readonly upgrade: Upgrade;
  /** Returns the answer that an upgrade would be refused with; undefined where it would not be. */
  readonly explain?: (request: Head, address: string) => Promise<Response | undefined>;
  /** The page for browsers. Default: there is none. */
  readonly web?: WebAssets | undefined;
  /** Answers what is below its prefix, with the bodies that it reads itself. Default: there is nothing. */
  readonly api?: Api | undefined;
}

/** One path of the server. */
interface Route {
  /** Methods beside OPTIONS, which is answered everywhere with their names. */
  readonly methods: readonly string[];
  /** True for a route that reads a body. At the others the body is never read, and the connection is cut off. */
  readonly readsBody: boolean;
  answer(request: Head, address: string): Response | Promise<Response>;
}

const READ = { methods: ["GET", "HEAD"], readsBody: false } as const;

/** Returns the handler of all requests. `address` is the peer's, or undefined for one that came around the TLS in front. */
export function httpHandler(
  { scheme, trustedHops, isDraining, unreadiness, unstored, upgrade, explain, web, api }: HttpOptions,
): Handler {
  const routes = new Map<string, Route>([
    ["/", {
      ...READ,
      answer: (request) => web?.page(request) ?? landingPage(request, schemeOf(request, scheme, trustedHops)),
    }],
    ["/livez", { ...READ, answer: () => plain(200, "ok") }], // that the loop turns is all it says: a drain is no reason to kill
    ["/healthz", {
      ...READ,
      answer: (request, address) => isDraining() ? plain(503, "draining") : alive(unstored(), request, address),
    }],
    ["/readyz", { ...READ, answer: (request, address) => ready(unreadiness(), request, address) }],
    ["/ws", {
      ...READ,
      answer(request, address) {
        const refused = refuseHandshake(request);
        if (refused) {
          return explain && wantsJson(request) ? explain(request, address).then((reason) => reason ?? refused) : refused;
        }
        return isDraining() ? plain(503, "The server is restarting", { "retry-after": "5" }) : upgrade(request, address);
      },
    }],
  ]);
  for (const path of web?.paths ?? []) routes.set(path, { ...READ, answer: (request) => web!.asset(path, request) });
  return (request, address) => {
    if (address === undefined) return plain(403, "Connect with TLS, on the server's own port");
    if (api?.answers(request)) return api.answer(request.standard(), address);
    const route = findRoute(routes, request);
    const isAnswered = !(route instanceof Response) && route.methods.includes(request.method);
    const isAsked = !(route instanceof Response) && request.method === "OPTIONS" && !hasBody(request.headers);
    if (isAsked) return new Response(null, { status: 204, headers: { allow: allowed(route) } });
    if (hasBody(request.headers) && !(isAnswered && route.readsBody)) return refuseBody(request);
    if (route instanceof Response) return route;
    return isAnswered ? route.answer(request, address) : refuseMethod(route);
  };
}

/** Finds the route of a request, or the answer to one that leads nowhere. */
function findRoute(routes: ReadonlyMap<string, Route>, { url }: Head): Route | Response {
  if (url.length > URL_CHARS_MAX) return plain(414, "The address is too long");
  if (!URL.canParse(url)) return plain(400, "Host is no name of a host");
  return routes.get(new URL(url).pathname) ?? plain(404, "There is nothing at this address; try /");
}

function refuseBody({ method }: Head): Response {
  const status = READ.methods.some((read) => read === method) ? 400 : 405;
  return cutOff(status, "Only GET is answered here, and no body is read\n", TEXT_HEADERS);
}

function refuseMethod({ methods }: Route): Response {
  const named = methods.filter((method) => method !== "HEAD").join(" and ");
  return plain(405, `Only ${named} is answered here`, { allow: allowed({ methods }) });
}

function allowed({ methods }: Pick<Route, "methods">): string {
  return [...methods, "OPTIONS"].join(", ");
}

/** Says whether the server can do its work; why not, to programs of this machine alone. */
function ready(why: string | undefined, { headers }: Head, address: string): Response {
  if (why === undefined) return plain(200, "ok");
  return plain(503, isNear(headers, address) ? `not ready: ${why}` : "not ready");
}

/** Says that the server lives, which no restart would better; why it stores nothing meanwhile, to programs of this machine alone. */
function alive(why: string | undefined, { headers }: Head, address: string): Response {
  return plain(200, why !== undefined && isNear(headers, address) ? `ok, but ${why}` : "ok");
}

function isNear(headers: Fields, address: string): boolean {
  return isLoopback(address) && proxyHeader(headers) === undefined;
}

/** Returns the answer to an upgrade that is no handshake of WebSocket version 13, or undefined for one that is. */
function refuseHandshake({ headers, method }: Head): Response | undefined {
  if (headers.get("upgrade")?.toLowerCase() !== "websocket") {
    return plain(426, "This is a WebSocket; connect with a WebSocket client", { upgrade: "websocket", connection: "Upgrade" });
  }
  if (method !== "GET") return plain(405, "A WebSocket begins with GET", { allow: "GET" });
  if (headers.get("sec-websocket-version") !== "13") {
    return plain(426, "Only version 13 of WebSockets is spoken here", { "sec-websocket-version": "13" });
  }
  if (!WEBSOCKET_KEY_REGEXP.test(headers.get("sec-websocket-key") ?? "")) {
    return plain(400, "Sec-WebSocket-Key is missing, or not 16 bytes in base64");
  }
  return undefined;
}

/** Returns the scheme that clients connect with. */
function schemeOf(request: Head, own: "ws" | "wss", trustedHops: number): "ws" | "wss" {
  const isForwarded = trustedHops > 0 && request.headers.get("x-forwarded-proto") === "https";
  return isForwarded ? "wss" : own;
}

/** Returns whether a browser's page asks why its socket did not open: it does not see how an upgrade was answered. */
function wantsJson({ headers, method }: Head): boolean {
  return method === "GET" && !headers.has("upgrade") && headers.get("accept") === "application/json";
}

function landingPage(request: Head, scheme: string): Response {
  const url = `${scheme}://${new URL(request.url).host}/ws`;
  const text = `Parley ${VERSION}: messages over a WebSocket, one line of JSON each.

Connect to ${url}?name=you with anything that speaks WebSocket and send
  {"sender":"you","recipient":"somebody","content":"hello"}

With the terminal client:
  chat-client --server ${url} --name you`;
  // Not stored, like the page: a cache that does not heed `vary` would give the one for the other.
  return plain(200, text, { vary: "accept", "cache-control": "no-store" });
}

/** Makes an answer of one line of text. */
export function plain(status: number, text: string, headers: Record<string, string> = {}): Response {
  return new Response(text + "\n", { status, headers: { ...TEXT_HEADERS, ...headers } });
}
