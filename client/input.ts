/** The input of the client. */

import { TextLineStream } from "@std/streams/text-line-stream";

/**
 * Yields the lines of the input as they come, without their breaks (`\n`, `\r\n`); the last may lack its own. Reads a few chunks
 * ahead and no more, so that an input of any length takes the memory of its longest line.
 */
export function inputLines(input: ReadableStream<BufferSource> = Deno.stdin.readable): AsyncIterable<string> {
  return input.pipeThrough(new TextDecoderStream()).pipeThrough(new TextLineStream());
}

/** Returns all of stdin, without the line break at its end. */
export async function readInput(): Promise<string> {
  const text = await new Response(Deno.stdin.readable).text();
  return text.replace(/\r?\n$/, "");
}
