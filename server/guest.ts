/**
 * Guests: connections that the gate has admitted, whatever transport carries them. A guest is held to what it was admitted for:
 * its slot, the deadline of its handshake, its name, the expiry of its token, and revocation. Between the gate and the end of
 * the handshake all of that may change, so it is asked again when the connection opens.
 */

import type { Revoked } from "../auth/revoked.ts";
import type { Connection, Identity, Receiver } from "../hub.ts";
import type { Slot } from "../limits/admission.ts";
import type { Log } from "../ops/log.ts";
import { CLOSE_CODES, type CloseName } from "../protocol.ts";

/** Milliseconds that a handshake may take: a peer that has not finished it by then has gone. */
const OPEN_TIMEOUT_MS = 10_000;
/**
 * Milliseconds between two looks at the expiry of a token at most: timers go by a monotonic clock, and the clock of the wall, by
 * which tokens expire, may be set meanwhile.
 */
const LOOK_MS_MAX = 60_000;

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

/** Reason to close a connection. */
interface Closing {
  readonly name: CloseName;
  readonly reason: string;
}

const REVOKED: Closing = { name: "revoked", reason: "This token or user is revoked" };
const DISCONNECTED: Closing = { name: "revoked", reason: "An administrator disconnected you" };
const EXPIRED: Closing = { name: "token_expired", reason: "The token has expired; connect with a newer one" };
const RESTARTING: Closing = { name: "restart", reason: "The server is restarting" };

/** Options of {@linkcode Guests}. */
export interface GuestsOptions {
  readonly revoked?: Revoked | undefined;
  readonly log?: Log;
  /** Milliseconds that a handshake may take. */
  readonly openTimeoutMs?: number;
  /** Tells the other nodes this one's list of the revoked. */
  readonly publish?: (revoked: Revoked) => void;
}

/** Connections that are not gone yet: those whose handshake is not done, open ones, and those closed by the server. */
export class Guests {
  readonly revoked: Revoked | undefined;
  readonly openTimeoutMs: number;
  readonly log: Log;
  readonly #host: Host;
  readonly #present = new Set<Guest>();
  #isClosing = false;
  #emptied: (() => void) | undefined;

  constructor(
    host: Host,
    { revoked, log = () => {}, openTimeoutMs = OPEN_TIMEOUT_MS, publish = () => {} }: GuestsOptions = {},
  ) {
    this.#host = host;
    this.log = log;
    this.revoked = revoked;
    this.openTimeoutMs = openTimeoutMs;
    revoked?.onChange((isOwn) => {
      this.#closeRevoked(this.#present);
      if (isOwn) publish(revoked);
    });
    if (revoked) publish(revoked);
  }

  /** True once the server ends: who opens now is told to come back. */
  get isClosing(): boolean {
    return this.#isClosing;
  }

  /** Begins to hold a connection to its terms, from before its handshake is done. */
  admit(connection: Connection, admitted: Admitted): Guest {
    const guest = new Guest(this, connection, admitted);
    this.#present.add(guest);
    return guest;
  }

  /** Lets a guest in whose handshake is done. */
  enter(connection: Connection, identity: Identity): Receiver {
    return this.#host.connect(connection, identity);
  }

  /** Forgets a guest that is gone. Returns false for one that was forgotten before. */
  leave(guest: Guest): boolean {
    const wasPresent = this.#present.delete(guest);
    if (this.#present.size === 0) this.#emptied?.();
    return wasPresent;
  }

  /** Closes a guest that turns out to be revoked. Returns whether it is. */
  closeIfRevoked(guest: Guest): boolean {
    return this.#closeRevoked([guest]) > 0;
  }

  /** Closes those whose user or token is revoked by now, and says so in the log. Returns how many. */
  #closeRevoked(guests: Iterable<Guest>): number {
    const { revoked } = this;
    if (!revoked) return 0;
    const closed = new Map<string, number>();
    for (const guest of guests) {
      if (!guest.isOpen || !revoked.has(guest.user, guest.tokenId)) continue;
      closed.set(guest.user, (closed.get(guest.user) ?? 0) + 1);
      guest.close(REVOKED);
    }
    for (const [user, connections] of closed) {
      this.log("revoked_closed", { user, connections, file: revoked.file ?? "another node's" });
    }
    return closed.size;
  }

  /** Notes that an administrator has disconnected `user`: who is on the way in under this name is closed as well. */
  disconnected(user: string): void {
    for (const guest of this.#present) if (guest.user === user && !guest.isOpen) guest.closeOnceOpen(DISCONNECTED);
  }

  /** Tells everybody who opens from now on to come back later. */
  turnAway(): void {
    this.#isClosing = true;
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
  #isOpen = false;
  #closeAtOpening: Closing | undefined;
  #isNamed = false;
  #isGone = false;
  /** Close code of the server's; 0 while it has not closed the connection. */
  #code = 0;
  readonly #since = performance.now();
  /** The deadline of the handshake, then the expiry of the token. */
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(guests: Guests, connection: Connection, admitted: Admitted) {
    this.#guests = guests;
    this.#connection = connection;
    this.#admitted = admitted;
  }

  /** Begins the time that the handshake may take, where it is not done by now. */
  awaitOpening(): void {
    this.#timer = setTimeout(() => {
      this.#admitted.slot.release();
      this.#guests.leave(this);
    }, this.#guests.openTimeoutMs);
  }

  /** Name of the user, "" as long as the connection has none. */
  get user(): string {
    return this.#receiver?.user ?? this.#admitted.identity.user ?? "";
  }

  get tokenId(): string | undefined {
    return this.#admitted.tokenId;
  }

  /** True from the end of the handshake until the server closes the connection or it is gone. */
  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Closes the connection as soon as its handshake is done. */
  closeOnceOpen(closing: Closing): void {
    this.#closeAtOpening = closing;
  }

  /** Notes that the handshake is done: the hub gets the connection, if it may still be here. */
  opened(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#isOpen = true;
    const closing = this.#guests.isClosing ? RESTARTING : this.#millisecondsLeft <= 0 ? EXPIRED : this.#closeAtOpening;
    if (closing) return this.close(closing);
    if (this.#guests.closeIfRevoked(this)) return;
    this.#receiver = this.#guests.enter(this.#connection, this.#admitted.identity);
    this.#noteName();
    this.#endWithToken();
  }

  /** Closes the connection, which the hub may not know yet. */
  close({ name, reason }: Closing): void {
    if (this.#receiver) this.#receiver.close(name, reason);
    else this.#connection.close(CLOSE_CODES[name].code, reason);
  }

  /** Passes on one frame: text, or anything else to have it refused. Never throws. */
  receive(data: unknown): void {
    this.#receiver?.receive(data);
    if (!this.#isNamed) this.#noteName();
  }

  /** Notes that the server begins to close with this code: the connection is stalled until {@linkcode Guest.closed}. */
  closing(code: number): void {
    this.#isOpen = false;
    this.#code = code;
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
    if (this.#guests.leave(this)) {
      this.#guests.log("closed", { user: this.user, ms: Math.round(performance.now() - this.#since), code: this.#code });
    }
    this.#gone(clean);
    this.#admitted.slot.release();
  }

  #gone(clean: boolean): void {
    if (this.#isGone) return;
    this.#isGone = true;
    this.#isOpen = false;
    this.#receiver?.gone(clean);
  }

  /** Notes the name that the connection goes by, once it has one; it may be a revoked one. */
  #noteName(): void {
    const { user = "" } = this.#receiver ?? {};
    if (user === "") return;
    this.#isNamed = true;
    this.#admitted.slot.named(user);
    this.#guests.closeIfRevoked(this);
  }

  /** Milliseconds that the token lasts, by the clock of the wall: its issuer knows no other. */
  get #millisecondsLeft(): number {
    const { expiresAt } = this.#admitted;
    return expiresAt === undefined ? Infinity : expiresAt - Date.now();
  }

  #endWithToken(): void {
    const left = this.#millisecondsLeft;
    if (left === Infinity || !this.#isOpen) return;
    if (left <= 0) return this.close(EXPIRED);
    this.#timer = setTimeout(() => this.#endWithToken(), Math.min(left, LOOK_MS_MAX));
  }
}
