/** The open conversation in the address, so that "back" and bookmarks work: `#/bob`, `#/%23ops`. */

import { parseAddress } from "../protocol.ts";

/** Returns the address of a conversation within the page. */
export function addressOf(conversation: string | undefined): string {
  return conversation === undefined ? "#/" : `#/${encodeURIComponent(conversation)}`;
}

/** Returns the conversation in the address; undefined where there is none. */
export function routed(): string | undefined {
  if (!location.hash.startsWith("#/")) return undefined;
  try {
    const name = parseAddress(decodeURIComponent(location.hash.slice(2)));
    return typeof name === "string" ? name : undefined;
  } catch {
    return undefined; // not encoded as an address is
  }
}

/** Opens a conversation, as a step that "back" takes back. */
export function go(conversation: string | undefined): void {
  location.hash = addressOf(conversation);
}
