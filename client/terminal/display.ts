/** Display of the chat: messages with days between them, notices, warnings, the prompt. */

import { isGroup, type Message } from "../../protocol.ts";
import type { Chats, MessageStatus, Placement } from "./model.ts";
import { sanitize } from "../sanitize.ts";
import type { Surface } from "./screen.ts";
import type { Style } from "./style.ts";
import { beginning, dayOf, dayText, isLong, messageText, previewText, promptText, ringText } from "./view.ts";

/** Milliseconds between two bells or notifications: a flood of messages rings once. */
const RING_EVERY_MS = 1_000;
/** Long messages that `/show` remembers. */
const LONG_MAX = 50;

/** Writes the chat to a screen. Everything from others is made harmless on its way. */
export class ChatDisplay {
  readonly style: Style;
  readonly #screen: Surface;
  readonly #chats: Chats;
  #day: string | undefined;
  #warnedState = "";
  #rangAt = -Infinity;
  /** Messages that were shown in part, oldest first, and the number of those that are no longer kept. */
  readonly #long: Message[] = [];
  #longBefore = 0;

  constructor(screen: Surface, chats: Chats, style: Style) {
    this.#screen = screen;
    this.#chats = chats;
    this.style = style;
  }

  /** Shows a message: whole where it is in view, else as one line. */
  message(message: Message, placement: Placement, status?: MessageStatus): void {
    this.#newDay(message.ts);
    const { me, current } = this.#chats;
    const own = message.sender === me;
    const beside = placement === "beside" || (own && current !== undefined && message.recipient !== current);
    if (beside && !own) return this.#screen.print(previewText(message, this.style, this.#screen.columns));
    this.#screen.print(this.#text(message, current === undefined || beside, status));
  }

  #text(message: Message, label: boolean, status?: MessageStatus): string {
    const { me } = this.#chats;
    const number = message.sender === me || !isLong(message) ? undefined : this.#keep(message);
    return messageText(message, me, this.style, { label, status, columns: this.#wrapColumns, number });
  }

  /** Columns at which lines are broken. What is never redrawn is not broken either: a screen reader reads sentences. */
  get #wrapColumns(): number {
    return this.#screen.keepsTyped ? Infinity : this.#screen.columns;
  }

  /** Keeps a long message for `/show`. Returns its number. */
  #keep(message: Message): number {
    const known = this.#long.findIndex(({ seq }) => seq !== undefined && seq === message.seq);
    if (known >= 0) return this.#longBefore + known + 1;
    this.#long.push(message);
    if (this.#long.length > LONG_MAX) {
      this.#long.shift();
      this.#longBefore++;
    }
    return this.#longBefore + this.#long.length;
  }

  /** Shows the whole of a long message, the newest or the one of a number. Returns false where there is none. */
  whole(number: number | undefined): boolean {
    const message = number === undefined ? this.#long.at(-1) : this.#long[number - this.#longBefore - 1];
    if (message) {
      this.#screen.print(messageText(message, this.#chats.me, this.style, { label: true, columns: this.#wrapColumns }));
    }
    return message !== undefined;
  }

  /**
   * Shows messages under a heading; the status of own ones stands where it changes, as it holds for those before too. `unread`:
   * a line stands before the last so many messages of others. `label`: they are of several conversations. `more`: words on older
   * ones, where there are any.
   */
  history(
    heading: string,
    messages: readonly Message[],
    { more, unread = 0, label = false }: { more?: string | undefined; unread?: number; label?: boolean } = {},
  ): void {
    const { me } = this.#chats;
    const lines = [this.style.bold(`=== ${sanitize(heading)} ===`)];
    if (more !== undefined) lines.push(this.style.dim(`(${more})`));
    if (messages.length === 0) lines.push(this.style.dim(label ? "(nothing was found)" : "(nothing was said yet)"));
    const statuses = this.#statuses(messages);
    const firstUnread = messages.filter(({ sender }) => sender !== me).at(-unread);
    let day: string | undefined;
    for (const message of messages) {
      const line = dayText(message.ts, day, this.style);
      if (line !== undefined) lines.push(line);
      day = dayOf(message.ts);
      if (unread > 0 && message === firstUnread) lines.push(this.style.warning("--- new ---"));
      lines.push(this.#text(message, label, statuses.get(message)));
    }
    if (day !== undefined) this.#day = day;
    this.#screen.print(lines.join("\n"));
  }

  /** Returns the status of those own messages after which another one has a different status, and of the last. */
  #statuses(messages: readonly Message[]): Map<Message, MessageStatus> {
    const own = messages.filter(({ sender }) => sender === this.#chats.me)
      .map((message) => [message, this.#chats.statusOf(message)] as const);
    return new Map(own.filter(([{ recipient }, status], index) => {
      return !own.slice(index + 1).some(([other, later]) => other.recipient === recipient && later === status);
    }));
  }

  #newDay(ts: string | undefined): void {
    const line = dayText(ts, this.#day, this.style);
    if (line !== undefined) this.#screen.print(line);
    this.#day = dayOf(ts);
  }

  /** Shows a notice, which has to be harmless already; nothing for undefined. */
  notice(text: string | undefined): void {
    if (text !== undefined) this.#screen.print(this.style.dim(text));
  }

  /** Shows a warning; `typed` is the line that it is about, which the screen may have taken away. */
  warning(text: string, typed?: string): void {
    if (typed !== undefined && !this.#screen.keepsTyped) this.#screen.print(this.style.dim(beginning(sanitize(typed))));
    this.#screen.print(this.style.warning(`! ${sanitize(text)}`));
  }

  /** Shows a problem of the connection, once for as long as it stays the same. */
  stateWarning(words: string): void {
    const [what = ""] = words.split(";");
    if (what === this.#warnedState) return;
    this.#warnedState = what;
    this.warning(words);
  }

  /** Notes that the connection is good: the next problem is shown again. */
  stateGood(): void {
    this.#warnedState = "";
  }

  /** Lists the conversations with unread messages, if any. */
  unread(): void {
    const unread = this.#chats.unread();
    if (unread.length === 0) return;
    const listed = unread.map(({ name, unread }) => `${sanitize(name)} ${unread}`).join(", ");
    this.notice(`Unread: ${listed}. /to NAME opens a conversation`);
  }

  /** Rings for a message, at most once in a while. */
  ring({ sender, recipient, content }: Message): void {
    const now = performance.now();
    if (now - this.#rangAt < RING_EVERY_MS) return;
    this.#rangAt = now;
    this.#screen.ring(ringText(isGroup(recipient) ? `${sender} in ${recipient}` : sender, content));
  }

  /** Updates the prompt. */
  prompt(phase: string): void {
    this.#screen.prompt = promptText(this.#chats, phase, performance.now());
  }
}
