/** Events as they are sent: a name, a time and data. docs/WEBHOOKS.md has the shapes. */

import type { GroupEvent, Stored } from "../../broker.ts";
import type { EventType } from "./config.ts";

/** Characters of content in a body: the standard wants bodies of some 20 KB. What is longer is left out, and the body says so. */
const CONTENT_CHARS_MAX = 16_384;
/** Users that one body names: of more, a number tells. */
const USERS_MAX = 500;

/** One event. */
export interface HookEvent {
  /** Id of the event, the same at every attempt and at a replay. Has no dot, which separates what is signed. */
  readonly id: string;
  readonly type: EventType | "webhook.test";
  /** Milliseconds since 1970 at which it happened. */
  readonly ts: number;
  readonly data: Readonly<Record<string, unknown>>;
}

/** Renders an event as the body that is signed. */
export function bodyOf({ type, ts, data }: HookEvent): string {
  return JSON.stringify({ type, timestamp: new Date(ts).toISOString(), data });
}

/** Makes the event of a message; `content` is false where it is not to be told. */
export function messageCreated(message: Stored, epoch: string, content: boolean): HookEvent {
  return { id: `msg_${epoch}_${message.seq}`, type: "message.created", ts: message.ts, data: dataOf(message, epoch, content) };
}

/** Makes the event of a message that `users` do not have. */
export function messageUndelivered(message: Stored, epoch: string, content: boolean, users: readonly string[]): HookEvent {
  const more = users.length - USERS_MAX;
  const data = { ...dataOf(message, epoch, content), users: users.slice(0, USERS_MAX), ...more > 0 && { more_users: more } };
  return { id: `undelivered_${epoch}_${message.seq}`, type: "message.undelivered", ts: message.ts, data };
}

function dataOf({ sender, recipient, content, id, seq }: Stored, epoch: string, hasContent: boolean): Record<string, unknown> {
  const isTold = hasContent && content.length <= CONTENT_CHARS_MAX;
  return {
    epoch,
    seq,
    sender,
    recipient,
    ...id !== undefined && { id },
    ...isTold ? { content } : hasContent && { content_left_out: true },
  };
}

/** Makes the event of a change of a group. */
export function groupChanged({ number, ts, group, op, user, by, owner, members }: GroupEvent, epoch: string): HookEvent {
  const data = { epoch, number, group, change: op, user, by, owner, members };
  return { id: `group_${epoch}_${number}`, type: "group.changed", ts, data };
}

/** Makes an event that no log has. */
export function passing(type: EventType | "webhook.test", ts: number, data: Readonly<Record<string, unknown>>): HookEvent {
  return { id: `${type.replace(".", "_")}_${crypto.randomUUID()}`, type, ts, data };
}
