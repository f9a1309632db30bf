/**
 * Sockets to PostgreSQL, for npm's `postgres`, which gets each of them ready to use: connected, and where TLS is asked for with the
 * server's certificate and name verified. So nothing is said before that, and no socket or timer outlives a client that is ended.
 */

import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { delay } from "@std/async/delay";
import { BrokerError } from "../errors.ts";
import { type Host, placeOf } from "./host.ts";
import type { Settings } from "./settings.ts";

/** Milliseconds to connect and to agree on TLS: a host that is gone does not answer at all. */
const CONNECT_MS = 3_000;
/** Milliseconds of silence on a connection before TCP asks whether the peer is still there. */
const KEEP_ALIVE_MS = 10_000;
/** Milliseconds after a loss before a pool opens another connection. */
const AGAIN_MS = 100;
/** Asks for TLS: the length, and the number that stands where the version of the protocol would. */
const TLS_REQUEST = new Uint8Array([0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f]);
/** Answer of a server that speaks TLS: an S. */
const TLS_TAKEN = 0x53;

/** Sockets of one client. */
export class Sockets {
  readonly #host: Host;
  readonly #tls: Settings["tls"];
  readonly #open = new Set<Socket>();
  readonly #ended = new AbortController();
  #lostAt: number | undefined;
  #mayReplace = false;

  constructor(host: Host, tls: Settings["tls"]) {
    this.#host = host;
    this.#tls = tls;
  }

  /** Lets sockets that are lost be replaced: until then a loss is a failure to connect, which would only be repeated. */
  replaceLost(): void {
    this.#mayReplace = true;
  }

  /** Opens one. Rejects in words for operators, and once the client is ended. */
  async connect(): Promise<Socket> {
    const { signal } = this.#ended, place = placeOf(this.#host);
    if (this.#lostAt !== undefined) {
      if (!this.#mayReplace) throw new Error(`PostgreSQL at ${place} closes the connection without a word`);
      await delay(Math.max(0, this.#lostAt + AGAIN_MS - performance.now()), { signal });
    }
    signal.throwIfAborted();
    const { host, port, path } = this.#host;
    let socket = path === undefined ? connect(port, host) : connect(path);
    this.#keep(socket);
    const timer = setTimeout(() => socket.destroy(new Error(`PostgreSQL at ${place} does not answer`)), CONNECT_MS);
    try {
      await event(socket, "connect");
      socket.setKeepAlive(true, KEEP_ALIVE_MS);
      socket.setNoDelay(true);
      if (this.#tls && path === undefined) {
        const raw = socket;
        socket = await this.#startTls(raw, host, place);
        this.#open.delete(raw); // closed with the one around it
        await event(socket, "secureConnect");
      }
      signal.throwIfAborted();
      return socket;
    } catch (error) {
      socket.destroy();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #keep(socket: Socket): void {
    this.#open.add(socket);
    socket.on("error", () => {}); // nobody may listen at the moment; the close that follows is heard
    socket.on("close", () => {
      this.#lostAt = performance.now();
      this.#open.delete(socket);
    });
  }

  /**
   * Asks for TLS and begins it, right after the answer: a moment later older releases of Deno read on, and in its own handler newer
   * ones do not hear of the rest. Rejects where the server does not speak it, or says more than that: whatever comes before TLS is
   * not from it.
   */
  async #startTls(raw: Socket, host: string, place: string): Promise<Socket> {
    const { ca } = this.#tls!;
    raw.write(TLS_REQUEST);
    const answer = await new Promise<Uint8Array | undefined>((resolve) => {
      raw.once("data", resolve);
      raw.once("close", () => resolve(undefined));
    });
    if (!answer) throw new Error(`PostgreSQL at ${place} closes the connection without a word`);
    if (answer.length !== 1 || answer[0] !== TLS_TAKEN) {
      throw new BrokerError(
        `PostgreSQL at ${place} does not speak TLS: set ssl = on there, or sslmode=disable if nobody can listen`,
      );
    }
    // The library would check an address against the name "localhost", so this is not left to it.
    const names = { host, ...isIP(host) === 0 && { servername: host } };
    const socket = connectTls({ socket: raw, ...names, ...ca !== undefined && { ca }, rejectUnauthorized: true });
    this.#keep(socket);
    return socket;
  }

  /** Closes all of them, and opens no more. Resolves when they are closed. */
  async end(): Promise<void> {
    this.#ended.abort(new Error("The connection is closed"));
    await Promise.all([...this.#open].map((socket) => {
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.destroy();
      return closed;
    }));
  }
}

/** Resolves with the argument of an event. Rejects where the socket fails or closes instead. */
function event(socket: Socket, name: string): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const settle = (how: (value: unknown) => void) => (value: unknown) => {
      socket.removeListener(name, resolved).removeListener("error", failed).removeListener("close", closed);
      how(value);
    };
    const resolved = settle(resolve), failed = settle(reject);
    const closed = settle(() => reject(new Error("The server closes the connection without a word")));
    socket.on(name, resolved).on("error", failed).on("close", closed);
  });
}
