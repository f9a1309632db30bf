import { assert, assertEquals } from "@std/assert";
import { Checker, CONTENT_CHARS_MAX, countLost, type Faults, makeContent, readContent } from "./checker.ts";

const NONE: Faults = { altered: 0, misrouted: 0, repeated: 0, skipped: 0, lost: 0, refused: 0 };

function check(...sequences: number[]): Faults {
  const checker = new Checker();
  for (const sequence of sequences) {
    checker.received("bob", { sender: "ann", recipient: "bob", content: makeContent(sequence, 5, 64) });
  }
  return checker.faults;
}

Deno.test("makeContent has the length that was asked for and says its sequence and time", () => {
  for (const chars of [64, 1024, CONTENT_CHARS_MAX]) {
    const content = makeContent(77, 1_790_000_000_000_000, chars);
    assertEquals(content.length, chars);
    assertEquals(readContent(content), { sequence: 77, dueUs: 1_790_000_000_000_000 });
  }
});

Deno.test("readContent notices any change of one character", () => {
  const content = makeContent(1234, 1_790_000_000_000_000, 64);
  for (let i = 0; i < content.length; i++) {
    const digit = Number.parseInt(content[i]!, 10);
    const other = content.slice(0, i) + (digit >= 0 ? (digit + 1) % 10 : "~") + content.slice(i + 1);
    assertEquals(readContent(other), undefined, `position ${i}`);
  }
  assertEquals(readContent(""), undefined);
  assertEquals(readContent(content.slice(1)), undefined);
  assertEquals(readContent(content + "a"), undefined);
});

Deno.test("Checker finds nothing wrong with what came once and in order", () => {
  assertEquals(check(0, 1, 2, 3), NONE);
});

Deno.test("Checker counts what came twice, late or with a hole", () => {
  assertEquals(check(0, 1, 1), { ...NONE, repeated: 1 });
  assertEquals(check(0, 2, 1), { ...NONE, repeated: 1, skipped: 1 });
  assertEquals(check(0, 2), { ...NONE, skipped: 1 });
});

Deno.test("Checker counts what was altered or came to the wrong one", () => {
  const checker = new Checker();
  assertEquals(checker.received("bob", { sender: "ann", recipient: "bob", content: "hello" }), undefined);
  assertEquals(checker.received("bob", { sender: "ann", recipient: "eve", content: makeContent(0, 5, 64) }), undefined);
  assertEquals(checker.faults, { ...NONE, altered: 1, misrouted: 1 });
});

Deno.test("Checker says when a message was due, and keeps senders, groups and receivers apart", () => {
  const checker = new Checker();
  assertEquals(checker.received("bob", { sender: "ann", recipient: "#ops", content: makeContent(0, 9, 64) }), 9);
  assertEquals(checker.received("eve", { sender: "ann", recipient: "#ops", content: makeContent(0, 8, 64) }), 8);
  assertEquals(checker.received("bob", { sender: "ann", recipient: "bob", content: makeContent(0, 7, 64) }), 7);
  assertEquals(checker.counts, { "ann>#ops>bob": 1, "ann>#ops>eve": 1, "ann>bob>bob": 1 });
});

Deno.test("countLost counts what did not come and what was never sent", () => {
  assertEquals(countLost({ "a>b>b": 3 }, { "a>b>b": 3 }), 0);
  assertEquals(countLost({ "a>b>b": 3 }, { "a>b>b": 1 }), 2);
  assertEquals(countLost({ "a>b>b": 3 }, {}), 3);
  assert(countLost({}, { "a>b>b": 1 }) > 0);
});
