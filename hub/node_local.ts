/**
 * The seam between one node and many: every decision of the hub that is made by looking at this process alone. Each is right
 * while there is one process, and needs the word of the others as soon as there are several. Everything else that the hub does
 * goes through the broker, and works across nodes as it is.
 */

import type { CloseName, ServerFrameOf } from "../protocol.ts";
import type { Session } from "./session.ts";

/** Status of a user, as watchers are told. */
export type Status = ServerFrameOf<"presence">["status"];

/** A connected user with the names of their devices; `~` is a base connection. */
export interface ConnectedUser {
  readonly user: string;
  readonly devices: readonly string[];
}

/** The seven decisions that see the connections of this process only. Implemented by the hub over its registry. */
export interface NodeLocal {
  /** Closes an older connection of the same user and device with `replaced`. */
  replaceDevice(session: Session): void;
  /** Returns whether `user` may have another device connected. */
  hasRoomForDevice(user: string): boolean;
  /** Lists everybody who is connected, with their devices. */
  list(): ConnectedUser[];
  /** Closes every connection of `user`; returns how many there were. */
  disconnect(user: string, name: CloseName, reason: string): number;
  /** Returns how `user` is connected right now, apart from any grace. */
  statusOf(user: string): Status;
  /**
   * Consumes `cost` of the user's rate. Returns the milliseconds to wait: 0 to go on, Infinity to close the connection for abuse.
   */
  consumeRate(user: string, cost: number): number;
  /** Consumes so many bytes of content of what the user may send in a day. Returns as {@linkcode NodeLocal.consumeRate} does. */
  consumeQuota(user: string, bytes: number): number;
}
