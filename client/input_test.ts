import { assert, assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { InputError, inputLines } from "./input.ts";

function streamOf(...chunks: readonly Uint8Array<ArrayBuffer>[]): ReadableStream<BufferSource> {
  return ReadableStream.from(chunks);
}

async function linesOf(...chunks: readonly string[]): Promise<string[]> {
  return await Array.fromAsync(inputLines(streamOf(...chunks.map((chunk) => new TextEncoder().encode(chunk)))));
}

Deno.test("inputLines takes both line breaks off, keeps empty lines, and yields a last line without a break", async () => {
  assertEquals(await linesOf("a\nb\r\n\n c \r\r\nd"), ["a", "b", "", " c \r", "d"]);
  assertEquals(await linesOf("a\r", "\nb", "\n"), ["a", "b"]);
  assertEquals(await linesOf(), []);
  assertEquals(await linesOf("\n"), [""]);
  assertEquals(await linesOf("no break\r"), ["no break\r"]);
});

Deno.test("inputLines yields the same lines whatever the chunks, also where one cuts a character in two", async () => {
  const text = fc.array(fc.constantFrom("a", "é", "😀", "\n", "\r\n", "\r", " "), { maxLength: 20 }).map((parts) =>
    parts.join("")
  );
  await fc.assert(fc.asyncProperty(text, fc.array(fc.nat(40), { maxLength: 6 }), async (text, cuts) => {
    const bytes = new TextEncoder().encode(text);
    const at = [0, ...cuts.filter((cut) => cut < bytes.length).sort((a, b) => a - b), bytes.length];
    const chunks = at.slice(1).map((end, index) => bytes.slice(at[index], end));
    assertEquals(await Array.fromAsync(inputLines(streamOf(...chunks))), await linesOf(text));
    const lines = text.split(/\r?\n/);
    assertEquals(await linesOf(text), lines.at(-1) === "" ? lines.slice(0, -1) : lines);
  }));
});

Deno.test("inputLines reads no further than a few chunks while nobody takes its lines", async () => {
  let pulled = 0;
  const endless = new ReadableStream<BufferSource>({
    pull(controller) {
      pulled++;
      controller.enqueue(new TextEncoder().encode("line\n".repeat(10)));
    },
  }, { highWaterMark: 0 });
  const lines = inputLines(endless)[Symbol.asyncIterator]();
  for (let i = 0; i < 5; i++) assertEquals((await lines.next()).value, "line");
  for (let i = 0; i < 100; i++) await Promise.resolve();
  assert(pulled <= 6, `${pulled} chunks were read`);
  await lines.return();
});

Deno.test("inputLines yields a line of many chunks whole", async () => {
  const chunk = "x".repeat(65_536);
  const [line, ...rest] = await linesOf(...Array.from({ length: 512 }, () => chunk), "\nend");
  assertEquals([line!.length, rest], [512 * chunk.length, ["end"]]);
});

Deno.test("inputLines yields what stands before a line that is no UTF-8, and then says which it is", async () => {
  const latin1 = [...new TextEncoder().encode("one\ntwo\n"), 0x63, 0x61, 0x66, 0xe9, 0x0a, 0x78];
  const seen: string[] = [];
  const read = async () => {
    for await (const line of inputLines(streamOf(Uint8Array.from(latin1)))) seen.push(line);
  };
  await assertRejects(read, InputError, "line 3 of the input");
  assertEquals(seen, ["one", "two"]);
  const lenient = await Array.fromAsync(inputLines(streamOf(Uint8Array.from(latin1)), { lenient: true }));
  assertEquals(lenient, ["one", "two", "caf\ufffd", "x"]);
});

Deno.test("inputLines takes a byte order mark off the first line alone, and keeps U+FFFD that was there", async () => {
  assertEquals(await linesOf("\ufeffone\n\ufefftwo\n\ufffd"), ["one", "\ufefftwo", "\ufffd"]);
});
