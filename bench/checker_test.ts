import { assert, assertEquals } from "@std/assert";
import { Checker, CONTENT_CHARS_MAX, countLost, type Faults, makeContent, makeId, noFaults, readContent } from "./checker.ts";

const NONE = noFaults();

function check(...sequences: number[]): Faults {
  const checker = new Checker();
  for (const sequence of sequences) {
    checker.received("bob", { sender: "ann", recipient: "bob", content: makeContent("ann>bob", sequence, 5, 64) });
  }
  return checker.faults;
}

Deno.test("makeContent has the length that was asked for and says its sequence and time", () => {
  for (const chars of [64, 1024, CONTENT_CHARS_MAX]) {
    const content = makeContent("ann>bob", 77, 1_790_000_000_000_000, chars);
    assertEquals(content.length, chars);
    assertEquals(readContent("ann>bob", content), { sequence: 77, dueUs: 1_790_000_000_000_000 });
  }
});

Deno.test("readContent notices any change of one character", () => {
  const content = makeContent("ann>bob", 1234, 1_790_000_000_000_000, 64);
  for (let i = 0; i < content.length; i++) {
    const digit = Number.parseInt(content[i]!, 10);
    const other = content.slice(0, i) + (digit >= 0 ? (digit + 1) % 10 : "~") + content.slice(i + 1);
    assertEquals(readContent("ann>bob", other), undefined, `position ${i}`);
  }
  assertEquals(readContent("ann>bob", ""), undefined);
  assertEquals(readContent("ann>bob", content.slice(1)), undefined);
  assertEquals(readContent("ann>bob", content + "a"), undefined);
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
  assertEquals(
    checker.received("bob", { sender: "ann", recipient: "eve", content: makeContent("ann>eve", 0, 5, 64) }),
    undefined,
  );
  assertEquals(
    checker.received("bob", { sender: "cat", recipient: "bob", content: makeContent("ann>bob", 0, 5, 64) }),
    undefined,
  );
  assertEquals(checker.faults, { ...NONE, altered: 2, misrouted: 1 });
});

Deno.test("Checker says when a message was due, and keeps senders, groups and receivers apart", () => {
  const checker = new Checker();
  assertEquals(checker.received("bob", { sender: "ann", recipient: "#ops", content: makeContent("ann>#ops", 0, 9, 64) }), 9);
  assertEquals(checker.received("eve", { sender: "ann", recipient: "#ops", content: makeContent("ann>#ops", 0, 8, 64) }), 8);
  assertEquals(checker.received("bob", { sender: "ann", recipient: "bob", content: makeContent("ann>bob", 0, 7, 64) }), 7);
  assertEquals(checker.counts, { "ann>#ops>bob": 1, "ann>#ops>eve": 1, "ann>bob>bob": 1 });
});

Deno.test("Checker wants the id that was sent, positions that rise, and times", () => {
  const good = {
    sender: "ann",
    recipient: "bob",
    content: makeContent("ann>bob", 0, 5, 64),
    seq: 7,
    ts: "2026-11-01T10:00:00.000Z",
  };
  const faultsOf = (message: object, hasId?: boolean) => {
    const checker = new Checker();
    checker.received("bob", { ...good, ...message }, hasId);
    return checker.faults;
  };
  const id = makeId("ann>bob", 0);
  for (const [message, hasId] of [[{}, false], [{}], [{ id }, true], [{ id }]] as const) {
    assertEquals(faultsOf(message, hasId), NONE);
  }
  for (
    const [message, hasId] of [[{}, true], [{ id }, false], [{ id: "x" }, true], [{ ts: "now" }], [{ seq: 0 }], [{
      seq: 1.5,
    }]] as const
  ) {
    assertEquals(faultsOf(message, hasId), { ...NONE, altered: 1 });
  }
  const checker = new Checker();
  checker.received("bob", good);
  checker.received("bob", { ...good, content: makeContent("ann>bob", 1, 5, 64) });
  assertEquals(checker.faults, { ...NONE, altered: 1 });
});

Deno.test("countLost counts what did not come and what was never sent", () => {
  assertEquals(countLost({ "a>b>b": 3 }, { "a>b>b": 3 }), 0);
  assertEquals(countLost({ "a>b>b": 3 }, { "a>b>b": 1 }), 2);
  assertEquals(countLost({ "a>b>b": 3 }, {}), 3);
  assert(countLost({}, { "a>b>b": 1 }) > 0);
});
