/**
 * Users who come and go, as one endpoint is told of them: by comparing who is connected now with who was told to be. Nothing is
 * lost at a restart that way, only told late: what is known is kept, and told again at a start.
 */

/** Milliseconds that a user has to be away before it is told: most who drop off come back at once. */
const GRACE_MS = 15_000;
/** Users who are remembered over a restart. */
const KEPT_MAX = 10_000;

/** Users whom one endpoint knows to be online. */
export class Known {
  /** Users with the monotonic time at which they were found missing; undefined while they are there. */
  readonly #users = new Map<string, number | undefined>();
  /** Those of them who were told since this process has begun. */
  readonly #told = new Set<string>();
  #isChanged = false;

  /** Takes users whom an earlier process has told to be online. */
  constructor(state: string, now: number) {
    if (state !== "") { for (const user of JSON.parse(state) as string[]) this.#users.set(user, now); }
  }

  /** Compares with those who are connected at a monotonic time, and tells of each who came or has gone. */
  compare(online: ReadonlySet<string>, now: number, tell: (type: "user.online" | "user.offline", user: string) => void): void {
    for (const user of online) {
      this.#isChanged ||= !this.#users.has(user);
      this.#users.set(user, undefined);
      if (this.#told.has(user)) continue;
      this.#told.add(user);
      tell("user.online", user);
    }
    for (const [user, missing] of this.#users) {
      if (online.has(user)) continue;
      if (missing === undefined) this.#users.set(user, now);
      else if (now - missing >= GRACE_MS) {
        this.#users.delete(user);
        this.#told.delete(user);
        this.#isChanged = true;
        tell("user.offline", user);
      }
    }
  }

  /** Returns what is to be kept, where it has changed since it was asked for last. */
  changed(): string | undefined {
    if (!this.#isChanged) return undefined;
    this.#isChanged = false;
    return JSON.stringify([...this.#users.keys()].slice(0, KEPT_MAX));
  }
}
