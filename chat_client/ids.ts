/** Ids of messages. */

/** Random bytes of an id: as many as a UUID has. */
const ID_BYTES = 16;

/**
 * Returns a random id of 32 hexadecimal digits. It is made without `crypto.randomUUID`, which browsers lack on pages that came
 * over plain http.
 */
export function newId(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(ID_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
