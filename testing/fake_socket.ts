/** A network and a clock without either: what tests of the chat client drive by hand. */

import type { Clock, Socket } from "../chat_client.ts";
import type { ServerFrame } from "../protocol.ts";

/** A socket whose other end is the test. */
export class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onerror: Socket["onerror"] = null;
  onclose: Socket["onclose"] = null;
  /** Frames that the client sent and the test has not taken. */
  sent: Record<string, unknown>[] = [];
  closed: number | undefined;

  constructor(readonly url: string, readonly token: string | undefined) {}

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  /** A goodbye is answered at once. */
  close(code = 1005): void {
    if (this.closed !== undefined) return;
    this.closed = code;
    this.onclose?.(new CloseEvent("close", { code }));
  }

  /** Takes what was sent since the last call. */
  take(): Record<string, unknown>[] {
    return this.sent.splice(0);
  }

  open(): void {
    this.onopen?.(new Event("open"));
  }

  /** Gives the client objects, all in one frame. */
  give(...frames: ServerFrame[]): void {
    this.giveText(frames.map((frame) => JSON.stringify(frame)).join("\n"));
  }

  giveText(data: string): void {
    this.onmessage?.(new MessageEvent("message", { data }));
  }

  /** The server closes, or the connection breaks. */
  drop(code = 1006, reason = ""): void {
    this.onclose?.(new CloseEvent("close", { code, reason }));
  }
}

/** A clock that moves when told. */
export class FakeClock implements Clock {
  #now = 0;
  #timers: { at: number; run: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    const timer = { at: this.#now + ms, run };
    this.#timers.push(timer);
    return () => this.#timers = this.#timers.filter((other) => other !== timer);
  }

  /** Timers that are set. */
  get pending(): number {
    return this.#timers.length;
  }

  /** Lets time pass; what is due runs in its order. */
  async pass(ms: number): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      const [next] = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      this.#now = next.at;
      this.#timers = this.#timers.filter((timer) => timer !== next);
      next.run();
      await settled();
    }
    this.#now = end;
    await settled();
  }
}

/** Resolves when every promise that needs no event has been dealt with. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
