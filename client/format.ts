/** Messages as lines for other programs: plain text made harmless, or JSON. Pure. */

import { isGroup, type Message } from "../protocol.ts";
import { sanitize } from "./sanitize.ts";

/** What JSON leaves as it is but a terminal or a reader might be deceived by. */
const UNSAFE_REGEXP = /[\x7f-\x9f\p{Cf}\p{Zl}\p{Zp}]/gu;

/** One message as one line, without the line break. */
export function messageLine(message: Message, json: boolean): string {
  if (json) return jsonLine(message);
  const { sender, recipient, content } = message;
  return `${isGroup(recipient) ? `${sanitize(recipient)} ` : ""}${sanitize(sender)}: ${sanitize(content)}`;
}

/** A value as JSON on one line, in which a terminal finds nothing to obey. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(
    UNSAFE_REGEXP,
    (character) =>
      Array.from({ length: character.length }, (_, i) => `\\u${character.charCodeAt(i).toString(16).padStart(4, "0")}`).join(
        "",
      ),
  );
}
