/** The commands of the chat at work. */

import { type ChatClient, ChatError } from "../../chat_client.ts";
import {
  isGroup,
  parseAddress,
  parseGroup,
  parseName,
  Refusal,
  type ServerFrameOf,
  WATCHED_USERS_MAX,
} from "../../protocol.ts";
import { nearest } from "../../cli/suggest.ts";
import { type ChatCommandName, GROUP_OPS } from "./commands.ts";
import type { ChatDisplay } from "./display.ts";
import type { IgnoredFile } from "./ignored.ts";
import type { Chats } from "./model.ts";
import { gather } from "../history.ts";
import { sanitize } from "../sanitize.ts";
import type { Surface } from "./screen.ts";
import { clock, dayOf } from "./view.ts";

/** Messages that opening a conversation shows at least. */
const HISTORY_SHOWN = 50;
/** Messages that `/history` shows at most; `chat-client history` is for more. */
const HISTORY_MAX = 5_000;
/** Messages that `/search` looks at: the newest ones. */
const SEARCHED_MAX = 5_000;

type Send = (recipient: string, text: string) => void;

/** Runs the commands of the chat. */
export class ChatCommands {
  readonly #client: ChatClient;
  readonly #chats: Chats;
  readonly #ignored: IgnoredFile;
  readonly #display: ChatDisplay;
  readonly #screen: Surface;
  readonly #quit: () => void;
  /** Conversation to open with the next connection. */
  #toOpen: string | undefined;

  constructor(
    client: ChatClient,
    chats: Chats,
    ignored: IgnoredFile,
    display: ChatDisplay,
    screen: Surface,
    quit: () => void,
  ) {
    this.#client = client;
    this.#chats = chats;
    this.#ignored = ignored;
    this.#display = display;
    this.#screen = screen;
    this.#quit = quit;
  }

  /** Runs a command. Rejects with a `ChatError` where the server does not do what it is asked. */
  async run(name: Exclude<ChatCommandName, "help">, rest: string, send: Send): Promise<void> {
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
        return await this.#search(rest);
      case "group":
        return await this.#group(rest);
      case "ignore":
        return this.#ignore(rest);
      case "receipts":
        return this.#receipts(rest);
      case "away":
        return this.#away(rest);
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
      await this.#show(name, Math.max(HISTORY_SHOWN, Math.min(unread, HISTORY_MAX)));
    } catch (error) {
      const isThere = !(error instanceof ChatError) || !NOT_THERE.has(error.code);
      if (!isThere && this.#chats.current === name) this.#chats.open(current);
      throw error;
    }
  }

  /** Takes a group out of view that this user is no longer in. */
  #left(group: string): void {
    this.#chats.groups.delete(group);
    if (this.#chats.current === group) this.#chats.open(undefined);
  }

  async #show(name: string, count: number): Promise<void> {
    const messages = await gather(this.#client, name, count, undefined);
    const kept = messages.filter(({ sender }) => !this.#chats.ignored.has(sender));
    this.#display.history(name, kept, messages.length === count);
    const seq = messages.findLast(({ sender }) => sender !== this.#chats.me)?.seq;
    if (seq !== undefined && this.#chats.receipts && this.#chats.current === name) this.#client.markRead(name, seq);
  }

  async #to(rest: string, send: Send): Promise<void> {
    if (rest === "") {
      this.#chats.open(undefined);
      return this.#display.notice("All conversations are in view");
    }
    const [, who = "", text = ""] = /^@?(\S+)\s*(.*)$/su.exec(rest) ?? [];
    const name = parseAddress(who, "the name");
    if (name instanceof Refusal) return this.#display.warning(name.message);
    await this.open(name);
    if (text !== "") send(name, text);
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
    const lines = rows.map(({ name, unread }) => {
      const status = this.#chats.presence.get(name)?.status;
      const notes = [unread > 0 ? `${unread} new` : "", status ?? "", name === this.#chats.current ? "in view" : ""];
      return `  ${sanitize(name)}  ${notes.filter((note) => note !== "").join(", ")}`.trimEnd();
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

  async #search(text: string): Promise<void> {
    const { current } = this.#chats;
    if (current === undefined) return this.#display.warning("There is no conversation in view: open one with /to NAME");
    if (text === "") return this.#display.warning("/search needs a text to look for");
    const messages = await gather(this.#client, current, SEARCHED_MAX, undefined);
    const wanted = text.toLowerCase();
    const found = messages.filter(({ content }) => content.toLowerCase().includes(wanted));
    if (found.length > 0) this.#display.history(`${current}: ${text}`, found, false);
    else this.#display.notice(`Nothing in the last ${messages.length} messages`);
  }

  async #group(rest: string): Promise<void> {
    const [op = "list", ...words] = rest.split(/\s+/).filter((word) => word !== "");
    const known = GROUP_OPS.find((name) => name === op);
    if (!known) {
      const near = nearest(op, GROUP_OPS);
      return this.#display.warning(`/group cannot ${op}: ${near ? `did you mean ${near}?` : GROUP_OPS.join(", ")}`);
    }
    const named = words[0]?.startsWith("#") ? parseGroup(words.shift(), "the group") : this.#currentGroup();
    if (named instanceof Refusal) return this.#display.warning(named.message);
    if (known !== "list" && named === undefined) return this.#display.warning(`/group ${op} needs a #group`);
    const person = words[0] === undefined ? undefined : parseName(words[0].replace(/^@/, ""), "the name");
    if (person instanceof Refusal) return this.#display.warning(person.message);
    const closed = known === "create" && words[0] === "closed";
    const answer = await this.#client.group({
      op: known,
      ...(known === "list" ? {} : { group: named! }),
      ...(closed ? { open: false } : person === undefined ? {} : { user: person }),
    });
    this.#display.notice(groupAnswer(answer));
    if (known === "leave") this.#left(named!);
    if (known === "create" || known === "join") {
      this.#chats.groups.add(named!);
      await this.open(named!);
    }
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
      this.#ignored.add(name, !isShown);
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
    this.#display.notice(on ? "Others can see what you have read" : "Nobody can see what you have read");
  }

  #away(rest: string): void {
    const away = toSwitch(rest, !this.#chats.away);
    if (away === undefined) return this.#display.warning("/away can be on or off");
    this.#chats.away = away;
    this.#client.setAway(away);
    this.#display.notice(away ? "You are away" : "You are back");
  }
}

/** Error codes of a conversation that does not exist for this user. */
const NOT_THERE = new Set(["unknown_recipient", "unknown_group", "not_member"]);

function toSwitch(text: string, otherwise: boolean): boolean | undefined {
  return text === "" ? otherwise : text === "on" ? true : text === "off" ? false : undefined;
}

function groupAnswer({ op, group = "", user, members, owner, groups, more }: ServerFrameOf<"group">): string {
  const where = sanitize(group);
  switch (op) {
    case "create":
      return `${where} is made, and you are in it`;
    case "join":
      return `You are in ${where}`;
    case "leave":
      return `You have left ${where}`;
    case "invite":
      return `${sanitize(user ?? "")} is in ${where}`;
    case "remove":
      return `${sanitize(user ?? "")} is no longer in ${where}`;
    case "members":
      return `${where}: ${(members ?? []).map((name) => sanitize(name) + (name === owner ? " (owner)" : "")).join(", ")}`;
    case "list":
      if (!groups || groups.length === 0) return "There are no groups: /group create #NAME makes one";
      return groups.map((info) => `  ${sanitize(info.group)}  ${info.members} members${info.open ? "" : ", closed"}`)
        .concat(more ? ["  and more"] : []).join("\n");
  }
}
