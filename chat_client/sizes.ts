/** Sizes of messages, and the limits that a server has for them. Pure. */

import { CONTENT_BYTES_MAX, encode, FRAME_BYTES_MAX, ID_CHARS_MAX, type Limits, type Message } from "../protocol.ts";

/** The limits of a server that has not said any. */
export const DEFAULT_SIZES: SizeLimits = { frame: FRAME_BYTES_MAX, content: CONTENT_BYTES_MAX };

/** Bytes of a frame and of content that a server takes. */
export type SizeLimits = Pick<Limits, "frame" | "content">;

/** A message that is over a limit. Numbers are bytes. */
export interface Oversize {
  /** The limit that it is over: that of its content, or that of the frame, which escaping makes longer. */
  readonly of: "content" | "frame";
  readonly bytes: number;
  readonly limit: number;
}

const encoder = new TextEncoder();

/** Returns by how much a message is too large for a server; undefined where it is not. */
export function oversize(message: Message, limits: SizeLimits): Oversize | undefined {
  const content = bytesOf(message.content);
  if (content > limits.content) return { of: "content", bytes: content, limit: limits.content };
  // Content this small fits whatever is escaped in it: at most six bytes a character, and the names and the id beside it.
  if (content * 6 + FRAME_REST_BYTES <= limits.frame) return undefined;
  const frame = bytesOf(encode({ ...message, id: message.id ?? "x".repeat(ID_CHARS_MAX), again: true }));
  return frame > limits.frame ? { of: "frame", bytes: frame, limit: limits.frame } : undefined;
}

/** Bytes of a frame beside its content, at most. */
const FRAME_REST_BYTES = 1_024;

function bytesOf(text: string): number {
  return encoder.encode(text).length;
}

/** Returns as a sentence how much too large a message is. */
export function oversizeWords({ of, bytes, limit }: Oversize): string {
  const [size, most] = [bytes, limit].map((count) => count.toLocaleString("en-US"));
  if (of === "content") return `The text has ${size} bytes, and the server takes ${most} in one message`;
  return `The message takes ${size} bytes on the wire, where control characters are longer, and the server takes ${most}`;
}

/**
 * Splits a text into parts that `fits` accepts, at line breaks where it can, else between characters. The breaks at which it is
 * split are left out. `fits` must accept every single character, and every beginning of what it accepts.
 */
export function splitText(text: string, fits: (part: string) => boolean): string[] {
  const parts: string[] = [];
  for (let rest = text; rest !== "";) {
    const length = fittingLength(rest, fits);
    const end = length === rest.length ? length : rest.lastIndexOf("\n", length);
    // A line that alone is too long is cut where it has to be.
    const isAtLine = end > 0;
    const part = rest.slice(0, isAtLine ? end : length);
    if (part.trim() !== "") parts.push(part);
    rest = rest.slice(isAtLine && end < rest.length ? end + 1 : part.length);
  }
  return parts;
}

/** Returns the length of the longest beginning that fits, at least one character, without half a surrogate pair at its end. */
function fittingLength(text: string, fits: (part: string) => boolean): number {
  if (fits(text)) return text.length;
  let [low, high] = [1, text.length];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (fits(text.slice(0, middle))) low = middle;
    else high = middle;
  }
  const isCut = /[\ud800-\udbff]/.test(text[low - 1]!) && /[\udc00-\udfff]/.test(text[low] ?? "");
  return isCut ? (low === 1 ? 2 : low - 1) : low;
}
