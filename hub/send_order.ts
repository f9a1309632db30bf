/**
 * The order of what one connection sends (`caps:["ordered"]`), where a message is refused that may succeed later: what it has sent
 * behind that one, to the same recipient, is refused too, until it begins again. So it may have many messages on their way, and
 * none overtakes another.
 */

import type { Appended, Draft } from "../broker.ts";
import { ERROR_CODES, Refusal } from "../protocol.ts";

/**
 * Messages refused behind another one that count against nothing: as many as a client may have on their way. More are counted as
 * bad frames are.
 */
export const ORDERED_IN_FLIGHT_MAX = 128;

/** Receiver of the results of drafts. */
export interface Author {
  acknowledge(draft: Draft, result: Appended): void;
  notStored(draft: Draft): void;
}

/** Needs of a {@linkcode SendOrder}. */
export interface SendOrderHost {
  /** Number of the current turn: what is added in one turn is appended together. */
  readonly turn: number;
  /** Adds a draft to those that are appended at the end of the turn. */
  add(draft: Draft, author: Author): void;
}

/** The part of a session that a {@linkcode SendOrder} uses. */
export interface OrderedSession extends Author {
  /** Answers with a refusal that counts against nothing. */
  answer(refusal: Refusal): void;
  /** Answers with a refusal that is counted. */
  refuse(refusal: Refusal): void;
}

/** The messages of one connection on their way to the broker. */
export class SendOrder implements Author {
  readonly #session: OrderedSession;
  readonly #host: SendOrderHost;
  /** Recipients to whom nothing goes until the client begins again. */
  readonly #held = new Set<string>();
  /** Number of refusals since it last began again. */
  #refused = 0;
  /** Turn of the drafts that the broker has not answered, and their number. */
  #turn = -1;
  #unanswered = 0;
  /** Drafts behind those: whether they may be appended depends on the answers. */
  #waiting: Draft[] = [];

  constructor(session: OrderedSession, host: SendOrderHost) {
    this.#session = session;
    this.#host = host;
  }

  /** Returns whether a message may go on to its recipient; refuses it where it may not. `again`: the client begins again. */
  admit(recipient: string, id: string | undefined, again: boolean): boolean {
    if (again && this.#held.delete(recipient)) this.#refused = 0;
    if (!this.#held.has(recipient)) return true;
    this.#refuse(recipient, id);
    return false;
  }

  /** Notes that a message to a recipient was refused for now. */
  hold(recipient: string): void {
    this.#held.add(recipient);
  }

  /** Appends a draft, once the results of those before it are known; drafts of one turn go together. */
  append(draft: Draft): void {
    if (this.#unanswered > 0 && this.#turn !== this.#host.turn) this.#waiting.push(draft);
    else this.#add(draft);
  }

  #add(draft: Draft): void {
    this.#turn = this.#host.turn;
    this.#unanswered++;
    this.#host.add(draft, this);
  }

  acknowledge(draft: Draft, result: Appended): void {
    if ("code" in result && ERROR_CODES[result.code].retryable) this.hold(draft.recipient);
    this.#session.acknowledge(draft, result);
    this.#answered();
  }

  notStored(draft: Draft): void {
    this.hold(draft.recipient);
    this.#session.notStored(draft);
    this.#answered();
  }

  #answered(): void {
    if (--this.#unanswered > 0) return;
    for (const draft of this.#waiting.splice(0)) {
      if (this.#held.has(draft.recipient)) this.#refuse(draft.recipient, draft.id);
      else this.#add(draft);
    }
  }

  #refuse(recipient: string, id: string | undefined): void {
    const refusal = new Refusal("out_of_order", `An earlier message to "${recipient}" has to come first`, id);
    if (this.#refused++ < ORDERED_IN_FLIGHT_MAX) this.#session.answer(refusal);
    else this.#session.refuse(refusal);
  }
}
