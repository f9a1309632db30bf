/**
 * Who may still come in: connections in all, per address before they said who they are, new ones per second and address, those
 * that are closed but whose peer holds on, and memory. Knows no socket: it is told what happens.
 */

import { addressKey } from "./address.ts";

/** Milliseconds that one reading of the memory is good for: it costs a system call. */
const MEMORY_SAMPLE_MS = 1_000;
/** Addresses after which those that have rested are forgotten. */
const SWEEP_ADDRESSES = 1_024;
/** Seconds that a refused client is told to wait. */
const RETRY_S = 5;
/**
 * Connections that the server has closed and whose peers hold on, before nobody new is let in: Deno cannot end them, and each may
 * keep as much as a queue, which makes a gibibyte.
 */
export const ZOMBIES_MAX = 1_000;
/** The same of one user: nobody has that many stalled devices by accident. */
export const ZOMBIES_PER_USER_MAX = 4;

const STALLED_RETRY_S = 60;

/** Bounds; `Infinity` lifts one. */
export interface AdmissionLimits {
  readonly connections: number;
  readonly namelessPerAddress: number;
  readonly upgradesPerSecond: number;
  /** Bytes of resident memory. */
  readonly memoryBytes: number;
  readonly zombies: number;
  readonly zombiesPerUser: number;
  /** Whatever their state. */
  readonly connectionsPerUser: number;
}

/** Why somebody may not come in: an HTTP answer. */
export interface Denial {
  readonly status: 429 | 503;
  readonly message: string;
  readonly retryAfterS: number;
}

/** One admitted connection. */
export interface Slot {
  /** It is going to be `user`'s; or why it may not be, and the slot is to be released. Once, before `named`. */
  claim(user: string): Denial | undefined;
  /** It has said who it is, and no longer counts against its address. */
  named(user: string): void;
  /** The server has closed it; the peer may hold on. */
  closing(): void;
  /** It is gone. Idempotent. */
  release(): void;
}

interface Address {
  nameless: number;
  /** Upgrades that may be made now, and when that was true. */
  allowance: number;
  at: number;
}

interface User {
  readonly name: string;
  connections: number;
  /** Those of them that are closed and whose peers hold on. */
  zombies: number;
}

/** Counts connections, and says who may come in. */
export class Admission {
  readonly #limits: AdmissionLimits;
  readonly #now: () => number;
  readonly #memory: () => number;
  readonly #addresses = new Map<string, Address>();
  readonly #users = new Map<string, User>();
  #sweepAt = SWEEP_ADDRESSES;
  #connections = 0;
  #zombies = 0;
  #sampled = { bytes: 0, at: -Infinity };

  /** `memory` reads the resident bytes. */
  constructor(limits: AdmissionLimits, memory: () => number, now: () => number = () => performance.now()) {
    this.#limits = limits;
    this.#memory = memory;
    this.#now = now;
  }

  /** What is counted now: all zero when nobody is there and every address has rested. */
  get counts(): { connections: number; zombies: number; users: number; addresses: number } {
    this.#sweep();
    const { size: addresses } = this.#addresses;
    return { connections: this.#connections, zombies: this.#zombies, users: this.#users.size, addresses };
  }

  /** Addresses that are remembered. */
  get remembered(): number {
    return this.#addresses.size;
  }

  /** Lets a connection in, or says why not. */
  admit(address: string): Slot | Denial {
    const limits = this.#limits;
    if (this.#memoryNow() > limits.memoryBytes) return deny(503, "The server is short of memory; try again later");
    if (this.#connections >= limits.connections) {
      return deny(503, "The server has no room for more connections; try again later");
    }
    if (this.#zombies >= limits.zombies) {
      return deny(503, "Too many connections are not read by their peers; try again later");
    }
    const entry = this.#address(addressKey(address));
    if (entry.nameless >= limits.namelessPerAddress) {
      return deny(429, "Too many connections from your address have not said who they are");
    }
    if (limits.upgradesPerSecond !== Infinity) {
      if (entry.allowance < 1) return deny(429, "Too many new connections from your address; slow down");
      entry.allowance--;
    }
    return this.#slot(entry);
  }

  #slot(address: Address): Slot {
    let state: "nameless" | "named" | "closing" | "gone" = "nameless";
    let user: User | undefined;
    this.#connections++;
    address.nameless++;
    const leave = () => {
      if (state === "nameless") address.nameless--;
      if (state !== "closing") return;
      this.#zombies--;
      if (user) user.zombies--;
    };
    return {
      claim: (name) => {
        const entry = this.#users.get(name);
        if (entry && entry.zombies >= this.#limits.zombiesPerUser) return STALLED;
        if (entry && entry.connections >= this.#limits.connectionsPerUser) return TOO_MANY;
        user = this.#enter(name);
        return undefined;
      },
      named: (name) => {
        if (state !== "nameless") return;
        leave();
        state = "named";
        user ??= this.#enter(name);
      },
      closing: () => {
        if (state === "closing" || state === "gone") return;
        leave();
        state = "closing";
        this.#zombies++;
        if (user) user.zombies++;
      },
      release: () => {
        if (state === "gone") return;
        leave();
        state = "gone";
        this.#connections--;
        if (user && --user.connections === 0) this.#users.delete(user.name);
      },
    };
  }

  #enter(name: string): User {
    let user = this.#users.get(name);
    if (!user) this.#users.set(name, user = { name, connections: 0, zombies: 0 });
    user.connections++;
    return user;
  }

  #address(key: string): Address {
    if (this.#addresses.size >= this.#sweepAt) this.#sweep();
    return this.#refill(key);
  }

  #refill(key: string): Address {
    const now = this.#now();
    const burst = this.#burst();
    let entry = this.#addresses.get(key);
    if (!entry) this.#addresses.set(key, entry = { nameless: 0, allowance: burst, at: now });
    entry.allowance = Math.min(burst, entry.allowance + ((now - entry.at) / 1_000) * this.#limits.upgradesPerSecond);
    entry.at = now;
    return entry;
  }

  /** New connections at once: what a second allows, twice, for those who open several tabs. */
  #burst(): number {
    return this.#limits.upgradesPerSecond * 2;
  }

  /** Forgets addresses that have nothing open and have rested; looks again when twice as many as are left have come. */
  #sweep(): void {
    for (const key of [...this.#addresses.keys()]) {
      const { nameless, allowance } = this.#refill(key);
      if (nameless === 0 && (allowance >= this.#burst() || this.#limits.upgradesPerSecond === Infinity)) {
        this.#addresses.delete(key);
      }
    }
    this.#sweepAt = Math.max(SWEEP_ADDRESSES, this.#addresses.size * 2);
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

const STALLED = deny(429, "Too many connections of this user are not read; close them first", STALLED_RETRY_S);
const TOO_MANY = deny(429, "This user has too many connections; close some first", STALLED_RETRY_S);
