/**
 * WebSockets of the library `ws` as connections of the hub.
 *
 * Unlike Deno's they can be ended: a peer that does not answer a close, breaks the protocol or sends no sign of life is cut off,
 * and what was queued for it is freed.
 */

import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import { delay } from "@std/async/delay";
import { WebSocket } from "ws";
import type { Connection } from "../hub.ts";
import { CLOSE_CODES } from "../protocol.ts";
import type { Admitted, Guest, Guests } from "./guest.ts";

/**
 * Milliseconds that a peer has to answer a close, and to read what was queued before it. One that is slower resumes where it was:
 * what it has not confirmed comes again.
 */
const CLOSE_TIMEOUT_MS = 5_000;
/** Milliseconds for the close frame to leave to a peer that broke the protocol. Nothing more is read from it. */
const BROKEN_MS = 250;
/** Milliseconds between two looks at which peers were silent. */
const TICK_MS = 10_000;
/** Looks in a row that find a peer silent: then it is pinged, and later it is taken for gone. */
const PING_TICKS = 3, GONE_TICKS = 6;
/** Milliseconds until a queue that is too short for a word about its end is looked at again. */
const SOON_MS = 20;
/** Bytes that wait for a peer above which its pings are not answered: it does not read. */
const PONG_QUEUE_BYTES = 65_536;

/** Times of a {@linkcode WsConnections}, for tests, in milliseconds. */
export interface WsTimes {
  readonly closeMs?: number;
  readonly tickMs?: number;
}

/** All connections of a transport: what they share is the end of a turn, and the watch over silent peers. */
export class WsConnections {
  readonly closeMs: number;
  readonly #guests: Guests;
  readonly #present = new Set<WsConnection>();
  /** Connections that have something to send at the end of this turn. */
  #corked: WsConnection[] = [];
  readonly #timer: ReturnType<typeof setInterval>;

  constructor(guests: Guests, { closeMs = CLOSE_TIMEOUT_MS, tickMs = TICK_MS }: WsTimes = {}) {
    this.#guests = guests;
    this.closeMs = closeMs;
    this.#timer = setInterval(() => {
      for (const connection of this.#present) connection.look();
    }, tickMs);
  }

  /** Takes a WebSocket whose handshake is done, and the socket that carries it. */
  open(socket: TellingSocket, carrier: Socket, admitted: Admitted): void {
    this.#present.add(new WsConnection(this, this.#guests, socket, carrier, admitted));
  }

  /** Forgets a connection that is gone. */
  remove(connection: WsConnection): void {
    this.#present.delete(connection);
  }

  /** Has a connection write at the end of this turn what it gathers until then. */
  cork(connection: WsConnection): void {
    if (this.#corked.push(connection) > 1) return;
    // Runs after the callback in which the hub hands over what is due, and before the next event.
    queueMicrotask(() => {
      const corked = this.#corked;
      this.#corked = [];
      for (const each of corked) each.uncork();
    });
  }

  /** Cuts all connections. Idempotent. */
  close(): void {
    clearInterval(this.#timer);
    for (const connection of this.#present) connection.cut();
  }
}

/**
 * A WebSocket of the library that tells its connection what it emits. A listener for each event would be a closure, and all of
 * them a table: half a KiB for every connection.
 */
export class TellingSocket extends WebSocket {
  /** Undefined until the handshake is done. */
  connection: WsConnection | undefined;

  override emit(event: string, ...told: unknown[]): boolean {
    this.connection?.told(event, told);
    return true;
  }

  /** Begins to close, whichever side has said so first. */
  override close(code?: number, reason?: string | Uint8Array): void {
    this.connection?.ends();
    super.close(code, reason);
  }
}

/** One WebSocket as a {@linkcode Connection}. */
export class WsConnection implements Connection {
  readonly #all: WsConnections;
  readonly #socket: TellingSocket;
  readonly #carrier: Socket;
  readonly #guest: Guest;
  #isCorked = false;
  #isEnding = false;
  #isBroken = false;
  /** Data of the newest ping that was not answered. */
  #ping: Uint8Array | undefined;
  /** Looks in a row without a sign of life. */
  #silent = 0;
  /** Bytes that waited at the last look. */
  #waited = 0;
  #end: ReturnType<typeof setTimeout> | undefined;

  /** Takes over the WebSocket, and lets the guest in. */
  constructor(all: WsConnections, guests: Guests, socket: TellingSocket, carrier: Socket, admitted: Admitted) {
    this.#all = all;
    this.#socket = socket;
    this.#carrier = carrier;
    this.#guest = guests.admit(this, admitted);
    socket.connection = this;
    this.#guest.opened();
  }

  /** Takes an event of the WebSocket, with what it tells. */
  told(event: string, [data, isBinary]: readonly unknown[]): void {
    switch (event) {
      case "message":
        this.#silent = 0;
        return this.#guest.receive(isBinary ? data : (data as Buffer).toString());
      case "ping":
        return this.#pinged(data as Buffer);
      case "pong":
        this.#silent = 0;
        return;
      case "error":
        return this.#broken();
      case "close":
        clearTimeout(this.#end);
        this.#all.remove(this);
        return this.#guest.closed(data === CLOSE_CODES.bye.code);
    }
  }

  /** Notes that the WebSocket begins to close. Idempotent. */
  ends(): void {
    if (this.#isEnding) return;
    this.#isEnding = true;
    // Both have said that they close, and all is written: the peer's end of TCP need not be waited for.
    this.#carrier.once("finish", () => this.#isBroken || this.#carrier.destroy());
  }

  get buffered(): number {
    return this.#carrier.writableLength;
  }

  send(frame: string): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#cork();
    this.#socket.send(frame);
    return true;
  }

  close(code: number, reason: string): void {
    if (this.#socket.readyState !== WebSocket.OPEN) return;
    this.#guest.closing(code);
    this.#endIn(this.#all.closeMs);
    this.#socket.close(code, reason);
  }

  /** Resolves when the network has taken everything, or the connection is gone; for so little that no event is due, soon. */
  async drained(): Promise<void> {
    const carrier = this.#carrier;
    if (!carrier.writableNeedDrain) return await delay(SOON_MS);
    const { promise, resolve } = Promise.withResolvers<void>();
    carrier.on("drain", resolve).on("close", resolve);
    await promise;
    carrier.off("drain", resolve).off("close", resolve);
  }

  /** Writes what this turn has gathered. Called at its end. */
  uncork(): void {
    this.#isCorked = false;
    if (this.#ping && this.#socket.readyState === WebSocket.OPEN && this.buffered < PONG_QUEUE_BYTES) {
      this.#socket.pong(this.#ping);
    }
    this.#ping = undefined;
    this.#carrier.uncork();
  }

  /** Pings a peer that has been silent for a while, and cuts one that has been so for longer. */
  look(): void {
    const waits = this.buffered;
    const reads = waits !== this.#waited && this.#waited > 0;
    this.#waited = waits;
    this.#silent = reads ? 0 : this.#silent + 1;
    if (this.#silent >= GONE_TICKS) this.cut();
    else if (this.#silent === PING_TICKS && this.#socket.readyState === WebSocket.OPEN) this.#socket.ping();
  }

  /** Ends the connection at once, and frees what is queued, by the kernel too. */
  cut(): void {
    // A TLS socket cannot be reset.
    if ("encrypted" in this.#carrier) this.#carrier.destroy();
    else this.#carrier.resetAndDestroy();
  }

  #cork(): void {
    if (this.#isCorked) return;
    this.#isCorked = true;
    this.#carrier.cork();
    this.#all.cork(this);
  }

  /** Answers the newest ping of a turn alone, as RFC 6455 (5.5.3) allows: a flood of them costs no flood of answers. */
  #pinged(data: Uint8Array): void {
    this.#silent = 0;
    this.#ping = data.slice(); // what came is a view of a buffer that is used again
    this.#cork();
  }

  /** Ends a connection that broke off, or the protocol: `ws` has said why by now, and would read on for as long as anybody sends. */
  #broken(): void {
    this.#isBroken = true;
    this.#guest.broken();
    this.#endIn(BROKEN_MS);
    setImmediate(() => this.#carrier.pause());
  }

  #endIn(ms: number): void {
    clearTimeout(this.#end);
    this.#end = setTimeout(() => this.cut(), ms);
  }
}
