/** Rules of groups: who may do what. They ask for facts and decide; what follows is done by the broker that asked. */

import type { BrokerRefusal, GroupRequest } from "../broker.ts";
import type { BrokerLimits } from "./limits.ts";
import {
  byInvitation,
  groupExists,
  groupFull,
  notAMember,
  notMember,
  ownersOnly,
  tooManyGroups,
  unknownGroup,
  unknownUser,
} from "./refusals.ts";

/** Everything that the rules ask about one request. Names are canonical. */
export interface GroupFacts {
  /** The group of the request; undefined where there is none. */
  readonly group: {
    readonly owner: string;
    readonly open: boolean;
    readonly members: { readonly size: number; has(user: string): boolean };
  } | undefined;
  /** Returns true for a user who was connected once. */
  isKnown(user: string): boolean;
  /** Returns the number of groups that a user is in. */
  groupsOf(user: string): number;
}

/** Change that a request makes: a new group, `user` in or out of one, or none, so that only the answer is due. */
export type GroupChange =
  | { readonly change: "create"; readonly owner: string; readonly open: boolean }
  | { readonly change: "enter" | "exit"; readonly user: string }
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
    return whyNoMore(name, 0, user, facts, limits) ?? { change: "create", owner: user, open: request.open };
  }
  if (!group) return unknownGroup(name);
  const isMember = group.members.has(user);
  if (request.op === "join") {
    return isMember || group.open ? enter(name, group, user, facts, limits) : byInvitation(name);
  }
  if (!isMember) return notMember(name);
  switch (request.op) {
    case "members":
      return NO_CHANGE;
    case "leave":
      return { change: "exit", user };
    case "invite":
      return facts.isKnown(request.target) ? enter(name, group, request.target, facts, limits) : unknownUser(request.target);
    case "remove":
      if (group.owner !== user) return ownersOnly(group.owner);
      return group.members.has(request.target) ? { change: "exit", user: request.target } : notAMember(request.target);
  }
}

function enter(
  name: string,
  { members }: Group,
  user: string,
  facts: GroupFacts,
  limits: BrokerLimits,
): GroupChange | BrokerRefusal {
  if (members.has(user)) return NO_CHANGE;
  return whyNoMore(name, members.size, user, facts, limits) ?? { change: "enter", user };
}

/** Returns the limit that a group of `size` members or a user has reached; undefined where there is room in both. */
function whyNoMore(
  name: string,
  size: number,
  user: string,
  facts: GroupFacts,
  { groupMembers, groupsPerUser }: BrokerLimits,
): BrokerRefusal | undefined {
  if (size >= groupMembers) return groupFull(name, groupMembers);
  if (facts.groupsOf(user) >= groupsPerUser) return tooManyGroups(user, groupsPerUser);
}
