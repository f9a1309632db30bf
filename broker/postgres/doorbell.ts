/**
 * The doorbell: one NOTIFY channel of all nodes. It says that there is something new in the log, and carries what is told at most
 * once. It rings in transactions of its own that need not reach the disk: inside of an append it would make all appends of all
 * nodes wait for one another. A ring that is lost costs a poll of the tail.
 */

import { type Connector, Link, type Sql, texts } from "./link.ts";

/** Milliseconds for which events are gathered that nobody waits for. */
const GATHER_MS = 20;
/** Bytes of one payload: PostgreSQL takes less than 8,000. */
const PAYLOAD_BYTES_MAX = 7_900;
/** Events that wait at most while PostgreSQL is away: they are told at most once anyway. */
const EVENTS_MAX = 10_000;

/** Something that nodes tell each other, as JSON. */
export type NodeEvent =
  | readonly ["signal", users: readonly string[], frame: unknown]
  | readonly ["presence", user: string, status: string, clean: boolean, at: number]
  | readonly ["replaced", node: string, user: string, device: string, claim: number]
  | readonly ["disconnect", user: string]
  | readonly ["revoked"]
  | readonly ["gone", node: string, user: string, at: number]
  | readonly ["epoch"];

/** Parts of a {@linkcode Doorbell}. */
export interface DoorbellOptions {
  readonly connector: Connector;
  /** Its name: letters, digits and _. Whoever knows it can say what nodes say. */
  readonly channel: string;
  /** Identity of this process: it does not hear itself. */
  readonly node: string;
  /** Called when another node has appended, and whenever rings may have been missed. */
  readonly rung: () => void;
  /** Called when events of others may have been missed. */
  readonly reconnected: () => void;
  readonly heard: (node: string, event: NodeEvent) => void;
  /** Receives words about what was heard and cannot be understood. */
  readonly report: (words: string) => void;
}

/** The doorbell of one node. */
export class Doorbell {
  readonly #options: DoorbellOptions;
  readonly #out: Link;
  readonly #in: Link;
  /** Beginning of what this node says itself. */
  readonly #begin: string;
  #events: string[] = [];
  #isRung = false;
  #sending = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #closed = false;

  constructor(options: DoorbellOptions) {
    this.#options = options;
    const { connector, channel } = options;
    this.#begin = `[${JSON.stringify(options.node)},`;
    this.#out = new Link(connector, { max: 1, session: { synchronous_commit: "off" } });
    this.#in = new Link(connector, {
      max: 1,
      prepare: async (sql) => void await sql.unsafe(`LISTEN ${channel}`),
      notified: (payload) => this.#heard(payload),
      broken: () => void this.#listen(),
    });
  }

  /** Resolves when everything that the others say from now on is heard. */
  async open(): Promise<void> {
    await this.#in.client();
  }

  async #listen(): Promise<void> {
    if (this.#closed) return;
    try {
      await this.#in.client();
      this.#options.rung();
      this.#options.reconnected();
    } catch { /* closed meanwhile */ }
  }

  #heard(payload: string): void {
    if (payload.startsWith(this.#begin)) return;
    try {
      const [node, isRing, ...events] = JSON.parse(payload) as [string, number, ...NodeEvent[]];
      if (isRing) this.#options.rung();
      for (const event of events) this.#options.heard(node, event);
    } catch { // thrown on, it would end the connection, and with it what others say meanwhile
      this.#options.report("Another node, or somebody else, said what cannot be understood");
    }
  }

  /** Says that there is something new in the log. */
  ring(): void {
    this.#isRung = true;
    void this.#send();
  }

  /** Tells all other nodes something, at most once. */
  tell(event: NodeEvent): void {
    if (this.#closed || this.#events.length > EVENTS_MAX) return;
    for (const part of split(event)) this.#events.push(part);
    if (!this.#sending) this.#timer ??= setTimeout(() => void this.#send(), GATHER_MS);
  }

  async #send(): Promise<void> {
    if (this.#sending) return;
    this.#sending = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    while ((this.#isRung || this.#events.length > 0) && !this.#closed) {
      const payloads = this.#pack();
      try {
        const sql: Sql = await this.#out.client();
        await sql`SELECT pg_notify(${this.#options.channel}, p) FROM unnest(${texts(payloads)}::text[]) p`;
      } catch { /* told at most once; the tails poll */ }
    }
    this.#sending = false;
  }

  /** Takes everything that waits as payloads. */
  #pack(): string[] {
    const events = this.#events, ring = this.#isRung ? 1 : 0;
    this.#events = [];
    this.#isRung = false;
    const begin = this.#begin;
    const payloads: string[] = [];
    let payload = `${begin}${ring}`, size = payload.length;
    for (const event of events) {
      const length = bytes(event);
      if (size + length + 2 > PAYLOAD_BYTES_MAX) {
        payloads.push(payload + "]");
        payload = `${begin}0`;
        size = payload.length;
      }
      payload += "," + event;
      size += length + 1;
    }
    payloads.push(payload + "]");
    return payloads;
  }

  /** Sends what waits, unless PostgreSQL is away or does not take it at once, and lets go of the connections. */
  async close(isAway: boolean): Promise<void> {
    if (!isAway && this.#events.length > 0 && this.#out.trouble === undefined) {
      let timer: ReturnType<typeof setTimeout> | undefined;
      await Promise.race([this.#send(), new Promise((resolve) => timer = setTimeout(resolve, 1_000))]);
      clearTimeout(timer);
    }
    this.#closed = true;
    clearTimeout(this.#timer);
    await Promise.all([this.#out.close(), this.#in.close()]);
  }
}

/** Cuts an event to many users into some that fit. */
function split(event: NodeEvent): string[] {
  const text = JSON.stringify(event);
  if (bytes(text) < PAYLOAD_BYTES_MAX / 2 || event[0] !== "signal" || event[1].length < 2) return [text];
  const half = event[1].length >> 1;
  return [event[1].slice(0, half), event[1].slice(half)].flatMap((users) => split(["signal", users, event[2]]));
}

const ENCODER = new TextEncoder();
// deno-lint-ignore no-control-regex
const ASCII_REGEXP = /^[\x00-\x7f]*$/;

/** Returns the length of a text in UTF-8. Most events are ASCII, and there are as many as messages. */
function bytes(text: string): number {
  return ASCII_REGEXP.test(text) ? text.length : ENCODER.encode(text).length;
}
