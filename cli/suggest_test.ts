import { assertEquals } from "@std/assert";
import { nearest } from "./suggest.ts";

const WORDS = ["to", "reply", "list", "history", "help", "quit", "token-file"];

Deno.test("nearest finds the word that is begun, turned round or misspelled", () => {
  for (
    const [typed, word] of [
      ["his", "history"],
      ["qiut", "quit"],
      ["hlep", "help"],
      ["histroy", "history"],
      ["reply", "reply"],
      ["replay", "reply"],
      ["tokenfile", "token-file"],
      ["lists", "list"],
    ] as const
  ) assertEquals(nearest(typed, WORDS), word, typed);
});

Deno.test("nearest suggests nothing where it would be a guess", () => {
  for (const typed of ["", "x", "xyzzy", "dance", "z".repeat(100_000)]) assertEquals(nearest(typed, WORDS), undefined);
  assertEquals(nearest("to", []), undefined);
});
