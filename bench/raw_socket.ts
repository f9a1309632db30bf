/**
 * A WebSocket client on a bare TCP connection: cheap enough that a core of clients can keep a core of server busy.
 *
 * Text frames only. What is sent within a turn leaves in one write; the mask is all zeros, which costs the server the same.
 */

import { setImmediate } from "node:timers";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const HEAD_END = "\r\n\r\n";
/** Bytes read at a time. */
const READ_BYTES = 65_536;
const TEXT = 1, CLOSE = 8, PING = 9, PONG = 10;

/** One connection. */
export class RawSocket {
  onText: (text: string) => void = () => {};
  /** Called once, with the close code or 0. */
  onClose: (code: number) => void = () => {};
  readonly #conn: Deno.TcpConn;
  #out = new Uint8Array(1_024);
  #outLength = 0;
  #scheduled = false;
  #writing = false;
  #closed = false;

  private constructor(conn: Deno.TcpConn) {
    this.#conn = conn;
  }

  /** Connects and upgrades. Rejects where the server does not switch protocols. */
  static async connect(hostname: string, port: number, path: string): Promise<RawSocket> {
    const conn = await Deno.connect({ hostname, port });
    conn.setNoDelay(true);
    await conn.write(encoder.encode(
      `GET ${path} HTTP/1.1\r\nHost: ${hostname}:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${btoa("0123456789abcdef")}\r\nSec-WebSocket-Version: 13${HEAD_END}`,
    ));
    const head = new Uint8Array(4_096);
    let length = 0, end = -1;
    while (end < 0) {
      const count = await conn.read(head.subarray(length));
      if (!count) throw new Error("The server closed the connection before the upgrade");
      length += count;
      end = decoder.decode(head.subarray(0, length)).indexOf(HEAD_END);
    }
    const text = decoder.decode(head.subarray(0, length));
    if (!text.startsWith("HTTP/1.1 101")) {
      conn.close();
      throw new Error(`The server did not upgrade: ${text.slice(0, text.indexOf("\r\n"))}`);
    }
    const socket = new RawSocket(conn);
    void socket.#read(head.slice(end + HEAD_END.length, length));
    return socket;
  }

  /** Sends one text frame at the end of this turn. */
  send(text: string): void {
    // Three bytes for each UTF-16 unit at most, and 14 of a header.
    this.#reserve(text.length * 3 + 14);
    const headBytes = text.length * 3 < 126 ? 6 : text.length * 3 < 65_536 ? 8 : 14;
    const { written } = encoder.encodeInto(text, this.#out.subarray(this.#outLength + headBytes));
    this.#finish(TEXT, headBytes, written);
  }

  /** Says goodbye and lets go. */
  close(): void {
    this.#reserve(8);
    this.#out.set([3, 232], this.#outLength + 6);
    this.#finish(CLOSE, 6, 2);
  }

  /** Cuts the connection without a word, as a network does. */
  drop(): void {
    this.#end(0);
  }

  #reserve(bytes: number): void {
    if (this.#outLength + bytes <= this.#out.length) return;
    const grown = new Uint8Array((this.#outLength + bytes) * 2);
    grown.set(this.#out.subarray(0, this.#outLength));
    this.#out = grown;
  }

  /** Puts the header in front of a payload that stands `headBytes` further on. */
  #finish(opcode: number, headBytes: number, bytes: number): void {
    const view = new DataView(this.#out.buffer, this.#outLength, headBytes);
    view.setUint8(0, 0x80 | opcode);
    if (headBytes === 6) view.setUint8(1, 0x80 | bytes);
    else view.setUint8(1, 0x80 | (headBytes === 8 ? 126 : 127));
    if (headBytes === 8) view.setUint16(2, bytes);
    if (headBytes === 14) view.setBigUint64(2, BigInt(bytes));
    view.setUint32(headBytes - 4, 0);
    this.#outLength += headBytes + bytes;
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      if (!this.#writing) void this.#write();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (this.#outLength > 0 && !this.#closed) {
        const full = this.#out, length = this.#outLength;
        this.#out = new Uint8Array(1_024);
        this.#outLength = 0;
        for (let done = 0; done < length;) done += await this.#conn.write(full.subarray(done, length));
      }
    } catch {
      this.#end(0);
    }
    this.#writing = false;
  }

  async #read(first: Uint8Array): Promise<void> {
    let buffer = new Uint8Array(2_048), length = first.length;
    if (length > buffer.length) buffer = new Uint8Array(length * 2);
    buffer.set(first);
    try {
      for (;;) {
        const used = this.#frames(buffer, length);
        buffer.copyWithin(0, used, length);
        length -= used;
        if (length === buffer.length) {
          const grown = new Uint8Array(Math.max(length * 2, READ_BYTES));
          grown.set(buffer);
          buffer = grown;
        }
        const count = await this.#conn.read(buffer.subarray(length));
        if (count === null) break;
        length += count;
      }
    } catch {
      // Reset: the same as an end.
    }
    this.#end(0);
  }

  /** Handles the frames in the first `length` bytes; returns how many bytes they were. */
  #frames(bytes: Uint8Array, length: number): number {
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    let at = 0;
    while (length - at >= 2 && !this.#closed) {
      let size = view.getUint8(at + 1), start = at + 2;
      if (size === 126) {
        if (length - at < 4) break;
        size = view.getUint16(at + 2);
        start = at + 4;
      } else if (size === 127) {
        if (length - at < 10) break;
        size = Number(view.getBigUint64(at + 2));
        start = at + 10;
      }
      if (start + size > length) break;
      this.#frame(view.getUint8(at), bytes.subarray(start, start + size));
      at = start + size;
    }
    return at;
  }

  #frame(first: number, payload: Uint8Array): void {
    if (first === (0x80 | TEXT)) return this.onText(decoder.decode(payload));
    if (first === (0x80 | PING)) {
      this.#reserve(payload.length + 6);
      this.#out.set(payload, this.#outLength + 6);
      return this.#finish(PONG, 6, payload.length);
    }
    if (first === (0x80 | CLOSE)) return this.#end(payload.length >= 2 ? payload[0]! * 256 + payload[1]! : 0);
    if (first !== (0x80 | PONG)) throw new Error(`A frame that no server of ours sends: ${first}`);
  }

  #end(code: number): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#conn.close();
    } catch {
      // Closed already.
    }
    this.onClose(code);
  }
}
