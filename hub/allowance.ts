/** Allowance of users: how many frames they may send, how much content in a day, and whether messages are taken at all. */

import { type ClientFrame, type Message, Refusal, utf8Bytes } from "../protocol.ts";
import type { HubOptions } from "./options.ts";
import type { Session } from "./session.ts";

/** UTF-16 units of content that count as another frame against the rate: what people type is one, a flood of pages is many. */
const RATE_CONTENT_CHARS = 4_096;

/** Frames that a search counts as against the rate: it costs the server as much as several messages. */
const SEARCH_COST = 4;

/** Decides, by the limits of a hub, whether a frame goes on; a frame that does not is answered. */
export class Allowance {
  readonly #options: Pick<HubOptions, "rateLimit" | "quota" | "refusesMessages">;

  constructor(options: Pick<HubOptions, "rateLimit" | "quota" | "refusesMessages">) {
    this.#options = options;
  }

  /** Consumes `cost` of the user's rate. Returns the milliseconds to wait: 0 to go on, Infinity to close the connection. */
  consumeRate(user: string, cost: number): number {
    return this.#options.rateLimit?.consume(user, cost) ?? 0;
  }

  /** Consumes `bytes` of the user's quota. Returns the milliseconds to wait: 0 to go on. */
  consumeQuota(user: string, bytes: number): number {
    return this.#options.quota?.consume(user, bytes) ?? 0;
  }

  /** Counts a frame beside messages against the user's rate; false where it is over and was refused. */
  admits(session: Session, frame: ClientFrame): boolean {
    return this.#consume(session, frame, frame.type === "search" ? SEARCH_COST : 1);
  }

  /** Returns whether rate, disk and quota let a message through; refuses it where they do not. */
  admitsMessage(session: Session, frame: Message): boolean {
    if (!this.#consume(session, frame, 1 + Math.floor(frame.content.length / RATE_CONTENT_CHARS))) return false;
    const closed = this.#options.refusesMessages?.();
    if (closed === undefined) return !this.#options.quota || this.#isWithinQuota(session, frame);
    session.answer(Refusal.of(frame, "unavailable", closed));
    return false;
  }

  #consume(session: Session, frame: ClientFrame, cost: number): boolean {
    const wait = this.consumeRate(session.user, cost);
    return wait === 0 || slowDown(session, Refusal.of(frame, "rate_limited", "Too many frames; slow down"), wait);
  }

  #isWithinQuota(session: Session, frame: Message): boolean {
    const wait = this.consumeQuota(session.user, utf8Bytes(frame.content));
    const words = "You have sent as much as one may in a day; try again later";
    return wait === 0 || slowDown(session, Refusal.of(frame, "quota_exceeded", words), wait);
  }
}

/** Refuses a frame that came too early by `wait` milliseconds; Infinity closes the connection. Returns false. */
function slowDown(session: Session, refusal: Refusal, wait: number): false {
  if (wait === Infinity) {
    session.close("flood", "The rate limit was ignored for long");
    return false;
  }
  refusal.retryAfterMs = Math.ceil(wait);
  session.answer(refusal);
  return false;
}
