import { assertEquals, assertThrows } from "@std/assert";
import { decodeLine, decodeText } from "./text.ts";

function utf16(text: string, isLittle: boolean): Uint8Array {
  const view = new DataView(new ArrayBuffer(text.length * 2));
  for (let i = 0; i < text.length; i++) view.setUint16(i * 2, text.charCodeAt(i), isLittle);
  return new Uint8Array(view.buffer);
}

Deno.test("decodeText reads UTF-8 and UTF-16 with or without what Windows writes before them", () => {
  const text = '{"name":"bøb 😀"}';
  assertEquals(decodeText(new TextEncoder().encode(text)), text);
  assertEquals(decodeText(new TextEncoder().encode("\ufeff" + text)), text);
  assertEquals([true, false].map((isLittle) => decodeText(utf16("\ufeff" + text, isLittle))), [text, text]);
  assertEquals(decodeText(new Uint8Array()), "");
});

Deno.test("decodeText names what is no text that it knows", () => {
  assertThrows(() => decodeText(Uint8Array.of(0x62, 0xf8, 0x62)), TypeError, "it is not UTF-8: Latin-1");
  assertThrows(() => decodeText(utf16("plain", true)), TypeError, "UTF-16 without a byte order mark");
  assertThrows(() => decodeText(Uint8Array.of(0xff, 0xfe, 0x00, 0xd8)), TypeError, "it is not UTF-16LE");
});

Deno.test("decodeLine leaves a line as it is, and throws for Latin-1", () => {
  assertEquals(decodeLine(new TextEncoder().encode("\ufeffa\ufffd")), "\ufeffa\ufffd");
  assertThrows(() => decodeLine(Uint8Array.of(0xe9)), TypeError, "not UTF-8");
});
