import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { PasteFilter, toContent, withJoinSigns } from "./paste.ts";
import { Chats } from "./model.ts";
import { colorOf, NAME_COLORS, styleFor, wantsColor } from "./style.ts";
import { cut, dayOf, dayText, isLong, messageText, previewText, promptText, ringText, rowsOf, wrapWords } from "./view.ts";
import { jsonLine, messageLine } from "../format.ts";

const PLAIN = styleFor(false);
const MESSAGE = { sender: "alice", recipient: "bob", content: "one\n\x1b[2Jtwo", ts: "2026-01-02T12:00:00.000Z" };

Deno.test("messageText shows the beginning of what would fill the screen, and all where it is asked for", () => {
  const plain = styleFor(false);
  const long = { sender: "bob", recipient: "alice", content: "\n".repeat(300), ts: "2026-01-01T10:00:00Z" };
  assertEquals(messageText(long, "alice", plain, { number: 3 }).split("\n").length, 25);
  assertStringIncludes(messageText(long, "alice", plain, { number: 3 }), "/show 3 has all");
  assertEquals(messageText(long, "alice", plain).split("\n").length, 301);
  const wide = messageText({ ...long, recipient: "#ops", content: "\u{1f600}".repeat(4_000) }, "alice", plain, { number: 1 });
  assert(wide.length < 4_200 && wide.isWellFormed(), String(wide.length));
  assert(isLong(long) && !isLong(MESSAGE));
});

Deno.test("messageText indents further lines, says to whom where all is in view, and marks own messages", () => {
  assertMatch(messageText(MESSAGE, "bob", PLAIN, { label: true }), /^\d\d:\d\d alice: one\n {6}\^\[\[2Jtwo$/);
  const own = { ...MESSAGE, sender: "bob", recipient: "#ops", content: "x" };
  assertMatch(messageText(own, "bob", PLAIN, { label: true }), /you to #ops: x$/);
  assertMatch(messageText(own, "bob", PLAIN, { status: "read" }), /you: x {2}\(read\)$/);
});

Deno.test("wrapWords breaks at spaces, by columns and not by characters, and words that are too long anywhere", () => {
  assertEquals(wrapWords("one two three four", 12), ["one two", "three four"]);
  assertEquals(wrapWords("one two three four", 14, 4), ["one", "two three four"]);
  assertEquals(wrapWords("日本語 日本語 日本語", 14), ["日本語 日本語", "日本語"]);
  assertEquals(wrapWords("x".repeat(30), 12), ["x".repeat(12), "x".repeat(12), "x".repeat(6)]);
  assertEquals(wrapWords(`see ${"x".repeat(20)} now`, 12), ["see", "x".repeat(12), `${"x".repeat(8)} now`]);
  assertEquals(wrapWords("  indented   a lot more than fits", 16), ["  indented   a", "lot more than", "fits"]);
  assertEquals([wrapWords("", 20), wrapWords("one two three four", 4), wrapWords("a b", Infinity)], [
    [""],
    ["one two three four"],
    ["a b"],
  ]);
  for (const width of [12, 13, 20]) {
    const text = "lorem ipsum dolor sit amet, consectetur adipiscing 日本語日本語 elit 👩🏽‍🚀 sed";
    for (const line of wrapWords(text, width, 9)) assert(rowsOf(line, width + 1) === 1, line);
    assertEquals(wrapWords(text, width, 9).join("").replaceAll(" ", ""), text.replaceAll(" ", ""));
  }
});

Deno.test("messageText breaks lines at words, and indents what follows", () => {
  const text = messageText({ ...MESSAGE, content: "a word, another word, and more words" }, "bob", PLAIN, { columns: 30 });
  assertMatch(text, /^\d\d:\d\d alice: a word, another\n {6}word, and more words$/);
});

Deno.test("previewText is one line, no wider than the terminal", () => {
  const text = previewText({ ...MESSAGE, content: "日本語".repeat(40) + "\n" }, PLAIN, 40);
  assert(!text.includes("\n") && text.endsWith("…") && rowsOf(text, 40) === 1);
});

Deno.test("rowsOf counts rows as a terminal fills them", () => {
  assertEquals(["", "x".repeat(39), "x".repeat(40), "x".repeat(81)].map((text) => rowsOf(text, 40)), [1, 1, 2, 3]);
  // A wide character that does not fit goes to the next row whole.
  assertEquals(rowsOf("x".repeat(39) + "日" + "x".repeat(38), 40), 3);
  assertEquals(rowsOf("e\u0301".repeat(39), 40), 1);
});

Deno.test("cut keeps what fits", () => {
  assertEquals([cut("abc", 3), cut("abcd", 3), cut("日本", 3), cut("abc", 0)], ["abc", "ab…", "日…", ""]);
});

Deno.test("promptText says what is wrong, what is unread, and what became of the last message", () => {
  const chats = new Chats();
  chats.me = "bob";
  assertEquals(promptText(chats, "online", 0), "> ");
  chats.open("alice");
  assertEquals(promptText(chats, "connecting", 0), "[connecting] alice> ");
  chats.received({ sender: "carol", recipient: "bob", content: "x", seq: 1 });
  chats.away = true;
  assertEquals(promptText(chats, "waiting", 0), "[offline, away, 1 new: carol] alice> ");
  chats.away = false;
  chats.open("carol");
  chats.sent({ sender: "bob", recipient: "carol", content: "x", id: "1" });
  assertEquals(promptText(chats, "online", 0), "carol (waiting)> ");
  chats.typing({ type: "typing", sender: "carol", recipient: "bob" }, 0);
  assertEquals(promptText(chats, "online", 0), "carol (types)> ");
  chats.open("n".repeat(64));
  assert(rowsOf(promptText(chats, "online", 0), 60) === 1);
});

Deno.test("promptText keeps the name of the person one writes to, whoever else is unread", () => {
  const chats = new Chats();
  chats.me = "bob";
  chats.open("alice");
  for (const [index, sender] of ["christopher", "alexandra.smith", "build-notifier"].entries()) {
    chats.received({ sender, recipient: "bob", content: "x", seq: index + 1 });
  }
  assertEquals(promptText(chats, "online", 0), "[3 new: build-notifier alexandra.smith] alice> ");
  chats.away = true;
  assertEquals(promptText(chats, "waiting", 0), "[offline, away, 3 new: build-notifier] alice> ");
  chats.open("a-name-that-is-rather-long-for-a-prompt");
  assertEquals(promptText(chats, "waiting", 0), "[offline, away, 3 new] a-name-that-is-rather-lo…> ");
  chats.open("x".repeat(64));
  assertMatch(promptText(chats, "online", 0), /^\[away, 3 new\] x{33}…> $/);
});

Deno.test("dayText separates days and no more", () => {
  const first = dayText(MESSAGE.ts, undefined, PLAIN);
  assertMatch(first!, /^--- \w+ \d+ January 2026 ---$/);
  assertEquals(dayOf("no time at all"), dayOf(undefined));
  assertEquals(dayText("2026-01-02T12:30:00.000Z", dayOf(MESSAGE.ts), PLAIN), undefined);
  assert(dayText("2026-01-04T12:30:00.000Z", dayOf(MESSAGE.ts), PLAIN) !== undefined);
});

Deno.test("ringText has nothing of others' in its sequences but text", () => {
  const text = ringText("a;b", "x\x07\x1b]0;y\x9c\n");
  assertEquals(text, "\x07\x1b]9;a,b: x^G^[]0,y\\x9c\\n\x07\x1b]777;notify;a,b;x^G^[]0,y\\x9c\\n\x07");
});

Deno.test("messageLine and jsonLine are one harmless line each", () => {
  assertEquals(messageLine(MESSAGE, false), "alice: one\\n^[[2Jtwo");
  assertEquals(messageLine({ ...MESSAGE, recipient: "#ops", content: "x" }, false), "#ops alice: x");
  const value = { content: "\x1b\x9b\u202e\u{e0041}\n\u2028é" };
  const json = jsonLine(value);
  assertEquals(json, '{"content":"\\u001b\\u009b\\u202e\\udb40\\udc41\\n\\u2028é"}');
  assertEquals(JSON.parse(json), value);
});

Deno.test("colours of names are stable and stand out from black and from white", () => {
  assertEquals(colorOf("alice"), colorOf("alice"));
  assert(new Set(["alice", "bob", "carol", "dave", "erin", "frank"].map(colorOf)).size > 2);
  for (const color of NAME_COLORS) {
    const light = luminance(color);
    const [onBlack, onWhite] = [(light + 0.05) / 0.05, 1.05 / (light + 0.05)];
    assert(onBlack >= 3 && onWhite >= 3, `${color}: ${onBlack.toFixed(1)} on black, ${onWhite.toFixed(1)} on white`);
  }
});

/** Relative luminance of one of the 216 colours of the cube, as WCAG has it. */
function luminance(color: number): number {
  const index = color - 16;
  const [r, g, b] = [Math.floor(index / 36), Math.floor(index / 6) % 6, index % 6].map((level) => {
    const part = (level === 0 ? 0 : 55 + level * 40) / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

Deno.test("wantsColor heeds --color, then NO_COLOR, TERM and what the output is", () => {
  const env = (values: Record<string, string>) => (name: string) => values[name];
  assertEquals(wantsColor("auto", env({}), true), true);
  assertEquals(wantsColor("auto", env({}), false), false);
  assertEquals(wantsColor("auto", env({ NO_COLOR: "1" }), true), false);
  assertEquals(wantsColor("auto", env({ NO_COLOR: "" }), true), true);
  assertEquals(wantsColor("auto", env({ TERM: "dumb" }), true), false);
  assertEquals(wantsColor("always", env({ NO_COLOR: "1" }), false), true);
  assertEquals(wantsColor("never", env({}), true), false);
});

Deno.test("PasteFilter makes text of what is pasted, wherever chunks are cut", () => {
  const whole = "a\x1b[200~one\r\ntwo\tx\x1b[A\x03\x1b[201~b\x1b[A";
  for (let at = 0; at <= whole.length; at++) {
    // A lone escape key must not wait for more, so a start that is cut after one or two characters is not known.
    if (at === 2 || at === 3) continue;
    const filter = new PasteFilter();
    assertEquals(
      filter.feed(whole.slice(0, at), 0) + filter.feed(whole.slice(at), 1),
      "aone␤two␉x[Ab\x1b[A",
      `cut at ${at}`,
    );
  }
  assertEquals(new PasteFilter().feed("\x1b", 0), "\x1b");
  assertEquals(toContent("one␤␤two␉x␤"), "one\n\ntwo\tx");
});

Deno.test("PasteFilter gets out of a paste whose end never comes", () => {
  for (const [keys, now] of [["\x03", 1], ["\x04", 1], ["\x1b", 600], ["\r", 600], ["x", 600], ["\x1b[A", 600]] as const) {
    const filter = new PasteFilter();
    assertEquals(filter.feed("\x1b[200~a", 0), "a");
    assertEquals([filter.feed(keys, now), filter.feed("\r", now)], [keys, "\r"], JSON.stringify(keys));
  }
  const cut = new PasteFilter();
  assertEquals([cut.feed("\x1b[200~a\r", 0), cut.feed("\x03", 1)], ["a", "␤\x03"]);
});

Deno.test("PasteFilter takes a paste that comes slowly for a paste, and a late end for nothing", () => {
  const filter = new PasteFilter();
  assertEquals([filter.feed("\x1b[200~one", 0), filter.feed("\r\ntwo\r", 5_000)], ["one", "␤two"]);
  assertEquals([filter.feed("\r", 5_001), filter.feed("\x1b", 5_002), filter.feed("[201~b\r", 5_003)], ["␤", "␤", "b\r"]);
  assertEquals(new PasteFilter().feed("a\x1b[201~b", 0), "ab");
});

Deno.test("withJoinSigns takes joiners from between emoji alone, and toContent gives them back", () => {
  for (const text of ["👨‍👩‍👧", "🏳️‍🌈", "👩🏽‍🚀", "क्‍ष", "a\u200db", "a⁀b", ""]) assertEquals(toContent(withJoinSigns(text)), text);
  assertEquals(withJoinSigns("👩🏽‍🚀 क्‍ष"), "👩🏽⁀🚀 क्‍ष");
  assertEquals([withJoinSigns("\u200d", "a 👩🏽"), withJoinSigns("\u200d", "क्")], ["⁀", "\u200d"]);
});
