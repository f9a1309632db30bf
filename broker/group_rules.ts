/** Rules of groups: who may do what. They ask for facts and decide; what follows is done by the broker that asked. */

import type { BrokerRefusal, GroupRequest } from "../broker.ts";
import { type BrokerLimits, shareOf } from "./limits.ts";
import {
  byInvitation,
  groupExists,
  groupFull,
  hasDeclined,
  notAMember,
  notMember,
  ownersOnly,
  tooManyGroups,
  tooManyInvitations,
  unknownGroup,
  unknownUser,
} from "./refusals.ts";

/** Everything that the rules ask about one request. Names are canonical. */
export interface GroupFacts {
  /** The group of the request; undefined where there is none. */
  readonly group: {
    /** "" where nobody is. */
    readonly owner: string;
    readonly open: boolean;
    readonly members: { readonly size: number; has(user: string): boolean };
    /** Members who were brought in and have neither joined by themselves nor written since. */
    readonly passive: { has(user: string): boolean };
  } | undefined;
  /** Returns true for a user who was connected once. */
  isKnown(user: string): boolean;
  /** Returns the number of groups that a user has created or joined, and is in. */
  groupsOf(user: string): number;
  /** Returns the number of groups that a user was brought into and is in: by `inviter`, and by others. */
  invitationsOf(user: string, inviter: string): { readonly byInviter: number; readonly byOthers: number };
  /** Returns true where `user` has left the group of the request after an invitation by `inviter`. */
  hasDeclined(user: string, inviter: string): boolean;
}

/**
 * Change that a request makes: a new group; `user` in one, brought by `inviter`, "" where by themselves; `user` out of one; `user`
 * no longer passive; or none, so that only the answer is due. Who exits by their own will and was invited has `declined`.
 */
export type GroupChange =
  | { readonly change: "create"; readonly owner: string; readonly open: boolean }
  | { readonly change: "enter"; readonly user: string; readonly inviter: string }
  | { readonly change: "exit"; readonly user: string; readonly declined: boolean }
  | { readonly change: "agree"; readonly user: string }
  | { readonly change: "none" };

type Group = NonNullable<GroupFacts["group"]>;

const NO_CHANGE: GroupChange = { change: "none" };

/** Decides about a request on a group: the change that it makes, or the refusal. Pure. */
export function decideGroup(
  request: Exclude<GroupRequest, { readonly op: "list" }>,
  facts: GroupFacts,
  limits: BrokerLimits,
): GroupChange | BrokerRefusal {
  const { group: name, user } = request, { group } = facts;
  if (request.op === "create") {
    if (group) return groupExists(name);
    return whyNoMore(user, facts, limits) ?? { change: "create", owner: user, open: request.open };
  }
  if (!group) return unknownGroup(name);
  const isMember = group.members.has(user);
  if (request.op === "join") return isMember ? agree(group, user) : join(name, group, user, facts, limits);
  if (!isMember) return notMember(name);
  switch (request.op) {
    case "members":
      return NO_CHANGE;
    case "leave":
      return { change: "exit", user, declined: true };
    case "invite":
      return facts.isKnown(request.target) ? invite(request, group, facts, limits) : unknownUser(request.target);
    case "remove":
      if (group.owner !== user) return ownersOnly(group.owner);
      if (!group.members.has(request.target)) return notAMember(request.target);
      return { change: "exit", user: request.target, declined: false };
  }
}

function agree({ passive }: Group, user: string): GroupChange {
  return passive.has(user) ? { change: "agree", user } : NO_CHANGE;
}

function join(name: string, group: Group, user: string, facts: GroupFacts, limits: BrokerLimits): GroupChange | BrokerRefusal {
  if (!group.open) return byInvitation(name);
  return whyFull(name, group, limits) ?? whyNoMore(user, facts, limits) ?? { change: "enter", user, inviter: "" };
}

function invite(
  { group: name, user: inviter, target }: Extract<GroupRequest, { readonly op: "invite" | "remove" }>,
  group: Group,
  facts: GroupFacts,
  limits: BrokerLimits,
): GroupChange | BrokerRefusal {
  if (group.members.has(target)) return NO_CHANGE;
  if (facts.hasDeclined(target, inviter)) return hasDeclined(target, name);
  const { byInviter, byOthers } = facts.invitationsOf(target, inviter);
  const isTooMany = byInviter >= shareOf(limits.groupsPerUser, byOthers);
  return whyFull(name, group, limits) ??
    (isTooMany ? tooManyInvitations(target) : { change: "enter", user: target, inviter });
}

function whyFull(name: string, { members }: Group, { groupMembers }: BrokerLimits): BrokerRefusal | undefined {
  if (members.size >= groupMembers) return groupFull(name, groupMembers);
}

function whyNoMore(user: string, facts: GroupFacts, { groupsPerUser }: BrokerLimits): BrokerRefusal | undefined {
  if (facts.groupsOf(user) >= groupsPerUser) return tooManyGroups(user, groupsPerUser);
}
