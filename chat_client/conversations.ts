/** The conversations that messages and receipts belong to. Pure. */

import { isGroup, type Message, type ServerFrameOf } from "../protocol.ts";

/** Returns the conversation that a message belongs to, as `me` sees it: a group, or the other person. */
export function conversationOf(message: Message, me: string): string {
  return isGroup(message.recipient) || message.sender === me ? message.recipient : message.sender;
}

/** Returns the conversation whose marker a receipt moves, as `me` sees it; `own` for a read marker of `me`'s other device. */
export function conversationOfReceipt(
  { user, with: other }: ServerFrameOf<"receipt">,
  me: string,
): { readonly conversation: string; readonly own: boolean } {
  if (user === me) return { conversation: other, own: true };
  return { conversation: isGroup(other) ? other : user, own: false };
}
