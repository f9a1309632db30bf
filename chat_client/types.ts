/** The shapes that a chat client, its parts and its application have in common. */

import type { ErrorFrame, Limits, Message, ServerFrameOf } from "../protocol.ts";

/** The part of a WebSocket that a client uses; that of a browser, of Deno, of Node.js and of the library `ws` are such. */
export interface Socket {
  onopen: SocketListener<object>;
  onmessage: SocketListener<{ readonly data: unknown }>;
  onerror: SocketListener<object>;
  onclose: SocketListener<{ readonly code: number; readonly reason: string }>;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/**
 * A listener of a socket. Declared as a method, so that sockets fit whose events have more members than a client reads: their
 * types are those of browsers or of a library, and programs without either use this one.
 */
type SocketListener<E> = { listen(event: E): void }["listen"] | null;

/** Opens a socket. May throw, for an address that cannot be one; the client ends then. */
export type SocketFactory = (url: string, token: string | undefined) => Socket;

/** A source of time and timers; tests give one that they drive by hand. */
export interface Clock {
  /** Milliseconds since any moment; never goes back. */
  now(): number;
  /** Calls `run` in `ms` milliseconds. Returns a function that cancels the call. */
  after(ms: number, run: () => void): () => void;
}

/** A position in the log of a server. Positions of different epochs cannot be compared. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

/** State that outlives the process. */
export interface Saved {
  /** The application has taken every message up to this position; undefined before the first. */
  readonly position?: Position | undefined;
  /** Limits of the server, as it said them last. */
  readonly limits?: Limits | undefined;
  /** Messages that were sent and not acked, in their order. */
  readonly outbox: readonly Message[];
}

/**
 * Keeps one {@linkcode Saved} for one server, name and device. Neither method may throw: a store that cannot read gives
 * `{ outbox: [] }`, and one that cannot write tells its owner in its own way.
 */
export interface Store {
  load(): Saved;
  save(saved: Saved): void;
}

/**
 * The state of a client. `delayMs` is the wait until the next attempt in milliseconds, `code` a close code, or 0 where no
 * socket was closed. `needsUser` tells an end that only the user can do something about from one that was asked for.
 */
export type State =
  | { readonly phase: "connecting" }
  | { readonly phase: "online" }
  | { readonly phase: "waiting"; readonly reason: string; readonly delayMs: number }
  | { readonly phase: "closed"; readonly code: number; readonly reason: string; readonly needsUser: boolean };

/** The server's confirmation that a message is stored. */
export type Ack = ServerFrameOf<"ack">;

/** A message as the server delivers it to a client that said hello. */
export type ReceivedMessage = Required<Omit<Message, "type" | "id" | "again">> & Message;

/**
 * Callbacks of the application. One that throws, or whose promise rejects, has a defect: its error is thrown where nobody catches
 * it, as that of any listener, and the client goes on.
 */
export interface Listeners {
  /** A message, once. The client confirms it when the promise of every listener is settled, and only then gives the next. */
  message?(message: ReceivedMessage): void | Promise<void>;
  receipt?(receipt: ServerFrameOf<"receipt">): void;
  presence?(presence: ServerFrameOf<"presence">): void;
  typing?(typing: ServerFrameOf<"typing">): void;
  group?(notice: ServerFrameOf<"group">): void;
  state?(state: State): void;
  /** The server accepted this device. `missed`: it cannot replay everything since the position, so reload what is shown. */
  welcome?(welcome: ServerFrameOf<"welcome">, missed: boolean): void;
  /** The application has taken every message that it had missed. */
  synced?(): void;
  /**
   * The server refused something. With `message` and `retryMs`, the message is sent again after `retryMs` milliseconds; with
   * `message` alone, it never will be; without `message`, the error is about something else.
   */
  refused?(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): void;
}

/** The reason why an attempt to connect failed. `fatal`: every further attempt would fail too. */
export interface Diagnosis {
  readonly reason: string;
  readonly fatal: boolean;
}

/** Options of a client. */
export interface ChatOptions extends Listeners {
  readonly url: string;
  /**
   * A function is called before every attempt, so that the token may be renewed. Where it throws, a client that was welcome
   * before waits and asks again, and any other ends.
   */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>);
  /**
   * Gets a token, in place of `token`: before every attempt, so after one that expired or that the server did not take. Where it
   * throws, it is asked again after a while, unless it throws a {@linkcode ChatError} that is not `retryable`, such as one of
   * code `unauthorized`: then the client ends with `needsUser`.
   */
  readonly getToken?: () => string | Promise<string>;
  /** Canonical name of the user. With a token the server decides. */
  readonly name?: string;
  /** Name of the device, which keeps its place at the server. Default: one that the server makes up, as for a tab of a browser. */
  readonly device?: string;
  /** Number of old messages that a device new to the server asks for. */
  readonly last?: number;
  /** Default: nothing outlives the process. */
  readonly store?: Store;
  /** Default: a WebSocket that carries the token as a subprotocol, as browsers need it. */
  readonly socket?: SocketFactory;
  /** Explains why a socket failed to open. `reason` is the socket's own, often empty. Default: the reason as it is. */
  readonly explain?: (reason: string) => Diagnosis | undefined | Promise<Diagnosis | undefined>;
  /** Asks for every marker on the first connection, and not only for those that moved since the last run. */
  readonly allMarkers?: boolean;
  /** Drops every message that arrives and confirms none: they stay for the user's other devices. */
  readonly sendOnly?: boolean;
  /** Number of taken messages after which they are confirmed. Default 32. */
  readonly confirmEvery?: number;
  /** A number from 0 up to 1, as `Math.random`, which is the default. */
  readonly random?: () => number;
  readonly clock?: Clock;
}

/** A message on its way to the server. */
export interface Outgoing {
  readonly message: Message & { readonly id: string };
  /** Resolves when the server has stored the message; rejects with a {@linkcode ChatError} when it never will. */
  readonly acked: Promise<Ack>;
}
