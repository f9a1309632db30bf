/** Actions of a person, and requests that the page makes by itself. Everything goes through the leading tab. */

import { newId } from "../chat_client.ts";
import { isOverBytes, type Message, type ServerFrameOf } from "../protocol.ts";
import { type Account, accountOf, deviceName, forgetAccount, keepAccount, keepSpare } from "./account.ts";
import { clearDraft } from "./drafts.ts";
import { addNewest, addOlder, beginNewest, clearLogs, logOf, setLog, showLog } from "./logs.ts";
import * as state from "./state.ts";
import { isStored, type Store } from "./store.ts";
import type { Tab } from "./tabs/channel.ts";
import type { Call, Listed, Stored, Waiting } from "./tabs/words.ts";

/** Messages of the newest page: more than any screen shows. */
const NEWEST_PAGE = 60;
/** Messages of a page of older ones. */
const OLDER_PAGE = 100;
/** Milliseconds in which typing is told once. */
const TYPING_MS = 3_000;
/** Milliseconds in which reading is told once: scrolling through a thousand messages is not a thousand frames. */
const READ_MS = 400;
/** Milliseconds in which changes of the list are kept together. */
const KEEP_LIST_MS = 100;
/** Bytes of content where the server has not said how many it takes. */
const CONTENT_BYTES = 16_384;

let tab: Tab;
let store: Store;

/** Gives the actions what they work with. */
export function useTab(given: Tab, kept: Store): void {
  tab = given;
  store = kept;
}

async function call(asked: Call): Promise<unknown> {
  return await tab.call(asked);
}

/** Does without waiting, where nobody has to be told of a failure: the next connection makes up for it. */
function quietly(asked: Call): void {
  tab.call(asked).catch(() => {});
}

/** Returns words of an error. */
export function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : "This could not be done";
}

// ---- Loading ----

/** Loads what is shown, after each welcome. */
export function refresh(): void {
  void refreshList();
  void reloadOpen();
}

/** Loads the list of conversations. */
export async function refreshList(): Promise<void> {
  const asked = state.conversations.value;
  try {
    const listed = new Map<string, state.Conversation>();
    for (const { with: other, seq, read, unread, last } of await call({ do: "conversations" }) as Listed) {
      listed.set(other, { with: other, seq, read, unread, last: last && isStored(last) ? last : undefined });
    }
    for (const [other, now] of state.conversations.value) {
      if (now !== asked.get(other) && isAhead(now, listed.get(other))) listed.set(other, now);
    }
    state.conversations.value = listed;
    watchPeople();
    if (state.current.value !== undefined) drawNewLine(state.current.value);
  } catch { /* the next welcome loads it */ }
}

/** Returns whether a conversation went on after the server had looked for its answer. */
function isAhead(now: state.Conversation, listed: state.Conversation | undefined): boolean {
  return now.seq > (listed?.seq ?? 0) || now.read > (listed?.read ?? 0);
}

/** Shows what this browser keeps until the server answers, and keeps the list from then on. */
export async function showKept(): Promise<void> {
  const key = `conversations ${state.me.value}`;
  const listed = await store.value<state.Conversation[]>(key);
  if (listed && state.conversations.value.size === 0) {
    state.conversations.value = new Map(listed.map((conversation) => [conversation.with, conversation]));
  }
  let timer: ReturnType<typeof setTimeout> | undefined;
  state.conversations.subscribe(() => {
    timer ??= setTimeout(() => {
      timer = undefined;
      void store.putValue(key, [...state.conversations.value.values()]);
    }, KEEP_LIST_MS);
  });
}

/** Returns the open groups that the user is not in. Rejects with words. */
export async function openGroups(): Promise<readonly state.Group[]> {
  const { groups = [] } = await call({ do: "group", query: { op: "list" } }) as ServerFrameOf<"group">;
  // Every group that one is in is a conversation.
  return groups.filter(({ group, open }) => open && !state.conversations.value.has(group));
}

/** Watches the people of the list. */
export function watchPeople(more: readonly string[] = []): void {
  const people = [...state.conversations.value.values()].sort((a, b) => a.seq - b.seq)
    .map(({ with: other }) => other).filter((other) => !state.isGroup(other));
  const open = state.current.value;
  if (open !== undefined && !state.isGroup(open)) people.push(open);
  quietly({ do: "watch", users: [...people, ...more].slice(-100) });
}

/** Opens a conversation, or none. */
export function open(conversation: string | undefined): void {
  if (state.current.value === conversation) return;
  state.batch(() => {
    state.current.value = conversation;
    showLog(conversation);
    if (conversation !== undefined) drawNewLine(conversation);
  });
  if (conversation === undefined) return;
  if (!state.isGroup(conversation)) watchPeople();
  void showKeptMessages(conversation);
  void reloadOpen();
}

/** Draws the line above what is unread, once for each visit. */
function drawNewLine(conversation: string): void {
  const known = state.conversations.value.get(conversation);
  if (!known || logOf(conversation).newAfter !== undefined || known.unread === 0) return;
  setLog(conversation, { newAfter: known.read });
}

async function showKeptMessages(conversation: string): Promise<void> {
  if (logOf(conversation).messages.length > 0) return;
  const messages = await store.messages(state.me.value, conversation);
  if (logOf(conversation).messages.length === 0) setLog(conversation, { messages });
}

/** Loads the newest page of the open conversation, where it has not come since the connection was made. */
export async function reloadOpen(): Promise<void> {
  const conversation = state.current.value;
  if (conversation === undefined || state.connection.value.phase !== "online") return;
  const { isLoaded, isLoading } = logOf(conversation);
  if (isLoading) return;
  if (isLoaded) return setLog(conversation, { error: undefined }); // what failed without a connection can be tried again
  beginNewest(conversation);
  try {
    const query = { with: conversation, limit: NEWEST_PAGE };
    const { messages, more } = await call({ do: "history", query }) as ServerFrameOf<"history">;
    addNewest(conversation, stored(messages), more);
  } catch (error) {
    setLog(conversation, { isLoading: false, error: wordsOf(error) });
  }
}

/** Loads older messages of the open conversation: from the server, or without one from what this browser keeps. */
export async function loadOlder(): Promise<void> {
  const loaded = state.log.value;
  if (!loaded || loaded.isLoading || !loaded.hasMore) return;
  const { with: other, messages } = loaded;
  const before = messages[0]?.seq;
  if (state.connection.value.phase !== "online") {
    const older = await store.messages(state.me.value, other, before, OLDER_PAGE);
    if (older.length > 0) return addOlder(other, older, true);
    return setLog(other, { error: "Older messages are on the server, and there is no connection to it." });
  }
  if (before === undefined) return await reloadOpen();
  setLog(other, { isLoading: true });
  try {
    const query = { with: other, before, limit: OLDER_PAGE };
    const { messages: older, more } = await call({ do: "history", query }) as ServerFrameOf<"history">;
    addOlder(other, stored(older), more);
  } catch (error) {
    setLog(other, { isLoading: false, error: wordsOf(error) });
  }
}

function stored(messages: readonly Message[]): Stored[] {
  return messages.filter(isStored);
}

// ---- Messages ----

let lastAt = 0;

/** Sends a message to the open conversation. Returns words where it cannot be sent. */
export function send(recipient: string, content: string): string | undefined {
  const bytes = state.limits.value?.content ?? CONTENT_BYTES;
  if (isOverBytes(content, bytes)) return `This is too long: a message has at most ${bytes.toLocaleString()} bytes`;
  lastAt = Math.max(Date.now(), lastAt + 1);
  const waiting: Waiting = { id: newId(), recipient, content: content.toWellFormed().replaceAll("\0", ""), at: lastAt };
  state.waiting.value = [...state.waiting.value, waiting];
  void keepAndSend(waiting);
  return undefined;
}

/** Keeps a message before anything else: a tab that is closed now leaves it to the next. */
async function keepAndSend(waiting: Waiting): Promise<void> {
  await store.putWaiting(state.me.value, deviceName(), waiting);
  clearDraft(waiting.recipient);
  quietly({ do: "send", waiting });
}

/** Sends a message again that was refused or waits. */
export function retry(id: string): void {
  quietly({ do: "retry", id });
}

/** Deletes a message that was not sent. */
export function drop(id: string): void {
  quietly({ do: "drop", id });
}

let typed = { to: "", at: 0 };

/** Tells that the user types; not every key. */
export function tellTyping(to: string): void {
  const now = performance.now();
  if (typed.to === to && now - typed.at < TYPING_MS) return;
  typed = { to, at: now };
  quietly({ do: "typing", to });
}

const seen = new Map<string, Extract<Call, { do: "read" }>>();
let seenTimer: ReturnType<typeof setTimeout> | undefined;

/**
 * Tells that everything up to `seq` was seen: at once, and while somebody scrolls now and then. `isHidden`: it is not shown here,
 * and only this user's own counts learn of it.
 */
export function markRead(conversation: string, seq: number, isHidden = false): void {
  if (seq <= (state.conversations.value.get(conversation)?.read ?? Infinity)) return;
  const key = `${isHidden} ${conversation}`;
  if (seq <= (seen.get(key)?.seq ?? 0)) return;
  seen.set(key, { do: "read", with: conversation, seq, isPrivate: isHidden || !state.settings.value.receipts });
  if (seenTimer === undefined) tellSeen();
}

function tellSeen(): void {
  clearTimeout(seenTimer);
  seenTimer = seen.size === 0 ? undefined : setTimeout(tellSeen, READ_MS);
  for (const read of seen.values()) quietly(read);
  seen.clear();
}

/** Says which conversation somebody looks at here. */
export function lookAt(conversation: string | undefined): void {
  tellSeen();
  tab.look(conversation);
}

// ---- The connection ----

/** Looks whether the connection still is, as after sleep. */
export function lookNow(): void {
  if (tab.isLeading) quietly({ do: "look" });
  else void tab.checkLeader();
}

/** Connects now. */
export function reconnect(): void {
  quietly({ do: "reconnect" });
}

/** Sets the status. */
export function setAway(isAway: boolean): void {
  quietly({ do: "away", isAway });
}

/** Goes on with another token. Returns words where that is none. */
export function renewToken(typed: string): string | undefined {
  const given = accountOf(typed);
  if (typeof given === "string") return given;
  if (given.user !== state.me.value) return `This token is for ${given.user}. Sign out first to be somebody else`;
  state.account.value = given;
  keepAccount(given);
  quietly({ do: "token", token: given.token });
  return undefined;
}

/** Takes an account that came with a link, while somebody is signed in. It does not change who they are without their word. */
export function takeLinked(given: Account): void {
  if (given.user !== state.me.value) {
    state.offered.value = given;
  } else if (given.token !== undefined && given.token !== state.account.value!.token) {
    keepSpare(given);
    quietly({ do: "token" });
  }
}

/** Answers a link for another account. */
export function answerOffer(isTaken: boolean): void {
  const given = state.offered.value;
  state.offered.value = undefined;
  if (!given || !isTaken) return;
  keepAccount(given);
  location.reload();
}

/** Leaves, and erases what this browser kept. */
export async function signOut(): Promise<void> {
  await tab.signOut();
  await erase();
}

/** Erases what this browser kept and begins anew. */
export async function erase(): Promise<void> {
  forgetAccount();
  clearLogs();
  await store.erase();
  history.replaceState(null, "", location.pathname);
  location.reload();
}

// ---- Groups ----

/** Does something with a group. Rejects with words. */
export async function group(
  op: "create" | "join" | "leave" | "invite" | "remove" | "members",
  name: string,
  more: { readonly user?: string; readonly open?: boolean } = {},
): Promise<ServerFrameOf<"group">> {
  const answer = await call({ do: "group", query: { op, group: name, ...more } }) as ServerFrameOf<"group">;
  if (op !== "members") {
    void refreshList();
    state.groupChanges.value++;
  }
  return answer;
}
