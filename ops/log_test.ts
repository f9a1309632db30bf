import { assert, assertEquals, assertMatch } from "@std/assert";
import fc from "fast-check";
import { EVENTS, formatFor, jsonOf, LOG_LEVELS, type LogEvent, openLog, reasonOf, sentenceOf } from "./log.ts";

Deno.test("a log line cannot be broken, coloured or filled by what others chose", () => {
  const cause = "a\nb\u001b[31m\u2028\u202e\u{e0001}";
  assertEquals(
    sentenceOf("login_refused", { address: "192.0.2.7", cause }),
    String.raw`login of 192.0.2.7 refused: a\u{a}b\u{1b}[31m\u{2028}\u{202e}\u{e0001}`,
  );
  assertEquals(sentenceOf("request_failed", { reason: "x".repeat(5_000) }).length, 1_000);
  const json = jsonOf("login_refused", { address: "192.0.2.7", cause }, new Date(0));
  assertEquals(
    json,
    String
      .raw`{"ts":"1970-01-01T00:00:00.000Z","level":"warn","event":"login_refused","message":"login of 192.0.2.7 refused: a\nb\u001b[31m\u2028\u202e\udb40\udc01","address":"192.0.2.7","cause":"a\nb\u001b[31m\u2028\u202e\udb40\udc01"}`,
  );
  assertEquals(JSON.parse(json).cause, cause);
  assertEquals(JSON.parse(jsonOf("request_failed", { reason: "x".repeat(5_000) }, new Date(0))).reason.length, 1_000);
});

/** Text that might forge a line or a field: units of all kinds, and pieces of both formats. */
const hostile = fc.oneof(
  fc.string({ unit: "binary", maxLength: 60 }),
  fc.array(
    fc.constantFrom("\n", "\r", '"', "\\", "\u2028", "\u0085", "\u009b", '","level":"error', '{"event":"x"}', "\ud800", "é"),
    { maxLength: 12 },
  ).map((parts) => parts.join("")),
);

Deno.test("whatever stands in the fields, every event is one line of which a reader gets back the fields that were given", () => {
  const event = fc.constantFrom(...Object.keys(EVENTS) as LogEvent[]);
  fc.assert(
    fc.property(event, fc.infiniteStream(hostile), fc.nat(), (name, texts, number) => {
      const kinds = Object.entries(EVENTS[name].fields as Record<string, "string" | "number">);
      const fields = Object.fromEntries(
        kinds.map(([field, kind]) => [field, kind === "number" ? number : texts.next().value as string]),
      );
      const json = jsonOf(name, fields as never, new Date(0)), text = sentenceOf(name, fields as never);
      for (const line of [json, text]) assert(!/[\p{C}\p{Zl}\p{Zp}]/u.test(line), line);
      const { ts, level, event, message, ...rest } = JSON.parse(json);
      assertEquals([ts, level, event, typeof message], ["1970-01-01T00:00:00.000Z", EVENTS[name].level, name, "string"]);
      assertEquals(rest, fields);
    }),
    { numRuns: 2_000 },
  );
});

Deno.test("a log writes one line with the time, of its level and the more urgent ones, in its format", () => {
  const written = (format: "text" | "json", level: typeof LOG_LEVELS[number]) => {
    const lines: string[] = [];
    const log = openLog({ format, level, write: (line) => lines.push(line) });
    log("closed", { user: "ann", ms: 5, code: 4003 });
    log("certificate_renewed", {});
    log("storage", { words: "odd" });
    log("failed", { task: "it", reason: "broken" });
    return lines;
  };
  const levels = LOG_LEVELS.map((level) => written("json", level).map((line) => JSON.parse(line).level));
  assertEquals(levels, [["error"], ["warn", "error"], ["info", "warn", "error"], ["debug", "info", "warn", "error"]]);
  const [line] = written("text", "info");
  assertMatch(line!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z the certificate was read again$/);
});

Deno.test("a terminal gets text, anything else JSON, and an option decides over both", () => {
  const terminal = { isTerminal: () => true }, pipe = { isTerminal: () => false };
  assertEquals([formatFor(terminal, undefined), formatFor(pipe, undefined)], ["text", "json"]);
  assertEquals([formatFor(terminal, "json"), formatFor(pipe, "text")], ["json", "text"]);
});

Deno.test("reasonOf gives the message of an error, and anything else as text", () => {
  assertEquals([reasonOf(new TypeError("odd")), reasonOf("thrown"), reasonOf(undefined)], ["odd", "thrown", "undefined"]);
});
