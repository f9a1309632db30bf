/** Search in memory: messages are looked at, the newest first, as many as one call may. */

import type { BrokerRefusal, Found, SearchQuery, Stored } from "../../broker.ts";
import { isFound, parseQuery } from "../search_rules.ts";
import { firstAfter } from "./counting.ts";
import type { MessageLog } from "./message_log.ts";
import type { Thread } from "./state.ts";

/** Messages that one search looks at: some ten milliseconds, in which nobody else is served. */
const LOOKED_AT_MAX = 5_000;
/** Characters of what is found: what one answer has at most. */
const FOUND_CHARS_MAX = 262_144;

/** Searches threads of a user as `Search.search` of broker.ts says. */
export function searchThreads(
  log: MessageLog,
  threads: readonly Thread[],
  name: string,
  { query, before = Infinity, limit }: SearchQuery,
): Found | BrokerRefusal {
  const sought = parseQuery(query);
  if ("code" in sought) return sought;
  const seqs = newest(threads, name, before);
  const messages: Stored[] = [];
  let chars = 0;
  for (const [index, seq] of seqs.entries()) {
    if (index === LOOKED_AT_MAX || messages.length === limit || chars > FOUND_CHARS_MAX) {
      return { messages: messages.reverse(), before: seqs[index - 1]!, indexed: log.head };
    }
    const message = log.get(seq)!;
    if (!isFound(message.content, sought)) continue;
    messages.push(message);
    chars += message.content.length;
  }
  return { messages: messages.reverse(), before: undefined, indexed: log.head };
}

/** Returns the newest positions below `before` that the user may see, newest first, one more than are looked at. */
function newest(threads: readonly Thread[], name: string, before: number): number[] {
  const found: number[] = [];
  for (const { seqs, members } of threads) {
    const low = firstAfter(seqs, members.get(name) ?? Infinity);
    const high = before === Infinity ? seqs.length : firstAfter(seqs, before - 1);
    for (const seq of seqs.slice(Math.max(low, high - LOOKED_AT_MAX - 1), Math.max(low, high))) found.push(seq);
  }
  return found.sort((a, b) => b - a).slice(0, LOOKED_AT_MAX + 1);
}
