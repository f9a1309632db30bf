/** "Did you mean …?" for a word that was mistyped. Pure. */

import { closestString } from "@std/text/closest-string";
import { levenshteinDistance } from "@std/text/levenshtein-distance";

/** Slips in a word at most: with more, a suggestion is a guess. */
const SLIPS_MAX = 3;

/** Returns the one of `words` that `typed` begins, or else was likely meant to be; undefined where none is near. */
export function nearest(typed: string, words: readonly string[]): string | undefined {
  if (typed === "" || words.length === 0) return undefined;
  const longer = words.find((word) => word.startsWith(typed));
  if (longer !== undefined) return longer;
  const near = closestString(typed, words, { caseSensitive: true, compareFn: countSlips });
  return countSlips(typed, near) <= Math.min(SLIPS_MAX, Math.floor(typed.length / 2)) ? near : undefined;
}

/** Counts letters that are missing, wrong or too many; the same letters in another order are one slip. */
function countSlips(a: string, b: string): number {
  return sorted(a) === sorted(b) ? 1 : levenshteinDistance(a, b);
}

function sorted(word: string): string {
  return [...word].sort().join("");
}
