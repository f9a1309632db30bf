/**
 * The types of what Parley uses of `ws`, whose own package has none. Those of the community (`@types/ws`) bring Node's with them
 * and lack the options that bound fragments, chunks and unanswered closes.
 */

declare module "ws" {
  import type { Buffer } from "node:buffer";
  import type { EventEmitter } from "node:events";
  import type { IncomingMessage } from "node:http";
  import type { Duplex } from "node:stream";

  /** Options of a {@linkcode WebSocketServer}. */
  export interface ServerOptions<T extends WebSocket> {
    readonly noServer: true;
    readonly clientTracking: boolean;
    readonly perMessageDeflate: false;
    /** Bytes of one message, as a whole. */
    readonly maxPayload: number;
    readonly maxFragments: number;
    /** Pieces, as the network brings them, of a frame that is not complete. */
    readonly maxBufferedChunks: number;
    /** Milliseconds after `close` until the socket is destroyed. */
    readonly closeTimeout: number;
    readonly autoPong: boolean;
    /** Class of the WebSockets that it makes. */
    readonly WebSocket: new (address: null, protocols: undefined, options: object) => T;
    handleProtocols(protocols: Set<string>, request: IncomingMessage): string | false;
  }

  /**
   * One WebSocket. Emits "message" with a `Buffer` and whether it is binary, "ping" and "pong" with a `Buffer`, "error", and "close"
   * with the code.
   */
  export class WebSocket extends EventEmitter {
    constructor(address: null, protocols: undefined, options: object);
    static readonly OPEN: 1;
    readonly readyState: 0 | 1 | 2 | 3;
    send(data: string): void;
    ping(): void;
    pong(data: Uint8Array): void;
    /** Throws for a code that may not be sent, and a reason of over 123 bytes. */
    close(code?: number, reason?: string | Uint8Array): void;
    terminate(): void;
  }

  /** Makes WebSockets of upgraded requests. */
  export class WebSocketServer<T extends WebSocket = WebSocket> extends EventEmitter {
    constructor(options: ServerOptions<T>);
    /** Answers the handshake, and calls `callback` at once, unless it is refused or the socket is gone. */
    handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, callback: (socket: T) => void): void;
  }
}
