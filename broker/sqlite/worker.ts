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
import { migrate } from "./schema.ts";
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
/** Milliseconds that a commit waits for a reader that is making a backup. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Positions that are left out at a start after a crash, which may have taken messages that were delivered, so that others do not
 * get theirs. More than the messages that fit into a log that was not synced, or was removed.
 */
const POSITIONS_SKIPPED = 1_000_000;

let database: DatabaseSync;
let store: SqliteStore;
/** Requests without an answer, in order. */
const waiting: Requests = { urgent: [], bulk: [] };
/** True while a commit is scheduled. */
let isDue = false;
/** Sentences for the operator that go out with the next answers. */
let notices: string[] = [];
/** Groups whose present members the broker knows. */
const known = new Set<string>();

function open({ file, sync, limits, secondLookMs }: OpenRequest): string {
  database = new DatabaseSync(file);
  database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL`);
  database.exec("PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000");
  migrate(database);
  store = new SqliteStore(database, limits, { secondLookMs, notice: (words) => notices.push(words) });
  store.claim(POSITIONS_SKIPPED);
  // Into the file itself: the log may be lost, and with it that the file is in use.
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  if (sync === "normal") database.exec("PRAGMA synchronous = NORMAL");
  return store.epoch;
}

function answer(request: WorkerRequest): unknown {
  switch (request.op) {
    case "append":
      return append(request);
    case "attach":
      return store.attach(request.user, request.device, request.options);
    case "read":
      return store.read(request.user, request.after, request.limit);
    case "history":
      return store.history(request.user, request.query);
    case "conversations":
      return store.conversations(request.user, request.limit);
    case "advance":
      return store.advance(request.moves);
    case "mark":
      return store.mark(request.moves);
    case "markers":
      return store.markers(request.user, request.since);
    case "group":
      if (request.request.op !== "list" && request.request.op !== "members") known.delete(request.request.group);
      return store.group(request.request);
    case "lastSeen":
      return store.lastSeen(request.users);
    case "seen":
      return store.seen(request.users, request.at);
    case "expire":
      return store.expire();
    case "close":
      return store.release();
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

/**
 * Carries out requests of a list in their order until {@linkcode LIST_MS} have passed; at least one. The end comes after all
 * others: `isLast` is false while the other list has more.
 */
function carryOut(requests: readonly WorkerRequest[], isLast = true): WorkerAnswer[] {
  const end = performance.now() + LIST_MS;
  const answers: WorkerAnswer[] = [];
  for (const request of requests) {
    if (request.op === "close" && !isLast) break;
    answers.push({ value: answer(request) });
    if (performance.now() > end) break;
  }
  return answers;
}

/** Carries out some requests of each list in one transaction. Throws where it cannot be committed: nothing has happened. */
function transact({ urgent, bulk }: Requests): WorkerAnswers {
  database.exec("BEGIN IMMEDIATE");
  try {
    const first = carryOut(urgent);
    const answers = { urgent: first, bulk: carryOut(bulk, first.length === urgent.length) };
    store.flush();
    database.exec("COMMIT");
    return answers;
  } catch (error) {
    // A failed commit may or may not have ended the transaction.
    try {
      database.exec("ROLLBACK");
    } catch { /* It has. */ }
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

function commit(): void {
  const answers = settle(waiting);
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
