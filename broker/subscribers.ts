/** Subscribers of users in this process, for engines that learn of messages one by one. */

import type { Stored, Subscriber, Subscription } from "../broker.ts";

/** The live subscriptions of one broker. */
export class Subscribers {
  readonly #byUser = new Map<string, readonly Subscriber[]>();

  /** Number of users with a subscription. */
  get size(): number {
    return this.#byUser.size;
  }

  /** Returns whether a user has a subscription. */
  has(user: string): boolean {
    return this.#byUser.has(user);
  }

  /** Returns those who listen for a user. */
  of(user: string): readonly Subscriber[] {
    return this.#byUser.get(user) ?? [];
  }

  /** Subscribes as `MessageLog.subscribe` of broker.ts says. */
  add(user: string, subscriber: Subscriber): Subscription {
    this.#byUser.set(user, [...this.of(user), subscriber]);
    return {
      close: () => {
        const rest = this.of(user).filter((other) => other !== subscriber);
        if (rest.length > 0) this.#byUser.set(user, rest);
        else this.#byUser.delete(user);
      },
    };
  }

  /** Yields a message to those who listen for a user. */
  yieldTo(user: string, message: Stored): void {
    const subscribers = this.#byUser.get(user);
    if (subscribers) { for (const subscriber of subscribers) subscriber.message(message); }
  }
}
