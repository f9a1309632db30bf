/** The socket and the clock of a client whose options name none. */

import type { Clock, Socket, SocketFactory } from "./types.ts";

/** A class of WebSockets, as browsers, Deno, Node.js from version 22 and the library `ws` have one. */
export type SocketClass = new (url: string, protocols: string[]) => Socket;

/**
 * Returns a factory of sockets of a class, for programs in an environment without one. The token is a subprotocol, as in browsers,
 * which set no headers, and never part of the address.
 */
export function socketsOf(SocketClass: SocketClass): SocketFactory {
  return (url, token) => new SocketClass(url, token === undefined ? [] : ["parley", `bearer.${token}`]);
}

/** Opens a socket of the environment's own. Throws where it has none. */
export function openWebSocket(url: string, token: string | undefined): Socket {
  const { WebSocket: Native } = globalThis as { WebSocket?: SocketClass };
  if (Native) return socketsOf(Native)(url, token);
  throw new Error('There is no WebSocket here: give the client one, as in "socket: socketsOf(WebSocket)" with that of "ws"');
}

/** Milliseconds since the process started, and its timers. */
export const SYSTEM_CLOCK: Clock = {
  now: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};
