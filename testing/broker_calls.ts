/** Calls of the broker port at random, for tests that ask two brokers the same. */

import type { Broker, Marker, MarkerMove } from "../broker.ts";
import { pick } from "./random.ts";

/** Bounds that are small enough for random calls to meet them. */
export const LIMITS = { mailbox: 12, retentionDays: 30, groupMembers: 3, groupsPerUser: 2 };
/** Everybody who calls. */
export const USERS = ["ann", "ben", "cat", "dan"];
const GROUPS = ["#a", "#b", "#c"];
const DEVICES = ["laptop", "phone", "tablet"];

type Random = () => number;
export type Answer = Promise<unknown> | AsyncIterable<unknown>;
/** Call of the port that has an answer: its name and arguments. */
export type Call = {
  [Op in keyof Required<Broker>]: Broker[Op] extends (...args: infer Args) => Answer ? [Op, ...Args] : never;
}[
  Exclude<keyof Broker, "close" | "health">
];

/** Returns a whole number from 0 to `most`. */
export function upTo(random: Random, most: number): number {
  return Math.floor(random() * (most + 1));
}

/** Makes a call at random; `head` is about the number of messages. */
export function anyCall(random: Random, head: number): Call {
  const user = pick(random, USERS), group = pick(random, GROUPS), target = pick(random, USERS);
  const other = pick(random, [...USERS, ...GROUPS, "nobody"]);
  const mark = (): MarkerMove => ({
    user,
    kind: pick(random, ["delivered", "read"] as const),
    with: other,
    seq: upTo(random, head + 1),
  });
  const draft = () => {
    const content = String(upTo(random, 2)), recipient = pick(random, [...USERS, ...GROUPS]), origin = "laptop";
    return { sender: user, recipient, content, id: random() < 0.5 ? `${upTo(random, 40)}` : undefined, origin };
  };
  const calls: readonly (() => Call)[] = [
    () => ["append", Array.from({ length: 1 + upTo(random, 3) }, draft)],
    () => ["append", [draft()]],
    () => ["mark", [mark(), mark()]],
    () => ["attach", user, pick(random, DEVICES)],
    () => ["attach", user, `d-${upTo(random, 99)}`, { last: upTo(random, 12), temporary: random() < 0.5 }],
    () => ["advance", [{ user, device: pick(random, DEVICES), seq: upTo(random, head + 1) }]],
    () => ["read", user, upTo(random, head), 1 + upTo(random, 20)],
    () => ["history", user, { with: other, limit: 1 + upTo(random, 9) }],
    () => ["history", user, { with: other, limit: 1 + upTo(random, 9), before: upTo(random, head + 1) }],
    () => ["history", user, { with: other, limit: 1 + upTo(random, 9), after: upTo(random, head + 1) }],
    () => ["history", user, { with: other, limit: 3, after: upTo(random, head), before: upTo(random, head + 1) }],
    () => ["search", user, { query: `${upTo(random, 2)}`, limit: 1 + upTo(random, 9) }],
    () => ["search", user, { query: "1", with: other, limit: 1 + upTo(random, 9), before: upTo(random, head + 1) }],
    () => ["conversations", user, 1 + upTo(random, 6)],
    () => ["conversations", user, 1 + upTo(random, 3), { seq: upTo(random, head + 1) }],
    () => ["conversations", user, 9, { seq: 0, with: group }],
    () => ["markAll", user, upTo(random, head + 1)],
    () => ["markers", user, upTo(random, head + 1)],
    () => ["group", { op: "create", user, group, open: random() < 0.5 }],
    () => ["group", { op: pick(random, ["join", "leave", "members"] as const), user, group }],
    () => ["group", { op: pick(random, ["invite", "remove"] as const), user, group, target }],
    () => ["group", { op: "list", user }],
    () => ["group", { op: "list", user, after: group }],
    () => ["lastSeen", [other]],
  ];
  return pick(random, calls)();
}

/** Waits for an answer of the broker. */
export async function settled(answer: Answer): Promise<unknown> {
  return Symbol.asyncIterator in answer ? (await Array.fromAsync(answer)).flat() : await answer;
}

function keyOf({ user, kind, with: other }: Marker): string {
  return `${user} ${kind} ${other}`;
}

/** Makes answers comparable: the port promises no order of authors and markers, and undefined is as good as nothing. */
export function canonical(op: string, value: unknown): unknown {
  const plain = JSON.parse(JSON.stringify(value ?? null));
  if (op === "mark" || op === "markAll") { for (const marked of plain) marked.authors.sort(); }
  if (op === "markAll") plain.sort((a: MarkerMove, b: MarkerMove) => a.with < b.with ? -1 : 1);
  // One broker knows that a page is the last, the other only that it may be.
  if (op === "search") delete plain.before;
  if (op === "markers") plain.sort((a: Marker, b: Marker) => keyOf(a) < keyOf(b) ? -1 : 1);
  return plain;
}
