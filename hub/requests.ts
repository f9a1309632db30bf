/**
 * Requests: the frames of the extended level beside messages. One function per type of frame, over a small host.
 */

import type { GroupAnswer, GroupRequest, Signal } from "../broker.ts";
import { timestamp, toMessage } from "./encoding.ts";
import type { NodeLocal, Status } from "./node_local.ts";
import { conversationPage, cut, HISTORY_LIMIT, historyPage, messageChars, type PageHost } from "./pages.ts";
import type { Presence } from "./presence.ts";
import {
  type ClientFrame,
  type ClientFrameOf,
  type ErrorCode,
  isGroup,
  type Message,
  Refusal,
  type ServerFrameOf,
} from "../protocol.ts";
import type { Session } from "./session.ts";

/** UTF-16 units that an entry of an answer has beside its names. */
const USER_CHARS = 32, GROUP_CHARS = 64;
/** Members up to which everybody in a group is told who comes and goes; above it only those whom it concerns. */
const GROUP_NOTICE_MEMBERS_MAX = 100;

/** Needs of requests, which the hub meets. */
export interface RequestHost extends PageHost, Pick<NodeLocal, "list" | "disconnect" | "statusOf"> {
  readonly presence: Presence;
  /** Keeps track of users on other nodes; resolves when their status there is known. */
  watchElsewhere(users: readonly string[]): Promise<void>;
  /** Tells watchers that the status of a session's user is not what it was, `before`. */
  statusChanged(session: Session, before: Status): void;
  /** Tells the broker now what the devices of `sessions` have, and what was read on them. */
  reportConfirmed(sessions: readonly Session[]): void;
  /** Tells the operator that the administrator `by` has disconnected `user`. */
  disconnectedBy(by: string, user: string, connections: number): void;
}

type Request = Exclude<ClientFrame, Message | ClientFrameOf<"hello">>;

/** Handles one frame of the extended level. A promise where the broker is asked, which rejects only when the broker does. */
export function handleRequest(host: RequestHost, session: Session, frame: Request): Promise<void> | void {
  switch (frame.type) {
    case "ack":
      return session.confirm(frame.seq);
    case "receipt":
      return session.read(frame.with, frame.seq, frame.private);
    case "watch":
      return watch(host, session, frame);
    case "presence":
      return setStatus(host, session, frame);
    case "typing":
      return typing(host, session, frame);
    case "group":
      return group(host, session, frame);
    case "history":
      return history(host, session, frame);
    case "search":
      return search(host, session, frame);
    case "conversations":
      return conversations(host, session, frame);
    case "admin":
      return admin(host, session, frame);
    case "ping":
      return session.send(frame.id === undefined ? { type: "pong" } : { type: "pong", id: frame.id });
  }
  frame satisfies never; // every type has its case
}

function refuse(session: Session, code: ErrorCode, message: string, id: string | undefined): void {
  session.answer(new Refusal(code, message, id));
}

// ---- Presence and typing ----

async function watch(host: RequestHost, session: Session, frame: ClientFrameOf<"watch">): Promise<void> {
  const users = host.presence.watch(session, frame.users);
  const [seen] = await Promise.all([host.broker.lastSeen(users), host.watchElsewhere(users)]);
  for (const [index, user] of users.entries()) {
    const status = host.presence.status(user);
    const last = seen[index];
    if (status === "offline" && last) session.send({ type: "presence", user, status, last_seen: timestamp(last) });
    else session.send({ type: "presence", user, status });
  }
}

function setStatus(host: RequestHost, session: Session, frame: ClientFrameOf<"presence">): void {
  const before = host.statusOf(session.user);
  if (session.setAway(frame.status === "away")) host.statusChanged(session, before);
}

async function typing(host: RequestHost, session: Session, { recipient }: ClientFrameOf<"typing">): Promise<void> {
  if (!session.mayType()) return;
  const signal: Signal = { type: "typing", sender: session.user, recipient };
  if (!isGroup(recipient)) return host.broker.signal([recipient], signal);
  const answer = await host.broker.group({ op: "members", user: session.user, group: recipient });
  if ("code" in answer) return;
  host.broker.signal(answer.members.filter((member) => member !== session.user), signal);
}

// ---- Groups ----

async function group(host: RequestHost, session: Session, frame: ClientFrameOf<"group">): Promise<void> {
  const request = toGroupRequest(session.user, frame);
  if (request instanceof Refusal) return session.answer(request);
  const answer = await host.broker.group(request);
  if ("code" in answer) return refuse(session, answer.code, answer.message, frame.id);
  session.send(toGroupReply(host, frame, answer));
  if (answer.changed && request.op !== "list") notify(host, request, answer);
}

function toGroupRequest(user: string, frame: ClientFrameOf<"group">): GroupRequest | Refusal {
  const { op, group, id } = frame;
  if (op === "list") return { op, user, after: frame.after };
  if (group === undefined) return new Refusal("bad_frame", `"${op}" needs a "group"`, id);
  if (op === "create") return { op, user, group, open: frame.open ?? true };
  if (op !== "invite" && op !== "remove") return { op, user, group };
  if (frame.user === undefined) return new Refusal("bad_frame", `"${op}" needs a "user"`, id);
  return { op, user, group, target: frame.user };
}

function toGroupReply(host: RequestHost, frame: ClientFrameOf<"group">, answer: GroupAnswer): ServerFrameOf<"group"> {
  const reply: ServerFrameOf<"group"> = { type: "group", op: frame.op };
  if (frame.id !== undefined) reply.id = frame.id;
  if (frame.group !== undefined) reply.group = frame.group;
  if (frame.user !== undefined) reply.user = frame.user;
  if (answer.owner) reply.owner = answer.owner; // a group may have none
  if (frame.op === "members") reply.members = [...answer.members];
  if (answer.groups) {
    const groups = cut(host, answer.groups, ({ group, owner }) => GROUP_CHARS + group.length + owner.length);
    reply.groups = groups.map(({ owner, ...info }) => owner === "" ? info : { ...info, owner });
  }
  if (answer.more || (answer.groups && answer.groups.length > reply.groups!.length)) reply.more = true;
  return reply;
}

/** Tells a group who came or went: everybody in a small one, in a large one only those whom it concerns. */
export function notify(
  { broker }: Pick<RequestHost, "broker">,
  request: Exclude<GroupRequest, { op: "list" }>,
  answer: GroupAnswer,
): void {
  const target = "target" in request ? request.target : request.user;
  const signal: Signal = { type: "group", op: request.op, group: request.group, user: target, by: request.user };
  const told = new Set(answer.members.length <= GROUP_NOTICE_MEMBERS_MAX ? answer.members : []);
  told.add(target);
  told.delete(request.user);
  broker.signal([...told], signal);
}

// ---- History ----

async function history(host: RequestHost, session: Session, frame: ClientFrameOf<"history">): Promise<void> {
  const page = await historyPage(host, session.user, frame);
  if ("code" in page) return refuse(session, page.code, page.message, frame.id);
  session.send(frame.id === undefined ? { type: "history", ...page } : { type: "history", ...page, id: frame.id });
}

async function search(host: RequestHost, session: Session, frame: ClientFrameOf<"search">): Promise<void> {
  const { query, before, limit = HISTORY_LIMIT } = frame;
  const found = await host.broker.search(session.user, { query, with: frame.with, before, limit });
  if ("code" in found) return refuse(session, found.code, found.message, frame.id);
  const messages = found.messages.map(toMessage);
  const kept = cut(host, messages.toReversed(), messageChars).reverse();
  const next = kept.length < messages.length ? kept[0]!.seq : found.before;
  session.send({
    type: "search",
    query,
    ...(frame.with === undefined ? {} : { with: frame.with }),
    messages: kept,
    more: next !== undefined,
    ...(next === undefined ? {} : { before: next }),
    indexed: found.indexed,
    ...(frame.id === undefined ? {} : { id: frame.id }),
  });
}

async function conversations(host: RequestHost, session: Session, frame: ClientFrameOf<"conversations">): Promise<void> {
  host.reportConfirmed([session]); // what was read is not counted as unread
  const page = await conversationPage(host, session.user, frame);
  session.send(frame.id === undefined ? { type: "conversations", ...page } : { type: "conversations", ...page, id: frame.id });
}

// ---- Administration ----

async function admin(host: RequestHost, session: Session, frame: ClientFrameOf<"admin">): Promise<void> {
  const { op, user, id } = frame;
  if (!session.admin) return refuse(session, "forbidden", "Only administrators may do this", id);
  const reply: ServerFrameOf<"admin"> = { type: "admin", op };
  if (id !== undefined) reply.id = id;
  if (op === "list") return session.send({ ...reply, ...await listPage(host, frame.after) });
  if (user === undefined) return refuse(session, "bad_frame", `"${op}" needs a "user"`, id);
  reply.user = user;
  if (op === "create") {
    const [known] = await host.broker.lastSeen([user]);
    reply.created = known === undefined;
    if (reply.created) await host.broker.seen([user], 0);
  } else {
    const by = session.user; // who may be the one that is disconnected
    reply.closed = await host.disconnect(user);
    host.disconnectedBy(by, user, reply.closed);
  }
  session.send(reply);
}

/** Returns the users after a name, in the order of names, as many as one answer takes. */
async function listPage(
  host: RequestHost,
  after = "",
): Promise<Pick<ServerFrameOf<"admin">, "users" | "more">> {
  const users = (await host.list()).filter(({ user }) => user > after).sort((a, b) => a.user < b.user ? -1 : 1);
  const kept = cut(host, users, ({ user, devices }) => USER_CHARS + user.length + devices.join('","').length);
  const page = { users: kept.map(({ user, devices }) => ({ user, devices: [...devices] })) };
  return kept.length < users.length ? { ...page, more: true } : page;
}
