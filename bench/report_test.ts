import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { noFaults } from "./checker.ts";
import { describeFaults, isDisturbed, isSound, toMarkdown, toSvg } from "./report.ts";
import type { Result } from "./scenarios.ts";

const RESULT: Result = {
  scenario: "direct-w16",
  what: "100 connections",
  broker: "memory",
  connections: 100,
  figures: {
    delivered_per_s: 123_456,
    cpu_us_per_message: 7.5,
    server_cpu: 0.97,
    clients_cpu: 0.6,
    at_per_s: 20_000,
    latency_us: { p50: 120, p99: 12_000, p999: 150_000, max: 200_000 },
  },
  faults: noFaults(),
  complaint: "",
};

Deno.test("isSound is true of a result without faults, and of no other", () => {
  assert(isSound(RESULT));
  for (const kind of Object.keys(RESULT.faults)) {
    assertEquals(isSound({ ...RESULT, faults: { ...RESULT.faults, [kind]: 1 } }), false, kind);
  }
  assertEquals(isSound({ ...RESULT, complaint: "unavailable" }), false);
});

Deno.test("describeFaults names what was wrong and nothing else", () => {
  const faults = { ...RESULT.faults, lost: 3, repeated: 1 };
  assertEquals(describeFaults({ ...RESULT, faults, complaint: "no" }), '1 repeated, 3 lost, the server said "no"');
});

Deno.test("isDisturbed is true where a closed loop kept nobody busy, and the table says so", () => {
  const idle: Result = { ...RESULT, figures: { ...RESULT.figures, server_cpu: 0.2, clients_cpu: 0.1 } };
  assertEquals([RESULT, idle, { ...RESULT, figures: {} }].map(isDisturbed), [false, true, false]);
  assertStringIncludes(toMarkdown([idle]), "100 connections (disturbed");
});

Deno.test("toMarkdown has a row of as many cells as the heading for every result", () => {
  const lines = toMarkdown([RESULT, { ...RESULT, figures: {} }]).trimEnd().split("\n");
  assertEquals(lines.length, 4);
  assertEquals(new Set(lines.map((line) => line.split("|").length)).size, 1);
  assertStringIncludes(lines[2]!, "| 100 | 123,456 | 7.5 | 0.97, 0.6 | 0.12 / 12.0 / 150 (20,000) |");
});

Deno.test("toSvg draws a bar for throughput and points for latency, the largest bar widest", () => {
  const half = { ...RESULT, scenario: "half & half", figures: { delivered_per_s: 61_728 } };
  const svg = toSvg([RESULT, half], "a < b");
  const widths = [...svg.matchAll(/width="([\d.]+)" height="14"/g)].map((match) => Number(match[1]));
  assertEquals(widths.length, 2);
  assert(Math.abs(widths[0]! - widths[1]! * 2) < 0.2);
  assertEquals(svg.match(/<circle/g)?.length, 3);
  assertStringIncludes(svg, "half &amp; half");
  assertStringIncludes(svg, "a &lt; b");
});
