/**
 * What the SQLite broker and its worker say to each other.
 */

import type { GroupRequest, MarkerMove } from "../../broker.ts";
import type { BrokerLimits } from "../limits.ts";
import type { AppendedRows, SqliteStore } from "./store.ts";

/** How to open the database. */
export interface OpenRequest {
  readonly file: string;
  readonly sync: "full" | "normal";
  readonly limits: BrokerLimits;
}

/** What the broker asks of the worker. */
export type WorkerRequest =
  | { readonly op: "append"; readonly columns: string; readonly count: number }
  | { readonly op: "attach"; readonly user: string; readonly device: string; readonly last: number | undefined }
  | { readonly op: "read"; readonly user: string; readonly after: number; readonly limit: number }
  | { readonly op: "history"; readonly user: string; readonly query: Parameters<SqliteStore["history"]>[1] }
  | { readonly op: "conversations"; readonly user: string; readonly limit: number }
  | { readonly op: "advance"; readonly moves: Parameters<SqliteStore["advance"]>[0] }
  | { readonly op: "mark"; readonly marks: readonly MarkerMove[] }
  | { readonly op: "markers"; readonly user: string; readonly since: number }
  | { readonly op: "group"; readonly request: GroupRequest }
  | { readonly op: "lastSeen"; readonly users: readonly string[] }
  | { readonly op: "seen"; readonly users: readonly string[]; readonly at: number }
  | { readonly op: "expire" }
  | { readonly op: "close" };

/** An append's answer: what became of the drafts, and who is in the groups that were written to since that last changed. */
export interface AppendAnswer extends AppendedRows {
  readonly members: Readonly<Record<string, readonly string[]>>;
}

/** An answer: `error` where the request failed and changed nothing. */
export type WorkerAnswer = { readonly value: unknown } | { readonly error: string };

/** The answers of one transaction, each list in the order of its requests. */
export interface WorkerAnswers {
  readonly urgent: readonly WorkerAnswer[];
  readonly bulk: readonly WorkerAnswer[];
}

/** Requests that may be many and long: messages do not wait behind them. */
const BULK: ReadonlySet<WorkerRequest["op"]> = new Set(["read", "history", "conversations", "markers", "expire", "close"]);

/** In which of the two lists a request waits. */
export function laneOf({ op }: WorkerRequest): keyof WorkerAnswers {
  return BULK.has(op) ? "bulk" : "urgent";
}

/** What separates the columns of an append: no name, id or content has it. */
export const SEPARATOR = "\0";
/** Columns of a draft in an append. */
export const DRAFT_COLUMNS = 5;
