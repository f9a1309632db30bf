/**
 * Encoding of the broker's records as frames of the wire, and a cache of the last encoded line.
 */

import type { Appended, BrokerRefusal, MarkerMove, Signal, Stored } from "../broker.ts";
import { encode, type Message, type ServerFrameOf } from "../protocol.ts";

/** Encodes a moved marker as a frame; `ts` in milliseconds since 1970. */
export function toReceipt(mark: MarkerMove, ts: number): ServerFrameOf<"receipt"> {
  return { type: "receipt", kind: mark.kind, user: mark.user, with: mark.with, seq: mark.seq, ts: timestamp(ts) };
}

let lastMs = -1, lastTimestamp = "";

/** Formats milliseconds since 1970 as RFC 3339 in UTC with milliseconds. Many messages share one: it is made once. */
export function timestamp(ms: number): string {
  if (ms !== lastMs) {
    lastMs = ms;
    lastTimestamp = new Date(ms).toISOString();
  }
  return lastTimestamp;
}

// deno-lint-ignore no-control-regex
const ESCAPED_REGEXP = /["\\\0-\x1f\ud800-\udfff]/;

/** Quotes a text as JSON. Most has nothing to escape, and seeing that is faster than escaping. */
function quote(text: string): string {
  return ESCAPED_REGEXP.test(text) ? JSON.stringify(text) : `"${text}"`;
}

/** Encodes a message for the base level. */
export function encodeBase(message: Stored): string {
  const { sender, recipient, content } = message;
  // Names have no character that JSON escapes.
  return `{"sender":"${sender}","recipient":"${recipient}","content":${quote(content)}}`;
}

/** Encodes a message for the extended level. */
export function encodeExtended(message: Stored): string {
  const { sender, recipient, content, id, seq, ts } = message;
  const head = `{"sender":"${sender}","recipient":"${recipient}","content":${quote(content)}`;
  const tail = `,"seq":${seq},"ts":"${timestamp(ts)}"}`;
  return id === undefined ? head + tail : `${head},"id":${quote(id)}${tail}`;
}

/** Encodes the ack of a message with an id. */
export function encodeAck(id: string, appended: Exclude<Appended, BrokerRefusal>): string {
  const head = `{"type":"ack","id":${quote(id)},"seq":${appended.seq},"ts":"${timestamp(appended.ts)}"`;
  return appended.duplicate ? head + ',"duplicate":true}' : head + "}";
}

/** Converts a stored message to a frame of the extended level. */
export function toMessage(message: Stored): Message {
  const { sender, recipient, content, id, seq, ts } = message;
  return id === undefined
    ? { sender, recipient, content, seq, ts: timestamp(ts) }
    : { sender, recipient, content, id, seq, ts: timestamp(ts) };
}

/**
 * Remembers the last encoded message and signal: each goes to many receivers in a row, and is encoded once for all of them.
 */
export class LineCache {
  #message: Stored | undefined;
  #extendedLine = "";
  #baseLine = "";
  #signal: Signal | undefined;
  #signalLine = "";

  /** Encodes a message for the base or for the extended level. */
  message(message: Stored, isBase: boolean): string {
    if (this.#message !== message) {
      this.#message = message;
      this.#baseLine = this.#extendedLine = "";
    }
    if (isBase) return this.#baseLine ||= encodeBase(message);
    return this.#extendedLine ||= encodeExtended(message);
  }

  /** Encodes a signal. */
  signal(signal: Signal): string {
    if (this.#signal !== signal) {
      this.#signal = signal;
      this.#signalLine = encode(signal);
    }
    return this.#signalLine;
  }
}
