/** Reasons in words. */

import { CLOSE_CODES } from "../protocol.ts";

/** Returns why a connection was closed, in words: the server's own where it gave some. */
export function wordsForClose(code: number, reason: string): string {
  if (reason !== "") return reason;
  if (code === CLOSE_CODES.bye.code) return "The server ended the session";
  const known = Object.values(CLOSE_CODES).find((entry) => entry.code === code);
  return known ? known.meaning : "The connection was lost";
}

/** Returns the words of anything that was thrown. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Returns the words of an error's event, which has some outside of browsers; else an empty string. */
export function messageOf(event: object): string {
  return "message" in event && typeof event.message === "string" ? event.message : "";
}
