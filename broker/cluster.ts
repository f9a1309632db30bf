/**
 * The port to the other nodes on the same log: who is connected where. A broker of many nodes has one; where there is one node
 * alone there is none, and every decision is made by looking at this process.
 *
 * Nothing here is stored for long, and nothing is certain while the nodes cannot reach each other: devices stay connected then.
 */

/** Status of a user. */
export type Presence = "online" | "away" | "offline";

/** One connection of this node, with the node's own number for it. */
export interface Claim {
  /** Positive, below 2³¹; never given twice by a process. */
  readonly session: number;
  readonly user: string;
  readonly device: string;
}

/** A connected user with the names of their devices; `~` is a base connection. */
export interface ConnectedUser {
  readonly user: string;
  readonly devices: readonly string[];
}

/** Receiver of what the other nodes say. Called from the broker, so no method may throw. */
export interface ClusterListener {
  /** The device of this connection has connected to another node. */
  replaced(session: number): void;
  /** Every connection of `user` is to be closed: an administrator said so on another node. */
  disconnect(user: string): void;
  /**
   * The other nodes' status of a user who is watched has changed from `before`. `clean`: the last of them said goodbye, or its
   * grace is over; `at`: when they left, in milliseconds since 1970.
   */
  changed(user: string, before: Presence, clean: boolean, at: number): void;
  /** Entries of the lists of the revoked of all other nodes: token ids and names. */
  revoked(entries: ReadonlySet<string>): void;
  /** The log has another epoch: it has lost data. Whoever is connected must connect anew. */
  epochChanged(): void;
}

/** Other nodes, as one node sees them. */
export interface Cluster {
  /** Name of this node, as its operator gave it. */
  readonly node: string;

  /** Begins to tell `listener`. Once. */
  listen(listener: ClusterListener): void;

  /**
   * Notes a connection of this node; an older one of the same device on another node hears that it was replaced. Resolves with
   * the number of other devices that the user has on other nodes. Rejects where that cannot be known now.
   */
  claim(claim: Claim): Promise<number>;

  /** Notes that a connection is gone, and how the user is connected here now. Idempotent. */
  release(session: number, user: string, status: Presence, clean: boolean, at: number): void;

  /** Notes whether the person at a connection is away, and how the user is connected here now. */
  setAway(session: number, away: boolean, user: string, status: Presence): void;

  /** Keeps track of how users are connected elsewhere until {@linkcode unwatch}; resolves when it is known. */
  watch(users: readonly string[]): Promise<void>;

  /** Ends that for one user. */
  unwatch(user: string): void;

  /** Returns how a watched user is connected to other nodes; `offline` for one who is not watched. */
  statusOf(user: string): Presence;

  /** Lists up to `limit` users who are connected to other nodes. */
  list(limit: number): Promise<readonly ConnectedUser[]>;

  /** Closes every connection of `user` on the other nodes; resolves with their number. */
  disconnect(user: string): Promise<number>;

  /** Publishes this node's list of the revoked. */
  publishRevoked(entries: readonly string[]): void;
}
