/** State of the page as signals. `told.ts` changes it when the server says something, `actions.ts` when a person does. */

import { batch, computed, type ReadonlySignal, type Signal, signal } from "@preact/signals";
import { isGroup, type Limits, type ServerFrameOf } from "../protocol.ts";
import { type Account, WANTS_TOKEN } from "./account.ts";
import { keep, kept } from "./place.ts";
import type { Connection, Marks, Stored, Waiting } from "./tabs/words.ts";

export { batch, isGroup, WANTS_TOKEN };

/** A conversation in the list. */
export interface Conversation {
  readonly with: string;
  /** Position of its newest message; 0 where there is none. */
  readonly seq: number;
  /** Position up to which this user has read it. */
  readonly read: number;
  readonly unread: number;
  readonly last?: Stored | undefined;
}

/** Loaded part of a conversation: contiguous, oldest first. */
export interface Log {
  readonly with: string;
  readonly messages: readonly Stored[];
  /** There are older ones. */
  readonly hasMore: boolean;
  /** The newest page has come from the server since the connection was made. */
  readonly isLoaded: boolean;
  readonly isLoading: boolean;
  readonly error?: string | undefined;
  /** Position after which messages were new when the conversation was opened. */
  readonly newAfter?: number | undefined;
}

/** A group, as the server lists it. */
export interface Group {
  readonly group: string;
  readonly members: number;
  readonly open: boolean;
}

/** Choices of the person, for this browser. */
export interface Settings {
  /** Others are told what was read. */
  readonly receipts: boolean;
  /** The Enter key: sends, begins a line, or does what the device suggests. */
  readonly enter: "auto" | "send" | "line";
  readonly notify: boolean;
  readonly theme: "auto" | "light" | "dark";
  /** Names whose messages are not shown. */
  readonly ignored: readonly string[];
}

const DEFAULTS: Settings = { receipts: true, enter: "auto", notify: false, theme: "auto", ignored: [] };

/** Undefined before somebody says who they are. */
export const account: Signal<Account | undefined> = signal(undefined);
/** Account of a link that was followed, for somebody else than who is signed in. */
export const offered: Signal<Account | undefined> = signal(undefined);
/** Connection of this browser. */
export const connection: Signal<Connection> = signal<Connection>({ phase: "connecting" });
/** Limits of the server, from its last welcome. */
export const limits: Signal<Limits | undefined> = signal(undefined);
/** Conversations by name. */
export const conversations: Signal<ReadonlyMap<string, Conversation>> = signal<ReadonlyMap<string, Conversation>>(new Map());
/** Own messages that the server has not kept yet. */
export const waiting: Signal<readonly Waiting[]> = signal<readonly Waiting[]>([]);
/** Presence of those who are watched. */
export const presence: Signal<ReadonlyMap<string, ServerFrameOf<"presence">>> = signal<
  ReadonlyMap<string, ServerFrameOf<"presence">>
>(new Map());
/** Markers by conversation. */
export const marks: Signal<Readonly<Record<string, Marks>>> = signal<Readonly<Record<string, Marks>>>({});
/** Those who type, by conversation. */
export const typists: Signal<ReadonlyMap<string, readonly string[]>> = signal<ReadonlyMap<string, readonly string[]>>(
  new Map(),
);
/** Conversation that is open. */
export const current: Signal<string | undefined> = signal(undefined);
/** Loaded part of the open conversation. */
export const log: Signal<Log | undefined> = signal(undefined);
/** Grows with each change of the open group's members. */
export const groupChanges: Signal<number> = signal(0);
/** Conversations that have a draft. */
export const drafted: Signal<ReadonlySet<string>> = signal<ReadonlySet<string>>(new Set());
/** True where the status was set to away. */
export const isAway: Signal<boolean> = signal(false);
/** True where the server has another version of this page. */
export const isOutdated: Signal<boolean> = signal(false);
/** A sentence for a moment. */
export const notice: Signal<string> = signal("");
/** A sentence for a screen reader. */
export const announcement: Signal<string> = signal("");
/** True where this window has the focus and is visible: somebody looks at it. */
export const isSeen: Signal<boolean> = signal(isInFront());
/** Choices of the person. */
export const settings: Signal<Settings> = signal(loadSettings());
/** Minute of the clock, for words such as "today". */
export const minute: Signal<number> = signal(Math.floor(Date.now() / 60_000));

/** Name of the user; empty before there is one. */
export const me: ReadonlySignal<string> = computed(() => account.value?.user ?? "");

/** Conversations in the order of the list: newest first. */
export const listed: ReadonlySignal<readonly Conversation[]> = computed(() => {
  const all = new Map(conversations.value);
  const begun = [...drafted.value, ...waiting.value.map(({ recipient }) => recipient), current.value];
  for (const other of begun) {
    if (other !== undefined && !all.has(other)) all.set(other, { with: other, seq: 0, read: 0, unread: 0 });
  }
  return [...all.values()].sort((a, b) => b.seq - a.seq || (a.with < b.with ? -1 : 1));
});

/** Unread messages in all conversations, without those of ignored people. */
export const unreadTotal: ReadonlySignal<number> = computed(() => {
  let total = 0;
  for (const { with: other, unread } of conversations.value.values()) if (!isIgnored(other)) total += unread;
  return total;
});

/** Returns whether the messages of `user` are not shown. */
export function isIgnored(user: string): boolean {
  return settings.value.ignored.includes(user);
}

/** Changes choices, and keeps them. */
export function choose(change: Partial<Settings>): void {
  settings.value = { ...settings.value, ...change };
  keep("settings", settings.value);
}

/** Reads choices again, as another tab changed them. */
export function reloadSettings(): void {
  settings.value = loadSettings();
}

function loadSettings(): Settings {
  return { ...DEFAULTS, ...kept<Partial<Settings>>("settings") };
}

/** Returns whether somebody can see this page: a window in the background may be visible and still not be looked at. */
export function isInFront(): boolean {
  return document.visibilityState === "visible" && document.hasFocus();
}
