/** The gate in front of the WebSockets: whoever does not get through it never has a socket. */

import type { Revoked } from "../auth/revoked.ts";
import { AuthFailure, type Claims, SUBPROTOCOL, tokenOf, type Tokens } from "../auth/tokens.ts";
import { clientAddress } from "../limits/address.ts";
import type { Admission, Denial, Slot } from "../limits/admission.ts";
import { canonicalOrigin, isOriginAllowed } from "../limits/origin.ts";
import type { Log } from "../ops/log.ts";
import { ERROR_CODES, type ErrorCode, parseName, Refusal } from "../protocol.ts";
import type { Admitted } from "./guest.ts";
import type { Fields, Head } from "./head.ts";
import { cameFromElsewhere } from "./open_mode.ts";

/** Milliseconds between two log entries about requests that open mode refuses: they cost a stranger nothing. */
const ELSEWHERE_REPORT_MS = 60_000;

/** Parts of a request that decide. */
type Asking = Pick<Head, "url" | "headers">;

/** Parts and rules of a {@linkcode Gate}. */
export interface GateOptions {
  readonly admission: Admission;
  /** Undefined in open mode, where any name is believed. */
  readonly tokens?: Tokens;
  readonly revoked?: Revoked;
  /** In open mode, serves whoever asks: through proxies, and under any name of the host. */
  readonly insecureOpen?: boolean;
  /** Address that the server listens on. */
  readonly hostname: string;
  /** Origins of pages that may connect beside the server's own; `*` for all. */
  readonly allowOrigin?: readonly string[];
  /** Number of proxies in front whose X-Forwarded-For is believed. */
  readonly trustedHops?: number;
  readonly log?: Log;
}

/** Decides about requests to upgrade. */
export class Gate {
  readonly #options: GateOptions;
  readonly #allowedOrigins: readonly string[];
  #elsewhereReportedAt = -Infinity;

  /** Throws `OriginError` for an origin that no browser sends. */
  constructor(options: GateOptions) {
    this.#options = options;
    this.#allowedOrigins = (options.allowOrigin ?? []).map(canonicalOrigin);
  }

  /** Lets a request through, or returns the answer that refuses it: at once, where no token has to be verified. */
  enter(request: Asking, remote: string): Admitted | Response | Promise<Admitted | Response> {
    const address = clientAddress(remote, request.headers.get("x-forwarded-for"), this.#options.trustedHops ?? 0);
    const admitted = this.#enter(request, address);
    if (!(admitted instanceof Promise)) return this.#logged(admitted, address);
    return admitted.then((admitted) => this.#logged(admitted, address));
  }

  #logged(admitted: Admitted | Response, address: string): Admitted | Response {
    const { log } = this.#options;
    if (admitted instanceof Response) log?.("refused", { address, status: admitted.status });
    else log?.("admitted", { address, user: admitted.identity.user ?? "" });
    return admitted;
  }

  #enter({ url, headers }: Asking, address: string): Admitted | Response | Promise<Admitted | Response> {
    const { admission, tokens } = this.#options;
    const stranger = this.#refuseElsewhere(headers);
    if (stranger) return stranger;
    if (!isOriginAllowed(headers.get("origin"), headers.get("host"), this.#allowedOrigins, tokens !== undefined)) {
      return refusal(
        403,
        "forbidden",
        "Pages of this origin may not connect; the server's --allow-origin names those that may",
      );
    }
    const name = new URL(url).searchParams.get("name");
    const asked = name === null ? undefined : parseName(name);
    if (asked instanceof Refusal) return refusal(400, asked.code, asked.message);
    const slot = admission.admit(address);
    if ("status" in slot) return denial(slot);
    return tokens ? this.#identify(tokens, headers, asked, slot, address) : believe(asked, slot, protocolOf(headers));
  }

  /** Returns the answer that refuses a request; undefined where it would get through. */
  async explain(request: Asking, remote: string): Promise<Response | undefined> {
    const admitted = await this.enter(request, remote);
    if (admitted instanceof Response) return admitted;
    admitted.slot.release();
    return undefined;
  }

  /** Refuses what comes from elsewhere in open mode, unless the operator insists. */
  #refuseElsewhere(headers: Fields): Response | undefined {
    const { tokens, insecureOpen = false, hostname, log } = this.#options;
    if (tokens || insecureOpen) return undefined;
    const why = cameFromElsewhere(headers, hostname);
    if (why === undefined) return undefined;
    const now = performance.now();
    if (now - this.#elsewhereReportedAt >= ELSEWHERE_REPORT_MS) {
      this.#elsewhereReportedAt = now;
      log?.("elsewhere_refused", { cause: why });
    }
    return refusal(
      403,
      "forbidden",
      `Without a key the server serves its own machine alone, and this request ${why}. ` +
        "Give the server a key (chat-server keys makes one; --jwt-public-key), or --insecure-open if anybody may be anybody",
    );
  }

  /** Admits whom the token names; frees the slot of anybody else. */
  async #identify(
    tokens: Tokens,
    headers: Fields,
    asked: string | undefined,
    slot: Slot,
    address: string,
  ): Promise<Admitted | Response> {
    let isAdmitted = false;
    try {
      const claims = await this.#verify(tokens, headers, asked);
      if (claims instanceof AuthFailure) {
        this.#options.log?.("login_refused", { address, cause: claims.cause });
        return refusal(claims.status, claims.status === 401 ? "unauthorized" : "forbidden", claims.message);
      }
      const { user, admin, expiresAt, tokenId } = claims;
      const denied = slot.claim(user);
      if (denied) return denial(denied);
      isAdmitted = true;
      return { identity: { user, admin }, slot, expiresAt, tokenId, protocol: protocolOf(headers) };
    } finally {
      if (!isAdmitted) slot.release();
    }
  }

  async #verify(tokens: Tokens, headers: Fields, asked: string | undefined): Promise<Claims | AuthFailure> {
    const token = tokenOf(headers);
    if (token instanceof AuthFailure) return token;
    if (token === undefined) {
      return new AuthFailure(
        401,
        "A token is needed: Authorization: Bearer TOKEN, or the subprotocols parley, bearer.TOKEN",
        "no token",
      );
    }
    const claims = await tokens.verify(token);
    if (claims instanceof AuthFailure) return claims;
    if (this.#options.revoked?.has(claims.user, claims.tokenId)) {
      return new AuthFailure(403, "This token or user is revoked", `revoked ${claims.user}`);
    }
    if (asked !== undefined && asked !== claims.user) {
      return new AuthFailure(
        403,
        `The token is for "${claims.user}", not for "${asked}"`,
        `${claims.user} asked for ${asked}`,
      );
    }
    return claims;
  }
}

/** Admits whoever it is under the name asked for, as open mode does; frees the slot where that is refused. */
function believe(asked: string | undefined, slot: Slot, protocol: string | undefined): Admitted | Response {
  const denied = asked === undefined ? undefined : slot.claim(asked);
  if (!denied) {
    return { identity: asked === undefined ? {} : { user: asked }, slot, expiresAt: undefined, tokenId: undefined, protocol };
  }
  slot.release();
  return denial(denied);
}

/** Returns the subprotocol that the answer names, where the peer offers it. */
function protocolOf(headers: Fields): string | undefined {
  const offered = headers.get("sec-websocket-protocol")?.split(",").map((entry) => entry.trim()) ?? [];
  return offered.includes(SUBPROTOCOL) ? SUBPROTOCOL : undefined;
}

function denial({ status, message, retryAfterS }: Denial): Response {
  return refusal(status, status === 429 ? "rate_limited" : "unavailable", message, { "retry-after": String(retryAfterS) });
}

/** Makes an answer in the shape of the wire's errors. */
function refusal(status: number, code: ErrorCode, message: string, headers: Record<string, string> = {}): Response {
  const body = { type: "error", code, message, retryable: ERROR_CODES[code].retryable };
  const challenge = status === 401 ? { "www-authenticate": "Bearer" } : {};
  return Response.json(body, { status, headers: { ...challenge, ...headers } });
}
