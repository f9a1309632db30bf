/** The client between other programs: lines in are messages, messages out are lines, all else goes to stderr. */

import type { ChatClient, State } from "../chat_client.ts";
import type { ErrorFrame, Message } from "../protocol.ts";
import { messageLine } from "./format.ts";
import { Progress } from "./progress.ts";
import {
  EXIT,
  isNews,
  MISSED_WORDS,
  onSignal,
  openClient,
  type RunContext,
  stateWords,
  timeout,
  tryPrint,
  warn,
} from "./open.ts";
import { sanitize } from "./sanitize.ts";
import { addressOf } from "./settings.ts";

/** Messages that may wait to be acked before the next line is read. */
const OUTBOX_MAX = 64;

/** What a run between programs is told. */
export interface PipeOptions {
  readonly to: string | undefined;
  readonly json: boolean;
  readonly last: number | undefined;
  /** Milliseconds to wait for acks after the end of the input. */
  readonly timeoutMs: number;
}

/** Sends every line of stdin and prints what arrives until the input ends. The exit status. */
export async function runPipe(context: RunContext, options: PipeOptions): Promise<number> {
  const { server } = context.account;
  const to = options.to === undefined ? undefined : addressOf(options.to, "--to");
  const unreachable = Promise.withResolvers<number>();
  const synced = Promise.withResolvers<void>();
  let refused = 0;
  let wasOnline = false;
  let wasSlowed = false;
  let isRead = true;
  await using open = await openClient(context, "pipe", {
    ...(options.last === undefined ? {} : { last: options.last }),
    async message(message) {
      if (message.sender === client.user) return;
      if (isRead && !(isRead = tryPrint(messageLine(message, options.json)))) warn("Nobody reads what comes any more");
      if (isRead) return;
      synced.resolve(); // there is nothing to wait for
      await new Promise(() => {}); // not read, so not confirmed: it comes again
    },
    synced: () => synced.resolve(),
    welcome: (_, missed) => missed && warn(MISSED_WORDS),
    refused: (error, message, retryMs) => {
      if (message && retryMs === undefined) refused++;
      if (error.code !== "rate_limited") return warn(refusedWords(error, message, retryMs));
      if (!wasSlowed) warn(`The server takes no more than ${rateWords(client)}; the rest follows as it lets it`);
      wasSlowed = true;
    },
    state(state: State) {
      // A script rather hears at once that there is no server than waits for one.
      if (state.phase === "waiting" && !wasOnline) {
        warn(sanitize(state.reason));
        return unreachable.resolve(EXIT.unreachable);
      }
      if (isNews(state)) warn(stateWords(state, server));
      if (state.phase === "online") wasOnline = true;
      else if (state.phase === "closed" && state.needsUser) unreachable.resolve(EXIT.refused);
    },
  });
  const { client } = open;
  const off = onSignal((signal) => unreachable.resolve(signal === "SIGINT" ? 130 : 143));
  client.connect();

  const progress = new Progress(Deno.stdin);
  let handed = 0;
  const sendAll = async (): Promise<number> => {
    for await (const line of inputLines()) {
      if (line === "") continue;
      const [recipient, content] = to === undefined ? addressed(line) : [to, line];
      if (recipient === undefined) {
        refused++;
        warn(`Not sent, as it does not say to whom: start the line with @name, or give --to NAME`);
        continue;
      }
      client.send(recipient, content);
      handed++;
      progress.step(() => `${handed - client.outbox.length} messages sent so far`);
      await client.flushed(OUTBOX_MAX);
    }
    const late = timeout(options.timeoutMs);
    const end = await Promise.race([synced.promise.then(() => client.flushed()), late.passed]);
    late.cancel();
    if (end !== "timeout") {
      progress.done(() => `${handed} messages sent`);
      return refused > 0 ? EXIT.refused : EXIT.ok;
    }
    warn(client.outbox.length > 0 ? `${client.outbox.length} messages were not acked in time` : "The server took too long");
    return EXIT.unreachable;
  };
  const code = await Promise.race([sendAll(), unreachable.promise]);
  off();
  return code;
}

function rateWords({ welcome }: ChatClient): string {
  const { rate = 0, burst = 0 } = welcome?.limits ?? {};
  return rate > 0 ? `${burst} messages at once and ${rate} a second` : "so many messages at once";
}

/** `@name text` or `#group text`. */
function addressed(line: string): [string | undefined, string] {
  const [, name, text] = /^(?:@(?=[^#])|@?(?=#))(\S+?)[:,]?\s+(.*)$/su.exec(line) ?? [];
  if (name === undefined || text === undefined || text === "") return [undefined, ""];
  try {
    return [addressOf(name, "the name"), text];
  } catch {
    return [undefined, ""];
  }
}

/** Why something was not sent, or not yet, in one line. */
export function refusedWords(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): string {
  const words = sanitize(error.message);
  if (!message) return `The server refused something: ${words}`;
  if (retryMs === undefined) return `Not sent to ${message.recipient}: ${words}`;
  return `Waiting to send to ${message.recipient}: ${words}`;
}

/** The lines of stdin; the last may lack its line break. */
export async function* inputLines(): AsyncIterable<string> {
  let rest = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) yield line.replace(/\r$/, "");
  }
  if (rest !== "") yield rest;
}
