/** The head of a request, as far as it says what follows. */

/** Returns whether a request has a body, by its headers; one that is said to be empty is none. */
export function hasBody(headers: Headers): boolean {
  return headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0";
}
