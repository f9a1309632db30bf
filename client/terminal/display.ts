/** Display of the chat: messages with days between them, notices, warnings, the prompt. */

import { isGroup, type Message } from "../../protocol.ts";
import type { Chats, MessageStatus, Placement } from "./model.ts";
import { sanitize } from "../sanitize.ts";
import type { Surface } from "./screen.ts";
import type { Style } from "./style.ts";
import { dayOf, dayText, messageText, previewText, promptText, ringText } from "./view.ts";

/** Milliseconds between two bells or notifications: a flood of messages rings once. */
const RING_EVERY_MS = 1_000;

/** Writes the chat to a screen. Everything from others is made harmless on its way. */
export class ChatDisplay {
  readonly style: Style;
  readonly #screen: Surface;
  readonly #chats: Chats;
  #day: string | undefined;
  #warnedState = "";
  #rangAt = -Infinity;

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
    this.#screen.print(messageText(message, me, this.style, current === undefined || beside, status));
  }

  /** Shows messages of a conversation under a heading, own ones with their status. `more`: there are older ones. */
  history(conversation: string, messages: readonly Message[], more: boolean): void {
    const { me } = this.#chats;
    const lines = [this.style.bold(`=== ${sanitize(conversation)} ===`)];
    if (more) lines.push(this.style.dim("(there is more before this: /history N)"));
    if (messages.length === 0) lines.push(this.style.dim("(nothing was said yet)"));
    let day: string | undefined;
    for (const message of messages) {
      const line = dayText(message.ts, day, this.style);
      if (line !== undefined) lines.push(line);
      day = dayOf(message.ts);
      const status = message.sender === me ? this.#chats.statusOf(message) : undefined;
      lines.push(messageText(message, me, this.style, false, status));
    }
    if (day !== undefined) this.#day = day;
    this.#screen.print(lines.join("\n"));
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
    if (typed !== undefined && !this.#screen.keepsTyped) this.#screen.print(this.style.dim(sanitize(typed)));
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
