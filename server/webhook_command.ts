/** `chat-server webhook`: looks at endpoints of webhooks, tries them, and gives orders to a server that runs or will. */

import { openPostgresFeedDesk } from "../broker/postgres.ts";
import { openSqliteFeedDesk } from "../broker/sqlite.ts";
import type { FeedDesk } from "../broker.ts";
import { UsageError, type Values } from "../cli/options.ts";
import { reasonOf } from "../ops/log.ts";
import { addressOf, StartError } from "./assemble.ts";
import type { WEBHOOK_OPTIONS } from "./options.ts";
import {
  bodyOf,
  bothWishes,
  type Endpoint,
  newPrivateKey,
  newSharedSecret,
  parsePlace,
  parseWish,
  passing,
  postWith,
  publicKeyOf,
  readEndpoints,
  signedHeaders,
  type Wish,
} from "./webhooks.ts";

type WebhookValues = Values<typeof WEBHOOK_OPTIONS>;

/** Runs `webhook` with its operands; returns what to print. Throws {@linkcode UsageError}, {@linkcode StartError} and others. */
export async function webhookCommand(operands: readonly string[], values: WebhookValues): Promise<string> {
  const [what, name, ...rest] = operands;
  const needsName = what === "test" || what === "replay" || what === "enable";
  if (rest.length > 0 || (needsName ? name === undefined : name !== undefined)) {
    throw new UsageError("webhook takes list, secret, or one of test, replay and enable with the name of an endpoint");
  }
  if (values.from !== undefined && what !== "replay") throw new UsageError("--from is for webhook replay");
  switch (what) {
    case "list":
      return await list(values);
    case "secret":
      return values.pair ? newPair() : newSharedSecret();
    case "test":
      return await test(endpointOf(name!, values));
    case "enable":
      return await order(name!, values, () => Promise.resolve({ do: "enable" }));
    case "replay":
      if (values.from === undefined) {
        throw new UsageError("webhook replay needs --from POSITION, or --from TIME such as 2026-09-01T10:00Z");
      }
      return await order(name!, values, (desk) => replayFrom(values.from!, desk));
    default:
      throw new UsageError("webhook takes list, test, replay, enable or secret");
  }
}

function newPair(): string {
  const secret = newPrivateKey();
  return `${secret}\n${publicKeyOf(secret)}\nThe first is for "secret" in the file of --webhooks, the second for receivers`;
}

function openDesk(values: WebhookValues): Promise<FeedDesk> {
  if (values.postgres === undefined) return Promise.resolve(openSqliteFeedDesk(values.data));
  return openPostgresFeedDesk(addressOf(values, values.postgres));
}

async function list(values: WebhookValues): Promise<string> {
  await using desk = await openDesk(values);
  const rows = (await desk.list()).filter(({ name }) => !name.includes(" "));
  const lines = rows.map(({ name, state, wish }) => {
    const { position, waited, change, begun, gone } = parsePlace(state);
    const words = [
      ...position === undefined ? [] : [`messages up to ${position}`],
      ...waited === undefined ? [] : [`undelivered up to ${waited}`],
      ...change === undefined ? [] : [`changes of groups up to ${change}`],
      `${begun.length} to be sent`,
      ...gone ? ["answered 410 Gone and gets nothing"] : [],
      ...wish === undefined ? [] : ["an order waits for the server"],
    ];
    return `${name}: ${words.join(", ")}`;
  });
  return lines.length > 0 ? lines.join("\n") : "No endpoint was ever sent anything";
}

function endpointOf(name: string, { webhooks }: WebhookValues): Endpoint {
  if (webhooks === undefined) throw new UsageError("webhook test needs --webhooks FILE");
  const endpoint = readEndpoints(webhooks).find((one) => one.name === name);
  if (!endpoint) throw new StartError(`There is no endpoint "${name}" in ${webhooks}`);
  return endpoint;
}

/** Sends one event that is for nothing else. */
async function test({ name, url, signers, timeoutMs, allowPrivate, ca }: Endpoint): Promise<string> {
  const event = passing("webhook.test", Date.now(), {}), body = bodyOf(event);
  const signed = signedHeaders(event.id, Math.floor(Date.now() / 1_000), body, signers);
  const headers = { "content-type": "application/json", "user-agent": "Parley-Webhooks/1", ...signed };
  const post = postWith();
  let status: number;
  try {
    ({ status } = await post({ url, headers, body, timeoutMs, allowPrivate, ca }));
  } catch (error) {
    throw new StartError(`${name} cannot be reached: ${reasonOf(error)}`);
  } finally {
    post.close?.();
  }
  if (status < 200 || status > 299) throw new StartError(`${name} answered ${status}, which is a failure`);
  return `${name} answered ${status}`;
}

async function order(name: string, values: WebhookValues, wishOf: (desk: FeedDesk) => Promise<Wish>): Promise<string> {
  await using desk = await openDesk(values);
  const wish = await wishOf(desk);
  const pending = (await desk.list()).find((one) => one.name === name)?.wish;
  const both = bothWishes(pending === undefined ? undefined : parseWish(pending), wish);
  if (!await desk.wish(name, JSON.stringify(both))) {
    throw new StartError(`No endpoint "${name}" was ever sent anything; chat-server webhook list has those that were`);
  }
  return wish.do === "enable"
    ? `${name} is enabled: a running server goes on within seconds, another at its start`
    : `${name} gets everything after ${wish.from} of the log again: from a running server within seconds, from another at its start`;
}

async function replayFrom(from: string, desk: FeedDesk): Promise<Wish> {
  if (/^\d{1,15}$/.test(from)) return { do: "replay", from: Number(from) };
  const ts = Date.parse(from);
  if (Number.isNaN(ts)) throw new UsageError(`--from "${from}" is neither a position nor a time such as 2026-09-01T10:00Z`);
  return { do: "replay", from: await desk.positionAt(ts), ts };
}
