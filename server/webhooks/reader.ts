/** New events of the log for one endpoint: reads on from a place, in bounded pages. */

import type { Feed, Stored } from "../../broker.ts";
import type { Endpoint } from "./config.ts";
import { groupChanged, type HookEvent, messageCreated, messageUndelivered } from "./events.ts";
import type { Begun, Place } from "./state.ts";

/** Event with its place. */
export interface Found {
  readonly place: Pick<Begun, "kind" | "at">;
  readonly event: HookEvent;
}

/** One reading. */
export interface ReadOn {
  readonly found: readonly Found[];
  /** The place after it. */
  readonly place: Partial<Place>;
  /** True where something was read, so that there may be more. */
  readonly more: boolean;
  /** Milliseconds after which a message is due to be looked at; undefined for none that is known. */
  readonly dueMs?: number | undefined;
  /** Range of which something was removed before it was read; undefined for none. */
  readonly missed?: { readonly from: number; readonly to: number } | undefined;
}

/** An event that was read again. */
export interface ReadAgain {
  readonly event?: HookEvent | undefined;
  readonly missed?: ReadOn["missed"];
}

/** Reads for one endpoint. */
export class Reader {
  readonly #feed: Feed;
  readonly #epoch: () => string;

  constructor(feed: Feed, epoch: () => string) {
    this.#feed = feed;
    this.#epoch = epoch;
  }

  /** Returns the ends of the log for the events that an endpoint has begun to be told of, and drops those that it is not any more. */
  async begin(endpoint: Endpoint, place: Place): Promise<Place> {
    const wants = (type: "message.created" | "message.undelivered" | "group.changed") => endpoint.events.has(type);
    const ends = await this.#feed.ends();
    return {
      ...place,
      position: wants("message.created") ? place.position ?? ends.message : undefined,
      waited: wants("message.undelivered") ? place.waited ?? ends.message : undefined,
      change: wants("group.changed") ? place.change ?? ends.change : undefined,
    };
  }

  /** Reads on in messages. */
  async messages({ concerns, content }: Endpoint, { position = 0, told = 0 }: Place, limit: number): Promise<ReadOn> {
    const { items, upTo, removed } = await this.#feed.messages(position, limit);
    const epoch = this.#epoch();
    const found = items.filter(({ recipient }) => concerns(recipient)).map((message): Found => {
      return { place: { kind: "message", at: message.seq }, event: messageCreated(message, epoch, content) };
    });
    const missed = removed > Math.max(position, told) ? { from: Math.max(position, told) + 1, to: removed } : undefined;
    return { found, place: { position: upTo, ...missed && { told: removed } }, more: items.length > 0, missed };
  }

  /** Reads on in changes of groups. */
  async changes({ concerns }: Endpoint, place: Place, limit: number): Promise<ReadOn> {
    const { change = 0, changesSince = 0, toldChanges = 0 } = place;
    const { items, upTo, removed } = await this.#feed.changes(change, limit);
    const epoch = this.#epoch();
    const found = items.filter(({ group, ts }) => ts >= changesSince && concerns(group)).map((one): Found => {
      return { place: { kind: "change", at: one.number }, event: groupChanged(one, epoch) };
    });
    // A replay reads from the beginning, and passes over what is before it: nothing of that is missed.
    const isMissed = changesSince === 0 && removed > Math.max(change, toldChanges);
    const missed = isMissed ? { from: Math.max(change, toldChanges) + 1, to: removed } : undefined;
    return { found, place: { change: upTo, ...missed && { toldChanges: removed } }, more: items.length > 0, missed };
  }

  /** Looks at messages that are old enough, and returns those that somebody does not have. */
  async undelivered(endpoint: Endpoint, { waited = 0, position, told = 0 }: Place, limit: number): Promise<ReadOn> {
    const { items, upTo, now, removed } = await this.#feed.messages(waited, limit);
    const young = items.findIndex(({ ts }) => ts > now - endpoint.undeliveredMs);
    const old = young < 0 ? items : items.slice(0, young);
    const asked = old.filter(({ recipient }) => endpoint.concerns(recipient));
    const found = asked.length > 0 ? await this.#without(endpoint, asked) : [];
    // Where messages are read too, that reading tells of what is gone.
    const isMissed = position === undefined && removed > Math.max(waited, told);
    return {
      found,
      place: { waited: young < 0 ? upTo : old.at(-1)?.seq ?? waited, ...isMissed && { told: removed } },
      more: old.length > 0,
      dueMs: young < 0 ? undefined : items[young]!.ts + endpoint.undeliveredMs - now,
      missed: isMissed ? { from: Math.max(waited, told) + 1, to: removed } : undefined,
    };
  }

  async #without({ content }: Endpoint, messages: readonly Stored[]): Promise<Found[]> {
    const users = await this.#feed.undelivered(messages), epoch = this.#epoch();
    return messages.flatMap((message, index): Found[] => {
      if (users[index]!.length === 0) return [];
      const event = messageUndelivered(message, epoch, content, users[index]!);
      return [{ place: { kind: "undelivered", at: message.seq }, event }];
    });
  }

  /**
   * Reads an event again, as it stands now: without one where it is gone, or does not apply any more. `missed` is there for a
   * message that is gone, unless the operator was told of it.
   */
  async again(endpoint: Endpoint, { kind, at }: Pick<Begun, "kind" | "at">, { told = 0 }: Place): Promise<ReadAgain> {
    if (kind === "change") {
      const change = (await this.#feed.changes(at - 1, 1)).items[0];
      return { event: change?.number === at ? groupChanged(change, this.#epoch()) : undefined };
    }
    const { items: [message], removed } = await this.#feed.messages(at - 1, 1);
    if (message?.seq !== at) return { missed: removed >= at && at > told ? { from: at, to: removed } : undefined };
    if (kind === "message") return { event: messageCreated(message, this.#epoch(), endpoint.content) };
    return { event: (await this.#without(endpoint, [message]))[0]?.event };
  }
}
