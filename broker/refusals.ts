/** Every refusal of the brokers, with the sentence that people read. */

import type { BrokerRefusal } from "../broker.ts";

// ---- Sending and reading ----------------------------------------------------------------------------------------------------

/** Refuses a message to a user who was never connected. */
export function unknownRecipient(name: string): BrokerRefusal {
  return { code: "unknown_recipient", message: `There is no user "${name}"; they have to connect once first` };
}

/** Refuses a request about a user who was never connected. */
export function unknownUser(name: string): BrokerRefusal {
  return { code: "unknown_recipient", message: `There is no user "${name}"` };
}

/** Refuses a request about a group that does not exist. */
export function unknownGroup(group: string): BrokerRefusal {
  return { code: "unknown_group", message: `There is no group "${group}"` };
}

/** Refuses a request of a user who is not in the group. */
export function notMember(group: string): BrokerRefusal {
  return { code: "not_member", message: `You are not a member of "${group}"` };
}

/** Refuses a message to a user for whom too many are waiting. */
export function mailboxFull(recipient: string): BrokerRefusal {
  return { code: "mailbox_full", message: `The mailbox of "${recipient}" is full; try again when they have read it` };
}

/** Refuses a message to a user for whom as many wait as one sender may leave to them. */
export function mailboxShareFull(recipient: string): BrokerRefusal {
  const message = `Your share of the mailbox of "${recipient}" is full; try again when they have read what you sent`;
  return { code: "mailbox_full", message };
}

/** Refuses a message whose id its sender has used for another one. */
export function idConflict(id: string): BrokerRefusal {
  return { code: "id_conflict", message: `The id "${id}" was used for another message` };
}

/** Refuses a message of which a text has a character that the engine cannot keep. */
export function hasNul(member: "content" | "id" | "origin"): BrokerRefusal {
  return { code: "bad_content", message: `"${member}" has U+0000` };
}

/** Refuses a message that could not be written. One object for all of them. */
export const UNAVAILABLE: BrokerRefusal = {
  code: "unavailable",
  message: "The message could not be stored now; send it again",
};

/** Refuses a message where memory is full of messages that nobody has yet. One object for all of them. */
export const NO_ROOM: BrokerRefusal = { code: "unavailable", message: "The server has no room for messages" };

// ---- Groups -----------------------------------------------------------------------------------------------------------------

/** Refuses to create a group whose name is taken. */
export function groupExists(group: string): BrokerRefusal {
  return { code: "group_exists", message: `There is a group "${group}" already` };
}

/** Refuses to let somebody join a group that is not open. */
export function byInvitation(group: string): BrokerRefusal {
  return { code: "forbidden", message: `"${group}" is by invitation only` };
}

/** Refuses to let somebody but the owner remove members; `owner` is "" where there is none. */
export function ownersOnly(owner: string): BrokerRefusal {
  if (owner === "") return { code: "forbidden", message: "There is no owner now, who alone may remove members" };
  return { code: "forbidden", message: `Only the owner "${owner}" may remove members` };
}

/** Refuses to bring somebody back who has left after an invitation by the same person. */
export function hasDeclined(user: string, group: string): BrokerRefusal {
  const message =
    `"${user}" has left "${group}" after your invitation; they can come back without you, or another may invite them`;
  return { code: "forbidden", message };
}

/** Refuses to remove a user who is not in the group. */
export function notAMember(target: string): BrokerRefusal {
  return { code: "not_member", message: `"${target}" is not a member` };
}

/** Refuses one member more than a group may have. */
export function groupFull(group: string, most: number): BrokerRefusal {
  return { code: "limit_reached", message: `"${group}" has ${most} members, the most there may be` };
}

/** Refuses one group more than a user may be in. */
export function tooManyGroups(user: string, most: number): BrokerRefusal {
  return { code: "limit_reached", message: `"${user}" is in ${most} groups of their own, the most one may be in` };
}

/** Refuses to bring a user into one group more than others, or this one other, may bring them into. */
export function tooManyInvitations(user: string): BrokerRefusal {
  const message = `"${user}" was brought into too many groups, or into too many by you; they have to leave some first`;
  return { code: "limit_reached", message };
}
