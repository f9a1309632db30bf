/**
 * The port between the hub and a transport: bytes out, frames in. A transport implements {@linkcode Connection} and feeds the
 * {@linkcode Receiver} that it gets for it; `hub/transport_contract.ts` checks that it does both.
 */

import type { CloseName } from "../protocol.ts";

/** One device of one user, as bytes out. Implemented by a transport. */
export interface Connection {
  /** Bytes handed over and not yet taken by the network. */
  readonly buffered: number;
  /** Hands over one text frame. False when the connection is closed and took nothing. Never throws, never blocks. */
  send(frame: string): boolean;
  /**
   * Resolves when the network has taken everything that was handed over, or the connection is gone. A transport that is never
   * told has none, and is asked for `buffered` now and then.
   */
  drained?(): Promise<void>;
  /** Begins to close, with a code of the protocol's table. Idempotent. */
  close(code: number, reason: string): void;
}

/** Identity of a peer before its first frame, as a token or `?name=` says it. */
export interface Identity {
  /** The canonical name. */
  readonly user?: string;
  readonly admin?: boolean;
}

/** The hub's end of a connection, fed by its transport. */
export interface Receiver {
  /** Takes one frame as it came: text, or anything else to have it refused. Never throws. */
  receive(data: unknown): void;
  /** Says that the socket is gone; `clean` where the peer said goodbye. Idempotent. */
  gone(clean: boolean): void;
  /** Closes the connection with a code of the protocol's table. */
  close(name: CloseName, reason: string): void;
  /** The canonical name, or "" until it is settled. */
  readonly user: string;
}
