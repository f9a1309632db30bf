/** Pages of history and of conversations, as answers carry them: cut to what one answer may have. */

import type { Broker, BrokerRefusal } from "../broker.ts";
import type { ClientFrameOf, Message, ServerFrameOf } from "../protocol.ts";
import { toMessage } from "./encoding.ts";

/** Messages in a page of history for those who do not say. */
export const HISTORY_LIMIT = 50;
/** UTF-16 units of one answer on the wire: a page is cut here. */
const ANSWER_CHARS_MAX = 262_144;
/** The part of a connection's queue that an answer takes at most, in units of up to three bytes each. */
const ANSWER_PARTS = 4;
/** UTF-16 units that a message of an answer has beside its content. */
const MESSAGE_CHARS = 256;

/** Needs of pages, which the hub meets. */
export interface PageHost {
  readonly broker: Broker;
  /** Bytes that may be queued to one connection. */
  readonly queueBytes: number;
}

/** Reads a page of the conversation of `user` with somebody, or returns why not. */
export async function historyPage(
  host: PageHost,
  user: string,
  query: Pick<ClientFrameOf<"history">, "with" | "before" | "after" | "limit">,
): Promise<Pick<ServerFrameOf<"history">, "with" | "messages" | "more"> | BrokerRefusal> {
  const { with: other, before, after, limit = HISTORY_LIMIT } = query;
  const page = await host.broker.history(user, { with: other, before, after, limit });
  if ("code" in page) return page;
  const messages = page.messages.map(toMessage);
  const forward = after !== undefined && before === undefined;
  const kept = cut(host, forward ? messages : messages.toReversed(), messageChars);
  return {
    with: other,
    messages: forward ? kept : kept.reverse(),
    more: page.more || kept.length < messages.length,
  };
}

/** Reads a page of the conversations of `user`, the most recent first. */
export async function conversationPage(
  host: PageHost,
  user: string,
  query: Pick<ClientFrameOf<"conversations">, "before" | "with" | "limit">,
): Promise<Pick<ServerFrameOf<"conversations">, "conversations" | "more">> {
  const before = query.before === undefined ? undefined : { seq: query.before, with: query.with };
  const answer = await host.broker.conversations(user, query.limit ?? HISTORY_LIMIT, before);
  const rows = answer.conversations.map(({ with: other, last, read, unread }) => {
    const row = { with: other, seq: last?.seq ?? 0, read, unread };
    return last ? { ...row, last: toMessage(last) } : row;
  });
  const kept = cut(host, rows, (row) => "last" in row ? messageChars(row.last) : MESSAGE_CHARS);
  return { conversations: kept, more: answer.more || kept.length < rows.length };
}

/** Counts the UTF-16 units that a message takes in an answer; a control character takes six. */
export function messageChars({ content }: Message): number {
  return MESSAGE_CHARS + JSON.stringify(content).length;
}

/** Cuts entries to as many of the first as fit into one answer, at least one. */
export function cut<T>(host: PageHost, entries: readonly T[], chars: (entry: T) => number): T[] {
  const most = Math.min(ANSWER_CHARS_MAX, host.queueBytes / ANSWER_PARTS);
  let total = 0;
  const end = entries.findIndex((entry, index) => (total += chars(entry)) > most && index > 0);
  return end < 0 ? [...entries] : entries.slice(0, end);
}
