/**
 * Rules of searching: what is found, the same in every broker. Pure.
 *
 * A message is found where each word of the query is the beginning of one of its words, whatever case and accents; a single
 * letter is a word of its own. Scripts that are written without spaces have no words: there every character is one, and those
 * that stand together in the query stand together in the message.
 */

import type { BrokerRefusal } from "../broker.ts";

/** Words of a query that count: each is a walk through an index. */
const QUERY_WORDS_MAX = 8;
/** UTF-16 units of a word that count: longer ones are keys and links, which their beginning finds. */
const WORD_CHARS_MAX = 40;

/** Matches words, and characters that are words. */
const WORD_REGEXP =
  /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}\p{Extended_Pictographic}]|[[\p{L}\p{N}]--[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}]]+/gv;
/** Matches several characters together that are words each. */
const RUN_REGEXP =
  /[\p{sc=Han}\p{sc=Hira}\p{sc=Kana}\p{sc=Thai}\p{sc=Laoo}\p{sc=Khmr}\p{sc=Mymr}\p{Extended_Pictographic}]{2,}/gv;
// deno-lint-ignore no-control-regex
const ASCII_REGEXP = /^[\x00-\x7f]*$/;

/** A query, taken apart. */
export interface Sought {
  /** Words, folded; at least one. */
  readonly words: readonly string[];
  /** Characters that have to stand together. */
  readonly runs: readonly string[];
}

/** Takes a query apart. A refusal where it has no word. */
export function parseQuery(query: string): Sought | BrokerRefusal {
  const folded = fold(query);
  const words = [...new Set(wordsIn(folded))].slice(0, QUERY_WORDS_MAX);
  if (words.length === 0) return { code: "bad_frame", message: "The search has no word to look for" };
  return { words, runs: folded.match(RUN_REGEXP) ?? [] };
}

/** Returns the words of a message, each once, folded. */
export function wordsOf(content: string): string[] {
  return [...new Set(wordsIn(fold(content)))];
}

/** Returns whether a message is found. */
export function isFound(content: string, { words, runs }: Sought): boolean {
  const folded = fold(content), has = wordsIn(folded);
  const matches = (word: string) => word.length === 1 ? has.includes(word) : has.some((other) => other.startsWith(word));
  return words.every(matches) && runs.every((run) => folded.includes(run));
}

function wordsIn(folded: string): string[] {
  return (folded.match(WORD_REGEXP) ?? []).map((word) => word.slice(0, WORD_CHARS_MAX));
}

/** Returns text without case and accents. */
function fold(text: string): string {
  const lower = text.toLowerCase();
  return ASCII_REGEXP.test(lower) ? lower : lower.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
}
