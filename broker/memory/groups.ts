/** Groups in memory: carries out what the rules of broker/group_rules.ts decide. */

import type { BrokerRefusal, GroupAnswer, GroupRequest } from "../../broker.ts";
import { decideGroup, type GroupChange, type GroupFacts } from "../group_rules.ts";
import { type BrokerLimits, GROUPS_LISTED_MAX } from "../limits.ts";
import { keepEnded } from "./ended.ts";
import type { Retention } from "./retention.ts";
import { addThread, type MemoryState, newGroup, removeThread, type Thread, type User } from "./state.ts";

/** Groups of a {@linkcode MemoryState}. */
export class MemoryGroups {
  readonly #state: MemoryState;
  readonly #retention: Retention;
  readonly #limits: BrokerLimits;

  constructor(state: MemoryState, retention: Retention, limits: BrokerLimits) {
    this.#state = state;
    this.#retention = retention;
    this.#limits = limits;
  }

  /** Answers a request as `Groups.group` of broker.ts says. */
  answer(request: GroupRequest): GroupAnswer | BrokerRefusal {
    if (request.op === "list") return this.#list(request.user, request.after);
    const { users, groups } = this.#state, group = groups.get(request.group);
    const isKnown = (user: string) => users.has(user);
    const groupsOf = (user: string) => users.get(user)?.groups ?? 0;
    const invitationsOf = (user: string, inviter: string) => {
      let byInviter = 0, byOthers = 0;
      for (const [other, count] of users.get(user)!.invitations ?? []) {
        if (other === inviter) byInviter += count;
        else byOthers += count;
      }
      return { byInviter, byOthers };
    };
    const hasDeclined = (user: string, inviter: string) => users.get(user)!.declined?.get(inviter)?.has(request.group) ?? false;
    const facts: GroupFacts = { group, isKnown, groupsOf, invitationsOf, hasDeclined };
    const decision = decideGroup(request, facts, this.#limits);
    return "code" in decision ? decision : this.#carryOut(decision, request.group, group);
  }

  #carryOut(decision: GroupChange, name: string, group: Thread | undefined): GroupAnswer {
    switch (decision.change) {
      case "create": {
        const created = newGroup(this.#state.log, name, decision.owner, decision.open);
        this.#state.groups.set(name, created);
        this.#enter(created, decision.owner, "");
        return answerOf(created, true);
      }
      case "enter":
        this.#enter(group!, decision.user, decision.inviter);
        return answerOf(group!, true);
      case "exit":
        this.#exit(group!, decision.user, decision.declined);
        return answerOf(group!, true);
      case "agree":
        return answerOf(group!, agree(group!, decision.user));
      case "none":
        return answerOf(group!, false);
    }
  }

  #enter(group: Thread, name: string, inviter: string): void {
    const user = this.#state.user(name);
    if (inviter === "") {
      user.groups++;
      agree(group, name);
    } else {
      user.invitations ??= new Map();
      user.invitations.set(inviter, (user.invitations.get(inviter) ?? 0) + 1);
      group.inviters.set(name, inviter);
      group.passive.add(name);
    }
    addThread(user, group.group, group);
    group.members.set(name, this.#state.log.head);
    group.users.add(user);
  }

  #exit(group: Thread, name: string, declined: boolean): void {
    const user = this.#state.user(name), inviter = group.inviters.get(name);
    keepEnded(user, group, group.members.get(name)!, this.#retention);
    if (inviter === undefined) user.groups--;
    else giveBack(user, inviter, declined ? group.group : undefined);
    group.inviters.delete(name);
    group.passive.delete(name);
    removeThread(user, group.group);
    group.members.delete(name);
    group.users.delete(user);
    group.markers.delete(name);
    if (group.owner === name) group.owner = [...group.members.keys()].find((member) => !group.passive.has(member)) ?? "";
    if (group.members.size > 0) return;
    this.#state.groups.delete(group.group);
    this.#retention.removeIfEnded(group);
  }

  #list(name: string, after: string | undefined): GroupAnswer {
    const own: Thread[] = [], others: Thread[] = [];
    for (const group of this.#state.groups.values()) {
      if (group.members.has(name)) own.push(group);
      else if (group.open) others.push(group);
    }
    const byName = (a: Thread, b: Thread) => a.group < b.group ? -1 : 1;
    const rest = (groups: readonly Thread[]) => groups.filter(({ group }) => after === undefined || group > after);
    const isPastOwn = after !== undefined && !own.some(({ group }) => group === after);
    const all = isPastOwn ? rest(others.sort(byName)) : [...rest(own.sort(byName)), ...others.sort(byName)];
    const groups = all.slice(0, GROUPS_LISTED_MAX)
      .map(({ group, owner, open, members }) => ({ group, owner, open, members: members.size }));
    return { changed: false, members: [], groups, more: all.length > groups.length };
  }
}

/** Takes a member for one who is in the group by their own will. Returns true where they own it now. */
export function agree(group: Thread, name: string): boolean {
  group.passive.delete(name);
  if (group.owner !== "") return false;
  group.owner = name;
  return true;
}

/** Frees the place of a group that `inviter` has brought a user into, and notes the group that the user declined by leaving. */
function giveBack(user: User, inviter: string, group: string | undefined): void {
  const invitations = user.invitations!, left = invitations.get(inviter)! - 1;
  if (left > 0) invitations.set(inviter, left);
  else invitations.delete(inviter);
  if (group === undefined) return;
  user.declined ??= new Map();
  user.declined.set(inviter, (user.declined.get(inviter) ?? new Set()).add(group));
}

function answerOf({ members, owner }: Thread, changed: boolean): GroupAnswer {
  return { changed, members: [...members.keys()], owner };
}
