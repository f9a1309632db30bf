/** Words between the tabs of one browser: calls to the tab that leads, and what it tells all of them. */

import type { Query } from "./query.ts";
import type { Limits, Message, ServerFrameOf } from "../../protocol.ts";

/** A stored message, as it comes from the server. */
export type Stored = Message & { readonly seq: number; readonly ts: string };

/** A message of one's own that the server has not kept yet. */
export interface Waiting {
  readonly id: string;
  readonly recipient: string;
  readonly content: string;
  /** Milliseconds since 1970. */
  readonly at: number;
  /** Reason for which the server did not take it. */
  readonly why?: string;
  /** True where it will not be tried again by itself. */
  readonly isRefused?: boolean;
}

/** State of the connection, as people are told it. */
export type Connection =
  | { readonly phase: "connecting" }
  | { readonly phase: "online" }
  /** `until`: milliseconds since 1970. */
  | { readonly phase: "waiting"; readonly reason: string; readonly until: number }
  /** Waits for another token. */
  | { readonly phase: "token"; readonly reason: string }
  | { readonly phase: "closed"; readonly code: number; readonly reason: string };

/** Markers of a conversation by user: positions up to which they have it, and have read it. */
export type Marks = Record<string, { readonly delivered: number; readonly read: number }>;

/** Conversations as the server lists them. */
export type Listed = ServerFrameOf<"conversations">["conversations"];

/** Everything that a tab has to know when it comes. */
export interface Snapshot {
  readonly connection: Connection;
  readonly limits: Limits | undefined;
  readonly waiting: readonly Waiting[];
  readonly presence: readonly ServerFrameOf<"presence">[];
  readonly marks: Record<string, Marks>;
  readonly isAway: boolean;
}

/** Told by the tab that leads. */
export type Told =
  | { readonly is: "connection"; readonly connection: Connection; readonly limits: Limits | undefined }
  /** `missed`: what is shown may have holes; `isOtherLog`: nothing of it is true any more. */
  | { readonly is: "welcome"; readonly missed: boolean; readonly isOtherLog: boolean }
  | { readonly is: "message"; readonly message: Stored; readonly isLive: boolean }
  | { readonly is: "waiting"; readonly waiting: Waiting }
  | { readonly is: "sent"; readonly id: string; readonly message: Stored }
  | { readonly is: "dropped"; readonly id: string }
  | { readonly is: "frame"; readonly frame: ServerFrameOf<"receipt" | "presence" | "typing" | "group"> }
  | { readonly is: "away"; readonly isAway: boolean }
  | { readonly is: "notice"; readonly text: string };

/** Calls to the tab that leads. */
export type Call =
  | { readonly do: "snapshot" }
  | { readonly do: "send"; readonly waiting: Waiting }
  | { readonly do: "retry"; readonly id: string }
  | { readonly do: "drop"; readonly id: string }
  | { readonly do: "read"; readonly with: string; readonly seq: number; readonly isPrivate: boolean }
  | { readonly do: "typing"; readonly to: string }
  | { readonly do: "watch"; readonly users: readonly string[] }
  | { readonly do: "away"; readonly isAway: boolean }
  | { readonly do: "look" }
  | { readonly do: "reconnect" }
  /** Without a token: there is a spare one now. */
  | { readonly do: "token"; readonly token?: string | undefined }
  | { readonly do: "history"; readonly query: Query<"history"> }
  | { readonly do: "group"; readonly query: Query<"group"> }
  | { readonly do: "conversations" };

/** Everything that goes over the channel. */
export type Word =
  | { readonly word: "told"; readonly told: Told }
  | { readonly word: "call"; readonly id: string; readonly call: Call }
  | { readonly word: "answer"; readonly id: string; readonly value?: unknown; readonly error?: string }
  /** A tab has begun to lead. */
  | { readonly word: "leads" }
  /** The conversation that somebody looks at in this tab; undefined for none. */
  | { readonly word: "looks"; readonly tab: string; readonly at: string | undefined }
  | { readonly word: "signed out" };
