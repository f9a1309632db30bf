import { assert, assertEquals } from "@std/assert";
import type { Message } from "../protocol.ts";
import { check, type DeviceHistory } from "./history.ts";

const HI: Message = { sender: "alice", recipient: "bob", content: "hi", id: "1" };

function device(user: string, name: string, parts: Partial<DeviceHistory> = {}): DeviceHistory {
  return { user, device: name, extended: true, sent: new Map(), acked: new Map(), received: [], ...parts };
}

const alice = device("alice", "a", { sent: new Map([["1", HI]]), acked: new Map([["1", [7]]]) });
const read = (...seqs: number[]) => seqs.map((seq) => ({ ...HI, seq }));

Deno.test("the checker finds nothing wrong with a message that was acked and read once", () => {
  assertEquals(check([alice, device("bob", "b", { received: read(7) })], new Map()), []);
});

const FAULTS: [string, DeviceHistory[], RegExp][] = [
  ["a lost message", [alice, device("bob", "b")], /never read 1/],
  [
    "a lost copy for the sender's other device",
    [alice, device("alice", "b"), device("bob", "b", { received: read(7) })],
    /alice\/b never/,
  ],
  ["a doubled message", [alice, device("bob", "b", { received: read(7, 8) })], /read 1 2 times/],
  ["a message that reached somebody else", [alice, device("carol", "c", { received: read(7) })], /not addressed/],
  ["a message that nobody sent", [device("bob", "b", { received: read(7) })], /nobody sent/],
  ["another order than that of positions", [alice, device("bob", "b", { received: read(7, 6) })], /after 7/],
  ["two positions of one id", [device("alice", "a", { sent: alice.sent, acked: new Map([["1", [7, 8]]]) })], /7 and 8/],
  [
    "another position in the ack than in the message",
    [alice, device("bob", "b", { received: read(9) })],
    /acked at 7 and read at 9/,
  ],
];

for (const [what, devices, pattern] of FAULTS) {
  Deno.test(`the checker finds ${what}`, () => {
    const wrong = check(devices, new Map());
    assert(wrong.some((line) => pattern.test(line)), wrong.join("\n"));
  });
}

Deno.test("the checker wants what was sent before a membership ended, and nothing that was sent after it", () => {
  const messages = [1, 2, 3].map((n): Message => ({ sender: "alice", recipient: "#g", content: "hi", id: String(n) }));
  const sender = device("alice", "a", {
    sent: new Map(messages.map((message) => [message.id!, message])),
    acked: new Map(messages.map(({ id }) => [id!, [Number(id) * 10]])),
  });
  const groups = new Map([["#g", ["alice", "bob"]]]), endings = [{ user: "bob", group: "#g", due: 10, last: 20 }];
  const wrong = (...ids: number[]) => {
    const received = ids.map((id) => ({ ...messages[id - 1]!, seq: id * 10 }));
    return check([sender, device("bob", "b", { received })], groups, endings);
  };
  assertEquals([wrong(1), wrong(1, 2)], [[], []]);
  assert(/never read 1/.test(wrong().join()) && /had left/.test(wrong(1, 3).join()));
});
