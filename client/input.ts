/** The input of the client. */

import { DelimiterStream } from "@std/streams/delimiter-stream";
import { decodeLine, decodeText } from "./text.ts";

const LINE_FEED = 0x0a, CARRIAGE_RETURN = 0x0d;

/** The input is no text in UTF-8. Nothing of it is sent with signs in the place of what it said. */
export class InputError extends Error {}

/** Options of {@linkcode inputLines}. */
export interface InputOptions {
  /** Reads what is no UTF-8 as U+FFFD: for a person, who sees it, and goes on typing. */
  readonly lenient?: boolean;
}

/**
 * Yields the lines of the input as they come, without their breaks (`\n`, `\r\n`) and without a byte order mark; the last may
 * lack its own. Reads a few chunks ahead and no more, so that an input of any length takes the memory of its longest line.
 * Throws an {@linkcode InputError} at the first line that is no UTF-8.
 */
export async function* inputLines(
  input: ReadableStream<BufferSource> = Deno.stdin.readable,
  { lenient = false }: InputOptions = {},
): AsyncGenerator<string, void, void> {
  const decode = lenient ? (line: Uint8Array) => new TextDecoder().decode(line) : decodeLine;
  let number = 0;
  const lines = (input as ReadableStream<Uint8Array>).pipeThrough(
    new DelimiterStream(Uint8Array.of(LINE_FEED), { disposition: "suffix" }),
  );
  for await (const bytes of lines) {
    if (bytes.length === 0) return;
    number++;
    const text = decodeNumbered(decode, withoutBreak(bytes), number);
    yield number === 1 ? text.replace(/^\ufeff/, "") : text;
  }
}

function decodeNumbered(decode: (line: Uint8Array) => string, line: Uint8Array, number: number): string {
  try {
    return decode(line);
  } catch (error) {
    throw new InputError(`Cannot read line ${number} of the input, and did not go on: ${(error as Error).message}`);
  }
}

function withoutBreak(line: Uint8Array): Uint8Array {
  if (line.at(-1) !== LINE_FEED) return line;
  return line.subarray(0, line.at(-2) === CARRIAGE_RETURN ? -2 : -1);
}

/** Returns all of stdin, without the line break at its end. Throws an {@linkcode InputError} where it is no text. */
export async function readInput(): Promise<string> {
  const bytes = new Uint8Array(await new Response(Deno.stdin.readable).arrayBuffer());
  try {
    return decodeText(bytes).replace(/\r?\n$/, "");
  } catch (error) {
    throw new InputError(`Cannot read the input: ${(error as Error).message}`);
  }
}
