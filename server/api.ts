/**
 * The HTTP API for backends, below `/api/v1`: off unless there are keys. docs/API.md says what it is for, docs/openapi.json what it
 * takes; a test compares that with the routes.
 *
 * What a request may not do is refused before its body is read: no route, no key, no rate left, no scope, too large by its head.
 * There is no CORS: a page that had a key would give it to whoever opens it.
 */

import type { ApiKeys } from "../auth/api_keys.ts";
import { clientAddress } from "../limits/address.ts";
import { reasonOf } from "../ops/log.ts";
import { Refusal } from "../protocol.ts";
import { Access } from "./api/access.ts";
import { type Answer, HttpRefusal, render, toResponse } from "./api/answers.ts";
import { BODY_MS, discard, readJson, refuseUnread } from "./api/body.ts";
import { checkMembers, checkParameters, checkPath } from "./api/fields.ts";
import type { AnyRoute, Service } from "./api/route.ts";
import { API_PREFIX, findRoutes, type Found, methodsOf, ROUTES } from "./api/routes.ts";
import { cutOff } from "./cut_off.ts";
import { hasBody } from "./head.ts";

export type { TokenMaker } from "./api/route.ts";
export { API_PREFIX } from "./api/routes.ts";

/** Characters of a request's URL: a hundred names fit. */
const URL_CHARS_MAX = 8_192;

/** Cost of a request, before it is known what is in it. */
const REQUEST_COST = 1;

/** Names of the routes, for what counts them: a method and a path each. */
export const API_ROUTE_NAMES: readonly string[] = ROUTES.map(({ method, at }) => `${method} ${at}`);

/** Parts of an {@linkcode Api}. */
export interface ApiOptions extends Service {
  readonly keys: ApiKeys;
  /** Proxies in front whose X-Forwarded-For is believed. */
  readonly trustedHops: number;
  readonly isDraining: () => boolean;
  /** Told of every answer: a name of {@linkcode API_ROUTE_NAMES}, or "none", and the status. */
  readonly answered?: ((route: string, status: number) => void) | undefined;
  /** Milliseconds that a body may take. Default: ten seconds. */
  readonly bodyMs?: number | undefined;
}

type Values = Readonly<Record<string, unknown>>;

/** Answers requests of backends. */
export class Api {
  readonly #options: ApiOptions;
  readonly #access: Access;

  constructor(options: ApiOptions) {
    this.#options = options;
    this.#access = new Access(options.keys, options.log);
  }

  /** Returns whether a request is for the API. */
  answers({ url }: Pick<Request, "url">): boolean {
    const path = /^[a-z]+:\/\/[^/?#]*(\/[^?#]*)/.exec(url)?.[1] ?? "";
    return path === API_PREFIX || path.startsWith(`${API_PREFIX}/`);
  }

  /** Answers one, from a peer's address. Never rejects. */
  async answer(request: Request, remote: string): Promise<Response> {
    const url = URL.canParse(request.url) ? new URL(request.url) : undefined;
    const found = url && findRoutes(url.pathname);
    const route = found && routeOf(found, request.method);
    let answer: Answer | Refusal;
    try {
      answer = await this.#answerOf(request, remote, url, found, route);
    } catch (error) {
      this.#options.log("failed", { task: `API ${route?.method} ${route?.at}`, reason: reasonOf(error) });
      answer = new Refusal("unavailable", "The server could not do this now; try again");
    }
    const rendered = render(answer);
    this.#options.answered?.(route ? `${route.method} ${route.at}` : "none", rendered.status);
    const isOver = request.bodyUsed ? !(answer instanceof HttpRefusal && answer.cutsOff) : await discard(request);
    return isOver ? toResponse(rendered) : cutOff(rendered.status, rendered.text, rendered.headers);
  }

  async #answerOf(
    request: Request,
    remote: string,
    url: URL | undefined,
    found: Found | undefined,
    route: AnyRoute | undefined,
  ): Promise<Answer | Refusal> {
    const { trustedHops, isDraining } = this.#options;
    if (request.url.length > URL_CHARS_MAX) return new HttpRefusal(414, "too_large", "The address is too long");
    if (!url || !found) return new Refusal("unknown_type", `There is nothing at this address below ${API_PREFIX}`);
    if (!route) return withoutRoute(request, found);
    const key = this.#access.keyOf(request, url, clientAddress(remote, request.headers.get("x-forwarded-for"), trustedHops));
    if (key instanceof Refusal) return key;
    if (isDraining()) return new Refusal("unavailable", "The server is restarting");
    const late = this.#access.consume(key, REQUEST_COST);
    if (late) return late;
    const parameters = checkAddress(route, found, url);
    if (parameters instanceof Refusal) return parameters;
    const refuse = (values: Values) => {
      for (const [scope, field] of route.scopes) {
        const refused = this.#access.refuseScope(
          key,
          scope,
          field === undefined ? undefined : values[field] as string | undefined,
        );
        if (refused) return refused;
      }
    };
    const idempotencyKey = request.headers.get("idempotency-key") ?? undefined;
    if (idempotencyKey !== undefined && !route.takesIdempotencyKey) {
      return new Refusal("bad_frame", "The header Idempotency-Key is for POST /messages; elsewhere it promises nothing");
    }
    const refused = refuse(parameters);
    if (refused) return refused;
    const body = await this.#bodyOf(request, route);
    if (body instanceof Refusal) return body;
    const values = { ...parameters, ...body };
    const consume = (cost: number) => this.#access.consume(key, cost, REQUEST_COST);
    return refuse(values) ?? await route.answer({ service: this.#options, key, values, idempotencyKey, consume });
  }

  /** Reads the body that a route takes, and checks its members. */
  async #bodyOf(request: Request, { body }: AnyRoute): Promise<Values | Refusal> {
    if (!body) {
      return hasBody(request.headers) ? new Refusal("bad_frame", "No body is read here; leave it away") : {};
    }
    if (body.isOptional && !hasBody(request.headers)) return {};
    const bytesMax = this.#options.hub.frameBytes * body.frames;
    const unread = refuseUnread(request, bytesMax);
    if (unread) return unread;
    const read = await readJson(request, bytesMax, this.#options.bodyMs ?? BODY_MS);
    return read instanceof Refusal ? read : checkMembers(body.members, read.value);
  }
}

function routeOf({ routes }: Found, method: string): AnyRoute | undefined {
  return routes.get(method === "HEAD" ? "GET" : method);
}

/** Answers a method that a path does not have. */
function withoutRoute(request: Request, found: Found): Answer | Refusal {
  const allow = methodsOf(found);
  if (request.method === "OPTIONS" && !hasBody(request.headers)) return { status: 204, headers: { allow } };
  return new HttpRefusal(405, "unknown_type", `${allow} are answered here`, { allow });
}

/** Checks the parameters of path and query. */
function checkAddress(route: AnyRoute, { path }: Found, { searchParams }: URL): Values | Refusal {
  const inPath = checkPath(route.path, path);
  if (inPath instanceof Refusal) return inPath;
  const inQuery = checkParameters(route.query, searchParams);
  return inQuery instanceof Refusal ? inQuery : { ...inPath, ...inQuery };
}
