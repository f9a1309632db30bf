import { assertEquals, assertMatch } from "@std/assert";
import { picture, styleAfter } from "./record.ts";

Deno.test("styleAfter gives the colours that are still on, since the last reset", () => {
  assertEquals(styleAfter("plain"), "");
  assertEquals(styleAfter("\x1b[2mdim\x1b[0m plain"), "\x1b[0m");
  assertEquals(styleAfter("\x1b[1mbold\x1b[0;2mdim"), "\x1b[0;2m");
  assertEquals(styleAfter("\x1b[0mplain \x1b[1mbold \x1b[38;5;64mgreen"), "\x1b[0m\x1b[1m\x1b[38;5;64m");
});

Deno.test("picture shows what tmux wrote: a reset with a colour behind it, and nothing a reader would take for markup", () => {
  const texts = picture(["\x1b[1mbold\x1b[0;2mdim\x1b[0m <&>"]).match(/<text .*<\/text>/g) ?? [];
  assertEquals(texts.map((text) => [text.includes('bold"'), text.includes("opacity"), text.replace(/<[^>]*>/g, "")]), [
    [true, false, "bold"],
    [false, true, "dim"],
    [false, false, " &lt;&amp;&gt;"],
  ]);
});

Deno.test("picture gives text after the end of a colour none", () => {
  const svg = picture(["\x1b[38;5;166mnew\x1b[39m\x1b[2m 13:58"]);
  assertMatch(svg, /fill="#d75f00">new</);
  assertMatch(svg, /fill="#d8dbe2" opacity="0.6"> 13:58</);
});
