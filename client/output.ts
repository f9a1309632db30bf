/** The output of the client: whole lines to stdout for programs, and to stderr for people. */

import { EXIT } from "./exit.ts";
import { jsonLine } from "./format.ts";
import { sanitize } from "./sanitize.ts";

const encoder = new TextEncoder();

/** Writes one line to stdout, or ends the process quietly when nobody reads it any more. Throws where it cannot be written. */
export function print(line: string): void {
  if (!tryPrint(line)) Deno.exit(EXIT.ok);
}

/** Writes one line to stdout. Returns false when nobody reads it any more; throws where it cannot be written. */
export function tryPrint(line: string): boolean {
  try {
    writeAll(Deno.stdout, line + "\n");
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.BrokenPipe) return false;
    throw new Error(`Cannot write to the output: ${(error as Error).message}`);
  }
}

/** True where programs read stderr too. */
let isJson = false;

/** Writes what is said on stderr as JSON from now on, an object per line: notices, and errors with their code. */
export function reportAsJson(): void {
  isJson = true;
}

/** Writes a notice to stderr, made harmless; never throws. */
export function warn(line: string): void {
  report(isJson ? jsonLine({ type: "notice", message: line }) : sanitize(line, { multiline: true }));
}

/** Writes an error to stderr, made harmless; never throws. `code`: the protocol's, or one of the client's own. */
export function fail(line: string, code: string): void {
  report(isJson ? jsonLine({ type: "error", code, message: line }) : sanitize(line, { multiline: true }));
}

function report(line: string): void {
  try {
    writeAll(Deno.stderr, line + "\n");
  } catch { /* nobody reads it */ }
}

function writeAll(out: { writeSync(bytes: Uint8Array): number }, text: string): void {
  const bytes = encoder.encode(text);
  for (let written = 0; written < bytes.length;) written += out.writeSync(bytes.subarray(written));
}
