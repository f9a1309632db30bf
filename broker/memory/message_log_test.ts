import { assertEquals } from "@std/assert";
import type { Stored } from "../../broker.ts";
import { MessageLog } from "./message_log.ts";

/** Enough for two full blocks and a part of a third. */
const COUNT = 1_300;

function message(seq: number): Stored {
  return {
    sender: `u${seq % 3}`,
    recipient: "ben",
    content: `${seq} ünï 🙂`.repeat(seq % 4),
    id: seq % 2 === 0 ? `id-${seq}` : undefined,
    origin: "d",
    seq,
    ts: 1000 + seq,
  };
}

function filled(): MessageLog {
  const log = new MessageLog();
  for (let seq = 1; seq <= COUNT; seq++) log.push(message(seq));
  return log;
}

Deno.test("MessageLog gives back every message as it was, from full blocks and from the last", () => {
  const log = filled();
  for (let seq = 1; seq <= COUNT; seq++) assertEquals(log.get(seq), message(seq));
  assertEquals([log.head, log.size], [COUNT, COUNT]);
  assertEquals([log.get(0), log.get(COUNT + 1)], [undefined, undefined]);
});

Deno.test("MessageLog forgets what is deleted, and nothing else", () => {
  const log = filled();
  for (let seq = 1; seq <= COUNT; seq++) if (seq <= 600 || seq % 5 === 0) log.delete(seq);
  log.delete(600);
  const kept = Array.from({ length: COUNT }, (_, index) => index + 1).filter((seq) => seq > 600 && seq % 5 !== 0);
  assertEquals(log.size, kept.length);
  assertEquals([...log.all()], kept.map(message));
  assertEquals([log.get(10), log.sender(10), log.get(605), log.sender(605)], [undefined, undefined, undefined, undefined]);
  assertEquals(log.sender(601), message(601).sender);
});

Deno.test("MessageLog goes on after all was deleted", () => {
  const log = filled();
  for (let seq = 1; seq <= COUNT; seq++) log.delete(seq);
  assertEquals([log.size, [...log.all()]], [0, []]);
  log.push(message(COUNT + 1));
  assertEquals([...log.all()], [message(COUNT + 1)]);
});

Deno.test("MessageLog lets go of what is deleted while it is walked through", () => {
  const log = filled();
  for (const { seq } of log.all()) log.delete(seq);
  assertEquals(log.size, 0);
});

Deno.test("MessageLog empties a message in any block, and leaves the others as they were", () => {
  const log = filled();
  const emptied = [...log.by("u1")];
  assertEquals(emptied, Array.from({ length: COUNT }, (_, index) => index + 1).filter((seq) => seq % 3 === 1));
  for (const seq of emptied) log.empty(seq);
  for (let seq = 1; seq <= COUNT; seq++) {
    const whole = message(seq), hollow = { ...whole, content: "", id: undefined, origin: "" };
    assertEquals(log.get(seq), seq % 3 === 1 ? hollow : whole);
  }
  assertEquals(log.size, COUNT);
});
