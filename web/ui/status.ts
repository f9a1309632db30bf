/** Words for where somebody is. */

import { minute, presence } from "../state.ts";
import { seenAgo } from "../text.ts";

/** Returns the presence of somebody in words; empty where nothing is known. */
export function statusOf(user: string): string {
  const known = presence.value.get(user);
  if (!known) return "";
  if (known.status !== "offline") return known.status;
  void minute.value;
  return known.last_seen === undefined ? "offline" : `last seen ${seenAgo(known.last_seen)}`;
}
