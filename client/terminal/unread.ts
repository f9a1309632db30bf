/** Unread messages of ignored people in groups, which the server counts too. */

import type { ChatClient } from "../../chat_client.ts";
import { isGroup, type ServerFrameOf } from "../../protocol.ts";

/** Groups that are looked at, and pages of each: a start must not take long. */
const GROUPS_MAX = 10, PAGES_MAX = 4;
/** Messages of a page. */
const PAGE = 500;

type Client = Pick<ChatClient, "history">;
type Row = ServerFrameOf<"conversations">["conversations"][number];

/** Returns by group how many of its unread messages are of `ignored` people. Rejects with a `ChatError`. */
export async function ignoredUnread(
  client: Client,
  rows: readonly Row[],
  ignored: ReadonlySet<string>,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  if (ignored.size === 0) return counts;
  const groups = rows.filter((row) => isGroup(row.with) && row.unread > 0).slice(0, GROUPS_MAX);
  for (const row of groups) counts.set(row.with, await countIn(client, row, ignored));
  return counts;
}

/** Counts up to the newest message of the row: what comes later is counted as it comes. */
async function countIn(client: Client, row: Row, ignored: ReadonlySet<string>): Promise<number> {
  let count = 0;
  let after = row.read;
  for (let page = 0; page < PAGES_MAX; page++) {
    const { messages, more } = await client.history({ with: row.with, after, limit: PAGE });
    count += messages.filter(({ sender, seq = 0 }) => ignored.has(sender) && seq <= row.seq).length;
    after = messages.at(-1)?.seq ?? after;
    if (!more || after >= row.seq) return count;
  }
  return count;
}
