/** Groups in memory: carries out what the rules of broker/group_rules.ts decide. */

import type { BrokerRefusal, GroupAnswer, GroupRequest } from "../../broker.ts";
import { decideGroup, type GroupChange } from "../group_rules.ts";
import { type BrokerLimits, GROUPS_LISTED_MAX } from "../limits.ts";
import type { Retention } from "./retention.ts";
import { type MemoryState, newGroup, type Thread } from "./state.ts";

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
    if (request.op === "list") return this.#list(request.user);
    const { users, groups } = this.#state, group = groups.get(request.group);
    const isKnown = (user: string) => users.has(user);
    const groupsOf = (user: string) => users.get(user)?.groups ?? 0;
    const decision = decideGroup(request, { group, isKnown, groupsOf }, this.#limits);
    return "code" in decision ? decision : this.#carryOut(decision, request.group, group);
  }

  #carryOut(decision: GroupChange, name: string, group: Thread | undefined): GroupAnswer {
    switch (decision.change) {
      case "create": {
        const created = newGroup(name, decision.owner, decision.open);
        this.#state.groups.set(name, created);
        this.#enter(created, decision.owner);
        return answerOf(created, true);
      }
      case "enter":
        this.#enter(group!, decision.user);
        return answerOf(group!, true);
      case "exit":
        this.#exit(group!, decision.user);
        return answerOf(group!, true);
      case "none":
        return answerOf(group!, false);
    }
  }

  #enter(group: Thread, name: string): void {
    const user = this.#state.user(name);
    user.groups++;
    user.threads.set(group.group, group);
    group.members.set(name, this.#state.log.head);
    group.users.add(user);
  }

  #exit(group: Thread, name: string): void {
    const user = this.#state.user(name);
    user.groups--;
    user.threads.delete(group.group);
    group.members.delete(name);
    group.users.delete(user);
    group.markers.delete(name);
    const [eldest] = group.members.keys();
    if (group.owner === name) group.owner = eldest ?? "";
    if (eldest !== undefined) return;
    this.#state.groups.delete(group.group);
    this.#retention.removeAll(group.seqs);
  }

  #list(name: string): GroupAnswer {
    const own: Thread[] = [], others: Thread[] = [];
    for (const group of this.#state.groups.values()) {
      if (group.members.has(name)) own.push(group);
      else if (group.open) others.push(group);
    }
    const byName = (a: Thread, b: Thread) => a.group < b.group ? -1 : 1;
    const all = [...own.sort(byName), ...others.sort(byName)];
    const groups = all.slice(0, GROUPS_LISTED_MAX)
      .map(({ group, owner, open, members }) => ({ group, owner, open, members: members.size }));
    return { changed: false, members: [], groups, more: all.length > groups.length };
  }
}

function answerOf({ members, owner }: Thread, changed: boolean): GroupAnswer {
  return { changed, members: [...members.keys()], owner };
}
