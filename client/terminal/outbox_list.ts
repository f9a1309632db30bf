/** The outbox as `/outbox` lists it and takes messages out of it. */

import type { ChatClient } from "../../chat_client.ts";
import type { Message } from "../../protocol.ts";
import { sanitize } from "../sanitize.ts";
import { beginning, cut } from "./view.ts";

/** Messages of the list at most; what it says is how many there are. */
const LISTED_MAX = 50;

type Client = Pick<ChatClient, "outbox" | "drop">;

/** The messages that wait, with the numbers under which they were listed last. */
export class OutboxList {
  readonly #client: Client;
  /** Ids by number, from 1: a number means what it meant when it was shown. */
  #listed: string[] = [];

  constructor(client: Client) {
    this.#client = client;
  }

  /** Returns lines that list what waits, no wider than `columns`. */
  lines(columns: number): string[] {
    const waiting = this.#client.outbox;
    this.#listed = waiting.map(({ id }) => id!);
    if (waiting.length === 0) return ["Nothing waits to be sent"];
    const rows = waiting.slice(0, LISTED_MAX).map(({ recipient, content }, index) =>
      cut(`${String(index + 1).padStart(4)}  ${sanitize(recipient)}: ${sanitize(content.slice(0, columns))}`, columns - 1)
    );
    const rest = waiting.length - rows.length;
    return [
      ...rows,
      ...(rest > 0 ? [`      and ${rest} more`] : []),
      "/outbox drop N takes one out, so that it is not sent; /outbox drop all takes out all",
    ];
  }

  /** Takes out the message with a number of the last list, or all. Returns lines about it. */
  drop(which: string): string[] {
    if (which === "all") {
      const waiting = [...this.#client.outbox];
      return waiting.length === 0 ? ["Nothing waits to be sent"] : waiting.flatMap((message) => this.#drop(message));
    }
    const number = /^\d+$/.test(which) ? Number(which) : 0;
    const id = this.#listed[number - 1];
    if (id === undefined) return [`/outbox drop needs a number of the list that /outbox shows, or "all"`];
    const message = this.#client.outbox.find((waiting) => waiting.id === id);
    return message ? this.#drop(message) : [`Message ${number} was sent meanwhile`];
  }

  /** Drops a message; says its text, which is nowhere else. */
  #drop(message: Message): string[] {
    const dropped = this.#client.drop(message.id!);
    if (!dropped) return [];
    const may = dropped.mayHaveArrived ? "it was on its way and may have arrived" : "it was not sent";
    return [`Dropped, to ${sanitize(message.recipient)}; ${may}:`, beginning(sanitize(message.content, { multiline: true }))];
  }
}
