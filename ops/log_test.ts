import { assertEquals, assertMatch } from "@std/assert";
import { logToStderr, reasonOf, sentenceOf } from "./log.ts";

Deno.test("a log line cannot be broken, coloured or filled by what others chose", () => {
  const cause = "a\nb\u001b[31m\u2028\u202e\u{e0001}";
  assertEquals(
    sentenceOf("login_refused", { address: "192.0.2.7", cause }),
    String.raw`login of 192.0.2.7 refused: a\u{a}b\u{1b}[31m\u{2028}\u{202e}\u{e0001}`,
  );
  assertEquals(sentenceOf("request_failed", { reason: "x".repeat(5_000) }).length, 1_000);
});

Deno.test("logToStderr writes one line with the time", () => {
  const lines: string[] = [];
  const { error } = console;
  console.error = (line: string) => lines.push(line);
  try {
    logToStderr("certificate_renewed", {});
  } finally {
    console.error = error;
  }
  assertEquals(lines.length, 1);
  assertMatch(lines[0]!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z the certificate was read again$/);
});

Deno.test("reasonOf gives the message of an error, and anything else as text", () => {
  assertEquals([reasonOf(new TypeError("odd")), reasonOf("thrown"), reasonOf(undefined)], ["odd", "thrown", "undefined"]);
});
