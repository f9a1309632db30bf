/**
 * The meter: what the hub counts for whoever runs it. A port, so that the hub knows no format and no library; without one
 * nothing is counted. Labels come from closed sets: nothing is counted per user or conversation.
 */

import type { ErrorCode } from "../protocol.ts";

/** Counters and observations of a hub. Called on the hot path: none may throw or take long. */
export interface Meter {
  /** Counts a frame from a client; `type` is one of the protocol's, "message", or "invalid" for one that could not be parsed. */
  received(type: string): void;
  /** Counts an error frame to a client. */
  refused(code: ErrorCode): void;
  /** Counts a close by the server, with its code. */
  closed(code: number): void;
  /** Counts a message that was stored for the first time. */
  stored(isGroup: boolean): void;
  /** Counts a message that was queued to one connection. */
  delivered(isGroup: boolean): void;
  /** Counts a welcome by its `recovered`. */
  welcomed(recovered: boolean): void;
  /** Observes one append: seconds until it was durable or refused, and how many messages it had. */
  appended(seconds: number, messages: number): void;
  /** Observes, once a turn, the seconds from a message's coming out of the broker to its being handed to sockets. */
  written(seconds: number): void;
}

/** Told how long things took. Called on the hot path: none may throw or take long. */
export interface SlowWatch {
  /** Observes one append: milliseconds until it was durable or refused, and how many messages it had. */
  appended(ms: number, messages: number): void;
  /** Observes one turn of the event loop, from the first frame in it: milliseconds, messages, and connections written to. */
  turned(ms: number, messages: number, connections: number): void;
  /**
   * Observes the answer to a frame of this type for which the broker was asked, in milliseconds; `"backlog"` for a page of what
   * a device missed.
   */
  answered(ms: number, request: string): void;
}

/** Resolves with the answer to a `request`, whose duration is told to `slow`, if anybody is. */
export async function timed<T>(slow: SlowWatch | undefined, request: string, answer: Promise<T>): Promise<T> {
  if (!slow) return await answer;
  const begun = performance.now();
  try {
    return await answer;
  } finally {
    slow.answered(performance.now() - begun, request);
  }
}

/** A meter that counts nothing. */
export const NO_METER: Meter = {
  received() {},
  refused() {},
  closed() {},
  stored() {},
  delivered() {},
  welcomed() {},
  appended() {},
  written() {},
};
