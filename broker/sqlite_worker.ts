/**
 * The worker that owns the database. What arrives within one turn of its event loop is one transaction: one sync of the disk
 * serves everybody who waits for it. Answers go out after the commit, in the order of the requests.
 */

import { setImmediate } from "node:timers";
import { DatabaseSync } from "node:sqlite";
import type { Draft } from "../hub.ts";
import {
  type AppendAnswer,
  DRAFT_COLUMNS,
  type OpenRequest,
  SEPARATOR,
  type WorkerAnswer,
  type WorkerRequest,
} from "./sqlite_requests.ts";
import { BrokerError, migrate } from "./sqlite_schema.ts";
import { SqliteStore } from "./sqlite_store.ts";

/** What this file uses of the worker it runs in. */
const worker = self as unknown as {
  postMessage(message: unknown): void;
  close(): void;
  onmessage: (event: MessageEvent<WorkerRequest | OpenRequest>) => void;
};

/** Milliseconds that a commit waits for a reader that is making a backup. */
const BUSY_TIMEOUT_MS = 5_000;

/**
 * Positions that are left out at a start, where a loss of power may have taken messages that were delivered: theirs are not given
 * to others. More than fit into a log that was not synced.
 */
const POSITIONS_SKIPPED = 1_000_000;

let database: DatabaseSync;
let store: SqliteStore;
let queue: WorkerRequest[] = [];
/** Groups whose members the broker knows as they are. */
const known = new Set<string>();

function open({ file, sync, limits }: OpenRequest): string {
  database = new DatabaseSync(file);
  database.exec(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL`);
  database.exec("PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY; PRAGMA wal_autocheckpoint = 4000");
  migrate(database);
  store = new SqliteStore(database, limits);
  if (sync === "normal") {
    store.skip(POSITIONS_SKIPPED);
    database.exec("PRAGMA synchronous = NORMAL");
  }
  return store.epoch;
}

function answer(request: WorkerRequest): unknown {
  switch (request.op) {
    case "append":
      return append(request);
    case "attach":
      return store.attach(request.user, request.device, request.last);
    case "read":
      return store.read(request.user, request.after, request.limit);
    case "history":
      return store.history(request.user, request.query);
    case "conversations":
      return store.conversations(request.user, request.limit);
    case "advance":
      return store.advance(request.moves);
    case "mark":
      return store.mark(request.marks);
    case "markers":
      return store.markers(request.user, request.since);
    case "group":
      if (request.request.op !== "list" && request.request.op !== "members") known.delete(request.request.group);
      return store.group(request.request);
    case "lastSeen":
      return store.lastSeen(request.users);
    case "seen":
      return store.seen(request.user);
    case "expire":
      return store.expire();
    case "close":
      return undefined;
  }
}

function append({ columns, count }: Extract<WorkerRequest, { op: "append" }>): AppendAnswer {
  const drafts = toDrafts(columns.split(SEPARATOR), count);
  const rows = store.append(drafts);
  const members: Record<string, readonly string[]> = {};
  for (const [index, { recipient }] of drafts.entries()) {
    if (rows.seqs[index] === 0 || !recipient.startsWith("#") || known.has(recipient)) continue;
    members[recipient] = store.members(recipient);
    known.add(recipient);
  }
  return { ...rows, members };
}

function toDrafts(cells: readonly string[], count: number): Draft[] {
  // One separator too many would make somebody else's message of a part of this one.
  if (cells.length !== count * DRAFT_COLUMNS + 1) throw new Error("A draft has U+0000");
  const drafts = new Array<Draft>(count);
  for (let draft = 0, i = 0; draft < count; draft++, i += DRAFT_COLUMNS) {
    const sender = cells[i]!, recipient = cells[i + 1]!, content = cells[i + 2]!, id = cells[i + 3]!, origin = cells[i + 4]!;
    drafts[draft] = id === "" ? { sender, recipient, content, origin } : { sender, recipient, content, id, origin };
  }
  return drafts;
}

/** Carries out requests as one transaction. Throws when it cannot be committed, and nothing has happened then. */
function transact(requests: readonly WorkerRequest[]): WorkerAnswer[] {
  database.exec("BEGIN IMMEDIATE");
  try {
    const answers = requests.map((request) => ({ value: answer(request) }));
    store.flush();
    database.exec("COMMIT");
    return answers;
  } catch (error) {
    // A failed commit may or may not have ended the transaction.
    try {
      database.exec("ROLLBACK");
    } catch { /* it has */ }
    store.forget();
    known.clear();
    throw error;
  }
}

/** One transaction for all; where it fails, one for each, so that only what cannot be done fails. */
function carryOut(requests: readonly WorkerRequest[]): WorkerAnswer[] {
  try {
    return transact(requests);
  } catch (error) {
    const why = reason(error);
    // Another program holds the file: to wait for it once is enough.
    if (requests.length === 1 || why.includes("locked")) return requests.map(() => ({ error: why }));
    return requests.flatMap((request) => carryOut([request]));
  }
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function commit(): void {
  const requests = queue;
  queue = [];
  const answers = carryOut(requests);
  const isLast = requests.at(-1)?.op === "close";
  if (isLast) database.close();
  worker.postMessage(answers);
  if (isLast) worker.close();
}

function start(request: OpenRequest): void {
  try {
    worker.postMessage({ value: open(request) });
  } catch (error) {
    worker.postMessage({ error: error instanceof BrokerError ? error.message : `${request.file}: ${reason(error)}` });
    worker.close();
  }
}

worker.onmessage = ({ data }) => {
  if (!("op" in data)) return start(data);
  if (queue.push(data) === 1) setImmediate(commit);
};
