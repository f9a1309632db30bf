/** Messages: sent by a backend, one or many, and read. */

import { type ApiKey, isAllowed } from "../../auth/api_keys.ts";
import { timestamp } from "../../hub.ts";
import { isOverBytes, parseId, Refusal } from "../../protocol.ts";
import type { Answer } from "./answers.ts";
import { ADDRESS, checkMembers, CONTENT, entries, ID, optional, PAGE_SIZE, POSITION, USER, type ValuesOf } from "./fields.ts";
import { route, type Service } from "./route.ts";

/** Messages in one batch: a transaction of some milliseconds. */
export const BATCH_MESSAGES_MAX = 500;
/** Frames of the wire that a batch may have the bytes of: a mebibyte, where nobody says otherwise. */
const BATCH_FRAMES = 16;
/** UTF-16 units of content that count as another request against the rate, as they do for people. */
const RATE_CONTENT_CHARS = 4_096;

const MESSAGE = { sender: USER, recipient: ADDRESS, content: CONTENT, id: optional(ID) };

type Message = ValuesOf<typeof MESSAGE>;

const CODES = [
  "bad_name",
  "bad_content",
  "too_large",
  "unknown_recipient",
  "unknown_group",
  "not_member",
  "id_conflict",
  "mailbox_full",
] as const;

/** Routes of messages. */
export const MESSAGE_ROUTES = [
  route({
    method: "POST",
    at: "/messages",
    path: {},
    query: {},
    body: { members: MESSAGE, frames: 1 },
    scopes: [["write", "sender"]],
    takesIdempotencyKey: true,
    statuses: [200, 201],
    codes: CODES,
    async answer({ values, service, idempotencyKey, consume }) {
      const id = idOf(values.id, idempotencyKey);
      if (id instanceof Refusal) return id;
      const late = consume(extraCost(values));
      const stored = late ?? await submit(service, { ...values, id });
      if (!(stored instanceof Refusal)) return { status: stored.duplicate ? 200 : 201, body: stored };
      if (id !== undefined) stored.id = id;
      return stored;
    },
  }),
  route({
    method: "POST",
    at: "/messages/batch",
    path: {},
    query: {},
    body: { members: { messages: entries({ $ref: "#/components/schemas/Draft" }, BATCH_MESSAGES_MAX) }, frames: BATCH_FRAMES },
    scopes: [["write"]],
    statuses: [200],
    codes: ["limit_reached"],
    async answer({ values: { messages }, service, key, consume }) {
      const checked = messages.map((message) => checkDraft(key, message));
      const costs = checked.map((draft) => draft instanceof Refusal ? 1 : 1 + extraCost(draft));
      const late = consume(costs.reduce((sum, cost) => sum + cost, -1));
      if (late) return late;
      const results = await Promise.all(checked.map(async (draft) => {
        if (draft instanceof Refusal) return draft.toFrame();
        const stored = await submit(service, draft);
        if (!(stored instanceof Refusal)) return stored;
        if (draft.id !== undefined) stored.id = draft.id;
        return stored.toFrame();
      }));
      return { status: 200, body: { results } };
    },
  }),
  route({
    method: "GET",
    at: "/messages",
    path: {},
    query: {
      user: USER,
      with: ADDRESS,
      before: optional(POSITION),
      after: optional(POSITION),
      limit: optional(PAGE_SIZE),
    },
    scopes: [["read", "user"]],
    statuses: [200],
    codes: ["bad_name", "unknown_recipient", "unknown_group", "not_member"],
    async answer({ values: { user, ...query }, service: { hub } }) {
      return toAnswer(await hub.backend.history(user, given(query)));
    },
  }),
  route({
    method: "GET",
    at: "/conversations",
    path: {},
    query: { user: USER, limit: optional(PAGE_SIZE), before: optional(POSITION), with: optional(ADDRESS) },
    scopes: [["read", "user"]],
    statuses: [200],
    codes: ["bad_name"],
    async answer({ values: { user, ...query }, service: { hub } }) {
      return toAnswer(await hub.backend.conversations(user, given(query)));
    },
  }),
];

/** Returns the id of a message that names one in its body, in the header of the request, or in both. */
function idOf(inBody: string | undefined, header: string | undefined): string | undefined | Refusal {
  if (header === undefined) return inBody;
  // Clients send other characters as UTF-8, which comes as one character for each byte: another id than the same in a body.
  if (!/^[\x20-\x7e]*$/.test(header)) {
    return new Refusal(
      "bad_frame",
      'The header Idempotency-Key has other characters than ASCII; such an "id" goes into the body',
    );
  }
  // The standard's draft has it as a quoted string; most clients send it bare.
  const inHeader = parseId(/^"(.*)"$/s.exec(header)?.[1] ?? header, "Idempotency-Key");
  if (inHeader instanceof Refusal || inBody === undefined || inBody === inHeader) return inHeader;
  return new Refusal("bad_frame", '"id" and the header Idempotency-Key are not the same', inBody);
}

function checkDraft(key: ApiKey, message: unknown): Message | Refusal {
  const draft = checkMembers(MESSAGE, message, "The entry");
  if (!(draft instanceof Refusal)) return isAllowed(key, "write", draft.sender) ? draft : mayNotWriteAs(draft);
  const { id } = Object(message) as { id?: unknown };
  const checked = parseId(id);
  if (typeof checked === "string") draft.id = checked;
  return draft;
}

function mayNotWriteAs({ sender, id }: Message): Refusal {
  return new Refusal("forbidden", `The key may not write as "${sender}"`, id);
}

function extraCost({ content }: Message): number {
  return Math.floor(content.length / RATE_CONTENT_CHARS);
}

/** Stores a message; resolves once it is durable. */
async function submit(
  { hub }: Service,
  { sender, recipient, content, id }: Message,
): Promise<{ id?: string; seq: number; ts: string; duplicate: boolean } | Refusal> {
  if (isOverBytes(content, hub.limits.content)) {
    return new Refusal("too_large", `"content" is over ${hub.limits.content} bytes`);
  }
  const stored = await hub.submit({ sender, recipient, content, id });
  if ("code" in stored) return new Refusal(stored.code, stored.message);
  const { seq, ts, duplicate } = stored;
  return { ...id !== undefined && { id }, seq, ts: timestamp(ts), duplicate };
}

/** Leaves members that are undefined away. */
function given<T extends object>(values: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

function toAnswer(page: object): Answer | Refusal {
  const { code, message } = page as Partial<Refusal>;
  return code === undefined ? { status: 200, body: page } : new Refusal(code, message!);
}
