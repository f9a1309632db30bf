/**
 * The tail: every node reads the whole log in order, a page at a time, and hands out what concerns its own users. There is one
 * way for what was sent here and elsewhere.
 */

import type { Stored, Subscriber, Subscription } from "../../broker.ts";
import { Subscribers } from "../subscribers.ts";
import { type Directory, groupName } from "./directory.ts";
import { ints } from "./link.ts";
import type { Mailboxes } from "./mailboxes.ts";
import type { Reads } from "./reads.ts";

/** Rows of one page: some milliseconds of work. */
const PAGE = 1_000;
/** Milliseconds between two looks without a ring. */
const POLL_MS = 500;
/** The same where something held the horizon back: whoever does so need not ring. It doubles up to the other. */
const HELD_POLL_MS = 10;
/**
 * Rows of a page from which on the next one waits until there are more: where much is sent, few rows at a time cost every node and
 * every connection as much as many. Milliseconds from one page to the next then.
 */
const BUSY_ROWS = 48, BUSY_MS = 20;
/** Groups whose members are remembered. */
const GROUPS_MAX = 10_000;

/** A row of the log: seq, ts, thread, sender, recipient, id, origin, content. Without a sender it is a change of a group. */
type Row = [number, number, number, number | null, number, string | null, string, string];

const NO_NAMES: ReadonlyMap<number, string> = new Map();

interface Group {
  readonly name: string;
  /** Memberships, those that have ended included. */
  readonly members: readonly { readonly user: string; readonly since: number; readonly until: number }[];
}

/** Parts of a {@linkcode Tail}. */
export interface TailOptions {
  readonly reads: Reads;
  readonly directory: Directory;
  readonly mailboxes: Mailboxes;
  readonly report: (error: unknown) => void;
  /** Called after something new was handed out. */
  readonly arrived: () => void;
}

/** The tail of one node. */
export class Tail {
  readonly #options: TailOptions;
  readonly #subscribers = new Subscribers();
  readonly #groups = new Map<number, Group>();
  #seen = 0;
  #lastTs = 0;
  #lastSeq = 0;
  #running: Promise<void> | undefined;
  #again = false;
  #pollMs = POLL_MS;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #resume: (() => void) | undefined;
  #closed = false;

  constructor(options: TailOptions) {
    this.#options = options;
  }

  /** Position up to which everything was handed out: visible to whoever asks, whatever the horizon says. */
  get seen(): number {
    return this.#seen;
  }

  /** Newest message that was handed out, by position and time; 0 for none. */
  get last(): { readonly seq: number; readonly ts: number } {
    return { seq: this.#lastSeq, ts: this.#lastTs };
  }

  /** Begins after `position`. */
  start(position: number): void {
    this.#seen = position;
    this.#lastSeq = 0;
    this.#groups.clear();
    this.#poll();
  }

  #poll(): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => void this.wake(), this.#pollMs);
  }

  /** Reads on where the horizon stood still for something that may be done now. */
  release(): void {
    if (this.#pollMs < POLL_MS) void this.wake();
  }

  /** Reads on. Resolves when everything that was visible at the time of the call was handed out, or PostgreSQL is away. */
  wake(): Promise<void> {
    this.#again = true;
    return this.#running ??= this.#run();
  }

  async #run(): Promise<void> {
    try {
      while (this.#again && !this.#closed) {
        this.#again = false;
        const begun = performance.now(), rows = await this.#page();
        if (rows >= PAGE) this.#again = true;
        else if (rows >= BUSY_ROWS) await this.#pause(begun + BUSY_MS - performance.now());
      }
    } catch (error) {
      if (!this.#closed) this.#options.report(error);
    }
    this.#running = undefined;
    this.#poll();
  }

  #pause(ms: number): Promise<void> | undefined {
    if (ms <= 0 || this.#closed) return;
    return new Promise((resolve) => {
      this.#resume = resolve;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(resolve, ms);
    });
  }

  /** Hands out one page and returns the number of its rows, or 0 where the log began anew meanwhile. */
  async #page(): Promise<number> {
    const after = this.#seen;
    const found = await this.#options.reads.ask((sql) =>
      sql`SELECT seq, ts, thread, sender, recipient, id, origin, content FROM tail_on(${after}, ${PAGE})`.values()
    );
    const rows = found.slice(1) as unknown as Row[], [horizon, last] = found[0] as unknown as Row;
    const isHeld = last > horizon;
    this.#pollMs = isHeld ? Math.min(POLL_MS, this.#pollMs < POLL_MS ? this.#pollMs * 2 : HELD_POLL_MS) : POLL_MS;
    const names = rows.length > 0 ? await this.#prepare(rows) : NO_NAMES;
    if (this.#seen !== after || this.#closed) return 0;
    for (const row of rows) this.#handOut(row, names);
    this.#seen = Math.max(after, rows.length >= PAGE ? rows.at(-1)![0] : horizon);
    if (rows.length > 0) this.#options.arrived();
    return rows.length;
  }

  /** Learns the members that the rows need, as they are after all of the rows, and returns the names. */
  async #prepare(rows: readonly Row[]): Promise<ReadonlyMap<number, string>> {
    const { reads, directory } = this.#options;
    const ids = rows.flatMap(([, , , sender, recipient]) => sender === null ? [] : [sender, recipient]);
    if (this.#groups.size > GROUPS_MAX) this.#groups.clear();
    for (const [, , thread, sender] of rows) if (sender === null) this.#groups.delete(thread);
    const threads = rows.filter(([, , thread, sender, recipient]) =>
      sender !== null && recipient === 0 && !this.#groups.has(thread)
    ).map(([, , thread]) => thread);
    if (threads.length > 0) await this.#loadGroups([...new Set(threads)]);
    return await directory.namesOf(reads, ids);
  }

  async #loadGroups(threads: readonly number[]): Promise<void> {
    const rows = await this.#options.reads.ask((sql) =>
      sql`SELECT t.id, t.name, u.name AS usr, m.since, m.until FROM threads t JOIN due m ON m.thread = t.id
        JOIN users u ON u.id = m.usr WHERE t.id = ANY(${ints(threads)}::int[]) AND m.until > ${this.#seen}`
    );
    for (const thread of threads) this.#groups.set(thread, { name: "", members: [] });
    const byThread = Map.groupBy(rows, ({ id }) => id as number);
    for (const [thread, members] of byThread) {
      const list = members.map(({ usr, since, until }) => ({ user: usr as string, since, until }));
      this.#groups.set(thread, { name: groupName(members[0]!.name), members: list });
    }
  }

  #handOut([seq, ts, thread, from, to, id, origin, content]: Row, names: ReadonlyMap<number, string>): void {
    if (from === null) return;
    const { mailboxes } = this.#options;
    this.#lastSeq = seq;
    this.#lastTs = ts;
    if (to !== 0 && to !== from) mailboxes.shown(to, thread, seq);
    if (this.#subscribers.size === 0) return;
    const sender = names.get(from)!, rest = { id: id ?? undefined, origin, seq, ts };
    if (to !== 0) {
      const recipient = names.get(to)!;
      const isHere = this.#subscribers.has(recipient) || this.#subscribers.has(sender);
      if (!isHere) return;
      const message: Stored = { sender, recipient, content, ...rest };
      this.#subscribers.yieldTo(recipient, message);
      if (sender !== recipient) this.#subscribers.yieldTo(sender, message);
      return;
    }
    const group = this.#groups.get(thread);
    if (!group) return;
    const message: Stored = { sender, recipient: group.name, content, ...rest };
    for (const { user, since, until } of group.members) {
      if (since < seq && seq <= until) this.#subscribers.yieldTo(user, message);
    }
  }

  /** Subscribes as `MessageLog.subscribe` of broker.ts says. */
  subscribe(user: string, subscriber: Subscriber): Subscription {
    return this.#subscribers.add(user, subscriber);
  }

  /** Returns those who listen for a user. */
  subscribersOf(user: string): readonly Subscriber[] {
    return this.#subscribers.of(user);
  }

  /** Hands out nothing more. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#resume?.();
    await this.#running;
  }
}
