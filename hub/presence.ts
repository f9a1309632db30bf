/**
 * Presence: watchers of users, and what they are told: online, away, offline. At most once, never stored, first to be dropped.
 */

import { encode, type ServerFrameOf } from "../protocol.ts";
import { timestamp } from "./encoding.ts";
import type { Status } from "./node_local.ts";

/** Milliseconds that a user who dropped off stays online for watchers: most come back at once. */
export const PRESENCE_GRACE_MS = 15_000;

/** A connection that watches users. */
export interface Watcher {
  /** True while frames that may be lost should be: the connection is not keeping up. */
  readonly congested: boolean;
  /** Queues one encoded frame. */
  queue(line: string): void;
}

/** Keeps watchers and tells them of changes. */
export class Presence {
  readonly #watchers = new Map<string, Set<Watcher>>();
  readonly #watched = new Map<Watcher, readonly string[]>();
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #statusOf: (user: string) => Status;
  readonly #graceMs: number;
  readonly #unwatched: (user: string) => void;

  /**
   * `statusOf` returns how a user is connected right now, apart from the grace; `unwatched` is told of users whom nobody watches
   * any more.
   */
  constructor(
    statusOf: (user: string) => Status,
    graceMs = PRESENCE_GRACE_MS,
    unwatched: (user: string) => void = () => {},
  ) {
    this.#statusOf = statusOf;
    this.#graceMs = graceMs;
    this.#unwatched = unwatched;
  }

  /** Watched users and users in their grace: for the tests that count what is left. */
  get size(): number {
    return this.#watchers.size + this.#leaving.size;
  }

  /** Returns how watchers see `user`. */
  status(user: string): Status {
    const status = this.#statusOf(user);
    return status === "offline" && this.#leaving.has(user) ? "online" : status;
  }

  /** Replaces whom `watcher` watches; returns them, each once. */
  watch(watcher: Watcher, users: readonly string[]): readonly string[] {
    this.unwatch(watcher);
    const watched = [...new Set(users)];
    for (const user of watched) {
      const watchers = this.#watchers.get(user);
      if (watchers) watchers.add(watcher);
      else this.#watchers.set(user, new Set([watcher]));
    }
    if (watched.length > 0) this.#watched.set(watcher, watched);
    return watched;
  }

  /** Ends all watching of `watcher`. */
  unwatch(watcher: Watcher): void {
    for (const user of this.#watched.get(watcher) ?? []) {
      const watchers = this.#watchers.get(user);
      watchers?.delete(watcher);
      if (watchers?.size !== 0) continue;
      this.#watchers.delete(user);
      this.#unwatched(user);
    }
    this.#watched.delete(watcher);
  }

  /** Tells watchers how the user is connected now, if that is not as it was, in `before`; a grace ends. */
  changed(user: string, before: Status): void {
    const seen = this.#endGrace(user) ? "online" : before;
    if (this.status(user) !== seen) this.#tell(user);
  }

  /**
   * Tells watchers, at once or after a grace, that the user's last device went; `clean` is a goodbye, which has no grace, and
   * `at` the time, in milliseconds since 1970, that is kept as when they were last seen.
   */
  left(user: string, clean: boolean, at: number): void {
    this.#endGrace(user);
    if (clean || !this.#watchers.has(user)) return this.#tell(user, at);
    const end = () => {
      this.#leaving.delete(user);
      this.#tell(user, at);
    };
    this.#leaving.set(user, setTimeout(end, this.#graceMs));
  }

  /** Clears all watchers and graces. */
  close(): void {
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    this.#leaving.clear();
    this.#watchers.clear();
    this.#watched.clear();
  }

  /** Ends the grace of a user; false where there was none. */
  #endGrace(user: string): boolean {
    clearTimeout(this.#leaving.get(user));
    return this.#leaving.delete(user);
  }

  #tell(user: string, lastSeen?: number): void {
    const watchers = this.#watchers.get(user);
    if (!watchers) return;
    const status = this.status(user);
    const frame: ServerFrameOf<"presence"> = { type: "presence", user, status };
    if (lastSeen !== undefined) frame.last_seen = timestamp(lastSeen);
    const line = encode(frame);
    for (const watcher of watchers) if (!watcher.congested) watcher.queue(line);
  }
}
