/** Texts that were typed and not sent, by conversation. They are kept with every key, so that no way of leaving loses one. */

import { keep, kept, keptKeys } from "./place.ts";
import { drafted, me } from "./state.ts";

/** A text with the caret in it. */
export interface Draft {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

/** Finds the drafts of this user. */
export function findDrafts(): void {
  const start = key("");
  drafted.value = new Set(keptKeys(start).map((found) => found.slice(start.length)));
}

/** Returns the draft of a conversation. */
export function draftOf(conversation: string): Draft | undefined {
  return kept<Draft>(key(conversation));
}

/** Keeps a draft; an empty text is none. */
export function keepDraft(conversation: string, draft: Draft): void {
  if (draft.text === "") return clearDraft(conversation);
  keep(key(conversation), draft);
  if (!drafted.value.has(conversation)) drafted.value = new Set([...drafted.value, conversation]);
}

/** Forgets a draft. */
export function clearDraft(conversation: string): void {
  keep(key(conversation), undefined);
  if (drafted.value.has(conversation)) drafted.value = new Set([...drafted.value].filter((name) => name !== conversation));
}

function key(conversation: string): string {
  return `draft ${me.value} ${conversation}`;
}
