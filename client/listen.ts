/** `chat-client listen`: prints messages, or runs a program for each, and goes on where it stopped. */

import { type ChatClient, conversationOf, type Listeners, type State } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import type { Message } from "../protocol.ts";
import { checkProgram } from "./exec.ts";
import { EXIT } from "./exit.ts";
import { messageLine } from "./format.ts";
import { openClient, type RunContext } from "./open.ts";
import { fail, print, warn } from "./output.ts";
import { Progress } from "./progress.ts";
import { type Account, addressOf } from "./settings.ts";
import { onSignal } from "./signals.ts";
import { within } from "./within.ts";
import { MISSED_WORDS, StateNews, stateWords } from "./words.ts";

/** Milliseconds that a program has to finish with its message when listening is to stop; a service manager waits longer. */
const STOP_MS = 10_000;

/** Options of `listen`. */
export interface ListenOptions {
  readonly from: string | undefined;
  readonly exec: string | undefined;
  readonly json: boolean;
  readonly last: number | undefined;
  /** Messages after which it ends. */
  readonly count: number | undefined;
  /** Seconds without a message after which it ends. */
  readonly idle: number | undefined;
  /** Says nothing but what is wrong. */
  readonly quiet: boolean;
}

/** Listens until a signal, the end that the options name, or until the server ends it for good. Returns the exit status. */
export async function runListen(context: RunContext, operands: readonly string[], options: ListenOptions): Promise<number> {
  if (operands.length > 0) throw new UsageError(`listen takes no ${JSON.stringify(operands[0])}; did you mean --from?`);
  const { exec, last } = options;
  if (exec !== undefined) checkProgram(exec);
  const from = options.from === undefined ? undefined : addressOf(options.from.replace(/^@/, ""), "--from");
  const run = new ListenRun(context.account, { ...options, from });
  const work = exec === undefined && from === undefined ? "" : `${exec ?? ""} ${from ?? ""}`;
  await using open = await openClient(context, "listen", {
    ...(last === undefined ? {} : { last }),
    // A program may do something that must not be done again: confirm each of its messages.
    ...(exec === undefined ? {} : { confirmEvery: 1 }),
    ...run.listeners,
  }, work);
  return await run.untilEnd(open.client);
}

/** Resolves never: the message that waits for it is not confirmed, and comes again in the next run. */
const NEVER = new Promise<void>(() => {});

/** One run of `listen`. */
class ListenRun {
  readonly listeners: Listeners = {
    message: (message) => this.#receive(message),
    synced: () => this.#caughtUp(),
    welcome: (_, missed) => missed && warn(MISSED_WORDS),
    state: (state) => this.#follow(state),
  };
  readonly #account: Account;
  readonly #options: ListenOptions;
  readonly #progress = new Progress(Deno.stdout);
  readonly #news = new StateNews();
  readonly #ended = Promise.withResolvers<number>();
  #client!: ChatClient;
  /** The program that runs, or ran last. */
  #running: Promise<unknown> = Promise.resolve();
  #isStopping = false;
  #isCatchingUp = true;
  #missed = 0;
  /** Number of messages that were handled. */
  #handled = 0;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(account: Account, options: ListenOptions) {
    this.#account = account;
    this.#options = options;
  }

  /** Runs until the end. Returns the exit status. */
  async untilEnd(client: ChatClient): Promise<number> {
    this.#client = client;
    const off = onSignal(() => this.#stop());
    client.connect();
    this.#restartIdle();
    const status = await this.#ended.promise;
    clearTimeout(this.#idleTimer);
    off();
    return status;
  }

  async #receive(message: Message): Promise<void> {
    const { user } = this.#client;
    const { from } = this.#options;
    if (message.sender === user || (from !== undefined && !isFrom(message, from, user))) return;
    if (this.#isCatchingUp) {
      this.#missed++;
      this.#progress.step(() => `${this.#missed} messages so far`);
    }
    if (this.#isStopping) return await NEVER;
    clearTimeout(this.#idleTimer);
    try {
      await this.#handle(message);
    } catch (error) {
      fail((error as Error).message, "failed");
      this.#ended.resolve(EXIT.refused);
      await NEVER;
    }
    if (++this.#handled === this.#options.count) this.#stop();
    this.#restartIdle();
  }

  /** Waits anew for the time without a message in which it ends. */
  #restartIdle(): void {
    const { idle, count } = this.#options;
    clearTimeout(this.#idleTimer);
    if (idle === undefined || this.#isStopping) return;
    const isEnough = count === undefined;
    this.#idleTimer = setTimeout(() => {
      const isOnline = this.#client.state.phase === "online";
      if (!isOnline) fail("There is no connection, so nothing could come", "offline");
      else if (!isEnough) fail(`${this.#handled} of ${count} messages came`, "timeout");
      this.#ended.resolve(isOnline && isEnough ? EXIT.ok : EXIT.unreachable);
    }, idle * 1_000);
  }

  /** Prints a message, or runs the program for it. Resolves when the message can be confirmed. */
  async #handle(message: Message): Promise<void> {
    const { exec, json } = this.#options;
    if (exec === undefined) return print(messageLine(message, json));
    const program = runFor(message, exec, this.#client.user, this.#account);
    this.#running = program;
    const signal = await program;
    if (this.#isStopping && signal !== null) await NEVER; // the signal that asked to stop ended the program too
  }

  #caughtUp(): void {
    this.#isCatchingUp = false;
    this.#progress.done(() => `${this.#missed} messages: all that was missed`);
  }

  #follow(state: State): void {
    const words = stateWords(state, this.#account.server), isNew = this.#news.isNew(state);
    if (state.phase === "closed" && state.needsUser) fail(words, "closed");
    else if (isNew && !(this.#options.quiet && state.phase === "online")) warn(words);
    if (state.phase === "closed" && state.needsUser) this.#ended.resolve(EXIT.refused);
  }

  /** Waits for the program that runs, and ends; at once when asked a second time. */
  #stop(): void {
    if (this.#isStopping) return this.#ended.resolve(EXIT.ok);
    this.#isStopping = true;
    // A turn later the message of the program that has ended is noted as taken.
    within(this.#running.catch(() => {}), STOP_MS).then(() => setTimeout(() => this.#ended.resolve(EXIT.ok)));
  }
}

/** Returns whether a message is from a person, or in the conversation `from`. */
function isFrom(message: Message, from: string, me: string): boolean {
  return message.sender === from || conversationOf(message, me) === from;
}

/**
 * Runs a program with a message on its input. Resolves to the signal that ended it; rejects where it cannot be run. Its exit
 * status is reported and changes nothing.
 */
async function runFor(message: Message, command: string, me: string, account: Account): Promise<Deno.Signal | null> {
  const { server, files } = account;
  const [program = "", ...args] = command.trim().split(/\s+/);
  const child = spawn(program, {
    args,
    env: {
      PARLEY_SERVER: server,
      PARLEY_NAME: me,
      ...(files.token === undefined ? {} : { PARLEY_TOKEN_FILE: files.token }),
      ...(files.ca === undefined ? {} : { PARLEY_CA: files.ca }),
      PARLEY_DEVICE: "", // a device of its own, as with this one's name it would take its place
      PARLEY_SENDER: message.sender,
      PARLEY_RECIPIENT: message.recipient,
      PARLEY_CONVERSATION: conversationOf(message, me),
      PARLEY_ID: message.id ?? "",
      PARLEY_SEQ: String(message.seq ?? ""),
      PARLEY_TS: /^[\dTZ:.+-]+$/.test(message.ts ?? "") ? message.ts! : "",
    },
    stdin: "piped",
    stdout: "inherit",
    stderr: "inherit",
  });
  const writer = child.stdin.getWriter();
  // A program need not read its input.
  await writer.write(new TextEncoder().encode(message.content)).then(() => writer.close()).catch(() => {});
  const { code, signal } = await child.status;
  if (code !== 0) warn(`${program} ended with ${signal ?? `status ${code}`}`);
  return signal;
}

function spawn(program: string, options: Deno.CommandOptions): Deno.ChildProcess {
  try {
    return new Deno.Command(program, options).spawn();
  } catch (error) {
    throw new Error(`Cannot run ${program}: ${(error as Error).message}`);
  }
}
