/**
 * A device of a user: connects, says hello, resumes, keeps what it sends until it is acked, and comes back by itself.
 *
 * Everything that may fail for a while is retried here; what needs a person is told in words. The application takes messages
 * one by one, and only what it took is confirmed to the server, so that nothing is lost on the way to it.
 *
 * This module is browser compatible and imports nothing but the protocol.
 */

import {
  type ClientFrame,
  CLOSE_CODES,
  encode,
  type ErrorFrame,
  isGroup,
  linesOf,
  type Message,
  parseServerFrame,
  PROTOCOL_VERSION,
  reconnectAfter,
  Refusal,
  type ServerFrame,
  type ServerFrameOf,
} from "./protocol.ts";

/** Milliseconds of the first wait before trying again, doubled with every attempt; each wait is a random part of it. */
const BACKOFF_FIRST_MS = 500;
/** Milliseconds of the longest wait: a server that is back, or has room again, is found within half a minute. */
const BACKOFF_MAX_MS = 30_000;
/** Milliseconds before anything is sent again, whatever the server says: it may say 0. */
const RETRY_MIN_MS = 50;
/** Milliseconds of the longest wait that a server can ask for; a timer takes no more than 24 days. */
const RETRY_MAX_MS = 3_600_000;
/** Milliseconds online after which a connection counts as good and the next wait is a first one again. */
const STABLE_MS = 5_000;
/** Milliseconds from dialling to the welcome. */
const WELCOME_MS = 10_000;
/** Milliseconds without a frame after which the server is asked whether it is there. */
const QUIET_MS = 30_000;
/** Milliseconds that it has to answer. */
const PONG_MS = 10_000;
/** Milliseconds for the answer to a request. */
const REQUEST_MS = 15_000;
/** Taken messages that may be unconfirmed: few enough that a crash repeats few. */
const CONFIRM_EVERY = 32;
/** Milliseconds after which a taken message is confirmed. */
const CONFIRM_MS = 250;
/** Milliseconds that a goodbye may take. */
const GOODBYE_MS = 2_000;

/** What this needs of a WebSocket; a WebSocket is one. */
export interface Socket {
  onopen: ((event: Event) => void) | null;
  onmessage: ((event: MessageEvent) => void) | null;
  onerror: ((event: Event) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}

/** Opens a socket. May throw, for an address that is none. */
export type SocketFactory = (url: string, token: string | undefined) => Socket;

/** Time, as tests replace it. */
export interface Clock {
  /** Milliseconds, of any beginning. */
  now(): number;
  /** Calls `run` in `ms` milliseconds unless cancelled. Returns the canceller. */
  after(ms: number, run: () => void): () => void;
}

/** A place in the log of a server. */
export interface Position {
  readonly epoch: string;
  readonly seq: number;
}

/** What outlives the process. */
export interface Saved {
  /** Everything up to here was taken by the application. */
  readonly position?: Position | undefined;
  /** What was sent and not acked, in order. */
  readonly outbox: readonly Message[];
}

/** Keeps a {@linkcode Saved} per server, name and device. `save` may throw: the client goes on and reports it. */
export interface Store {
  load(): Saved;
  save(saved: Saved): void;
}

/** Where a client stands. `act`: nothing will change unless the user does something. */
export type State =
  | { readonly phase: "connecting" }
  | { readonly phase: "online" }
  | { readonly phase: "waiting"; readonly reason: string; readonly delayMs: number }
  | { readonly phase: "closed"; readonly code: number; readonly reason: string; readonly act: boolean };

/** The server's word that a message is kept. */
export type Ack = ServerFrameOf<"ack">;

/** Why something was refused, or not done in time. `code` is a protocol error code, or offline, timeout, closed. */
export class ChatError extends Error {
  override readonly name = "ChatError";
  constructor(readonly code: string, message: string) {
    super(message);
  }
}

/** What a client tells its application. None may throw. */
export interface Listeners {
  /** A message, once. It is confirmed when the promise resolves; the next comes after that. */
  message?(message: Required<Omit<Message, "type" | "id">> & Message): void | Promise<void>;
  receipt?(receipt: ServerFrameOf<"receipt">): void;
  presence?(presence: ServerFrameOf<"presence">): void;
  typing?(typing: ServerFrameOf<"typing">): void;
  group?(notice: ServerFrameOf<"group">): void;
  state?(state: State): void;
  /** The server knows this device. `missed`: it cannot give everything since the position; load again what is shown. */
  welcome?(welcome: ServerFrameOf<"welcome">, missed: boolean): void;
  /** All that was missed has been taken. */
  synced?(): void;
  /** A message waits because the server could not take it now (`retryMs`), or anything else was refused. */
  refused?(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): void;
}

/** Why an attempt to connect failed. `fatal`: it will fail again. */
export interface Diagnosis {
  readonly reason: string;
  readonly fatal: boolean;
}

/** What a client is made of. */
export interface ChatOptions extends Listeners {
  readonly url: string;
  /** The token is asked for at every attempt, so that it may be renewed. */
  readonly token?: string | (() => string | undefined | Promise<string | undefined>);
  /** Canonical name of the user; with a token the server may know better. */
  readonly name?: string;
  readonly device: string;
  /** Messages that a new device asks for. */
  readonly last?: number;
  readonly store?: Store;
  readonly socket?: SocketFactory;
  /** Makes words of what the socket said when an attempt failed (often nothing), and says whether trying again helps. */
  readonly explain?: (reason: string) => Diagnosis | undefined | Promise<Diagnosis | undefined>;
  /** Every marker is told at the beginning, and not only those that moved since the last time. */
  readonly allMarkers?: boolean;
  /** Takes no messages: they stay for the user's other devices, and for this one nothing is confirmed. */
  readonly deaf?: boolean;
  /** Taken messages after which they are confirmed. Default 32. */
  readonly confirmEvery?: number;
  readonly random?: () => number;
  readonly clock?: Clock;
}

interface Entry {
  readonly message: Message & { readonly id: string };
  readonly promise: PromiseWithResolvers<Ack>;
  inFlight: boolean;
  /** Not before this time; 0 for at once. */
  notBefore: number;
  /** How often the server could not take it just now. */
  tries: number;
}

interface Pending {
  readonly frame: ClientFrame;
  readonly promise: PromiseWithResolvers<ServerFrame>;
  readonly stop: () => void;
  tries: number;
}

/** A message that was handed over to be sent. */
export interface Outgoing {
  readonly message: Message & { readonly id: string };
  /** Resolves when the server keeps it; rejects with a {@linkcode ChatError} when it never will. */
  readonly acked: Promise<Ack>;
}

/** One device, connected or coming back. Call {@linkcode ChatClient.connect} once. */
export class ChatClient {
  /** Canonical name, as the server gave it with the last welcome. */
  user: string;
  readonly device: string;
  state: State = { phase: "connecting" };
  /** What the last welcome said. */
  welcome: ServerFrameOf<"welcome"> | undefined;

  readonly #options: ChatOptions;
  readonly #clock: Clock;
  #socket: Socket | undefined;
  #attempts = 0;
  #onlineSince = 0;
  #cancelTimer = () => {};
  #cancelLiveness = () => {};
  #cancelConfirm = () => {};
  #cancelPump = () => {};
  #ended = Promise.withResolvers<void>();

  readonly #outbox: Entry[] = [];
  #settled: (() => void)[] = [];
  #sendNotBefore = 0;

  #wasWelcome = false;
  #epoch: string | undefined;
  /** Received, handed over or waiting for it. */
  #received = -1;
  /** Taken by the application, and confirmed to the server. */
  #taken = -1;
  #confirmed = -1;
  #untold = 0;
  #incoming: (Message | "synced")[] = [];
  #taking = false;

  readonly #requests = new Map<string, Pending>();
  #nextRequest = 0;
  #watched: readonly string[] = [];
  #away = false;
  readonly #read = new Map<string, number>();

  constructor(options: ChatOptions) {
    this.#options = options;
    this.#clock = options.clock ?? SYSTEM_CLOCK;
    this.user = options.name ?? "";
    this.device = options.device;
    const saved = options.store?.load();
    if (saved?.position) {
      this.#epoch = saved.position.epoch;
      this.#received = this.#taken = this.#confirmed = saved.position.seq;
    }
    for (const message of saved?.outbox ?? []) this.#queue(message);
  }

  // ---- For the application ----

  /** Connects, and again whenever the connection is lost, until {@linkcode close} or a close that says never. */
  connect(): void {
    void this.#dial();
  }

  /** Queues a message; it goes out in order within its conversation, once. */
  send(recipient: string, content: string, id: string = crypto.randomUUID()): Outgoing {
    const entry = this.#queue({ sender: this.user, recipient, content, id });
    this.#save();
    this.#pump();
    return { message: entry.message, acked: entry.promise.promise };
  }

  /** Messages that are not acked yet, oldest first. */
  get outbox(): readonly Message[] {
    return this.#outbox.map(({ message }) => message);
  }

  /** What {@linkcode send} promised for a message that is not acked yet. */
  acked(id: string): Promise<Ack> | undefined {
    return this.#outbox.find(({ message }) => message.id === id)?.promise.promise;
  }

  /** Resolves when fewer than `below` messages wait to be acked (default: none does), or the client is closed. */
  async flushed(below = 1): Promise<void> {
    while (this.#outbox.length >= below && this.state.phase !== "closed") {
      await new Promise<void>((resolve) => this.#settled.push(resolve));
    }
  }

  /** Resolves when the client is closed. */
  get closed(): Promise<void> {
    return this.#ended.promise;
  }

  /** A page of a conversation. Rejects with a {@linkcode ChatError}. */
  async history(query: Omit<Extract<ClientFrame, { type: "history" }>, "type" | "id">): Promise<ServerFrameOf<"history">> {
    return await this.#request({ type: "history", ...query }) as ServerFrameOf<"history">;
  }

  /** Creates, joins, leaves, asks about a group. Rejects with a {@linkcode ChatError}. */
  async group(request: Omit<Extract<ClientFrame, { type: "group" }>, "type" | "id">): Promise<ServerFrameOf<"group">> {
    return await this.#request({ type: "group", ...request }) as ServerFrameOf<"group">;
  }

  /**
   * Lists the user's conversations, the most recent first: at most `limit`, which may stand alone; those that follow another answer
   * with `before` and `with` of its last row. Rejects with a {@linkcode ChatError}.
   */
  async conversations(
    query: number | Omit<Extract<ClientFrame, { type: "conversations" }>, "type" | "id"> = {},
  ): Promise<ServerFrameOf<"conversations">> {
    const members = typeof query === "number" ? { limit: query } : query;
    return await this.#request({ type: "conversations", ...members }) as ServerFrameOf<"conversations">;
  }

  /** Tells that a person has read a conversation up to `seq`; now, or when the connection is back. */
  markRead(conversation: string, seq: number): void {
    if (seq <= (this.#read.get(conversation) ?? -1)) return;
    this.#read.set(conversation, seq);
    if (this.state.phase === "online") this.#write({ type: "receipt", kind: "read", with: conversation, seq });
  }

  /** Whose presence to be told, from now on. */
  watch(users: readonly string[]): void {
    this.#watched = [...users];
    if (this.state.phase === "online") this.#write({ type: "watch", users: [...users] });
  }

  /** Away, or back. */
  setAway(away: boolean): void {
    if (away === this.#away) return;
    this.#away = away;
    if (this.state.phase === "online") this.#write({ type: "presence", status: away ? "away" : "online" });
  }

  /** Somebody types; at most once in a while is told. */
  typing(recipient: string): void {
    if (this.state.phase === "online") this.#write({ type: "typing", recipient });
  }

  /** Ends the wait for the next attempt. */
  retryNow(): void {
    if (this.state.phase !== "waiting") return;
    this.#cancelTimer();
    void this.#dial();
  }

  /** Confirms what was taken and says goodbye. Idempotent; resolves when the socket is closed. */
  async close(): Promise<void> {
    if (this.state.phase !== "closed") {
      this.#confirm();
      const socket = this.#detach();
      if (socket) await this.#goodbye(socket);
      this.#end(CLOSE_CODES.bye.code, "closed", false);
    }
    await this.#ended.promise;
  }

  #goodbye(socket: Socket): Promise<void> {
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

  async #dial(): Promise<void> {
    this.#setState({ phase: "connecting" });
    let token: string | undefined;
    let socket: Socket;
    try {
      const { token: given } = this.#options;
      token = typeof given === "function" ? await given() : given;
      if (this.state.phase !== "connecting") return;
      socket = (this.#options.socket ?? openWebSocket)(this.#options.url, token);
    } catch (error) {
      return this.#end(0, error instanceof Error ? error.message : String(error), true);
    }
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
      this.#hello(socket);
    };
    socket.onmessage = ({ data }) => {
      if (this.#socket === socket && typeof data === "string") this.#frames(data);
    };
    // A close follows an error everywhere but where a socket never opened.
    socket.onerror = (event) => lost(0, opened ? "" : messageOf(event));
    socket.onclose = ({ code, reason }) => lost(code, reason);
  }

  #hello(socket: Socket): void {
    const hello: ClientFrame = { type: "hello", v: PROTOCOL_VERSION, device: this.device, caps: ["batch"] };
    if (this.user !== "") hello.name = this.user;
    if (this.#options.last !== undefined) hello.last = this.#options.last;
    // The server knows too what this device has, and gives those who do not resume all markers.
    const asksForAll = this.#options.allMarkers && !this.#wasWelcome;
    if (this.#epoch !== undefined && this.#received >= 0 && !asksForAll) {
      hello.resume = { epoch: this.#epoch, seq: this.#received };
    }
    socket.send(encode(hello));
  }

  /** Says hello again in a while: it asked for much of the past, and came too fast. */
  #helloAgain(waitMs: number): void {
    const socket = this.#socket;
    this.#clock.after(waitMs, () => {
      if (socket && socket === this.#socket && this.state.phase === "connecting") this.#hello(socket);
    });
  }

  #welcomed(frame: ServerFrameOf<"welcome">): void {
    this.#cancelTimer();
    this.#wasWelcome = true;
    this.#onlineSince = this.#clock.now();
    const known = this.#epoch !== undefined;
    if (frame.epoch !== this.#epoch || !frame.recovered) {
      // Positions of another log say nothing here; what is still to be taken belongs to the old one and is not confirmed.
      this.#epoch = frame.epoch;
      this.#received = this.#taken = this.#confirmed = -1;
      this.#incoming = this.#incoming.filter((entry) => entry !== "synced").map(withoutPosition);
    }
    if (this.#options.deaf) {
      this.#received = this.#taken = this.#confirmed = frame.seq;
      this.#save();
    }
    this.user = frame.user;
    this.welcome = frame;
    this.#setState({ phase: "online" });
    this.#options.welcome?.(frame, known && !frame.recovered);
    if (this.#watched.length > 0) this.#write({ type: "watch", users: [...this.#watched] });
    if (this.#away) this.#write({ type: "presence", status: "away" });
    for (const [conversation, seq] of this.#read) this.#write({ type: "receipt", kind: "read", with: conversation, seq });
    this.#sendNotBefore = 0;
    for (const entry of this.#outbox) entry.notBefore = 0;
    this.#pump();
  }

  /** Lets go of the socket: nothing of it is heard any more. */
  #detach(): Socket | undefined {
    const socket = this.#socket;
    this.#socket = undefined;
    this.#cancelTimer();
    this.#cancelLiveness();
    this.#cancelConfirm();
    this.#cancelPump();
    for (const entry of this.#outbox) entry.inFlight = false;
    if (socket) {
      socket.onopen =
        socket.onmessage =
        socket.onerror =
        socket.onclose =
          null;
    }
    return socket;
  }

  async #lost(code: number, reason: string, opened: boolean): Promise<void> {
    const wasOnline = this.state.phase === "online";
    this.#detach()?.close();
    this.#failRequests(new ChatError("offline", "The connection was lost"));
    const what = reconnectAfter(code);
    if (what === "never") return this.#end(code, wordsForClose(code, reason), true);
    let words = wordsForClose(code, reason);
    if (!opened && this.#options.explain) {
      const diagnosis = await this.#options.explain(reason);
      if (this.state.phase !== "connecting" || this.#socket) return;
      if (diagnosis?.fatal) return this.#end(code, diagnosis.reason, true);
      words = diagnosis?.reason ?? words;
    }
    if (wasOnline && this.#clock.now() - this.#onlineSince >= STABLE_MS) this.#attempts = 0;
    const delayMs = what === "now" && this.#attempts === 0 ? 0 : this.#backOff(this.#attempts);
    this.#attempts++;
    this.#cancelTimer = this.#clock.after(delayMs, () => void this.#dial());
    this.#setState({ phase: "waiting", reason: words, delayMs });
  }

  /** Milliseconds to wait after so many attempts: a random part, so that many clients do not come back as one. */
  #backOff(attempts: number): number {
    const most = Math.min(BACKOFF_MAX_MS, BACKOFF_FIRST_MS * 2 ** attempts);
    return Math.round((this.#options.random ?? Math.random)() * most);
  }

  #end(code: number, reason: string, act: boolean): void {
    this.#detach()?.close();
    this.#incoming = [];
    this.#setState({ phase: "closed", code, reason, act });
    const error = new ChatError("closed", reason);
    this.#failRequests(error);
    for (const { promise } of this.#outbox) promise.reject(error);
    for (const resolve of this.#settled.splice(0)) resolve();
    this.#ended.resolve();
  }

  #setState(state: State): void {
    this.state = state;
    this.#options.state?.(state);
  }

  // ---- In ----

  #frames(data: string): void {
    this.#stayAlive();
    const socket = this.#socket;
    for (const line of linesOf(data)) {
      const frame = parseServerFrame(line);
      if (!(frame instanceof Refusal) && this.#socket === socket) this.#frame(frame);
    }
  }

  #frame(frame: ServerFrame): void {
    if (frame.type === "welcome") return this.state.phase === "connecting" ? this.#welcomed(frame) : undefined;
    if (frame.type === "error") return this.#refusal(frame);
    if (this.state.phase !== "online") return;
    const { receipt, presence, typing, group } = this.#options;
    switch (frame.type) {
      case undefined:
        return this.#message(frame);
      case "synced":
        this.#incoming.push("synced");
        if (!this.#options.deaf) this.#received = Math.max(this.#received, frame.seq);
        return void this.#take();
      case "ack":
        return this.#acked(frame);
      case "receipt":
        return receipt?.(frame);
      case "presence":
        return presence?.(frame);
      case "typing":
        return typing?.(frame);
      case "group":
        return frame.id !== undefined && this.#requests.has(frame.id) ? this.#answer(frame.id, frame) : group?.(frame);
      case "history":
      case "conversations":
        if (frame.id !== undefined) this.#answer(frame.id, frame);
    }
  }

  #message(message: Message): void {
    if (this.#options.deaf) return;
    if (message.seq !== undefined) {
      if (message.seq <= this.#received) return;
      this.#received = message.seq;
    }
    this.#incoming.push(message);
    void this.#take();
  }

  /** Hands over one message after the other; one run at a time. */
  async #take(): Promise<void> {
    if (this.#taking) return;
    this.#taking = true;
    for (let entry; (entry = this.#incoming.shift()) !== undefined;) {
      if (entry === "synced") {
        if (this.#incoming.length === 0) this.#took(this.#received);
        this.#options.synced?.();
        continue;
      }
      const epoch = this.#epoch;
      const done = this.#options.message?.(entry as Required<Message> & { type?: undefined });
      if (done) await done;
      if (entry.seq !== undefined && epoch === this.#epoch) this.#took(entry.seq);
    }
    this.#taking = false;
  }

  #took(seq: number): void {
    if (seq <= this.#taken) return;
    this.#taken = seq;
    if (++this.#untold >= (this.#options.confirmEvery ?? CONFIRM_EVERY)) return this.#confirm();
    if (this.#untold > 1) return;
    this.#cancelConfirm();
    this.#cancelConfirm = this.#clock.after(CONFIRM_MS, () => this.#confirm());
  }

  /** Keeps the position first: what is confirmed must not come again. */
  #confirm(): void {
    this.#cancelConfirm();
    this.#untold = 0;
    if (this.#taken <= this.#confirmed) return;
    this.#save();
    if (this.state.phase !== "online") return;
    this.#confirmed = this.#taken;
    this.#write({ type: "ack", seq: this.#taken });
  }

  #stayAlive(): void {
    this.#cancelLiveness();
    this.#cancelLiveness = this.#clock.after(QUIET_MS, () => {
      this.#write({ type: "ping" });
      this.#cancelLiveness = this.#clock.after(PONG_MS, () => void this.#lost(0, "The server went silent", true));
    });
  }

  // ---- Out ----

  #queue(message: Message): Entry {
    const entry: Entry = {
      message: { ...message, id: message.id ?? crypto.randomUUID() },
      promise: Promise.withResolvers(),
      inFlight: false,
      notBefore: 0,
      tries: 0,
    };
    entry.promise.promise.catch(() => {}); // who does not wait for it is told by "refused"
    this.#outbox.push(entry);
    return entry;
  }

  /** Sends what may go: one message of each conversation at a time, so that a refusal cannot change their order. */
  #pump(): void {
    this.#cancelPump();
    if (this.state.phase !== "online") return;
    const now = this.#clock.now();
    const busy = new Set<string>();
    let next = Infinity;
    for (const entry of this.#outbox) {
      const { recipient } = entry.message;
      if (busy.has(recipient)) continue;
      busy.add(recipient);
      if (entry.inFlight) continue;
      const due = Math.max(entry.notBefore, this.#sendNotBefore);
      if (due > now) {
        next = Math.min(next, due);
        continue;
      }
      entry.inFlight = true;
      this.#write({ ...entry.message, sender: this.user });
    }
    if (next < Infinity) this.#cancelPump = this.#clock.after(next - now, () => this.#pump());
  }

  #acked(ack: Ack): void {
    const entry = this.#settle(ack.id);
    if (!entry) return;
    entry.promise.resolve(ack);
    this.#pump();
  }

  /** Takes a message out of the outbox. */
  #settle(id: string): Entry | undefined {
    const index = this.#outbox.findIndex(({ message }) => message.id === id);
    if (index < 0) return undefined;
    const [entry] = this.#outbox.splice(index, 1);
    this.#save();
    for (const resolve of this.#settled.splice(0)) resolve();
    return entry;
  }

  #refusal(error: ErrorFrame): void {
    const { id, retryable, retry_after_ms: wait } = error;
    const entry = id === undefined ? undefined : this.#outbox.find(({ message }) => message.id === id);
    if (entry) return retryable ? this.#later(entry, error) : this.#refuse(entry, error);
    const request = id === undefined ? undefined : this.#requests.get(id);
    if (request && error.code === "rate_limited") return this.#later(request, error);
    if (request) return this.#reject(id!, new ChatError(error.code, error.message));
    if (this.state.phase === "connecting" && !retryable) return this.#end(0, error.message, true);
    if (this.state.phase === "connecting" && error.code === "rate_limited") this.#helloAgain(wait ?? RETRY_MIN_MS);
    this.#options.refused?.(error, undefined, wait);
  }

  #later(what: Entry | Pending, error: ErrorFrame): void {
    const retryMs = Math.min(Math.max(error.retry_after_ms ?? this.#backOff(what.tries++), RETRY_MIN_MS), RETRY_MAX_MS);
    if ("frame" in what) return void this.#clock.after(retryMs, () => this.#ask(what));
    what.inFlight = false;
    what.notBefore = this.#clock.now() + retryMs;
    if (error.code === "rate_limited") this.#sendNotBefore = Math.max(this.#sendNotBefore, what.notBefore);
    this.#options.refused?.(error, what.message, retryMs);
    this.#pump();
  }

  #refuse(entry: Entry, error: ErrorFrame): void {
    this.#settle(entry.message.id);
    this.#options.refused?.(error, entry.message, undefined);
    entry.promise.reject(new ChatError(error.code, error.message));
    this.#pump();
  }

  #write(frame: ClientFrame): void {
    this.#socket?.send(encode(frame));
  }

  #save(): void {
    const { store } = this.#options;
    if (!store) return;
    const position = this.#epoch !== undefined && this.#taken >= 0 ? { epoch: this.#epoch, seq: this.#taken } : undefined;
    store.save({ position, outbox: this.outbox });
  }

  // ---- Requests ----

  async #request(frame: Extract<ClientFrame, { type: "history" | "group" | "conversations" }>): Promise<ServerFrame> {
    if (this.state.phase !== "online") throw new ChatError("offline", "There is no connection");
    const id = `q${++this.#nextRequest}`;
    const promise = Promise.withResolvers<ServerFrame>();
    const stop = this.#clock.after(REQUEST_MS, () => this.#reject(id, new ChatError("timeout", "The server did not answer")));
    const pending: Pending = { frame: { ...frame, id }, promise, stop, tries: 0 };
    this.#requests.set(id, pending);
    this.#ask(pending);
    return await promise.promise;
  }

  #ask(pending: Pending): void {
    if (pending.frame.type && "id" in pending.frame && this.#requests.has(pending.frame.id!)) this.#write(pending.frame);
  }

  #answer(id: string, frame: ServerFrame): void {
    const pending = this.#requests.get(id);
    if (!pending || pending.frame.type !== frame.type) return; // whoever asked would read it as something else
    this.#requests.delete(id);
    pending.stop();
    pending.promise.resolve(frame);
  }

  #reject(id: string, error: ChatError): void {
    const pending = this.#requests.get(id);
    if (!pending) return;
    this.#requests.delete(id);
    pending.stop();
    pending.promise.reject(error);
  }

  #failRequests(error: ChatError): void {
    for (const id of [...this.#requests.keys()]) this.#reject(id, error);
  }
}

// ---- Words and defaults -----------------------------------------------------------------------------------------------------

/** The conversation that a message belongs to, as `me` sees it. */
export function conversationOf(message: Message, me: string): string {
  return isGroup(message.recipient) || message.sender === me ? message.recipient : message.sender;
}

/** The conversation whose marks a receipt moves, as `me` sees it; `own` for my own read mark from another device. */
export function conversationOfReceipt(
  { user, with: other }: ServerFrameOf<"receipt">,
  me: string,
): { readonly conversation: string; readonly own: boolean } {
  if (user === me) return { conversation: other, own: true };
  return { conversation: isGroup(other) ? other : user, own: false };
}

/** What happened, in words: the server's own where it gave some. */
function wordsForClose(code: number, reason: string): string {
  if (reason !== "") return reason;
  if (code === CLOSE_CODES.bye.code) return "The server ended the session";
  const known = Object.values(CLOSE_CODES).find((entry) => entry.code === code);
  return known ? known.meaning : "The connection was lost";
}

function messageOf(event: Event): string {
  return "message" in event && typeof event.message === "string" ? event.message : "";
}

function withoutPosition(message: Message): Message {
  const { seq: _, ...rest } = message;
  return rest;
}

/** Browsers cannot set headers on a WebSocket: the token goes as a subprotocol, and never into the address. */
function openWebSocket(url: string, token: string | undefined): Socket {
  return new WebSocket(url, token === undefined ? [] : ["parley", `bearer.${token}`]);
}

const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
