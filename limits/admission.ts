/**
 * Admission: bounds connections in all, per address before they said who they are, per user, new ones per second and address,
 * stalled ones, and memory. It knows no socket: it is told what happens.
 *
 * A connection is stalled when the server has closed it and its peer holds on: Deno cannot end it, and it keeps what was queued.
 */

import { addressKey } from "./address.ts";
import { RestingMap, TokenBucket } from "./token_bucket.ts";

/** Milliseconds for which one reading of the memory counts: it costs a system call. */
const MEMORY_SAMPLE_MS = 1_000;
/** Seconds of new connections that may come at once: people open several tabs. */
const UPGRADE_BURST_S = 2;
/** Seconds that a refused client is told to wait. */
const RETRY_S = 5;
/** Seconds that a client is told to wait for connections of its user to go: its devices have to notice first. */
const USER_RETRY_S = 60;
/** Stalled connections before nobody new is let in: each may keep as much as a queue, which makes a gibibyte. */
export const STALLED_MAX = 1_000;
/** Stalled connections of one user: nobody has that many devices that do not read by accident. */
export const STALLED_PER_USER_MAX = 4;

/** Bounds; `Infinity` lifts one. */
export interface AdmissionLimits {
  readonly connections: number;
  /** Connections of an address that have not said who they are. */
  readonly namelessPerAddress: number;
  /** New connections of an address. */
  readonly upgradesPerSecond: number;
  /** Bytes of resident memory. */
  readonly memoryBytes: number;
  /** Connections that the server has closed and whose peers hold on. */
  readonly stalled: number;
  /** Stalled connections of one user. */
  readonly stalledPerUser: number;
  /** Connections of one user in any state. */
  readonly connectionsPerUser: number;
}

/** Limits of an embedded server: none, except stalled connections, which no well-behaved client causes. */
export const UNLIMITED: AdmissionLimits = {
  connections: Infinity,
  namelessPerAddress: Infinity,
  upgradesPerSecond: Infinity,
  memoryBytes: Infinity,
  stalled: STALLED_MAX,
  stalledPerUser: STALLED_PER_USER_MAX,
  connectionsPerUser: Infinity,
};

/** Refusal of a connection, as an HTTP answer. */
export interface Denial {
  readonly status: 429 | 503;
  readonly message: string;
  readonly retryAfterS: number;
}

/** One admitted connection. */
export interface Slot {
  /** Claims the slot for `user`, or returns why it is refused and has to be released. Once, before `named`. */
  claim(user: string): Denial | undefined;
  /** Notes that the connection has said who it is: it no longer counts against its address. */
  named(user: string): void;
  /** Notes that the server has closed the connection: it is stalled until its peer lets go. */
  stalled(): void;
  /** Frees the slot of a connection that is gone. Idempotent. */
  release(): void;
}

interface Address {
  nameless: number;
  readonly upgrades: TokenBucket;
}

interface User {
  readonly name: string;
  connections: number;
  stalled: number;
}

/** Numbers of what is counted. */
export interface AdmissionCounts {
  readonly connections: number;
  readonly stalled: number;
  readonly users: number;
  readonly addresses: number;
}

/** Connections in all and by user, which their slots count. */
class Counted {
  connections = 0;
  stalled = 0;
  readonly users = new Map<string, User>();

  /** Counts a connection of a user. */
  enter(name: string): User {
    let user = this.users.get(name);
    if (!user) this.users.set(name, user = { name, connections: 0, stalled: 0 });
    user.connections++;
    return user;
  }
}

/** A slot of an {@linkcode Admission}, which every connection has for as long as it lives. */
class CountedSlot implements Slot {
  readonly #limits: AdmissionLimits;
  readonly #counted: Counted;
  readonly #address: Address;
  #state: "nameless" | "named" | "stalled" | "gone" = "nameless";
  #user: User | undefined;

  constructor(limits: AdmissionLimits, counted: Counted, address: Address) {
    this.#limits = limits;
    this.#counted = counted;
    this.#address = address;
    counted.connections++;
    address.nameless++;
  }

  claim(name: string): Denial | undefined {
    const entry = this.#counted.users.get(name);
    if (entry && entry.stalled >= this.#limits.stalledPerUser) return USER_STALLED;
    if (entry && entry.connections >= this.#limits.connectionsPerUser) return USER_FULL;
    this.#user = this.#counted.enter(name);
    return undefined;
  }

  named(name: string): void {
    if (this.#state !== "nameless") return;
    this.#leave();
    this.#state = "named";
    this.#user ??= this.#counted.enter(name);
  }

  stalled(): void {
    if (this.#state === "stalled" || this.#state === "gone") return;
    this.#leave();
    this.#state = "stalled";
    this.#counted.stalled++;
    if (this.#user) this.#user.stalled++;
  }

  release(): void {
    if (this.#state === "gone") return;
    this.#leave();
    this.#state = "gone";
    this.#counted.connections--;
    const user = this.#user;
    if (user && --user.connections === 0) this.#counted.users.delete(user.name);
  }

  /** Takes the connection out of the count that its state has. */
  #leave(): void {
    if (this.#state === "nameless") this.#address.nameless--;
    if (this.#state !== "stalled") return;
    this.#counted.stalled--;
    if (this.#user) this.#user.stalled--;
  }
}

/** Counts connections and decides who may come in. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #now: () => number;
  readonly #memory: () => number;
  readonly #addresses: RestingMap<Address>;
  readonly #counted = new Counted();
  #sampled = { bytes: 0, at: -Infinity };

  /** `memory` reads the resident bytes; `now` is a monotonic clock, in milliseconds. */
  constructor(limits: AdmissionLimits, memory: () => number, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#memory = memory;
    this.#now = now;
    const rate = limits.upgradesPerSecond;
    this.#addresses = new RestingMap(
      (now) => ({ nameless: 0, upgrades: new TokenBucket(rate, rate * UPGRADE_BURST_S, now) }),
      ({ nameless, upgrades }, now) => nameless === 0 && upgrades.isFull(now),
    );
  }

  /** Current counts: all zero when nobody is there and every address has rested. */
  get counts(): AdmissionCounts {
    this.#addresses.sweep(this.#now());
    const { size: addresses } = this.#addresses;
    const { connections, stalled, users } = this.#counted;
    return { connections, stalled, users: users.size, addresses };
  }

  /** Addresses that are remembered. */
  get remembered(): number {
    return this.#addresses.size;
  }

  /** Returns why nobody is let in now, wherever they come from, as a sentence; undefined while people are. */
  full(): string | undefined {
    const limits = this.#limits;
    if (this.#memoryNow() > limits.memoryBytes) return "The server is short of memory";
    if (this.#counted.connections >= limits.connections) return "The server has no room for more connections";
    if (this.#counted.stalled >= limits.stalled) return "Too many connections are not read by their peers";
    return undefined;
  }

  /** Lets a connection in, or returns why not. */
  admit(address: string): Slot | Denial {
    const limits = this.#limits;
    const full = this.full();
    if (full) return deny(503, `${full}; try again later`);
    const now = this.#now();
    const entry = this.#addresses.get(addressKey(address), now);
    if (entry.nameless >= limits.namelessPerAddress) {
      return deny(429, "Too many connections from your address have not said who they are");
    }
    if (entry.upgrades.consume(1, now) > 0) return deny(429, "Too many new connections from your address; slow down");
    return new CountedSlot(limits, this.#counted, entry);
  }

  #memoryNow(): number {
    if (this.#limits.memoryBytes === Infinity) return 0;
    const now = this.#now();
    if (now - this.#sampled.at > MEMORY_SAMPLE_MS) this.#sampled = { bytes: this.#memory(), at: now };
    return this.#sampled.bytes;
  }
}

function deny(status: 429 | 503, message: string, retryAfterS = RETRY_S): Denial {
  return { status, message, retryAfterS };
}

const USER_STALLED = deny(429, "Too many connections of this user are not read; close them first", USER_RETRY_S);
const USER_FULL = deny(429, "This user has too many connections; close some first", USER_RETRY_S);
