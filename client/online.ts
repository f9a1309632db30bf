/** One question to the server: connects, asks, and ends. For commands of scripts, whose exit status says what became of it. */

import { type ChatClient, ChatError } from "../chat_client.ts";
import { EXIT } from "./exit.ts";
import { openClient, type RunContext } from "./open.ts";
import { fail, warn } from "./output.ts";
import { sanitize } from "./sanitize.ts";
import { within } from "./within.ts";
import { isNews, stateWords } from "./words.ts";

/**
 * Connects within `timeoutMs` milliseconds and lets `ask` do its work, which returns the exit status and may throw a
 * {@linkcode ChatError}. Takes nothing away from the user's other devices.
 */
export async function runOnline(
  context: RunContext,
  timeoutMs: number,
  ask: (client: ChatClient) => Promise<number>,
): Promise<number> {
  const online = Promise.withResolvers<number>();
  await using open = await openClient(context, "send", {
    sendOnly: true,
    state(state) {
      if (state.phase === "online") return online.resolve(EXIT.ok);
      const words = stateWords(state, context.account.server);
      if (state.phase === "closed") {
        if (state.needsUser) fail(words, "closed");
        return online.resolve(EXIT.refused);
      }
      if (isNews(state)) warn(words);
    },
  });
  open.client.connect();
  const code = await within(online.promise, timeoutMs) ?? EXIT.unreachable;
  if (code !== EXIT.ok) return code;
  try {
    return await ask(open.client);
  } catch (error) {
    if (!(error instanceof ChatError)) throw error;
    fail(sanitize(error.message), error.code);
    return error.code === "offline" || error.code === "timeout" ? EXIT.unreachable : EXIT.refused;
  }
}
