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
  export interface ServerOptions {
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
    handleProtocols(protocols: Set<string>, request: IncomingMessage): string | false;
  }

  /** One WebSocket. Emits message, ping, pong, error and close. */
  export class WebSocket extends EventEmitter {
    static readonly OPEN: 1;
    readonly readyState: 0 | 1 | 2 | 3;
    send(data: string): void;
    ping(): void;
    pong(data: Uint8Array): void;
    /** Throws for a code that may not be sent, and a reason of over 123 bytes. */
    close(code: number, reason: string): void;
    terminate(): void;
    on(event: "message", listener: (data: Buffer, isBinary: boolean) => void): this;
    on(event: "ping" | "pong", listener: (data: Buffer) => void): this;
    on(event: "error", listener: (error: Error) => void): this;
    on(event: "close", listener: (code: number) => void): this;
  }

  /** Makes WebSockets of upgraded requests. */
  export class WebSocketServer extends EventEmitter {
    constructor(options: ServerOptions);
    /** Answers the handshake, and calls `callback` at once, unless it is refused or the socket is gone. */
    handleUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer, callback: (socket: WebSocket) => void): void;
  }
}
