/** Answers of the API: JSON, and errors in the shape of the wire's. */

import { type ErrorCode, Refusal } from "../../protocol.ts";

/** HTTP status of each error of the wire. */
export const STATUS_OF: Readonly<Record<ErrorCode, number>> = {
  bad_json: 400,
  bad_frame: 400,
  unknown_type: 404,
  too_large: 413,
  binary_frame: 400,
  bad_name: 400,
  bad_content: 400,
  name_required: 400,
  hello_required: 400,
  forbidden: 403,
  unauthorized: 401,
  unknown_recipient: 404,
  unknown_group: 404,
  not_member: 403,
  group_exists: 409,
  limit_reached: 409,
  id_conflict: 409,
  out_of_order: 409,
  rate_limited: 429,
  quota_exceeded: 429,
  mailbox_full: 409,
  unavailable: 503,
  internal: 500,
};

/** Seconds after which a server that cannot answer now is worth asking again. */
const UNAVAILABLE_S = 5;

/** Answer of a route: a status of success and a body, which 204 has none of. */
export interface Answer {
  readonly status: 200 | 201 | 204;
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
}

/** Refusal with a status of its own, where HTTP has a better one than the code's. */
export class HttpRefusal extends Refusal {
  /** True for the refusal of a body of which more is sent than is read. */
  cutsOff = false;

  constructor(readonly status: number, code: ErrorCode, message: string, readonly headers: Record<string, string> = {}) {
    super(code, message);
  }
}

/** Status, headers and text of an answer. */
export interface Rendered {
  readonly status: number;
  readonly text: string;
  readonly headers: Record<string, string>;
}

/** Nothing is kept by caches on the way, and nothing is taken for a page. */
const HEADERS = { "content-type": "application/json", "cache-control": "no-store", "x-content-type-options": "nosniff" };

/** Renders an answer or a refusal. */
export function render(answer: Answer | Refusal): Rendered {
  if (!(answer instanceof Refusal)) {
    if (answer.body === undefined) {
      return { status: answer.status, text: "", headers: { "cache-control": "no-store", ...answer.headers } };
    }
    return { status: answer.status, text: JSON.stringify(answer.body) + "\n", headers: HEADERS };
  }
  const status = answer instanceof HttpRefusal ? answer.status : STATUS_OF[answer.code];
  const headers: Record<string, string> = { ...HEADERS, ...answer instanceof HttpRefusal && answer.headers };
  if (status === 401) headers["www-authenticate"] = "Bearer";
  const { retryAfterMs } = answer;
  if (retryAfterMs !== undefined) headers["retry-after"] = String(Math.max(1, Math.ceil(retryAfterMs / 1_000)));
  else if (status === 503) headers["retry-after"] = String(UNAVAILABLE_S);
  return { status, text: JSON.stringify(answer.toFrame()) + "\n", headers };
}

/** Makes the response of what was rendered. */
export function toResponse({ status, text, headers }: Rendered): Response {
  return new Response(status === 204 ? null : text, { status, headers });
}
