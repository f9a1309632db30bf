/**
 * The seam between one node and many: every decision of the hub for which it looks at the connections of this process. With
 * several nodes the others are asked too, through `hub/elsewhere.ts`; the rate alone is counted per node. Everything else that the
 * hub does goes through the broker, and works across nodes as it is.
 */

import type { ConnectedUser } from "../broker.ts";
import type { ServerFrameOf } from "../protocol.ts";
import type { Session } from "./session.ts";

/** Status of a user, as watchers are told. */
export type Status = ServerFrameOf<"presence">["status"];

/** The seven decisions. Implemented by the hub over its registry. */
export interface NodeLocal {
  /** Closes an older connection of the same user and device to this node with `replaced`. */
  replaceDevice(session: Session): void;
  /** Returns whether `user`, who has `elsewhere` devices on other nodes, may have another one connected. */
  hasRoomForDevice(user: string, elsewhere: number): boolean;
  /** Lists everybody who is connected, with their devices. */
  list(): Promise<ConnectedUser[]>;
  /** Closes every connection of `user`; returns how many there were. */
  disconnect(user: string): Promise<number>;
  /** Returns how `user` is connected right now, apart from any grace. */
  statusOf(user: string): Status;
  /**
   * Consumes `cost` of the user's rate. Returns the milliseconds to wait: 0 to go on, Infinity to close the connection for abuse.
   */
  consumeRate(user: string, cost: number): number;
  /** Consumes so many bytes of content of what the user may send in a day. Returns as {@linkcode NodeLocal.consumeRate} does. */
  consumeQuota(user: string, bytes: number): number;
}
