import { assertEquals } from "@std/assert";
import { ReverseSearch } from "./reverse_search.ts";

const LINES = ["/to alice", "lunch at noon?", "/to bob", "Lunch?"];

Deno.test("ReverseSearch finds the newest line, older ones with Ctrl-R, and stays at the oldest", () => {
  const search = new ReverseSearch(LINES, "typed");
  assertEquals([search.line, search.prompt], ["typed", "(search: ) "]);
  search.take("lunch");
  assertEquals([search.line, search.prompt], ["lunch at noon?", "(search: lunch) "]);
  search.take("\x12");
  assertEquals(search.line, "Lunch?");
  search.take("\x12");
  assertEquals(search.line, "Lunch?");
  search.take("x");
  assertEquals([search.line, search.prompt], ["", "(not found: lunchx) "]);
  search.take("\x7f");
  assertEquals(search.line, "lunch at noon?");
});

Deno.test("ReverseSearch ends with any other key, or gives the typed line back", () => {
  for (const key of ["\r", "\x1b[C", "\t", "\x01"]) assertEquals(new ReverseSearch(LINES, "").take(key), "accepted");
  for (const key of ["\x07", "\x03", "\x1b"]) assertEquals(new ReverseSearch(LINES, "typed").take(key), "cancelled");
  assertEquals(new ReverseSearch(LINES, "typed").before, "typed");
});
