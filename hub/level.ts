/** The level of a connection, and what settles it. */

import type { SendOrder } from "./send_order.ts";

/** base: messages and errors only. extended: after `hello`. undecided: before either is settled. */
export type Level = "undecided" | "base" | "extended";

/** Name, level and device, as a first frame or `hello` settles them. */
export interface Settled {
  readonly user: string;
  readonly level: "base" | "extended";
  readonly device: string;
  /** Tells this session's own messages from those of the user's other devices. */
  readonly origin: string;
  /** The peer takes several objects in one frame. */
  readonly batch: boolean;
  /** Keeps the order of what the peer sends; undefined for a peer that did not ask for it. */
  readonly order: SendOrder | undefined;
}
