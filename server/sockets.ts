/** Deno's WebSockets as connections of the hub. */

import type { Connection } from "../hub.ts";
import { CLOSE_CODES } from "../protocol.ts";
import type { Admitted, Guest, Guests } from "./guest.ts";

/** A WebSocket of Deno's as a {@linkcode Connection}. */
export class SocketConnection implements Connection {
  readonly #socket: WebSocket;
  readonly #guest: Guest;

  /** Takes a socket whose handshake is not done yet. */
  constructor(socket: WebSocket, guests: Guests, admitted: Admitted) {
    this.#socket = socket;
    this.#guest = guests.admit(this, admitted);
    this.#guest.awaitOpening();
    // One listener for all takes over a KiB less per connection than four handlers.
    for (const type of ["open", "message", "error", "close"]) socket.addEventListener(type, this);
  }

  /** Passes on an event of the socket. */
  handleEvent(event: Event): void {
    switch (event.type) {
      case "message":
        return this.#guest.receive((event as MessageEvent).data);
      case "open":
        return this.#guest.opened();
      case "error": // Deno reports an end without a close frame as an error, and may report a close twice.
        return this.#guest.broken();
      case "close":
        return this.#guest.closed((event as CloseEvent).code === CLOSE_CODES.bye.code);
    }
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
    // Deno cannot end a socket whose peer does not answer: until it goes it counts as stalled.
    this.#guest.closing(code);
    this.#socket.close(code, reason);
  }
}

/**
 * Returns the request with a space behind each comma of its subprotocols: the runtime finds none in a list without, which is as
 * good a list (RFC 9110, 5.6.1) and what the ws package of Node.js sends.
 */
export function withSpacedProtocols(request: Request): Request {
  const headers = new Headers(request.headers);
  const spaced = headers.get("sec-websocket-protocol")?.split(",").map((entry) => entry.trim()).join(", ");
  if (spaced === undefined || spaced === headers.get("sec-websocket-protocol")) return request;
  headers.set("sec-websocket-protocol", spaced);
  // A copy could not be upgraded: the connection hangs on the request itself.
  return new Proxy(request, { get: (target, name) => name === "headers" ? headers : Reflect.get(target, name, target) });
}
