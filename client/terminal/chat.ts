/** The client on a terminal: connects what is typed with the chat client, and what arrives with the screen. */

import { type ChatClient, ChatError, type Listeners, type State } from "../../chat_client.ts";
import { type ErrorFrame, isGroup, type Message, WATCHED_USERS_MAX } from "../../protocol.ts";
import { type ChatCommandName, complete, helpLines, isForView, parseInput } from "./commands.ts";
import { ChatCommands } from "./chat_commands.ts";
import { IgnoredFile } from "./ignored.ts";
import { Chats, mentions } from "./model.ts";
import { MutedFile } from "./muted.ts";
import { ReceiptsFile } from "./receipts.ts";
import { ignoredUnread } from "./unread.ts";
import { toContent } from "./paste.ts";
import { Recall } from "./recall.ts";
import { EXIT } from "../exit.ts";
import { openClient, type RunContext } from "../open.ts";
import { onSignal, statusOf } from "../signals.ts";
import { within } from "../within.ts";
import { MISSED_WORDS, stateWords } from "../words.ts";
import { sanitize } from "../sanitize.ts";
import { PlainScreen, Screen, type Surface } from "./screen.ts";
import { addressOf } from "../settings.ts";
import { styleFor } from "./style.ts";
import { ChatDisplay } from "./display.ts";

/** Milliseconds between two typing signals: the server believes each for a while. */
const TYPING_EVERY_MS = 3_000;
/** Milliseconds between two updates of the prompt, in which a typing signal may have run out. */
const PROMPT_EVERY_MS = 2_000;
/** Milliseconds that leaving waits for acks at most. */
const LEAVE_MS = 3_000;
/** Milliseconds after which leaving says what it waits for. */
const LEAVE_QUIET_MS = 200;

/** Messages that ring: all, direct ones and mentions, or none. */
export type NotifyChoice = "all" | "dm" | "none";

/** Options of the chat on a terminal. */
export interface ChatViewOptions {
  readonly to: string | undefined;
  readonly last: number | undefined;
  /** Undefined: as the person decided the last time. */
  readonly receipts: boolean | undefined;
  readonly notify: NotifyChoice;
  readonly color: boolean;
  /** Never redraws. */
  readonly plain: boolean;
}

/** Chats until the person leaves. Returns the exit status. */
export async function runChat(context: RunContext, options: ChatViewOptions): Promise<number> {
  const to = options.to === undefined ? undefined : addressOf(options.to.replace(/^@/, ""), "--to");
  const chat = new TerminalChat(context, options);
  await using open = await openClient(context, "chat", {
    ...(options.last === undefined ? {} : { last: options.last }),
    allMarkers: true,
    ...chat.listeners,
  });
  return await chat.run(open.client, open.device.folder, to);
}

class TerminalChat {
  readonly chats = new Chats();
  readonly listeners: Listeners;
  readonly #context: RunContext;
  readonly #options: ChatViewOptions;
  readonly #recall: Recall;
  readonly #end = Promise.withResolvers<number>();
  #client!: ChatClient;
  #screen!: Surface;
  #display!: ChatDisplay;
  #commands!: ChatCommands;
  readonly #leaveNow = Promise.withResolvers<void>();
  #isLeaving = false;
  #wasOnline = false;
  #epoch: string | undefined;
  #wasSynced = false;
  #watched = "";
  #lastTyping = -Infinity;
  /** Number of waiting messages that the person was told of when they wanted to leave. */
  #wasWarned = 0;

  constructor(context: RunContext, options: ChatViewOptions) {
    this.#context = context;
    this.#options = options;
    this.#recall = new Recall(context.folders.state);
    this.chats.isCaughtUp = false;
    this.listeners = {
      message: (message) => this.#received(message),
      receipt: (receipt) => this.#changed(() => this.chats.receipt(receipt)),
      typing: (typing) => this.#changed(() => this.chats.typing(typing, performance.now())),
      presence: ({ user, status, last_seen: lastSeen }) =>
        this.#changed(() => this.chats.presence.set(user, { status, ...(lastSeen === undefined ? {} : { lastSeen }) })),
      group: (notice) => this.#display.notice(this.#commands.groupNotice(notice)),
      state: (state) => this.#stateChanged(state),
      welcome: ({ epoch }, missed) => this.#welcomed(epoch, missed),
      synced: () => void this.#caughtUp(),
      refused: (error, message, retryMs) => this.#refused(error, message, retryMs),
    };
  }

  async run(client: ChatClient, folder: string, to: string | undefined): Promise<number> {
    const files = { ignored: new IgnoredFile(folder), receipts: new ReceiptsFile(folder), muted: new MutedFile(folder) };
    this.#client = client;
    this.chats.receipts = this.#options.receipts ?? files.receipts.load();
    this.chats.me = client.user;
    this.chats.ignored = files.ignored.load();
    this.chats.muted = files.muted.load();
    this.#screen = new (this.#options.plain ? PlainScreen : Screen)({
      recall: this.#recall.load(),
      line: (line) => this.#line(line),
      key: () => this.#key(),
      end: () => this.#askedToEnd(),
      mayEnd: () => this.#mayEnd(),
      shortcut: (key) => this.#shortcut(key),
      complete: (line) =>
        complete(line, {
          names: this.chats.names(),
          people: this.chats.people(),
          groups: this.chats.names().filter((name) => isGroup(name)),
        }),
    });
    const restore = this.#restoreAtEnd();
    this.#display = new ChatDisplay(this.#screen, this.chats, styleFor(this.#options.color));
    const quit = () => this.#askedToEnd();
    this.#commands = new ChatCommands(client, this.chats, files, this.#display, this.#screen, quit);
    const ticking = setInterval(() => this.#showPrompt(), PROMPT_EVERY_MS);
    try {
      const waiting = client.outbox.length;
      if (waiting > 0) this.#display.notice(`Messages from the last time that are still to be sent: ${waiting}`);
      for (const message of client.outbox) this.#follow(message as Message & { id: string });
      if (to !== undefined) this.#commands.openWhenOnline(to);
      this.#showPrompt();
      client.connect();
      const code = await this.#end.promise;
      if (code === EXIT.ok) await this.#leave();
      return code;
    } finally {
      clearInterval(ticking);
      restore();
    }
  }

  /** Restores the terminal at the end, whether a signal, an exception or the end of the process. Returns what does it now. */
  #restoreAtEnd(): () => void {
    const close = () => this.#screen.close();
    const crash = (event: Event) => {
      event.preventDefault();
      close();
      const error = event instanceof ErrorEvent ? event.error : (event as PromiseRejectionEvent).reason;
      console.error(
        `chat-client: this is a defect of the program: ${sanitize(String(error?.stack ?? error), { multiline: true })}`,
      );
      Deno.exit(EXIT.refused);
    };
    const off = onSignal((signal) => this.#end.resolve(statusOf(signal)));
    globalThis.addEventListener("error", crash);
    globalThis.addEventListener("unhandledrejection", crash);
    globalThis.addEventListener("unload", close);
    return () => {
      close();
      off();
      globalThis.removeEventListener("error", crash);
      globalThis.removeEventListener("unhandledrejection", crash);
      globalThis.removeEventListener("unload", close);
    };
  }

  /** Waits for what was typed a moment ago to be sent, unless asked a second time to end. */
  async #leave(): Promise<void> {
    const waiting = this.#client.outbox.length;
    if (waiting === 0 || this.#client.state.phase !== "online") return;
    const told = setTimeout(() => {
      this.#display.notice(
        `Sending what waits (${this.#client.outbox.length}); Ctrl-C leaves at once, and it goes out the next time`,
      );
    }, LEAVE_QUIET_MS);
    await within(Promise.race([this.#client.flushed(), this.#leaveNow.promise]), LEAVE_MS);
    clearTimeout(told);
  }

  #askedToEnd(): void {
    if (this.#isLeaving) this.#leaveNow.resolve();
    this.#isLeaving = true;
    this.#end.resolve(EXIT.ok);
  }

  // ---- Keys ----

  /** Returns whether to leave: where messages wait for a connection, only when asked again. */
  #mayEnd(): boolean {
    const waiting = this.#client.outbox.length;
    if (waiting === 0 || this.#client.state.phase === "online" || this.#wasWarned === waiting) return true;
    this.#wasWarned = waiting;
    const words = waiting === 1 ? "A message waits" : `${waiting} messages wait`;
    this.#display.notice(`${words} to be sent: Ctrl-C again leaves, and what waits goes out the next time`);
    return false;
  }

  #shortcut(key: string): boolean {
    const open = key === "a"
      ? this.#commands.openNext()
      : /^[1-9]$/.test(key)
      ? this.#commands.openNumber(Number(key))
      : undefined;
    open?.catch((error) => this.#failed(error)).finally(() => this.#showPrompt());
    return open !== undefined;
  }

  // ---- Typed lines ----

  #line(line: string): void {
    const input = parseInput(toContent(line));
    if (input.kind !== "nothing") this.#recall.add(line);
    switch (input.kind) {
      case "nothing":
        this.#client.retryNow();
        break;
      case "text":
        if (this.chats.current !== undefined) this.#send(this.chats.current, input.text);
        else this.#display.warning("There is no conversation in view: write @NAME TEXT, or open one with /to NAME", line);
        break;
      case "message":
        this.#send(input.to, input.text);
        break;
      case "wrong":
        this.#display.warning(input.why, line);
        break;
      case "command":
        this.#runCommand(input.name, input.rest);
    }
    this.#showPrompt();
  }

  #runCommand(name: ChatCommandName, rest: string): void {
    if (name === "help") return this.#display.notice(helpLines(rest, this.#screen.columns).join("\n"));
    const send = (recipient: string, text: string) => this.#send(recipient, text);
    this.#commands.run(name, rest, send).catch((error) => this.#failed(error));
  }

  /** Shows why a command failed; anything but a {@linkcode ChatError} is a defect, and thrown again. */
  #failed(error: unknown): void {
    if (!(error instanceof ChatError)) throw error;
    this.#display.warning(error.code === "offline" ? "That needs a connection, and there is none now" : error.message);
  }

  #send(recipient: string, text: string): void {
    if (text.trim() === "") return;
    const tooLarge = this.#client.tooLarge(recipient, text);
    if (tooLarge !== undefined) {
      return this.#display.warning(`Not sent to ${recipient}: ${tooLarge}. Up brings it back, to be made shorter`, text);
    }
    const { message } = this.#client.send(recipient, text);
    const status = this.#client.state.phase === "online" ? undefined : "waiting";
    if (!this.#screen.keepsTyped) this.#display.message(message, "view", status);
    this.#follow(message);
  }

  /** Follows the status of an own message. */
  #follow(message: Message & { readonly id: string }): void {
    this.chats.sent(message);
    this.#client.acked(message.id)?.then(
      ({ seq }) => this.#changed(() => this.chats.acked(message.recipient, message.id, seq)),
      () => this.#changed(() => this.chats.refused(message.recipient, message.id)),
    );
  }

  #key(): void {
    const { current } = this.chats;
    const now = performance.now();
    if (current === undefined || now - this.#lastTyping < TYPING_EVERY_MS) return;
    if (!isForView(this.#screen.line)) return;
    this.#lastTyping = now;
    this.#client.typing(current);
  }

  // ---- Events ----

  #received(message: Message): void {
    const { conversation, placement, isSeen } = this.chats.received(message);
    this.#watch();
    // Messages missed before the first view are part of its history, or counted at the end.
    if (!this.#wasSynced && this.chats.current !== undefined) return;
    if (placement !== "nowhere") this.#display.message(message, placement);
    if (isSeen && message.seq !== undefined) this.#client.markRead(conversation, message.seq, !this.chats.receipts);
    if (placement !== "nowhere" && message.sender !== this.chats.me) this.#ring(message);
    this.#showPrompt();
  }

  #ring(message: Message): void {
    const { notify } = this.#options;
    if (notify === "none" || !this.chats.isCaughtUp) return;
    const matters = !isGroup(message.recipient) || mentions(message.content, this.chats.me);
    if (notify === "all" || matters) this.#display.ring(message);
  }

  #welcomed(epoch: string, missed: boolean): void {
    if (this.#epoch !== undefined && this.#epoch !== epoch) this.chats.startOver();
    this.#epoch = epoch;
    if (missed) this.#display.warning(MISSED_WORDS);
  }

  /** Loads counts and groups from the server when everything missed has arrived, and fills the first view. */
  async #caughtUp(): Promise<void> {
    const first = !this.#wasSynced;
    this.chats.isCaughtUp = this.#wasSynced = true;
    try {
      const [{ conversations }, { groups = [] }] = await Promise.all([
        this.#client.conversations(WATCHED_USERS_MAX),
        this.#client.group({ op: "list" }),
      ]);
      this.chats.load(conversations);
      for (const { group } of groups) this.chats.groups.add(group);
      const ofIgnored = await ignoredUnread(this.#client, conversations, this.chats.ignored);
      for (const [group, count] of ofIgnored) this.chats.takeOff(group, count);
      this.#watch();
      const { current } = this.chats;
      if (current !== undefined && this.#commands.isToOpen(current)) await this.#commands.open(current);
    } catch (error) {
      // Nobody asked for this, and the next connection loads it again.
      if (!(error instanceof ChatError && error.code === "offline")) this.#failed(error);
    }
    if (first) this.#display.unread();
    this.#showPrompt();
  }

  #watch(): void {
    const people = this.chats.people().slice(0, WATCHED_USERS_MAX);
    if (people.join() === this.#watched) return;
    this.#watched = people.join();
    this.#client.watch(people);
  }

  #refused(error: ErrorFrame, message: Message | undefined, retryMs: number | undefined): void {
    if (!message) {
      // Typing signals and the like may exceed the rate; nobody misses them.
      if (error.code !== "rate_limited") this.#display.warning(error.message);
    } else if (retryMs === undefined) {
      this.#display.warning(`Not sent to ${message.recipient}: ${error.message}`, message.content);
    } else if (error.code !== "rate_limited") {
      this.#display.warning(`Waiting to send to ${message.recipient}: ${error.message}`);
    }
  }

  #stateChanged(state: State): void {
    const words = stateWords(state, this.#context.account.server);
    if (state.phase === "online") {
      this.chats.me = this.#client.user;
      this.#display.notice(this.#wasOnline ? "Connected again" : `${words} as ${this.chats.me}. /help lists what can be done`);
      this.#wasOnline = true;
      this.#display.stateGood();
    } else if (state.phase === "waiting") {
      this.chats.isCaughtUp = false;
      this.chats.presence.clear(); // it is unknown until there is a connection again
      this.#display.stateWarning(words);
    } else if (state.phase === "closed" && state.needsUser) {
      this.#display.warning(words);
      this.#end.resolve(EXIT.refused);
    }
    this.#showPrompt();
  }

  #changed(change: () => void): void {
    change();
    this.#showPrompt();
  }

  #showPrompt(): void {
    this.#display?.prompt(this.#client.state.phase);
  }
}
