/** Loaded parts of conversations: pure functions over them, and the ones of this tab. */

import { isIgnored, type Log, log, me } from "./state.ts";
import type { Stored } from "./tabs/words.ts";

/** Messages that stay loaded of a conversation that is left. */
const LEFT_MESSAGES = 200;

const logs = new Map<string, Log>();
/** Messages that came while the newest page was on its way, by conversation: the server may have looked before they were there. */
const early = new Map<string, Stored[]>();

/** Returns the loaded part of a conversation; empty where nothing is loaded. */
export function logOf(conversation: string): Log {
  return logs.get(conversation) ??
    { with: conversation, messages: [], hasMore: true, isLoaded: false, isLoading: false };
}

/** Changes the loaded part of a conversation, and what is shown of it. */
export function setLog(conversation: string, change: Partial<Log>): void {
  const changed = { ...logOf(conversation), ...change };
  logs.set(conversation, changed);
  if (log.value?.with === conversation) log.value = changed;
}

/** Shows a conversation; leaves the one before with its newest messages. */
export function showLog(conversation: string | undefined): void {
  const before = log.value;
  if (before && before.with !== conversation) leave(before);
  log.value = conversation === undefined ? undefined : logOf(conversation);
}

function leave({ with: other, messages, hasMore }: Log): void {
  const isCut = messages.length > LEFT_MESSAGES;
  setLog(other, { messages: messages.slice(-LEFT_MESSAGES), hasMore: hasMore || isCut, newAfter: undefined });
}

/** Marks all as not loaded: there may be holes now. */
export function doubtLogs(): void {
  for (const conversation of logs.keys()) setLog(conversation, { isLoaded: false, isLoading: false });
}

/** Empties all: what is loaded is not in the server's log. */
export function emptyLogs(): void {
  early.clear();
  for (const conversation of logs.keys()) {
    setLog(conversation, { messages: [], hasMore: true, isLoaded: false, isLoading: false, newAfter: undefined });
  }
}

/** Forgets everything that is loaded. */
export function clearLogs(): void {
  logs.clear();
  early.clear();
  log.value = undefined;
}

/** Says that the newest page of a conversation was asked for. */
export function beginNewest(conversation: string): void {
  early.set(conversation, []);
  setLog(conversation, { isLoading: true });
}

/** Adds a message that came, or that was sent, in its place; where nothing is loaded, once the newest page is. */
export function addToLog(conversation: string, message: Stored): void {
  const { messages, isLoaded } = logOf(conversation);
  // A part that is not loaded yet begins with the newest page: a message alone would look like all there is.
  if (isLoaded || messages.length > 0) setLog(conversation, { messages: merge(messages, [message]) });
  early.get(conversation)?.push(message);
}

/**
 * Adds the newest page. Where it meets what is loaded, both are one; else there is a hole between, or what is loaded is gone from
 * the server, and only what came after the page stays. What came while the page was on its way follows it in any case.
 */
export function addNewest(conversation: string, page: readonly Stored[], more: boolean): void {
  const { messages, hasMore } = logOf(conversation);
  const first = page[0]?.seq ?? Infinity, last = page.at(-1)?.seq ?? Infinity;
  const meets = more && messages.some(({ seq }) => seq === first);
  const isLonger = meets && messages[0]!.seq < first;
  const stays = meets ? messages : messages.filter(({ seq }) => seq > last);
  const came = early.get(conversation) ?? [];
  early.delete(conversation);
  setLog(conversation, {
    messages: merge(merge(stays, came), page),
    hasMore: isLonger ? hasMore : more,
    isLoaded: true,
    isLoading: false,
    error: undefined,
  });
}

/** Adds a page of older messages. */
export function addOlder(conversation: string, page: readonly Stored[], more: boolean): void {
  setLog(conversation, {
    messages: merge(logOf(conversation).messages, page),
    hasMore: more,
    isLoading: false,
    error: undefined,
  });
}

/** Merges two parts of a conversation by position. */
export function merge(loaded: readonly Stored[], more: readonly Stored[]): readonly Stored[] {
  if (more.length === 0) return loaded;
  if (loaded.length === 0 || loaded.at(-1)!.seq < more[0]!.seq) return [...loaded, ...more];
  if (more.at(-1)!.seq < loaded[0]!.seq) return [...more, ...loaded];
  const bySeq = new Map(loaded.map((message) => [message.seq, message]));
  for (const message of more) bySeq.set(message.seq, message);
  return [...bySeq.values()].sort((a, b) => a.seq - b.seq);
}

/** Counts what others wrote after `seq`; undefined where that is not all loaded. */
export function unreadAfter(conversation: string, seq: number): number | undefined {
  const { messages, hasMore } = logOf(conversation);
  if (messages.length === 0 || hasMore && messages[0]!.seq > seq) return undefined;
  return messages.filter((message) => message.seq > seq && message.sender !== me.value && !isIgnored(message.sender)).length;
}
