/** `chat-client admin list|disconnect|create`: what administrators do, whose token says so. */

import { type ChatClient, ChatError } from "../chat_client.ts";
import { UsageError } from "../cli/options.ts";
import { parseName, Refusal, type ServerFrameOf } from "../protocol.ts";
import { EXIT } from "./exit.ts";
import { jsonLine } from "./format.ts";
import type { RunContext } from "./open.ts";
import { runOnline } from "./online.ts";
import { fail, print } from "./output.ts";
import { sanitize } from "./sanitize.ts";

/** Options of `admin`. */
export interface AdminOptions {
  readonly json: boolean;
  /** Milliseconds for connecting, and for each answer. */
  readonly timeoutMs: number;
}

type Op = ServerFrameOf<"admin">["op"];

/** Carries out one operation. Returns the exit status. */
export async function runAdmin(context: RunContext, operands: readonly string[], options: AdminOptions): Promise<number> {
  const { op, user } = parseOperands(operands);
  return await runOnline(context, options.timeoutMs, async (client) => {
    if (op === "list" || user === undefined) return await list(client, options.json);
    const answer = await client.admin({ op, user });
    if (options.json) print(jsonLine(answer));
    else if (op === "disconnect") print(`${sanitize(user)}: ${answer.closed ?? 0} connections closed`);
    else print(answer.created ? `${sanitize(user)} is known now` : `${sanitize(user)} was known before`);
    if (op !== "disconnect" || answer.closed) return EXIT.ok;
    fail(`${user} was not connected`, "offline");
    return EXIT.refused;
  });
}

/** Checks the words after `admin`. Throws a {@linkcode UsageError}. */
function parseOperands([op, name, ...rest]: readonly string[]): { op: Op; user: string | undefined } {
  if (op !== "list" && op !== "disconnect" && op !== "create") {
    throw new UsageError("admin needs one of list, disconnect NAME and create NAME");
  }
  if (op === "list" ? name !== undefined : name === undefined || rest.length > 0) {
    throw new UsageError(op === "list" ? "admin list takes no name" : `admin ${op} takes one name`);
  }
  if (name === undefined) return { op, user: undefined };
  const user = parseName(name.replace(/^@/, ""), "the name");
  if (user instanceof Refusal) throw new UsageError(user.message);
  return { op, user };
}

async function list(client: ChatClient, json: boolean): Promise<number> {
  let after: string | undefined;
  do {
    const { users = [], more } = await client.admin({ op: "list", ...(after === undefined ? {} : { after }) });
    for (const { user, devices } of users) {
      print(json ? jsonLine({ user, devices }) : `${sanitize(user)}  ${devices.map((device) => sanitize(device)).join(" ")}`);
    }
    const last = users.at(-1)?.user;
    if (last !== undefined && after !== undefined && last <= after) {
      throw new ChatError("internal", "The server repeats itself");
    }
    after = more ? last : undefined;
  } while (after !== undefined);
  return EXIT.ok;
}
