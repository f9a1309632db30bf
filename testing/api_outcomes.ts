/** Answers that a route of the API may give: those that every request may meet, and its own. */

import { STATUS_OF } from "../server/api/answers.ts";
import type { AnyRoute } from "../server/api/route.ts";
import type { ErrorCode } from "../protocol.ts";

/** Codes of refusals by HTTP status, in alphabetical order. */
export type Outcomes = Readonly<Record<string, readonly ErrorCode[]>>;

/** Refusals of any request: by its address, its key, its parameters, and the state of the server. */
const OF_ALL: readonly [number, ErrorCode][] = [
  [400, "bad_frame"],
  [401, "unauthorized"],
  [403, "forbidden"],
  [414, "too_large"],
  [429, "rate_limited"],
  [503, "unavailable"],
];
/** Refusals of bodies. */
const OF_BODIES: readonly [number, ErrorCode][] = [
  [400, "bad_json"],
  [408, "unavailable"],
  [413, "too_large"],
  [415, "bad_frame"],
];

/** Returns every refusal that a route may answer with. */
export function outcomesOf({ body, codes }: AnyRoute): Outcomes {
  const outcomes: Record<string, Set<ErrorCode>> = {};
  const own = codes.map((code: ErrorCode): [number, ErrorCode] => [STATUS_OF[code], code]);
  for (const [status, code] of [...OF_ALL, ...body ? OF_BODIES : [], ...own]) (outcomes[status] ??= new Set()).add(code);
  return Object.fromEntries(Object.entries(outcomes).map(([status, codes]) => [status, [...codes].sort()]));
}
