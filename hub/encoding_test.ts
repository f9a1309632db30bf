import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { encodeAck, encodeBase, encodeExtended } from "./encoding.ts";

const TEXT = fc.oneof(
  fc.string({ unit: "binary", maxLength: 20 }),
  fc.constantFrom('"', "\\", "\0", "\x1f", "\ud800", "\udfff", "🙂", "é"),
);

Deno.test("a stored message is encoded as JSON that says the same, whatever its content and id", () => {
  fc.assert(fc.property(TEXT, TEXT, (content, id) => {
    const message = { sender: "ann", recipient: "#ops", content, id, origin: "d", seq: 7, ts: 1_790_000_000_123 };
    const { sender, recipient } = message, ts = "2026-09-21T14:13:20.123Z";
    // Compared as text: JSON.parse would hide what was escaped and what was not.
    assertEquals(encodeBase(message), JSON.stringify({ sender, recipient, content }));
    assertEquals(encodeExtended(message), JSON.stringify({ sender, recipient, content, id, seq: 7, ts }));
    const ack = { type: "ack", id, seq: 7, ts };
    assertEquals(encodeAck(id, { seq: 7, ts: message.ts, duplicate: false }), JSON.stringify(ack));
    assertEquals(encodeAck(id, { seq: 7, ts: message.ts, duplicate: true }), JSON.stringify({ ...ack, duplicate: true }));
  }));
});
