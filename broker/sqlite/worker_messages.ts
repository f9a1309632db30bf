/** Messages between the SQLite broker and its worker. */

import type {
  AttachOptions,
  ConversationCursor,
  DeviceMove,
  GroupRequest,
  HistoryQuery,
  MarkerMove,
  SearchQuery,
} from "../../broker.ts";
import type { BrokerLimits } from "../limits.ts";
import type { FeedRequest } from "./feed.ts";
import type { MarkerCursor } from "./markers.ts";
import type { AppendedRows } from "./store.ts";

/** First message to the worker: how to open the database. */
export interface OpenRequest {
  readonly file: string;
  readonly sync: "full" | "normal";
  readonly limits: BrokerLimits;
  /** Milliseconds between the two looks of retention. */
  readonly secondLookMs: number | undefined;
}

/** Answers to it: sentences for the log, then the epoch, or why the database cannot be opened. */
export type OpenAnswer = { readonly notice: string } | { readonly value: string } | { readonly error: string };

/** Every later message to the worker; each gets one answer. */
export type WorkerRequest =
  | { readonly op: "append"; readonly columns: string; readonly count: number }
  | { readonly op: "attach"; readonly user: string; readonly device: string; readonly options: AttachOptions | undefined }
  | { readonly op: "read"; readonly user: string; readonly after: number; readonly limit: number }
  | { readonly op: "history"; readonly user: string; readonly query: HistoryQuery }
  | { readonly op: "search"; readonly user: string; readonly query: SearchQuery }
  | { readonly op: "index" }
  | {
    readonly op: "conversations";
    readonly user: string;
    readonly limit: number;
    readonly before: ConversationCursor | undefined;
  }
  | { readonly op: "advance"; readonly moves: readonly DeviceMove[] }
  | { readonly op: "mark"; readonly moves: readonly MarkerMove[] }
  | { readonly op: "markAll"; readonly user: string; readonly seq: number }
  | { readonly op: "markers"; readonly user: string; readonly since: number; readonly after: MarkerCursor | undefined }
  | { readonly op: "group"; readonly request: GroupRequest }
  | { readonly op: "lastSeen"; readonly users: readonly string[] }
  | { readonly op: "seen"; readonly users: readonly string[]; readonly at: number }
  | { readonly op: "erase"; readonly user: string }
  | { readonly op: "feed"; readonly request: FeedRequest }
  | { readonly op: "expire" }
  | { readonly op: "probe" }
  | { readonly op: "close" };

/** Answer to an append: the results, and the members of each group written to that the broker does not know or that changed. */
export interface AppendAnswer extends AppendedRows {
  readonly members: Readonly<Record<string, readonly string[]>>;
}

/** Answer to one request: `error` where it failed and changed nothing. */
export type WorkerAnswer = { readonly value: unknown } | { readonly error: string };

/** Answers of one transaction, each list in the order of its requests. */
export interface WorkerAnswers {
  readonly urgent: readonly WorkerAnswer[];
  readonly bulk: readonly WorkerAnswer[];
}

/** One message of the worker: answers, and what the operator should know. */
export interface WorkerReply extends WorkerAnswers {
  /** Sentences for the log. */
  readonly notices?: readonly string[];
}

/** Requests that may be many and long: messages do not wait behind them. */
const BULK: ReadonlySet<WorkerRequest["op"]> = new Set([
  "read",
  "history",
  "search",
  "index",
  "conversations",
  "markAll",
  "markers",
  "erase",
  "feed",
  "expire",
  "close",
]);

/** Returns the list in which a request waits. A device that asks for the past has to wait for the finding of it. */
export function laneOf(request: WorkerRequest): keyof WorkerAnswers {
  const isLong = BULK.has(request.op) || (request.op === "attach" && request.options?.last !== undefined) ||
    (request.op === "group" && request.request.op === "list");
  return isLong ? "bulk" : "urgent";
}

/** Separator of the columns of an append: no name, id or content has it. */
export const SEPARATOR = "\0";
/** Number of columns of a draft in an append. */
export const DRAFT_COLUMNS = 5;
