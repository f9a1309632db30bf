/** `chat-client send NAME TEXT|-`: sends one message and waits until the server has stored it. */

import { ChatError } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import { ID_CHARS_MAX } from "../protocol.ts";
import { EXIT } from "./exit.ts";
import { jsonLine } from "./format.ts";
import { readInput } from "./input.ts";
import { openClient, type RunContext } from "./open.ts";
import { print, warn } from "./output.ts";
import { addressOf } from "./settings.ts";
import { onSignal, statusOf } from "./signals.ts";
import { within } from "./within.ts";
import { refusedWords, stateWords } from "./words.ts";

/** Options of `send`. */
export interface SendOptions {
  readonly id: string | undefined;
  readonly json: boolean;
  /** Milliseconds from connecting to the ack. */
  readonly timeoutMs: number;
}

/** Sends one message. Returns the exit status. */
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
  const failed = Promise.withResolvers<number>();
  let reason = "The server did not answer";
  let wasOnline = false;
  await using open = await openClient(context, "send", {
    sendOnly: true,
    refused: (error, message, retryMs) => {
      reason = refusedWords(error, message, retryMs);
      if (retryMs !== undefined || !message) warn(reason);
      if (retryMs === undefined && !message) failed.resolve(EXIT.refused);
    },
    state(state) {
      if (state.phase === "online") wasOnline = true;
      if (state.phase === "waiting") warn(reason = stateWords(state, context.account.server));
      if (state.phase === "closed" && state.needsUser) {
        warn(stateWords(state, context.account.server));
        failed.resolve(EXIT.refused);
      }
    },
  });
  const off = onSignal((signal) => failed.resolve(statusOf(signal)));
  open.client.connect();
  const { acked } = open.client.send(recipient, content, options.id);
  const sent = acked.then((ack) => {
    if (options.json) print(jsonLine(ack));
    return EXIT.ok;
  }, (error: ChatError) => {
    if (error.code !== "closed") warn(reason);
    return EXIT.refused;
  });
  const code = await within(Promise.race([sent, failed.promise]), options.timeoutMs);
  off();
  if (code !== undefined) return code;
  const seconds = `${options.timeoutMs / 1_000} s`;
  if (!wasOnline) warn(`Not sent: there was no connection within ${seconds}`);
  else if (options.id === undefined) {
    warn(`Not acked within ${seconds}, so it may or may not have arrived; with an --id it can be repeated`);
  } else warn(`Not acked within ${seconds}, so it may or may not have arrived: sent again with the same --id, it arrives once`);
  return EXIT.unreachable;
}
