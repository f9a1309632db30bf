/** The listeners of one client, and its messages as something to loop over. */

import { withResolvers } from "./promises.ts";
import type { Listeners, ReceivedMessage, State } from "./types.ts";

/** Everything that is told and not waited for. */
type Told = Omit<Required<Listeners>, "message">;

/** Several listeners, each told all that it listens to, in the order in which they came. */
export class Subscriptions {
  /** An entry per subscription: the same listeners may be there twice. */
  readonly #entries = new Set<{ readonly listeners: Listeners }>();

  /** Returns a function that takes the listeners away. */
  add(listeners: Listeners): () => void {
    const entry = { listeners };
    this.#entries.add(entry);
    return () => void this.#entries.delete(entry);
  }

  /** Hands a message to all; resolves when each has taken it. */
  message(message: ReceivedMessage): void | Promise<void> {
    const pending: Promise<void>[] = [];
    for (const { listeners } of [...this.#entries]) {
      try {
        const taken = listeners.message?.(message);
        if (taken) pending.push(Promise.resolve(taken).catch(throwUncaught));
      } catch (error) {
        throwUncaught(error);
      }
    }
    if (pending.length > 0) return Promise.all(pending).then(() => undefined);
  }

  tell<K extends keyof Told>(name: K, ...args: Parameters<Told[K]>): void {
    for (const { listeners } of [...this.#entries]) {
      try {
        (listeners[name] as ((...args: Parameters<Told[K]>) => void) | undefined)?.call(listeners, ...args);
      } catch (error) {
        throwUncaught(error);
      }
    }
  }
}

/** Throws where nobody catches: the application's own handling of uncaught errors gets it. */
function throwUncaught(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** The part of a client that a loop over its messages uses. */
interface Receiving {
  readonly state: State;
  subscribe(listeners: Listeners): () => void;
}

/** Yields the messages of a client until it is closed. */
export async function* receivedOf(client: Receiving): AsyncGenerator<ReceivedMessage, void> {
  let arrived = withResolvers<ReceivedMessage | undefined>();
  let taken = withResolvers<void>();
  const stop = client.subscribe({
    message(message) {
      arrived.resolve(message);
      return taken.promise;
    },
    state({ phase }) {
      if (phase === "closed") arrived.resolve(undefined);
    },
  });
  try {
    while (client.state.phase !== "closed") {
      const message = await arrived.promise;
      if (!message) return;
      yield message;
      const { resolve } = taken;
      arrived = withResolvers();
      taken = withResolvers();
      resolve();
    }
  } finally {
    stop();
    taken.resolve();
    // The inbox learns of it some microtasks later, and the client may be closed right after the loop.
    await new Promise((resolve) => setTimeout(resolve));
  }
}
