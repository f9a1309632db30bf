/**
 * A checker in the manner of Jepsen: given what was sent, what was acked and what every device read, it says what is wrong.
 */

import { isGroup, type Message } from "../protocol.ts";

/** Acts of one device. */
export interface DeviceHistory {
  readonly user: string;
  readonly device: string;
  /** True for the extended level. A base device cannot confirm, so it may miss what was handed to a socket that broke. */
  readonly extended: boolean;
  /** Every message it tried to send, by id. */
  readonly sent: ReadonlyMap<string, Message>;
  /** Positions of the ids that were acked, in every ack. */
  readonly acked: ReadonlyMap<string, readonly number[]>;
  /** Every message that came, as it came. */
  readonly received: readonly Message[];
}

/** Members per group, who are in it from before the first message, to the end unless it is said otherwise. */
export type Groups = ReadonlyMap<string, readonly string[]>;

/** End of a membership. */
export interface Ending {
  readonly user: string;
  readonly group: string;
  /** Position of a message from before the end: up to it everything is due to the user. */
  readonly due: number;
  /** Position of a message from after the end: nothing beyond it is for the user. */
  readonly last: number;
}

/** Everything that is wrong, in words; empty where every promise was kept. */
export function check(devices: readonly DeviceHistory[], groups: Groups, endings: readonly Ending[] = []): string[] {
  const world = { devices, groups, endings };
  return [...checkAcks(devices), ...devices.flatMap((device) => checkDevice(device, world)), ...checkOrder(devices)];
}

interface World {
  readonly devices: readonly DeviceHistory[];
  readonly groups: Groups;
  readonly endings: readonly Ending[];
}

function label({ user, device }: DeviceHistory): string {
  return `${user}/${device}`;
}

function readers({ sender, recipient }: Message, groups: Groups): readonly string[] {
  return isGroup(recipient) ? groups.get(recipient) ?? [] : [sender, recipient];
}

/** An id has one position, and a position one id. */
function checkAcks(devices: readonly DeviceHistory[]): string[] {
  const wrong: string[] = [];
  const owners = new Map<number, string>();
  for (const device of devices) {
    for (const [id, positions] of device.acked) {
      if (new Set(positions).size > 1) wrong.push(`${label(device)}: ${id} was acked at ${positions.join(" and ")}`);
      const seq = positions[0]!;
      const other = owners.get(seq);
      if (other !== undefined && other !== id) wrong.push(`position ${seq} was acked for ${other} and for ${id}`);
      owners.set(seq, id);
    }
  }
  return wrong;
}

function checkDevice(device: DeviceHistory, { devices, groups, endings }: World): string[] {
  const endOf = ({ recipient }: Message) =>
    endings.find(({ user, group }) => user === device.user && group === recipient) ?? { due: Infinity, last: Infinity };
  const wrong: string[] = [];
  const times = new Map<string, number>();
  for (const message of device.received) {
    const id = message.id ?? message.content;
    times.set(id, (times.get(id) ?? 0) + 1);
    const sender = devices.find((other) => other.sent.has(id));
    const original = sender?.sent.get(id);
    if (!original) wrong.push(`${label(device)} read ${id}, which nobody sent`);
    else if (original.content !== message.content || original.sender !== message.sender) wrong.push(`${id} was altered`);
    if (sender === device) wrong.push(`${label(device)} read ${id}, which it sent itself`);
    if (!readers(message, groups).includes(device.user)) {
      wrong.push(`${label(device)} read ${id}, which is not addressed to it`);
    }
    if ((message.seq ?? 0) > endOf(message).last) wrong.push(`${label(device)} read ${id}, sent after its user had left`);
  }
  if (!device.extended) return wrong;
  for (const [id, count] of times) if (count > 1) wrong.push(`${label(device)} read ${id} ${count} times`);
  for (const sender of devices) {
    if (sender === device) continue;
    for (const [id, [seq]] of sender.acked) {
      const message = sender.sent.get(id)!;
      if (readers(message, groups).includes(device.user) && seq! <= endOf(message).due && !times.has(id)) {
        wrong.push(`${label(device)} never read ${id}, which was acked`);
      }
    }
  }
  return wrong;
}

/** Positions say the order; every device must have read in that order, and an id must have the same position everywhere. */
function checkOrder(devices: readonly DeviceHistory[]): string[] {
  const wrong: string[] = [];
  const positions = new Map<string, number>();
  for (const device of devices) {
    let last = 0;
    for (const { id, seq } of device.received) {
      if (id === undefined || seq === undefined) continue;
      if (seq <= last) wrong.push(`${label(device)} read position ${seq} after ${last}`);
      last = seq;
      const known = positions.get(id);
      if (known !== undefined && known !== seq) wrong.push(`${id} stands at ${known} and at ${seq}`);
      positions.set(id, seq);
    }
  }
  for (const device of devices) {
    for (const [id, acked] of device.acked) {
      const known = positions.get(id);
      if (known !== undefined && known !== acked[0]) wrong.push(`${id} was acked at ${acked[0]} and read at ${known}`);
    }
  }
  return wrong;
}
