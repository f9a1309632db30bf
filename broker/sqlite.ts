/**
 * The broker that keeps everything in one SQLite file. An append resolves once its transaction is on the disk.
 *
 * The database lives in a worker, so that the server's event loop never waits for a disk. Here are the subscribers: they get a
 * message when the answer to its append comes, in the order of positions.
 */

import { backup as copyDatabase, DatabaseSync } from "node:sqlite";
import type {
  Appended,
  Attached,
  Broker,
  BrokerRefusal,
  Conversation,
  Draft,
  GroupAnswer,
  GroupRequest,
  Marker,
  MarkerMove,
  MarkerResult,
  Page,
  Signal,
  Stored,
  Subscriber,
  Subscription,
} from "../broker.ts";
import { type BrokerLimits, DEFAULT_LIMITS, refuse } from "./limits.ts";
import { BrokerError, newEpoch } from "./sqlite/schema.ts";
import {
  type AppendAnswer,
  laneOf,
  type OpenRequest,
  SEPARATOR,
  type WorkerAnswer,
  type WorkerAnswers,
  type WorkerRequest,
} from "./sqlite/worker_messages.ts";

/** Name of the database in its folder. */
export const DATABASE_NAME = "parley.db";
/** Pages that a backup copies at once: all of them, as a write in between would start it anew. */
const PAGES_AT_ONCE = 2 ** 31 - 1;
/** Milliseconds between two looks for messages that are too old. */
const EXPIRE_INTERVAL_MS = 3_600_000;
/** Milliseconds between two steps of removing them, in which others are served. */
const EXPIRE_PAUSE_MS = 20;

/** Where a SQLite file says whether it is used with a write-ahead log (2) or without (1). */
const HEADER_LOG_AT = 18, HEADER_NO_LOG = 1;

/** What a {@linkcode SqliteBroker} is made of. */
export interface SqliteOptions extends Partial<BrokerLimits> {
  /** Folder of the database; it is made when it is not there. */
  readonly dir: string;
  /** full: an ack survives a loss of power. normal: the end of the process, but perhaps not that. */
  readonly sync?: "full" | "normal";
  /** Told of failures that no caller hears of. */
  readonly report?: (error: unknown, where: string) => void;
}

/** Opens the database in a folder. Throws {@linkcode BrokerError} where that cannot be. */
export async function openSqliteBroker(
  { dir, sync = "full", report = () => {}, ...limits }: SqliteOptions,
): Promise<SqliteBroker> {
  const lock = takeLock(dir), file = `${dir}/${DATABASE_NAME}`;
  const worker = new Worker(new URL("./sqlite/worker.ts", import.meta.url), { type: "module", name: "sqlite" });
  try {
    makePrivate(file);
    dropStaleLog(file);
    const request: OpenRequest = { file, sync, limits: { ...DEFAULT_LIMITS, ...limits } };
    const epoch = await opened(worker, request);
    return new SqliteBroker(worker, lock, epoch, report);
  } catch (error) {
    worker.terminate();
    lock.close();
    throw error;
  }
}

/** Holds a folder for this process. The operating system lets go of it when the process ends, however it does. */
function takeLock(dir: string): DatabaseSync {
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new BrokerError(`Cannot make the folder ${dir}: ${reason(error)}`);
  }
  let lock: DatabaseSync | undefined;
  try {
    lock = new DatabaseSync(`${dir}/lock`);
    lock.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (/locked|busy/.test(reason(error))) {
      throw new BrokerError(`Another server uses ${dir}; stop it, or choose another folder with --data`);
    }
    throw new BrokerError(`Cannot use the folder ${dir}: ${reason(error)}`);
  }
}

/**
 * Removes the log that a killed server left where a backup was put in the place of its database: SQLite would write the old
 * messages into the new file. A backup says of itself that it has no log; a database that this broker has opened says it has.
 */
function dropStaleLog(file: string): void {
  const header = new Uint8Array(HEADER_LOG_AT + 1);
  using database = Deno.openSync(file);
  if (database.readSync(header) !== header.length || header[HEADER_LOG_AT] !== HEADER_NO_LOG) return;
  for (const suffix of ["-wal", "-shm"]) {
    try {
      Deno.removeSync(file + suffix);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}

function opened(worker: Worker, request: OpenRequest): Promise<string> {
  return new Promise((resolve, reject) => {
    worker.onmessage = ({ data }: MessageEvent<{ value: string } | { error: string }>) =>
      "value" in data ? resolve(data.value) : reject(new BrokerError(`Cannot open the messages: ${data.error}`));
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new BrokerError(`Cannot start the database: ${event.message}`));
    };
    worker.postMessage(request);
  });
}

/** Messages are nobody else's business on this machine. SQLite gives its other files the mode of the first. */
function makePrivate(file: string): void {
  try {
    Deno.openSync(file, { write: true, create: true, mode: 0o600 }).close();
  } catch (error) {
    throw new BrokerError(`Cannot write to ${file}: ${reason(error)}`);
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

interface Pending {
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
  /** For an append: what it was about. It is not sent back. */
  readonly drafts: readonly Draft[] | undefined;
}

/** A {@linkcode Broker} on SQLite. Made by {@linkcode openSqliteBroker}. */
export class SqliteBroker implements Broker {
  readonly #worker: Worker;
  readonly #lock: DatabaseSync;
  readonly #report: (error: unknown, where: string) => void;
  readonly #subscribers = new Map<string, readonly Subscriber[]>();
  /** Members of groups that were written to, as of the last answer. */
  readonly #members = new Map<string, readonly string[]>();
  /** Requests without an answer, in order. */
  #pending: Record<keyof WorkerAnswers, Pending[]> = { urgent: [], bulk: [] };
  /** Why nothing works any more. */
  #failure: string | undefined;
  /** What requests fail with until an append succeeds: it is reported once and not for every request. */
  #trouble: string | undefined;
  #expiry: ReturnType<typeof setTimeout> | undefined;

  constructor(worker: Worker, lock: DatabaseSync, readonly epoch: string, report: (error: unknown, where: string) => void) {
    this.#worker = worker;
    this.#lock = lock;
    this.#report = report;
    worker.onmessage = ({ data: { urgent, bulk } }: MessageEvent<WorkerAnswers>) => {
      for (const answer of urgent) this.#settle(this.#pending.urgent.shift()!, answer);
      for (const answer of bulk) this.#settle(this.#pending.bulk.shift()!, answer);
    };
    worker.onerror = (event) => {
      event.preventDefault();
      this.#fail(`The database has stopped: ${event.message}`);
    };
    this.#expireIn(EXPIRE_PAUSE_MS);
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
    // What only reads goes well on a full disk too.
    if (drafts) this.#trouble = undefined;
    resolve(drafts ? this.#appended(drafts, answer.value as AppendAnswer) : answer.value);
  }

  #fail(why: string): void {
    clearTimeout(this.#expiry);
    this.#failure ??= why;
    this.#report(why, "database");
    const { urgent, bulk } = this.#pending;
    this.#pending = { urgent: [], bulk: [] };
    for (const { reject } of [...urgent, ...bulk]) reject(new BrokerError(why));
  }

  // ---- The port ----

  attach(user: string, device: string, last?: number): Promise<Attached> {
    return this.#ask({ op: "attach", user, device, last });
  }

  append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    let columns = "";
    for (const { sender, recipient, content, id = "", origin } of drafts) {
      columns += sender + SEPARATOR + recipient + SEPARATOR + content + SEPARATOR + id + SEPARATOR + origin + SEPARATOR;
    }
    return this.#ask({ op: "append", columns, count: drafts.length }, drafts);
  }

  #appended(drafts: readonly Draft[], { seqs, times, refusals, ts, members }: AppendAnswer): Appended[] {
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
    const members = recipient.startsWith("#") ? this.#members.get(recipient) : undefined;
    if (members) {
      for (const member of members) this.#hand(member, message);
      return;
    }
    this.#hand(recipient, message);
    if (sender !== recipient) this.#hand(sender, message);
  }

  #hand(user: string, message: Stored): void {
    const subscribers = this.#subscribers.get(user);
    if (subscribers) { for (const subscriber of subscribers) subscriber.message(message); }
  }

  subscribe(user: string, subscriber: Subscriber): Subscription {
    this.#subscribers.set(user, [...this.#subscribers.get(user) ?? [], subscriber]);
    return {
      close: () => {
        const rest = (this.#subscribers.get(user) ?? []).filter((other) => other !== subscriber);
        if (rest.length > 0) this.#subscribers.set(user, rest);
        else this.#subscribers.delete(user);
      },
    };
  }

  signal(user: string, signal: Signal): void {
    for (const subscriber of this.#subscribers.get(user) ?? []) subscriber.signal(signal);
  }

  read(user: string, after: number, limit: number): Promise<Page> {
    return this.#ask({ op: "read", user, after, limit });
  }

  history(
    user: string,
    query: { readonly with: string; readonly before?: number; readonly after?: number; readonly limit: number },
  ): Promise<Page | BrokerRefusal> {
    return this.#ask({ op: "history", user, query });
  }

  conversations(
    user: string,
    limit: number,
  ): Promise<{ readonly conversations: readonly Conversation[]; readonly more: boolean }> {
    return this.#ask({ op: "conversations", user, limit });
  }

  advance(moves: readonly { readonly user: string; readonly device: string; readonly seq: number }[]): Promise<void> {
    return this.#ask({ op: "advance", moves });
  }

  mark(marks: readonly MarkerMove[]): Promise<readonly MarkerResult[]> {
    return this.#ask({ op: "mark", marks });
  }

  markers(user: string, since: number): Promise<readonly Marker[]> {
    return this.#ask({ op: "markers", user, since });
  }

  async group(request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    const answer = await this.#ask<GroupAnswer | BrokerRefusal>({ op: "group", request });
    if ("changed" in answer && answer.changed && answer.members.length === 0) this.#expireIn(EXPIRE_PAUSE_MS);
    return answer;
  }

  lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]> {
    return this.#ask({ op: "lastSeen", users });
  }

  seen(users: readonly string[], at: number): Promise<void> {
    return this.#ask({ op: "seen", users, at });
  }

  /** Removes what is too old now. By itself it is done now and then, with pauses. */
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

  async close(): Promise<void> {
    clearTimeout(this.#expiry);
    if (this.#failure === undefined) {
      const closed = this.#ask({ op: "close" });
      this.#failure = "The database is closed";
      await closed.catch(() => {});
    }
    this.#worker.terminate();
    this.#lock.close();
  }
}

const UNAVAILABLE: BrokerRefusal = refuse("unavailable", "The message could not be stored now; send it again");

/**
 * Copies the messages in a folder, in use or not, into a new file. The copy has an epoch of its own: what is sent after the
 * restore gets positions that were given to other messages before. Throws {@linkcode BrokerError}.
 */
export async function backup(dir: string, file: string): Promise<void> {
  const source = `${dir}/${DATABASE_NAME}`;
  try {
    Deno.statSync(source);
  } catch {
    throw new BrokerError(`There are no messages in ${dir}; name their folder with --data`);
  }
  let isOurs = false;
  try {
    Deno.openSync(file, { write: true, createNew: true, mode: 0o600 }).close();
    isOurs = true;
    const database = new DatabaseSync(source);
    try {
      // Not VACUUM INTO: Deno lets nothing be attached, not even that, unless a program has every permission.
      await copyDatabase(database, file, { rate: PAGES_AT_ONCE });
    } finally {
      database.close();
    }
    const copy = new DatabaseSync(file);
    copy.exec("PRAGMA journal_mode = DELETE"); // as dropStaleLog() knows a backup by
    copy.prepare("UPDATE meta SET value = ? WHERE key = 'epoch'").run(newEpoch());
    copy.close();
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw new BrokerError(`${file} is there already; choose another name`);
    if (isOurs) Deno.removeSync(file);
    throw new BrokerError(`Cannot copy the messages to ${file}: ${reason(error)}`);
  }
}
