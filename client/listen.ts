/** `chat-client listen`: prints messages, or runs a program for each, and goes on where it stopped. */

import { conversationOf } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import type { Message } from "../protocol.ts";
import { EXIT } from "./exit.ts";
import { messageLine } from "./format.ts";
import { openClient, type RunContext } from "./open.ts";
import { print, warn } from "./output.ts";
import { Progress } from "./progress.ts";
import { type Account, addressOf } from "./settings.ts";
import { onSignal } from "./signals.ts";
import { within } from "./within.ts";
import { isNews, MISSED_WORDS, stateWords } from "./words.ts";

/** Milliseconds that a program has to finish with its message when listening is to stop; a service manager waits longer. */
const STOP_MS = 10_000;

/** Options of `listen`. */
export interface ListenOptions {
  readonly from: string | undefined;
  readonly exec: string | undefined;
  readonly json: boolean;
  readonly last: number | undefined;
}

/** Listens until a signal, or until the server ends it for good. Returns the exit status. */
export async function runListen(context: RunContext, operands: readonly string[], options: ListenOptions): Promise<number> {
  if (operands.length > 0) throw new UsageError(`listen takes no ${JSON.stringify(operands[0])}; did you mean --from?`);
  if (options.exec?.trim() === "") throw new UsageError("--exec needs a command");
  const from = options.from === undefined ? undefined : addressOf(options.from.replace(/^@/, ""), "--from");
  const ended = Promise.withResolvers<number>();
  const progress = new Progress(Deno.stdout);
  // A message that is not finished is not confirmed, and comes again.
  const never = new Promise<void>(() => {});
  let running: Promise<unknown> = Promise.resolve();
  let isStopping = false;
  let isCatchingUp = true;
  let count = 0;
  await using open = await openClient(context, "listen", {
    ...(options.last === undefined ? {} : { last: options.last }),
    // A program may do something that must not be done again: confirm each of its messages.
    ...(options.exec === undefined ? {} : { confirmEvery: 1 }),
    async message(message) {
      const me = client.user;
      if (message.sender === me || (from !== undefined && !isFrom(message, from, me))) return;
      if (isCatchingUp && ++count) progress.step(() => `${count} messages so far`);
      try {
        if (options.exec === undefined) return print(messageLine(message, options.json));
        if (isStopping) return await never;
        running = runFor(message, options.exec, me, context.account);
        const signal = await running;
        if (isStopping && signal !== null) await never; // the signal was for both
      } catch (error) {
        warn((error as Error).message);
        ended.resolve(EXIT.refused);
        await never;
      }
    },
    synced() {
      isCatchingUp = false;
      progress.done(() => `${count} messages: all that was missed`);
    },
    welcome: (_, missed) => missed && warn(MISSED_WORDS),
    state(state) {
      if (isNews(state)) warn(stateWords(state, context.account.server));
      if (state.phase === "closed" && state.needsUser) ended.resolve(EXIT.refused);
    },
  }, options.exec === undefined && from === undefined ? "" : `${options.exec ?? ""} ${from ?? ""}`);
  const { client } = open;
  const off = onSignal(() => {
    if (isStopping) return ended.resolve(EXIT.ok);
    isStopping = true;
    // A turn later the message of the program that has ended is noted as taken.
    within(running.catch(() => {}), STOP_MS).then(() => setTimeout(() => ended.resolve(EXIT.ok)));
  });
  client.connect();
  const code = await ended.promise;
  off();
  return code;
}

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
