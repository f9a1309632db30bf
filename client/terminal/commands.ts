/** The commands of the chat, and the meaning of a typed line. Pure. */

import { nearest } from "../../cli/suggest.ts";
import { wrap } from "../../cli/wrap.ts";
import { parseAddress, Refusal } from "../../protocol.ts";
import { MUTE_WORDS } from "./muted.ts";

/** A command, as `/help` shows it. */
export interface ChatCommand {
  readonly args: string;
  readonly help: string;
  /** Source of completions for its first argument. */
  readonly completes?: "names" | "people" | "groups" | readonly string[];
}

/** The operations of `/group`. */
export const GROUP_OPS = ["create", "join", "leave", "invite", "remove", "members", "list"] as const;

/** Words with which `/group create` makes a group that nobody joins uninvited; Tab gives the first. */
export const CLOSED_WORDS = ["closed", "private", "--closed"] as const;

/** Every command, by its name without the slash. */
export const CHAT_COMMANDS = {
  to: { args: "[NAME]", help: "Open a conversation with a person or a #group; without a name, see all", completes: "names" },
  reply: { args: "[TEXT]", help: "Open the conversation with the latest message, and answer" },
  list: { args: "", help: "List conversations, unread ones first" },
  who: { args: "[NAME]", help: "Show who is online, or when they last were", completes: "people" },
  history: { args: "[N]", help: "Show the last N messages of the conversation (50)" },
  search: {
    args: "[@NAME] [TEXT]",
    help: "Search all conversations, or one; again without a text for what is older",
    completes: "names",
  },
  show: { args: "[N]", help: "Show the whole of a long message" },
  msg: { args: "NAME TEXT", help: "Send a message and stay in the conversation in view", completes: "names" },
  group: { args: "OP [#GROUP] [NAME]", help: `Groups: ${GROUP_OPS.join(", ")}`, completes: GROUP_OPS },
  mute: {
    args: "[NAME] [WORDS]",
    help: "Silence a conversation on this device: for good, for a time (8h), but for mentions, or off; alone, list them",
    completes: "names",
  },
  ignore: {
    args: "[NAME]",
    help: "Hide somebody's messages, or show them again; without a name, list who is hidden",
    completes: "people",
  },
  receipts: { args: "[on|off]", help: "Tell others what you have read, or not", completes: ["on", "off"] },
  away: { args: "[on|off]", help: "Set your status to away, or back to online", completes: ["on", "off"] },
  outbox: { args: "[drop N|all]", help: "List what waits to be sent, or take it out so that it is not", completes: ["drop"] },
  clear: { args: "", help: "Clear the screen" },
  help: { args: "[COMMAND]", help: "Show this list" },
  quit: { args: "", help: "Leave; unsent messages go out the next time" },
} as const satisfies Record<string, ChatCommand>;

/** The keys of the chat beside those of every line editor, with their meaning. */
export const CHAT_KEYS: readonly (readonly [key: string, meaning: string])[] = [
  ["Alt-A", "Open the unread conversation that has waited longest."],
  ["Alt-1 to Alt-9", "Open the conversation that /list shows with this number."],
  ["Up, Down", "Recall what was typed before: what begins as the line does, else one line after the other."],
  ["Ctrl-R", "Search what was typed before; again for older lines, Ctrl-G to go back."],
  ["Ctrl-C", "Empty the line; on an empty one leave, where messages wait only the second time."],
];

/** The name of a command. */
export type ChatCommandName = keyof typeof CHAT_COMMANDS;

const NAMES = Object.keys(CHAT_COMMANDS) as ChatCommandName[];

/** The meaning of a typed line. */
export type Input =
  | { readonly kind: "nothing" }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "message"; readonly to: string; readonly text: string }
  | { readonly kind: "command"; readonly name: ChatCommandName; readonly rest: string }
  | { readonly kind: "wrong"; readonly why: string };

/** Parses a typed line. `//` at its beginning stands for a slash that is text. */
export function parseInput(line: string): Input {
  if (line.trim() === "") return { kind: "nothing" };
  if (line.startsWith("//")) return { kind: "text", text: line.slice(1) };
  // Several lines were pasted, and pasted text is never a command.
  if (line.startsWith("/") && !line.includes("\n")) return parseCommand(line);
  const [, to, text = ""] = /^@(\S+)\s*(.*)$/su.exec(line) ?? [];
  if (to === undefined) return { kind: "text", text: line };
  const name = parseAddress(to.replace(/[:,]$/, ""), "the name");
  if (name instanceof Refusal) return { kind: "wrong", why: name.message };
  if (text === "") return { kind: "wrong", why: `Write something after @${to}, or /to ${to} to open the conversation` };
  return { kind: "message", to: name, text };
}

/** Returns whether a line that is being typed is a message to the conversation in view: neither empty, nor a command, nor `@`. */
export function isForView(line: string): boolean {
  return /^(?!\/(?!\/)|@)/.test(line) && line.trim() !== "";
}

function parseCommand(line: string): Input {
  const [, word = "", rest = ""] = /^\/(\S*)\s*(.*)$/su.exec(line) ?? [];
  const name = NAMES.find((known) => known === word.toLowerCase());
  if (name) return { kind: "command", name, rest: rest.trim() };
  const elsewhere = Object.hasOwn(ELSEWHERE, word) ? ELSEWHERE[word] : undefined;
  const near = elsewhere ?? nearest(word, NAMES);
  const hint = near ? `Did you mean /${near}?` : "/help lists them.";
  return { kind: "wrong", why: `There is no command /${word}, so nothing was sent. ${hint}` };
}

/** Commands of other clients, with the name that they have here. */
const ELSEWHERE: Record<string, string> = {
  block: "ignore",
  exit: "quit",
  join: "group join",
  leave: "group leave",
  names: "who",
  open: "to",
  part: "group leave",
  q: "quit",
  query: "to",
  switch: "to",
};

const HELP_HEAD = [
  "A line goes to the conversation in view, @NAME TEXT to NAME; //TEXT sends a text that begins with a slash.",
  "Tab completes, Up and Ctrl-R recall earlier lines, and pasted text is one message. Alt-A opens the next unread",
  "conversation, Alt-1 to Alt-9 those that /list numbers so. Commands:",
];

/** Columns of the narrowest terminal on which the meaning of a command stands beside it, and not below. */
const BESIDE_MIN = 66;

/** Returns a command of the chat as it is typed, with its arguments. */
export function usageOf(name: string): string {
  return `/${name} ${CHAT_COMMANDS[name as ChatCommandName].args}`.trim();
}

/** Returns the lines of `/help`, for all commands or one; each is shorter than `columns`, which leaves room for a cursor. */
export function helpLines(command = "", columns = Infinity): string[] {
  const wanted = NAMES.filter((name) => command === "" || name === command.replace(/^\//, ""));
  if (wanted.length === 0) return [`There is no command /${command}`];
  const rows = wanted.map((name) => [usageOf(name), CHAT_COMMANDS[name].help] as const);
  const width = Math.max(...rows.map(([left]) => left.length)) + 4;
  const lines = rows.flatMap(([left, right]) => {
    if (columns < BESIDE_MIN) return [`  ${left}`, ...wrap(right, columns - 7).map((line) => `      ${line}`)];
    return wrap(right, columns - width - 1).map((line, index) => (index === 0 ? `  ${left}` : "").padEnd(width) + line);
  });
  return command === "" ? [...HELP_HEAD.flatMap((line) => wrap(line, columns - 1)), ...lines] : lines;
}

/** Words to complete with. */
export interface Completable {
  readonly names: readonly string[];
  readonly people: readonly string[];
  readonly groups: readonly string[];
}

/** Returns the words that the last word of `line` can become, and that word. */
export function complete(line: string, from: Completable): { readonly candidates: string[]; readonly word: string } {
  const word = /\S*$/u.exec(line)![0];
  const before = line.slice(0, line.length - word.length);
  const fitting = (words: readonly string[], prefix = "") =>
    words.map((entry) => prefix + entry).filter((entry) => entry.startsWith(word.toLowerCase()));
  if (before === "" && word.startsWith("/")) return { candidates: fitting(NAMES, "/"), word };
  const [, name, argument] = /^\/(\S+)\s+(.*)$/su.exec(before) ?? [];
  if (name !== undefined && Object.hasOwn(CHAT_COMMANDS, name)) {
    const words = argument!.split(/\s+/).filter((entry) => entry !== "");
    const candidates = argumentsOf(name as ChatCommandName, words, from);
    if (candidates) return { candidates: fitting(candidates), word };
  } else if (line.startsWith("/")) return { candidates: [], word };
  // In a text: groups, people after an at sign, and people by the first letters of their names.
  if (word.startsWith("#")) return { candidates: fitting(from.groups), word };
  if (word.startsWith("@")) return { candidates: fitting(before === "" ? from.names : from.people, "@"), word };
  return { candidates: word.length >= NAME_LETTERS_MIN ? fitting(from.people) : [], word };
}

/** Returns what the next word of a command can be; undefined where a text begins. */
function argumentsOf(
  name: ChatCommandName,
  words: readonly string[],
  from: Completable,
): readonly string[] | undefined {
  if (name === "help") return words.length === 0 ? NAMES : [];
  if (name === "group" && words.length > 0) {
    const isAboutPeople = words[0] === "invite" || words[0] === "remove";
    if (words.length > 1) return isAboutPeople ? from.people : words[0] === "create" ? [CLOSED_WORDS[0]] : [];
    // The group may be left out where one is in view.
    return isAboutPeople ? [...from.groups, ...from.people] : from.groups;
  }
  if (name === "mute" && words.length > 0) return MUTE_WORDS;
  if (words.length > 0) return TEXT_COMMANDS.has(name) ? undefined : [];
  const { completes }: ChatCommand = CHAT_COMMANDS[name];
  if (completes === undefined) return TEXT_COMMANDS.has(name) ? undefined : [];
  if (name === "search") return from.names.map((entry) => entry.startsWith("#") ? entry : `@${entry}`);
  return typeof completes === "string" ? from[completes] : completes;
}

/** Commands that end in a text for people. */
const TEXT_COMMANDS: ReadonlySet<string> = new Set(["msg", "to", "reply"]);
/** Letters of a word in a text after which it is completed to a name: with fewer it is hardly meant as one. */
const NAME_LETTERS_MIN = 2;

/** Returns the longest beginning that all words share. */
export function commonStart(words: readonly string[]): string {
  const [first = "", ...rest] = words;
  let length = first.length;
  for (const word of rest) while (!word.startsWith(first.slice(0, length))) length--;
  return first.slice(0, length);
}
