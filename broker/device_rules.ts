/** Rules about the devices that are remembered: which one goes when there are too many. */

import { isBaseDevice } from "./names.ts";

/** A device as the rules look at it. */
export interface KeptDevice {
  readonly name: string;
  /** Position that it has confirmed. */
  readonly position: number;
  /** Position of the head when it was attached last. */
  readonly attached: number;
  /** True where the server made its name up: nobody has named it since. */
  readonly temporary: boolean;
}

/**
 * Messages that are looked at to find one that waits for a device among those that it sent itself. A device with more of its own
 * after its position counts as one with mail waiting.
 */
export const WAITING_SCANNED_MAX = 100;

/**
 * Returns the device that makes room: one whose name was made up; or else one for which nothing waits; of these the one that was
 * attached least recently; or else the one furthest behind. Undefined where none may go: the device of base connections stays.
 */
export function deviceToForget<D extends KeptDevice>(
  devices: readonly D[],
  hasWaiting: (device: D) => boolean,
): D | undefined {
  const candidates = devices.filter(({ name }) => !isBaseDevice(name))
    .sort((a, b) => a.attached - b.attached || (a.name < b.name ? -1 : 1));
  const behind = () => candidates.toSorted((a, b) => a.position - b.position)[0];
  return candidates.find(({ temporary }) => temporary) ?? candidates.find((device) => !hasWaiting(device)) ?? behind();
}
