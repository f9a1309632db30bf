/** Puts what happens onto the screen: messages in their place, days between them, notices aside. */

import { isGroup, type Message } from "../../protocol.ts";
import type { Chats, Mark, Placement } from "./model.ts";
import { sanitize } from "../sanitize.ts";
import type { Surface } from "./screen.ts";
import type { Style } from "./style.ts";
import { dayOf, dayText, messageText, previewText, promptText, ringText } from "./view.ts";

/** Milliseconds between two bells or notifications: a flood of messages is none of those. */
const RING_EVERY_MS = 1_000;

/** What a person sees of the chat. */
export class ChatDisplay {
  readonly style: Style;
  readonly #screen: Surface;
  readonly #chats: Chats;
  #day: string | undefined;
  #stateWords = "";
  #rangAt = -Infinity;

  constructor(screen: Surface, chats: Chats, style: Style) {
    this.#screen = screen;
    this.#chats = chats;
    this.style = style;
  }

  /** A message, whole where it is in view. */
  message(message: Message, placement: Placement, mark?: Mark): void {
    this.#newDay(message.ts);
    const { me, current } = this.#chats;
    const own = message.sender === me;
    const beside = placement === "beside" || (own && current !== undefined && message.recipient !== current);
    if (beside && !own) return this.#screen.print(previewText(message, this.style, this.#screen.columns));
    this.#screen.print(messageText(message, me, this.style, current === undefined || beside, mark));
  }

  /** A page of a conversation, with a heading, and marks on what this user said. */
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
      const mark = message.sender === me ? this.#chats.markOf(message) : undefined;
      lines.push(messageText(message, me, this.style, false, mark));
    }
    if (day !== undefined) this.#day = day;
    this.#screen.print(lines.join("\n"));
  }

  #newDay(ts: string | undefined): void {
    const line = dayText(ts, this.#day, this.style);
    if (line !== undefined) this.#screen.print(line);
    this.#day = dayOf(ts);
  }

  /** Something worth knowing. */
  notice(text: string | undefined): void {
    if (text !== undefined) this.#screen.print(this.style.dim(text));
  }

  /** Something that went wrong; `typed` is what was typed for it. */
  warning(text: string, typed?: string): void {
    if (typed !== undefined && !this.#screen.keepsTyped) this.#screen.print(this.style.dim(sanitize(typed)));
    this.#screen.print(this.style.warning(`! ${sanitize(text)}`));
  }

  /** What is wrong with the connection, once for as long as it is the same. */
  stateWarning(words: string): void {
    const [what = ""] = words.split(";");
    if (what === this.#stateWords) return;
    this.#stateWords = what;
    this.warning(words);
  }

  /** The connection is good: the next failure is told again. */
  stateGood(): void {
    this.#stateWords = "";
  }

  /** What is unread elsewhere, where anything is. */
  unread(): void {
    const unread = this.#chats.unread();
    if (unread.length === 0) return;
    const listed = unread.map(({ name, unread }) => `${sanitize(name)} ${unread}`).join(", ");
    this.notice(`Unread: ${listed}. /to NAME opens a conversation`);
  }

  /** Rings for a message, now and then where many come. */
  ring({ sender, recipient, content }: Message): void {
    const now = performance.now();
    if (now - this.#rangAt < RING_EVERY_MS) return;
    this.#rangAt = now;
    this.#screen.ring(ringText(isGroup(recipient) ? `${sender} in ${recipient}` : sender, content));
  }

  prompt(phase: string): void {
    this.#screen.prompt = promptText(this.#chats, phase, Date.now());
  }
}
