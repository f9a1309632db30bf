import { assertEquals } from "@std/assert";
import { MessageLog } from "./message_log.ts";
import { newDirect } from "./state.ts";

/** More than are linked before they are listed, over many blocks of the log. */
const COUNT = 40_000;

Deno.test("Thread lists the positions of its messages in order, however many came since somebody asked, and those of no other", () => {
  const log = new MessageLog(), threads = [newDirect(log, new Map()), newDirect(log, new Map()), newDirect(log, new Map())];
  const expected: number[][] = [[], [], []];
  for (let seq = 1; seq <= COUNT; seq++) {
    const index = seq % 7 === 0 ? 0 : seq % 3 === 0 ? 1 : 2;
    threads[index]!.push({ sender: "a", recipient: "b", content: "", id: undefined, origin: "d", seq, ts: 0 });
    expected[index]!.push(seq);
    if (seq % 1_111 === 0) assertEquals(threads[0]!.seqs, expected[0]);
  }
  for (const [index, thread] of threads.entries()) assertEquals(thread.seqs, expected[index]);
});

Deno.test("Thread keeps the positions of what is left after it was listed and its oldest messages were deleted", () => {
  const log = new MessageLog(), thread = newDirect(log, new Map());
  const push = (seq: number) =>
    thread.push({ sender: "a", recipient: "b", content: "", id: undefined, origin: "d", seq, ts: 0 });
  for (let seq = 1; seq <= 2_000; seq++) push(seq);
  thread.list();
  for (let seq = 1; seq <= 1_500; seq++) log.delete(seq);
  for (let seq = 2_001; seq <= 2_010; seq++) push(seq);
  assertEquals(thread.seqs, Array.from({ length: 2_010 }, (_, index) => index + 1));
  thread.seqs = thread.seqs.slice(1_500);
  push(2_011);
  assertEquals([thread.seqs[0], thread.seqs.at(-1), thread.seqs.length], [1_501, 2_011, 511]);
});
