/** A route of the API: everything that is checked before its own code runs stands in it as data. */

import type { ApiKey, Scope } from "../../auth/api_keys.ts";
import type { Revoked } from "../../auth/revoked.ts";
import type { Hub } from "../../hub.ts";
import type { Log } from "../../ops/log.ts";
import type { ErrorCode, Refusal } from "../../protocol.ts";
import type { Answer } from "./answers.ts";
import type { Fields, ValuesOf } from "./fields.ts";

/** Makes a token for a user that lasts for so many seconds. */
export type TokenMaker = (user: string, seconds: number) => Promise<{ readonly token: string; readonly id: string }>;

/** Parts of the server that routes use. */
export interface Service {
  readonly hub: Hub;
  /** Undefined where the server has no list of the revoked. */
  readonly revoked: Revoked | undefined;
  /** Undefined where the server holds no key that signs. */
  readonly makeToken: TokenMaker | undefined;
  readonly version: string;
  readonly log: Log;
}

/** One request that may be answered. */
export interface Call<V> {
  readonly service: Service;
  readonly key: ApiKey;
  /** Checked parameters of path and query, and members of the body. */
  readonly values: V;
  /** Value of the header Idempotency-Key, as it came. */
  readonly idempotencyKey: string | undefined;
  /** Consumes `cost` more of the key's rate than the one that every request costs; the refusal where there is none left. */
  consume(cost: number): Refusal | undefined;
}

/** Body that a route takes. */
export interface BodySpec<F extends Fields = Fields> {
  readonly members: F;
  /** True where the body may be left away. */
  readonly isOptional?: boolean;
  /** Frames of the wire whose bytes the body may have. */
  readonly frames: number;
}

/** One method of one path. */
export interface Route<P extends Fields = Fields, Q extends Fields = Fields, B extends Fields = Fields> {
  readonly method: "GET" | "POST" | "PUT" | "DELETE";
  /** Path below the prefix, with `{name}` for each of `path`. */
  readonly at: string;
  readonly path: P;
  readonly query: Q;
  readonly body?: BodySpec<B>;
  /** Scopes that the key needs, each for the name in a field, or without one for any name: then the route looks itself. */
  readonly scopes: readonly (readonly [scope: Scope, field?: string])[];
  /** True where the header Idempotency-Key is obeyed. Elsewhere it is refused, as it would promise something. */
  readonly takesIdempotencyKey?: boolean;
  /** Statuses of success. */
  readonly statuses: readonly Answer["status"][];
  /** Codes of its own refusals, beside those that any request may meet. */
  readonly codes: readonly ErrorCode[];
  answer(call: Call<ValuesOf<P> & ValuesOf<Q> & ValuesOf<B>>): Promise<Answer | Refusal>;
}

/** A route as the table has it: its fields are checked before it is called. */
// deno-lint-ignore no-explicit-any -- what `answer` takes is what the fields beside it give
export type AnyRoute = Route<any, any, any>;

/** Types a route by its fields. */
export function route<P extends Fields, Q extends Fields, B extends Fields>(spec: Route<P, Q, B>): AnyRoute {
  return spec;
}
