/** Answers of receivers: the head of one is read for what it says, and the rest to find its end, behind which the next begins. */

import { reasonOf } from "../../ops/log.ts";
import type { Wire } from "./connections.ts";

/** Bytes of an answer's head that are read: more than any receiver of good will sends. */
const HEAD_BYTES_MAX = 16_384;
/** Bytes of an answer after its head that are read so that the connection can be used again. */
const BODY_BYTES_MAX = 16_384;
/** Answers before the last one, such as `100 Continue`, that are passed over. */
const INTERIM_MAX = 4;
const LATIN1 = new TextDecoder("latin1");

/** Status of an answer, and when it wants the next request. */
export interface Answer {
  readonly status: number;
  readonly retryAfter: string | undefined;
}

/** Rest of an answer. */
export interface AnswerBody {
  /** Characters of it that are here, one for each byte. */
  readonly text: string;
  /** Returns how much is missing of it, at least; below 0 where there is more than it; undefined where its end cannot be known. */
  readonly missing: (text: string) => number | undefined;
}

/** Failure of a connection before there was anything of an answer. */
export class Unanswered extends Error {}

/** Reads the head of the first answer that is a last one. Rejects with {@linkcode Unanswered}, and for what is none. */
export async function readAnswer(wire: Wire): Promise<{ readonly answer: Answer; readonly body: AnswerBody }> {
  let text = "", length = 0;
  for (let interim = 0;;) {
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) {
      const { missing, ...answer } = parseHead(text.slice(0, end));
      text = text.slice(end + 4);
      if (answer.status >= 200) return { answer, body: { text, missing } };
      if (++interim > INTERIM_MAX) throw new Error("it answers 1xx again and again");
      continue;
    }
    if (length >= HEAD_BYTES_MAX) throw new Error(`the head of its answer is longer than ${HEAD_BYTES_MAX} bytes`);
    const why = length === 0 ? Unanswered : Error;
    const bytes = await wire.read().catch((error) => {
      throw new why(reasonOf(error));
    });
    if (bytes === null) throw new why("it closed the connection without an answer");
    text += LATIN1.decode(bytes);
    length += bytes.length;
  }
}

/** Reads an answer to its end, if that is near; returns whether it is there, and nothing behind it. */
export async function readRest(wire: Wire, { text, missing }: AnswerBody): Promise<boolean> {
  for (;;) {
    const count = missing(text);
    if (count === undefined || count <= 0) return count === 0;
    if (text.length > BODY_BYTES_MAX) return false;
    const bytes = await wire.read();
    if (bytes === null) return false;
    text += LATIN1.decode(bytes);
  }
}

function parseHead(head: string): Answer & Pick<AnswerBody, "missing"> {
  const [first = "", ...lines] = head.split("\r\n");
  const [, minor, status] = /^HTTP\/1\.([01]) (\d{3})(?: |$)/.exec(first) ?? [];
  if (status === undefined) throw new Error("its answer is no HTTP");
  const valuesOf = (name: string) =>
    lines.filter((line) => line.toLowerCase().startsWith(`${name}:`)).map((line) => line.slice(name.length + 1).trim());
  const isLast = minor === "0" || /\bclose\b/i.test(valuesOf("connection").join());
  const missing = isLast ? () => undefined : endOf(Number(status), valuesOf("content-length"), valuesOf("transfer-encoding"));
  return { status: Number(status), retryAfter: valuesOf("retry-after")[0], missing };
}

/** Returns how the end of an answer is found; one whose end is not certain is the last on its connection. */
function endOf(status: number, lengths: readonly string[], codings: readonly string[]): AnswerBody["missing"] {
  if (status === 204 || status === 304) return (text) => -text.length;
  if (lengths.length + codings.length !== 1) return () => undefined;
  if (codings[0]?.toLowerCase() === "chunked") return missingOfChunks;
  const length = lengths[0];
  return length === undefined || !/^\d{1,9}$/.test(length) ? () => undefined : (text) => Number(length) - text.length;
}

/** Returns how much is missing of chunks, at least; below 0 for what comes behind them. */
function missingOfChunks(text: string): number | undefined {
  for (let at = 0;;) {
    const line = text.indexOf("\r\n", at);
    if (line < 0) return 1;
    const size = /^[\da-f]{1,6}(?=;|$)/i.exec(text.slice(at, line))?.[0];
    if (size === undefined) return undefined;
    at = line + 2 + parseInt(size, 16) + 2;
    if (at > text.length) return at - text.length;
    if (text.slice(at - 2, at) !== "\r\n") return undefined; // trailers are rare: that connection is closed
    if (parseInt(size, 16) === 0) return at - text.length;
  }
}
