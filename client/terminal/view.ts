/** How things look: messages, days, the prompt. Pure; everything from others is made harmless here. */

import stringWidth from "string-width";
import { isGroup, type Message } from "../../protocol.ts";
import type { Chats, Mark } from "./model.ts";
import { sanitize } from "../sanitize.ts";
import type { Style } from "./style.ts";

/** Stands for a line break in the line being typed. */
export const BREAK_SIGN = "\u2424";
/** Lines and UTF-16 units of one message of others on the screen: it must not push all else out of sight. */
const SHOWN_LINES_MAX = 24, SHOWN_CHARS_MAX = 4_000;
/** Columns of the prompt at most: the rest of the line is for typing. */
const PROMPT_COLUMNS_MAX = 48;

const MARK_WORDS: Record<Mark, string> = {
  waiting: "waiting",
  sent: "sent",
  delivered: "delivered",
  read: "read",
  refused: "not sent",
};

/** A message in the view. `label` is said where all conversations are in view. */
export function messageText(message: Message, me: string, style: Style, label: boolean, mark?: Mark): string {
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
  return lines.join("\n") + (mark ? style.dim(`  (${MARK_WORDS[mark]})`) : "");
}

function beginning(text: string): string {
  const lines = text.slice(0, SHOWN_CHARS_MAX).split("\n", SHOWN_LINES_MAX).join("\n");
  return lines === text ? text : lines.toWellFormed();
}

/** A message beside the view: one line, cut at the width of the terminal. */
export function previewText(message: Message, style: Style, columns: number): string {
  const { sender, recipient, content } = message;
  const where = isGroup(recipient) ? `${sanitize(recipient)} ${sanitize(sender)}` : sanitize(sender);
  const head = `${clock(message.ts)} [${where}] `;
  return style.dim(head) + cut(sanitize(content), columns - stringWidth(head) - 1);
}

/** `text` in at most `columns` columns. */
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

/** Hours and minutes, here. */
export function clock(ts: string | undefined): string {
  const time = timeOf(ts);
  return [time.getHours(), time.getMinutes()].map((part) => String(part).padStart(2, "0")).join(":");
}

/** The line between two days; undefined where both are the same day, here. */
export function dayText(ts: string | undefined, previous: string | undefined, style: Style): string | undefined {
  const day = dayOf(ts);
  return day === previous ? undefined : style.dim(`--- ${day} ---`);
}

/** A day in words, here. */
export function dayOf(ts: string | undefined): string {
  const time = timeOf(ts);
  const words = time.toLocaleDateString("en-GB", { weekday: "long", day: "numeric", month: "long", year: "numeric" });
  return words.replaceAll(",", ""); // some releases have one
}

/** Now, where no time is said, or what is none. */
function timeOf(ts: string | undefined): Date {
  const time = new Date(ts ?? Date.now());
  return Number.isNaN(time.getTime()) ? new Date() : time;
}

/** The prompt: what is wrong, what is unread, and to whom one writes. */
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
  const mark = chats.lastMark(name);
  if (mark) return MARK_WORDS[mark];
  const status = isOnline ? chats.presence.get(name)?.status : undefined;
  return status === "away" || status === "offline" ? status : undefined;
}

/** Rows that `text` takes on a terminal of `columns` columns when it is followed by a cursor. */
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

/** What rings: nothing for most, a bell and the desktop's own notification for what matters. Safe for any terminal. */
export function ringText(title: string, body: string): string {
  const text = (part: string) => sanitize(part).replaceAll(";", ",");
  const [head, tail] = [cut(text(title), 60), cut(text(body), 120)];
  return `\x07\x1b]9;${head}: ${tail}\x07\x1b]777;notify;${head};${tail}\x07`;
}
