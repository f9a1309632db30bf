/** The client between other programs: every line in is a message, every message out is a line, and stderr has the rest. */

import { type ChatClient, type Listeners, splitText, type State } from "../chat_client.ts";
import type { ErrorFrame, Message } from "../protocol.ts";
import { EXIT } from "./exit.ts";
import { messageLine } from "./format.ts";
import { InputError, inputLines } from "./input.ts";
import { openClient, type RunContext } from "./open.ts";
import { fail, tryPrint, warn } from "./output.ts";
import { Progress } from "./progress.ts";
import { sanitize } from "./sanitize.ts";
import { addressOf } from "./settings.ts";
import { onSignal, statusOf } from "./signals.ts";
import { within } from "./within.ts";
import { MISSED_WORDS, refusedWords, StateNews, stateWords } from "./words.ts";

/** Messages that may wait to be acked before the next line is read: more than may be on their way, so that none waits for a line. */
const OUTBOX_MAX = 512;

/** Options of a run between programs. */
export interface PipeOptions {
  readonly to: string | undefined;
  readonly json: boolean;
  /** Says nothing but what is wrong. */
  readonly quiet: boolean;
  /** Splits lines that are too large for one message. */
  readonly split: boolean;
  readonly last: number | undefined;
  /** Milliseconds to wait for acks after the end of the input. */
  readonly timeoutMs: number;
}

/** Sends every line of stdin, and prints what arrives, until the input ends. Returns the exit status. */
export async function runPipe(context: RunContext, options: PipeOptions): Promise<number> {
  const to = options.to === undefined ? undefined : addressOf(options.to, "--to");
  const run = new PipeRun(context.account.server, options);
  await using open = await openClient(context, "pipe", {
    ...(options.last === undefined ? {} : { last: options.last }),
    ...run.listeners,
  });
  return await run.untilEnd(open.client, to);
}

/** One run between programs. */
class PipeRun {
  readonly listeners: Listeners = {
    message: (message) => this.#print(message),
    synced: () => this.#synced.resolve(),
    welcome: (_, missed) => missed && warn(MISSED_WORDS),
    refused: (error, message, retryMs) => this.#refuse(error, message, retryMs),
    state: (state) => this.#follow(state),
  };
  readonly #server: string;
  readonly #options: PipeOptions;
  readonly #progress = new Progress(Deno.stdin);
  readonly #news = new StateNews();
  /** Resolves to the exit status of a run that ends before its input. */
  readonly #ended = Promise.withResolvers<number>();
  readonly #online = Promise.withResolvers<void>();
  readonly #synced = Promise.withResolvers<void>();
  #client!: ChatClient;
  /** Numbers of lines that were sent, and that will never be. */
  #sent = 0;
  #refused = 0;
  #wasOnline = false;
  #wasSlowed = false;
  #isOutputRead = true;

  constructor(server: string, options: PipeOptions) {
    this.#server = server;
    this.#options = options;
  }

  /** Runs until the end. Returns the exit status. */
  async untilEnd(client: ChatClient, to: string | undefined): Promise<number> {
    this.#client = client;
    const off = onSignal((signal) => this.#ended.resolve(statusOf(signal)));
    client.connect();
    const status = await Promise.race([this.#sendInput(to), this.#ended.promise]);
    off();
    return status;
  }

  // ---- In ----

  async #sendInput(to: string | undefined): Promise<number> {
    const client = this.#client;
    await this.#online.promise; // the server says how large a message may be
    for await (const line of this.#lines()) {
      if (line === "") continue;
      const [recipient, content] = to === undefined ? addressed(line) : [to, line];
      if (recipient === undefined) {
        this.#refused++;
        fail("Not sent, as it does not say to whom: start the line with @name, or give --to NAME", "no_recipient");
        continue;
      }
      for (const part of this.#partsOf(recipient, content)) {
        client.send(recipient, part);
        this.#sent++;
        this.#tellOfRate();
        this.#progress.step(() => `${this.#sent - client.outbox.length} messages sent so far`);
        await client.flushed(OUTBOX_MAX);
      }
    }
    return await this.#finish();
  }

  /** Yields the lines of the input. One that is no text is told, counts as refused, and is the last. */
  async *#lines(): AsyncGenerator<string> {
    try {
      yield* inputLines();
    } catch (error) {
      if (!(error instanceof InputError)) throw error;
      fail(error.message, "bad_input");
      this.#refused++;
    }
  }

  /** Returns the messages that a line is sent as: itself, or parts of it where it is too large; none where it cannot be sent. */
  #partsOf(recipient: string, content: string): string[] {
    const words = this.#client.tooLarge(recipient, content);
    if (words === undefined) return [content];
    if (this.#options.split) return splitText(content, (part) => this.#client.tooLarge(recipient, part) === undefined);
    this.#refused++;
    fail(`Not sent to ${recipient}: ${words}. With --split it is sent in parts`, "too_large");
    return [];
  }

  #tellOfRate(): void {
    const { rate = 0, burst = 0 } = this.#client.welcome?.limits ?? {};
    if (rate === 0 || this.#sent <= burst || this.#wasSlowed || this.#options.quiet) return;
    this.#wasSlowed = true;
    warn(`The server takes no more than ${burst} messages at once and ${rate} a second; the rest follows as it lets it`);
  }

  /** Waits for the acks of everything sent, and for everything missed. */
  async #finish(): Promise<number> {
    const client = this.#client;
    const finished = this.#synced.promise.then(() => client.flushed()).then(() => true);
    if (await within(finished, this.#options.timeoutMs)) {
      this.#progress.done(() => `${this.#sent} messages sent`);
      return this.#refused > 0 ? EXIT.refused : EXIT.ok;
    }
    const waiting = client.outbox.length;
    fail(waiting > 0 ? `${waiting} messages were not acked in time` : "The server took too long", "timeout");
    return EXIT.unreachable;
  }

  // ---- Out ----

  async #print(message: Message): Promise<void> {
    if (message.sender === this.#client.user) return;
    if (this.#isOutputRead && tryPrint(messageLine(message, this.#options.json))) return;
    if (this.#isOutputRead) warn("Nobody reads the output any more");
    this.#isOutputRead = false;
    this.#synced.resolve(); // nothing more can be taken, so there is nothing to wait for
    await new Promise(() => {}); // a message that nobody read is not confirmed, and comes again
  }

  #refuse(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): void {
    if (message && retryMs === undefined) this.#refused++;
    if (message && retryMs === undefined) return fail(refusedWords(error, message, retryMs), error.code);
    if (error.code !== "rate_limited") return warn(refusedWords(error, message, retryMs));
    if (!this.#wasSlowed && !this.#options.quiet) {
      warn("The server takes no more messages at once; the rest follows as it lets it");
    }
    this.#wasSlowed = true;
  }

  #follow(state: State): void {
    // A script would rather fail at once than wait for a server.
    if (state.phase === "waiting" && !this.#wasOnline) {
      fail(sanitize(state.reason), "unreachable");
      return this.#ended.resolve(EXIT.unreachable);
    }
    const isNew = this.#news.isNew(state);
    if (isNew && !(this.#options.quiet && state.phase === "online")) warn(stateWords(state, this.#server));
    if (state.phase === "online") {
      this.#wasOnline = true;
      this.#online.resolve();
    }
    if (state.phase === "closed" && state.needsUser) this.#ended.resolve(EXIT.refused);
  }
}

/** Splits a line that says its recipient: `@name text`, `#group text`. The recipient is undefined where it says none. */
function addressed(line: string): [string | undefined, string] {
  const [, name, text] = /^(?:@(?=[^#])|@?(?=#))(\S+?)[:,]?\s+(.*)$/su.exec(line) ?? [];
  if (name === undefined || text === undefined || text === "") return [undefined, ""];
  try {
    return [addressOf(name, "the name"), text];
  } catch {
    return [undefined, ""];
  }
}
