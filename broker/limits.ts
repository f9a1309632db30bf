/** Bounds that every broker keeps to, with the reasons. */

/** Bounds on what is kept. `Infinity` lifts one. */
export interface BrokerLimits {
  /** Direct messages that may wait for a user before new ones are refused: months of chat for a person, hours of a loud script. */
  readonly mailbox: number;
  /** Days that messages are kept. */
  readonly retentionDays: number;
  /** Members of a group: every message costs a delivery to each. */
  readonly groupMembers: number;
  /** Groups that a user may be in: each is looked at when a device comes back. */
  readonly groupsPerUser: number;
}

/** Bounds that hold where an operator names no others. */
export const DEFAULT_LIMITS: BrokerLimits = { mailbox: 10_000, retentionDays: 30, groupMembers: 1_024, groupsPerUser: 200 };

/**
 * Devices of a user that are remembered; the next one takes the place of another, as broker/device_rules.ts says. A script that
 * makes up a name at every start would fill the disk with them.
 */
export const DEVICES_KEPT = 100;

/** Authors that are told when one marker newly covers messages of many: nobody reads a longer list. */
export const MARK_AUTHORS_MAX = 100;

/** Groups in one list: with the longest names they make some 256 KiB, a part of what may be queued to a connection. */
export const GROUPS_LISTED_MAX = 1_000;

/** Unread messages of a conversation are counted up to here: beyond it nobody cares, and the count stays cheap. */
export const UNREAD_MAX = 1_000;

/** Milliseconds of a day, the unit of {@linkcode BrokerLimits.retentionDays}. */
export const DAY_MS = 86_400_000;
