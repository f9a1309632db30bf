/** Bounds that every broker keeps to, with the reasons. */

/** Bounds on what is kept. `Infinity` lifts one. */
export interface BrokerLimits {
  /** Direct messages that may wait for a user before new ones are refused: months of chat for a person, hours of a loud script. */
  readonly mailbox: number;
  /** Days that messages are kept. */
  readonly retentionDays: number;
  /** Members of a group: every message costs a delivery to each. */
  readonly groupMembers: number;
  /**
   * Groups that a user may be in by creating or joining them: each is looked at when a device comes back. As many again may be
   * those that others have brought them into.
   */
  readonly groupsPerUser: number;
}

/**
 * Returns how much one person may take of something that belongs to another, such as the room in their mailbox: half of what
 * the others have left of it, rounded up. So none can use it up for all.
 */
export function shareOf(limit: number, takenByOthers: number): number {
  return Math.ceil((limit - takenByOthers) / 2);
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

/**
 * The newest messages of a conversation that are looked at to count the unread ones, so that no count is higher: beyond it nobody
 * cares, and the count stays cheap.
 */
export const UNREAD_MAX = 1_000;

/**
 * Messages that one list of conversations looks at for its counts, some milliseconds; a list that needs more is cut, and the next
 * one goes on. As many as the conversations of a usual list have at most.
 */
export const UNREAD_LOOKED_MAX = 50_000;

/** Messages that are looked at to find the authors whom a marker covers. */
export const AUTHORS_LOOKED_MAX = 1_000;

/**
 * Ended memberships of groups that are kept for a user whose devices are away: twice the groups that they may be in. The oldest go
 * beyond it, and a device that needs them is told that it has missed something.
 */
export const ENDED_KEPT = 400;

/** Characters of content in a page of the whole log. */
export const FEED_CHARS_MAX = 262_144;
/** Changes of groups that are kept: who follows is seldom further behind, and more fill no disk. */
export const CHANGES_KEPT = 100_000;

/** Milliseconds of a day, the unit of {@linkcode BrokerLimits.retentionDays}. */
export const DAY_MS = 86_400_000;
