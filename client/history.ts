/** `chat-client history NAME`: prints a conversation, oldest message first. */

import { ChatError } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import { HISTORY_LIMIT_MAX, type Message } from "../protocol.ts";
import { EXIT } from "./exit.ts";
import { jsonLine, messageLine } from "./format.ts";
import { runOnline } from "./online.ts";
import type { RunContext } from "./open.ts";
import { print } from "./output.ts";
import { Progress } from "./progress.ts";
import { addressOf } from "./settings.ts";
import { within } from "./within.ts";

/** Milliseconds of each unit of a duration. */
const UNITS: Record<string, number> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/** Options of `history`. */
export interface HistoryOptions {
  readonly since: string | undefined;
  readonly limit: number;
  readonly json: boolean;
  /** Milliseconds for connecting, and for each page. */
  readonly timeoutMs: number;
}

/** Prints a conversation. Returns the exit status. */
export async function runHistory(context: RunContext, operands: readonly string[], options: HistoryOptions): Promise<number> {
  const [who, ...rest] = operands;
  if (who === undefined || rest.length > 0) throw new UsageError("history needs one name: chat-client history alice");
  const conversation = addressOf(who.replace(/^@/, ""), "the name");
  const since = options.since === undefined ? undefined : parseSince(options.since, Date.now());
  return await runOnline(context, options.timeoutMs, async (client) => {
    const source = withTimeout(client, options.timeoutMs);
    const limit = since === undefined ? options.limit : Infinity;
    for (const message of await gather(source, conversation, limit, since)) print(line(message, options.json));
    return EXIT.ok;
  });
}

/** The part of a client that {@linkcode gather} uses. */
interface HistorySource {
  history(query: { with: string; before?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
}

/** Returns a source whose pages have to come within a time each. */
function withTimeout(source: HistorySource, timeoutMs: number): HistorySource {
  return {
    async history(query) {
      const page = await within(source.history(query), timeoutMs);
      if (!page) throw new ChatError("timeout", `The server did not answer within ${timeoutMs / 1_000} s`);
      return page;
    },
  };
}

/**
 * Returns the newest `limit` messages of a conversation, oldest first, without those before `since` (milliseconds). Pages are
 * read backwards.
 */
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

/** Parses a date, or a time before now as `30m`, `12h`, `2d`, `1w`, to milliseconds. Throws a {@linkcode UsageError}. */
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
