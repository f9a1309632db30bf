import { assertEquals } from "@std/assert";
import { wrap } from "./wrap.ts";

Deno.test("wrap fills lines up to the width, breaks at spaces alone, and leaves a longer word whole", () => {
  assertEquals(wrap("one two three", 7), ["one two", "three"]);
  assertEquals(wrap("one two three", 6), ["one", "two", "three"]);
  assertEquals(wrap("a unbreakable b", 5), ["a", "unbreakable", "b"]);
  assertEquals([wrap("", 5), wrap("one two", Infinity)], [[""], ["one two"]]);
});
