/**
 * Messages by position, kept so that a million of them cost V8's garbage collector little: not as objects but as columns in
 * blocks, and the contents of a full block as one string. An object is made anew whenever one is asked for.
 */

import type { Stored } from "../../broker.ts";

/** Messages in a block: few enough that, under load, one is full before the collector looks at it. */
const BLOCK_MESSAGES = 512;

/** Messages at positions `first` to `first + BLOCK_MESSAGES - 1`. */
class Block {
  readonly times: number[] = [];
  /** "" where the message is gone, or never was. */
  readonly senders: string[] = [];
  readonly recipients: string[] = [];
  readonly origins: string[] = [];
  readonly ids: (string | undefined)[] = [];
  /** Position of the message before in the same thread, as far as it was linked; else 0. */
  readonly previous = new Float64Array(BLOCK_MESSAGES);
  live = 0;
  /** Contents one by one, until the block is full. */
  readonly #contents: string[] = [];
  /** Contents of a full block as one string, and the offset at which each ends. */
  #text = "";
  #ends: number[] = [];

  push(message: Stored, previous: number): void {
    this.previous[this.times.length] = previous;
    this.senders.push(message.sender);
    this.recipients.push(message.recipient);
    this.origins.push(message.origin);
    this.ids.push(message.id);
    this.times.push(message.ts);
    this.#contents.push(message.content);
    this.live++;
    if (this.#contents.length === BLOCK_MESSAGES) this.#seal();
  }

  #seal(): void {
    let end = 0;
    this.#ends = this.#contents.map((content) => end += content.length);
    this.#text = this.#contents.join("");
    this.#contents.length = 0;
  }

  /** Takes everything but names and time from a message; returns whether there was anything. */
  empty(index: number): boolean {
    if (this.content(index) === "" && this.ids[index] === undefined && this.origins[index] === "") return false;
    this.origins[index] = "";
    this.ids[index] = undefined;
    if (this.#ends.length === 0) {
      this.#contents[index] = "";
      return true;
    }
    const start = index === 0 ? 0 : this.#ends[index - 1]!, end = this.#ends[index]!;
    this.#text = this.#text.slice(0, start) + this.#text.slice(end);
    for (let i = index; i < this.#ends.length; i++) this.#ends[i]! -= end - start;
    return true;
  }

  content(index: number): string {
    if (this.#ends.length === 0) return this.#contents[index]!;
    return this.#text.slice(index === 0 ? 0 : this.#ends[index - 1], this.#ends[index]);
  }
}

/** Log of messages whose positions are 1, 2, 3 and so on. */
export class MessageLog {
  readonly #blocks = new Map<number, Block>();
  #head = 0;
  #size = 0;

  /** Position of the newest message ever added. */
  get head(): number {
    return this.#head;
  }

  /** Number of messages that are kept. */
  get size(): number {
    return this.#size;
  }

  /**
   * Adds the message at position `head + 1`. Its names and origin are kept as they are, so they should be shared strings. `previous` is a
   * position that {@linkcode previous} returns for it.
   */
  push(message: Stored, previous = 0): void {
    const number = Math.floor(this.#head / BLOCK_MESSAGES);
    let block = this.#blocks.get(number);
    if (!block) this.#blocks.set(number, block = new Block());
    block.push(message, previous);
    this.#head++;
    this.#size++;
  }

  /** Returns the message at a position, or undefined where it is gone. */
  get(seq: number): Stored | undefined {
    const block = this.#block(seq);
    const index = (seq - 1) % BLOCK_MESSAGES;
    const sender = block?.senders[index];
    if (!block || !sender) return undefined;
    const recipient = block.recipients[index]!, origin = block.origins[index]!, id = block.ids[index], ts = block.times[index]!;
    const content = block.content(index);
    return { sender, recipient, content, id, origin, seq, ts };
  }

  /** Returns the sender of the message at a position, or undefined where it is gone. */
  sender(seq: number): string | undefined {
    return this.#block(seq)?.senders[(seq - 1) % BLOCK_MESSAGES] || undefined;
  }

  /** Returns the position that was given with the message at a position. */
  previous(seq: number): number {
    return this.#block(seq)?.previous[(seq - 1) % BLOCK_MESSAGES] ?? 0;
  }

  /** Takes content, id and origin from a message that is kept; returns whether it had any. */
  empty(seq: number): boolean {
    return this.#block(seq)?.empty((seq - 1) % BLOCK_MESSAGES) ?? false;
  }

  /** Removes a message. Its content is held until all of its block is gone. */
  delete(seq: number): void {
    const block = this.#block(seq);
    const index = (seq - 1) % BLOCK_MESSAGES;
    if (!block?.senders[index]) return;
    block.senders[index] = "";
    block.ids[index] = undefined;
    this.#size--;
    const number = Math.floor((seq - 1) / BLOCK_MESSAGES);
    if (--block.live === 0 && number < Math.floor(this.#head / BLOCK_MESSAGES)) this.#blocks.delete(number);
  }

  /** Yields every message that is kept, the oldest first; one that is deleted before its turn is left out. */
  *all(): Generator<Stored> {
    for (const number of this.#blocks.keys()) {
      for (let seq = number * BLOCK_MESSAGES + 1; seq <= (number + 1) * BLOCK_MESSAGES; seq++) {
        const message = this.get(seq);
        if (message) yield message;
      }
    }
  }

  /** Yields the positions of all messages of a sender that are kept, the oldest first. */
  *by(sender: string): Generator<number> {
    for (const [number, { senders }] of this.#blocks) {
      for (const [index, name] of senders.entries()) if (name === sender) yield number * BLOCK_MESSAGES + index + 1;
    }
  }

  #block(seq: number): Block | undefined {
    return this.#blocks.get(Math.floor((seq - 1) / BLOCK_MESSAGES));
  }
}
