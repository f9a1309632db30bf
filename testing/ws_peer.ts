/** A bare WebSocket for tests: sends what it is given, and hands out what comes, object by object. */

import { linesOf, parseServerFrame, Refusal, type ServerFrame } from "../protocol.ts";

/** Milliseconds after which a frame that did not come never will: generous, for a machine under load. */
const PATIENCE_MS = 30_000;

/** One connection. */
export class WsPeer implements AsyncDisposable {
  readonly #socket: WebSocket;
  readonly #frames: ServerFrame[] = [];
  #read = 0;
  #arrived = Promise.withResolvers<void>();
  readonly #closed = Promise.withResolvers<CloseEvent>();

  /** Connects, and resolves when the socket is open; `protocols` may carry a token. */
  static async open(url: string, protocols: readonly string[] = []): Promise<WsPeer> {
    const peer = new WsPeer(new WebSocket(url, [...protocols]));
    await new Promise<void>((resolve, reject) => {
      peer.#socket.onopen = () => resolve();
      peer.#socket.onerror = (event) => reject(new Error(`Cannot connect: ${(event as ErrorEvent).message}`));
    });
    return peer;
  }

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.onmessage = ({ data }) => {
      for (const line of linesOf(data)) this.#frames.push(parsed(line));
      this.#arrived.resolve();
      this.#arrived = Promise.withResolvers();
    };
    socket.onclose = (event) => this.#closed.resolve(event);
  }

  /** Sends text or bytes as they are, and an object as JSON. */
  send(data: string | Uint8Array<ArrayBuffer> | object): void {
    this.#socket.send(typeof data === "string" || data instanceof Uint8Array ? data : JSON.stringify(data));
  }

  /** The next frame. Rejects where the connection ends or is silent for long. */
  async next(): Promise<ServerFrame> {
    if (this.#read === this.#frames.length) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      const late = new Promise<string>((resolve) => timer = setTimeout(resolve, PATIENCE_MS, "nothing came"));
      const closed = this.closed.then(({ code, reason }) => `it was closed: ${code} ${reason}`);
      const why = await Promise.race([this.#arrived.promise, late, closed]);
      clearTimeout(timer);
      if (why !== undefined) throw new Error(`There is no frame ${this.#read}: ${why}`);
    }
    return this.#frames[this.#read++]!;
  }

  /** Everything that came and was not handed out. */
  rest(): ServerFrame[] {
    return this.#frames.slice(this.#read);
  }

  /** Resolves when the connection has ended. */
  get closed(): Promise<CloseEvent> {
    return this.#closed.promise;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#socket.readyState <= WebSocket.OPEN) this.#socket.close(1000);
    await this.closed;
  }
}

function parsed(line: string): ServerFrame {
  const frame = parseServerFrame(line);
  if (frame instanceof Refusal) throw new Error(`The server sent what is no frame: ${line}`);
  return frame;
}

/** Resolves when all these users are connected to the server at `url` (in open mode). */
export async function untilOnline(url: string, ...users: string[]): Promise<void> {
  await using peer = await WsPeer.open(url);
  peer.send({ type: "hello", v: 1, name: "onlooker" });
  peer.send({ type: "watch", users });
  const missing = new Set(users);
  while (missing.size > 0) {
    const frame = await peer.next();
    if (frame.type === "presence" && frame.status === "online") missing.delete(frame.user);
  }
}
