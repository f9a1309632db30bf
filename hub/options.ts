/** Parts and limits that a hub is made of. */

import type { Broker, Cluster } from "../broker.ts";
import type { Meter, SlowWatch } from "./meter.ts";

/** Bytes queued to one connection before it is closed to resume later: minutes of chat, a thousandth of a small machine. */
export const QUEUE_BYTES_MAX = 1_048_576;
/** Refused frames in a minute before the connection is closed: a fuzzer by hand stays below it, a flood does not. */
export const REFUSALS_MAX = 1_000;
/** Devices of one user at a time: every one costs a copy of everything. */
export const DEVICES_MAX = 32;

/** Limit on how much a user may send. */
export interface RateLimit {
  /**
   * Consumes `cost` of the user's allowance. Returns the milliseconds to wait: 0 to go on, Infinity to close the connection for
   * abuse.
   */
  consume(user: string, cost: number): number;
}

/** Parts and limits of a hub. */
export interface HubOptions {
  readonly broker: Broker;
  /** The other nodes on the same log. Default: the broker's. */
  readonly cluster?: Cluster;
  /** Takes the entries of the lists of the revoked of all other nodes. */
  readonly revokedElsewhere?: (entries: ReadonlySet<string>) => void;
  /** Calls back at the end of this turn of the event loop. Default: a microtask. */
  readonly defer?: (callback: () => void) => void;
  readonly frameBytes?: number;
  readonly contentBytes?: number;
  readonly queueBytes?: number;
  readonly helloTimeoutMs?: number;
  readonly helloGraceMs?: number;
  readonly refusalsMax?: number;
  readonly devicesMax?: number;
  readonly confirmIntervalMs?: number;
  /** A part of what may wait for a user: what was confirmed, and not told yet, still counts as waiting. */
  readonly confirmMessages?: number;
  readonly presenceGraceMs?: number;
  readonly rateLimit?: RateLimit;
  /** Limit on bytes of content that a user may send. */
  readonly quota?: RateLimit;
  /** Returns why no messages are taken at this moment, as a sentence for their senders; undefined while they are. */
  readonly refusesMessages?: () => string | undefined;
  /** Rate as `welcome` says it: frames per second and burst, 0 for none. */
  readonly rate?: { readonly rate: number; readonly burst: number };
  /** Told that the administrator `by` has disconnected `user`, who had so many connections. */
  readonly disconnected?: (user: string, by: string, connections: number) => void;
  /** Told that a message of `sender` was refused, as the mailbox of `user` is full. */
  readonly mailboxFull?: (user: string, sender: string) => void;
  /** Counts what happens. Default: nothing does. */
  readonly meter?: Meter;
  /** Told how long things took. Default: nobody is. */
  readonly slow?: SlowWatch | undefined;
  /** Receives failures that no peer can be blamed for. Never given content. */
  readonly report?: (error: unknown, where: string) => void;
}
