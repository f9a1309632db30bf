/**
 * Who is watched by whom, and what watchers are told: online, away, offline. At most once, never stored, first to be dropped.
 */

import type { Session } from "./session.ts";
import { encode, type ServerFrameOf } from "./protocol.ts";

/** Milliseconds that a user who dropped off stays online for watchers: most come back at once. */
export const PRESENCE_GRACE_MS = 15_000;

type Status = ServerFrameOf<"presence">["status"];

/** Keeps watchers and tells them of changes. */
export class Presence {
  readonly #watchers = new Map<string, Set<Session>>();
  readonly #leaving = new Map<string, ReturnType<typeof setTimeout>>();
  readonly #statusOf: (user: string) => Status;
  readonly #graceMs: number;

  /** `statusOf` says how a user is connected right now, apart from the grace. */
  constructor(statusOf: (user: string) => Status, graceMs = PRESENCE_GRACE_MS) {
    this.#statusOf = statusOf;
    this.#graceMs = graceMs;
  }

  /** Watched users and users in their grace: for the tests that count what is left. */
  get size(): number {
    return this.#watchers.size + this.#leaving.size;
  }

  /** How watchers see `user`. */
  status(user: string): Status {
    const status = this.#statusOf(user);
    return status === "offline" && this.#leaving.has(user) ? "online" : status;
  }

  /** Replaces whom `session` watches. */
  watch(session: Session, users: readonly string[]): void {
    this.unwatch(session);
    session.watched = [...new Set(users)];
    for (const user of session.watched) {
      const watchers = this.#watchers.get(user);
      if (watchers) watchers.add(session);
      else this.#watchers.set(user, new Set([session]));
    }
  }

  /** `session` watches nobody any more. */
  unwatch(session: Session): void {
    for (const user of session.watched) {
      const watchers = this.#watchers.get(user);
      watchers?.delete(session);
      if (watchers?.size === 0) this.#watchers.delete(user);
    }
    session.watched = [];
  }

  /** The user's first device came or their status changed. */
  changed(user: string): void {
    this.#cancel(user);
    this.#tell(user);
  }

  /** The user's last device went; `clean` is a goodbye, which has no grace. */
  left(user: string, clean: boolean): void {
    this.#cancel(user);
    if (clean || !this.#watchers.has(user)) return this.#tell(user);
    this.#leaving.set(
      user,
      setTimeout(() => {
        this.#leaving.delete(user);
        this.#tell(user);
      }, this.#graceMs),
    );
  }

  /** Forgets everybody. */
  close(): void {
    for (const timer of this.#leaving.values()) clearTimeout(timer);
    this.#leaving.clear();
    this.#watchers.clear();
  }

  #cancel(user: string): void {
    clearTimeout(this.#leaving.get(user));
    this.#leaving.delete(user);
  }

  #tell(user: string): void {
    const watchers = this.#watchers.get(user);
    if (!watchers) return;
    const status = this.status(user);
    const frame: ServerFrameOf<"presence"> = { type: "presence", user, status };
    if (status === "offline") frame.last_seen = new Date().toISOString();
    const line = encode(frame);
    for (const session of watchers) if (!session.congested) session.queue(line);
  }
}
