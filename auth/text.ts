/** Text of files that people write with whatever editor they have. */

/**
 * Decodes UTF-8, or UTF-16 as editors and shells of Windows write it, and drops a byte order mark. What is neither has U+FFFD or
 * U+0000 in it.
 */
export function decodeText(bytes: Uint8Array): string {
  const [first, second] = bytes;
  const encoding = first === 0xff && second === 0xfe ? "utf-16le" : first === 0xfe && second === 0xff ? "utf-16be" : "utf-8";
  return new TextDecoder(encoding).decode(bytes);
}
