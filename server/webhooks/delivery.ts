/**
 * Deliveries to one endpoint: follows the log from the endpoint's place, sends, tries again, and keeps the place. Where several
 * nodes share a log one of them does so, by a lease. An endpoint's troubles are its own: nothing here is shared with another.
 */

import type { Feed } from "../../broker.ts";
import { type Log, reasonOf } from "../../ops/log.ts";
import type { Endpoint, EventType } from "./config.ts";
import { bodyOf, type HookEvent, passing } from "./events.ts";
import type { WebhookMeter } from "./meter.ts";
import type { Answer } from "./answer.ts";
import type { Post } from "./post.ts";
import { Known } from "./presence.ts";
import { type Item, Queue } from "./queue.ts";
import { Reader, type ReadOn } from "./reader.ts";
import { retryAfterMs } from "./schedule.ts";
import { signedHeaders } from "./secrets.ts";
import { parsePlace, parseWish, type Place } from "./state.ts";
import type { Timing } from "./timing.ts";

/** Events of the log that wait for an endpoint at most: behind them the place stays where it is. */
export const PENDING_MAX = 100;
/** Milliseconds for which a node has an endpoint: after its end another one takes over. */
export const LEASE_MS = 15_000;
/** Milliseconds between two renewals, in which the operator's orders are read too. */
const RENEW_MS = 3_000;
/** Milliseconds between two writes of the place: what was delivered since the last one is sent again after a crash. */
const SAVE_MS = 250;
/** Milliseconds between two readings of the log, so that one reading serves many messages. */
const READ_MS = 50;
/** Milliseconds after which an event that waits is read again before it is sent: who wrote a message may be erased meanwhile. */
const FRESH_MS = 1_000;
/** Milliseconds after which the log is read though nothing was said of it. */
const POLL_MS = 5_000;
/** Milliseconds before something is tried again that the broker could not do. */
const TROUBLE_MS = 1_000;
/** Milliseconds between two writes of who is online. */
const KNOWN_SAVE_MS = 10_000;
/** Added to an endpoint's name for the cursor that has who is online. */
const ONLINE = " online";

/** Parts of a {@linkcode Delivery}. */
export interface DeliveryOptions {
  readonly endpoint: Endpoint;
  readonly feed: Feed;
  readonly epoch: () => string;
  readonly post: Post;
  readonly timing: Timing;
  readonly log: Log;
  readonly meter: WebhookMeter;
}

/** Deliverer of one endpoint. */
export class Delivery {
  #endpoint: Endpoint;
  readonly #options: DeliveryOptions;
  readonly #queue: Queue;
  readonly #reader: Reader;
  readonly #watching: { close(): void };
  readonly #abort = new AbortController();
  #place: Place = { begun: [] };
  /** True while this node follows the log for the endpoint. */
  #isMine = false;
  #known: Known | undefined;
  #isDirty = false;
  /** Monotonic milliseconds of what is to be done next. */
  #renewDue = -Infinity;
  #leaseEnd = -Infinity;
  #saveDue = -Infinity;
  #readDue = -Infinity;
  #knownDue = -Infinity;
  #isTroubled = false;
  #isClosed = false;
  #wake: (() => void) | undefined;
  #isWoken = false;
  #sending = new Set<Promise<void>>();
  readonly #running: Promise<void>;

  constructor(options: DeliveryOptions) {
    this.#options = options;
    this.#endpoint = options.endpoint;
    this.#queue = new Queue(options.timing);
    this.#reader = new Reader(options.feed, options.epoch);
    this.#watching = options.feed.watch(() => this.#readSoon());
    this.#running = this.#run();
  }

  /** Name of the endpoint. */
  get name(): string {
    return this.#endpoint.name;
  }

  /** Events that wait, and the time since which the oldest does, in milliseconds since 1970; for metrics. */
  get waiting(): { readonly events: number; readonly since: number | undefined } {
    return { events: this.#queue.size, since: this.#queue.oldest };
  }

  /** Goes on with other options, such as new secrets, from the next attempt on. */
  configure(endpoint: Endpoint): void {
    this.#endpoint = endpoint;
    this.#queue.retryAll();
    this.#renewDue = -Infinity; // which begins what is new in it
    this.#wakeUp();
  }

  /** True where the endpoint is told of an event about somebody. */
  wants(type: EventType, name?: string): boolean {
    return this.#endpoint.events.has(type) && (name === undefined || this.#endpoint.concerns(name));
  }

  /** Sends an event that no log has, at best; a newer one with the same key takes its place. */
  offer(key: string, event: HookEvent): void {
    if (this.#place.gone) return;
    const dropped = this.#queue.addPassing(key, event);
    if (dropped > 0) this.#options.meter(this.name, "dropped", dropped);
    this.#wakeUp();
  }

  /** Tells of who came and went, where this node does so for the endpoint. */
  look(online: ReadonlySet<string>): void {
    const { timing } = this.#options;
    this.#known?.compare(online, timing.monotonic(), (type, user) => {
      if (this.wants(type, user)) this.offer(`user ${user}`, passing(type, timing.now(), { user }));
    });
    this.#wakeUp();
  }

  /** Ends: keeps the place, and lets another node follow. What is under way is cut off, and sent again later. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#watching.close();
    this.#abort.abort();
    this.#wakeUp();
    await this.#running;
    await Promise.all(this.#sending);
    this.#options.post.close?.();
    if (!this.#isMine) return;
    try {
      await this.#save();
      await this.#saveKnown();
      await this.#options.feed.release(this.name);
      await this.#options.feed.release(this.name + ONLINE);
    } catch (error) {
      this.#trouble(error);
    }
  }

  // ---- The loop ----

  async #run(): Promise<void> {
    while (!this.#isClosed) {
      let pause: number;
      try {
        await this.#turn();
        pause = this.#pause();
        this.#isTroubled = false;
      } catch (error) {
        this.#trouble(error);
        pause = TROUBLE_MS;
      }
      await this.#sleep(pause);
    }
  }

  #trouble(error: unknown): void {
    if (!this.#isTroubled && !this.#isClosed) {
      this.#options.log("failed", { task: `webhook ${this.name}`, reason: reasonOf(error) });
    }
    this.#isTroubled = true;
  }

  /** Does everything that is due. */
  async #turn(): Promise<void> {
    const now = this.#options.timing.monotonic();
    // A process that was stopped for as long has lost it, and does not know.
    if (this.#isMine && now >= this.#leaseEnd) this.#lose();
    if (now >= this.#renewDue) await this.#renew();
    if (this.#isMine && !this.#place.gone && now >= this.#readDue) await this.#readOn();
    this.#send();
    if (this.#isMine && this.#isDirty && now >= this.#saveDue) await this.#save();
    if (this.#isMine && now >= this.#knownDue) await this.#saveKnown();
  }

  /** Returns the milliseconds until something is due. */
  #pause(): number {
    const now = this.#options.timing.monotonic();
    const due = [this.#renewDue, ...this.#isDirty ? [this.#saveDue] : []];
    if (this.#isMine && !this.#place.gone && this.#queue.logged < PENDING_MAX) due.push(this.#readDue);
    const isFree = this.#queue.inFlight < this.#endpoint.concurrency && !this.#place.gone;
    return Math.max(0, Math.min(...due.map((at) => at - now), isFree ? this.#queue.wait(this.#isOpen) : Infinity));
  }

  async #sleep(ms: number): Promise<void> {
    if (!this.#isWoken) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#wake = resolve;
      const cancel = this.#options.timing.after(ms, resolve);
      await promise;
      cancel();
    }
    this.#wake = undefined;
    this.#isWoken = false;
  }

  #wakeUp(): void {
    this.#isWoken = true;
    this.#wake?.();
  }

  #readSoon(): void {
    const due = this.#options.timing.monotonic() + READ_MS;
    if (due >= this.#readDue) return;
    this.#readDue = due;
    this.#wakeUp();
  }

  // ---- The lease and the place ----

  /** Goes on following, or begins to, or finds that another node does. */
  async #renew(): Promise<void> {
    const { feed, timing } = this.#options;
    this.#renewDue = timing.monotonic() + RENEW_MS;
    const leaseEnd = timing.monotonic() + LEASE_MS; // from when it was asked for: the answer may have taken long
    const cursor = await feed.claim(this.name, LEASE_MS);
    if (!cursor) return this.#lose();
    this.#leaseEnd = leaseEnd;
    if (!this.#isMine) {
      this.#place = parsePlace(cursor.state);
      for (const one of this.#place.begun) this.#queue.addLogged({ kind: one.kind, at: one.at }, undefined, one);
      const known = await feed.claim(this.name + ONLINE, LEASE_MS);
      this.#known = new Known(known?.state ?? "", timing.monotonic());
      this.#isMine = true;
      this.#readDue = -Infinity;
    } else if (this.#endpoint.events.has("user.online") || this.#endpoint.events.has("user.offline")) {
      await feed.claim(this.name + ONLINE, LEASE_MS);
    }
    const begun = await this.#reader.begin(this.#endpoint, this.#place);
    const isNew = JSON.stringify(begun) !== JSON.stringify(this.#place);
    this.#place = begun;
    // From here on nothing may be missed, whatever becomes of this process.
    if (isNew || cursor.state === "") await this.#save();
    if (cursor.wish !== undefined) await this.#carryOut(cursor.wish);
  }

  #lose(): void {
    this.#isMine = false;
    this.#isDirty = false;
    this.#known = undefined;
    this.#queue.dropLogged();
  }

  async #save(): Promise<void> {
    const { feed, timing } = this.#options;
    this.#saveDue = timing.monotonic() + SAVE_MS;
    this.#isDirty = false;
    const place: Place = { ...this.#place, begun: this.#queue.begun() };
    if (!await feed.save(this.name, JSON.stringify(place))) this.#lose();
  }

  async #saveKnown(): Promise<void> {
    const { feed, timing } = this.#options;
    this.#knownDue = timing.monotonic() + KNOWN_SAVE_MS;
    const known = this.#known?.changed();
    if (known !== undefined) await feed.save(this.name + ONLINE, known);
  }

  /** Carries out what the operator wishes, and forgets the wish in the same write. */
  async #carryOut(wish: string): Promise<void> {
    const { feed, log } = this.#options, order = parseWish(wish);
    this.#place = { ...this.#place, gone: undefined };
    if (order?.do === "replay") {
      const { position, waited, change } = this.#place, { from } = order;
      const first = order.ts ?? (await feed.messages(from, 1)).items[0]?.ts ?? this.#options.timing.now();
      this.#place = {
        ...this.#place,
        ...position !== undefined && { position: Math.min(from, position) },
        ...waited !== undefined && { waited: Math.min(from, waited) },
        ...change !== undefined && { change: 0, changesSince: first },
      };
    }
    if (order?.do === "replay") log("webhook_replayed", { endpoint: this.name, from: order.from });
    else if (order) log("webhook_enabled", { endpoint: this.name });
    this.#queue.retryAll();
    const place: Place = { ...this.#place, begun: this.#queue.begun() };
    if (!await feed.save(this.name, JSON.stringify(place), wish)) this.#lose();
    this.#readDue = -Infinity;
  }

  // ---- Reading ----

  /** Reads on in the log while there is room. */
  async #readOn(): Promise<void> {
    const { timing } = this.#options;
    this.#readDue = timing.monotonic() + POLL_MS;
    for (const type of ["messages", "changes", "undelivered"] as const) {
      const room = PENDING_MAX - this.#queue.logged;
      const isWanted = this.#place[PLACES[type]] !== undefined;
      if (room > 0 && isWanted) this.#take(await this.#reader[type](this.#endpoint, this.#place, room));
    }
  }

  #take({ found, place, more, dueMs = Infinity, missed }: ReadOn): void {
    const now = this.#options.timing.monotonic();
    for (const { place: at, event } of found) this.#queue.addLogged(at, event);
    this.#isDirty ||= more || missed !== undefined;
    this.#place = { ...this.#place, ...place };
    this.#readDue = Math.min(this.#readDue, more ? now : now + Math.max(0, dueMs));
    if (missed) this.#missed(missed);
  }

  async #readAgain(item: Item, at: NonNullable<Item["place"]>): Promise<void> {
    const { event, missed } = await this.#reader.again(this.#endpoint, at, this.#place);
    item.event = event;
    item.read = this.#options.timing.monotonic();
    if (!missed || missed.to <= (this.#place.told ?? 0)) return; // another attempt has told of it meanwhile
    this.#place = { ...this.#place, told: missed.to };
    this.#missed(missed);
  }

  #missed(range: { readonly from: number; readonly to: number }): void {
    this.#options.log("webhook_missed", { endpoint: this.name, ...range });
    this.#options.meter(this.name, "missed", 1);
  }

  // ---- Sending ----

  /** Returns true for an event that this node may send: what the log has is for the node that follows it. */
  readonly #isOpen = ({ place }: Item): boolean => place === undefined || this.#isMine;

  #send(): void {
    if (this.#place.gone) return;
    while (this.#queue.inFlight < this.#endpoint.concurrency && !this.#isClosed) {
      const item = this.#queue.take(this.#isOpen);
      if (!item) return;
      const sending = this.#deliver(item).finally(() => {
        if (item.place && !this.#isMine) this.#queue.remove(item); // another node has it now
        this.#sending.delete(sending);
        this.#wakeUp();
      });
      this.#sending.add(sending);
    }
  }

  async #deliver(item: Item): Promise<void> {
    const { post, timing } = this.#options, endpoint = this.#endpoint;
    try {
      // What was erased or removed meanwhile is not to be told, and who has got a message not to be pushed to.
      const isStale = item.event === undefined || timing.monotonic() - item.read >= FRESH_MS;
      if (item.place && isStale) await this.#readAgain(item, item.place);
    } catch (error) {
      this.#trouble(error);
      item.due = timing.monotonic() + TROUBLE_MS;
      return this.#queue.putBack(item);
    }
    if (!item.event) return this.#done(item);
    const body = bodyOf(item.event), { url, timeoutMs, allowPrivate, ca } = endpoint;
    const headers = {
      "content-type": "application/json",
      "user-agent": "Parley-Webhooks/1",
      ...signedHeaders(item.event.id, Math.floor(timing.now() / 1_000), body, endpoint.signers),
    };
    try {
      this.#answered(item, await post({ url, headers, body, timeoutMs, allowPrivate, ca, signal: this.#abort.signal }));
    } catch (error) {
      if (this.#isClosed) return this.#queue.putBack(item);
      this.#failed(item, reasonOf(error), undefined);
    }
  }

  #answered(item: Item, { status, retryAfter }: Answer): void {
    if (status === 410) return this.#end(item);
    if (status < 200 || status > 299) {
      const words = status >= 300 && status < 400
        ? `it answered ${status}: redirects are not followed`
        : `it answered ${status}`;
      return this.#failed(item, words, retryAfterMs(retryAfter, this.#options.timing.now()));
    }
    const { log, meter } = this.#options;
    meter(this.name, "delivered", 1);
    if (this.#queue.succeeded(item)) log("webhook_works", { endpoint: this.name });
    this.#isDirty ||= item.place !== undefined;
  }

  #done(item: Item): void {
    this.#queue.remove(item);
    this.#isDirty = true;
  }

  #failed(item: Item, reason: string, pauseMs: number | undefined): void {
    const { log, meter } = this.#options;
    meter(this.name, "failed", 1);
    const { givenUp, isFirst } = this.#queue.failed(item, pauseMs);
    this.#isDirty ||= item.place !== undefined;
    if (isFirst) log("webhook_failed", { endpoint: this.name, reason });
    if (givenUp.length === 0) return;
    meter(this.name, "given_up", givenUp.length);
    const places = givenUp.flatMap(({ place }) => place && place.kind !== "change" ? [place.at] : []);
    log("webhook_given_up", {
      endpoint: this.name,
      events: givenUp.length,
      from: places.length > 0 ? Math.min(...places) - 1 : -1,
    });
  }

  /** Ends an endpoint that has answered 410. */
  #end(item: Item): void {
    this.#queue.putBack(item);
    if (!this.#place.gone) this.#options.log("webhook_gone", { endpoint: this.name });
    this.#place = { ...this.#place, gone: true };
    this.#isDirty = true;
    this.#saveDue = -Infinity;
  }
}

/** Members of a place by what is read. */
const PLACES = { messages: "position", changes: "change", undelivered: "waited" } as const;
