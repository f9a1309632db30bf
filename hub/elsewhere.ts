/**
 * The other nodes' part in the decisions of this one: the same device, the number of devices, status, lists. Without a cluster
 * there is nothing elsewhere, and every answer is at hand.
 */

import type { Cluster, ClusterListener, ConnectedUser, Presence } from "../broker.ts";
import type { Session } from "./session.ts";

/** Highest number of a connection: a database keeps it in 31 bits. After it they begin anew. */
const NUMBER_MAX = 2 ** 31 - 1;

/** Needs of {@linkcode Elsewhere}, which the hub meets. */
export interface ElsewhereHost {
  /** Returns how a user is connected to this node. */
  statusHere(user: string): Presence;
  /** Closes the connections of a user here: an administrator said so on another node. */
  disconnectHere(user: string): void;
  /** Tells watchers that how a user is connected elsewhere has changed from `before`. */
  changedElsewhere(user: string, before: Presence, clean: boolean, at: number): void;
  /** Takes the entries of the lists of the revoked of all other nodes. */
  revokedElsewhere(entries: ReadonlySet<string>): void;
  /** Closes everybody: the log has another epoch. */
  epochChanged(): void;
}

/** The other nodes, for one hub. */
export class Elsewhere {
  readonly #cluster: Cluster | undefined;
  readonly #host: ElsewhereHost;
  readonly #numbers = new Map<Session, number>();
  readonly #sessions = new Map<number, Session>();
  #last = 0;

  constructor(cluster: Cluster | undefined, host: ElsewhereHost) {
    this.#cluster = cluster;
    this.#host = host;
    cluster?.listen(this.#listener());
  }

  // ---- What this node tells ----

  /**
   * Claims the device of a session that has settled; an older connection of it on another node is closed. Resolves with the number
   * of the user's other devices there.
   */
  async claim(session: Session): Promise<number> {
    if (!this.#cluster) return 0;
    this.#last = this.#last % NUMBER_MAX + 1;
    const number = this.#last, { user, device } = session;
    this.#numbers.set(session, number);
    this.#sessions.set(number, session);
    try {
      const elsewhere = await this.#cluster.claim({ session: number, user, device });
      if (session.closed) this.#release(number, user, true, Date.now());
      return elsewhere;
    } catch (error) {
      this.release(session, true, Date.now());
      throw error;
    }
  }

  /** Gives a device up. Idempotent. `clean`: the person said goodbye; `at`: when, in milliseconds since 1970. */
  release(session: Session, clean: boolean, at: number): void {
    const number = this.#numbers.get(session);
    if (number === undefined) return;
    this.#numbers.delete(session);
    this.#sessions.delete(number);
    this.#release(number, session.user, clean, at);
  }

  #release(number: number, user: string, clean: boolean, at: number): void {
    this.#cluster?.release(number, user, this.#host.statusHere(user), clean, at);
  }

  /** Says whether the person at a session is away. */
  setAway(session: Session): void {
    const number = this.#numbers.get(session);
    if (number !== undefined) this.#cluster?.setAway(number, session.away, session.user, this.#host.statusHere(session.user));
  }

  // ---- What it asks ----

  /** Keeps track of users; resolves when their status elsewhere is known. */
  async watch(users: readonly string[]): Promise<void> {
    await this.#cluster?.watch(users);
  }

  /** Ends that for one user. */
  unwatch(user: string): void {
    this.#cluster?.unwatch(user);
  }

  /** Returns how a watched user is connected elsewhere. */
  statusOf(user: string): Presence {
    return this.#cluster?.statusOf(user) ?? "offline";
  }

  /** Lists up to `limit` users who are connected elsewhere. */
  async list(limit: number): Promise<readonly ConnectedUser[]> {
    return await this.#cluster?.list(limit) ?? [];
  }

  /** Closes the connections of a user elsewhere; resolves with their number. */
  async disconnect(user: string): Promise<number> {
    return await this.#cluster?.disconnect(user) ?? 0;
  }

  // ---- What it hears ----

  #listener(): ClusterListener {
    const host = this.#host;
    return {
      replaced: (number) => this.#sessions.get(number)?.close("replaced", "This device connected again"),
      disconnect: (user) => host.disconnectHere(user),
      changed: (user, before, clean, at) => host.changedElsewhere(user, before, clean, at),
      revoked: (entries) => host.revokedElsewhere(entries),
      epochChanged: () => host.epochChanged(),
    };
  }
}

/** Returns the status of whom two nodes see so: whoever is online somewhere is online. */
export function higher(one: Presence, other: Presence): Presence {
  if (one === "online" || other === "online") return "online";
  return one === "away" || other === "away" ? "away" : "offline";
}
