/** `chat-client send NAME TEXT|-`: sends one message, or its parts, and waits until the server has stored it. */

import { type ChatClient, type Listeners, splitText, type State } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import { type ErrorFrame, ID_CHARS_MAX, type Message } from "../protocol.ts";
import { EXIT } from "./exit.ts";
import { jsonLine } from "./format.ts";
import { readInput } from "./input.ts";
import { openClient, type RunContext } from "./open.ts";
import { fail, print, warn } from "./output.ts";
import { addressOf } from "./settings.ts";
import { onSignal, statusOf } from "./signals.ts";
import { within } from "./within.ts";
import { refusedWords, stateWords } from "./words.ts";

/** Options of `send`. */
export interface SendOptions {
  readonly id: string | undefined;
  readonly json: boolean;
  /** Splits a text that is too large for one message. */
  readonly split: boolean;
  /** Milliseconds from connecting to the last ack. */
  readonly timeoutMs: number;
}

/** Sends one message, or its parts. Returns the exit status. */
export async function runSend(context: RunContext, operands: readonly string[], options: SendOptions): Promise<number> {
  const [to, ...words] = operands;
  if (to === undefined || words.length === 0) {
    throw new UsageError("send needs a name and a text: chat-client send alice hello");
  }
  const recipient = addressOf(to.replace(/^@/, ""), "the name");
  const content = words.length === 1 && words[0] === "-" ? await readInput() : words.join(" ");
  if (content === "") throw new UsageError("There is no text to send");
  if (options.id !== undefined && options.id.length > ID_CHARS_MAX) {
    throw new UsageError(`--id has at most ${ID_CHARS_MAX} characters`);
  }
  const run = new SendRun(context.account.server, options);
  await using open = await openClient(context, "send", { sendOnly: true, ...run.listeners });
  return await run.untilEnd(open.client, recipient, content);
}

/** One run of `send`. */
class SendRun {
  readonly listeners: Listeners = {
    refused: (error, message, retryMs) => this.#refuse(error, message, retryMs),
    state: (state) => this.#follow(state),
  };
  readonly #server: string;
  readonly #options: SendOptions;
  readonly #online = Promise.withResolvers<void>();
  /** Resolves to the exit status of a run that ends before its message is acked. */
  readonly #ended = Promise.withResolvers<number>();
  #wasOnline = false;

  constructor(server: string, options: SendOptions) {
    this.#server = server;
    this.#options = options;
  }

  /** Runs until the end. Returns the exit status. */
  async untilEnd(client: ChatClient, recipient: string, content: string): Promise<number> {
    const off = onSignal((signal) => this.#ended.resolve(statusOf(signal)));
    client.connect();
    const sent = this.#send(client, recipient, content);
    const code = await within(Promise.race([sent, this.#ended.promise]), this.#options.timeoutMs);
    off();
    return code ?? this.#late();
  }

  async #send(client: ChatClient, recipient: string, content: string): Promise<number> {
    await this.#online.promise; // the server says how large a message may be
    const fits = (part: string) => client.tooLarge(recipient, part) === undefined;
    const parts = this.#options.split ? splitText(content, fits) : [content];
    const words = parts.length > 1 ? undefined : client.tooLarge(recipient, content);
    if (words !== undefined) {
      fail(`Not sent to ${recipient}: ${words}. With --split it is sent in parts`, "too_large");
      return EXIT.refused;
    }
    const outcomes = await Promise.all(parts.map((part, index) => this.#one(client, recipient, part, index)));
    return outcomes.every((isStored) => isStored) ? EXIT.ok : EXIT.refused;
  }

  /** Sends a part. Resolves to true when it is stored, to false when it never will be. */
  async #one(client: ChatClient, recipient: string, part: string, index: number): Promise<boolean> {
    const { acked } = client.send(recipient, part, partId(this.#options.id, index));
    try {
      const ack = await acked;
      if (this.#options.json) print(jsonLine(ack));
      return true;
    } catch {
      return false; // `refused` or `state` has told why
    }
  }

  #refuse(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): void {
    const words = refusedWords(error, message, retryMs);
    if (message && retryMs === undefined) fail(words, error.code);
    else warn(words);
    if (retryMs === undefined && !message) this.#ended.resolve(EXIT.refused);
  }

  #follow(state: State): void {
    if (state.phase === "online") {
      this.#wasOnline = true;
      this.#online.resolve();
    }
    if (state.phase === "waiting") warn(stateWords(state, this.#server));
    if (state.phase === "closed" && state.needsUser) {
      fail(stateWords(state, this.#server), "closed");
      this.#ended.resolve(EXIT.refused);
    }
  }

  /** Tells that the time is over. Returns the exit status. */
  #late(): number {
    const { id, timeoutMs } = this.#options;
    const seconds = `${timeoutMs / 1_000} s`;
    const repeat = id === undefined ? "; with an --id it can be repeated" : ": sent again with the same --id, it arrives once";
    if (!this.#wasOnline) fail(`Not sent: there was no connection within ${seconds}`, "unreachable");
    else fail(`Not acked within ${seconds}, so it may or may not have arrived${repeat}`, "timeout");
    return EXIT.unreachable;
  }
}

/** Returns the id of a part: the given one for the first, and one made from it for each of the others, the same every time. */
export function partId(id: string | undefined, index: number): string | undefined {
  if (id === undefined || index === 0) return id;
  const end = `.${index + 1}`;
  return id.slice(0, ID_CHARS_MAX - end.length) + end;
}
