/** The server over real sockets: a crowd that talks all at once, and a peer that talks nonsense. */

import { assertEquals } from "@std/assert";
import { encode, type ErrorCode, FRAME_BYTES_MAX, type Message, parseClientFrame, Refusal } from "../protocol.ts";
import { startServer } from "../server.ts";
import { lacks } from "../testing/permissions.ts";
import { pick, seeded } from "../testing/random.ts";
import { WsPeer } from "../testing/ws_peer.ts";

const CONNECTIONS = 100;
const MESSAGES_EACH = 128;
const MALFORMED = 300;

Deno.test({
  name:
    `${CONNECTIONS} connections send ${MESSAGES_EACH} messages each to random others: every one comes once, in order per pair`,
  ignore: lacks("net"),
  fn: async () => {
    await using server = await startServer({ port: 0 });
    await using stack = new AsyncDisposableStack();
    const names = Array.from({ length: CONNECTIONS }, (_, index) => `c${index}`);
    const peers = await Promise.all(names.map(async (name, index) => {
      return stack.use(index % 2 === 0 ? await connectBase(server.url, name) : await connectExtended(server.url, name));
    }));

    const random = seeded(100);
    const plan = names.map((sender) =>
      Array.from({ length: MESSAGES_EACH }, (_, n): Message => {
        const recipient = pick(random, names.filter((name) => name !== sender));
        return { sender, recipient, content: `${n}` };
      })
    );
    for (let n = 0; n < MESSAGES_EACH; n++) for (const [index, peer] of peers.entries()) peer.send(encode(plan[index]![n]!));

    const sent = plan.flat();
    for (const [index, name] of names.entries()) {
      const due = sent.filter(({ recipient }) => recipient === name);
      const got: Message[] = [];
      while (got.length < due.length) {
        const frame = await peers[index]!.next();
        if (frame.type !== "receipt") got.push(message(frame));
      }
      // Sorting keeps the order of those from the same sender.
      assertEquals(bySender(got), bySender(due));
    }
    for (const peer of peers) assertEquals(peer.rest().filter(({ type }) => type !== "receipt"), []);
  },
});

Deno.test({
  name: `${MALFORMED} random malformed frames each get their own error, and the same connection still chats`,
  ignore: lacks("net"),
  fn: async () => {
    await using server = await startServer({ port: 0 });
    await using bob = await connectBase(server.url, "bob");
    await using mallory = await connectBase(server.url, "mallory");
    const random = seeded(Number(crypto.getRandomValues(new Uint32Array(1))[0]));
    for (let sent = 0; sent < MALFORMED; sent++) {
      const [frame, code] = malformed(random);
      mallory.send(frame);
      const answer = await mallory.next();
      assertEquals([answer.type, "code" in answer && answer.code], ["error", code], `to ${frame}`);
    }
    mallory.send({ sender: "mallory", recipient: "bob", content: "sorry" });
    assertEquals(await bob.next(), { sender: "mallory", recipient: "bob", content: "sorry" });
    bob.send({ sender: "bob", recipient: "mallory", content: "never mind" });
    assertEquals(await mallory.next(), { sender: "bob", recipient: "mallory", content: "never mind" });
  },
});

/** A base connection that the server knows: its first message is acked. */
async function connectBase(url: string, name: string): Promise<WsPeer> {
  const peer = await WsPeer.open(url);
  peer.send({ sender: name, recipient: name, content: "here I am", id: "first" });
  assertEquals((await peer.next()).type, "ack");
  return peer;
}

async function connectExtended(url: string, name: string): Promise<WsPeer> {
  const peer = await WsPeer.open(url);
  peer.send({ type: "hello", v: 1, name, caps: ["batch"] });
  assertEquals((await peer.next()).type, "welcome");
  assertEquals((await peer.next()).type, "synced");
  return peer;
}

function message(frame: { type?: string | undefined }): Message {
  assertEquals(frame.type, undefined, JSON.stringify(frame));
  const { sender, recipient, content } = frame as Message;
  return { sender, recipient, content };
}

function bySender(messages: Message[]): Message[] {
  return messages.toSorted((a, b) => a.sender < b.sender ? -1 : a.sender > b.sender ? 1 : 0);
}

/** A frame that is wrong somehow, and the code of the error it deserves. */
function malformed(random: () => number): [string | Uint8Array<ArrayBuffer>, ErrorCode] {
  const kind = random();
  if (kind < 0.05) return [new Uint8Array(8), "binary_frame"];
  if (kind < 0.08) return ["[".repeat(FRAME_BYTES_MAX + 1), "too_large"];
  if (kind < 0.11) return ["[".repeat(FRAME_BYTES_MAX - 1), "bad_json"];
  if (kind < 0.2) return [JSON.stringify({ sender: "alice", recipient: "bob", content: "not me" }), "forbidden"];
  if (kind < 0.25) return [JSON.stringify({ sender: "mallory", recipient: "nobody", content: "hi" }), "unknown_recipient"];
  if (kind < 0.3) return [JSON.stringify({ sender: "mallory", recipient: "#nothing", content: "hi" }), "unknown_group"];
  for (;;) {
    const frame = damaged(random);
    const refusal = parseClientFrame(frame);
    if (refusal instanceof Refusal) return [frame, refusal.code];
  }
}

const SOUND = [
  { sender: "mallory", recipient: "bob", content: "hi", id: "1" },
  { type: "receipt", kind: "read", with: "bob", seq: 1 },
  { type: "history", with: "#ops", limit: 5, id: "h1" },
];
const VALUES = ["", " ", "b\u200bob", "a\0b", "\ud83d", "#", "x".repeat(17_000), -1, 1.5, 1e300, null, true, [], {}, undefined];
const DAMAGE = [
  '"',
  "{",
  "}",
  "[",
  "null",
  "-1e999",
  "\\u0000",
  "\\ud800",
  "\u202e",
  "\0",
  '"__proto__":{"type":"x"},',
  "\ufeff",
  " ",
];

/** A sound frame with another value in it, or with its text cut into. */
function damaged(random: () => number): string {
  const sound: Record<string, unknown> = { ...pick(random, SOUND) };
  if (random() < 0.5) {
    sound[pick(random, Object.keys(sound))] = pick(random, VALUES);
    return JSON.stringify(sound);
  }
  let frame = JSON.stringify(sound);
  for (let times = 1 + random() * 3; times > 0; times--) {
    const at = Math.floor(random() * frame.length);
    frame = frame.slice(0, at) + pick(random, DAMAGE) + frame.slice(at + Math.floor(random() * 12));
  }
  return frame;
}

Deno.test("damaged frames are mostly refused, for many reasons", () => {
  const random = seeded(300);
  const codes = new Set<string>();
  for (let index = 0; index < 1_000; index++) codes.add(malformed(random)[1]);
  for (const code of ["bad_json", "bad_frame", "bad_name", "bad_content", "unknown_type"]) {
    assertEquals(codes.has(code), true, `${code} never came up in ${[...codes]}`);
  }
});
