/** A message of a connection on its way to the broker. */

import type { Draft } from "../broker.ts";

/**
 * A {@linkcode Draft}. It has a class for the reason that `taken` of hub/arrays.ts has: V8 may come to make the objects of a literal in
 * the old generation, where each keeps its content for long; those of a class begin in the young one.
 */
export class MessageDraft implements Draft {
  readonly sender: string;
  readonly recipient: string;
  readonly content: string;
  readonly id: string | undefined;
  readonly origin: string;

  constructor(sender: string, recipient: string, content: string, id: string | undefined, origin: string) {
    this.sender = sender;
    this.recipient = recipient;
    this.content = content;
    this.id = id;
    this.origin = origin;
  }
}
