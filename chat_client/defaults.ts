/** The socket and the clock of a client whose options name none. */

import type { Clock, Socket } from "./types.ts";

/** Opens a socket as browsers can, which set no headers on it: the token is a subprotocol, and never part of the address. */
export function openWebSocket(url: string, token: string | undefined): Socket {
  return new WebSocket(url, token === undefined ? [] : ["parley", `bearer.${token}`]);
}

/** Milliseconds since the process started, and its timers. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
