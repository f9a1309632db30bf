/** The client between other programs: every line in is a message, every message out is a line, and stderr has the rest. */

import type { ChatClient, State } from "../chat_client.ts";
import { EXIT } from "./exit.ts";
import { messageLine } from "./format.ts";
import { inputLines } from "./input.ts";
import { openClient, type RunContext } from "./open.ts";
import { tryPrint, warn } from "./output.ts";
import { Progress } from "./progress.ts";
import { sanitize } from "./sanitize.ts";
import { addressOf } from "./settings.ts";
import { onSignal, statusOf } from "./signals.ts";
import { within } from "./within.ts";
import { isNews, MISSED_WORDS, refusedWords, stateWords } from "./words.ts";

/** Messages that may wait to be acked before the next line is read. */
const OUTBOX_MAX = 64;

/** Options of a run between programs. */
export interface PipeOptions {
  readonly to: string | undefined;
  readonly json: boolean;
  readonly last: number | undefined;
  /** Milliseconds to wait for acks after the end of the input. */
  readonly timeoutMs: number;
}

/** Sends every line of stdin, and prints what arrives, until the input ends. Returns the exit status. */
export async function runPipe(context: RunContext, options: PipeOptions): Promise<number> {
  const { server } = context.account;
  const to = options.to === undefined ? undefined : addressOf(options.to, "--to");
  const ended = Promise.withResolvers<number>();
  const synced = Promise.withResolvers<void>();
  let refused = 0;
  let wasOnline = false;
  let wasSlowed = false;
  let isRead = true;
  await using open = await openClient(context, "pipe", {
    ...(options.last === undefined ? {} : { last: options.last }),
    async message(message) {
      if (message.sender === client.user) return;
      if (isRead && !(isRead = tryPrint(messageLine(message, options.json)))) warn("Nobody reads the output any more");
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
      // A script would rather fail at once than wait for a server.
      if (state.phase === "waiting" && !wasOnline) {
        warn(sanitize(state.reason));
        return ended.resolve(EXIT.unreachable);
      }
      if (isNews(state)) warn(stateWords(state, server));
      if (state.phase === "online") wasOnline = true;
      else if (state.phase === "closed" && state.needsUser) ended.resolve(EXIT.refused);
    },
  });
  const { client } = open;
  const off = onSignal((signal) => ended.resolve(statusOf(signal)));
  client.connect();

  const progress = new Progress(Deno.stdin);
  let sent = 0;
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
      sent++;
      progress.step(() => `${sent - client.outbox.length} messages sent so far`);
      await client.flushed(OUTBOX_MAX);
    }
    const flushed = synced.promise.then(() => client.flushed()).then(() => true);
    if (await within(flushed, options.timeoutMs)) {
      progress.done(() => `${sent} messages sent`);
      return refused > 0 ? EXIT.refused : EXIT.ok;
    }
    warn(client.outbox.length > 0 ? `${client.outbox.length} messages were not acked in time` : "The server took too long");
    return EXIT.unreachable;
  };
  const code = await Promise.race([sendAll(), ended.promise]);
  off();
  return code;
}

function rateWords({ welcome }: ChatClient): string {
  const { rate = 0, burst = 0 } = welcome?.limits ?? {};
  return rate > 0 ? `${burst} messages at once and ${rate} a second` : "so many messages at once";
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
