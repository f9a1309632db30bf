/** Requests and their answers, matched by id. */

import type { ClientFrame, ErrorFrame, ServerFrame, ServerFrameOf } from "../protocol.ts";
import { retryMs } from "./backoff.ts";
import { ChatError } from "./error.ts";
import { type Resolvers, withResolvers } from "./promises.ts";
import type { Clock } from "./types.ts";

/** Milliseconds for the answer to a request. */
const REQUEST_MS = 15_000;

/** The types of frames that are answered by a frame of the same type and id. */
type RequestType = "history" | "group" | "conversations" | "search" | "admin";
type RequestFrame<T extends RequestType = RequestType> = Extract<ClientFrame, { type: T }>;

/** A request without what is added to it: type and id. */
export type Query<T extends RequestType> = Omit<RequestFrame<T>, "type" | "id">;

/** The part of a client that its requests use. */
export interface RequestsHost {
  readonly clock: Clock;
  readonly random: () => number;
  readonly isOnline: boolean;
  write(frame: ClientFrame): void;
}

interface Pending {
  readonly frame: RequestFrame;
  readonly promise: Resolvers<ServerFrame>;
  readonly cancelTimeout: () => void;
  /** Number of times that the server could not take it just then. */
  tries: number;
}

/** The unanswered requests of one client. */
export class Requests {
  readonly #host: RequestsHost;
  readonly #pending = new Map<string, Pending>();
  #count = 0;

  constructor(host: RequestsHost) {
    this.#host = host;
  }

  /** Asks the server. Rejects with a {@linkcode ChatError}: the server's, `timeout`, or `offline`. */
  async ask<T extends RequestType>(type: T, query: Query<T>): Promise<ServerFrameOf<T>> {
    if (!this.#host.isOnline) throw new ChatError("offline", "There is no connection");
    const id = `q${++this.#count}`;
    const frame = { type, ...query, id } as unknown as RequestFrame<T>;
    const promise = withResolvers<ServerFrame>();
    const cancelTimeout = this.#host.clock.after(
      REQUEST_MS,
      () => this.#take(id)?.promise.reject(new ChatError("timeout", "The server did not answer")),
    );
    this.#pending.set(id, { frame, promise, cancelTimeout, tries: 0 });
    this.#host.write(frame);
    return await promise.promise as ServerFrameOf<T>;
  }

  /** Resolves the request that a frame answers. Returns false when it answers none. */
  answer(frame: ServerFrameOf<RequestType>): boolean {
    const pending = frame.id === undefined ? undefined : this.#pending.get(frame.id);
    if (!pending) return false;
    // An answer of another type would be read as something that it is not.
    if (pending.frame.type === frame.type) this.#take(frame.id!)!.promise.resolve(frame);
    return true;
  }

  /** Fails, or repeats, the request that an error is about. Returns false when it is about none. */
  refuse(error: ErrorFrame): boolean {
    const { id = "", code } = error;
    const pending = this.#pending.get(id);
    if (!pending) return false;
    if (code === "rate_limited") this.#repeatLater(id, pending, error);
    else this.#take(id)!.promise.reject(ChatError.of(error));
    return true;
  }

  #repeatLater(id: string, pending: Pending, error: ErrorFrame): void {
    this.#host.clock.after(retryMs(error, pending.tries++, this.#host.random), () => {
      if (this.#pending.has(id)) this.#host.write(pending.frame);
    });
  }

  /** Fails all. */
  failAll(error: ChatError): void {
    for (const id of [...this.#pending.keys()]) this.#take(id)!.promise.reject(error);
  }

  #take(id: string): Pending | undefined {
    const pending = this.#pending.get(id);
    this.#pending.delete(id);
    pending?.cancelTimeout();
    return pending;
  }
}
