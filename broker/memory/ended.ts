/**
 * Memberships of groups that have ended: what was sent while a user was in a group stays due to those of their devices that were
 * away. Where it cannot be held, the user's horizon says so.
 */

import { ENDED_KEPT } from "../limits.ts";
import type { Retention } from "./retention.ts";
import type { Thread, User } from "./state.ts";

/** Keeps the membership of a user who is leaving a group and has been in it since a position, if a device may need it. */
export function keepEnded(user: User, thread: Thread, since: number, retention: Retention): void {
  const until = thread.seqs.at(-1) ?? 0;
  if (until <= since) return;
  if (slowestOf(user) >= until) return raise(user, until);
  user.ended = [...user.ended, { thread, since, until }].sort((a, b) => a.until - b.until);
  thread.endedKept++;
  if (user.ended.length > ENDED_KEPT) dropEnded(user, user.ended[user.ended.length - ENDED_KEPT - 1]!.until, retention);
}

/** Drops what every device of a user has now: after one of them has moved. */
export function endedPassed(user: User, retention: Retention): void {
  if (user.ended.length > 0) dropEnded(user, slowestOf(user), retention);
}

/** Drops all of a user who is erased. */
export function endedGone(user: User, retention: Retention): void {
  dropEnded(user, Infinity, retention);
}

/** Drops memberships that ended at a position or before; a device that resumes below has missed something then. */
function dropEnded(user: User, upTo: number, retention: Retention): void {
  const dropped = user.ended.filter(({ until }) => until <= upTo);
  user.ended = user.ended.filter(({ until }) => until > upTo);
  for (const { thread, until } of dropped) {
    raise(user, until);
    thread.endedKept--;
    retention.removeIfEnded(thread);
  }
}

function slowestOf({ devices }: User): number {
  return Math.min(...[...devices.values()].map(({ position }) => position));
}

function raise(user: User, horizon: number): void {
  user.horizon = Math.max(user.horizon, horizon);
}
