/**
 * The broker of many nodes: everything is kept in one PostgreSQL, which any number of servers share. An append resolves once
 * PostgreSQL has committed it, as its operator has set `synchronous_commit`.
 *
 * A node has a lane for what has to be durable (appends, groups, devices), a lane for what need not be (positions, markers, who is
 * connected), a small pool for questions, and two connections of the doorbell. What is appended anywhere comes to every node
 * through its tail.
 */

import type {
  Appended,
  Attached,
  AttachOptions,
  Broker,
  BrokerRefusal,
  ConversationCursor,
  ConversationPage,
  DeviceMove,
  Draft,
  Found,
  GroupAnswer,
  GroupRequest,
  HistoryQuery,
  Marker,
  MarkerMove,
  MarkerResult,
  Page,
  SearchQuery,
  Signal,
  Subscriber,
  Subscription,
} from "../broker.ts";
import type { Cluster } from "./cluster.ts";
import { BrokerError, reasonOf } from "./errors.ts";
import { type BrokerLimits, DEFAULT_LIMITS, DEVICES_KEPT } from "./limits.ts";
import { Appending, whyUnkept } from "./postgres/append.ts";
import { Directory } from "./postgres/directory.ts";
import { Doorbell, type NodeEvent } from "./postgres/doorbell.ts";
import { type Durability, readDurability } from "./postgres/durability.ts";
import { eraseUser } from "./postgres/erasing.ts";
import { PostgresFeed } from "./postgres/feed.ts";
import { Groups } from "./postgres/groups.ts";
import { type Kind, Lane, SETTLE_MS, Unavailable } from "./postgres/lane.ts";
import { Connector, Link, LOCK_MS, type Sql } from "./postgres/link.ts";
import { Mailboxes } from "./postgres/mailboxes.ts";
import { advanceKind, type AttachItem, attachKind, markAllKind, markKind, SEE } from "./postgres/moves.ts";
import { Nodes } from "./postgres/nodes.ts";
import { Reading } from "./postgres/reading.ts";
import { Reads } from "./postgres/reads.ts";
import { Search } from "./postgres/search.ts";
import { Retention } from "./postgres/retention.ts";
import { migrate, type Migration, MIGRATIONS, newEpoch, requireKnown, type SchemaState } from "./postgres/schema.ts";
import { type AddressOptions, checkSchema, DEFAULT_SCHEMA, describe, readSettings } from "./postgres/settings.ts";
import { Tail } from "./postgres/tail.ts";
import { describeFailure } from "./postgres/trouble.ts";
import { UNAVAILABLE } from "./refusals.ts";

export { openPostgresFeedDesk } from "./postgres/feed.ts";
export { inspectPostgres, type PostgresState } from "./postgres/inspect.ts";
export { type Moved, type MoveOptions, moveToPostgres } from "./postgres/move.ts";
export { DEFAULT_SCHEMA } from "./postgres/settings.ts";
export { type Durability } from "./postgres/durability.ts";

/** Positions that are left out when PostgreSQL was started anew: more than a crash, or a standby that is behind, forgets. */
const SKIPPED = 1_000_000;
/** Milliseconds before the same failure is reported again, and failures that are remembered for that. */
const REPEAT_MS = 60_000, SAID_MAX = 100;
/** Milliseconds between two attempts to write while nothing can be stored. */
const PROBE_MS = 1_000;
/** Milliseconds that what is under way still has when a node is closed of which PostgreSQL is away. */
const AWAY_CLOSE_MS = 1_000;

/** Parts and limits of a {@linkcode PostgresBroker}. */
export interface PostgresOptions extends AddressOptions, Partial<BrokerLimits> {
  /** Default: {@linkcode DEFAULT_SCHEMA}. */
  readonly schema?: string | undefined;
  /** Name of this node; default: one made up. */
  readonly node?: string | undefined;
  /** Takes a PostgreSQL that acknowledges what it may lose. */
  readonly allowAsync?: boolean | undefined;
  /** Receives failures that no caller hears of, once each. */
  readonly report?: (error: unknown, where: string) => void;
  /** Milliseconds since 1970; default: PostgreSQL's clock, which is the same for all nodes. */
  readonly now?: () => number;
  /** Milliseconds after which retention looks again at what it found too old, and removes it; an hour by default. */
  readonly secondLookMs?: number;
  /** Called with sentences for the operator about what is no failure, but worth a line in the log. */
  readonly notice?: (words: string) => void;
  /** For tests of two versions. */
  readonly migrations?: readonly Migration[];
}

/** Opens the schema and makes this process a node of it. Throws {@linkcode BrokerError} where that cannot be. */
export async function openPostgresBroker(options: PostgresOptions): Promise<PostgresBroker> {
  const settings = readSettings(options), schema = checkSchema(options.schema ?? DEFAULT_SCHEMA);
  const node = options.node ?? `node-${crypto.randomUUID().slice(0, 8)}`;
  const connector = new Connector(settings, schema, node);
  const opening = new Link(connector, { max: 1, session: { lock_timeout: LOCK_MS } });
  try {
    const sql = await opening.once().catch((error) => {
      throw new BrokerError(`Cannot reach ${describe(settings)}: ${reasonOf(error)}`);
    });
    const state = await migrate(sql, schema, options.migrations);
    const durability = await readDurability(sql);
    if (durability.refusal && !options.allowAsync) throw new BrokerError(durability.refusal);
    const broker = new PostgresBroker(connector, { ...options, schema, node }, state, durability, describe(settings));
    await broker.open().catch(async (error) => {
      await broker.close();
      throw error;
    });
    return broker;
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    throw new BrokerError(`Cannot keep messages in ${describe(settings)}: ${describeFailure(error)}`);
  } finally {
    await opening.close();
  }
}

/** A {@linkcode Broker} on PostgreSQL. Made by {@linkcode openPostgresBroker}. */
export class PostgresBroker implements Broker {
  readonly cluster: Cluster;
  /** Promise of an acknowledgement. */
  readonly durability: Durability;
  readonly #options: PostgresOptions & { readonly schema: string; readonly node: string };
  readonly #limits: BrokerLimits;
  readonly #id = crypto.randomUUID();
  readonly #directory = new Directory();
  readonly #mailboxes: Mailboxes;
  readonly #reads: Reads;
  readonly #durable: Lane;
  readonly #soft: Lane;
  readonly #doorbell: Doorbell;
  readonly #tail: Tail;
  readonly feed: PostgresFeed;
  readonly #nodes: Nodes;
  readonly #reading: Reading;
  readonly #appending: Appending;
  readonly #groups: Groups;
  readonly #attaching: Kind<AttachItem, Attached>;
  readonly #advancing: Kind<readonly DeviceMove[], void>;
  readonly #markingAll: Kind<{ readonly user: string; readonly seq: number }, readonly (MarkerMove & MarkerResult)[]>;
  readonly #marking: Kind<readonly MarkerMove[], readonly MarkerResult[]>;
  #epoch: string;
  #timeline = "";
  #backends = new Map<"durable" | "soft", number>();
  #warning: string | undefined;
  readonly #troubles = new Map<string, string>();
  /** Times of `performance.now()` at which words of failures were reported. */
  readonly #said = new Map<string, number>();
  #isAway = false;
  #probe: ReturnType<typeof setTimeout> | undefined;
  readonly #retention: Retention;
  readonly #search: Search;
  readonly #place: string;
  #isOpen = false;
  #closed = false;

  constructor(
    connector: Connector,
    options: PostgresOptions & { readonly schema: string; readonly node: string },
    { epoch, channel }: Pick<SchemaState, "epoch" | "channel">,
    durability: Durability,
    place: string,
  ) {
    const { schema, now, node } = options;
    this.#options = options;
    this.#limits = { ...DEFAULT_LIMITS, ...options };
    this.#epoch = epoch;
    this.durability = durability;
    this.#place = place;
    this.#mailboxes = new Mailboxes(this.#limits.mailbox);
    this.#reads = new Reads(connector);
    const directory = this.#directory, mailboxes = this.#mailboxes, reads = this.#reads, seen = () => this.#tail.seen;
    const durable = new Link(connector, {
      max: 1,
      session: { statement_timeout: SETTLE_MS },
      prepare: (sql) => this.#prepare(sql),
      // Opened again at once, not at the next write: whoever comes back to a log that has lost something has to hear of it.
      broken: () => void durable.client().catch(() => {}),
      warned: (notice) => {
        if (notice.routine === "SyncRepWaitForLSN") this.#warning = "The commit is on no standby: the wait was cut off";
      },
    });
    this.#durable = this.#lane("durable", durable);
    this.#soft = this.#lane(
      "soft",
      new Link(connector, {
        max: 1,
        session: { statement_timeout: SETTLE_MS, synchronous_commit: "off" },
        prepare: async (sql) => void this.#backends.set("soft", await backendOf(sql)),
      }),
    );
    const feed = this.feed = new PostgresFeed({ reads, node: this.#id, now });
    this.#tail = new Tail({
      reads,
      directory,
      mailboxes,
      report: (error) => this.#trouble("tail", error),
      arrived: () => feed.notify(),
    });
    this.#doorbell = new Doorbell({
      connector,
      channel: `${schema}_${channel}`,
      node: this.#id,
      rung: () => void this.#tail.wake(),
      reconnected: () => void this.#nodes.reconnected(),
      heard: (from, event) => this.#heard(from, event),
      report: (words) => void this.#reportOnce(words, "doorbell"),
    });
    this.#nodes = new Nodes({
      reads,
      lane: this.#soft,
      doorbell: this.#doorbell,
      id: this.#id,
      name: node,
      report: (error) => this.#trouble("nodes", error),
    });
    this.cluster = this.#nodes;
    this.#reading = new Reading({ reads, directory, seen });
    const warning = () => {
      const said = this.#warning;
      this.#warning = undefined;
      return said;
    };
    this.#appending = new Appending({ directory, mailboxes, now, warning });
    this.#retention = new Retention({
      lane: this.#soft,
      days: this.#limits.retentionDays,
      now,
      secondLookMs: options.secondLookMs,
      removed: () => mailboxes.forget(),
      notice: options.notice ?? (() => {}),
    });
    this.#search = new Search({ reads, reading: this.#reading, lane: this.#soft, node: this.#id, seen });
    this.#groups = new Groups(this.#limits, directory, now, () => this.#changed());
    this.#attaching = attachKind(seen, DEVICES_KEPT);
    this.#advancing = advanceKind(seen);
    const read = (user: string) => {
      const id = directory.userId(user);
      if (id !== undefined) mailboxes.forget(id);
    };
    this.#marking = markKind(directory, seen, now, read);
    this.#markingAll = markAllKind(seen, now, read);
  }

  #lane(name: "durable" | "soft", link: Link): Lane {
    return new Lane({
      link,
      isAlive: () => this.#isAlive(name),
      report: (error) => this.#trouble(name, error),
      worked: () => this.#worked(name),
    });
  }

  // ---- Life ----

  /** Reads on from the present end of the log, and joins the other nodes. */
  async open(): Promise<void> {
    await this.#doorbell.open();
    const [row] = await this.#reads.ask((sql) => sql`SELECT horizon() AS horizon`);
    this.#tail.start(row!.horizon);
    this.#isOpen = true;
    await this.#nodes.open();
    await this.#tail.wake();
    this.#retention.start();
    this.#search.start();
  }

  /** Readies a connection that writes: the server may be another one than before, and may have forgotten something. */
  async #prepare(sql: Sql): Promise<void> {
    this.#backends.set("durable", await backendOf(sql));
    this.#directory.clear();
    this.#mailboxes.forget();
    const { seq, ts } = this.#tail.last;
    const [row] = await sql`SELECT leave_out(${this.#tail.seen}, ${SKIPPED}),
      (SELECT value FROM meta WHERE key = 'epoch') AS epoch, (SELECT value::int FROM meta WHERE key = 'version') AS version,
      (SELECT value::int FROM meta WHERE key = 'oldest') AS oldest, left(pg_walfile_name(pg_current_wal_lsn()), 8) AS timeline,
      EXISTS (SELECT 1 FROM messages WHERE messages.seq = ${seq} AND messages.ts = ${ts}) AS has_last`;
    requireKnown(row as unknown as { version: number; oldest: number }, (this.#options.migrations ?? MIGRATIONS).length);
    // A promoted standby that does not have what was handed out here has lost what was acknowledged.
    const isPromoted = this.#timeline !== "" && this.#timeline !== row!.timeline;
    this.#timeline = row!.timeline;
    if (row!.epoch !== this.#epoch) return this.#takeEpoch(row!.epoch);
    if (!isPromoted || seq === 0 || row!.has_last) return;
    await sql`UPDATE meta SET value = ${newEpoch()} WHERE key = 'epoch' AND value = ${this.#epoch}`;
    const [meta] = await sql`SELECT value FROM meta WHERE key = 'epoch'`;
    this.#takeEpoch(meta!.value);
    this.#doorbell.tell(["epoch"]);
  }

  /** Goes on in another epoch: the log has lost data, so whoever is connected has to begin anew. */
  #takeEpoch(epoch: string): void {
    if (epoch === this.#epoch) return;
    this.#epoch = epoch;
    this.#report(new BrokerError("The log has lost messages that were acknowledged; it goes on in another epoch"), "postgres");
    this.#reads.ask((sql) => sql`SELECT horizon() AS horizon`).then(([row]) => {
      this.#tail.start(row!.horizon);
      this.#nodes.epochChanged();
    }).catch((error) => this.#trouble("epoch", error));
  }

  async #readEpoch(): Promise<void> {
    const [row] = await this.#reads.ask((sql) => sql`SELECT value FROM meta WHERE key = 'epoch'`);
    this.#takeEpoch(row!.value);
  }

  async #isAlive(name: "durable" | "soft"): Promise<boolean> {
    const pid = this.#backends.get(name) ?? 0;
    const [row] = await this.#reads.ask((sql) =>
      sql`SELECT EXISTS (SELECT 1 FROM pg_stat_activity WHERE pid = ${pid}) AS lives`
    );
    return row!.lives;
  }

  #heard(node: string, event: NodeEvent): void {
    if (event[0] === "signal") return this.#handOut(event[1], event[2] as Signal);
    if (event[0] === "epoch") return void this.#readEpoch().catch((error) => this.#trouble("epoch", error));
    this.#nodes.heard(node, event);
  }

  /** Something new is in the log. */
  #changed(): void {
    this.#doorbell.ring();
    void this.#tail.wake();
  }

  /** Sentences for the start: where messages are kept, and what an acknowledgement promises. */
  get promise(): string {
    return `Messages are kept in ${this.#place}\n${this.durability.words}`;
  }

  // ---- Trouble ----

  health(): string | undefined {
    return this.trouble;
  }

  /** Reason for which nothing can be stored or read now; undefined while everything works. */
  get trouble(): string | undefined {
    return this.#troubles.values().next().value;
  }

  /** Reports a failure, the same words once a minute, and tries to write until it is over. */
  #trouble(where: string, error: unknown): void {
    if (this.#closed) return;
    const words = describeFailure(error);
    if (this.#reportOnce(words, where)) this.#isAway = true;
    this.#troubles.set(where, words);
    this.#probe ??= setTimeout(() => void this.#tryAgain(), PROBE_MS);
  }

  /** Reports words, the same ones once a minute; returns whether it did. */
  #reportOnce(words: string, where: string): boolean {
    const now = performance.now();
    if (now - (this.#said.get(words) ?? -Infinity) < REPEAT_MS) return false;
    if (this.#said.size >= SAID_MAX) this.#said.clear();
    this.#said.set(words, now);
    this.#report(words, `postgres (${where})`);
    return true;
  }

  #worked(where: "durable" | "soft"): void {
    this.#troubles.delete(where);
    if (where === "soft") this.#tail.release(); // markers hold the horizon too
  }

  async #tryAgain(): Promise<void> {
    try {
      await Promise.all([this.#durable.call(PROBE, undefined), this.#soft.call(PROBE, undefined), this.#tail.wake()]);
      this.#troubles.clear();
    } catch { /* it is said already */ }
    this.#probe = undefined;
    if (this.#troubles.size > 0 && !this.#closed) this.#probe = setTimeout(() => void this.#tryAgain(), PROBE_MS);
    else if (this.#isAway && !this.#closed) {
      this.#isAway = false;
      this.#options.notice?.("PostgreSQL takes everything again");
    }
  }

  #report(error: unknown, where: string): void {
    this.#options.report?.(error, where);
  }

  // ---- The port ----

  get epoch(): string {
    return this.#epoch;
  }

  async append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    const refusals = drafts.map(whyUnkept);
    if (refusals.some((refusal) => refusal)) {
      const results = (await this.append(drafts.filter((_, i) => !refusals[i]))).values();
      return refusals.map((refusal) => refusal ?? results.next().value!);
    }
    try {
      const results = await this.#durable.call(this.#appending, drafts);
      if (results.some((result) => "seq" in result && !result.duplicate)) this.#changed();
      return results;
    } catch (error) {
      if (error instanceof Unavailable) return drafts.map(() => UNAVAILABLE);
      throw error;
    }
  }

  subscribe(user: string, subscriber: Subscriber): Subscription {
    return this.#tail.subscribe(user, subscriber);
  }

  read(user: string, after: number, limit: number): Promise<Page> {
    return this.#reading.backlog(user, after, limit);
  }

  attach(user: string, device: string, options: AttachOptions = {}): Promise<Attached> {
    return this.#durable.call(this.#attaching, { user, device, options });
  }

  search(user: string, query: SearchQuery): Promise<Found | BrokerRefusal> {
    return this.#search.search(user, query);
  }

  advance(moves: readonly DeviceMove[]): Promise<void> {
    return this.#soft.call(this.#advancing, moves);
  }

  history(user: string, query: HistoryQuery): Promise<Page | BrokerRefusal> {
    return this.#reading.history(user, query);
  }

  conversations(user: string, limit: number, before?: ConversationCursor): Promise<ConversationPage> {
    return this.#reading.conversations(user, limit, before);
  }

  mark(moves: readonly MarkerMove[]): Promise<readonly MarkerResult[]> {
    return this.#soft.call(this.#marking, moves);
  }

  markAll(user: string, seq: number): Promise<readonly (MarkerMove & MarkerResult)[]> {
    return this.#soft.call(this.#markingAll, { user, seq });
  }

  markers(user: string, since: number): AsyncIterable<readonly Marker[]> {
    return this.#reading.markers(user, since);
  }

  group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    if (request.op === "list" || request.op === "members") return this.#reads.ask((sql) => this.#groups.answer(sql, request));
    return this.#durable.call(this.#groups, request);
  }

  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]> {
    return this.#reading.lastSeen(users);
  }

  seen(users: readonly string[], at: number): Promise<void> {
    return this.#durable.call(SEE, { users, at });
  }

  async erase(user: string): Promise<number> {
    const count = await eraseUser(this.#durable, user);
    this.#mailboxes.forget();
    return count;
  }

  signal(users: readonly string[], signal: Signal): void {
    this.#handOut(users, signal);
    this.#doorbell.tell(["signal", users, signal]);
  }

  #handOut(users: readonly string[], signal: Signal): void {
    for (const user of users) {
      for (const subscriber of this.#tail.subscribersOf(user)) subscriber.signal(signal);
    }
  }

  /** Removes what is too old now, by two looks. By itself it is done now and then, with pauses. */
  expire(): Promise<void> {
    return this.#retention.expire();
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#retention.stop();
    this.#search.stop();
    clearTimeout(this.#probe);
    const isAway = this.trouble !== undefined, due = performance.now() + (isAway ? AWAY_CLOSE_MS : SETTLE_MS);
    if (this.#isOpen) await within(this.#nodes.close(isAway), due);
    const left = Math.max(AWAY_CLOSE_MS, due - performance.now());
    await Promise.all([this.#durable.close(left), this.#soft.close(left)]);
    if (!isAway) await within(this.#tail.wake(), due);
    await this.#tail.close();
    await this.#doorbell.close(isAway);
    await this.#reads.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

/** Waits for a promise until a time of `performance.now()`, and goes on without it then. */
async function within(promise: Promise<unknown>, due: number): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise((resolve) => timer = setTimeout(resolve, Math.max(0, due - performance.now())));
  await Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

async function backendOf(sql: Sql): Promise<number> {
  const [row] = await sql`SELECT pg_backend_pid() AS pid`;
  return row!.pid;
}

const PROBE: Kind<undefined, void> = {
  most: 1,
  run: async (sql) => {
    await sql`INSERT INTO meta VALUES ('probe', now()) ON CONFLICT (key) DO UPDATE SET value = excluded.value`;
    return [undefined];
  },
};
