/** Messages on their way to the server: each is kept until it is acked, and sent again when it has to be. */

import type { ClientFrame, ErrorFrame, Message } from "../protocol.ts";
import { retryMs } from "./backoff.ts";
import { type Ack, ChatError, type Clock, type Outgoing } from "./types.ts";

/** The part of a client that an outbox uses. */
export interface OutboxHost {
  readonly clock: Clock;
  readonly random: () => number;
  /** Name that messages are sent under. */
  readonly user: string;
  readonly isOnline: boolean;
  write(frame: ClientFrame): void;
  /** Stores the outbox; called after every change to its messages, but for those of a {@linkcode Outbox.add} at the start. */
  save(): void;
  refused(error: ErrorFrame, message: Message, retryMs: number | undefined): void;
}

interface Entry {
  readonly message: Message & { readonly id: string };
  readonly promise: PromiseWithResolvers<Ack>;
  /** The message was written on this connection and is neither acked nor refused. */
  inFlight: boolean;
  /** Time of the clock before which it is not sent; 0 for at once. */
  notBefore: number;
  /** Number of times that the server could not take it just then. */
  tries: number;
}

/** The unacked messages of one client, oldest first. */
export class Outbox {
  readonly #host: OutboxHost;
  readonly #entries: Entry[] = [];
  /** Callbacks to call once, when a message has left. */
  #waiting: (() => void)[] = [];
  /** Time of the clock before which nothing is sent: the rate limit is for all conversations. */
  #notBefore = 0;
  #isClosed = false;
  #cancelPump = () => {};

  constructor(host: OutboxHost) {
    this.#host = host;
  }

  /** Messages that are not acked, oldest first. */
  get messages(): readonly Message[] {
    return this.#entries.map(({ message }) => message);
  }

  /** Appends a message; {@linkcode pump} sends it. */
  add(message: Message): Outgoing {
    const entry: Entry = {
      message: { ...message, id: message.id ?? crypto.randomUUID() },
      promise: Promise.withResolvers(),
      inFlight: false,
      notBefore: 0,
      tries: 0,
    };
    entry.promise.promise.catch(() => {}); // an application that does not wait for it is told by "refused"
    this.#entries.push(entry);
    return { message: entry.message, acked: entry.promise.promise };
  }

  /** Returns the promise of a message that is not acked yet. */
  acked(id: string): Promise<Ack> | undefined {
    return this.#find(id)?.promise.promise;
  }

  /** Resolves when fewer than `below` messages wait, or the outbox is closed. */
  async flushed(below: number): Promise<void> {
    while (this.#entries.length >= below && !this.#isClosed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Sends everything afresh on a new connection: waits that the server asked for on the last one are over. */
  restart(): void {
    this.#notBefore = 0;
    for (const entry of this.#entries) entry.notBefore = 0;
    this.pump();
  }

  /** Sends every message that may go: one of each conversation at a time, so that a refusal cannot change their order. */
  pump(): void {
    this.#cancelPump();
    const { clock, user, isOnline } = this.#host;
    if (!isOnline) return;
    const now = clock.now();
    const busy = new Set<string>();
    let next = Infinity;
    for (const entry of this.#entries) {
      const { recipient } = entry.message;
      if (busy.has(recipient)) continue;
      busy.add(recipient);
      if (entry.inFlight) continue;
      const due = Math.max(entry.notBefore, this.#notBefore);
      if (due > now) {
        next = Math.min(next, due);
        continue;
      }
      entry.inFlight = true;
      this.#host.write({ ...entry.message, sender: user });
    }
    if (next < Infinity) this.#cancelPump = clock.after(next - now, () => this.pump());
  }

  /** Takes an acked message out; one that is not there was acked before. */
  ack(ack: Ack): void {
    const entry = this.#find(ack.id);
    if (!entry) return;
    this.#remove(entry);
    entry.promise.resolve(ack);
    this.pump();
  }

  /** Deals with an error that is about one of the messages. Returns false when it is not. */
  refuse(error: ErrorFrame): boolean {
    const entry = error.id === undefined ? undefined : this.#find(error.id);
    if (!entry) return false;
    if (error.retryable) this.#sendLater(entry, error);
    else this.#giveUp(entry, error);
    this.pump();
    return true;
  }

  #sendLater(entry: Entry, error: ErrorFrame): void {
    const delayMs = retryMs(error, entry.tries++, this.#host.random);
    entry.inFlight = false;
    entry.notBefore = this.#host.clock.now() + delayMs;
    const isSlowed = error.code === "rate_limited" || error.code === "quota_exceeded";
    if (isSlowed) this.#notBefore = Math.max(this.#notBefore, entry.notBefore);
    this.#host.refused(error, entry.message, delayMs);
  }

  #giveUp(entry: Entry, error: ErrorFrame): void {
    this.#remove(entry);
    this.#host.refused(error, entry.message, undefined);
    entry.promise.reject(new ChatError(error.code, error.message));
  }

  /** Notes that the connection is lost: what was on its way is sent again. */
  disconnect(): void {
    this.#cancelPump();
    for (const entry of this.#entries) entry.inFlight = false;
  }

  /** Fails every message that is not acked. They stay in {@linkcode messages}, for the next run. */
  close(error: ChatError): void {
    this.disconnect();
    this.#isClosed = true;
    for (const { promise } of this.#entries) promise.reject(error);
    this.#wake();
  }

  #find(id: string): Entry | undefined {
    return this.#entries.find(({ message }) => message.id === id);
  }

  #remove(entry: Entry): void {
    this.#entries.splice(this.#entries.indexOf(entry), 1);
    this.#host.save();
    this.#wake();
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
