/**
 * What the broker keeps, as it goes on the wire.
 */

import type { Appended, BrokerRefusal, Mark, Stored } from "./hub.ts";
import type { Message, ServerFrameOf } from "./protocol.ts";

/** A moved marker as a frame. */
export function toReceipt(mark: Mark, ts: number): ServerFrameOf<"receipt"> {
  return { type: "receipt", kind: mark.kind, user: mark.user, with: mark.with, seq: mark.seq, ts: timestamp(ts) };
}

let lastMs = -1, lastTimestamp = "";

/** RFC 3339 in UTC with milliseconds. Many messages share one: it is made once. */
export function timestamp(ms: number): string {
  if (ms !== lastMs) {
    lastMs = ms;
    lastTimestamp = new Date(ms).toISOString();
  }
  return lastTimestamp;
}

// deno-lint-ignore no-control-regex
const ESCAPED_REGEXP = /["\\\0-\x1f\ud800-\udfff]/;

/** A text as JSON. Most has nothing to escape, and seeing that is faster than escaping. */
function quote(text: string): string {
  return ESCAPED_REGEXP.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/** A message as the base level gets it. */
export function encodeBase(message: Stored): string {
  const { sender, recipient, content } = message;
  // Names have no character that JSON escapes.
  return `{"sender":"${sender}","recipient":"${recipient}","content":${quote(content)}}`;
}

/** A message as the extended level gets it. */
export function encodeExtended(message: Stored): string {
  const { sender, recipient, content, id, seq, ts } = message;
  const head = `{"sender":"${sender}","recipient":"${recipient}","content":${quote(content)}`;
  const tail = `,"seq":${seq},"ts":"${timestamp(ts)}"}`;
  return id === undefined ? head + tail : `${head},"id":${quote(id)}${tail}`;
}

/** What became of a message with an id, told to its sender. */
export function encodeAck(id: string, appended: Exclude<Appended, BrokerRefusal>): string {
  const head = `{"type":"ack","id":${quote(id)},"seq":${appended.seq},"ts":"${timestamp(appended.ts)}"`;
  return appended.duplicate ? head + ',"duplicate":true}' : head + "}";
}

/** A stored message as a frame of the extended level. */
export function toMessage(message: Stored): Message {
  const { sender, recipient, content, id, seq, ts } = message;
  return id === undefined
    ? { sender, recipient, content, seq, ts: timestamp(ts) }
    : { sender, recipient, content, id, seq, ts: timestamp(ts) };
}
