import { assertEquals } from "@std/assert";
import type { Log } from "./log.ts";
import { SlowLog } from "./slow.ts";

Deno.test("slow appends, turns and requests are one line of a kind a second, which says how many were left out", () => {
  let now = 0;
  const lines: unknown[] = [];
  const log: Log = (event, fields) => void lines.push([event, fields]);
  const slow = new SlowLog({ log, appendMs: 100, turnMs: 50, requestMs: Infinity, now: () => now });
  slow.appended(99.9, 1);
  slow.appended(100.4, 7);
  for (let i = 0; i < 5; i++) slow.appended(500, 1);
  slow.turned(49, 1, 1);
  slow.turned(51, 3, 2);
  slow.answered(60_000, "history");
  now = 1_000;
  slow.appended(200, 2);
  slow.appended(200, 2);
  assertEquals(lines, [
    ["slow_append", { ms: 100, messages: 7, suppressed: 0 }],
    ["slow_turn", { ms: 51, messages: 3, connections: 2, suppressed: 0 }],
    ["slow_append", { ms: 200, messages: 2, suppressed: 5 }],
  ]);
});
