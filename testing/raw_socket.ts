/** A WebSocket client by hand, for what a well-behaved one cannot do. Loopback only. */

/** An open TCP connection that may or may not speak WebSocket. */
export class RawSocket implements Disposable {
  private constructor(readonly tcp: Deno.TcpConn) {}

  /** Connects, and asks for nothing yet. */
  static async connect(port: number): Promise<RawSocket> {
    return new RawSocket(await Deno.connect({ hostname: "127.0.0.1", port }));
  }

  /** Connects and upgrades; returns once the server has switched protocols. */
  static async upgrade(port: number, path = "/ws"): Promise<RawSocket> {
    const socket = await RawSocket.connect(port);
    await socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    const head = await socket.readSome();
    if (head.startsWith("HTTP/1.1 101")) return socket;
    socket[Symbol.dispose]();
    throw new Error(`The server answered ${head.split("\r\n")[0]}`);
  }

  /** Writes text or bytes as they are. */
  async write(data: string | Uint8Array): Promise<void> {
    const bytes = typeof data === "string" ? new TextEncoder().encode(data) : data;
    for (let sent = 0; sent < bytes.length;) sent += await this.tcp.write(bytes.subarray(sent));
  }

  /** Writes one masked frame. `first` is the first byte: 0x81 a whole text frame, 0x01 its first fragment, 0x00 another. */
  frame(payload: string | Uint8Array, first = 0x81): Promise<void> {
    return this.write(rawFrame(payload, first));
  }

  /** Reads once; returns text, "" at the end. */
  async readSome(): Promise<string> {
    const buffer = new Uint8Array(65_536);
    const length = await this.tcp.read(buffer);
    return length === null ? "" : new TextDecoder().decode(buffer.subarray(0, length));
  }

  /** Reads and forgets until the server ends the connection. */
  async drain(): Promise<void> {
    const buffer = new Uint8Array(65_536);
    try {
      while (await this.tcp.read(buffer) !== null);
    } catch { /* reset */ }
  }

  [Symbol.dispose](): void {
    try {
      this.tcp.close();
    } catch { /* closed already */ }
  }
}

/** One client frame as bytes, masked with zeros. */
export function rawFrame(payload: string | Uint8Array, first = 0x81): Uint8Array<ArrayBuffer> {
  const bytes = typeof payload === "string" ? new TextEncoder().encode(payload) : payload;
  const size = bytes.length < 126
    ? [0x80 | bytes.length]
    : bytes.length < 65_536
    ? [0x80 | 126, bytes.length >> 8, bytes.length & 255]
    : [0x80 | 127, 0, 0, 0, 0, bytes.length >>> 24, (bytes.length >> 16) & 255, (bytes.length >> 8) & 255, bytes.length & 255];
  const frame = new Uint8Array(1 + size.length + 4 + bytes.length);
  frame.set([first, ...size]);
  frame.set(bytes, 1 + size.length + 4);
  return frame;
}
