/** `/group`: the meaning of its words, and the answers in words. Pure. */

import { nearest } from "../../cli/suggest.ts";
import { parseGroup, parseName, Refusal, type ServerFrameOf } from "../../protocol.ts";
import { sanitize } from "../sanitize.ts";
import { CLOSED_WORDS, GROUP_OPS } from "./commands.ts";

/** Request about a group. `group` is undefined for `list` alone. */
export interface GroupCommand {
  readonly op: (typeof GROUP_OPS)[number];
  readonly group: string | undefined;
  /** Those whom `invite` and `remove` are about. */
  readonly people: readonly string[];
  /** Of `create`: anyone may join. */
  readonly open: boolean;
}

/** Words that are not understood. `changesView`: another conversation would have come into view. */
export interface Misunderstood {
  readonly why: string;
  readonly changesView: boolean;
}

/** Parses what stands behind `/group`; `current` is the group in view, which is meant where none is named. */
export function parseGroupCommand(rest: string, current: string | undefined): GroupCommand | Misunderstood {
  const [word = "list", ...words] = rest.split(/\s+/).filter((part) => part !== "");
  const op = GROUP_OPS.find((name) => name === word);
  const opens = op === "create" || op === "join";
  const wrong = (why: string): Misunderstood => ({ why, changesView: opens });
  if (!op) {
    const near = nearest(word, GROUP_OPS);
    return wrong(`/group cannot ${word}: ${near ? `did you mean ${near}?` : GROUP_OPS.join(", ")}`);
  }
  const named = words[0]?.startsWith("#") ? parseGroup(words.shift(), "the group") : opens ? undefined : current;
  if (named instanceof Refusal) return wrong(named.message);
  if (op !== "list" && named === undefined) {
    const near = words.length > 0 ? `; did you mean #${words[0]}?` : "";
    return wrong(`/group ${op} needs a #group${near}`);
  }
  const command = { op, group: op === "list" ? undefined : named, people: [] as string[], open: true };
  if (op === "invite" || op === "remove") return withPeople(command, words, wrong);
  if (op === "create") command.open = words.splice(0, CLOSED_WORDS.some((closed) => closed === words[0]) ? 1 : 0).length === 0;
  const [strange] = words;
  if (strange === undefined) return command;
  if (op !== "create") return wrong(`/group ${op} takes no ${JSON.stringify(strange)}`);
  const near = nearest(strange, CLOSED_WORDS);
  const hint = near ? `did you mean ${near}?` : `a group is open to all, or "closed"`;
  return wrong(`/group create does not know ${JSON.stringify(strange)}, so nothing was made: ${hint}`);
}

function withPeople(command: GroupCommand, words: readonly string[], wrong: (why: string) => Misunderstood) {
  if (words.length === 0) return wrong(`/group ${command.op} needs a name`);
  const people: string[] = [];
  for (const word of words) {
    const name = parseName(word.replace(/^@/, "").replace(/,$/, ""), "the name");
    if (name instanceof Refusal) return wrong(name.message);
    people.push(name);
  }
  return { ...command, people };
}

/** Returns the server's answer as lines for people; `open` is what was asked for. */
export function groupAnswer(
  { op, group = "", user, members, owner, groups, more }: ServerFrameOf<"group">,
  open: boolean,
): string {
  const where = sanitize(group);
  switch (op) {
    case "create":
      return `${where} is made, and you are in it; ${open ? "anyone may join" : "it is closed: who is in it invites others"}`;
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
