/**
 * A device of a user: connects, says hello, resumes, keeps what it sends until it is acked, and reconnects by itself.
 *
 * Everything that may fail for a while is retried here; what needs a person is reported in words. The application takes
 * messages one by one, and only what it took is confirmed to the server, so that nothing is lost on the way to it.
 *
 * This module and its rooms are browser compatible and import nothing but the protocol; `deno task check:dom` holds that.
 */

import { backOffMs, boundedMs } from "./chat_client/backoff.ts";
import { openWebSocket, SYSTEM_CLOCK } from "./chat_client/defaults.ts";
import { ChatError } from "./chat_client/error.ts";
import { newId } from "./chat_client/ids.ts";
import { Inbox } from "./chat_client/inbox.ts";
import { Outbox, tooLarge } from "./chat_client/outbox.ts";
import { type Query, Requests } from "./chat_client/requests.ts";
import { DEFAULT_SIZES, oversize, oversizeWords, type SizeLimits } from "./chat_client/sizes.ts";
import { withResolvers } from "./chat_client/promises.ts";
import { receivedOf, Subscriptions } from "./chat_client/subscriptions.ts";
import type { Ack, ChatOptions, Clock, Listeners, Outgoing, ReceivedMessage, Socket, State } from "./chat_client/types.ts";
import { messageOf, wordsForClose, wordsOf } from "./chat_client/words.ts";
import {
  type ClientFrame,
  CLOSE_CODES,
  encode,
  type ErrorFrame,
  type Limits,
  linesOf,
  type Message,
  parseServerFrame,
  PROTOCOL_VERSION,
  reconnectAfter,
  Refusal,
  type ServerFrame,
  type ServerFrameOf,
} from "./protocol.ts";

export * from "./chat_client/conversations.ts";
export { newId };
export { type SocketClass, socketsOf } from "./chat_client/defaults.ts";
export * from "./chat_client/error.ts";
export { lookOnReturn } from "./chat_client/page.ts";
export type { Query } from "./chat_client/requests.ts";
export { type SizeLimits, splitText } from "./chat_client/sizes.ts";
export * from "./chat_client/types.ts";
export { CLOSE_CODES, ERROR_CODES, isGroup } from "./protocol.ts";
export type { ClientFrameOf, ErrorCode, ErrorFrame, Limits, Message, ServerFrameOf } from "./protocol.ts";

/** Milliseconds online after which a connection counts as good and the next wait is a first one again. */
const STABLE_MS = 5_000;
/** Milliseconds from dialling to the welcome. */
const WELCOME_MS = 10_000;
/** Milliseconds until a hello that came too fast is said again, where the server does not say. */
const HELLO_RETRY_MS = 1_000;
/** Milliseconds without a frame after which the server is asked whether it is there. */
const QUIET_MS = 30_000;
/** Milliseconds that the server has to answer a ping. */
const PONG_MS = 10_000;
/** Milliseconds that it has where somebody looks at the screen and may have been asleep: a needless reconnect costs little. */
const LOOK_PONG_MS = 1_200;
/** Milliseconds that the server has to answer a close. */
const GOODBYE_MS = 2_000;
/** Milliseconds after which a token that could not be had is asked for again: looking costs little. */
const TOKEN_MS = 1_000;

/** One device, connected or reconnecting once {@linkcode ChatClient.connect} was called. */
export class ChatClient {
  readonly #options: ChatOptions;
  readonly #clock: Clock;
  readonly #random: () => number;
  readonly #outbox: Outbox;
  readonly #inbox: Inbox;
  readonly #requests: Requests;
  readonly #listeners = new Subscriptions();
  readonly #ended = withResolvers<void>();

  #user: string;
  #device: string;
  #state: State = { phase: "connecting" };
  #isStarted = false;
  #welcome: ServerFrameOf<"welcome"> | undefined;
  #socket: Socket | undefined;
  /** Number of attempts since the last good connection. */
  #attempts = 0;
  /** Time of the clock. */
  #onlineSince = 0;
  /** Cancels the timer of the phase: until the welcome, or until the next attempt. */
  #cancelTimer = () => {};
  #cancelLiveness = () => {};

  /** State that every new connection is told. */
  #watched: readonly string[] = [];
  #isAway = false;
  /** Positions up to which conversations were read in this run, in the log of the last welcome. */
  readonly #read = new Map<string, number>();
  readonly #readPrivately = new Map<string, number>();

  #limits: Limits | undefined;

  constructor(options: ChatOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.#random = options.random ?? Math.random;
    this.#user = options.name ?? "";
    this.#device = options.device ?? "";
    this.#listeners.add(options);
    const saved = options.store?.load();
    const host = this.#host();
    this.#limits = saved?.limits;
    this.#inbox = new Inbox(host, saved?.position);
    this.#outbox = new Outbox(host);
    this.#requests = new Requests(host);
    for (const message of saved?.outbox ?? []) this.#outbox.add(message);
  }

  /** Returns the view of this client that its inbox, outbox and requests have. */
  #host() {
    // deno-lint-ignore no-this-alias
    const client = this;
    const { sendOnly = false, confirmEvery } = this.#options;
    const listeners = this.#listeners;
    return {
      clock: this.#clock,
      random: this.#random,
      sendOnly,
      confirmEvery,
      get user() {
        return client.#user;
      },
      get isOnline() {
        return client.#isOnline;
      },
      write: (frame: ClientFrame) => this.#write(frame),
      save: () => this.#save(),
      message: (message: ReceivedMessage) => listeners.message(message),
      synced: () => listeners.tell("synced"),
      refused: (...told: [ErrorFrame, Message, number | undefined]) => listeners.tell("refused", ...told),
    };
  }

  // ---- For the application ----

  /** Canonical name of the user, as the server gave it with the last welcome; before that, the one in the options. */
  get user(): string {
    return this.#user;
  }

  /** Name of the device: the one in the options, or the one that the server made up with its first welcome; empty before that. */
  get device(): string {
    return this.#device;
  }

  /** Current state, the same object until there is another; `Listeners.state` is called with each new one. */
  get state(): State {
    return this.#state;
  }

  /** Returns {@linkcode state}. With {@linkcode subscribe} it is what React's `useSyncExternalStore` takes; both are bound. */
  readonly getSnapshot = (): State => this.#state;

  /**
   * Adds listeners beside those of the options, or one of the state alone. Returns a function that takes them away, which may be
   * called twice. Messages that nobody listens to count as taken, so subscribe before {@linkcode connect}.
   */
  readonly subscribe = (listeners: Listeners | ((state: State) => void)): () => void =>
    this.#listeners.add(typeof listeners === "function" ? { state: listeners } : listeners);

  /**
   * Yields every message that arrives, once, until the client is closed. A message is confirmed when the next is asked for or the
   * loop is left. Listening begins with the first step, so start the loop in the same turn as {@linkcode connect}.
   */
  messages(): AsyncGenerator<ReceivedMessage, void> {
    return receivedOf(this);
  }

  /** The last welcome of the server. */
  get welcome(): ServerFrameOf<"welcome"> | undefined {
    return this.#welcome;
  }

  /** Connects, and again whenever it is lost, until {@linkcode close} or a close code that forbids it. Later calls do nothing. */
  connect(): void {
    if (!this.#isStarted) void this.#dial();
  }

  /** Limits of the server in bytes, as its last welcome said, also in an earlier run; else the defaults. */
  get limits(): SizeLimits {
    return this.#limits ?? DEFAULT_SIZES;
  }

  /** Returns as a sentence how much too large a message would be for the server; undefined where it is not. */
  tooLarge(recipient: string, content: string, id?: string): string | undefined {
    const size = oversize({ sender: this.#user, recipient, content, ...(id === undefined ? {} : { id }) }, this.limits);
    return size && oversizeWords(size);
  }

  /**
   * Queues a message; it arrives once, in order within its conversation. One that is too large for the server is not queued:
   * `refused` is told, and `acked` rejects with `too_large`.
   */
  send(recipient: string, content: string, id: string = newId()): Outgoing {
    const words = this.tooLarge(recipient, content, id);
    if (words !== undefined) return this.#refuseAtOnce({ sender: this.#user, recipient, content, id }, words);
    const outgoing = this.#outbox.add({ sender: this.#user, recipient, content, id });
    this.#save();
    this.#outbox.pump();
    return outgoing;
  }

  #refuseAtOnce(message: Outgoing["message"], words: string): Outgoing {
    this.#listeners.tell("refused", { ...tooLarge(words), id: message.id }, message, undefined);
    const acked = Promise.reject(new ChatError("too_large", words));
    acked.catch(() => {}); // "refused" was told
    return { message, acked };
  }

  /**
   * Takes a message out of the outbox, so that it is not sent (again). Returns undefined where it is not there; `mayHaveArrived`:
   * it was on its way.
   */
  drop(id: string): { readonly mayHaveArrived: boolean } | undefined {
    return this.#outbox.drop(id);
  }

  /** Messages that are not acked yet, oldest first. */
  get outbox(): readonly Message[] {
    return this.#outbox.messages;
  }

  /** Returns the `acked` that {@linkcode send} returned, for a message that is not acked yet. */
  acked(id: string): Promise<Ack> | undefined {
    return this.#outbox.acked(id);
  }

  /** Resolves when fewer than `below` messages wait to be acked (default: when none does), or the client is closed. */
  async flushed(below = 1): Promise<void> {
    await this.#outbox.flushed(below);
  }

  /** Resolves when the client is closed. */
  get closed(): Promise<void> {
    return this.#ended.promise;
  }

  /** Sends a message now that waits because the server could not take it. */
  retry(id: string): void {
    this.#outbox.retry(id);
  }

  /** Requests a page of a conversation, oldest message first. Rejects with a {@linkcode ChatError}. */
  async history(query: Query<"history">): Promise<ServerFrameOf<"history">> {
    return await this.#requests.ask("history", query);
  }

  /** Creates, joins, leaves, changes or lists groups. Rejects with a {@linkcode ChatError}. */
  async group(query: Query<"group">): Promise<ServerFrameOf<"group">> {
    return await this.#requests.ask("group", query);
  }

  /**
   * Requests the user's conversations, the most recent first: at most `limit`, which may stand alone; those that follow another
   * answer with `before` and `with` of its last row. Rejects with a {@linkcode ChatError}.
   */
  async conversations(
    query: number | Omit<Extract<ClientFrame, { type: "conversations" }>, "type" | "id"> = {},
  ): Promise<ServerFrameOf<"conversations">> {
    return await this.#requests.ask("conversations", typeof query === "number" ? { limit: query } : query);
  }

  /** Searches the user's conversations, or one. The messages found are the newest, oldest first. Rejects with a {@linkcode ChatError}. */
  async search(query: Query<"search">): Promise<ServerFrameOf<"search">> {
    return await this.#requests.ask("search", query);
  }

  /** Lists or disconnects users, or makes one known; for administrators. Rejects with a {@linkcode ChatError}. */
  async admin(query: Query<"admin">): Promise<ServerFrameOf<"admin">> {
    return await this.#requests.ask("admin", query);
  }

  /**
   * Reports that a person has read a conversation up to `seq`; now, or when there is a connection again. `isPrivate`: only the
   * person's own devices and unread counts learn of it.
   */
  markRead(conversation: string, seq: number, isPrivate = false): void {
    const known = this.#read.get(conversation) ?? -1;
    if (seq <= (isPrivate ? Math.max(known, this.#readPrivately.get(conversation) ?? -1) : known)) return;
    (isPrivate ? this.#readPrivately : this.#read).set(conversation, seq);
    if (this.#isOnline) this.#writeRead(conversation, seq, isPrivate);
  }

  /** Subscribes to the presence of exactly these users. */
  watch(users: readonly string[]): void {
    this.#watched = [...users];
    if (this.#isOnline) this.#writeWatched();
  }

  /** Sets the user's status to away, or back to online. */
  setAway(away: boolean): void {
    if (away === this.#isAway) return;
    this.#isAway = away;
    if (this.#isOnline) this.#writeStatus();
  }

  /** Signals that the user is typing; lost where there is no connection. The caller limits how often. */
  typing(recipient: string): void {
    if (this.#isOnline) this.#write({ type: "typing", recipient });
  }

  /** Ends the wait for the next attempt. */
  retryNow(): void {
    if (this.#state.phase !== "waiting") return;
    this.#cancelTimer();
    void this.#dial();
  }

  /**
   * Finds out now whether there is a connection, as after sleep or in another network: a client that waits tries at once, and a
   * server that does not answer soon is left.
   */
  lookNow(): void {
    if (this.#isOnline) return this.#ping(LOOK_PONG_MS, () => this.retryNow());
    this.#attempts = 0;
    this.retryNow();
  }

  /** Closes, and forgets everything, in the store too: the next user of this place finds nothing. */
  async forget(): Promise<void> {
    await this.close();
    this.#outbox.clear();
    this.#watched = [];
    this.#read.clear();
    this.#readPrivately.clear();
    this.#user = "";
    this.#welcome = undefined;
    this.#limits = undefined;
    this.#options.store?.save({ outbox: [] });
  }

  /** Confirms what was taken and closes. Idempotent; resolves when the socket is closed. */
  async close(): Promise<void> {
    if (this.#state.phase !== "closed") {
      this.#inbox.confirm();
      const socket = this.#detach();
      if (socket) await this.#sayGoodbye(socket);
      this.#end(CLOSE_CODES.bye.code, "closed", false);
    }
    await this.#ended.promise;
  }

  #sayGoodbye(socket: Socket): Promise<void> {
    return new Promise((resolve) => {
      const cancel = this.#clock.after(GOODBYE_MS, resolve);
      socket.onclose = socket.onerror = () => {
        cancel();
        resolve();
      };
      socket.close(CLOSE_CODES.bye.code);
    });
  }

  // ---- The connection ----

  get #isOnline(): boolean {
    return this.#state.phase === "online";
  }

  async #dial(): Promise<void> {
    this.#isStarted = true;
    this.#setState({ phase: "connecting" });
    let token: string | undefined;
    try {
      const { token: fixed, getToken = fixed } = this.#options;
      token = typeof getToken === "function" ? await getToken() : getToken;
    } catch (error) {
      return this.#withoutToken(error);
    }
    if (this.#state.phase !== "connecting") return;
    let socket: Socket;
    try {
      const { socket: open = openWebSocket, url } = this.#options;
      socket = open(url, token);
    } catch (error) {
      return this.#end(0, wordsOf(error), true);
    }
    this.#attach(socket);
  }

  /** Ends, or looks again, as `ChatOptions` promises of `token` and of `getToken`. */
  #withoutToken(error: unknown): void {
    if (this.#state.phase !== "connecting") return;
    const asks = this.#options.getToken !== undefined;
    const isFinal = asks ? error instanceof ChatError && !error.retryable : !this.#welcome;
    if (isFinal) return this.#end(0, wordsOf(error), true);
    this.#dialIn(asks ? backOffMs(this.#attempts++, this.#random) : TOKEN_MS, wordsOf(error));
  }

  #dialIn(delayMs: number, reason: string): void {
    this.#cancelTimer = this.#clock.after(delayMs, () => void this.#dial());
    this.#setState({ phase: "waiting", reason, delayMs });
  }

  #attach(socket: Socket): void {
    this.#socket = socket;
    let opened = false;
    const lost = (code: number, reason: string) => {
      if (this.#socket === socket) void this.#lost(code, reason, opened);
    };
    this.#cancelTimer = this.#clock.after(
      WELCOME_MS,
      () => lost(0, opened ? "The server did not welcome this client" : "The server did not answer"),
    );
    socket.onopen = () => {
      opened = true;
      socket.send(encode(this.#hello()));
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && typeof data === "string") this.#received(data);
    };
    // A close follows an error everywhere but where a socket never opened.
    socket.onerror = (event) => lost(0, opened ? "" : messageOf(event));
    socket.onclose = ({ code, reason }) => lost(code, reason);
  }

  #hello(): ClientFrame {
    const hello: ClientFrame = { type: "hello", v: PROTOCOL_VERSION, caps: ["batch", "ordered"] };
    if (this.#device !== "") hello.device = this.#device;
    if (this.#user !== "") hello.name = this.#user;
    if (this.#options.last !== undefined) hello.last = this.#options.last;
    // The server remembers the position too, and sends all markers to a device that does not resume.
    const asksForAll = this.#options.allMarkers && !this.#welcome;
    const { resume } = this.#inbox;
    if (resume && !asksForAll) hello.resume = resume;
    return hello;
  }

  /** Says hello again in a while: it asked for much of the past, and came too fast. */
  #helloAgain(waitMs: number): void {
    const socket = this.#socket;
    this.#clock.after(waitMs, () => {
      if (socket && socket === this.#socket && this.#state.phase === "connecting") socket.send(encode(this.#hello()));
    });
  }

  #welcomed(frame: ServerFrameOf<"welcome">): void {
    this.#cancelTimer();
    this.#onlineSince = this.#clock.now();
    const { isOtherLog, missed } = this.#inbox.welcome(frame);
    if (isOtherLog) { // positions of the old one mean nothing in this one
      this.#read.clear();
      this.#readPrivately.clear();
    }
    this.#user = frame.user;
    this.#device = this.#device || frame.device;
    this.#welcome = frame;
    this.#limits = frame.limits;
    this.#save();
    this.#setState({ phase: "online" });
    this.#listeners.tell("welcome", frame, missed);
    if (this.#watched.length > 0) this.#writeWatched();
    if (this.#isAway) this.#writeStatus();
    for (const [conversation, seq] of this.#read) this.#writeRead(conversation, seq, false);
    for (const [conversation, seq] of this.#readPrivately) this.#writeRead(conversation, seq, true);
    this.#outbox.restart(frame.limits, frame.caps.includes("ordered"));
  }

  /** Lets go of the socket: nothing that it still does has an effect. */
  #detach(): Socket | undefined {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#cancelTimer();
    this.#cancelLiveness();
    this.#inbox.disconnect();
    this.#outbox.disconnect();
    if (socket) {
      socket.onopen =
        socket.onmessage =
        socket.onerror =
        socket.onclose =
          null;
    }
    return socket;
  }

  /** Decides after a failure whether to try again, and when. `opened`: the socket was open before. */
  async #lost(code: number, reason: string, opened: boolean): Promise<void> {
    const wasStable = this.#isOnline && this.#clock.now() - this.#onlineSince >= STABLE_MS;
    this.#detach()?.close();
    this.#requests.failAll(new ChatError("offline", "The connection was lost"));
    const isRefused = code === CLOSE_CODES.unauthorized.code && this.#options.getToken !== undefined;
    const when = isRefused ? "later" : reconnectAfter(code);
    let words = wordsForClose(code, reason);
    if (when === "never") return this.#end(code, words, true);
    if (!opened && this.#options.explain) {
      const diagnosis = await this.#options.explain(reason);
      if (this.#state.phase !== "connecting" || this.#socket) return;
      if (diagnosis?.fatal) return this.#end(code, diagnosis.reason, true);
      words = diagnosis?.reason ?? words;
    }
    if (wasStable) this.#attempts = 0;
    const delayMs = when === "now" && this.#attempts === 0 ? 0 : backOffMs(this.#attempts, this.#random);
    this.#attempts++;
    this.#dialIn(delayMs, words);
  }

  #end(code: number, reason: string, needsUser: boolean): void {
    this.#detach()?.close();
    this.#inbox.clear();
    this.#setState({ phase: "closed", code, reason, needsUser });
    const error = new ChatError("closed", reason);
    this.#requests.failAll(error);
    this.#outbox.close(error);
    this.#ended.resolve();
  }

  #setState(state: State): void {
    this.#state = state;
    this.#listeners.tell("state", state);
  }

  /** Pings a server that is silent, and leaves one that does not answer. */
  #watchLiveness(): void {
    this.#cancelLiveness();
    this.#cancelLiveness = this.#clock.after(QUIET_MS, () => this.#ping(PONG_MS));
  }

  /** Asks for a sign of life. `lost`: called where none came, after the connection was left. */
  #ping(withinMs: number, lost = () => {}): void {
    this.#cancelLiveness();
    this.#write({ type: "ping" });
    this.#cancelLiveness = this.#clock.after(withinMs, () => void this.#lost(0, "The server went silent", true).then(lost));
  }

  // ---- Frames ----

  #received(data: string): void {
    this.#watchLiveness();
    const socket = this.#socket;
    for (const line of linesOf(data)) {
      const frame = parseServerFrame(line);
      if (!(frame instanceof Refusal) && this.#socket === socket) this.#dispatch(frame);
    }
  }

  #dispatch(frame: ServerFrame): void {
    if (frame.type === "welcome") return this.#state.phase === "connecting" ? this.#welcomed(frame) : undefined;
    if (frame.type === "error") return this.#refused(frame);
    if (!this.#isOnline) return;
    switch (frame.type) {
      case undefined:
        return this.#inbox.receive(frame);
      case "synced":
        return this.#inbox.synced(frame.seq);
      case "ack":
        return this.#outbox.ack(frame);
      case "receipt":
        return this.#listeners.tell("receipt", frame);
      case "presence":
        return this.#listeners.tell("presence", frame);
      case "typing":
        return this.#listeners.tell("typing", frame);
      case "group":
        return this.#requests.answer(frame) ? undefined : this.#listeners.tell("group", frame);
      case "history":
      case "conversations":
      case "search":
      case "admin":
        this.#requests.answer(frame);
    }
  }

  #refused(error: ErrorFrame): void {
    if (this.#outbox.refuse(error) || this.#requests.refuse(error)) return;
    if (this.#state.phase === "connecting" && !error.retryable) return this.#end(0, error.message, true);
    if (this.#state.phase === "connecting" && error.code === "rate_limited") {
      this.#helloAgain(boundedMs(error.retry_after_ms ?? HELLO_RETRY_MS));
    }
    this.#listeners.tell("refused", error, undefined, error.retry_after_ms);
  }

  #writeWatched(): void {
    this.#write({ type: "watch", users: [...this.#watched] });
  }

  #writeStatus(): void {
    this.#write({ type: "presence", status: this.#isAway ? "away" : "online" });
  }

  #writeRead(conversation: string, seq: number, isPrivate: boolean): void {
    this.#write({ type: "receipt", kind: "read", with: conversation, seq, ...(isPrivate ? { private: true } : {}) });
  }

  #write(frame: ClientFrame): void {
    this.#socket?.send(encode(frame));
  }

  #save(): void {
    this.#options.store?.save({ position: this.#inbox.position, limits: this.#limits, outbox: this.#outbox.messages });
  }
}
