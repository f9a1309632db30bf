/**
 * The head of a request, as routes and rules read it, whatever transport it came by. A standard `Request` costs more than all that
 * is decided by it, so it is made where a body is read, or where the runtime wants it.
 */

/** Headers of a request. Names are asked for in lower case. */
export interface Fields {
  /** Returns the value; of a header that came several times all of them, between commas; null where there is none. */
  get(name: string): string | null;
  has(name: string): boolean;
  /** Names, in lower case. */
  keys(): Iterable<string>;
}

/** Head of a request. */
export interface Head {
  readonly method: string;
  /** The absolute URL, which may be none that can be parsed. */
  readonly url: string;
  readonly headers: Fields;
  /** Returns the request as a standard one, with its body. */
  standard(): Request;
}

/** Head of a standard request. */
export class StandardHead implements Head {
  readonly #request: Request;

  constructor(request: Request) {
    this.#request = request;
  }

  get method(): string {
    return this.#request.method;
  }

  get url(): string {
    return this.#request.url;
  }

  get headers(): Fields {
    return this.#request.headers;
  }

  standard(): Request {
    return this.#request;
  }
}

/** Returns whether a request has a body, by its headers; one that is said to be empty is none. */
export function hasBody(headers: Pick<Fields, "get" | "has">): boolean {
  return headers.has("transfer-encoding") || (headers.get("content-length") ?? "0") !== "0";
}
