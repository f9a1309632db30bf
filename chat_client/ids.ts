/** Ids of messages. */

/** Bytes of an id, which is a UUID, and of the time that it begins with. */
const ID_BYTES = 16, TIME_BYTES = 6;

/**
 * Returns a new id: a UUIDv7 (RFC 9562) in 32 hexadecimal digits, which begins with the time, so that a server files ids that are
 * made one after the other beside each other. `now` is in milliseconds since 1970. It is made without `crypto.randomUUID`, which
 * browsers lack on pages that came over plain http, and which makes others.
 */
export function newId(now: number = Date.now()): string {
  const bytes = crypto.getRandomValues(new Uint8Array(ID_BYTES));
  for (let i = 0, rest = now; i < TIME_BYTES; i++, rest = Math.floor(rest / 256)) bytes[TIME_BYTES - 1 - i] = rest % 256;
  bytes[6] = 0x70 | bytes[6]! & 0x0f; // version 7
  bytes[8] = 0x80 | bytes[8]! & 0x3f; // variant of the RFC
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
