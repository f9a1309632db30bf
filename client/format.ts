/** Messages as lines for other programs: plain text made harmless, or JSON. Pure. */

import { isGroup, type Message } from "../protocol.ts";
import { sanitize } from "./sanitize.ts";

/** Characters that JSON leaves as they are, and that a terminal would obey or a reader be deceived by. */
const UNSAFE_REGEXP = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** Returns a message as one line, without a line break. */
export function messageLine(message: Message, json: boolean): string {
  if (json) return jsonLine(message);
  const { sender, recipient, content } = message;
  return `${isGroup(recipient) ? `${sanitize(recipient)} ` : ""}${sanitize(sender)}: ${sanitize(content)}`;
}

/** Returns a value as JSON on one line that is safe to write to a terminal. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(
    UNSAFE_REGEXP,
    (character) =>
      Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`).join(
        "",
      ),
  );
}
