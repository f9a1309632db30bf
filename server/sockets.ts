/** Deno's WebSockets as connections of the hub, and which of them are open. */

import type { Revoked } from "../auth/revoked.ts";
import type { Admitted } from "./gate.ts";
import type { Connection, Hub, Receiver } from "../hub.ts";
import { CLOSE_CODES } from "../protocol.ts";

/** Milliseconds that a handshake may take: a peer that has not finished it by then has gone. */
const OPEN_TIMEOUT_MS = 10_000;
/** The longest that a timer takes, in milliseconds; a token may last longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** What a socket belongs to. */
export interface SocketContext {
  readonly hub: Hub;
  readonly sockets: OpenSockets;
}

/** The sockets that are not closed yet, ours to close or not. */
export class OpenSockets {
  readonly #open = new Set<SocketConnection>();
  #emptied: (() => void) | undefined;

  add(socket: SocketConnection): void {
    this.#open.add(socket);
  }

  delete(socket: SocketConnection): void {
    this.#open.delete(socket);
    if (this.#open.size === 0) this.#emptied?.();
  }

  /** Closes those whose user or token is revoked. */
  closeRevoked(revoked: Revoked): void {
    for (const socket of this.#open) {
      const { peer, admitted } = socket;
      if (peer && revoked.has(peer.user, admitted.tokenId)) peer.close("revoked", "This token or user is revoked");
    }
  }

  /** Resolves when none is left. */
  async empty(): Promise<void> {
    if (this.#open.size > 0) await new Promise<void>((resolve) => this.#emptied = resolve);
  }
}

/** A WebSocket of Deno's as a {@linkcode Connection}. */
export class SocketConnection implements Connection {
  readonly admitted: Admitted;
  /** Undefined until the handshake is done. */
  peer: Receiver | undefined;
  readonly #socket: WebSocket;
  readonly #context: SocketContext;
  #isNamed = false;
  /** Until the handshake is done, when it gives up; then, when the token expires. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(socket: WebSocket, context: SocketContext, admitted: Admitted) {
    this.#socket = socket;
    this.#context = context;
    this.admitted = admitted;
    this.#timer = setTimeout(() => admitted.slot.release(), OPEN_TIMEOUT_MS);
    // One listener for all takes over a KiB less per connection than four handlers.
    for (const type of ["open", "message", "error", "close"]) socket.addEventListener(type, this);
  }

  handleEvent(event: Event): void {
    switch (event.type) {
      case "message":
        this.peer!.receive((event as MessageEvent).data);
        if (!this.#isNamed) this.#noteName();
        return;
      case "open":
        return this.#opened();
      case "error": // Deno reports an end without a close frame as an error, and may report a close twice.
        return this.peer?.gone(false);
      case "close":
        return this.#closed((event as CloseEvent).code);
    }
  }

  #opened(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#context.sockets.add(this);
    this.peer = this.#context.hub.connect(this, this.admitted.identity);
    this.#noteName();
    this.#endWithToken();
  }

  #closed(code: number): void {
    clearTimeout(this.#timer);
    this.#context.sockets.delete(this);
    this.peer?.gone(code === CLOSE_CODES.bye.code);
    this.admitted.slot.release();
  }

  #noteName(): void {
    const { user } = this.peer!;
    if (user === "") return;
    this.#isNamed = true;
    this.admitted.slot.named(user);
  }

  #endWithToken(): void {
    const { expiresAt } = this.admitted;
    if (expiresAt === undefined) return;
    const left = expiresAt - Date.now();
    if (left <= 0) return this.peer!.close("token_expired", "The token has expired; connect with a newer one");
    this.#timer = setTimeout(() => this.#endWithToken(), Math.min(left, TIMER_MS_MAX));
  }

  get buffered(): number {
    return this.#socket.bufferedAmount;
  }

  send(frame: string): boolean {
    if (this.#socket.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(frame);
    return true;
  }

  close(code: number, reason: string): void {
    if (this.#socket.readyState > WebSocket.OPEN) return;
    clearTimeout(this.#timer);
    // Deno cannot end a socket whose peer does not answer: until it goes it counts as one that is left over.
    this.admitted.slot.closing();
    this.#socket.close(code, reason);
  }
}
