/** What a person is chatting about: conversations, unread counts, marks. Pure state; time is given, nothing is printed. */

import { conversationOf, conversationOfReceipt } from "../../chat_client.ts";
import { isGroup, type Message, type ServerFrameOf } from "../../protocol.ts";

/** Own messages per conversation whose marks are followed. */
const OWN_MAX = 200;
/** Milliseconds for which a typing signal is believed. */
const TYPING_MS = 6_000;

/** What became of an own message. */
export type Mark = "waiting" | "sent" | "delivered" | "read" | "refused";

interface Own {
  readonly id: string;
  seq: number;
  mark: Mark;
}

/** One conversation. */
export interface Conversation {
  readonly name: string;
  unread: number;
  /** Position of the newest message of others. */
  newest: number;
  /** Position of the newest message of all; orders the list. */
  last: number;
  readonly own: Own[];
  delivered: number;
  read: number;
  typing: { who: string; until: number } | undefined;
}

/** How a message that came is to be shown: in view, in one line beside the view, or not at all. */
export type Placement = "view" | "beside" | "nowhere";

/** All conversations of one user. */
export class Chats {
  me = "";
  /** The conversation in view; undefined shows all. */
  current: string | undefined;
  /** Who wrote last, for a reply. */
  lastFrom: string | undefined;
  away = false;
  receipts = true;
  readonly groups = new Set<string>();
  ignored: Set<string> = new Set();
  readonly presence = new Map<string, { status: "online" | "away" | "offline"; lastSeen?: string }>();
  readonly #conversations = new Map<string, Conversation>();

  /** The conversation of that name, made where there is none. */
  get(name: string): Conversation {
    let conversation = this.#conversations.get(name);
    if (!conversation) {
      conversation = { name, unread: 0, newest: 0, last: 0, own: [], delivered: 0, read: 0, typing: undefined };
      this.#conversations.set(name, conversation);
    }
    return conversation;
  }

  /** Those in which something was said, and the one in view: something unread first, then the most recent. */
  list(): Conversation[] {
    const shown = [...this.#conversations.values()].filter(({ name, last, own }) => {
      return last > 0 || own.length > 0 || name === this.current || this.groups.has(name);
    });
    return shown.sort((a, b) => Math.sign(b.unread) - Math.sign(a.unread) || b.last - a.last);
  }

  /** Conversations beside the one in view that have something unread. */
  unread(): Conversation[] {
    return this.list().filter(({ name, unread }) => unread > 0 && name !== this.current);
  }

  /** Names and groups to complete with. */
  names(): string[] {
    return [...new Set([...this.list().map(({ name }) => name), ...this.groups])].sort();
  }

  /** People whose presence matters, the most recent conversations first. */
  people(): string[] {
    return this.list().map(({ name }) => name).filter((name) => !isGroup(name) && name !== this.me);
  }

  /** A message came, of another or of another device of this user's. */
  received(message: Message): { readonly conversation: string; readonly placement: Placement } {
    const name = conversationOf(message, this.me);
    const seq = message.seq ?? 0;
    const conversation = this.get(name);
    conversation.last = Math.max(conversation.last, seq);
    if (message.sender === this.me) {
      if (message.id !== undefined) this.#own(conversation, { id: message.id, seq, mark: markFor(conversation, seq) });
      return { conversation: name, placement: this.#inView(name) ? "view" : "nowhere" };
    }
    if (this.ignored.has(message.sender)) return { conversation: name, placement: "nowhere" };
    if (conversation.typing?.who === message.sender) conversation.typing = undefined;
    conversation.newest = Math.max(conversation.newest, seq);
    this.lastFrom = name;
    if (this.#inView(name)) return { conversation: name, placement: "view" };
    conversation.unread++;
    return { conversation: name, placement: "beside" };
  }

  #inView(name: string): boolean {
    return this.current === undefined || this.current === name;
  }

  /** An own message was handed over. */
  sent(message: Message & { readonly id: string }): void {
    this.#own(this.get(message.recipient), { id: message.id, seq: 0, mark: "waiting" });
  }

  #own(conversation: Conversation, own: Own): void {
    conversation.own.push(own);
    if (conversation.own.length > OWN_MAX) conversation.own.shift();
  }

  /** The server keeps an own message. */
  acked(recipient: string, id: string, seq: number): void {
    const conversation = this.get(recipient);
    conversation.last = Math.max(conversation.last, seq);
    const own = conversation.own.find((entry) => entry.id === id);
    if (!own) return;
    own.seq = seq;
    own.mark = markFor(conversation, seq);
  }

  /** The server will not take an own message. */
  refused(recipient: string, id: string): void {
    const own = this.get(recipient).own.find((entry) => entry.id === id);
    if (own) own.mark = "refused";
  }

  /** Markers moved; they only move forward. */
  receipt(receipt: ServerFrameOf<"receipt">): void {
    const { conversation: name, own } = conversationOfReceipt(receipt, this.me);
    const conversation = this.get(name);
    if (own) {
      if (receipt.kind === "read" && receipt.seq >= conversation.newest) conversation.unread = 0;
      return;
    }
    if (receipt.kind === "read") conversation.read = Math.max(conversation.read, receipt.seq);
    conversation.delivered = Math.max(conversation.delivered, receipt.seq);
    for (const entry of conversation.own) if (entry.seq > 0) entry.mark = markFor(conversation, entry.seq);
  }

  /** What became of the newest own message of a conversation. */
  lastMark(name: string): Mark | undefined {
    return this.#conversations.get(name)?.own.at(-1)?.mark;
  }

  /** What became of a message of this user's that history showed. */
  markOf(message: Message): Mark {
    return markFor(this.get(message.recipient), message.seq ?? 0);
  }

  /** Somebody types. */
  typing({ sender, recipient }: ServerFrameOf<"typing">, now: number): void {
    if (this.ignored.has(sender)) return;
    this.get(isGroup(recipient) ? recipient : sender).typing = { who: sender, until: now + TYPING_MS };
  }

  /** Who types in a conversation now. */
  typist(name: string, now: number): string | undefined {
    const typing = this.#conversations.get(name)?.typing;
    return typing && typing.until > now ? typing.who : undefined;
  }

  /** Opens a conversation: nothing of it is unread any more. Returns the position to mark as read, where there is one. */
  open(name: string | undefined): number | undefined {
    this.current = name;
    if (name === undefined) return undefined;
    const conversation = this.get(name);
    conversation.unread = 0;
    return conversation.newest > 0 ? conversation.newest : undefined;
  }

  /** What the server knows of the conversations. */
  load(rows: ServerFrameOf<"conversations">["conversations"]): void {
    for (const row of rows) {
      const conversation = this.get(row.with);
      conversation.last = Math.max(conversation.last, row.seq);
      if (row.last && row.last.sender !== this.me) conversation.newest = Math.max(conversation.newest, row.seq);
      conversation.unread = row.with === this.current || this.ignored.has(row.with) ? 0 : row.unread;
      if (isGroup(row.with)) this.groups.add(row.with);
    }
  }
}

function markFor({ delivered, read }: Conversation, seq: number): Mark {
  return seq <= read ? "read" : seq <= delivered ? "delivered" : "sent";
}

/** Whether `text` speaks to `me`. */
export function mentions(text: string, me: string): boolean {
  const escaped = me.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return new RegExp(`(?<![\\p{L}\\p{N}_])@?${escaped}(?![\\p{L}\\p{N}_])`, "iu").test(text);
}
