/** Texts of others and times, as they are shown. */

import { LinkifyIt } from "linkify-it";

/** Combining marks on one character that are shown: no language needs more, and thousands of them hide what is around. */
const MARKS_REGEXP = /(\p{M}{8})\p{M}+/gu;
/** Characters that turn the direction of a text, and so can show a link as another. */
const DIRECTIONS_REGEXP = /[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g;
/** Schemes that a link may have. */
const LINK_REGEXP = /^(?:https?|mailto):/i;

/** A part of a text. */
export type Part = string | { readonly link: string; readonly text: string };

const linkify = new LinkifyIt({ fuzzyLink: false, fuzzyEmail: false, fuzzyIP: false }).add("ftp:", null).add("//", null);

/** Splits a text into links and what is between them. */
export function partsOf(content: string): Part[] {
  const text = content.replace(MARKS_REGEXP, "$1");
  const parts: Part[] = [];
  let end = 0;
  for (const { index, lastIndex, url } of linkify.match(text) ?? []) {
    if (!LINK_REGEXP.test(url) || !URL.canParse(url)) continue;
    if (index > end) parts.push(text.slice(end, index));
    parts.push({ link: url, text: text.slice(index, lastIndex).replace(DIRECTIONS_REGEXP, "") });
    end = lastIndex;
  }
  if (end < text.length) parts.push(text.slice(end));
  return parts;
}

/** Returns a text on one line, as the list and notifications show it: nothing in it turns the direction, and no character is cut. */
export function oneLine(content: string, chars = 120): string {
  const line = content.slice(0, chars * 2).replace(DIRECTIONS_REGEXP, "").replace(MARKS_REGEXP, "$1").replace(/\s+/g, " ");
  return line.slice(0, chars).replace(/[\ud800-\udbff]$/, "");
}

/** The page speaks English; times are written as the browser's owner is used to. */
const LANGUAGE = navigator.language.startsWith("en") ? navigator.language : "en-GB";
const TIME = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const WEEKDAY = new Intl.DateTimeFormat(LANGUAGE, { weekday: "short" });
const DAY = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "short" });
const LONG_DAY = new Intl.DateTimeFormat(LANGUAGE, { weekday: "long", day: "numeric", month: "long" });
const YEAR_DAY = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "long", year: "numeric" });
const FULL = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "full", timeStyle: "medium" });
const RELATIVE = new Intl.RelativeTimeFormat(LANGUAGE, { numeric: "auto" });

/** Returns the time of day. */
export function timeOf(ts: string | number): string {
  return TIME.format(new Date(ts));
}

/** Returns day and time. */
export function fullTimeOf(ts: string | number): string {
  return FULL.format(new Date(ts));
}

/** Returns days since today, by the calendar: 0 for today, 1 for yesterday. */
function daysAgo(ts: string | number): number {
  const midnight = (date: Date) => Date.UTC(date.getFullYear(), date.getMonth(), date.getDate());
  return (midnight(new Date()) - midnight(new Date(ts))) / 86_400_000;
}

/** Returns the day of a message in words. */
export function dayOf(ts: string | number): string {
  const days = daysAgo(ts);
  if (days === 0 || days === 1) return capital(RELATIVE.format(-days, "day"));
  return (days > 0 && days < 300 ? LONG_DAY : YEAR_DAY).format(new Date(ts));
}

/** Returns the time of a conversation's newest message, as short as the list needs it. */
export function shortTimeOf(ts: string): string {
  const days = daysAgo(ts);
  if (days === 0) return timeOf(ts);
  return (days > 0 && days < 7 ? WEEKDAY : DAY).format(new Date(ts));
}

/** Returns how long ago somebody was seen. */
export function seenAgo(ts: string): string {
  const minutes = Math.floor((Date.now() - Date.parse(ts)) / 60_000);
  if (minutes < 1) return "just now";
  if (minutes < 60) return RELATIVE.format(-minutes, "minute");
  if (minutes < 60 * 24 && daysAgo(ts) === 0) return RELATIVE.format(-Math.floor(minutes / 60), "hour");
  const days = daysAgo(ts);
  return days < 30 ? `${RELATIVE.format(-days, "day")}, ${timeOf(ts)}` : YEAR_DAY.format(new Date(ts));
}

/** Returns a key of the day: messages of one day have the same. */
export function dayKey(ts: string): string {
  const date = new Date(ts);
  return `${date.getFullYear()}-${date.getMonth()}-${date.getDate()}`;
}

/** Returns one of 8 hues for a name. */
export function hueOf(name: string): number {
  let hash = 0x811c9dc5;
  for (const c of name) hash = Math.imul(hash ^ c.codePointAt(0)!, 0x01000193);
  return (hash >>> 12) % 8;
}

function capital(text: string): string {
  return text.charAt(0).toLocaleUpperCase() + text.slice(1);
}
