/** Erasure of a user in memory, as `Erasure` of broker.ts says. */

import { endedGone } from "./ended.ts";
import type { Retention } from "./retention.ts";
import { addWaiting, type MemoryState, type User, waitingIn } from "./state.ts";

/** Erases what a user wrote, and what is kept about them. Returns the number of messages that were emptied. */
export function eraseUser({ log }: MemoryState, user: User, retention: Retention): number {
  user.devices.clear();
  user.declined = undefined;
  user.ids = undefined;
  user.lastSeen = 0;
  endedGone(user, retention);
  for (const thread of user.threads.values()) {
    thread.markers.delete(user.name);
    if (thread.group !== "") continue;
    addWaiting(thread, user, -waitingIn(thread, user));
    // Nothing of what was sent before waits for whoever comes back under the name, nor is theirs to read.
    thread.members.set(user.name, log.head);
    if (thread.seqs.length > 0) {
      const own = { read: 0, ts: 0, at: -1 };
      thread.markers.set(user.name, { delivered: log.head, read: 0, ts: 0, at: -1, own });
    }
  }
  retention.delivered();
  let count = 0;
  for (const seq of log.by(user.name)) if (log.empty(seq)) count++;
  return count;
}
