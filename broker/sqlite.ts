/**
 * The broker that keeps everything in one SQLite file. An append resolves once its transaction is on the disk.
 *
 * The database lives in a worker, so that the server's event loop never waits for a disk. Subscribers are here: they get a
 * message when the answer to its append comes, in the order of positions.
 */

import type { DatabaseSync } from "node:sqlite";
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
  Feed,
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
  Stored,
  Subscriber,
  Subscription,
} from "../broker.ts";
import { BrokerError } from "./errors.ts";
import { type BrokerLimits, DEFAULT_LIMITS } from "./limits.ts";
import { isGroup } from "./names.ts";
import { UNAVAILABLE } from "./refusals.ts";
import { Subscribers } from "./subscribers.ts";
import { DATABASE_NAME, dropStaleLog, makePrivate, takeLock, tighten } from "./sqlite/files.ts";
import type { FeedRequest } from "./sqlite/feed.ts";
import type { MarkerCursor, MarkerRows } from "./sqlite/markers.ts";
import {
  type AppendAnswer,
  laneOf,
  type OpenAnswer,
  type OpenRequest,
  SEPARATOR,
  type WorkerAnswer,
  type WorkerAnswers,
  type WorkerReply,
  type WorkerRequest,
} from "./sqlite/worker_messages.ts";

export { backup } from "./sqlite/backup.ts";
export { type Exported, openExport } from "./sqlite/export.ts";
export { openSqliteFeedDesk } from "./sqlite/feed_desk.ts";
export { type FolderState, inspectFolder } from "./sqlite/inspect.ts";
export { DATABASE_NAME } from "./sqlite/files.ts";

/** Milliseconds between two looks for messages that are too old: an hour more is nothing to an age in days. */
const EXPIRE_INTERVAL_MS = 3_600_000;
/** Milliseconds between two steps of removing them, in which other requests are served. */
const EXPIRE_PAUSE_MS = 20;
/** Milliseconds after an append until what was sent is indexed for search: those who talk come first. */
const INDEX_DELAY_MS = 500;
/** Milliseconds between two steps of indexing, a fraction of which the steps take. */
const INDEX_PAUSE_MS = 20;

/** Milliseconds between two tries to write while nothing can be stored, made only where somebody asks for the health. */
const PROBE_PAUSE_MS = 1_000;

/** Options of {@linkcode openSqliteBroker}. */
export interface SqliteOptions extends Partial<BrokerLimits> {
  /** Folder of the database; it is made if there is none. */
  readonly dir: string;
  /** With `full`, the default, an acked message survives a loss of power; with `normal` only the end of the process. */
  readonly sync?: "full" | "normal";
  /** Called with failures that no caller hears of; `where` names the part that failed. */
  readonly report?: (error: unknown, where: string) => void;
  /** Called with sentences for the operator about what is no failure, but worth a line in the log. */
  readonly notice?: (words: string) => void;
  /** Milliseconds after which retention looks again at what it found too old, and removes it; an hour by default. */
  readonly secondLookMs?: number;
}

/** Opens the database in a folder. Rejects with a {@linkcode BrokerError} where it is in use or cannot be used. */
export async function openSqliteBroker(
  { dir, sync = "full", report = () => {}, notice = () => {}, secondLookMs, ...limits }: SqliteOptions,
): Promise<SqliteBroker> {
  tighten(dir, notice);
  const lock = takeLock(dir), file = `${dir}/${DATABASE_NAME}`;
  const worker = new Worker(new URL("./sqlite/worker.ts", import.meta.url), { type: "module", name: "sqlite" });
  try {
    makePrivate(file);
    dropStaleLog(file);
    const request: OpenRequest = { file, sync, limits: { ...DEFAULT_LIMITS, ...limits }, secondLookMs };
    const epoch = await opened(worker, request, notice);
    return new SqliteBroker(worker, lock, epoch, report, notice);
  } catch (error) {
    worker.terminate();
    lock.close();
    throw error;
  }
}

/** Resolves with the epoch once the worker has opened the database, which takes long where it takes an older one over. */
function opened(worker: Worker, request: OpenRequest, notice: (words: string) => void): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<OpenAnswer>) => {
      if ("notice" in data) notice(data.notice);
      else if ("value" in data) resolve(data.value);
      else reject(new BrokerError(`Cannot open the messages: ${data.error}`));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new BrokerError(`Cannot start the database: ${event.message}`));
    };
    worker.postMessage(request);
  });
}

/** Request that waits for its answer. */
interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** Drafts of an append, which the worker does not send back. */
  readonly drafts: readonly Draft[] | undefined;
}

/** A {@linkcode Broker} on SQLite. Made by {@linkcode openSqliteBroker}. */
export class SqliteBroker implements Broker {
  readonly #worker: Worker;
  readonly #lock: DatabaseSync;
  readonly #report: (error: unknown, where: string) => void;
  readonly #subscribers = new Subscribers();
  readonly #watchers = new Set<() => void>();
  readonly feed: Feed = feedOf((request) => this.#ask({ op: "feed", request }), this.#watchers);
  /** Members of groups that were written to, as the last answer had them. */
  readonly #members = new Map<string, readonly string[]>();
  /** Requests without an answer, in the order of their lane. */
  #pending: Record<keyof WorkerAnswers, Pending[]> = { urgent: [], bulk: [] };
  /** Reason for which every request fails from now on; undefined while the worker lives. */
  #failure: string | undefined;
  /** Error that was reported; requests that fail with it are not reported again until an append has succeeded. */
  #trouble: string | undefined;
  /** Monotonic milliseconds before which no other write is tried. */
  #probeAfter = 0;
  #expiry: ReturnType<typeof setTimeout> | undefined;
  #indexing: ReturnType<typeof setTimeout> | undefined;

  constructor(
    worker: Worker,
    lock: DatabaseSync,
    readonly epoch: string,
    report: (error: unknown, where: string) => void,
    notice: (words: string) => void = () => {},
  ) {
    this.#worker = worker;
    this.#lock = lock;
    this.#report = report;
    worker.onmessage = ({ data: { urgent, bulk, notices = [] } }: MessageEvent<WorkerReply>) => {
      for (const words of notices) notice(words);
      for (const answer of urgent) this.#settle(this.#pending.urgent.shift()!, answer);
      for (const answer of bulk) this.#settle(this.#pending.bulk.shift()!, answer);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`The database has stopped: ${event.message}`);
    };
    this.#expireIn(EXPIRE_PAUSE_MS);
    this.#indexIn(INDEX_DELAY_MS);
  }

  // ---- Requests and answers ----

  #ask<T>(request: WorkerRequest, drafts?: readonly Draft[]): Promise<T> {
    if (this.#failure !== undefined) return Promise.reject(new BrokerError(this.#failure));
    this.#worker.postMessage(request);
    return new Promise((resolve, reject) =>
      this.#pending[laneOf(request)].push({ resolve: resolve as (value: unknown) => void, reject, drafts })
    );
  }

  #settle({ resolve, reject, drafts }: Pending, answer: WorkerAnswer): void {
    if ("error" in answer) {
      if (this.#trouble !== answer.error) this.#report(this.#trouble = answer.error, "database");
      return drafts ? resolve(drafts.map(() => UNAVAILABLE)) : reject(new BrokerError(answer.error));
    }
    // Only a write shows that a full disk has room again: reading never failed.
    if (drafts) this.#trouble = undefined;
    resolve(drafts ? this.#appended(drafts, answer.value as AppendAnswer) : answer.value);
  }

  #fail(why: string): void {
    clearTimeout(this.#expiry);
    clearTimeout(this.#indexing);
    this.#failure ??= why;
    this.#report(why, "database");
    const { urgent, bulk } = this.#pending;
    this.#pending = { urgent: [], bulk: [] };
    for (const { reject } of [...urgent, ...bulk]) reject(new BrokerError(why));
  }

  // ---- The port ----

  attach(user: string, device: string, options?: AttachOptions): Promise<Attached> {
    return this.#ask({ op: "attach", user, device, options });
  }

  append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    let columns = "";
    for (const { sender, recipient, content, id = "", origin } of drafts) {
      columns += sender + SEPARATOR + recipient + SEPARATOR + content + SEPARATOR + id + SEPARATOR + origin + SEPARATOR;
    }
    return this.#ask({ op: "append", columns, count: drafts.length }, drafts);
  }

  #appended(drafts: readonly Draft[], { seqs, times, refusals, ts, members }: AppendAnswer): Appended[] {
    if (this.#indexing === undefined) this.#indexIn(INDEX_DELAY_MS);
    for (const changed of this.#watchers) changed();
    for (const [group, names] of Object.entries(members)) this.#members.set(group, names);
    const results = new Array<Appended>(drafts.length);
    for (let i = 0; i < drafts.length; i++) {
      const seq = seqs[i]!;
      if (seq === 0) results[i] = refusals.get(i) ?? UNAVAILABLE;
      else if (times.has(i)) results[i] = { seq, ts: times.get(i)!, duplicate: true };
      else {
        results[i] = { seq, ts, duplicate: false };
        this.#deliver(drafts[i]!, seq, ts);
      }
    }
    return results;
  }

  #deliver({ sender, recipient, content, id, origin }: Draft, seq: number, ts: number): void {
    const message: Stored = { sender, recipient, content, id, origin, seq, ts };
    const members = isGroup(recipient) ? this.#members.get(recipient) : undefined;
    if (members) {
      for (const member of members) this.#subscribers.yieldTo(member, message);
      return;
    }
    this.#subscribers.yieldTo(recipient, message);
    if (sender !== recipient) this.#subscribers.yieldTo(sender, message);
  }

  subscribe(user: string, subscriber: Subscriber): Subscription {
    return this.#subscribers.add(user, subscriber);
  }

  signal(users: readonly string[], signal: Signal): void {
    for (const user of users) {
      for (const subscriber of this.#subscribers.of(user)) subscriber.signal(signal);
    }
  }

  read(user: string, after: number, limit: number): Promise<Page> {
    return this.#ask({ op: "read", user, after, limit });
  }

  history(user: string, query: HistoryQuery): Promise<Page | BrokerRefusal> {
    return this.#ask({ op: "history", user, query });
  }

  search(user: string, query: SearchQuery): Promise<Found | BrokerRefusal> {
    return this.#ask({ op: "search", user, query });
  }

  conversations(user: string, limit: number, before?: ConversationCursor): Promise<ConversationPage> {
    return this.#ask({ op: "conversations", user, limit, before });
  }

  advance(moves: readonly DeviceMove[]): Promise<void> {
    return this.#ask({ op: "advance", moves });
  }

  mark(moves: readonly MarkerMove[]): Promise<readonly MarkerResult[]> {
    return this.#ask({ op: "mark", moves });
  }

  markAll(user: string, seq: number): Promise<readonly (MarkerMove & MarkerResult)[]> {
    return this.#ask({ op: "markAll", user, seq });
  }

  async *markers(user: string, since: number): AsyncIterable<readonly Marker[]> {
    let after: MarkerCursor | undefined;
    do {
      const rows: MarkerRows = await this.#ask({ op: "markers", user, since, after });
      yield rows.markers;
      after = rows.next;
    } while (after);
  }

  async group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    const answer = await this.#ask<GroupAnswer | BrokerRefusal>({ op: "group", request });
    if ("changed" in answer && answer.changed && answer.members.length === 0) this.#expireIn(EXPIRE_PAUSE_MS);
    if ("changed" in answer && answer.changed) { for (const changed of this.#watchers) changed(); }
    return answer;
  }

  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]> {
    return this.#ask({ op: "lastSeen", users });
  }

  seen(users: readonly string[], at: number): Promise<void> {
    return this.#ask({ op: "seen", users, at });
  }

  async erase(user: string): Promise<number> {
    const count = await this.#ask<number>({ op: "erase", user });
    if (this.#indexing === undefined) this.#indexIn(INDEX_DELAY_MS);
    return count;
  }

  /**
   * Returns why nothing can be stored now, as the last append, or a write that was tried since, has shown. Whoever asks while
   * nothing can has such a write made, so that the answer changes once there is room, with nobody sending anything.
   */
  health(): string | undefined {
    if (this.#failure !== undefined || this.#trouble === undefined) return this.#failure;
    if (performance.now() >= this.#probeAfter) {
      this.#probeAfter = performance.now() + PROBE_PAUSE_MS;
      this.#ask({ op: "probe" }).then(() => this.#trouble = undefined, () => {});
    }
    return this.#trouble;
  }

  /** Removes what is too old now. The broker does so by itself every hour, with pauses. */
  async expire(): Promise<void> {
    while (await this.#expireStep() > 0);
  }

  #expireStep(): Promise<number> {
    return this.#ask({ op: "expire" });
  }

  #expireIn(ms: number): void {
    clearTimeout(this.#expiry);
    if (this.#failure !== undefined) return;
    this.#expiry = setTimeout(() => {
      this.#expireStep().then((removed) => removed > 0 ? EXPIRE_PAUSE_MS : EXPIRE_INTERVAL_MS, () => EXPIRE_INTERVAL_MS)
        .then((pause) => this.#expireIn(pause));
    }, ms);
  }

  #indexIn(ms: number): void {
    if (this.#failure !== undefined) return;
    this.#indexing = setTimeout(() => {
      this.#ask<number>({ op: "index" }).then((left) => left > 0, () => false).then((more) => {
        this.#indexing = undefined;
        if (more) this.#indexIn(INDEX_PAUSE_MS);
      });
    }, ms);
  }

  async close(): Promise<void> {
    clearTimeout(this.#expiry);
    clearTimeout(this.#indexing);
    if (this.#failure === undefined) {
      const closed = this.#ask({ op: "close" });
      this.#failure = "The database is closed";
      await closed.catch(() => {});
    }
    this.#worker.terminate();
    this.#lock.close();
  }
}

/** Makes the feed of a broker whose worker `ask` asks. */
function feedOf(ask: <T>(request: FeedRequest) => Promise<T>, watchers: Set<() => void>): Feed {
  return {
    ends: () => ask({ kind: "ends" }),
    messages: (after, limit) => ask({ kind: "messages", after, limit }),
    changes: (after, limit) => ask({ kind: "changes", after, limit }),
    undelivered: (messages) =>
      ask({ kind: "undelivered", messages: messages.map(({ sender, recipient, seq }) => ({ sender, recipient, seq })) }),
    claim: (name) => ask({ kind: "claim", name }),
    save: (name, state, carriedOut) => ask({ kind: "save", name, state, carriedOut }),
    release: () => Promise.resolve(),
    watch(changed) {
      watchers.add(changed);
      return { close: () => void watchers.delete(changed) };
    },
  };
}
