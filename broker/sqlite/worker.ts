/**
 * The worker that owns the database. Requests that arrive within one turn of its event loop are one transaction: one sync of the
 * disk serves everybody who waits for it. Answers go out after the commit. Long requests wait behind short ones, and a
 * transaction that has taken long leaves the rest to the next: a thousand who come back do not hold up those who talk.
 *
 * It loads nothing outside of broker/, which tools/imports_test.ts checks.
 */

import { setImmediate } from "node:timers";
import { DatabaseSync } from "node:sqlite";
import type { Draft } from "../../broker.ts";
import {
  type AppendAnswer,
  DRAFT_COLUMNS,
  laneOf,
  type OpenRequest,
  SEPARATOR,
  type WorkerAnswer,
  type WorkerAnswers,
  type WorkerRequest,
} from "./worker_messages.ts";
import { BrokerError, reasonOf } from "../errors.ts";
import { isGroup } from "../names.ts";
import { finishErasing } from "./erasing.ts";
import { FilesInPlace } from "./files_in_place.ts";
import { migrate } from "./schema.ts";
import { finish, type Steps } from "./steps.ts";
import { SqliteStore } from "./store.ts";

type Requests = Record<keyof WorkerAnswers, WorkerRequest[]>;

/** The worker that this file runs in, as far as it is used here. */
const worker = self as unknown as {
  postMessage(message: unknown): void;
  close(): void;
  onmessage: (event: MessageEvent<WorkerRequest | OpenRequest>) => void;
};

/** Milliseconds after which a transaction begins no more requests of a list: about as long as a slow disk takes to sync. */
const LIST_MS = 8;
/** Bytes up to which the write-ahead log grows while nobody else reads the file: twice what is written between two checkpoints. */
const LOG_BYTES_MAX = 2 ** 25;
/** Pages in the log after which SQLite writes them back to the file: 16 MiB. */
const CHECKPOINT_PAGES = 4_000;
/** Milliseconds after which emptying the log is tried again where another program's reading has kept it from that. */
const TRUNCATE_PAUSE_MS = 10_000;
/** Milliseconds after which a transaction leaves what may be long to the next one: who talks waits for it. */
const BULK_MS = 4;
/** Milliseconds that a commit waits for a reader that is making a backup. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Positions that are left out at a start after a crash, which may have taken messages that were delivered, so that others do not
 * get theirs. More than the messages that fit into a log that was not synced, or was removed.
 */
const POSITIONS_SKIPPED = 1_000_000;

let database: DatabaseSync;
let store: SqliteStore;
let files: FilesInPlace;
/** Reason for which everything is refused until a restart. */
let lost: string | undefined;
/** True after messages were removed, whose text may still be in the log. */
let isLogStale = false;
/** True where the log is to be emptied, however small it is. */
let isTruncateDue = false;
/** Monotonic milliseconds before which the log is not emptied again. */
let truncateAfter = 0;
/** True after it was said that another program reads the file. */
let isHeldUp = false;
/** Requests without an answer, in order. */
const waiting: Requests = { urgent: [], bulk: [] };
/** The first of the bulk requests, where it was begun and left. */
let begun: Steps<unknown> | undefined;
/** True while a commit is scheduled. */
let isDue = false;
/** Sentences for the operator that go out with the next answers. */
let notices: string[] = [];
/** Groups whose present members the broker knows. */
const known = new Set<string>();

function open({ file, sync, limits, secondLookMs }: OpenRequest): string {
  database = new DatabaseSync(file);
  database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL`);
  database.exec(`PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  // What has expired is overwritten, and does not stay in pages that are free.
  database.exec(`PRAGMA secure_delete = ON; PRAGMA journal_size_limit = ${LOG_BYTES_MAX}`);
  const notice = (words: string) => worker.postMessage({ notice: words });
  migrate(database, { notice });
  finishErasing(database, notice);
  store = new SqliteStore(database, limits, { secondLookMs, notice: (words) => notices.push(words) });
  store.claim(POSITIONS_SKIPPED);
  // Into the file itself: the log may be lost, and with it that the file is in use.
  truncate();
  files = new FilesInPlace(file);
  if (sync === "normal") database.exec("PRAGMA synchronous = NORMAL");
  return store.epoch;
}

/** Answers a request that may take long, in steps. */
function* answerInSteps(request: WorkerRequest): Steps<unknown> {
  switch (request.op) {
    case "attach":
      return yield* store.attach(request.user, request.device, request.options);
    case "read":
      return yield* store.read(request.user, request.after, request.limit);
    case "search":
      return yield* store.search(request.user, request.query);
    case "conversations":
      return yield* store.conversations(request.user, request.limit, request.before);
    case "markAll":
      return yield* store.markAll(request.user, request.seq);
    case "markers":
      return yield* store.markers(request.user, request.since, request.after);
    case "erase": {
      const count = yield* store.erase(request.user);
      isTruncateDue = true; // what was erased is in the log still
      truncateAfter = 0;
      return count;
    }
    case "feed":
      return yield* store.feed(request.request);
    case "group":
      if (request.request.op === "list") return yield* store.listGroups(request.request.user, request.request.after);
      if (request.request.op !== "members") known.delete(request.request.group);
      return store.group(request.request);
    default:
      return answer(request);
  }
}

function answer(
  request: Exclude<
    WorkerRequest,
    { op: "attach" | "read" | "search" | "conversations" | "markAll" | "markers" | "feed" | "erase" | "group" }
  >,
): unknown {
  switch (request.op) {
    case "append":
      return append(request);
    case "history":
      return store.history(request.user, request.query);
    case "index":
      return store.index();
    case "advance":
      return store.advance(request.moves);
    case "mark":
      return store.mark(request.moves);
    case "lastSeen":
      return store.lastSeen(request.users);
    case "seen":
      return store.seen(request.users, request.at);
    case "expire":
      return expire();
    case "probe":
      return store.probe();
    case "close":
      return store.release();
  }
}

function expire(): number {
  const removed = store.expire();
  if (removed > 0) {
    isLogStale = true;
  } else if (isLogStale) {
    isTruncateDue = true;
    truncateAfter = 0;
  }
  return removed;
}

/** Writes the log back to the file and empties it, if nobody else reads; waits for nobody. Returns false where that was not possible. */
function truncate(): boolean {
  database.exec("PRAGMA busy_timeout = 0");
  try {
    return database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get()!.busy === 0;
  } catch {
    return false; // A disk that is full or fails: what was committed is in the log, and stays there.
  } finally {
    database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
  }
}

/** Keeps the log small, between two transactions. */
function boundLog(): void {
  if (files.logBytes <= LOG_BYTES_MAX && !isTruncateDue || performance.now() < truncateAfter) return;
  truncateAfter = performance.now() + TRUNCATE_PAUSE_MS;
  if (truncate()) {
    isTruncateDue = isLogStale = isHeldUp = false;
  } else if (!isHeldUp && files.logBytes > LOG_BYTES_MAX) {
    isHeldUp = true;
    const size = Math.round(files.logBytes / 2 ** 20);
    notices.push(`Another program keeps reading the database: its log is ${size} MiB and grows until that program ends`);
  }
}

function append({ columns, count }: Extract<WorkerRequest, { op: "append" }>): AppendAnswer {
  const drafts = toDrafts(columns.split(SEPARATOR), count);
  const rows = store.append(drafts);
  const members: Record<string, readonly string[]> = {};
  for (const [index, { recipient }] of drafts.entries()) {
    if (rows.seqs[index] === 0 || !isGroup(recipient) || known.has(recipient)) continue;
    members[recipient] = store.members(recipient);
    known.add(recipient);
  }
  return { ...rows, members };
}

function toDrafts(cells: readonly string[], count: number): Draft[] {
  // With one separator too many, a part of one message would become a message of somebody else.
  if (cells.length !== count * DRAFT_COLUMNS + 1) throw new Error("A draft has U+0000");
  const drafts = new Array<Draft>(count);
  for (let draft = 0, i = 0; draft < count; draft++, i += DRAFT_COLUMNS) {
    const sender = cells[i]!, recipient = cells[i + 1]!, content = cells[i + 2]!, id = cells[i + 3]!, origin = cells[i + 4]!;
    drafts[draft] = { sender, recipient, content, id: id === "" ? undefined : id, origin };
  }
  return drafts;
}

/** Carries out requests that are short in their order, until {@linkcode LIST_MS} have passed; at least one. */
function carryOut(requests: readonly WorkerRequest[]): WorkerAnswer[] {
  const end = performance.now() + LIST_MS;
  const answers: WorkerAnswer[] = [];
  for (const request of requests) {
    answers.push({ value: finish(answerInSteps(request)) });
    if (performance.now() > end) break;
  }
  return answers;
}

/**
 * Carries out requests that may be long in their order, until {@linkcode BULK_MS} have passed; the rest of one goes on later. The
 * end comes after all others: `isLast` is false while the other list has more.
 */
function carryOutBulk(requests: readonly WorkerRequest[], isLast: boolean): WorkerAnswer[] {
  const end = performance.now() + BULK_MS;
  const answers: WorkerAnswer[] = [];
  for (const request of requests) {
    if (request.op === "close" && !isLast) break;
    const steps = begun ?? answerInSteps(request);
    begun = undefined;
    let step = steps.next();
    while (!step.done) {
      if (performance.now() > end) {
        begun = steps;
        return answers;
      }
      step = steps.next();
    }
    answers.push({ value: step.value });
    if (performance.now() > end) break;
  }
  return answers;
}

/** Carries out some requests of each list in one transaction. Throws where it cannot be committed: nothing has happened. */
function transact({ urgent, bulk }: Requests): WorkerAnswers {
  database.exec("BEGIN IMMEDIATE");
  try {
    const first = carryOut(urgent);
    const answers = { urgent: first, bulk: carryOutBulk(bulk, first.length === urgent.length) };
    store.flush();
    database.exec("COMMIT");
    return answers;
  } catch (error) {
    // A failed commit may or may not have ended the transaction.
    try {
      database.exec("ROLLBACK");
    } catch { /* It has. */ }
    begun = undefined;
    store.clearCaches();
    known.clear();
    throw error;
  }
}

/** Carries out requests in one transaction, or, where it fails, each in its own, so that only the impossible ones fail. */
function settle(requests: Requests): WorkerAnswers {
  try {
    return transact(requests);
  } catch (error) {
    const why = reasonOf(error);
    // Another program holds the file: waiting for it once is enough.
    const answerOne = why.includes("locked") ? () => ({ error: why }) : settleAlone;
    return { urgent: requests.urgent.map(answerOne), bulk: requests.bulk.map(answerOne) };
  }
}

function settleAlone(request: WorkerRequest): WorkerAnswer {
  try {
    return transact({ urgent: [request], bulk: [] }).urgent[0]!;
  } catch (error) {
    return { error: reasonOf(error) };
  }
}

/** Carries out what waits, unless the files are gone: then, and where they are found to be, it is refused. */
function settleInPlace(requests: Requests): WorkerAnswers {
  if (lost === undefined) {
    const answers = settle(requests);
    lost = files.whyLost();
    if (lost === undefined) return answers;
  }
  const error = lost, refuse = () => ({ error });
  return { urgent: requests.urgent.map(refuse), bulk: requests.bulk.map(refuse) };
}

function commit(): void {
  const answers = settleInPlace(waiting);
  if (lost === undefined) boundLog();
  waiting.urgent.splice(0, answers.urgent.length);
  const isClosed = waiting.bulk.splice(0, answers.bulk.length).at(-1)?.op === "close";
  isDue = waiting.urgent.length + waiting.bulk.length > 0;
  if (isDue) setImmediate(commit);
  if (isClosed) database.close();
  worker.postMessage(notices.length > 0 ? { ...answers, notices } : answers);
  notices = [];
  if (isClosed) worker.close();
}

function start(request: OpenRequest): void {
  try {
    worker.postMessage({ value: open(request) });
  } catch (error) {
    worker.postMessage({ error: error instanceof BrokerError ? error.message : `${request.file}: ${reasonOf(error)}` });
    worker.close();
  }
}

worker.onmessage = ({ data }) => {
  if (!("op" in data)) return start(data);
  waiting[laneOf(data)].push(data);
  if (isDue) return;
  isDue = true;
  setImmediate(commit);
};
