/** Text of files and of the input, from bytes: what is not UTF-8 is named, and never shown with signs in its place. Pure. */

/** Marks at the beginning of a file that tell its encoding. Programs of Windows write them. */
const MARKS: readonly (readonly [mark: readonly number[], encoding: string])[] = [
  [[0xef, 0xbb, 0xbf], "utf-8"],
  [[0xff, 0xfe], "utf-16le"],
  [[0xfe, 0xff], "utf-16be"],
];

/** Returns the text of a whole file, without a byte order mark. Throws a `TypeError` that says what the bytes are instead. */
export function decodeText(bytes: Uint8Array): string {
  const [, encoding = "utf-8"] = MARKS.find(([mark]) => mark.every((byte, index) => bytes[index] === byte)) ?? [];
  const text = decodeAs(encoding, bytes);
  if (text.includes("\0")) {
    throw new TypeError("it has U+0000: it is UTF-16 without a byte order mark, or no text; save it as UTF-8");
  }
  return text;
}

/** Returns a line of UTF-8 as text, as it is. Throws a `TypeError` where the bytes are no UTF-8. */
export function decodeLine(bytes: Uint8Array): string {
  return decodeAs("utf-8", bytes, true);
}

/** Reads a text file. Throws what reading throws, or a `TypeError` that says what is wrong with its encoding. */
export function readText(path: string): string {
  return decodeText(Deno.readFileSync(path));
}

function decodeAs(encoding: string, bytes: Uint8Array, ignoreBOM = false): string {
  try {
    return new TextDecoder(encoding, { fatal: true, ignoreBOM }).decode(bytes);
  } catch {
    throw new TypeError(
      `it is not ${encoding.toUpperCase()}${encoding === "utf-8" ? ": Latin-1, perhaps; save it as UTF-8" : ""}`,
    );
  }
}
