/** A user with at least one device here: what the broker yields for them, handed to each of their sessions. */

import type { Signal, Stored, Subscriber, Subscription } from "../broker.ts";
import type { Session } from "./session.ts";

/** Needs of a member, which the hub meets. */
export interface MemberHost {
  /** Notes that a message has come out of the broker. */
  came(): void;
  /** Encodes a signal. */
  signalLine(signal: Signal): string;
}

/** Subscriber of the broker for one user. */
export class Member implements Subscriber {
  readonly #host: MemberHost;
  /** Replaced, never changed: a delivery that is under way goes on with the list it has. Most users have one session. */
  #sessions: readonly Session[] = [];
  /** Ends what the broker yields. */
  subscription: Subscription | undefined;

  constructor(host: MemberHost) {
    this.#host = host;
  }

  /** Sessions of the user, in the order of coming. */
  get sessions(): readonly Session[] {
    return this.#sessions;
  }

  /** Adds a session. */
  add(session: Session): void {
    this.#sessions = this.#sessions.concat(session);
  }

  /** Removes a session; returns false for one that is not among them. */
  remove(session: Session): boolean {
    const others = this.#sessions.filter((other) => other !== session);
    const wasHere = others.length < this.#sessions.length;
    this.#sessions = others;
    return wasHere;
  }

  message(message: Stored): void {
    this.#host.came();
    for (const session of this.#sessions) session.deliver(message);
  }

  signal(signal: Signal): void {
    for (const session of this.#sessions) {
      if (session.level === "extended" && !session.congested) session.queue(this.#host.signalLine(signal));
    }
  }
}
