/**
 * Messages on their way to the application: in order, each once, and confirmed to the server when the application has taken
 * them, so that nothing is lost in between.
 */

import type { ClientFrame, Message, ServerFrameOf } from "../protocol.ts";
import type { Clock, Position, ReceivedMessage } from "./types.ts";

/** Taken messages that may be unconfirmed: few enough that a crash repeats few. */
const CONFIRM_EVERY = 32;
/** Milliseconds after which a taken message is confirmed. */
const CONFIRM_MS = 250;

/** The part of a client that an inbox uses. */
export interface InboxHost {
  readonly clock: Clock;
  readonly isOnline: boolean;
  /** See `ChatOptions`. */
  readonly sendOnly: boolean;
  readonly confirmEvery: number | undefined;
  write(frame: ClientFrame): void;
  /** Stores the position. */
  save(): void;
  /** Hands a message to the application. */
  message(message: ReceivedMessage): void | Promise<void>;
  synced(): void;
}

/** Position and unfinished messages of one device. Positions are -1 where there is none yet. */
export class Inbox {
  readonly #host: InboxHost;
  #epoch: string | undefined;
  /** Newest position that arrived, whether the application has it yet or not. */
  #received = -1;
  /** Newest position that the application has taken. */
  #taken = -1;
  /** Newest position that was confirmed to the server. */
  #confirmed = -1;
  /** Number of taken messages since the last confirmation. */
  #unconfirmed = 0;
  #queue: (Message | "synced")[] = [];
  #isHandingOver = false;
  #cancelConfirm = () => {};

  constructor(host: InboxHost, position: Position | undefined) {
    this.#host = host;
    if (!position) return;
    this.#epoch = position.epoch;
    this.#moveTo(position.seq);
  }

  #moveTo(seq: number): void {
    this.#received = this.#taken = this.#confirmed = seq;
  }

  /** Returns where the server should go on: after the newest message that arrived. */
  get resume(): Position | undefined {
    return this.#positionAt(this.#received);
  }

  /** Returns what has to be stored: the newest message that the application has taken. */
  get position(): Position | undefined {
    return this.#positionAt(this.#taken);
  }

  #positionAt(seq: number): Position | undefined {
    return this.#epoch === undefined || seq < 0 ? undefined : { epoch: this.#epoch, seq };
  }

  /**
   * Adopts what a welcome says of the log. `isOtherLog`: the positions of before mean nothing any more; `missed`: messages were
   * missed that the server cannot give any more.
   */
  welcome({ epoch, seq, recovered }: ServerFrameOf<"welcome">): { readonly isOtherLog: boolean; readonly missed: boolean } {
    const isOtherLog = this.#epoch !== undefined && epoch !== this.#epoch;
    const isMissing = this.#epoch !== undefined && !recovered;
    if (epoch !== this.#epoch || !recovered) {
      // Positions of another log mean nothing in this one; what is still to be taken belongs to the old one, unconfirmed.
      this.#epoch = epoch;
      this.#moveTo(-1);
      this.#queue = this.#queue.filter((entry) => entry !== "synced").map(withoutPosition);
    }
    if (this.#host.sendOnly) {
      this.#moveTo(seq);
      this.#host.save();
    }
    return { isOtherLog, missed: isMissing };
  }

  /** Accepts a message from the server, unless it was here before. */
  receive(message: Message): void {
    if (this.#host.sendOnly) return;
    if (message.seq !== undefined) {
      if (message.seq <= this.#received) return;
      this.#received = message.seq;
    }
    this.#queue.push(message);
    void this.#handOver();
  }

  /** Notes that everything missed up to `seq` has arrived. */
  synced(seq: number): void {
    this.#queue.push("synced");
    if (!this.#host.sendOnly) this.#received = Math.max(this.#received, seq);
    void this.#handOver();
  }

  /** Gives the application one message after the other; one run at a time. */
  async #handOver(): Promise<void> {
    if (this.#isHandingOver) return;
    this.#isHandingOver = true;
    for (let entry; (entry = this.#queue.shift()) !== undefined;) {
      if (entry === "synced") {
        if (this.#queue.length === 0) this.#markTaken(this.#received);
        this.#host.synced();
        continue;
      }
      const epoch = this.#epoch;
      const done = this.#host.message(entry as ReceivedMessage);
      if (done) await done;
      if (entry.seq !== undefined && epoch === this.#epoch) this.#markTaken(entry.seq);
    }
    this.#isHandingOver = false;
  }

  #markTaken(seq: number): void {
    if (seq <= this.#taken) return;
    this.#taken = seq;
    if (++this.#unconfirmed >= (this.#host.confirmEvery ?? CONFIRM_EVERY)) return this.confirm();
    if (this.#unconfirmed > 1) return; // the timer runs
    this.#cancelConfirm();
    this.#cancelConfirm = this.#host.clock.after(CONFIRM_MS, () => this.confirm());
  }

  /** Stores the position, and then confirms it: what is confirmed must not come again. */
  confirm(): void {
    this.#stopTimer();
    if (this.#taken <= this.#confirmed) return;
    this.#host.save();
    if (!this.#host.isOnline) return;
    this.#confirmed = this.#taken;
    this.#host.write({ type: "ack", seq: this.#taken });
  }

  /** Notes that the connection is lost: what is unconfirmed is confirmed with the first message that is taken on the next. */
  disconnect(): void {
    this.#stopTimer();
  }

  /** The next message that is taken starts the timer again. */
  #stopTimer(): void {
    this.#cancelConfirm();
    this.#unconfirmed = 0;
  }

  /** Drops what the application has not taken; it comes again in the next run. */
  clear(): void {
    this.#queue = [];
  }
}

function withoutPosition(message: Message): Message {
  const { seq: _, ...rest } = message;
  return rest;
}
