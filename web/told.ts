/** Changes the state by what the leading tab tells. */

import { conversationOf, conversationOfReceipt } from "../chat_client.ts";
import type { ServerFrameOf } from "../protocol.ts";
import { refresh, refreshList, reloadOpen, watchPeople } from "./actions.ts";
import { moved, ownOf } from "./core.ts";
import { addToLog, doubtLogs, emptyLogs, logOf, setLog, unreadAfter } from "./logs.ts";
import { closeNotification, notifyOf } from "./notify.ts";
import * as state from "./state.ts";
import { lookForNewPage } from "./upgrade.ts";
import type { Snapshot, Stored, Told } from "./tabs/words.ts";

/** Milliseconds after which somebody who typed does not type any more. */
const TYPING_MS = 6_000;
/** Characters of a message that are read aloud. */
const ANNOUNCED_CHARS = 300;

/** Takes in everything, as a tab does that comes or whose leader changed. */
export function takeSnapshot({ connection, limits, waiting, presence, marks, isAway }: Snapshot): void {
  state.batch(() => {
    state.connection.value = connection;
    state.limits.value = limits;
    state.waiting.value = waiting;
    state.presence.value = new Map(presence.map((frame) => [frame.user, frame]));
    state.marks.value = marks;
    state.isAway.value = isAway;
  });
}

/** Takes in one thing. `leads`: this tab notifies. */
export function take(told: Told, leads: boolean): void {
  switch (told.is) {
    case "connection":
      state.connection.value = told.connection;
      if (told.limits) state.limits.value = told.limits;
      return;
    case "welcome":
      if (told.isOtherLog) forgetLog();
      if (told.missed) doubtLogs();
      lookForNewPage();
      return refresh();
    case "message":
      return takeMessage(told.message, told.isLive, leads);
    case "waiting":
      return takeWaiting(told);
    case "sent":
      return state.batch(() => {
        drop(told.id);
        takeMessage(told.message, false, false);
      });
    case "dropped":
      return drop(told.id);
    case "away":
      state.isAway.value = told.isAway;
      return;
    case "notice":
      state.notice.value = told.text;
      return;
    case "frame":
      return takeFrame(told.frame, leads);
  }
}

/** Forgets what belongs to positions of another log: the server has lost its own, or is another. */
function forgetLog(): void {
  state.batch(() => {
    state.marks.value = {};
    state.conversations.value = new Map();
    emptyLogs();
  });
}

function takeWaiting({ waiting }: Extract<Told, { is: "waiting" }>): void {
  const before = state.waiting.value;
  const isKnown = before.some(({ id }) => id === waiting.id);
  state.waiting.value = isKnown ? before.map((row) => row.id === waiting.id ? waiting : row) : [...before, waiting];
}

function drop(id: string): void {
  state.waiting.value = state.waiting.value.filter((row) => row.id !== id);
}

function takeMessage(message: Stored, isLive: boolean, leads: boolean): void {
  const me = state.me.value;
  const conversation = conversationOf(message, me);
  const isMine = message.sender === me;
  const before = state.conversations.value.get(conversation);
  const isNew = message.seq > (before?.seq ?? 0);
  const counts = isNew && !isMine && message.seq > (before?.read ?? 0) && !state.isIgnored(message.sender);
  state.batch(() => {
    if (isNew) {
      change(conversation, {
        seq: message.seq,
        last: message,
        unread: (before?.unread ?? 0) + (counts ? 1 : 0),
      });
    }
    addToLog(conversation, message);
    if (!isMine) stopTyping(conversation, message.sender);
    if (counts && conversation === state.current.value && !state.isSeen.value) beginNew(conversation, before?.read ?? 0);
  });
  if (!before && isLive) watchPeople();
  if (!isLive || isMine || state.isIgnored(message.sender)) return;
  if (leads) void notifyOf(message, conversation);
  if (conversation === state.current.value && state.isSeen.value) {
    state.announcement.value = `${message.sender}: ${message.content.slice(0, ANNOUNCED_CHARS)}`;
  }
}

/** Draws the line above what comes while nobody looks, unless there is one with unread messages below it. */
function beginNew(conversation: string, read: number): void {
  const { newAfter } = logOf(conversation);
  if (newAfter === undefined || newAfter < read) setLog(conversation, { newAfter: read });
}

/** Changes a conversation in the list. */
export function change(conversation: string, changes: Partial<state.Conversation>): void {
  const before = state.conversations.value.get(conversation) ?? { with: conversation, seq: 0, read: 0, unread: 0 };
  state.conversations.value = new Map(state.conversations.value).set(conversation, { ...before, ...changes });
}

function takeFrame(frame: ServerFrameOf<"receipt" | "presence" | "typing" | "group">, leads: boolean): void {
  switch (frame.type) {
    case "receipt":
      return takeReceipt(frame, leads);
    case "presence":
      state.presence.value = new Map(state.presence.value).set(frame.user, frame);
      return;
    case "typing":
      return takeTyping(frame);
    case "group":
      return takeGroup(frame);
  }
}

function takeReceipt(frame: ServerFrameOf<"receipt">, leads: boolean): void {
  const { conversation, own } = conversationOfReceipt(frame, state.me.value);
  const ofAll = ownOf(state.marks.value, conversation) ?? {};
  const ofUser = moved(ownOf(ofAll, frame.user), frame);
  state.marks.value = { ...state.marks.value, [conversation]: { ...ofAll, [frame.user]: ofUser } };
  if (!own || frame.kind !== "read") return;
  const before = state.conversations.value.get(conversation);
  if (!before || frame.seq <= before.read) return;
  const unread = frame.seq >= before.seq ? 0 : unreadAfter(conversation, frame.seq);
  change(conversation, { read: frame.seq, ...unread === undefined ? {} : { unread } });
  if (unread === undefined) void refreshList();
  if (unread === 0 && leads) void closeNotification(conversation);
}

const typing = new Map<string, ReturnType<typeof setTimeout>>();

function takeTyping({ sender, recipient }: ServerFrameOf<"typing">): void {
  if (state.isIgnored(sender)) return;
  const conversation = state.isGroup(recipient) ? recipient : sender;
  const key = `${conversation} ${sender}`;
  clearTimeout(typing.get(key));
  typing.set(key, setTimeout(() => stopTyping(conversation, sender), TYPING_MS));
  const before = state.typists.value.get(conversation) ?? [];
  if (!before.includes(sender)) state.typists.value = new Map(state.typists.value).set(conversation, [...before, sender]);
}

function stopTyping(conversation: string, user: string): void {
  clearTimeout(typing.get(`${conversation} ${user}`));
  const before = state.typists.value.get(conversation);
  if (!before?.includes(user)) return;
  state.typists.value = new Map(state.typists.value).set(conversation, before.filter((name) => name !== user));
}

function takeGroup({ op, group, user, by }: ServerFrameOf<"group">): void {
  if (group === undefined) return;
  const isMe = user === state.me.value;
  if (isMe && op === "invite") state.notice.value = `${by} invited you to ${group}`;
  if (isMe && op === "remove") state.notice.value = `${by} removed you from ${group}`;
  void refreshList();
  if (group === state.current.value) {
    state.groupChanges.value++;
    if (isMe) void reloadOpen();
  }
}
