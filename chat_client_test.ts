import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import {
  ChatClient,
  ChatError,
  type ChatOptions,
  conversationOfReceipt,
  lookOnReturn,
  type Saved,
  socketsOf,
  splitText,
  type State,
} from "./chat_client.ts";
import { newId } from "./chat_client/ids.ts";
import type { Message, ServerFrame, ServerFrameOf } from "./protocol.ts";
import { FakeClock, FakeSocket, settled } from "./testing/fake_socket.ts";

const WELCOME: ServerFrameOf<"welcome"> = {
  type: "welcome",
  v: 1,
  user: "bob",
  device: "d1",
  caps: ["batch"],
  epoch: "e1",
  seq: 10,
  recovered: true,
  limits: { frame: 65536, content: 16384, rate: 5, burst: 20 },
};

class Setup {
  readonly sockets: FakeSocket[] = [];
  readonly clock = new FakeClock();
  readonly states: State[] = [];
  readonly messages: string[] = [];
  readonly events: string[] = [];
  saved: Saved;
  readonly client: ChatClient;

  constructor(options: Partial<ChatOptions> = {}, saved: Saved = { outbox: [] }) {
    this.saved = saved;
    this.client = new ChatClient({
      url: "ws://host/ws",
      name: "bob",
      device: "d1",
      clock: this.clock,
      random: () => 1,
      socket: (url, token) => {
        const socket = new FakeSocket(url, token);
        this.sockets.push(socket);
        return socket;
      },
      store: { load: () => this.saved, save: (saved) => void (this.saved = saved) },
      message: ({ content }) => void this.messages.push(content),
      state: (state) => void this.states.push(state),
      welcome: (_, missed) => void this.events.push(missed ? "missed" : "welcome"),
      synced: () => void this.events.push("synced"),
      refused: ({ code }, message, retryMs) => void this.events.push(`${code} ${message?.content} ${retryMs}`),
      ...options,
    });
    this.client.connect();
  }

  get socket(): FakeSocket {
    return this.sockets.at(-1)!;
  }

  get phase(): string {
    return this.client.state.phase;
  }

  async online(welcome: Partial<typeof WELCOME> = {}, seq = 10): Promise<this> {
    await settled();
    this.socket.open();
    this.socket.take();
    this.socket.give({ ...WELCOME, ...welcome }, { type: "synced", seq });
    await settled();
    return this;
  }

  /** Breaks the connection and is online again. */
  async again(welcome: Partial<typeof WELCOME> = {}, seq = 10): Promise<Record<string, unknown>> {
    this.socket.drop();
    await this.clock.pass(60_000);
    this.socket.open();
    const [hello] = this.socket.take();
    this.socket.give({ ...WELCOME, ...welcome }, { type: "synced", seq });
    await settled();
    return hello!;
  }
}

function message(seq: number, content = `m${seq}`): Message {
  return { sender: "alice", recipient: "bob", content, id: `i${seq}`, seq, ts: "2026-01-01T00:00:00.000Z" };
}

function ack(id: string, seq: number): ServerFrame {
  return { type: "ack", id, seq, ts: "2026-01-01T00:00:00.000Z" };
}

function error(id: string | undefined, code: string, retryable: boolean, wait?: number): ServerFrame {
  return {
    type: "error",
    code,
    message: `about ${code}`,
    retryable,
    ...(id === undefined ? {} : { id }),
    ...(wait === undefined ? {} : { retry_after_ms: wait }),
  };
}

function sent(socket: FakeSocket): unknown[] {
  return socket.take().filter(({ type }) => type === undefined).map(({ id }) => id);
}

Deno.test("ChatClient says hello without a position the first time, and with the one it reached after that", async () => {
  const t = new Setup({ last: 5 });
  await settled();
  t.socket.open();
  assertEquals(t.socket.take(), [{ type: "hello", v: 1, device: "d1", caps: ["batch", "ordered"], name: "bob", last: 5 }]);
  t.socket.give({ ...WELCOME, recovered: false }, { type: "synced", seq: 10 });
  await settled();
  assertEquals(t.events, ["welcome", "synced"]);
  const hello = await t.again();
  assertEquals(hello.resume, { epoch: "e1", seq: 10 });
});

Deno.test("ChatClient confirms cumulatively what the application took, by count and by time, position kept first", async () => {
  const t = await new Setup({ confirmEvery: 3 }).online();
  await t.clock.pass(250);
  assertEquals(t.socket.take(), [{ type: "ack", seq: 10 }]);
  t.socket.give(message(11), message(12));
  await settled();
  assertEquals(t.socket.take(), []);
  t.socket.give(message(13));
  await settled();
  assertEquals(t.socket.take(), [{ type: "ack", seq: 13 }]);
  assertEquals(t.saved.position, { epoch: "e1", seq: 13 });
  t.socket.give(message(14));
  await t.clock.pass(250);
  assertEquals(t.socket.take(), [{ type: "ack", seq: 14 }]);
  assertEquals(t.messages, ["m11", "m12", "m13", "m14"]);
});

Deno.test("ChatClient confirms nothing that the application has not finished with", async () => {
  const gate = Promise.withResolvers<void>();
  const t = await new Setup({ confirmEvery: 1, message: ({ seq }) => seq === 12 ? gate.promise : undefined }).online();
  t.socket.take();
  t.socket.give(message(11), message(12), message(13));
  await t.clock.pass(1_000);
  assertEquals(t.socket.take(), [{ type: "ack", seq: 11 }]);
  gate.resolve();
  await settled();
  assertEquals(t.socket.take(), [{ type: "ack", seq: 12 }, { type: "ack", seq: 13 }]);
});

Deno.test("ChatClient confirms in time what it takes after a reconnection, also where a timer was running before", async () => {
  const t = await new Setup().online();
  await t.clock.pass(250);
  t.socket.give(message(11));
  await settled();
  await t.again({}, 11);
  t.socket.take();
  t.socket.give(message(12));
  await t.clock.pass(250);
  assertEquals(t.socket.take().find(({ type }) => type === "ack"), { type: "ack", seq: 12 });
});

Deno.test("ChatClient gives a message once, however often it comes", async () => {
  const t = await new Setup().online();
  t.socket.give(message(11), message(11));
  await t.again();
  t.socket.give(message(11), message(12));
  await settled();
  assertEquals(t.messages, ["m11", "m12"]);
});

Deno.test("ChatClient takes lower positions for new ones in another epoch, and says that something was missed", async () => {
  const t = await new Setup().online();
  const hello = await t.again({ epoch: "e2", recovered: false }, 2);
  assertEquals(hello.resume, { epoch: "e1", seq: 10 });
  t.socket.give(message(3));
  await settled();
  assertEquals(t.messages, ["m3"]);
  assert(t.events.includes("missed"));
  assertEquals((await t.again({ epoch: "e2" }, 3)).resume, { epoch: "e2", seq: 3 });
});

Deno.test("ChatClient continues from what its store kept: position and messages that were not acked", async () => {
  const saved = {
    position: { epoch: "e1", seq: 7 },
    outbox: [{ sender: "bob", recipient: "alice", content: "old", id: "o1" }],
  };
  const t = new Setup({}, saved);
  await settled();
  t.socket.open();
  assertEquals(t.socket.take()[0]!.resume, { epoch: "e1", seq: 7 });
  t.socket.give(WELCOME);
  assertEquals(sent(t.socket), ["o1"]);
  t.socket.give(ack("o1", 11));
  assertEquals(t.saved.outbox, []);
});

Deno.test("ChatClient that wants all markers resumes only where it was before, and gives nothing again", async () => {
  const t = new Setup({ allMarkers: true }, { position: { epoch: "e1", seq: 7 }, outbox: [] });
  await settled();
  t.socket.open();
  assertEquals(t.socket.take()[0]!.resume, undefined);
  t.socket.give(WELCOME, message(6), message(8), { type: "synced", seq: 8 });
  await settled();
  assertEquals(t.messages, ["m8"]);
  t.socket.drop();
  await t.clock.pass(60_000);
  t.socket.open();
  assertEquals(t.socket.take()[0]!.resume, { epoch: "e1", seq: 8 });
});

Deno.test("ChatClient keeps the order within a conversation: one message of each is under way", async () => {
  const t = await new Setup().online();
  for (const [to, id] of [["alice", "a1"], ["alice", "a2"], ["carol", "c1"]] as const) t.client.send(to, "x", id);
  assertEquals(sent(t.socket), ["a1", "c1"]);
  t.socket.give(ack("a1", 11));
  assertEquals(sent(t.socket), ["a2"]);
});

Deno.test("ChatClient sends again with the same id what was not acked, in order, once", async () => {
  const t = await new Setup().online();
  const first = t.client.send("alice", "1", "a1");
  t.client.send("alice", "2", "a2");
  assertEquals(sent(t.socket), ["a1"]);
  await t.again();
  t.client.send("alice", "3", "a3");
  assertEquals(sent(t.socket), ["a1"]);
  t.socket.give({ ...ack("a1", 11), duplicate: true } as ServerFrame);
  assertEquals((await first.acked).seq, 11);
  assertEquals(sent(t.socket), ["a2"]);
  t.socket.give(ack("a2", 12));
  assertEquals(sent(t.socket), ["a3"]);
  const flushed = t.client.flushed();
  t.socket.give(ack("a3", 13), ack("a3", 13));
  await flushed;
  assertEquals(sent(t.socket), []);
});

Deno.test("ChatClient waits as long as the rate limit says, with all messages, and sends again", async () => {
  const t = await new Setup().online();
  t.client.send("alice", "1", "a1");
  assertEquals(sent(t.socket), ["a1"]);
  t.socket.give(error("a1", "rate_limited", true, 800));
  t.client.send("carol", "2", "c1");
  await t.clock.pass(799);
  assertEquals(sent(t.socket), []);
  await t.clock.pass(1);
  assertEquals(sent(t.socket), ["a1", "c1"]);
  assertEquals(t.events.at(-1), "rate_limited 1 800");
});

Deno.test("ChatClient holds back one conversation only when its mailbox is full", async () => {
  const t = await new Setup().online();
  t.client.send("alice", "1", "a1");
  t.socket.take();
  t.socket.give(error("a1", "mailbox_full", true));
  t.client.send("carol", "2", "c1");
  assertEquals(sent(t.socket), ["c1"]);
  await t.clock.pass(500);
  assertEquals(sent(t.socket), ["a1"]);
});

Deno.test("ChatClient waits longer every time the server cannot take a message and does not say when it can", async () => {
  const t = await new Setup().online();
  t.client.send("alice", "1", "a1");
  for (const wait of [500, 1_000, 2_000]) {
    t.socket.take();
    t.socket.give({ type: "pong" }, error("a1", "unavailable", true));
    assertEquals(t.events.at(-1), `unavailable 1 ${wait}`);
    await t.clock.pass(wait - 1);
    assertEquals(sent(t.socket), []);
    await t.clock.pass(1);
    assertEquals(sent(t.socket), ["a1"]);
  }
});

Deno.test("ChatClient rejects what will never be sent, and goes on with the next", async () => {
  const t = await new Setup().online();
  const refused = t.client.send("alice", "1", "a1");
  t.client.send("alice", "2", "a2");
  t.socket.take();
  t.socket.give(error("a1", "unknown_recipient", false));
  const reason = await assertRejects(() => refused.acked, ChatError);
  assertEquals(reason.code, "unknown_recipient");
  assertEquals(sent(t.socket), ["a2"]);
  assertEquals(t.saved.outbox.map(({ id }) => id), ["a2"]);
});

Deno.test("ChatClient waits longer after every failure, at most 30 s, and short again after a good connection", async () => {
  const t = new Setup();
  await settled();
  const waits: number[] = [];
  for (let i = 0; i < 8; i++) {
    t.socket.drop();
    await settled();
    const state = t.client.state;
    assert(state.phase === "waiting");
    waits.push(state.delayMs);
    await t.clock.pass(state.delayMs);
  }
  assertEquals(waits, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]);
  await t.online();
  await t.clock.pass(5_000);
  t.socket.drop(1012, "The server is restarting");
  assertEquals(t.client.state, { phase: "waiting", reason: "The server is restarting", delayMs: 500 });
});

Deno.test("ChatClient tries at once when told to, and only while it waits", async () => {
  const t = new Setup();
  t.client.retryNow();
  await settled();
  t.socket.drop();
  await settled();
  t.client.retryNow();
  await t.online();
  t.client.retryNow();
  await t.clock.pass(1_000);
  assertEquals([t.sockets.length, t.phase], [2, "online"]);
});

Deno.test("ChatClient spreads its waits over the whole range", async () => {
  const t = new Setup({ random: () => 0.25 });
  await settled();
  t.socket.drop();
  await settled();
  assertEquals((t.client.state as { delayMs: number }).delayMs, 125);
});

Deno.test("ChatClient comes back at once where the code says now, and never where it says never", async () => {
  const t = await new Setup().online();
  await t.clock.pass(6_000);
  t.socket.drop(4201, "");
  assertEquals(t.client.state, { phase: "waiting", reason: "The token expired; connect with a newer one.", delayMs: 0 });
  await t.clock.pass(0);
  await t.online();
  t.socket.drop(4009, "This device connected again");
  assertEquals(t.client.state, { phase: "closed", code: 4009, reason: "This device connected again", needsUser: true });
  await t.client.closed;
  assertEquals([t.sockets.length, t.clock.pending], [2, 0]);
});

Deno.test("ChatClient says so when the server ends the session, and what is not acked fails", async () => {
  const t = await new Setup().online();
  const { acked } = t.client.send("alice", "1", "a1");
  t.socket.drop(1000);
  assertEquals(t.client.state, { phase: "closed", code: 1000, reason: "The server ended the session", needsUser: true });
  assertEquals((await assertRejects(() => acked, ChatError)).code, "closed");
  assertEquals(t.saved.outbox.map(({ id }) => id), ["a1"]);
});

Deno.test("ChatClient asks a silent server whether it is there, and leaves it when it does not answer", async () => {
  const t = await new Setup().online();
  await t.clock.pass(29_999);
  t.socket.take();
  await t.clock.pass(1);
  assertEquals(t.socket.take(), [{ type: "ping" }]);
  t.socket.give({ type: "pong" });
  await t.clock.pass(30_000);
  t.socket.take();
  await t.clock.pass(9_999);
  assertEquals(t.phase, "online");
  await t.clock.pass(1);
  assertEquals(t.client.state, { phase: "waiting", reason: "The server went silent", delayMs: 500 });
});

Deno.test("ChatClient gives up an attempt that brings no welcome", async () => {
  const t = new Setup();
  await settled();
  t.socket.open();
  await t.clock.pass(10_000);
  assertEquals(t.phase, "waiting");
});

Deno.test("ChatClient ends where the server refuses its hello, and where the diagnosis is fatal", async () => {
  const refused = new Setup();
  await settled();
  refused.socket.open();
  refused.socket.give(error(undefined, "forbidden", false));
  assertEquals(refused.client.state, { phase: "closed", code: 0, reason: "about forbidden", needsUser: true });

  const unauthorized = new Setup({
    token: () => Promise.resolve("secret"),
    explain: (reason) => Promise.resolve({ reason: `not valid: ${reason}`, fatal: true }),
  });
  await settled();
  assertEquals(unauthorized.socket.token, "secret");
  unauthorized.socket.drop(1006, "status 401");
  await settled();
  assertEquals(unauthorized.client.state, { phase: "closed", code: 1006, reason: "not valid: status 401", needsUser: true });
});

Deno.test("ChatClient answers requests by id, and fails them in time or when the connection goes", async () => {
  const t = await new Setup().online();
  const one = t.client.history({ with: "alice", limit: 2 });
  const two = t.client.group({ op: "list" });
  const [first, second] = t.socket.take().filter(({ id }) => id !== undefined);
  assertEquals(first, { type: "history", with: "alice", limit: 2, id: "q1" });
  t.socket.give({ type: "group", op: "list", id: second!.id as string, groups: [] });
  t.socket.give({ type: "history", id: "q1", with: "alice", messages: [message(1)], more: false });
  assertEquals((await one).messages.length, 1);
  assertEquals((await two).groups, []);

  const refused = t.client.history({ with: "#x" });
  t.socket.give(error("q3", "not_member", false));
  assertEquals((await assertRejects(() => refused, ChatError)).code, "not_member");

  const late = assertRejects(() => t.client.conversations(), ChatError);
  await t.clock.pass(15_000);
  assertEquals((await late).code, "timeout");
  const cut = assertRejects(() => t.client.conversations(), ChatError);
  t.socket.drop();
  assertEquals((await cut).code, "offline");
  assertEquals((await assertRejects(() => t.client.conversations(), ChatError)).code, "offline");
});

Deno.test("ChatClient says hello again after a while, whatever a server says that wants it at once", async () => {
  const t = new Setup();
  await settled();
  t.socket.open();
  t.socket.take();
  t.socket.give(error(undefined, "rate_limited", true, 0));
  await t.clock.pass(49);
  assertEquals(t.socket.take(), []);
  await t.clock.pass(1);
  assertEquals(t.socket.take().map(({ type }) => type), ["hello"]);
});

Deno.test("ChatClient asks again when a request came too fast", async () => {
  const t = await new Setup().online();
  const asked = t.client.conversations({ limit: 3, before: 9, with: "bob" });
  t.socket.take();
  t.socket.give(error("q1", "rate_limited", true, 300));
  await t.clock.pass(300);
  assertEquals(t.socket.take().at(-1), { type: "conversations", limit: 3, before: 9, with: "bob", id: "q1" });
  t.socket.give({ type: "conversations", id: "q1", conversations: [], more: false });
  assertEquals((await asked).conversations, []);
});

Deno.test("ChatClient tells a new connection whom to watch, whether away and what was read", async () => {
  const t = new Setup();
  t.client.watch(["alice"]);
  t.client.setAway(true);
  t.client.markRead("alice", 9);
  t.client.markRead("alice", 8);
  await t.online();
  assertEquals(t.socket.take().slice(0, 3), [
    { type: "watch", users: ["alice"] },
    { type: "presence", status: "away" },
    { type: "receipt", kind: "read", with: "alice", seq: 9 },
  ]);
});

Deno.test("ChatClient ignores frames and members it does not know, and understands several in one", async () => {
  const t = await new Setup().online();
  t.socket.giveText('{"type":"from_the_future"}\nnot json\n');
  t.socket.giveText(`{"type":"from_the_future"}\n${JSON.stringify({ ...message(11), mood: "good" })}\n{"type":"pong"}`);
  await settled();
  assertEquals([t.messages, t.phase], [["m11"], "online"]);
});

Deno.test("ChatClient that is closed keeps what is sent for another run, and says so at once", async () => {
  for (const end of ["close", "4009"]) {
    const t = await new Setup().online();
    if (end === "close") await t.client.close();
    else t.socket.drop(4009);
    await settled();
    assertEquals(t.phase, "closed");
    const error = await assertRejects(() => t.client.send("bob", "later").acked, ChatError);
    assertEquals([error.code, t.saved.outbox.map(({ content }) => content)], ["closed", ["later"]], end);
  }
});

Deno.test("ChatClient confirms before a clean close and leaves no timer", async () => {
  const t = await new Setup().online();
  t.socket.give(message(11));
  await settled();
  const socket = t.socket;
  await t.client.close();
  await t.client.close();
  assertEquals(socket.take().at(-1), { type: "ack", seq: 11 });
  assertEquals([socket.closed, t.phase, t.clock.pending], [1000, "closed", 0]);
});

Deno.test("ChatClient that only sends takes and confirms nothing, and asks for less the next time", async () => {
  const t = await new Setup({ sendOnly: true }).online({ seq: 20 }, 20);
  t.socket.give(message(21));
  await t.clock.pass(1_000);
  assertEquals([t.messages, t.socket.take()], [[], []]);
  assertEquals((await t.again()).resume, { epoch: "e1", seq: 20 });
});

Deno.test("ChatClient finds the conversation of a receipt", () => {
  const receipt = (user: string, other: string) =>
    conversationOfReceipt({ type: "receipt", kind: "read", user, with: other, seq: 1, ts: "t" }, "bob");
  assertEquals(receipt("bob", "alice"), { conversation: "alice", own: true });
  assertEquals(receipt("alice", "bob"), { conversation: "alice", own: false });
  assertEquals(receipt("alice", "#ops"), { conversation: "#ops", own: false });
});

Deno.test("ChatClient takes one welcome, answers that fit what was asked, and no wait without an end", async () => {
  const t = await new Setup().online();
  t.socket.give({ ...WELCOME, user: "mallory", epoch: "other" });
  assertEquals([t.client.user, t.events.filter((event) => event === "welcome").length], ["bob", 1]);
  const asked = t.client.conversations(3);
  t.socket.give({ type: "group", op: "list", groups: [], id: "q1" });
  t.socket.give({ type: "conversations", id: "q1", conversations: [], more: false });
  assertEquals((await asked).type, "conversations");
  t.client.send("alice", "1", "a1");
  t.socket.take();
  t.socket.give(error("a1", "rate_limited", true, Number.MAX_SAFE_INTEGER));
  assertEquals(t.events.at(-1), "rate_limited 1 3600000");
});

Deno.test("ChatClient makes ids where the browser has no randomUUID", async () => {
  const given = crypto.randomUUID;
  try {
    Object.defineProperty(crypto, "randomUUID", { value: undefined, configurable: true, writable: true });
    const t = await new Setup().online();
    const { message: { id } } = t.client.send("alice", "hi");
    assertEquals([sent(t.socket), /^[0-9a-f]{32}$/.test(id)], [[id], true]);
  } finally {
    Object.defineProperty(crypto, "randomUUID", { value: given, configurable: true, writable: true });
  }
});

Deno.test("ChatClient that is told to look tries at once, and soon leaves a server that does not answer", async () => {
  const t = await new Setup().online();
  t.client.lookNow();
  assertEquals(t.socket.take(), [{ type: "ping" }]);
  t.socket.give({ type: "pong" });
  await t.clock.pass(5_000);
  assertEquals(t.phase, "online");

  t.client.lookNow();
  await t.clock.pass(1_200);
  assertEquals(t.sockets.length, 2, "reconnects without another wait");

  for (let attempt = 0; attempt < 5; attempt++) {
    t.socket.drop();
    await t.clock.pass(20_000);
  }
  t.socket.drop();
  await settled();
  assertEquals(t.phase, "waiting");
  const before = t.sockets.length;
  t.client.lookNow();
  await settled();
  assertEquals(t.sockets.length, before + 1);
});

Deno.test("ChatClient drops a message that waits, and goes on with the next", async () => {
  const t = await new Setup().online();
  const first = t.client.send("alice", "one", "1");
  t.client.send("alice", "two", "2");
  t.socket.give(error("1", "mailbox_full", true, 60_000));
  assertEquals(sent(t.socket), ["1"]);
  assertEquals([t.client.drop("1"), t.client.drop("1")], [{ mayHaveArrived: false }, undefined]);
  assertEquals((await assertRejects(() => first.acked, ChatError)).code, "dropped");
  assertEquals([sent(t.socket), t.saved.outbox.map(({ id }) => id)], [["2"], ["2"]]);
});

Deno.test("ChatClient tells privately what was read where it is asked to, on every connection", async () => {
  const t = await new Setup().online();
  const told = { type: "receipt", kind: "read", with: "alice", seq: 9, private: true };
  t.client.markRead("alice", 9, true);
  t.client.markRead("alice", 8, true);
  assertEquals(t.socket.take(), [told]);
  await t.again();
  assertEquals(t.socket.take(), [told]);
});

Deno.test("ChatClient sends a message that waits for a time when it is told to", async () => {
  const t = await new Setup().online();
  t.client.send("alice", "one", "1");
  t.socket.give(error("1", "mailbox_full", true, 60_000));
  t.socket.take();
  t.client.retry("1");
  assertEquals(sent(t.socket), ["1"]);
});

Deno.test("ChatClient that forgets leaves nothing, in the store either", async () => {
  const t = await new Setup().online();
  const { acked } = t.client.send("alice", "one", "1");
  t.client.markRead("alice", 9);
  await t.client.forget();
  await assertRejects(() => acked, ChatError);
  assertEquals([t.saved, t.client.outbox, t.client.user, t.client.welcome], [{ outbox: [] }, [], "", undefined]);
  assertEquals(t.clock.pending, 0);
});

Deno.test("ChatClient has many messages on their way to a server that keeps their order, and no more than it says", async () => {
  const t = await new Setup().online({ caps: ["ordered"], limits: { ...WELCOME.limits, rate: 0 } });
  for (let i = 0; i < 130; i++) t.client.send("alice", "x", `a${i}`);
  assertEquals(sent(t.socket).length, 128);
  t.socket.give(ack("a0", 11));
  assertEquals(sent(t.socket), ["a128"]);
});

Deno.test("ChatClient begins again with the oldest of a conversation, alone, once all that is on its way is answered", async () => {
  const t = await new Setup().online({ caps: ["ordered"], limits: { ...WELCOME.limits, rate: 0 } });
  for (const id of ["a1", "a2", "a3"]) t.client.send("alice", "x", id);
  t.client.send("carol", "x", "c1");
  assertEquals(sent(t.socket), ["a1", "a2", "a3", "c1"]);
  t.socket.give(error("a1", "mailbox_full", true, 100), error("a2", "out_of_order", true));
  await t.clock.pass(100);
  assertEquals(sent(t.socket), [], "the third is not answered");
  t.socket.give(error("a3", "out_of_order", true));
  const [first] = t.socket.take();
  assertEquals([first!.id, first!.again], ["a1", true]);
  t.client.send("alice", "x", "a4");
  assertEquals(sent(t.socket), []);
  t.socket.give(ack("a1", 11));
  const rest = t.socket.take();
  assertEquals(rest.map(({ id, again }) => [id, again]), [["a2", undefined], ["a3", undefined], ["a4", undefined]]);
  assertEquals(t.events.filter((event) => event.includes("out_of_order")), [], "nobody needs to know");
});

Deno.test("ChatClient keeps the server's pace by itself, so that little is refused", async () => {
  const t = await new Setup().online({ caps: ["ordered"], limits: { ...WELCOME.limits, rate: 5, burst: 3 } });
  for (let i = 0; i < 6; i++) t.client.send("alice", "x", `a${i}`);
  assertEquals(sent(t.socket), ["a0", "a1", "a2"]);
  await t.clock.pass(199);
  assertEquals(sent(t.socket), []);
  await t.clock.pass(1);
  assertEquals(sent(t.socket), ["a3"]);
  t.socket.give(ack("a0", 11), ack("a1", 12), ack("a2", 13), error("a3", "rate_limited", true, 400));
  await t.clock.pass(399);
  assertEquals(sent(t.socket), []);
  await t.clock.pass(1);
  assertEquals(sent(t.socket), ["a3"]);
});

Deno.test("ChatClient queues nothing that the server can never take, and says how much too large it is", async () => {
  const t = await new Setup().online({ limits: { ...WELCOME.limits, content: 10, frame: 200 } });
  const { acked } = t.client.send("alice", "12345678901");
  assertEquals((await assertRejects(() => acked, ChatError)).code, "too_large");
  assertEquals(t.client.tooLarge("alice", "12345678901"), "The text has 11 bytes, and the server takes 10 in one message");
  assertEquals(t.client.tooLarge("alice", "1234567890"), undefined);
  assertEquals(t.client.tooLarge("alice", "äöüäöü"), "The text has 12 bytes, and the server takes 10 in one message");
  assertEquals([t.client.outbox, sent(t.socket), t.events.at(-1)], [[], [], "too_large 12345678901 undefined"]);
  t.client.send("alice", "fits", "a1");
  assertEquals(sent(t.socket), ["a1"]);
});

Deno.test("ChatClient knows the server's limits from the last run, and the defaults before the first", () => {
  const before = new Setup();
  assertEquals([before.client.tooLarge("a", "x".repeat(16_384)), before.client.outbox.length], [undefined, 0]);
  assert(before.client.tooLarge("a", "x".repeat(16_385)) !== undefined);
  assert(before.client.tooLarge("a", "\x01".repeat(16_000))!.includes("on the wire"), "escaped, it is over the frame");
  const again = new Setup({}, { outbox: [], limits: { ...WELCOME.limits, content: 20_000 } });
  assertEquals(again.client.tooLarge("a", "x".repeat(20_000)), undefined);
});

Deno.test("ChatClient refuses for good what is too large in the outbox of an earlier run, and what is behind it goes out", async () => {
  const message = (id: string, content: string) => ({ sender: "", recipient: "alice", content, id });
  const t = new Setup({}, { outbox: [message("a1", "x".repeat(200_000)), message("a2", "y")] });
  await t.online();
  assertEquals([t.client.outbox.length, t.saved.outbox.length], [1, 1]);
  assert(t.events.some((event) => event.startsWith("too_large xxx")));
  t.socket.give(ack("a2", 11));
  assertEquals([t.saved.outbox, t.phase], [[], "online"]);
});

Deno.test("ChatClient drops what waits, and goes on with what is behind it", async () => {
  const t = await new Setup().online();
  const { acked } = t.client.send("alice", "1", "a1");
  t.client.send("alice", "2", "a2");
  assertEquals(sent(t.socket), ["a1"]);
  assertEquals([t.client.drop("a1"), t.client.drop("a1")], [{ mayHaveArrived: true }, undefined]);
  assertEquals((await assertRejects(() => acked, ChatError)).code, "dropped");
  assertEquals([sent(t.socket), t.saved.outbox.map(({ id }) => id)], [["a2"], ["a2"]]);
  t.socket.give(ack("a1", 11));
  assertEquals(t.client.outbox.length, 1);
});

Deno.test("ChatClient forgets what was read when the log is another one, and says what is read in that", async () => {
  const t = await new Setup().online();
  t.client.markRead("alice", 10);
  t.socket.take();
  await t.again({ epoch: "e2", recovered: false }, 2);
  const read = () => t.socket.take().filter(({ type }) => type === "receipt").map(({ seq }) => seq);
  assertEquals(read(), []);
  t.client.markRead("alice", 3);
  assertEquals(read(), [3]);
});

Deno.test("ChatClient tells what is read privately apart from what others may know", async () => {
  const t = await new Setup().online();
  t.client.markRead("alice", 9, true);
  t.client.markRead("alice", 9, true);
  t.client.markRead("alice", 9);
  t.client.markRead("alice", 8, true);
  const receipts = () => t.socket.take().filter(({ type }) => type === "receipt");
  const receipt = { type: "receipt", kind: "read", with: "alice", seq: 9 };
  assertEquals(receipts(), [{ ...receipt, private: true }, receipt]);
  t.socket.drop();
  await t.clock.pass(60_000);
  t.socket.open();
  t.socket.take();
  t.socket.give(WELCOME);
  assertEquals(receipts(), [receipt, { ...receipt, private: true }]);
});

Deno.test("splitText cuts at line breaks, long lines between characters, and loses nothing but the breaks", () => {
  const fits = (part: string) => new TextEncoder().encode(part).length <= 10;
  assertEquals(splitText("one\ntwo\nthree\nfour", fits), ["one\ntwo", "three\nfour"]);
  assertEquals(splitText("one\n" + "x".repeat(25) + "\nend", fits), ["one", "x".repeat(10), "x".repeat(10), "xxxxx\nend"]);
  const wide = splitText("🎈".repeat(7), fits);
  assertEquals([wide.join(""), wide.every((part) => part.isWellFormed() && fits(part))], ["🎈".repeat(7), true]);
  assertEquals([splitText("fits", fits), splitText("\n\n" + "x".repeat(11), fits)], [["fits"], ["x".repeat(10), "x"]]);
});

Deno.test("ChatClient that was welcome waits for a token that cannot be had; one that never was ends", async () => {
  let isThere = true;
  const token = () => {
    if (isThere) return "t";
    throw new Error("there is no such file");
  };
  const t = await new Setup({ token }).online();
  isThere = false;
  t.socket.drop();
  await t.clock.pass(500);
  assertEquals(t.client.state, { phase: "waiting", reason: "there is no such file", delayMs: 1_000 });
  await t.clock.pass(45_000);
  assertEquals([t.phase, t.sockets.length], ["waiting", 1]);
  isThere = true;
  await t.clock.pass(1_000);
  await t.online();
  assertEquals([t.phase, t.sockets.length], ["online", 2]);

  isThere = false;
  const never = new Setup({ token });
  await settled();
  assertEquals(never.client.state, { phase: "closed", code: 0, reason: "there is no such file", needsUser: true });
});

Deno.test("an id is a UUIDv7 in 32 hexadecimal digits: it begins with the time, and the rest is random", () => {
  const at = 0x017f22e279b0; // the example of RFC 9562
  const [one, two] = [newId(at), newId(at)];
  assertMatch(one, /^017f22e279b07[0-9a-f]{3}[89ab][0-9a-f]{15}$/);
  assertEquals(one.slice(0, 13), two.slice(0, 13));
  assert(one !== two);
  assert(newId(at) < newId(at + 1), "later ones are greater");
  assertEquals(parseInt(newId(8_640_000_000_000).slice(0, 12), 16), 8_640_000_000_000);
});

Deno.test("ChatClient tells every listener until its subscription ends, and connects once however often it is told to", async () => {
  const t = new Setup();
  t.client.connect();
  const phases: string[] = [], contents: string[] = [];
  const endState = t.client.subscribe(({ phase }) => void phases.push(phase));
  const end = t.client.subscribe({ message: ({ content }) => void contents.push(content) });
  assertEquals(t.client.getSnapshot(), t.client.state);
  await t.online();
  assert(t.client.getSnapshot() === t.client.getSnapshot());
  t.socket.give(message(11));
  await settled();
  end();
  end();
  endState();
  t.socket.give(message(12));
  await settled();
  await t.client.close();
  assertEquals([phases, contents, t.messages, t.sockets.length], [["online"], ["m11"], ["m11", "m12"], 1]);
});

Deno.test("ChatClient confirms a message when all its listeners have taken it", async () => {
  const t = await new Setup({ confirmEvery: 1 }).online();
  const gate = Promise.withResolvers<void>();
  t.client.subscribe({ message: () => gate.promise });
  t.socket.take();
  t.socket.give(message(11), message(12));
  await settled();
  assertEquals([t.messages, t.socket.take()], [["m11"], []]);
  gate.resolve();
  await settled();
  assertEquals(t.messages, ["m11", "m12"]);
  assertEquals(t.socket.take(), [{ type: "ack", seq: 11 }, { type: "ack", seq: 12 }]);
});

Deno.test("ChatClient goes on where a listener throws, and the error is one that nobody caught", async () => {
  const uncaught: unknown[] = [];
  const note = (event: Event) => {
    event.preventDefault();
    uncaught.push((event as ErrorEvent).error.message);
  };
  addEventListener("error", note);
  try {
    const t = await new Setup().online();
    t.client.subscribe({
      message: () => {
        throw new Error("at once");
      },
      presence: () => {
        throw new Error("of presence");
      },
    });
    t.client.subscribe({ message: () => Promise.reject(new Error("later")) });
    t.socket.give(message(11), { type: "presence", user: "ann", status: "online" }, message(12));
    await settled();
    await new Promise((resolve) => setTimeout(resolve));
    assertEquals(t.messages, ["m11", "m12"]);
    assertEquals(uncaught.toSorted(), ["at once", "at once", "later", "later", "of presence"]);
  } finally {
    removeEventListener("error", note);
  }
});

Deno.test("ChatClient gives its messages to a loop one by one, confirms each when the next is wanted, and ends it", async () => {
  const t = await new Setup({ confirmEvery: 1 }).online();
  t.socket.take();
  const loop = t.client.messages();
  const first = loop.next();
  t.socket.give(message(11), message(12));
  assertEquals((await first).value?.content, "m11");
  assertEquals(t.socket.take(), []);
  assertEquals((await loop.next()).value?.content, "m12");
  assertEquals(t.socket.take(), [{ type: "ack", seq: 11 }]);
  await loop.return();
  assertEquals(t.socket.take(), [{ type: "ack", seq: 12 }]);
  t.socket.give(message(13));
  await settled();
  assertEquals(t.messages, ["m11", "m12", "m13"]);

  const rest: string[] = [];
  const ended = (async () => {
    for await (const { content } of t.client.messages()) {
      rest.push(content);
      await t.client.close();
    }
  })();
  t.socket.give(message(14));
  await ended;
  for await (const _ of t.client.messages()) rest.push("after the end");
  assertEquals(rest, ["m14"]);
});

Deno.test("ChatClient asks for a token until it has one that the server takes, unless there is none to be had", async () => {
  const tokens: (string | Error)[] = [new Error("no network"), "old", "new"];
  const getToken = () => {
    const token = tokens.shift() ?? new ChatError("unauthorized", "log in again");
    if (typeof token !== "string") throw token;
    return token;
  };
  const t = new Setup({ getToken, token: "unused" });
  await settled();
  assertEquals(t.client.state, { phase: "waiting", reason: "no network", delayMs: 500 });
  await t.clock.pass(500);
  t.socket.open();
  t.socket.drop(4001);
  await t.clock.pass(1_000);
  await t.online();
  assertEquals([t.phase, t.sockets.map(({ token }) => token)], ["online", ["old", "new"]]);
  t.socket.drop(4201);
  await t.clock.pass(30_000);
  assertEquals(t.client.state, { phase: "closed", code: 0, reason: "log in again", needsUser: true });
});

Deno.test("ChatClient without a device keeps the one that the server makes up", async () => {
  const t = new Setup({ device: "" });
  await settled();
  t.socket.open();
  assertEquals([t.socket.take()[0]!.device, t.client.device], [undefined, ""]);
  t.socket.give({ ...WELCOME, device: "made-up" }, { type: "synced", seq: 10 });
  await settled();
  assertEquals([t.client.device, (await t.again()).device], ["made-up", "made-up"]);
});

Deno.test("ChatClient says in words that there is no WebSocket, and uses one of a class that it is given", async () => {
  const opened: unknown[] = [];
  class Made extends FakeSocket {
    constructor(url: string, protocols: string[]) {
      super(url, undefined);
      opened.push([url, protocols]);
    }
  }
  const t = new Setup({ socket: socketsOf(Made), token: "t" });
  await settled();
  assertEquals([t.phase, opened], ["connecting", [["ws://host/ws", ["parley", "bearer.t"]]]]);
  await t.client.close();

  const { WebSocket } = globalThis;
  try {
    Reflect.deleteProperty(globalThis, "WebSocket");
    const client = new ChatClient({ url: "ws://host/ws" });
    client.connect();
    await client.closed;
    assert(client.state.phase === "closed");
    assertMatch(client.state.reason, /There is no WebSocket here.*socketsOf/);
  } finally {
    globalThis.WebSocket = WebSocket;
  }
});

Deno.test("errors have a code, and say what may succeed later", () => {
  const codes = ["offline", "timeout", "closed", "rate_limited", "forbidden", "of a newer server"];
  assertEquals(codes.map((code) => new ChatError(code, "").retryable), [true, true, false, true, false, false]);
  const frame = { type: "error", code: "mailbox_full", message: "full", retryable: true, retry_after_ms: 5 } as const;
  const { code, message, retryable, retryAfterMs } = ChatError.of(frame);
  assertEquals([code, message, retryable, retryAfterMs], ["mailbox_full", "full", true, 5]);
});

Deno.test("a client looks when the page is seen again, until that is ended, and never outside of pages", () => {
  let looks = 0;
  const client = { lookNow: () => void looks++ };
  lookOnReturn(client)();
  const document = { visibilityState: "visible" };
  Object.assign(globalThis, { document });
  try {
    const end = lookOnReturn(client);
    for (const name of ["online", "pageshow", "visibilitychange"]) dispatchEvent(new Event(name));
    document.visibilityState = "hidden";
    dispatchEvent(new Event("visibilitychange"));
    end();
    document.visibilityState = "visible";
    dispatchEvent(new Event("online"));
    assertEquals(looks, 3);
  } finally {
    Reflect.deleteProperty(globalThis, "document");
  }
});
