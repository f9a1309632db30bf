/** Place of an endpoint in the log, as it is kept beside the messages. */

/** Event of the log that was begun and is not done. */
export interface Begun {
  readonly kind: "message" | "undelivered" | "change";
  /** Position, or number of a change. */
  readonly at: number;
  /** Attempts so far. */
  readonly attempts: number;
  /** Milliseconds since 1970 from which on it waits. The wall's clock: it has to outlive the process. */
  readonly since: number;
}

/** Place of an endpoint: everything up to it is done, but for what is `begun`. */
export interface Place {
  /** Position of messages; undefined where the endpoint is not told of them. */
  readonly position?: number | undefined;
  /** Position up to which messages were looked at for being undelivered. */
  readonly waited?: number | undefined;
  /** Number of the last change of a group. */
  readonly change?: number | undefined;
  /** Milliseconds since 1970 before which changes are passed over: a replay begins in the middle of them. */
  readonly changesSince?: number | undefined;
  readonly begun: readonly Begun[];
  /** True after a 410: nothing is sent until the operator says so. */
  readonly gone?: boolean | undefined;
  /** Place up to which the operator was told of what was removed too early, in messages and in changes. */
  readonly told?: number | undefined;
  readonly toldChanges?: number | undefined;
}

/** Order of the operator to a running server. */
export type Wish =
  | { readonly do: "enable" }
  | { readonly do: "replay"; readonly from: number; readonly ts?: number | undefined };

/** Returns the order that does what both do, so that one which the server has not carried out yet is not lost for a later one. */
export function bothWishes(earlier: Wish | undefined, later: Wish): Wish {
  if (earlier?.do !== "replay") return later;
  return later.do === "replay" && later.from < earlier.from ? later : earlier;
}

/** Reads a place; an empty one for "". */
export function parsePlace(state: string): Place {
  return state === "" ? { begun: [] } : JSON.parse(state);
}

/** Reads an order; undefined for one of a version that is newer. */
export function parseWish(wish: string): Wish | undefined {
  const { do: what, from, ts } = JSON.parse(wish);
  if (what === "enable") return { do: "enable" };
  return what === "replay" && typeof from === "number" ? { do: "replay", from, ts } : undefined;
}
