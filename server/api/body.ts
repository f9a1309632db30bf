/** Bodies of requests: read as they come, up to a limit and a deadline. */

import { Refusal } from "../../protocol.ts";
import { hasBody } from "../head.ts";
import { HttpRefusal } from "./answers.ts";

/** Milliseconds that a body may take to come in whole: a slow line sends a mebibyte in it. */
export const BODY_MS = 10_000;
/** Milliseconds that a body may take which is read only so that its sender hears why it was refused. */
const DISCARD_MS = 2_000;
/** Bytes of such a body: somewhat over the limit is an honest mistake, and costs no memory. */
const DISCARD_BYTES_MAX = 262_144;

/** Milliseconds without a byte after which a body that is late counts as stalled. */
const STALLED_MS = 250;

/** Returns the refusal of a body before it is read, for what its head says; undefined for one that may be read. */
export function refuseUnread({ headers }: Request, bytesMax: number): Refusal | undefined {
  const [type = ""] = (headers.get("content-type") ?? "").split(";", 1);
  if (type.trim().toLowerCase() !== "application/json") {
    return new HttpRefusal(415, "bad_frame", "The body has to be JSON: Content-Type: application/json");
  }
  if ((headers.get("content-encoding") ?? "identity") !== "identity") {
    return new HttpRefusal(415, "bad_frame", "The body has to come as it is, without a Content-Encoding");
  }
  return Number(headers.get("content-length") ?? 0) > bytesMax ? tooLarge(bytesMax) : undefined;
}

function tooLarge(bytesMax: number): HttpRefusal {
  return new HttpRefusal(413, "too_large", `The body has more than ${bytesMax} bytes`);
}

/** Marks the refusal of a body whose rest is not read. */
function unread(refusal: HttpRefusal): HttpRefusal {
  refusal.cutsOff = true;
  return refusal;
}

/** Reads a body and parses it as JSON. A body that breaks off, or is refused, has not been read to its end. */
export async function readJson(request: Request, bytesMax: number, ms: number): Promise<{ readonly value: unknown } | Refusal> {
  const bytes = await readBytes(request, bytesMax, ms);
  if (bytes instanceof Refusal) return bytes;
  try {
    return { value: JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes)) };
  } catch {
    return new Refusal("bad_json", "The body is not JSON in UTF-8");
  }
}

/** Reads a small body and forgets it. Returns false where there is more of it than that: its connection has to end. */
export async function discard(request: Request): Promise<boolean> {
  if (!hasBody(request.headers) || !request.body) return true;
  if (Number(request.headers.get("content-length") ?? 0) > DISCARD_BYTES_MAX) return false;
  return !(await readPieces(request, DISCARD_BYTES_MAX, DISCARD_MS, () => {}))?.cutsOff;
}

async function readBytes(request: Request, bytesMax: number, ms: number): Promise<Uint8Array | Refusal> {
  const gathered = new Gathered(Math.min(Number(request.headers.get("content-length") ?? 0), bytesMax));
  return await readPieces(request, bytesMax, ms, (piece) => gathered.add(piece)) ?? gathered.bytes;
}

/** Reads a body to its end, or returns why it is not read any further. */
async function readPieces(
  { body }: Request,
  bytesMax: number,
  ms: number,
  take: (piece: Uint8Array) => void,
): Promise<HttpRefusal | undefined> {
  if (!body) return undefined;
  const reader = body.getReader();
  let length = 0;
  const late = Promise.withResolvers<"late">();
  let timer = setTimeout(() => late.resolve("late"), ms);
  try {
    for (;;) {
      const next = reader.read(), read = await Promise.race([next, late.promise]);
      if (read === "late") {
        const refusal = new HttpRefusal(408, "unavailable", `The body took more than ${ms / 1_000} seconds`);
        // Cut off during a read, Deno 2.9 would keep the connection for ever, whatever becomes of its peer. Who sends something now
        // and then is cut off in between; an answer that is whole lets who does not go by themselves.
        const stalled = new Promise<"stalled">((resolve) => timer = setTimeout(() => resolve("stalled"), STALLED_MS));
        return await Promise.race([next, stalled]) === "stalled" ? refusal : unread(refusal);
      }
      if (read.done) return undefined;
      length += read.value.length;
      if (length > bytesMax) return unread(tooLarge(bytesMax));
      take(read.value);
    }
  } catch {
    return unread(new HttpRefusal(400, "bad_json", "The body broke off"));
  } finally {
    clearTimeout(timer);
    // Whoever still sends is not read any more; the answer ends the connection.
    void reader.cancel().catch(() => {});
  }
}

/** Bytes that came in pieces. They are copied: pieces of one byte each would take a hundred times as much. */
class Gathered {
  length = 0;
  #buffer: Uint8Array;

  constructor(expected: number) {
    this.#buffer = new Uint8Array(expected);
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.length);
  }

  add(piece: Uint8Array): void {
    const needed = this.length + piece.length;
    if (needed > this.#buffer.length) {
      const larger = new Uint8Array(Math.max(needed, this.#buffer.length * 2));
      larger.set(this.bytes);
      this.#buffer = larger;
    }
    this.#buffer.set(piece, this.length);
    this.length = needed;
  }
}
