/** Text of the view: messages, days, the prompt. Pure; everything from others is made harmless here. */

import stringWidth from "string-width";
import { isGroup, type Message } from "../../protocol.ts";
import type { Chats, MessageStatus } from "./model.ts";
import { sanitize } from "../sanitize.ts";
import type { Style } from "./style.ts";

/** Stands for a line break in the line being typed. */
export const BREAK_SIGN = "\u2424";
/** Stands for a tab in the line being typed. */
export const TAB_SIGN = "\u2409";
/** Lines and UTF-16 units that are shown of one message of others: it must not push everything else out of sight. */
const SHOWN_LINES_MAX = 24, SHOWN_CHARS_MAX = 4_000;
/** Stands before the further lines of a message. */
const INDENT = " ".repeat(6);
/** Columns of the narrowest text that is broken at its spaces. */
const WRAP_COLUMNS_MIN = 12;
/** Columns of the prompt at most: the rest of the line is for typing. */
const PROMPT_COLUMNS_MAX = 48;
/** Names of unread conversations in the prompt at most. */
const UNREAD_NAMED_MAX = 3;

const STATUS_WORDS: Record<MessageStatus, string> = {
  waiting: "waiting",
  sent: "sent",
  delivered: "delivered",
  read: "read",
  refused: "not sent",
};

/** The form in which a message is shown. */
export interface MessageForm {
  /** The conversation is named, as several are in view. */
  readonly label?: boolean;
  readonly status?: MessageStatus | undefined;
  /** Columns at which lines are broken; by default the terminal breaks them. */
  readonly columns?: number;
  /** Number under which `/show` has the whole of a message that is cut; undefined shows all of it. */
  readonly number?: number | undefined;
}

/** Returns a message for the view. */
export function messageText(message: Message, me: string, style: Style, form: MessageForm = {}): string {
  const { label = false, status, columns = Infinity, number } = form;
  const { sender, recipient, content } = message;
  const own = sender === me;
  const to = label && (own || isGroup(recipient)) ? style.dim(` to ${sanitize(recipient)}`) : "";
  const who = own ? style.bold("you") : style.name(sanitize(sender), sender);
  const text = sanitize(content, { multiline: true });
  const shown = number === undefined ? text : beginning(text);
  const head = stringWidth(
    `${clock(message.ts)} ${own ? "you" : sanitize(sender)}${to === "" ? "" : ` to ${sanitize(recipient)}`}: `,
  );
  const [first = "", ...rest] = shown.split("\n").flatMap((line, index) => {
    return wrapWords(line, columns - INDENT.length, index === 0 ? columns - head : undefined);
  });
  const lines = [`${style.dim(clock(message.ts))} ${who}${to}: ${first}`, ...rest.map((line) => `${INDENT}${line}`)];
  if (shown !== text) lines.push(style.dim(`${INDENT}(it goes on: /show ${number} has all)`));
  return lines.join("\n") + (status ? style.dim(`  (${STATUS_WORDS[status]})`) : "");
}

/** Returns whether a message is too long to be shown whole among others. */
export function isLong({ content }: Message): boolean {
  const text = sanitize(content, { multiline: true });
  return beginning(text) !== text;
}

/**
 * Breaks a line at its spaces into lines of at most `width` columns, the first of `first`; a longer word is broken anywhere. What
 * would leave less than a few columns is not broken: the terminal does better.
 */
export function wrapWords(line: string, width: number, first = width): string[] {
  if (width < WRAP_COLUMNS_MIN || stringWidth(line) <= first) return [line];
  const lines: string[] = [];
  let current = "", room = first;
  const end = () => {
    lines.push(current.trimEnd());
    [current, room] = ["", width];
  };
  for (const word of line.match(/\s+|\S+/g) ?? []) {
    if (stringWidth(current + word) <= room) {
      current += word;
      continue;
    }
    if (word.trim() === "") {
      end();
      continue;
    }
    if (current.trim() !== "") end();
    for (const { segment } of new Intl.Segmenter().segment(word)) {
      if (stringWidth(current + segment) > room) end();
      current += segment;
    }
  }
  return current.trim() === "" && lines.length > 0 ? lines : [...lines, current];
}

/** Returns the beginning of a text, where all of it would push everything else out of sight. */
export function beginning(text: string): string {
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
  const heads = Array.from({ length: UNREAD_NAMED_MAX + 1 }, (_, left) => {
    const names = unread.slice(0, UNREAD_NAMED_MAX - left).map(({ name }) => sanitize(name));
    const news = count === 0 ? [] : [names.length === 0 ? `${count} new` : `${count} new: ${names.join(" ")}`];
    const all = [...notes, ...news];
    return all.length > 0 ? `[${all.join(", ")}] ` : "";
  });
  const { current } = chats;
  const about = current === undefined ? undefined : aboutConversation(chats, current, phase, now);
  const tail = `${sanitize(current ?? "")}${about ? ` (${about})` : ""}`;
  return fitted(heads, tail, sanitize(current ?? "")) + "> ";
}

/** Joins the longest of `heads` and the tail that fit; of the names it is that of the person one writes to that stays. */
function fitted(heads: readonly string[], tail: string, name: string): string {
  const fits = (text: string) => stringWidth(text) <= PROMPT_COLUMNS_MAX;
  const shortest = heads.at(-1)!;
  return heads.map((head) => head + tail).find(fits) ?? [shortest + tail, shortest + name].find(fits) ??
    shortest + cut(name, PROMPT_COLUMNS_MAX - stringWidth(shortest));
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
  // Each of these characters has one column; a long paste has no time to be measured one by one.
  if (/^[ -~]*$/.test(text)) return Math.floor(text.length / columns) + 1;
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
