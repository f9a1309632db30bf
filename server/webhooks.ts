/**
 * Webhooks: posts events to the endpoints of a file, in the manner of Standard Webhooks. docs/WEBHOOKS.md has what receivers get,
 * and what is promised.
 */

import type { Broker } from "../broker.ts";
import { stampOrNone } from "../ops/file_stamp.ts";
import { type Log, reasonOf } from "../ops/log.ts";
import { type Endpoint, parseEndpoints, WebhookFileError } from "./webhooks/config.ts";
import { Delivery } from "./webhooks/delivery.ts";
import { passing } from "./webhooks/events.ts";
import type { WebhookMeter } from "./webhooks/meter.ts";
import { type Post, postWith } from "./webhooks/post.ts";
import { SYSTEM_TIMING, type Timing } from "./webhooks/timing.ts";

export { whyHostRefused, whyRefused } from "./webhooks/address.ts";
export { type Endpoint, parseEndpoints, WebhookFileError } from "./webhooks/config.ts";
export { bodyOf, passing } from "./webhooks/events.ts";
export { WEBHOOK_RESULTS, type WebhookMeter, type WebhookResult } from "./webhooks/meter.ts";
export { postWith } from "./webhooks/post.ts";
export { newPrivateKey, newSharedSecret, publicKeyOf, signedHeaders } from "./webhooks/secrets.ts";
export { bothWishes, parsePlace, parseWish, type Wish } from "./webhooks/state.ts";

/** Milliseconds between two looks at the file: a look is one system call, and editors replace files in ways that watching misses. */
const LOOK_MS = 1_000;
/** Milliseconds between two looks at who is online. */
const PRESENCE_MS = 2_000;
/** Milliseconds in which a mailbox that is full is told of once, however many messages are refused. */
const MAILBOX_MS = 600_000;
/** Full mailboxes that are remembered for that. */
const MAILBOXES_MAX = 10_000;

/** Parts of {@linkcode Webhooks}. */
export interface WebhooksOptions {
  /** File with the endpoints; read again when it changes. */
  readonly file: string;
  readonly broker: Broker;
  /** Lists users who are connected, to any node. */
  readonly online: () => Promise<readonly string[]>;
  readonly log: Log;
  readonly meter?: WebhookMeter | undefined;
  /** Default: the machine's. */
  readonly timing?: Timing | undefined;
  /** Default: a connection of its own for each attempt. */
  readonly post?: Post | undefined;
}

/** Reads a file of endpoints. Throws {@linkcode WebhookFileError}, which says what is wrong with it. */
export function readEndpoints(file: string): readonly Endpoint[] {
  let text: string;
  try {
    text = Deno.readTextFileSync(file);
  } catch (error) {
    throw new WebhookFileError(`Cannot read --webhooks ${file}: ${reasonOf(error)}`);
  }
  try {
    return parseEndpoints(text, (path) => Deno.readTextFileSync(path));
  } catch (error) {
    throw error instanceof WebhookFileError ? new WebhookFileError(`--webhooks ${file}: ${error.message}`) : error;
  }
}

/** Endpoints of one server. */
export class Webhooks {
  readonly #options: WebhooksOptions;
  readonly #timing: Timing;
  readonly #deliveries = new Map<string, Delivery>();
  /** Monotonic milliseconds at which a mailbox was told to be full. */
  readonly #full = new Map<string, number>();
  readonly #closing = new Set<Promise<void>>();
  #stamp = "";
  #undo: (() => void)[] = [];
  #isLooking = false;

  /** Reads the file and begins. Throws {@linkcode WebhookFileError}. */
  constructor(options: WebhooksOptions) {
    this.#options = options;
    this.#timing = options.timing ?? SYSTEM_TIMING;
    this.#stamp = stampOrNone(options.file);
    this.#apply(readEndpoints(options.file));
    this.#every(LOOK_MS, 0, () => this.look());
    this.#every(PRESENCE_MS, 1, () => void this.lookWhoIsOnline());
  }

  #every(ms: number, index: number, call: () => void): void {
    const again = () => {
      this.#undo[index] = this.#timing.after(ms, () => {
        again();
        call();
      });
    };
    again();
  }

  /** Endpoints with how much waits for each, for metrics. */
  get waiting(): readonly { readonly endpoint: string; readonly events: number; readonly seconds: number }[] {
    return [...this.#deliveries.values()].map(({ name, waiting: { events, since } }) => {
      return { endpoint: name, events, seconds: since === undefined ? 0 : Math.max(0, this.#timing.now() - since) / 1_000 };
    });
  }

  /** Reads the file again if it has changed. With a mistake in it, everything goes on as it was. */
  look(): void {
    const { file, log } = this.#options, stamp = stampOrNone(file);
    if (stamp === this.#stamp) return;
    this.#stamp = stamp;
    try {
      const endpoints = readEndpoints(file);
      this.#apply(endpoints);
      log("webhooks_read", { file, endpoints: endpoints.length });
    } catch (error) {
      log("webhooks_unreadable", { file, reason: reasonOf(error) });
    }
  }

  #apply(endpoints: readonly Endpoint[]): void {
    const names = new Set(endpoints.map(({ name }) => name));
    for (const [name, delivery] of this.#deliveries) {
      if (names.has(name)) continue;
      this.#deliveries.delete(name);
      const closing = delivery.close().finally(() => this.#closing.delete(closing));
      this.#closing.add(closing);
    }
    const { broker, log, meter = () => {} } = this.#options;
    for (const endpoint of endpoints) {
      const known = this.#deliveries.get(endpoint.name);
      if (known) known.configure(endpoint);
      else {
        const { post = postWith() } = this.#options; // an endpoint has connections of its own
        const parts = { endpoint, feed: broker.feed, epoch: () => broker.epoch, post, timing: this.#timing, log, meter };
        this.#deliveries.set(endpoint.name, new Delivery(parts));
      }
    }
  }

  /** Compares who is online with what endpoints were told. */
  async lookWhoIsOnline(): Promise<void> {
    const deliveries = [...this.#deliveries.values()].filter((one) => one.wants("user.online") || one.wants("user.offline"));
    if (deliveries.length === 0 || this.#isLooking) return;
    this.#isLooking = true;
    try {
      const online = new Set(await this.#options.online());
      for (const delivery of deliveries) delivery.look(online);
    } catch (error) {
      this.#options.log("failed", { task: "webhooks (who is online)", reason: reasonOf(error) });
    }
    this.#isLooking = false;
  }

  /** Tells that a message was refused since the mailbox of `user` is full. */
  mailboxFull(user: string, sender: string): void {
    const now = this.#timing.monotonic(), last = this.#full.get(user) ?? -Infinity;
    if (now - last < MAILBOX_MS) return;
    if (this.#full.size >= MAILBOXES_MAX) this.#full.clear();
    this.#full.set(user, now);
    for (const delivery of this.#deliveries.values()) {
      if (!delivery.wants("mailbox.full", user)) continue;
      delivery.offer(`mailbox ${user}`, passing("mailbox.full", this.#timing.now(), { user, sender }));
    }
  }

  /** Ends: places are kept, what was under way is sent again after the next start. */
  async close(): Promise<void> {
    for (const undo of this.#undo) undo();
    await Promise.all([...this.#deliveries.values()].map((delivery) => delivery.close()));
    await Promise.all(this.#closing);
  }
}
