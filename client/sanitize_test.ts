import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { sanitize } from "./sanitize.ts";

// deno-lint-ignore no-control-regex
const OBEYED_REGEXP = /[\x00-\x1f\x7f-\x9f\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069\u2028\u2029\ufeff]/u;

Deno.test("sanitize makes every C0 and C1 control visible", () => {
  for (let code = 0; code < 0xa0; code++) {
    const shown = sanitize(`a${String.fromCharCode(code)}b`);
    assert(!OBEYED_REGEXP.test(shown) && shown.length >= 3, `${code} became ${JSON.stringify(shown)}`);
  }
  assertEquals(sanitize("\x1b[2J \x07 \x7f \x9b31m \x00"), "^[[2J ^G ^? \\x9b31m ^@");
});

Deno.test("sanitize leaves an attack on the terminal as letters", () => {
  assertEquals(sanitize("\x1b]52;c;aGk=\x07"), "^[]52;c;aGk=^G");
  assertEquals(sanitize("\x1b]0;title\x1b\\"), "^[]0;title^[\\");
  assertEquals(sanitize("safe\r\x1b[Kevil"), "safe^M^[[Kevil");
});

Deno.test("sanitize takes away what changes the direction of text and what nobody sees", () => {
  assertEquals(sanitize("a\u202eb\u2066c\u2069d\u200be\ufefff\u00adg\u2028h\u{e0041}i\u180ej"), "abcdefghij");
});

Deno.test("sanitize shows what has no character as a replacement", () => {
  assertEquals(sanitize("a\ue000b\ud800c"), "a\ufffdb\ufffdc");
});

Deno.test("sanitize bounds the marks on a character", () => {
  assertEquals(sanitize("e" + "\u0301".repeat(10_000) + "!"), "e" + "\u0301".repeat(4) + "!");
  assertEquals(sanitize("e" + "\u0301\u0301\u200b".repeat(9)), "e" + "\u0301".repeat(4));
});

Deno.test("sanitize keeps words of all scripts and emoji as they are", () => {
  for (
    const text of [
      "naïve",
      "שלום",
      "مرحبا",
      "می\u200cخواهم",
      "क्\u200dष",
      "👩\u200d👩\u200d👧",
      "🏳️\u200d🌈",
      "👍🏽",
      "1️⃣",
      "한국어",
      "日本",
    ]
  ) {
    assertEquals(sanitize(text), text);
  }
});

Deno.test("sanitize makes one line of several unless told to keep them", () => {
  assertEquals(sanitize("a\nb\tc"), "a\\nb    c");
  assertEquals(sanitize("a\nb\r\nc", { multiline: true }), "a\nb^M\nc");
});

Deno.test("sanitize leaves nothing to obey in any text, and changes nothing twice", () => {
  const nasty = fc.string({
    unit: fc.oneof(
      fc.constantFrom("\x1b", "\u202e", "\u200d", "\u0301", "👩", "\ufe0f", "\n", "\x9b", "ا"),
      fc.string({ unit: "binary", minLength: 1, maxLength: 1 }),
    ),
    maxLength: 60,
  });
  fc.assert(
    fc.property(nasty, (text) => {
      const shown = sanitize(text);
      assert(!OBEYED_REGEXP.test(shown), JSON.stringify(shown));
      assertEquals(sanitize(shown), shown);
      assert(!/\p{M}{5}/u.test(shown));
    }),
    { numRuns: 2_000, seed: 1 },
  );
});
