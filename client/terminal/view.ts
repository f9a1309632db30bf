/** Text of the view: messages, days, the prompt. Pure; everything from others is made harmless here. */

import stringWidth from "string-width";
import { isGroup, type Message } from "../../protocol.ts";
import type { Chats, MessageStatus } from "./model.ts";
import { sanitize } from "../sanitize.ts";
import type { Style } from "./style.ts";

/** Stands for a line break in the line being typed. */
export const BREAK_SIGN = "\u2424";
/** Lines and UTF-16 units that are shown of one message of others: it must not push everything else out of sight. */
const SHOWN_LINES_MAX = 24, SHOWN_CHARS_MAX = 4_000;
/** Columns of the prompt at most: the rest of the line is for typing. */
const PROMPT_COLUMNS_MAX = 48;

const STATUS_WORDS: Record<MessageStatus, string> = {
  waiting: "waiting",
  sent: "sent",
  delivered: "delivered",
  read: "read",
  refused: "not sent",
};

/** Returns a message for the view. `label`: the conversation is named, as several are in view. */
export function messageText(message: Message, me: string, style: Style, label: boolean, status?: MessageStatus): string {
  const { sender, recipient, content } = message;
  const own = sender === me;
  const to = label && (own || isGroup(recipient)) ? style.dim(` to ${sanitize(recipient)}`) : "";
  const who = own ? style.bold("you") : style.name(sanitize(sender), sender);
  const text = sanitize(content, { multiline: true });
  const shown = own ? text : beginning(text);
  const [first = "", ...rest] = shown.split("\n");
  const lines = [`${style.dim(clock(message.ts))} ${who}${to}: ${first}`, ...rest.map((line) => `      ${line}`)];
  if (shown !== text) {
    lines.push(
      style.dim(`      (it goes on: "chat-client history ${sanitize(isGroup(recipient) ? recipient : sender)}" has all)`),
    );
  }
  return lines.join("\n") + (status ? style.dim(`  (${STATUS_WORDS[status]})`) : "");
}

function beginning(text: string): string {
  const lines = text.slice(0, SHOWN_CHARS_MAX).split("\n", SHOWN_LINES_MAX).join("\n");
  return lines === text ? text : lines.toWellFormed();
}

/** Returns a message of another conversation as one line, cut at the width of the terminal. */
export function previewText(message: Message, style: Style, columns: number): string {
  const { sender, recipient, content } = message;
  const where = isGroup(recipient) ? `${sanitize(recipient)} ${sanitize(sender)}` : sanitize(sender);
  const head = `${clock(message.ts)} [${where}] `;
  return style.dim(head) + cut(sanitize(content), columns - stringWidth(head) - 1);
}

/** Cuts `text` to at most `columns` columns, with an ellipsis. */
export function cut(text: string, columns: number): string {
  if (stringWidth(text) <= columns) return text;
  let out = "";
  let width = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    width += stringWidth(segment);
    if (width > columns - 1) break;
    out += segment;
  }
  return columns < 1 ? "" : `${out}…`;
}

/** Returns hours and minutes in the local time zone. */
export function clock(ts: string | undefined): string {
  const time = timeOf(ts);
  return [time.getHours(), time.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** Returns the line between two days; undefined where `ts` is on the day `previous`. */
export function dayText(ts: string | undefined, previous: string | undefined, style: Style): string | undefined {
  const day = dayOf(ts);
  return day === previous ? undefined : style.dim(`--- ${day} ---`);
}

/** Returns the day in words, in the local time zone. */
export function dayOf(ts: string | undefined): string {
  const time = timeOf(ts);
  const words = time.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  return words.replaceAll(",", ""); // some releases have one
}

/** Parses a time; now where there is none that can be parsed. */
function timeOf(ts: string | undefined): Date {
  const time = new Date(ts ?? Date.now());
  return Number.isNaN(time.getTime()) ? new Date() : time;
}

/** Returns the prompt: problems, unread messages, and the conversation in view. */
export function promptText(chats: Chats, phase: string, now: number): string {
  const notes: string[] = [];
  if (phase === "connecting") notes.push("connecting");
  else if (phase !== "online") notes.push("offline");
  if (chats.away) notes.push("away");
  const unread = chats.unread();
  const count = unread.reduce((sum, conversation) => sum + conversation.unread, 0);
  if (count > 0) notes.push(`${count} new: ${unread.slice(0, 3).map(({ name }) => sanitize(name)).join(" ")}`);
  const head = notes.length > 0 ? `[${notes.join(", ")}] ` : "";
  const { current } = chats;
  if (current === undefined) return `${cut(head, PROMPT_COLUMNS_MAX)}> `;
  const about = aboutConversation(chats, current, phase, now);
  return cut(`${head}${sanitize(current)}${about ? ` (${about})` : ""}`, PROMPT_COLUMNS_MAX) + "> ";
}

function aboutConversation(chats: Chats, name: string, phase: string, now: number): string | undefined {
  const isOnline = phase === "online";
  const typist = isOnline ? chats.typist(name, now) : undefined;
  if (typist !== undefined) return isGroup(name) ? `${sanitize(typist)} types` : "types";
  const sent = chats.lastStatus(name);
  if (sent) return STATUS_WORDS[sent];
  const status = isOnline ? chats.presence.get(name)?.status : undefined;
  return status === "away" || status === "offline" ? status : undefined;
}

/** Counts the rows that `text` and a cursor after it take on a terminal of `columns` columns. */
export function rowsOf(text: string, columns: number): number {
  let row = 0;
  let column = 0;
  for (const { segment } of new Intl.Segmenter().segment(text)) {
    const width = stringWidth(segment);
    if (column + width > columns) {
      row++;
      column = 0;
    }
    column += width;
    if (column === columns) {
      row++;
      column = 0;
    }
  }
  return row + 1;
}

/** Returns a bell and the sequences for a desktop notification (OSC 9 and 777), safe for any terminal. */
export function ringText(title: string, body: string): string {
  const text = (part: string) => sanitize(part).replaceAll(";", ",");
  const [head, tail] = [cut(text(title), 60), cut(text(body), 120)];
  return `\x07\x1b]9;${head}: ${tail}\x07\x1b]777;notify;${head};${tail}\x07`;
}
