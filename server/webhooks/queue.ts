/**
 * Events that wait for one endpoint: which of them is sent next, and when one that failed comes again.
 *
 * While an endpoint answers, each event has its own times, so that one which the receiver chokes on holds up no other. An
 * endpoint that has failed several times in a row gets one event at a time; the first success lets everything go at once.
 */

import type { HookEvent } from "./events.ts";
import { delayAfter, GIVE_UP_MS } from "./schedule.ts";
import type { Begun } from "./state.ts";
import type { Timing } from "./timing.ts";

/** Failures in a row, each begun after the last one was known, from which on an endpoint counts as down. */
const ROUNDS_MAX = 3;
/** Milliseconds between two attempts at an endpoint that is down, where an event waits that was never tried. */
const PROBE_MS = 30_000;
/** Milliseconds between two others at most: one that is back gets everything after half an hour at the latest. */
const DOWN_MS_MAX = 1_800_000;
/** Events that wait and that no log has: of more, the oldest go. Some megabytes. */
export const PASSING_MAX = 10_000;

/** One event that waits. */
export interface Item {
  readonly key: string;
  /** Place in the log; undefined for an event that no log has. */
  readonly place: Pick<Begun, "kind" | "at"> | undefined;
  /** Undefined for one of an earlier process, until it is read again. */
  event: HookEvent | undefined;
  /** Monotonic milliseconds at which the event was read. */
  read: number;
  attempts: number;
  /** Milliseconds since 1970 from which on it waits. */
  readonly since: number;
  /** Monotonic milliseconds from which on it may be sent. */
  due: number;
  /** Monotonic milliseconds at which the attempt under way began; undefined while there is none. */
  begun: number | undefined;
}

/** Events of one endpoint. */
export class Queue {
  readonly #timing: Timing;
  readonly #items = new Map<string, Item>();
  #logged = 0;
  #inFlight = 0;
  #rounds = 0;
  #lastRound = -Infinity;
  #lastAttempt = -Infinity;
  #pausedUntil = -Infinity;

  constructor(timing: Timing) {
    this.#timing = timing;
  }

  /** Number of events that the log has. */
  get logged(): number {
    return this.#logged;
  }

  /** Number of all events. */
  get size(): number {
    return this.#items.size;
  }

  /** Attempts under way. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** True while the endpoint counts as down. */
  get isDown(): boolean {
    return this.#rounds >= ROUNDS_MAX;
  }

  /** Milliseconds since 1970 of the oldest event that waits; undefined for none. */
  get oldest(): number | undefined {
    let oldest: number | undefined;
    for (const { event, since } of this.#items.values()) {
      const ts = event?.ts ?? since;
      if (ts > 0 && (oldest === undefined || ts < oldest)) oldest = ts;
    }
    return oldest;
  }

  /** Adds an event of the log, with what is known of earlier attempts. One that is there already stays as it is. */
  addLogged(
    place: Pick<Begun, "kind" | "at">,
    event: HookEvent | undefined,
    earlier?: Pick<Begun, "attempts" | "since">,
  ): void {
    const key = `${place.kind} ${place.at}`;
    if (this.#items.has(key)) return;
    this.#logged++;
    const { attempts, since } = earlier ?? { attempts: 0, since: this.#timing.now() };
    const now = this.#timing.monotonic();
    this.#items.set(key, { key, place, event, read: now, attempts, since, due: now, begun: undefined });
  }

  /** Adds an event that no log has, in the place of an older one with the same key. Returns how many had to go for it. */
  addPassing(key: string, event: HookEvent): number {
    const older = this.#items.get(key);
    if (older?.begun !== undefined) key = `${key} ${event.id}`;
    else if (older) this.#items.delete(key);
    const now = this.#timing.monotonic();
    this.#items.set(key, { key, place: undefined, event, read: now, attempts: 0, since: 0, due: now, begun: undefined });
    if (this.#items.size - this.#logged <= PASSING_MAX) return 0;
    for (const item of this.#items.values()) {
      if (item.place || item.begun !== undefined) continue;
      this.#items.delete(item.key);
      return 1;
    }
    return 0;
  }

  /** Lists the events of the log, as they are kept with the place. */
  begun(): Begun[] {
    const list: Begun[] = [];
    for (const { place, attempts, since } of this.#items.values()) if (place) list.push({ ...place, attempts, since });
    return list;
  }

  /** Drops the events of the log that are not under way. */
  dropLogged(): void {
    for (const item of this.#items.values()) if (item.place && item.begun === undefined) this.remove(item);
  }

  /** Removes an event: it is done, or is not to be sent any more. */
  remove(item: Item): void {
    this.#end(item);
    if (this.#items.get(item.key) !== item) return;
    this.#items.delete(item.key);
    if (item.place) this.#logged--;
  }

  /** Takes the event to be sent now, if there is one; it counts as under way. `isOpen` is false for what may not go. */
  take(isOpen: (item: Item) => boolean): Item | undefined {
    const now = this.#timing.monotonic();
    if (now < this.#pausedUntil) return undefined;
    const item = this.#next(isOpen);
    if (!item || this.#dueOf(item) > now) return undefined;
    item.begun = this.#lastAttempt = now;
    this.#inFlight++;
    return item;
  }

  /** Returns the event that is sent next, now or later. To an endpoint that is down, one that was never tried goes first. */
  #next(isOpen: (item: Item) => boolean): Item | undefined {
    if (this.isDown && this.#inFlight > 0) return undefined;
    const now = this.#timing.monotonic();
    let next: Item | undefined;
    for (const item of this.#items.values()) {
      if (item.begun !== undefined || !isOpen(item)) continue;
      if (!next || this.#dueOf(item) < this.#dueOf(next)) next = item;
      if (this.#dueOf(next) <= now) break;
    }
    return next;
  }

  #dueOf({ attempts, due }: Item): number {
    if (!this.isDown) return due;
    const delay = Math.min(DOWN_MS_MAX, delayAfter(this.#rounds, this.#timing.random));
    return this.#lastAttempt + (attempts === 0 ? PROBE_MS : delay);
  }

  /** Milliseconds until an event is due; 0 where one is, Infinity where none waits for time. `isOpen` is as in {@linkcode take}. */
  wait(isOpen: (item: Item) => boolean): number {
    const now = this.#timing.monotonic(), next = this.#next(isOpen);
    return next ? Math.max(0, Math.max(this.#dueOf(next), this.#pausedUntil) - now) : Infinity;
  }

  /** Notes a success. Returns true where the endpoint was down before. */
  succeeded(item: Item): boolean {
    this.remove(item);
    const wasDown = this.isDown;
    this.#rounds = 0;
    if (wasDown) { for (const other of this.#items.values()) other.due = Math.min(other.due, this.#timing.monotonic()); }
    return wasDown;
  }

  /**
   * Notes a failure; `pauseMs` is how long the receiver asks to be left alone. Returns the events that are given up, and whether
   * it was the endpoint's first failure in a row.
   */
  failed(item: Item, pauseMs: number | undefined): { readonly givenUp: readonly Item[]; readonly isFirst: boolean } {
    const now = this.#timing.monotonic(), isFirst = this.#rounds === 0;
    if (item.begun! >= this.#lastRound) {
      this.#rounds++;
      this.#lastRound = now;
    }
    this.#end(item);
    item.attempts++;
    item.due = now + delayAfter(item.attempts, this.#timing.random);
    if (pauseMs !== undefined) this.#pausedUntil = Math.max(this.#pausedUntil, now + pauseMs);
    const isOld = ({ begun, since }: Item) => begun === undefined && this.#timing.now() - since >= GIVE_UP_MS;
    const givenUp = [...this.#items.values()].filter(isOld);
    for (const old of givenUp) this.remove(old);
    return { givenUp, isFirst };
  }

  /** Puts an event back that was not tried to its end. */
  putBack(item: Item): void {
    this.#end(item);
  }

  /** Begins anew with everything that waits: the operator has done something. */
  retryAll(): void {
    this.#rounds = 0;
    this.#pausedUntil = -Infinity;
    for (const item of this.#items.values()) item.due = this.#timing.monotonic();
  }

  #end(item: Item): void {
    if (item.begun === undefined) return;
    item.begun = undefined;
    this.#inFlight--;
  }
}
