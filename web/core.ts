/**
 * The one connection of this browser: a {@linkcode ChatClient} in the tab that leads, what it keeps, and what it tells all tabs.
 */

import {
  ChatClient,
  type ChatError,
  conversationOf,
  conversationOfReceipt,
  type Diagnosis,
  type Saved,
  type State,
} from "../chat_client.ts";
import { type ErrorFrame, type Message, type ServerFrameOf, WATCHED_USERS_MAX } from "../protocol.ts";
import { type Account, keepAccount, nameIn, renameDevice, takeSpare } from "./account.ts";
import { IS_SECURE } from "./place.ts";
import { isStored, positionKey, type Store } from "./store.ts";
import type { Call, Connection, Listed, Marks, Snapshot, Stored, Told, Waiting } from "./tabs/words.ts";

/** Milliseconds in which messages that came are written together. */
const WRITE_MS = 50;
/** Close code for a device that connected elsewhere. */
const REPLACED = 4009;
/** Milliseconds in which a tab learns that another has taken the lead from it. */
const REPLACED_MS = 1_000;
/** Close codes after which another token helps. */
const TOKEN_CODES = [4001, 4003];
/** Reason where the server would let this page in: a request of it does not say the page's address, as its socket does. */
const NO_SOCKET =
  "The server is there, but no WebSocket gets through to it. If it stays so, a proxy in between has to pass them on, " +
  `or the server's --allow-origin to name ${location.origin}`;
/** Conversations in the list. */
const CONVERSATIONS_MAX = 500;

type Timer = ReturnType<typeof setTimeout> | undefined;

/** Connected, for all tabs. Call {@linkcode Core.start} once. */
export class Core {
  readonly #tell: (told: Told) => void;
  readonly #store: Store;
  #account: Account;
  #device: string;
  #client: ChatClient | undefined;
  #connection: Connection = { phase: "connecting" };
  #isStopped = false;

  readonly #waiting = new Map<string, Waiting>();
  readonly #presence = new Map<string, ServerFrameOf<"presence">>();
  readonly #marks: Record<string, Marks> = {};
  #watched: string[] = [];
  #isAway = false;
  #isLive = false;
  /** Epoch of the log that what is kept belongs to. */
  #epoch: string | undefined;

  /** The token that the server refused, with its words. */
  #refused: { readonly token: string | undefined; readonly reason: string } | undefined;
  #givenToken: (() => void) | undefined;

  #unwritten: { with: string; message: Stored }[] = [];
  #writeTimer: Timer;
  #writing: Promise<void> = Promise.resolve();

  constructor(account: Account, device: string, store: Store, tell: (told: Told) => void) {
    this.#account = account;
    this.#device = device;
    this.#store = store;
    this.#tell = tell;
  }

  /** Loads what is kept and connects. */
  async start(): Promise<void> {
    const { user } = this.#account;
    const position = await this.#store.value<Saved["position"]>(positionKey(user, this.#device));
    for (const waiting of await this.#store.waiting(user, this.#device)) this.#waiting.set(waiting.id, waiting);
    this.#epoch = position?.epoch;
    if (!this.#isStopped) this.#connect(position);
  }

  /** Ends the connection and forgets everything, as at the end of a session. */
  async forget(): Promise<void> {
    this.#isStopped = true;
    this.#store.close();
    this.#waiting.clear();
    await this.#client?.forget();
  }

  /** Ends the connection, with a goodbye. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#client?.close();
    await this.#flush();
  }

  /** Does what a tab asks for. Rejects with an error in words. */
  async perform(call: Call): Promise<unknown> {
    switch (call.do) {
      case "snapshot":
        return this.#snapshot();
      case "send":
        return this.#send(call.waiting);
      case "retry":
        return await this.#retry(call.id);
      case "drop":
        return await this.#drop(call.id);
      case "read":
        return this.#read(call);
      case "typing":
        return this.#client?.typing(call.to);
      case "watch":
        return this.#watch(call.users);
      case "away":
        this.#isAway = call.isAway;
        this.#client?.setAway(call.isAway);
        return this.#tell({ is: "away", isAway: call.isAway });
      case "look":
        return this.#client?.lookNow();
      case "reconnect":
        return this.#reconnect();
      case "token":
        return this.#takeToken(call.token);
      case "history":
        return await this.#client!.history(call.query);
      case "group":
        return await this.#client!.group(call.query);
      case "conversations":
        return await this.#conversations();
    }
  }

  /** Returns the list: one answer of the server may have the first of it only. */
  async #conversations(): Promise<Listed> {
    const listed: Listed[number][] = [];
    while (true) {
      const last = listed.at(-1);
      const after = last && { before: last.seq, ...last.seq === 0 ? { with: last.with } : {} };
      const { conversations, more } = await this.#client!.conversations({ limit: CONVERSATIONS_MAX - listed.length, ...after });
      listed.push(...conversations);
      if (!more || conversations.length === 0 || listed.length >= CONVERSATIONS_MAX) return listed;
    }
  }

  #snapshot(): Snapshot {
    return {
      connection: this.#connection,
      limits: this.#client?.welcome?.limits,
      waiting: [...this.#waiting.values()],
      presence: [...this.#presence.values()],
      marks: this.#marks,
      isAway: this.#isAway,
    };
  }

  // ---- The connection ----

  #connect(position: Saved["position"]): void {
    const outbox = [...this.#waiting.values()].filter(({ isRefused }) => !isRefused);
    const { user } = this.#account;
    const client = this.#client = new ChatClient({
      url: new URL("ws", document.baseURI).href.replace(/^http/, "ws"),
      name: user,
      device: this.#device,
      token: () => this.#token(),
      allMarkers: true,
      store: {
        load: () => ({
          position,
          outbox: outbox.map(({ id, recipient, content }) => ({ sender: user, recipient, content, id })),
        }),
        save: (saved) => this.#save(saved),
      },
      explain: () => this.#explain(),
      message: (message) => this.#received(message),
      receipt: (frame) => this.#receipt(frame),
      presence: (frame) => {
        this.#presence.set(frame.user, frame);
        this.#tell({ is: "frame", frame });
      },
      typing: (frame) => this.#tell({ is: "frame", frame }),
      group: (frame) => this.#tell({ is: "frame", frame }),
      state: (state) => this.#changed(client, state),
      welcome: (frame, missed) => this.#welcomed(frame, missed),
      synced: () => this.#isLive = true,
      refused: (error, message, retryMs) => this.#notTaken(error, message, retryMs),
    });
    for (const { id } of outbox) this.#follow(id, client.acked(id));
    if (this.#isAway) client.setAway(true);
    client.connect();
  }

  /** Connects anew after an end that needed somebody. */
  #reconnect(): void {
    if (this.#connection.phase === "waiting") return this.#client?.retryNow();
    if (this.#connection.phase === "closed" && !this.#isStopped) this.#restart();
  }

  #restart(): void {
    void this.#flush().then(async () => {
      const position = await this.#store.value<Saved["position"]>(positionKey(this.#account.user, this.#device));
      if (this.#connection.phase === "closed" && !this.#isStopped) this.#connect(position);
    });
  }

  #changed(client: ChatClient, state: State): void {
    if (this.#client !== client || this.#isStopped) return;
    if (state.phase !== "online") this.#isLive = false;
    if (state.phase === "waiting") {
      const { reason, delayMs } = state;
      return this.#setConnection({ phase: "waiting", reason, until: Date.now() + delayMs });
    }
    if (state.phase !== "closed") return this.#setConnection({ phase: state.phase });
    const { code, reason } = state;
    if (TOKEN_CODES.includes(code) && this.#account.token !== undefined) {
      this.#refused = { token: this.#account.token, reason };
      this.#connection = { phase: "closed", code, reason };
      return this.#restart();
    }
    this.#connection = { phase: "closed", code, reason };
    // Another tab may have taken the lead while this one was frozen: it is told in a moment, and then this one is stopped.
    const tell = () => !this.#isStopped && this.#client === client && this.#setConnection(this.#connection);
    if (code === REPLACED && IS_SECURE) setTimeout(tell, REPLACED_MS);
    else tell();
    // Tabs that do not share a connection are devices of their own; one that was duplicated has the other's name.
    if (code === REPLACED && !IS_SECURE) {
      this.#device = renameDevice();
      this.#restart();
    }
  }

  #setConnection(connection: Connection): void {
    this.#connection = connection;
    this.#tell({ is: "connection", connection, limits: this.#client?.welcome?.limits });
  }

  #welcomed(frame: ServerFrameOf<"welcome">, missed: boolean): void {
    const isOtherLog = this.#epoch !== undefined && this.#epoch !== frame.epoch;
    this.#epoch = frame.epoch;
    if (isOtherLog) {
      for (const user in this.#marks) delete this.#marks[user];
      this.#unwritten = [];
      this.#queue(() => this.#store.clearMessages(this.#account.user));
    }
    this.#isLive = false;
    this.#refused = undefined;
    this.#tell({ is: "welcome", missed, isOtherLog });
  }

  // ---- The token ----

  /** Resolves with the token to try next: waits for another where the server refused this one. */
  async #token(): Promise<string | undefined> {
    while (this.#refused && this.#refused.token === this.#account.token) {
      const { reason } = this.#refused;
      const spare = takeSpare(this.#account.user);
      if (spare !== undefined) {
        this.#account = { ...this.#account, token: spare };
        keepAccount(this.#account);
        continue;
      }
      const given = new Promise<void>((resolve) => this.#givenToken = resolve);
      this.#setConnection({ phase: "token", reason });
      await given;
      this.#setConnection({ phase: "connecting" });
    }
    return this.#account.token;
  }

  /** Goes on with a token, or where none is given with the spare one, if it waits for one. */
  #takeToken(token: string | undefined): void {
    if (token !== undefined && nameIn(token) !== this.#account.user) return;
    if (token !== undefined) this.#account = { ...this.#account, token };
    this.#givenToken?.();
    if (this.#connection.phase === "closed") this.#restart();
  }

  /** Asks the server why there is no socket: a page does not see the answer to an upgrade. */
  async #explain(): Promise<Diagnosis> {
    const { token } = this.#account;
    const headers = { accept: "application/json", ...token === undefined ? {} : { authorization: `Bearer ${token}` } };
    try {
      const response = await fetch(new URL("ws", document.baseURI), { headers, cache: "no-store" });
      if (response.status === 426) return { reason: NO_SOCKET, fatal: false };
      const reason = await wordsOf(response);
      if (token !== undefined && (response.status === 401 || response.status === 403)) this.#refused = { token, reason };
      return { reason, fatal: false };
    } catch {
      return { reason: navigator.onLine ? "The server cannot be reached" : "This device is offline", fatal: false };
    }
  }

  // ---- In ----

  #received(message: Message): void {
    if (!isStored(message)) return;
    this.#tell({ is: "message", message, isLive: this.#isLive });
    this.#write(message);
  }

  #receipt(frame: ServerFrameOf<"receipt">): void {
    const { conversation } = conversationOfReceipt(frame, this.#account.user);
    const marks = ownOf(this.#marks, conversation) ?? {};
    this.#marks[conversation] = { ...marks, [frame.user]: moved(ownOf(marks, frame.user), frame) };
    this.#tell({ is: "frame", frame });
  }

  /** Watches these users too, as tabs look at different ones; the latest are kept where there are too many. */
  #watch(users: readonly string[]): void {
    const watched = [...new Set([...this.#watched.filter((user) => !users.includes(user)), ...users])].slice(
      -WATCHED_USERS_MAX,
    );
    if (watched.length === this.#watched.length && watched.every((user) => this.#watched.includes(user))) return;
    this.#watched = watched;
    this.#client?.watch(watched);
  }

  #read({ with: other, seq, isPrivate }: Extract<Call, { do: "read" }>): void {
    this.#client?.markRead(other, seq, isPrivate);
    const ts = new Date().toISOString();
    this.#receipt({ type: "receipt", kind: "read", user: this.#account.user, with: other, seq, ts });
  }

  // ---- Out ----

  #send(waiting: Waiting): void {
    if (this.#waiting.has(waiting.id)) return;
    this.#waiting.set(waiting.id, waiting);
    this.#tell({ is: "waiting", waiting });
    const { id, recipient, content } = waiting;
    const client = this.#client;
    if (client) this.#follow(id, client.send(recipient, content, id).acked);
  }

  #follow(id: string, acked: Promise<{ readonly seq: number; readonly ts: string }> | undefined): void {
    acked?.then(({ seq, ts }) => this.#sent(id, seq, ts), (error: ChatError) => {
      // What was refused is told by the listener; everything else is sent with the next connection.
      if (error.code === "dropped") this.#forget(id);
    });
  }

  #sent(id: string, seq: number, ts: string): void {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    const { recipient, content } = waiting;
    const message: Stored = { sender: this.#account.user, recipient, content, id, seq, ts };
    this.#waiting.delete(id);
    this.#write(message);
    this.#queue(() => this.#store.dropWaiting(id));
    this.#tell({ is: "sent", id, message });
  }

  #notTaken(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): void {
    const waiting = message?.id === undefined ? undefined : this.#waiting.get(message.id);
    if (!waiting) return this.#tell({ is: "notice", text: error.message });
    const { why: _, ...rest } = waiting;
    this.#replace({ ...rest, why: error.message, isRefused: retryMs === undefined });
  }

  #replace(waiting: Waiting): void {
    this.#waiting.set(waiting.id, waiting);
    this.#queue(() => this.#store.putWaiting(this.#account.user, this.#device, waiting));
    this.#tell({ is: "waiting", waiting });
  }

  /** Sends again, under the same id: however often this is asked for, the message is stored once. */
  async #retry(id: string): Promise<void> {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    if (!waiting.isRefused) {
      this.#client?.retryNow();
      return this.#client?.retry(id);
    }
    const { id: _, recipient, content, at } = waiting;
    this.#replace({ id, recipient, content, at });
    const client = this.#client;
    if (client) this.#follow(id, client.send(recipient, content, id).acked);
    await this.#writing;
  }

  async #drop(id: string): Promise<void> {
    const waiting = this.#waiting.get(id);
    if (!waiting) return;
    if (!waiting.isRefused) this.#client?.drop(id);
    this.#forget(id);
    await this.#writing;
  }

  #forget(id: string): void {
    if (!this.#waiting.delete(id)) return;
    this.#queue(() => this.#store.dropWaiting(id));
    this.#tell({ is: "dropped", id });
  }

  // ---- Writing ----

  #write(message: Stored): void {
    this.#unwritten.push({ with: conversationOf(message, this.#account.user), message });
    this.#writeTimer ??= setTimeout(() => void this.#flush(), WRITE_MS);
  }

  /** Writes the position after the messages before it, so that what is kept has no holes. */
  #save({ position }: Saved): void {
    if (!position) return;
    void this.#flush();
    this.#queue(() => this.#store.putValue(positionKey(this.#account.user, this.#device), position));
  }

  async #flush(): Promise<void> {
    clearTimeout(this.#writeTimer);
    this.#writeTimer = undefined;
    const entries = this.#unwritten.splice(0);
    if (entries.length > 0) this.#queue(() => this.#store.keep(this.#account.user, entries));
    await this.#writing;
  }

  #queue(write: () => Promise<void>): void {
    this.#writing = this.#writing.then(write);
  }
}

/** Returns what a record has itself under a name: people may be called `constructor`, which every object knows. */
export function ownOf<T>(record: Readonly<Record<string, T>>, name: string): T | undefined {
  return Object.hasOwn(record, name) ? record[name] : undefined;
}

/** Moves the markers of a user. */
export function moved(
  before: Marks[string] = { delivered: -1, read: -1 },
  { kind, seq }: ServerFrameOf<"receipt">,
): Marks[string] {
  if (kind === "delivered") return { ...before, delivered: Math.max(before.delivered, seq) };
  return { delivered: Math.max(before.delivered, seq), read: Math.max(before.read, seq) };
}

async function wordsOf(response: Response): Promise<string> {
  try {
    const { message } = await response.json();
    if (typeof message === "string") return message;
  } catch { /* a proxy answers in its own way */ }
  return `The server answered with status ${response.status}`;
}
