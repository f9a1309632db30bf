/**
 * Guests: connections that the gate has admitted, whatever transport carries them. A guest is held to what it was admitted for:
 * its slot, the deadline of its handshake, its name, the expiry of its token, and revocation.
 */

import type { Revoked } from "../auth/revoked.ts";
import type { Connection, Identity, Receiver } from "../hub.ts";
import type { Slot } from "../limits/admission.ts";

/** Milliseconds that a handshake may take: a peer that has not finished it by then has gone. */
const OPEN_TIMEOUT_MS = 10_000;
/** Longest timer, in milliseconds, that JavaScript has; a token may last longer. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** Terms on which somebody got through the gate. */
export interface Admitted {
  readonly identity: Identity;
  readonly slot: Slot;
  /** Milliseconds since 1970 at which the connection has to end; undefined in open mode. */
  readonly expiresAt: number | undefined;
  readonly tokenId: string | undefined;
  /** Subprotocol that the answer to the upgrade names. */
  readonly protocol: string | undefined;
}

/** The end of the hub that takes connections. */
export interface Host {
  /** Takes a connected peer, and returns what its transport feeds. */
  connect(connection: Connection, identity?: Identity): Receiver;
}

/** Connections that are not gone yet, closed by the server or not. */
export class Guests {
  readonly openTimeoutMs: number;
  readonly #host: Host;
  readonly #present = new Set<Guest>();
  #emptied: (() => void) | undefined;

  /** Takes the hub, and for tests another deadline of handshakes. */
  constructor(host: Host, openTimeoutMs = OPEN_TIMEOUT_MS) {
    this.#host = host;
    this.openTimeoutMs = openTimeoutMs;
  }

  /** Begins to hold a connection to its terms, from before its handshake is done. */
  admit(connection: Connection, admitted: Admitted): Guest {
    return new Guest(this, connection, admitted);
  }

  /** Lets a guest in whose handshake is done. */
  enter(guest: Guest, connection: Connection, identity: Identity): Receiver {
    this.#present.add(guest);
    return this.#host.connect(connection, identity);
  }

  /** Forgets a guest that is gone. Idempotent. */
  leave(guest: Guest): void {
    this.#present.delete(guest);
    if (this.#present.size === 0) this.#emptied?.();
  }

  /** Closes those whose user or token is revoked by now. */
  closeRevoked(revoked: Revoked): void {
    for (const guest of this.#present) guest.closeIfRevoked(revoked);
  }

  /** Resolves when nobody is left. */
  async empty(): Promise<void> {
    if (this.#present.size > 0) await new Promise<void>((resolve) => this.#emptied = resolve);
  }
}

/** One admitted connection. Its transport says what happens to it. */
export class Guest {
  readonly #guests: Guests;
  readonly #connection: Connection;
  readonly #admitted: Admitted;
  /** Undefined until the handshake is done. */
  #receiver: Receiver | undefined;
  #isNamed = false;
  #isGone = false;
  /** The deadline of the handshake, then the expiry of the token. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(guests: Guests, connection: Connection, admitted: Admitted) {
    this.#guests = guests;
    this.#connection = connection;
    this.#admitted = admitted;
    this.#timer = setTimeout(() => admitted.slot.release(), guests.openTimeoutMs);
  }

  /** Notes that the handshake is done: the hub gets the connection. */
  opened(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#receiver = this.#guests.enter(this, this.#connection, this.#admitted.identity);
    this.#noteName();
    this.#endWithToken();
  }

  /** Passes on one frame: text, or anything else to have it refused. Never throws. */
  receive(data: unknown): void {
    this.#receiver?.receive(data);
    if (!this.#isNamed) this.#noteName();
  }

  /** Notes that the server begins to close: the connection is stalled until {@linkcode Guest.closed}. */
  closing(): void {
    clearTimeout(this.#timer);
    this.#admitted.slot.stalled();
  }

  /** Notes that the connection broke off without a goodbye. Its slot is held until {@linkcode Guest.closed}. Idempotent. */
  broken(): void {
    this.#gone(false);
  }

  /** Notes that the connection is closed and its socket freed; `clean` where the peer said goodbye. Idempotent. */
  closed(clean: boolean): void {
    clearTimeout(this.#timer);
    this.#guests.leave(this);
    this.#gone(clean);
    this.#admitted.slot.release();
  }

  /** Closes the connection if its user or token is revoked. */
  closeIfRevoked(revoked: Revoked): void {
    const { user = "" } = this.#receiver ?? {};
    if (revoked.has(user, this.#admitted.tokenId)) this.#receiver?.close("revoked", "This token or user is revoked");
  }

  #gone(clean: boolean): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#receiver?.gone(clean);
  }

  #noteName(): void {
    const { user = "" } = this.#receiver ?? {};
    if (user === "") return;
    this.#isNamed = true;
    this.#admitted.slot.named(user);
  }

  #endWithToken(): void {
    const { expiresAt } = this.#admitted;
    if (expiresAt === undefined) return;
    const left = expiresAt - Date.now();
    if (left <= 0) return this.#receiver?.close("token_expired", "The token has expired; connect with a newer one");
    this.#timer = setTimeout(() => this.#endWithToken(), Math.min(left, TIMER_MS_MAX));
  }
}
