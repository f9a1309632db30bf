/**
 * The whole frame path under random input: three connections, whatever they send. PARLEY_SEED repeats a run; what was found once
 * stands in testing/fuzz_regressions.ts and is tried first, every time.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import { MemoryBroker } from "../broker/memory.ts";
import { Hub } from "../hub.ts";
import { CLIENT_TYPES, ERROR_CODES, parseClientFrame, Refusal } from "../protocol.ts";
import { FakeConnection } from "../testing/fake_connection.ts";
import { REGRESSIONS } from "../testing/fuzz_regressions.ts";
import { lacks } from "../testing/permissions.ts";

/** Frames that go through the hub, and texts that go through the parser alone: 100,000 together. */
const HUB_RUNS = 2_000;
const HUB_FRAMES = 40;
const PARSER_RUNS = 40_000;

const NAMES = ["ann", "ben", "cat", "Ann", "nobody", "#g", "#h", "", "bad name", "a\u202eb"];
const name = fc.constantFrom(...NAMES);
const value = fc.oneof(
  name,
  fc.nat(),
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.json({ maxDepth: 2 }),
  fc.constant(null),
);

const message = fc.record(
  { sender: name, recipient: name, content: fc.string({ unit: "binary", maxLength: 40 }), id: fc.constantFrom("1", "2", "3") },
  { requiredKeys: ["sender", "recipient", "content"] },
);
const typed = fc.record({
  type: fc.constantFrom<string>(...CLIENT_TYPES),
  v: fc.constantFrom<unknown>(1, 0, "1"),
  name,
  device: fc.constantFrom("d", "e"),
  caps: fc.constantFrom<unknown>(["batch"], [], "batch"),
  resume: fc.record({ epoch: fc.constant("x"), seq: fc.nat() }),
  last: fc.nat(20),
  op: fc.constantFrom("create", "join", "leave", "invite", "remove", "members", "list", "disconnect", "x"),
  group: fc.constantFrom("#g", "#h", "g"),
  user: name,
  users: fc.array(name, { maxLength: 3 }),
  with: name,
  recipient: name,
  kind: fc.constantFrom("read", "delivered"),
  status: fc.constantFrom("online", "away", "x"),
  seq: fc.nat(50),
  before: fc.nat(50),
  after: fc.nat(50),
  limit: fc.nat(10),
  id: fc.constantFrom<unknown>("1", "2", 3),
}, { requiredKeys: ["type"] });
const noise = fc.dictionary(fc.string({ maxLength: 8 }), value, { maxKeys: 5 });

/** One frame's text: something well formed, bent at a random place now and then, or noise. */
const frame = fc.oneof(
  { weight: 4, arbitrary: message.map((object) => JSON.stringify(object)) },
  { weight: 4, arbitrary: typed.map((object) => JSON.stringify(object)) },
  { weight: 1, arbitrary: noise.map((object) => JSON.stringify(object)) },
  { weight: 1, arbitrary: fc.string({ unit: "binary", maxLength: 60 }) },
  {
    weight: 2,
    arbitrary: fc.tuple(typed, fc.nat(200), fc.string({ unit: "binary", maxLength: 2 })).map(([object, at, junk]) => {
      const text = JSON.stringify(object);
      return text.slice(0, at) + junk + text.slice(at + 1);
    }),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(message, typed).map((objects) => objects.map((object) => JSON.stringify(object)).join("\n")),
  },
);

function parameters(numRuns: number): { numRuns: number; seed?: number } {
  const seed = lacks("env") ? undefined : Deno.env.get("PARLEY_SEED");
  return seed === undefined ? { numRuns } : { numRuns, seed: Number(seed) };
}

async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(() => resolve()));
}

/** Sends `frames` to a fresh hub in turn; everything that must hold afterwards holds. */
async function run(frames: readonly (readonly [number, unknown])[]): Promise<void> {
  const reports: unknown[] = [];
  const hub = new Hub({ broker: new MemoryBroker(), report: (error) => reports.push(error), defer: setImmediate });
  const connections = [new FakeConnection(), new FakeConnection(), new FakeConnection()];
  const users = ["ann", "ben", undefined];
  const bystander = new FakeConnection();
  const by = hub.connect(bystander, { user: "bystander" });
  by.receive('{"type":"hello","v":1}');
  const peers = connections.map((connection, i) => hub.connect(connection, users[i] === undefined ? {} : { user: users[i] }));
  for (const [index, data] of frames) {
    const before = connections[index]!.sent.length;
    peers[index]!.receive(data);
    // Nothing goes unanswered: a frame that does not parse gets an error, whether its sender has a name yet or not.
    const isBad = typeof data !== "string" || (!data.includes("\n") && parseClientFrame(data) instanceof Refusal);
    await settle();
    if (isBad && !connections[index]!.closed) assert(connections[index]!.sent.length > before, `no answer to ${data}`);
  }
  by.receive('{"sender":"bystander","recipient":"bystander","content":"still here","id":"1"}');
  await settle();
  assertEquals(bystander.frames.filter((frame) => frame.type === "ack").length, 1);
  assertEquals(reports, []);
  // Every frame that went out is one that a client understands, and names no code that is not in the table.
  for (const { frames } of connections) {
    for (const frame of frames) if (frame.type === "error") assert(frame.code in ERROR_CODES);
  }
  for (const peer of [...peers, by]) peer.gone(true);
  await settle();
  assertEquals(hub.counts, { users: 0, sessions: 0, presence: 0 });
  hub.presence.close();
}

Deno.test("fuzz - the parser gives a frame or a refusal for any text", () => {
  fc.assert(
    fc.property(frame, (text) => {
      const parsed = parseClientFrame(text);
      if (parsed instanceof Refusal) assert(parsed.code in ERROR_CODES);
    }),
    parameters(PARSER_RUNS),
  );
});

Deno.test("fuzz - what once went wrong does not go wrong again", async () => {
  for (const text of REGRESSIONS) for (const index of [0, 2]) await run([[index, text]]);
  await run(REGRESSIONS.map((text) => [0, text] as const));
});

Deno.test("fuzz - the hub answers everything, and its other connections chat on", async () => {
  const step = fc.tuple(fc.nat(2), frame);
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: HUB_FRAMES, maxLength: HUB_FRAMES, size: "max" }), run),
    parameters(HUB_RUNS),
  );
});
