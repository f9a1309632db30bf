/**
 * Signs in names that every broker goes by.
 *
 * The grammar of names is protocol.ts's, and so is an `isGroup` for everybody else. This one stands here because the SQLite
 * worker loads nothing outside of broker/: it starts sooner, and a database thread needs no parser of frames.
 */

/** Name of the device that all base connections of a user share. Names that clients choose never begin with it. */
export const BASE_DEVICE = "~";

/** UTF-16 unit of `#`, with which names of groups begin. */
const GROUP_SIGN = 35;

/** Returns true for the name of a group, false for the name of a user. */
export function isGroup(name: string): boolean {
  return name.charCodeAt(0) === GROUP_SIGN;
}

/** Returns true for the device of base connections, and for the origins that the server gives them. */
export function isBaseDevice(device: string): boolean {
  return device.startsWith(BASE_DEVICE);
}
