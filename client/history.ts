/** `chat-client history NAME`: what was said in a conversation, oldest first. */

import { ChatError } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import { HISTORY_LIMIT_MAX, type Message } from "../protocol.ts";
import { jsonLine, messageLine } from "./format.ts";
import { Progress } from "./progress.ts";
import { EXIT, isNews, openClient, print, type RunContext, stateWords, timeout, warn } from "./open.ts";
import { sanitize } from "./sanitize.ts";
import { addressOf } from "./settings.ts";

/** Milliseconds of the units that a duration may have. */
const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** What `history` is told. */
export interface HistoryOptions {
  readonly since: string | undefined;
  readonly limit: number;
  readonly json: boolean;
  readonly timeoutMs: number;
}

/** Prints a conversation. The exit status. */
export async function runHistory(context: RunContext, operands: readonly string[], options: HistoryOptions): Promise<number> {
  const [who, ...rest] = operands;
  if (who === undefined || rest.length > 0) throw new UsageError("history needs one name: chat-client history alice");
  const conversation = addressOf(who.replace(/^@/, ""), "the name");
  const since = options.since === undefined ? undefined : parseSince(options.since, Date.now());
  const online = Promise.withResolvers<number>();
  await using open = await openClient(context, "send", {
    sendOnly: true,
    state(state) {
      if (state.phase === "online") online.resolve(EXIT.ok);
      if (state.phase !== "online" && isNews(state)) warn(stateWords(state, context.account.server));
      if (state.phase === "closed") online.resolve(EXIT.refused);
    },
  });
  const late = timeout(options.timeoutMs);
  open.client.connect();
  const code = await Promise.race([online.promise, late.passed]);
  late.cancel();
  if (code !== EXIT.ok) return code === "timeout" ? EXIT.unreachable : code;
  const limit = since === undefined ? options.limit : Infinity;
  try {
    const source = inTime(open.client, options.timeoutMs);
    for (const message of await gather(source, conversation, limit, since)) print(line(message, options.json));
    return EXIT.ok;
  } catch (error) {
    if (!(error instanceof ChatError)) throw error;
    warn(sanitize(error.message));
    return error.code === "offline" || error.code === "timeout" ? EXIT.unreachable : EXIT.refused;
  }
}

/** What {@linkcode gather} needs of a client. */
interface HistorySource {
  history(query: { with: string; before?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
}

/** The same where every page has to come within a time. */
function inTime(source: HistorySource, timeoutMs: number): HistorySource {
  return {
    async history(query) {
      const late = timeout(timeoutMs);
      const asked = source.history(query);
      asked.catch(() => {}); // it may fail later
      const page = await Promise.race([asked, late.passed]).finally(() => late.cancel());
      if (page === "timeout") throw new ChatError("timeout", `The server did not answer within ${timeoutMs / 1_000} s`);
      return page;
    },
  };
}

/** The newest `limit` messages, none before `since`; pages are read backwards. */
export async function gather(
  source: HistorySource,
  conversation: string,
  limit: number,
  since: number | undefined,
): Promise<Message[]> {
  const pages: Message[][] = [];
  const progress = new Progress(Deno.stdout);
  let count = 0;
  let before: number | undefined;
  for (;;) {
    const wanted = Math.min(limit - count, HISTORY_LIMIT_MAX);
    const page = await source.history({ with: conversation, limit: wanted, ...(before === undefined ? {} : { before }) });
    const oldest = page.messages[0]?.seq;
    if (before !== undefined && oldest !== undefined && oldest >= before) break; // the server repeats itself
    const kept = page.messages.filter(({ ts }) => since === undefined || Date.parse(ts ?? "") >= since);
    pages.push(kept);
    count += kept.length;
    before = oldest;
    if (!page.more || before === undefined || kept.length < page.messages.length || count >= limit) break;
    progress.step(() => `${count} messages so far`);
  }
  return pages.reverse().flat().slice(-limit);
}

/** The time that `30m`, `12h`, `2d`, `1w` ago was, or a date; milliseconds. Throws a {@linkcode UsageError}. */
export function parseSince(text: string, now: number): number {
  const [, count, unit] = /^(\d{1,6})([smhdw])$/.exec(text) ?? [];
  if (count !== undefined) return now - Number(count) * UNITS[unit!]!;
  const time = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text.length === 10 ? `${text}T00:00` : text) : NaN;
  if (Number.isNaN(time)) {
    throw new UsageError(`--since is ${JSON.stringify(text)}; it can be 30m, 12h, 2d, 1w, or a date such as 2026-01-31`);
  }
  return time;
}

function line(message: Message, json: boolean): string {
  if (json) return jsonLine(message);
  const time = message.ts === undefined ? "" : `${new Date(message.ts).toLocaleString("sv")} `;
  return time + messageLine(message, false);
}
