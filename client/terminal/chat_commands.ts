/** The commands of the chat at work. */

import { type ChatClient, ChatError } from "../../chat_client.ts";
import { isGroup, parseAddress, parseName, Refusal, type ServerFrameOf, WATCHED_USERS_MAX } from "../../protocol.ts";
import { groupAnswer, parseGroupCommand } from "./group_command.ts";
import { OutboxList } from "./outbox_list.ts";
import type { ReceiptsFile } from "./receipts.ts";
import { CHAT_COMMANDS, type ChatCommandName } from "./commands.ts";
import type { ChatDisplay } from "./display.ts";
import type { IgnoredFile } from "./ignored.ts";
import type { Chats } from "./model.ts";
import { runMute } from "./mute_command.ts";
import type { MutedFile } from "./muted.ts";
import { SearchCommand } from "./search_command.ts";
import { gather } from "../history.ts";
import { sanitize } from "../sanitize.ts";
import type { Surface } from "./screen.ts";
import { clock, dayOf } from "./view.ts";

/** Messages that opening a conversation shows at least. */
const HISTORY_SHOWN = 50;
/** Messages that `/history` shows at most; `chat-client history` is for more. */
const HISTORY_MAX = 5_000;

type Send = (recipient: string, text: string) => void;

/** Files that keep what the person decided. */
export interface DecisionFiles {
  readonly ignored: IgnoredFile;
  readonly receipts: ReceiptsFile;
  readonly muted: MutedFile;
}

/** Runs the commands of the chat. */
export class ChatCommands {
  readonly #client: ChatClient;
  readonly #chats: Chats;
  readonly #files: DecisionFiles;
  readonly #outbox: OutboxList;
  readonly #search: SearchCommand;
  readonly #display: ChatDisplay;
  readonly #screen: Surface;
  readonly #quit: () => void;
  /** Conversation to open with the next connection. */
  #toOpen: string | undefined;

  constructor(
    client: ChatClient,
    chats: Chats,
    files: DecisionFiles,
    display: ChatDisplay,
    screen: Surface,
    quit: () => void,
  ) {
    this.#client = client;
    this.#chats = chats;
    this.#files = files;
    this.#outbox = new OutboxList(client);
    this.#search = new SearchCommand(client, chats, display);
    this.#display = display;
    this.#screen = screen;
    this.#quit = quit;
  }

  /** Runs a command. Rejects with a `ChatError` where the server does not do what it is asked. */
  async run(name: Exclude<ChatCommandName, "help">, rest: string, send: Send): Promise<void> {
    if (CHAT_COMMANDS[name].args === "" && rest !== "") {
      return this.#display.warning(`/${name} takes nothing behind it, so nothing was done`);
    }
    switch (name) {
      case "to":
        return await this.#to(rest, send);
      case "reply":
        return await this.#reply(rest, send);
      case "list":
        return this.#list();
      case "who":
        return this.#who(rest);
      case "history":
        return await this.#history(rest);
      case "search":
        return await this.#search.run(rest);
      case "msg":
        return this.#message(rest, send);
      case "show":
        return this.#showWhole(rest);
      case "mute":
        return runMute(rest, this.#chats, this.#files.muted, this.#display);
      case "group":
        return await this.#group(rest);
      case "ignore":
        return this.#ignore(rest);
      case "receipts":
        return this.#receipts(rest);
      case "away":
        return this.#away(rest);
      case "outbox":
        return this.#showOutbox(rest);
      case "clear":
        return this.#screen.clear();
      case "quit":
        return this.#quit();
    }
  }

  /** Brings a conversation into view, and leaves loading its history for when there is a connection. */
  openWhenOnline(name: string): void {
    this.#toOpen = name;
    this.#chats.open(name);
  }

  /** Returns whether the history of a conversation is still to be loaded. */
  isToOpen(name: string): boolean {
    return this.#toOpen === name;
  }

  /** Brings a conversation into view, with its latest messages. Rejects with a `ChatError`. */
  async open(name: string): Promise<void> {
    this.#toOpen = undefined;
    const { current } = this.#chats;
    const { unread } = this.#chats.get(name);
    this.#chats.open(name);
    this.#display.prompt(this.#client.state.phase);
    if (this.#client.state.phase !== "online") {
      this.#toOpen = name;
      return this.#display.notice(`=== ${sanitize(name)} === (its history comes with the connection)`);
    }
    try {
      await this.#show(name, Math.max(HISTORY_SHOWN, Math.min(unread, HISTORY_MAX)), unread);
    } catch (error) {
      const isThere = !(error instanceof ChatError) || !NOT_THERE.has(error.code);
      if (!isThere && this.#chats.current === name && current !== name) this.#closeView(name);
      throw error;
    }
  }

  /** Closes the view where another one was asked for and is not there: the next line must not go to whoever was in view before. */
  #closeView(name: string): void {
    if (this.#chats.current === undefined) return;
    this.#chats.open(undefined);
    this.#display.notice(`No conversation is in view, as ${sanitize(name)} could not be opened`);
  }

  /** Takes a group out of view that this user is no longer in. */
  #left(group: string): void {
    this.#chats.groups.delete(group);
    if (this.#chats.current === group) this.#chats.open(undefined);
  }

  async #show(name: string, count: number, unread = 0): Promise<void> {
    const messages = await gather(this.#client, name, count, undefined);
    const kept = messages.filter(({ sender }) => !this.#chats.ignored.has(sender));
    const more = messages.length === count ? "there is more before this: /history N" : undefined;
    this.#display.history(name, kept, { more, unread });
    const seq = messages.findLast(({ sender }) => sender !== this.#chats.me)?.seq;
    if (seq !== undefined && this.#chats.current === name) this.#client.markRead(name, seq, !this.#chats.receipts);
  }

  async #to(rest: string, send: Send): Promise<void> {
    if (rest === "") {
      this.#chats.open(undefined);
      return this.#display.notice("All conversations are in view");
    }
    const [, who = "", text = ""] = /^@?(\S+)\s*(.*)$/su.exec(rest) ?? [];
    const name = parseAddress(who, "the name");
    if (name instanceof Refusal) {
      this.#closeView(who);
      return this.#display.warning(name.message);
    }
    await this.open(name);
    if (text !== "") send(name, text);
  }

  #message(rest: string, send: Send): void {
    const [, who = "", text = ""] = /^@?(\S+)\s*(.*)$/su.exec(rest) ?? [];
    if (text === "") return this.#display.warning("/msg needs a name and a text: /msg alice hello");
    const name = parseAddress(who, "the name");
    if (name instanceof Refusal) return this.#display.warning(name.message);
    send(name, text);
  }

  async #reply(text: string, send: Send): Promise<void> {
    const { lastFrom, current } = this.#chats;
    if (lastFrom === undefined) return this.#display.warning("Nobody has said anything yet");
    if (current !== lastFrom) await this.open(lastFrom);
    if (text !== "") send(lastFrom, text);
  }

  #list(): void {
    const rows = this.#chats.list();
    if (rows.length === 0) return this.#display.notice("There are no conversations yet: /to NAME begins one");
    const lines = rows.map(({ name, unread, number }) => {
      const status = this.#chats.presence.get(name)?.status;
      const muted = this.#chats.isSilent(name, false) ? "muted" : "";
      const notes = [unread > 0 ? `${unread} new` : "", muted, status ?? "", name === this.#chats.current ? "in view" : ""];
      return `${String(number).padStart(3)} ${sanitize(name)}  ${notes.filter((note) => note !== "").join(", ")}`.trimEnd();
    });
    this.#display.notice(lines.join("\n"));
  }

  #who(rest: string): void {
    const wanted = rest === "" ? this.#chats.people() : [parseName(rest.replace(/^@/, ""), "the name")];
    const lines: string[] = [];
    for (const name of wanted) {
      if (name instanceof Refusal) return this.#display.warning(name.message);
      const known = this.#chats.presence.get(name);
      if (!known) this.#chats.get(name); // from now on its presence is watched
      const seen = known?.lastSeen ? `, last seen ${dayOf(known.lastSeen)} ${clock(known.lastSeen)}` : "";
      lines.push(`  ${sanitize(name)}  ${known?.status ?? "not known yet"}${seen}`);
    }
    if (rest !== "") this.#client.watch(this.#chats.people().slice(0, WATCHED_USERS_MAX));
    this.#display.notice(lines.length > 0 ? lines.join("\n") : "You have no conversations with anybody yet");
  }

  async #history(rest: string): Promise<void> {
    const { current } = this.#chats;
    if (current === undefined) return this.#display.warning("There is no conversation in view: open one with /to NAME");
    const count = rest === "" ? HISTORY_SHOWN : Number(rest);
    if (!Number.isInteger(count) || count < 1) return this.#display.warning("/history takes a number of messages");
    await this.#show(current, Math.min(count, HISTORY_MAX));
  }

  #showWhole(rest: string): void {
    const number = rest === "" ? undefined : Number(rest);
    if (this.#display.whole(number)) return;
    this.#display.warning(number === undefined ? "No message was cut" : `There is no cut message ${rest}`);
  }

  /** Opens the unread conversation that has waited longest. Rejects with a `ChatError`. */
  async openNext(): Promise<void> {
    const name = this.#chats.nextUnread();
    if (name === undefined) return this.#display.notice("Nothing is unread");
    await this.open(name);
  }

  /** Opens the conversation of a number, as `/list` shows it. Rejects with a `ChatError`. */
  async openNumber(number: number): Promise<void> {
    const name = this.#chats.numbered(number);
    if (name === undefined) return this.#display.notice(`There is no conversation ${number}; /list has their numbers`);
    await this.open(name);
  }

  async #group(rest: string): Promise<void> {
    const asked = parseGroupCommand(rest, this.#currentGroup());
    if ("why" in asked) {
      if (asked.changesView) this.#closeView("the group");
      return this.#display.warning(asked.why);
    }
    const { op, group, people, open } = asked;
    const opens = op === "create" || op === "join";
    // One who cannot be invited does not keep the others out.
    for (const user of people.length > 0 ? people : [undefined]) {
      try {
        const query = { op, ...(group === undefined ? {} : { group }), ...(user === undefined ? {} : { user }) };
        const answer = await this.#client.group(op === "create" ? { ...query, open } : query);
        this.#display.notice(groupAnswer(answer, open));
      } catch (error) {
        if (opens) this.#closeView(group!);
        if (people.length < 2 || !(error instanceof ChatError)) throw error;
        this.#display.warning(`${user}: ${error.message}`);
      }
    }
    if (op === "leave") this.#left(group!);
    if (opens) {
      this.#chats.groups.add(group!);
      await this.open(group!);
    }
  }

  #showOutbox(rest: string): void {
    const [, which] = /^drop\s+(\S+)$/.exec(rest) ?? [];
    if (rest !== "" && which === undefined) return this.#display.warning("/outbox takes nothing, drop N, or drop all");
    const lines = which === undefined ? this.#outbox.lines(this.#screen.columns) : this.#outbox.drop(which);
    this.#display.notice(lines.join("\n"));
  }

  #currentGroup(): string | undefined {
    const { current } = this.#chats;
    return current !== undefined && isGroup(current) ? current : undefined;
  }

  /** Notes what happened to a group. Returns it as a sentence, or undefined where it is not worth telling. */
  groupNotice({ op, group, user, by }: ServerFrameOf<"group">): string | undefined {
    if (group === undefined || user === undefined) return undefined;
    const [where, who, actor] = [sanitize(group), sanitize(user), sanitize(by ?? "somebody")];
    if (user === this.#chats.me && (op === "invite" || op === "create" || op === "join")) this.#chats.groups.add(group);
    if (user === this.#chats.me && op === "remove") this.#left(group);
    if (op === "invite") return `${actor} brought ${user === this.#chats.me ? "you" : who} into ${where}`;
    if (op === "remove") return `${actor} took ${user === this.#chats.me ? "you" : who} out of ${where}`;
    // People who come and go by themselves are told of in the group in view alone.
    if (this.#chats.current !== group) return undefined;
    return op === "join" ? `${who} joined ${where}` : op === "leave" ? `${who} left ${where}` : undefined;
  }

  #ignore(rest: string): void {
    const { ignored } = this.#chats;
    if (rest === "") {
      return this.#display.notice(
        ignored.size > 0 ? `Ignored: ${[...ignored].map((name) => sanitize(name)).join(", ")}` : "Nobody is ignored",
      );
    }
    const name = parseName(rest.replace(/^@/, ""), "the name");
    if (name instanceof Refusal) return this.#display.warning(name.message);
    const isShown = ignored.delete(name);
    if (!isShown) ignored.add(name);
    try {
      this.#files.ignored.add(name, !isShown);
    } catch (error) {
      this.#display.warning(`This lasts until you leave, as it cannot be stored: ${(error as Error).message}`);
    }
    if (isShown) return this.#display.notice(`Messages of ${sanitize(name)} are shown again`);
    this.#chats.get(name).unread = 0;
    this.#display.notice(`Messages of ${sanitize(name)} are hidden; /ignore ${sanitize(name)} shows them again`);
  }

  #receipts(rest: string): void {
    const on = toSwitch(rest, !this.#chats.receipts);
    if (on === undefined) return this.#display.warning("/receipts can be on or off");
    this.#chats.receipts = on;
    try {
      this.#files.receipts.save(on);
    } catch (error) {
      this.#display.warning(`This lasts until you leave, as it cannot be stored: ${(error as Error).message}`);
    }
    this.#display.notice(on ? "Others can see what you read from now on" : "Nobody can see what you read from now on");
  }

  #away(rest: string): void {
    const away = toSwitch(rest, !this.#chats.away);
    if (away === undefined) return this.#display.warning("/away can be on or off");
    const seen = this.#chats.setAway(away);
    if (seen !== undefined) this.#client.markRead(this.#chats.current!, seen, !this.#chats.receipts);
    this.#client.setAway(away);
    this.#display.notice(away ? "You are away, and what comes stays unread" : "You are back");
  }
}

/** Error codes of a conversation that does not exist for this user. */
const NOT_THERE = new Set(["unknown_recipient", "unknown_group", "not_member"]);

function toSwitch(text: string, otherwise: boolean): boolean | undefined {
  return text === "" ? otherwise : text === "on" ? true : text === "off" ? false : undefined;
}
