/** Rows of a conversation as values: what stands in the log, from what is loaded. */

import type { Connection, Marks, Stored, Waiting } from "../tabs/words.ts";
import { dayKey } from "../text.ts";
import type { Mark, RowProps } from "./row.tsx";

/** Milliseconds after which a message of the same person begins anew. */
const PAUSE_MS = 300_000;

/** A line between messages, or a message. */
export type Line =
  | { readonly line: "day"; readonly key: string; readonly ts: string }
  | { readonly line: "new"; readonly key: string }
  | ({ readonly line: "message" } & RowProps);

/** A message that was searched for: its position, or the id of one that waits. */
export type Found = number | string;

/** Everything that rows are made of. */
export interface RowsFrom {
  readonly me: string;
  readonly isGroup: boolean;
  readonly messages: readonly Stored[];
  readonly waiting: readonly Waiting[];
  readonly marks: Marks | undefined;
  readonly newAfter: number | undefined;
  readonly connection: Connection["phase"];
  readonly found: Found | undefined;
  readonly isIgnored: (user: string) => boolean;
}

/** Returns the lines of a part of a conversation. */
export function linesOf(from: RowsFrom): Line[] {
  const { me, messages, newAfter, isIgnored } = from;
  const lines: Line[] = [];
  const others = Object.entries(from.marks ?? {}).filter(([user]) => user !== me);
  let before: Stored | undefined, day = "", isMarked = newAfter === undefined;
  for (const message of messages) {
    if (isIgnored(message.sender)) continue;
    const today = dayKey(message.ts);
    if (today !== day) lines.push({ line: "day", key: `day ${today}`, ts: message.ts });
    const isNew = !isMarked && message.seq > newAfter! && message.sender !== me;
    if (isNew) {
      lines.push({ line: "new", key: "new" });
      isMarked = true;
    }
    const isFirst = today !== day || isNew || isApart(before, message.sender, Date.parse(message.ts));
    lines.push({ line: "message", ...rowOf(message, isFirst, from, others) });
    before = message;
    day = today;
  }
  for (const waiting of from.waiting) {
    lines.push({ line: "message", ...waitingRow(waiting, isApart(before, me, waiting.at), from) });
    before = { sender: me, recipient: waiting.recipient, content: "", seq: 0, ts: new Date(waiting.at).toISOString() };
  }
  return lines;
}

function isApart(before: Stored | undefined, sender: string, at: number): boolean {
  return before?.sender !== sender || at - Date.parse(before.ts) > PAUSE_MS;
}

function rowOf(message: Stored, isFirst: boolean, from: RowsFrom, others: readonly [string, Marks[string]][]): RowProps {
  const { sender, content, seq, ts, id } = message;
  const isMine = sender === from.me;
  const readers = isMine && from.isGroup ? others.filter(([, { read }]) => read >= seq).map(([user]) => user) : [];
  return {
    id: isMine && id !== undefined ? id : String(seq),
    seq,
    sender,
    content,
    ts,
    isMine,
    isFirst,
    hasName: from.isGroup && !isMine,
    mark: isMine ? markOf(seq, others) : undefined,
    readBy: readers.join(", "),
    isFound: from.found === seq,
    why: undefined,
  };
}

/** Returns how far a message has come; in groups, as far as it has come with anybody. */
function markOf(seq: number, others: readonly [string, Marks[string]][]): Mark {
  if (others.some(([, { read }]) => read >= seq)) return "read";
  return others.some(([, { delivered }]) => delivered >= seq) ? "delivered" : "sent";
}

function waitingRow({ id, content, at, why, isRefused }: Waiting, isFirst: boolean, from: RowsFrom): RowProps {
  const reason = why === undefined ? undefined : isRefused ? `${why}.` : `${why}. It is sent again by itself.`;
  return {
    id,
    seq: undefined,
    sender: "",
    content,
    ts: at,
    isMine: true,
    isFirst,
    hasName: false,
    mark: isRefused ? "refused" : "waiting",
    readBy: "",
    isFound: from.found === id,
    why: reason ?? (from.connection === "online" ? undefined : "Waits for a connection."),
  };
}
