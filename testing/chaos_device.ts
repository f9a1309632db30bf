/** A client for fault tests: it sends with ids, re-sends what is not acked, resumes, and remembers everything it saw. */

import { encode, linesOf, type Message, parseServerFrame, Refusal, type ServerFrameOf } from "../protocol.ts";
import type { DeviceHistory } from "./history.ts";

/** Milliseconds between two attempts to connect. */
const RECONNECT_MS = 20;
/** Received messages between two confirmations. */
const CONFIRM_EVERY = 7;

/** One device of one user, that never gives up until it is closed. */
export class ChaosDevice implements DeviceHistory {
  readonly sent = new Map<string, Message>();
  readonly acked = new Map<string, number[]>();
  readonly received: Message[] = [];
  /** Refusals of the server, other than for now: a test that sees any has a bug. */
  readonly refused: string[] = [];
  /** Codes that the server closed connections with. */
  readonly closes: number[] = [];
  readonly #url: string;
  #socket: WebSocket | undefined;
  #epoch = "";
  #seq = 0;
  #unconfirmed = 0;
  #closed = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #waiting: { done: () => boolean; resolve: () => void }[] = [];
  synced = false;

  constructor(port: number, readonly user: string, readonly device: string, readonly extended: boolean) {
    this.#url = `ws://127.0.0.1:${port}/ws${extended ? "" : `?name=${user}`}`;
    this.#connect();
  }

  /** Sends, now or when there is a connection. */
  send(recipient: string, id: string): void {
    const message: Message = { sender: this.user, recipient, content: id, id };
    this.sent.set(id, message);
    if (this.synced) this.#write(encode(message));
  }

  /** Messages that were sent and not acked. */
  get pending(): number {
    return this.sent.size - this.acked.size;
  }

  /** Resolves when `done` is true; looked at after every frame. */
  async until(done: () => boolean): Promise<void> {
    if (!done()) await new Promise<void>((resolve) => this.#waiting.push({ done, resolve }));
  }

  /** Ends for good. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    const socket = this.#socket;
    if (!socket || socket.readyState === WebSocket.CLOSED) return;
    await new Promise<void>((resolve) => {
      socket.onclose = () => resolve();
      socket.close();
    });
  }

  /** Is away until {@linkcode ChaosDevice.comeBack}. */
  async goAway(): Promise<void> {
    await this.close();
  }

  /** Connects again after {@linkcode ChaosDevice.goAway}. */
  comeBack(): void {
    this.#closed = false;
    this.#connect();
  }

  /** Cuts this device's own connection, without a goodbye to speak of. */
  drop(): void {
    this.#socket?.close();
  }

  /** Writes one frame of the extended level, if there is a connection. */
  write(frame: unknown): void {
    this.#write(JSON.stringify(frame));
  }

  #write(text: string): void {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(text);
  }

  #connect(): void {
    const socket = this.#socket = new WebSocket(this.#url);
    socket.onopen = () => this.extended ? this.#hello() : this.#resend();
    socket.onmessage = ({ data }) => {
      for (const line of linesOf(data)) this.#receive(line);
      for (const waiting of this.#waiting.filter(({ done }) => done())) {
        this.#waiting = this.#waiting.filter((other) => other !== waiting);
        waiting.resolve();
      }
    };
    socket.onerror = () => {};
    socket.onclose = ({ code }) => {
      this.closes.push(code);
      this.synced = false;
      if (!this.#closed) this.#timer = setTimeout(() => this.#connect(), RECONNECT_MS);
    };
  }

  #hello(): void {
    const resume = this.#epoch ? { resume: { epoch: this.#epoch, seq: this.#seq } } : {};
    this.write({ type: "hello", v: 1, name: this.user, device: this.device, caps: ["batch"], ...resume });
  }

  #resend(): void {
    this.synced = true;
    for (const [id, message] of this.sent) if (!this.acked.has(id)) this.#write(encode(message));
  }

  #receive(line: string): void {
    const frame = parseServerFrame(line);
    if (frame instanceof Refusal) throw new Error(`The server sent ${line}: ${frame.message}`);
    if (frame.type === undefined) return this.#take(frame);
    if (frame.type === "ack") this.acked.set(frame.id, [...this.acked.get(frame.id) ?? [], frame.seq]);
    else if (frame.type === "welcome") this.#welcome(frame);
    else if (frame.type === "synced") this.#resend();
    else if (frame.type === "error") this.#error(frame);
  }

  #welcome(frame: ServerFrameOf<"welcome">): void {
    if (this.#epoch && !frame.recovered) this.refused.push(`${this.user}/${this.device} was not recovered`);
    this.#seq = Math.max(this.#seq, this.#epoch ? 0 : frame.seq);
    this.#epoch = frame.epoch;
  }

  #error(frame: ServerFrameOf<"error">): void {
    if (!frame.retryable) this.refused.push(`${frame.code}: ${frame.message}`);
    else this.#timer = setTimeout(() => this.#resend(), RECONNECT_MS);
  }

  #take(message: Message): void {
    this.received.push(message);
    if (message.seq === undefined) return;
    this.#seq = message.seq;
    if (++this.#unconfirmed % CONFIRM_EVERY === 0) this.write({ type: "ack", seq: this.#seq });
  }
}
