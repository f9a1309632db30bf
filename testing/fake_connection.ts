/** A {@linkcode Connection} without a network: it records what the hub hands over. */

import type { Connection } from "../hub.ts";
import { parseServerFrame, Refusal, type ServerFrame } from "../protocol.ts";

/** Records frames; `buffered` is the test's to set. */
export class FakeConnection implements Connection {
  buffered = 0;
  readonly sent: string[] = [];
  closed: { code: number; reason: string } | undefined;

  send(frame: string): boolean {
    if (this.closed) return false;
    this.sent.push(frame);
    return true;
  }

  close(code: number, reason: string): void {
    this.closed ??= { code, reason };
  }

  /** Every object that was handed over, parsed. Throws for one that no client would understand. */
  get frames(): ServerFrame[] {
    return this.sent.flatMap((text) => text.split("\n")).map((line) => {
      const frame = parseServerFrame(line);
      if (frame instanceof Refusal) throw new Error(`Cannot parse ${line}: ${frame.message}`);
      return frame;
    });
  }

  /** The contents of the messages that were handed over. */
  get contents(): string[] {
    return this.frames.flatMap((frame) => frame.type === undefined ? [frame.content] : []);
  }

  /** The frames of one type, and then forgets all. */
  take(): ServerFrame[] {
    const frames = this.frames;
    this.sent.length = 0;
    return frames;
  }
}
