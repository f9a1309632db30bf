/** Messages on their way to the server: each is kept until it is acked, and sent again when it has to be. */

import type { ClientFrame, ErrorFrame, Limits, Message } from "../protocol.ts";
import { retryMs } from "./backoff.ts";
import { ChatError } from "./error.ts";
import { newId } from "./ids.ts";
import { Pace } from "./pace.ts";
import { type Resolvers, withResolvers } from "./promises.ts";
import { oversize, oversizeWords, type SizeLimits } from "./sizes.ts";
import type { Ack, Clock, Outgoing } from "./types.ts";

/** Messages on their way at once, to a server that keeps their order: as many as PROTOCOL.md lets a client have. */
const IN_FLIGHT_MAX = 128;

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
  readonly promise: Resolvers<Ack>;
  /** The message was written on this connection and is neither acked nor refused. */
  inFlight: boolean;
  /** It was written as the one with which its conversation begins again. */
  again: boolean;
  /** Time of the clock before which it is not sent; 0 for at once. */
  notBefore: number;
  /** Number of times that the server could not take it just then. */
  tries: number;
}

/** The unacked messages of one client, oldest first. */
export class Outbox {
  readonly #host: OutboxHost;
  readonly #entries: Entry[] = [];
  readonly #pace = new Pace();
  /** Callbacks to call once, when a message has left. */
  #waiting: (() => void)[] = [];
  /** Time of the clock before which nothing is sent: the rate limit is for all conversations. */
  #notBefore = 0;
  /** The server keeps the order of what is on its way: many messages of a conversation may be. */
  #isOrdered = false;
  /** Conversations in which a message was refused for now: until one is acked again, they send one at a time. */
  readonly #refused = new Set<string>();
  /** Error of those that wait since it was closed. */
  #closed: ChatError | undefined;
  #cancelPump = () => {};

  constructor(host: OutboxHost) {
    this.#host = host;
  }

  /** Messages that are not acked, oldest first. */
  get messages(): readonly Message[] {
    return this.#entries.map(({ message }) => message);
  }

  /** Appends a message; {@linkcode pump} sends it. In a closed outbox it waits for another run, as those do that were there. */
  add(message: Message): Outgoing {
    const entry: Entry = {
      message: { ...message, id: message.id ?? newId() },
      promise: withResolvers(),
      inFlight: false,
      again: false,
      notBefore: 0,
      tries: 0,
    };
    entry.promise.promise.catch(() => {}); // an application that does not wait for it is told by "refused"
    if (this.#closed) entry.promise.reject(this.#closed);
    this.#entries.push(entry);
    return { message: entry.message, acked: entry.promise.promise };
  }

  /** Returns the promise of a message that is not acked yet. */
  acked(id: string): Promise<Ack> | undefined {
    return this.#find(id)?.promise.promise;
  }

  /** Takes a message out. Returns undefined where it is not there; else whether it was on its way, and so may have arrived. */
  drop(id: string): { readonly mayHaveArrived: boolean } | undefined {
    const entry = this.#find(id);
    if (!entry) return undefined;
    this.#remove(entry);
    entry.promise.reject(new ChatError("dropped", "The message was dropped"));
    this.pump();
    return { mayHaveArrived: entry.inFlight };
  }

  /** Resolves when fewer than `below` messages wait, or the outbox is closed. */
  async flushed(below: number): Promise<void> {
    while (this.#entries.length >= below && !this.#closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /**
   * Sends everything afresh on a new connection: waits that the server asked for on the last one are over. What is too large for
   * the server is refused here. `isOrdered`: the server keeps the order of what is on its way.
   */
  restart(limits: Limits, isOrdered: boolean): void {
    this.#isOrdered = isOrdered;
    this.#refused.clear();
    this.#notBefore = 0;
    this.#pace.restart(limits, this.#host.clock.now());
    for (const entry of this.#entries) entry.notBefore = 0;
    this.#giveUpOversized(limits);
    this.pump();
  }

  #giveUpOversized(limits: SizeLimits): void {
    for (const entry of [...this.#entries]) {
      const size = oversize({ ...entry.message, sender: this.#host.user }, limits);
      if (size) this.#giveUp(entry, { ...tooLarge(oversizeWords(size)), id: entry.message.id });
    }
  }

  /**
   * Sends every message that may go, in the order of each conversation. To a server that keeps no order, and in a conversation in
   * which a message was refused for now, only one is on its way at a time.
   */
  pump(): void {
    this.#cancelPump();
    const { clock, user, isOnline } = this.#host;
    if (!isOnline) return;
    const now = clock.now();
    const flying = this.#entries.filter(({ inFlight }) => inFlight);
    const busy = new Set(flying.map(({ message }) => message.recipient).filter((name) => this.#isSingle(name)));
    let room = (this.#isOrdered ? IN_FLIGHT_MAX : Infinity) - flying.length;
    let next = Infinity;
    for (const entry of this.#entries) {
      const { recipient, content } = entry.message;
      if (room === 0) break;
      if (entry.inFlight || busy.has(recipient)) continue;
      const due = Math.max(entry.notBefore, this.#notBefore, this.#pace.readyAt(content.length, now));
      if (due > now || this.#isSingle(recipient)) busy.add(recipient);
      if (due > now) {
        next = Math.min(next, due);
        continue;
      }
      room--;
      this.#pace.spend(content.length);
      entry.inFlight = true;
      entry.again = this.#isOrdered && this.#refused.has(recipient);
      this.#host.write({ ...entry.message, sender: user, ...(entry.again ? { again: true } : {}) });
    }
    if (next < Infinity) this.#cancelPump = clock.after(next - now, () => this.pump());
  }

  /** Returns whether a conversation has one message on its way at most. */
  #isSingle(recipient: string): boolean {
    return !this.#isOrdered || this.#refused.has(recipient);
  }

  /** Takes an acked message out; one that is not there was acked before. */
  ack(ack: Ack): void {
    const entry = this.#find(ack.id);
    if (!entry) return;
    if (entry.again) this.#refused.delete(entry.message.recipient);
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
    entry.inFlight = false;
    this.#refused.add(entry.message.recipient);
    if (error.code === "out_of_order") return; // it goes when the one before it has gone
    const delayMs = retryMs(error, entry.tries++, this.#host.random);
    entry.notBefore = this.#host.clock.now() + delayMs;
    if (error.code === "rate_limited" || error.code === "quota_exceeded") {
      this.#pace.empty(this.#host.clock.now());
      this.#notBefore = Math.max(this.#notBefore, entry.notBefore);
    }
    this.#host.refused(error, entry.message, delayMs);
  }

  #giveUp(entry: Entry, error: ErrorFrame): void {
    this.#remove(entry);
    this.#host.refused(error, entry.message, undefined);
    entry.promise.reject(ChatError.of(error));
  }

  /** Tries a message again now that waits for a time to be over. */
  retry(id: string): void {
    const entry = this.#find(id);
    if (!entry) return;
    entry.notBefore = 0;
    this.pump();
  }

  /** Drops every message. */
  clear(): void {
    for (const { message } of [...this.#entries]) this.drop(message.id);
  }

  /** Notes that the connection is lost: what was on its way is sent again. */
  disconnect(): void {
    this.#cancelPump();
    for (const entry of this.#entries) entry.inFlight = false;
  }

  /** Fails every message that is not acked. They stay in {@linkcode messages}, for the next run. */
  close(error: ChatError): void {
    this.disconnect();
    this.#closed = error;
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

/** Makes the error of a message that is over a limit of the server's. */
export function tooLarge(message: string): ErrorFrame {
  return { type: "error", code: "too_large", message, retryable: false };
}
