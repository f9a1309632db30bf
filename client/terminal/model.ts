/** State of the chat: conversations, unread counts, status of own messages. Pure; time is a parameter, nothing is printed. */

import { escape } from "@std/regexp/escape";
import { conversationOf, conversationOfReceipt } from "../../chat_client.ts";
import { isGroup, type Message, type ServerFrameOf } from "../../protocol.ts";
import type { Mute } from "./muted.ts";

/** Own messages per conversation whose status is followed. */
const OWN_MAX = 200;
/** Milliseconds for which a typing signal is believed. */
const TYPING_MS = 6_000;

/** Status of an own message. */
export type MessageStatus = "waiting" | "sent" | "delivered" | "read" | "refused";

interface Own {
  readonly id: string;
  seq: number;
  status: MessageStatus;
}

/** One conversation. Positions are those of the server's log; 0 where there is none. */
export interface Conversation {
  readonly name: string;
  /** Counts up in the order in which conversations were first listed: the key Alt and a digit opens it. 0 before. */
  number: number;
  unread: number;
  /** Unread messages that mention this user. */
  mentioned: number;
  /** Position of the newest message of others. */
  newest: number;
  /** Position of the newest message of all, by which the list is ordered. */
  last: number;
  readonly own: Own[];
  /** Position up to which others have received and read. */
  delivered: number;
  read: number;
  /** The last typing signal; `until` in milliseconds, as `now` of {@linkcode Chats.typing}. */
  typing: { who: string; until: number } | undefined;
}

/** Place of a message: in view, as one line beside the view, or not shown. */
export type Placement = "view" | "beside" | "nowhere";

/** A message that arrived. `isSeen`: the person has seen it, so that it counts as read. */
export interface Received {
  readonly conversation: string;
  readonly placement: Placement;
  readonly isSeen: boolean;
}

/** All conversations of one user. */
export class Chats {
  me = "";
  /** The conversation in view; undefined shows all. */
  current: string | undefined;
  /** The conversation with the latest message of others, for a reply. */
  lastFrom: string | undefined;
  away = false;
  /** True once everything missed has arrived: what comes without a view before that scrolls by, and is not seen. */
  isCaughtUp = true;
  /** Others are told what was read. */
  receipts = true;
  readonly groups = new Set<string>();
  ignored: Set<string> = new Set();
  muted: Map<string, Mute> = new Map();
  readonly presence = new Map<string, { status: "online" | "away" | "offline"; lastSeen?: string }>();
  readonly #conversations = new Map<string, Conversation>();
  #numbers = 0;
  /** Returns milliseconds since 1970, as times of mutes are. */
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Returns the conversation of a name, and creates it where there is none. */
  get(name: string): Conversation {
    let conversation = this.#conversations.get(name);
    if (!conversation) {
      conversation = {
        name,
        number: 0,
        unread: 0,
        mentioned: 0,
        newest: 0,
        last: 0,
        own: [],
        delivered: 0,
        read: 0,
        typing: undefined,
      };
      this.#conversations.set(name, conversation);
    }
    return conversation;
  }

  /** Returns conversations with messages, the one in view, and groups: unread ones first, then the most recent. */
  list(): Conversation[] {
    const shown = [...this.#conversations.values()].filter(({ name, last, own }) => {
      return last > 0 || own.length > 0 || name === this.current || this.groups.has(name);
    });
    for (const conversation of shown.toSorted((a, b) => b.last - a.last)) conversation.number ||= ++this.#numbers;
    return shown.sort((a, b) => Math.sign(b.unread) - Math.sign(a.unread) || b.last - a.last);
  }

  /** Returns the conversations with unread messages; the one in view has some where the person is away. */
  unread(): Conversation[] {
    return this.list().filter(({ name, unread, mentioned }) => {
      return unread > 0 && !this.isSilent(name, mentioned > 0);
    });
  }

  /** Returns whether a message in a conversation is neither shown beside nor counted nor rung for. */
  isSilent(name: string, isMention: boolean): boolean {
    const mute = this.muted.get(name);
    if (!mute || (mute.mentions && isMention)) return false;
    if (mute.until > this.#now()) return true;
    this.muted.delete(name);
    return false;
  }

  /** Returns the conversation of a number, as {@linkcode list} gave it. */
  numbered(number: number): string | undefined {
    return this.list().find((conversation) => conversation.number === number)?.name;
  }

  /** Returns the unread conversation to go to next: the one that has waited longest. */
  nextUnread(): string | undefined {
    return this.unread().filter(({ name }) => name !== this.current).toSorted((a, b) => a.last - b.last)[0]?.name;
  }

  /** Returns names and groups to complete with. */
  names(): string[] {
    return [...new Set([...this.list().map(({ name }) => name), ...this.groups])].sort();
  }

  /** Returns the people of all conversations, in the order of {@linkcode list}. */
  people(): string[] {
    return this.list().map(({ name }) => name).filter((name) => !isGroup(name) && name !== this.me);
  }

  /** Notes a message that arrived, from somebody else or from another device of this user. */
  received(message: Message): Received {
    const name = conversationOf(message, this.me);
    const seq = message.seq ?? 0;
    const conversation = this.get(name);
    conversation.last = Math.max(conversation.last, seq);
    if (message.sender === this.me) {
      if (message.id !== undefined) this.#own(conversation, { id: message.id, seq, status: statusAt(conversation, seq) });
      return { conversation: name, placement: this.#inView(name) ? "view" : "nowhere", isSeen: false };
    }
    if (this.ignored.has(message.sender)) return { conversation: name, placement: "nowhere", isSeen: false };
    if (conversation.typing?.who === message.sender) conversation.typing = undefined;
    conversation.newest = Math.max(conversation.newest, seq);
    this.lastFrom = name;
    const isSeen = this.#inView(name) && !this.away && (this.isCaughtUp || this.current === name);
    const isMention = mentions(message.content, this.me);
    if (!isSeen) conversation.unread++;
    if (!isSeen && isMention) conversation.mentioned++;
    const aside = this.isSilent(name, isMention) ? "nowhere" : "beside";
    return { conversation: name, placement: this.#inView(name) ? "view" : aside, isSeen };
  }

  /**
   * Notes that the person is away, or back. Returns the position up to which the conversation in view is seen now; undefined
   * where there is nothing new in it.
   */
  setAway(away: boolean): number | undefined {
    this.away = away;
    const conversation = this.current === undefined ? undefined : this.get(this.current);
    if (away || !conversation || conversation.unread === 0) return undefined;
    conversation.unread = conversation.mentioned = 0;
    return conversation.newest;
  }

  /** Forgets everything that is known by its position: the server has another log now. What waits is followed on. */
  startOver(): void {
    for (const conversation of this.#conversations.values()) {
      const own = conversation.own.filter(({ status }) => status === "waiting");
      conversation.own.splice(0, Infinity, ...own);
      Object.assign(conversation, { unread: 0, mentioned: 0, newest: 0, last: 0, delivered: 0, read: 0 });
    }
    this.lastFrom = undefined;
  }

  #inView(name: string): boolean {
    return this.current === undefined || this.current === name;
  }

  /** Notes an own message that was queued. */
  sent(message: Message & { readonly id: string }): void {
    this.#own(this.get(message.recipient), { id: message.id, seq: 0, status: "waiting" });
  }

  #own(conversation: Conversation, own: Own): void {
    conversation.own.push(own);
    if (conversation.own.length > OWN_MAX) conversation.own.shift();
  }

  /** Notes that the server has stored an own message. */
  acked(recipient: string, id: string, seq: number): void {
    const conversation = this.get(recipient);
    conversation.last = Math.max(conversation.last, seq);
    const own = conversation.own.find((entry) => entry.id === id);
    if (!own) return;
    own.seq = seq;
    own.status = statusAt(conversation, seq);
  }

  /** Notes that the server will never take an own message. */
  refused(recipient: string, id: string): void {
    const own = this.get(recipient).own.find((entry) => entry.id === id);
    if (own) own.status = "refused";
  }

  /** Notes a marker that moved; markers only move forward. */
  receipt(receipt: ServerFrameOf<"receipt">): void {
    const { conversation: name, own } = conversationOfReceipt(receipt, this.me);
    const conversation = this.get(name);
    if (own) {
      if (receipt.kind === "read" && receipt.seq >= conversation.newest) {
        conversation.unread = conversation.mentioned = 0;
      }
      return;
    }
    if (receipt.kind === "read") conversation.read = Math.max(conversation.read, receipt.seq);
    conversation.delivered = Math.max(conversation.delivered, receipt.seq);
    for (const entry of conversation.own) if (entry.seq > 0) entry.status = statusAt(conversation, entry.seq);
  }

  /** Returns the status of the newest own message of a conversation. */
  lastStatus(name: string): MessageStatus | undefined {
    return this.#conversations.get(name)?.own.at(-1)?.status;
  }

  /** Returns the status of an own message that history has. */
  statusOf(message: Message): MessageStatus {
    return statusAt(this.get(message.recipient), message.seq ?? 0);
  }

  /** Notes that somebody is typing; `now` in milliseconds. */
  typing({ sender, recipient }: ServerFrameOf<"typing">, now: number): void {
    if (this.ignored.has(sender)) return;
    this.get(isGroup(recipient) ? recipient : sender).typing = { who: sender, until: now + TYPING_MS };
  }

  /** Returns who is typing in a conversation at `now`. */
  typist(name: string, now: number): string | undefined {
    const typing = this.#conversations.get(name)?.typing;
    return typing && typing.until > now ? typing.who : undefined;
  }

  /** Brings a conversation into view, so that nothing of it is unread; undefined brings all into view. */
  open(name: string | undefined): void {
    this.current = name;
    if (name !== undefined) this.get(name).unread = this.get(name).mentioned = 0;
  }

  /** Takes messages that are not to be counted off the unread ones. */
  takeOff(name: string, count: number): void {
    const conversation = this.get(name);
    conversation.unread = Math.max(0, conversation.unread - count);
  }

  /** Adopts the conversations as the server lists them. */
  load(rows: ServerFrameOf<"conversations">["conversations"]): void {
    for (const row of rows) {
      const conversation = this.get(row.with);
      conversation.last = Math.max(conversation.last, row.seq);
      if (row.last && row.last.sender !== this.me) conversation.newest = Math.max(conversation.newest, row.seq);
      const isSeen = row.with === this.current && !this.away;
      conversation.unread = isSeen || this.ignored.has(row.with) ? 0 : row.unread;
      if (isGroup(row.with)) this.groups.add(row.with);
    }
  }
}

/** Returns the status of an own message at a position. */
function statusAt({ delivered, read }: Conversation, seq: number): MessageStatus {
  return seq <= read ? "read" : seq <= delivered ? "delivered" : "sent";
}

/** Returns whether `text` mentions `me`, as a word of its own. */
export function mentions(text: string, me: string): boolean {
  return new RegExp(`(?<![\\p{L}\\p{N}_])@?${escape(me)}(?![\\p{L}\\p{N}_])`, "iu").test(text);
}
