/** Walks along the positions of one thread, which are ascending: counts and authors. */

import { AUTHORS_LOOKED_MAX, MARK_AUTHORS_MAX, UNREAD_MAX } from "../limits.ts";
import type { MessageLog } from "./message_log.ts";
import type { Thread } from "./state.ts";

/** Returns the index of the first position after `seq`. Mostly one of the newest is asked for: steps back from there double. */
export function firstAfter(seqs: readonly number[], seq: number): number {
  let high = seqs.length, step = 1;
  while (high - step >= 0 && seqs[high - step]! > seq) {
    high -= step;
    step *= 2;
  }
  let low = Math.max(0, high - step);
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (seqs[middle]! > seq) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** Counts messages of others than `name` after `after` and up to `upTo`. */
export function countOthers(log: MessageLog, seqs: readonly number[], name: string, after: number, upTo: number): number {
  let count = 0;
  for (let i = firstAfter(seqs, after); i < seqs.length && seqs[i]! <= upTo; i++) {
    if (log.sender(seqs[i]!) !== name) count++;
  }
  return count;
}

/** Counts messages of others than `name` after `after` among the newest {@linkcode UNREAD_MAX}. */
export function countOthersOfNewest(log: MessageLog, seqs: readonly number[], name: string, after: number): number {
  let count = 0;
  for (let i = seqs.length - 1; i >= 0 && seqs[i]! > after && i >= seqs.length - UNREAD_MAX; i--) {
    if (log.sender(seqs[i]!) !== name) count++;
  }
  return count;
}

/**
 * Lists authors other than `name` of messages after `after` and up to `upTo`, the most recent first, up to
 * {@linkcode MARK_AUTHORS_MAX} among {@linkcode AUTHORS_LOOKED_MAX} messages, who are in the conversation still.
 */
export function authorsBetween(log: MessageLog, thread: Thread, name: string, after: number, upTo: number): string[] {
  const { seqs, members } = thread, authors = new Set<string>();
  const end = firstAfter(seqs, upTo), start = Math.max(0, end - AUTHORS_LOOKED_MAX);
  for (let i = end - 1; i >= start && seqs[i]! > after && authors.size < MARK_AUTHORS_MAX; i--) {
    const sender = log.sender(seqs[i]!)!;
    if (sender !== name && members.has(sender)) authors.add(sender);
  }
  return [...authors];
}

/** Returns the position of the first message by `name` among the newest {@linkcode AUTHORS_LOOKED_MAX}, or `Infinity`. */
export function firstBy(log: MessageLog, seqs: readonly number[], name: string): number {
  for (let i = Math.max(0, seqs.length - AUTHORS_LOOKED_MAX); i < seqs.length; i++) {
    if (log.sender(seqs[i]!) === name) return seqs[i]!;
  }
  return Infinity;
}
