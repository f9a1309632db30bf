import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import {
  CLIENT_TYPES,
  type ClientFrame,
  CLOSE_CODES,
  CONTENT_BYTES_MAX,
  encode,
  ERROR_CODES,
  type ErrorCode,
  HISTORY_LIMIT_MAX,
  ID_CHARS_MAX,
  idOf,
  isOverBytes,
  linesOf,
  NAME_CHARS_MAX,
  parseClientFrame,
  parseName,
  parseServerFrame,
  reconnectAfter,
  Refusal,
  utf8Bytes,
  WATCHED_USERS_MAX,
} from "./protocol.ts";

const HI = { sender: "alice", recipient: "bob", content: "hi" };

function codeOf(frame: unknown): string {
  const parsed = parseClientFrame(typeof frame === "string" ? frame : JSON.stringify(frame));
  return parsed instanceof Refusal ? parsed.code : "ok";
}

Deno.test("utf8Bytes counts what an encoder makes", () => {
  for (const text of ["", "a", "\u007f\u0080\u07ff\u0800\uffff", "\u{10000}\u{10ffff}", "h\u00e9 \u{1f600}\u20ac"]) {
    assertEquals(utf8Bytes(text), new TextEncoder().encode(text).length, text);
  }
});

Deno.test("a message is an object of three strings without a type", () => {
  assertEquals(parseClientFrame(JSON.stringify(HI)) as unknown, HI);
  assertEquals(parseClientFrame(JSON.stringify({ ...HI, id: "1", extra: [1] })) as unknown, { ...HI, id: "1" });
});

const BAD: [string, unknown, ErrorCode][] = [
  ["an empty frame", "", "bad_json"],
  ["a frame that is not JSON", "hello", "bad_json"],
  ["JSON that ends early", '{"sender":"a"', "bad_json"],
  ["two objects on one line", '{"a":1}{"b":2}', "bad_json"],
  ["a JSON string", '"hi"', "bad_frame"],
  ["a JSON number", "7", "bad_frame"],
  ["null", "null", "bad_frame"],
  ["an array", "[]", "bad_frame"],
  ["deeply nested arrays", "[".repeat(30_000) + "]".repeat(30_000), "bad_frame"],
  ["deep nesting that never ends", "[".repeat(60_000), "bad_json"],
  ["a message without a sender", { recipient: "bob", content: "hi" }, "bad_frame"],
  ["a message without a recipient", { sender: "alice", content: "hi" }, "bad_frame"],
  ["a message without content", { sender: "alice", recipient: "bob" }, "bad_frame"],
  ["a sender that is a number", { ...HI, sender: 7 }, "bad_frame"],
  ["content that is null", { ...HI, content: null }, "bad_frame"],
  ["content that is an object", { ...HI, content: { toString: "x" } }, "bad_frame"],
  ["an empty name", { ...HI, recipient: "" }, "bad_name"],
  ["a name over the limit", { ...HI, recipient: "x".repeat(NAME_CHARS_MAX + 1) }, "bad_name"],
  ["a name with a space", { ...HI, recipient: "bob smith" }, "bad_name"],
  ["a name with a no-break space", { ...HI, recipient: "bob\u00a0" }, "bad_name"],
  ["a name with a control character", { ...HI, recipient: "bob\u0007" }, "bad_name"],
  ["a name with an escape", { ...HI, recipient: "\u001b[31mbob" }, "bad_name"],
  ["a name with a zero-width space", { ...HI, recipient: "bo\u200bb" }, "bad_name"],
  ["a name with a soft hyphen", { ...HI, recipient: "bo\u00adb" }, "bad_name"],
  ["a name with a Hangul filler", { ...HI, recipient: "bo\u3164b" }, "bad_name"],
  ["a name with a variation selector", { ...HI, recipient: "bob\ufe0f" }, "bad_name"],
  ["a name with a bidi override", { ...HI, recipient: "bob\u202e" }, "bad_name"],
  ["a name with half a surrogate pair", '{"sender":"alice","recipient":"b\\ud800","content":"hi"}', "bad_name"],
  ["a name with a quote", { ...HI, recipient: 'bo"b' }, "bad_name"],
  ["a group with no name", { ...HI, recipient: "#" }, "bad_name"],
  ["a group as the sender", { ...HI, sender: "#ops" }, "bad_name"],
  ["content with U+0000", { ...HI, content: "a\0b" }, "bad_content"],
  ["content with half a surrogate pair", '{"sender":"alice","recipient":"bob","content":"\\udc00"}', "bad_content"],
  ["content over the limit", { ...HI, content: "x".repeat(CONTENT_BYTES_MAX + 1) }, "too_large"],
  ["content over the limit in bytes only", { ...HI, content: "é".repeat(CONTENT_BYTES_MAX / 2 + 1) }, "too_large"],
  ["an id that is a number", { ...HI, id: 7 }, "bad_frame"],
  ["an empty id", { ...HI, id: "" }, "bad_frame"],
  ["an id over the limit", { ...HI, id: "x".repeat(ID_CHARS_MAX + 1) }, "bad_frame"],
  ["an unknown type", { type: "dance" }, "unknown_type"],
  ["a type that is a number", { type: 7 }, "bad_frame"],
  ["a type that every object has", { type: "constructor" }, "unknown_type"],
  ["a hello without a version", { type: "hello", name: "alice" }, "bad_frame"],
  ["a resume without a position", { type: "hello", v: 1, resume: { epoch: "e" } }, "bad_frame"],
  ["a negative position", { type: "ack", seq: -1 }, "bad_frame"],
  ["a fraction of a position", { type: "ack", seq: 1.5 }, "bad_frame"],
  ["a position too large to be exact", '{"type":"ack","seq":9007199254740993}', "bad_frame"],
  ["an infinite position", '{"type":"ack","seq":1e999}', "bad_frame"],
  ["too many watched users", { type: "watch", users: Array(WATCHED_USERS_MAX + 1).fill("bob") }, "limit_reached"],
  ["an unknown group op", { type: "group", op: "burn" }, "bad_frame"],
  ["a page that is too long", { type: "history", with: "bob", limit: HISTORY_LIMIT_MAX + 1 }, "bad_frame"],
];

for (const [what, frame, code] of BAD) {
  Deno.test(`${what} is refused with ${code}`, () => assertEquals(codeOf(frame), code));
}

Deno.test("every refusal is a frame that clients understand", () => {
  for (const [, frame] of BAD) {
    const refusal = parseClientFrame(typeof frame === "string" ? frame : JSON.stringify(frame));
    assert(refusal instanceof Refusal);
    const parsed = parseServerFrame(encode(refusal.toFrame()));
    assert(!(parsed instanceof Refusal), refusal.message);
  }
});

Deno.test("a refusal carries the id of the frame where it has a good one", () => {
  const bad = parseClientFrame('{"sender":"alice","recipient":"","content":"hi","id":"9f2c"}');
  assert(bad instanceof Refusal);
  assertEquals(bad.toFrame().id, "9f2c");
  const worse = parseClientFrame('{"sender":"alice","recipient":"","content":"hi","id":["9f2c"]}');
  assert(worse instanceof Refusal);
  assertEquals(worse.toFrame().id, undefined);
});

Deno.test("a __proto__ member changes nothing", () => {
  const frame = parseClientFrame('{"sender":"alice","recipient":"bob","__proto__":{"content":"stolen"}}');
  assert(frame instanceof Refusal);
  assertEquals(frame.code, "bad_frame");
  const fine = parseClientFrame('{"__proto__":{"id":"x"},"sender":"alice","recipient":"bob","content":"hi"}');
  assertEquals(fine as unknown, HI);
  assertEquals(codeOf('{"type":"__proto__"}'), "unknown_type");
  assertEquals(({} as Record<string, unknown>).id, undefined);
});

Deno.test("of duplicate members the last counts", () => {
  const frame = parseClientFrame('{"sender":"alice","recipient":"bob","recipient":"carol","content":"a","content":"b"}');
  assertEquals(frame as unknown, { sender: "alice", recipient: "carol", content: "b" });
});

Deno.test("one name is one name whatever its case and composition", () => {
  assertEquals(parseName("Bob"), "bob");
  assertEquals(parseName("BÖB"), "böb");
  assertEquals(parseName("bo\u0308b"), "böb");
  assertEquals(parseName("Ｂｏｂ"), "bob");
  assertEquals(parseName("alice@example.org"), "alice@example.org");
});

Deno.test("a canonical name is its own canonical name", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 70 }), (text) => {
    const name = parseName(text);
    if (typeof name === "string") assertEquals(parseName(name), name);
  }));
});

Deno.test("any text gives a frame or a refusal of the table, never an exception", () => {
  const seeds = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.json(),
    fc.constantFrom(...CLIENT_TYPES).map((type) => `{"type":"${type}"`),
  );
  fc.assert(
    fc.property(seeds, (text) => {
      for (const parsed of [parseClientFrame(text), parseServerFrame(text)]) {
        if (parsed instanceof Refusal) assert(parsed.code in ERROR_CODES);
      }
    }),
    { numRuns: 2_000 },
  );
});

const name = fc.stringMatching(/^[a-z][a-z0-9]{0,8}$/);
const position = fc.nat();
const id = fc.string({ minLength: 1, maxLength: ID_CHARS_MAX }).filter((text) => !text.includes("\0"));
const content = fc.string({ unit: "grapheme" }).filter((text) => !text.includes("\0"));
const optional = { requiredKeys: [] as [] };

const CLIENT_FRAME: fc.Arbitrary<unknown> = fc.oneof(
  fc.record({ sender: name, recipient: fc.oneof(name, name.map((n) => "#" + n)), content, id }, {
    requiredKeys: ["sender", "recipient", "content"],
  }),
  fc.record({ name, device: name, resume: fc.record({ epoch: id, seq: position }), last: fc.nat(100) }, optional)
    .map((rest) => ({ type: "hello", v: 1, ...rest })),
  fc.record({ type: fc.constant("ack"), seq: position }),
  fc.record({ type: fc.constant("receipt"), kind: fc.constant("read"), with: name, seq: position }),
  fc.record({ type: fc.constant("watch"), users: fc.array(name, { maxLength: 5 }) }),
  fc.record({ type: fc.constant("typing"), recipient: name }),
  fc.record({ type: fc.constant("group"), op: fc.constantFrom("create", "join"), group: name.map((n) => "#" + n) }),
  fc.record({ before: position, after: position, limit: fc.integer({ min: 1, max: 99 }), id }, optional)
    .map((rest) => ({ type: "history", with: "bob", ...rest })),
);

Deno.test("encode and parse round-trip", () => {
  fc.assert(fc.property(CLIENT_FRAME, (frame) => {
    const parsed = parseClientFrame(encode(frame as ClientFrame));
    assertEquals(parsed as unknown, frame);
  }));
});

Deno.test("a message parses to the same whether it is laid out as programs do or in another way", () => {
  const names = fc.constantFrom(
    "al",
    "al-ice_9.x",
    "-a",
    "AL",
    "#ops",
    "#",
    "",
    "é",
    "a".repeat(64),
    "a".repeat(65),
    "#" + "b".repeat(64),
  );
  const texts = fc.oneof(
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.constantFrom("", '"', "\\", "\0", "\ud800", "\n", "é🙂", "x".repeat(30)),
  );
  const ids = fc.option(fc.oneof(texts, fc.constantFrom("i-1", "i".repeat(64), "i".repeat(65))), { nil: undefined });
  fc.assert(fc.property(names, names, texts, ids, (sender, recipient, content, id) => {
    const text = JSON.stringify({ sender, recipient, content, id });
    assertEquals(parseClientFrame(text, 20), parseClientFrame(" " + text, 20));
    // Lone surrogates are escaped by JSON.stringify; here they are not.
    const raw = `{"sender":"al","recipient":"bo","content":"${content}"}`;
    assertEquals(parseClientFrame(raw, 20), parseClientFrame(" " + raw, 20));
  }));
});

Deno.test("a frame's lines are its objects, and JSON over several lines is one", () => {
  assertEquals(linesOf('{"a":1}'), ['{"a":1}']);
  assertEquals(linesOf('{"a":1}\n{"b":2}\n'), ['{"a":1}', '{"b":2}']);
  assertEquals(linesOf('{\n  "a": 1\n}'), ['{\n  "a": 1\n}']);
  assertEquals(linesOf('{"a":1}\n\n oops'), ['{"a":1}', " oops"]);
  assertEquals(linesOf('{"a":{}\n}'), ['{"a":{}\n}']);
  assertEquals(linesOf('{"a":[{}\n,{}]}'), ['{"a":[{}\n,{}]}']);
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 4 }), (value) => {
    const pretty = JSON.stringify({ value }, null, 1);
    assertEquals(linesOf(pretty), [pretty]);
  }));
});

Deno.test("isOverBytes counts UTF-8, not characters", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 40 }), fc.nat(80), (text, limit) => {
    assertEquals(isOverBytes(text, limit), new TextEncoder().encode(text).length > limit);
  }));
});

Deno.test("a close code says whether to connect again, its range when nobody knows it", () => {
  for (const { code, reconnect } of Object.values(CLOSE_CODES)) {
    assertEquals(reconnectAfter(code), reconnect);
    if (code >= 4000) assertEquals(reconnect, code < 4100 ? "never" : code < 4200 ? "later" : "now", String(code));
  }
  assertEquals([4050, 4150, 4250, 1006].map(reconnectAfter), ["never", "later", "now", "later"]);
});

Deno.test("parseClientFrame ignores position and time of a client, whatever they are", () => {
  const message = { sender: "a", recipient: "b", content: "x" };
  for (const extra of [{ ts: 1_700_000_000_000 }, { seq: "12" }, { seq: -1, ts: null }, { seq: 5, ts: "now" }]) {
    assertEquals(parseClientFrame(JSON.stringify({ ...message, ...extra, id: "1" })), { ...message, id: "1" });
  }
});

Deno.test("idOf finds the id of any object, and nothing in anything else", () => {
  assertEquals(idOf('{"content":"…","id":"9f2c"}'), "9f2c");
  for (const text of ['{"id":7}', '{"id":""}', '[{"id":"1"}]', "null", '{"id":"1"', "", '{"a":{"id":"1"}}']) {
    assertEquals(idOf(text), undefined, text);
  }
});
