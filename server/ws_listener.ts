/**
 * A server of Node's kind that outlives a shortage of file descriptors. At the first connection that it cannot take (EMFILE) it
 * stops accepting for good, without a word, while it says that it listens: whoever opens enough connections would end the
 * service. So it is asked whether it still hears, and listens again where it does not.
 */

import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { delay } from "@std/async/delay";
import { reachable } from "../limits/address.ts";
import { type Log, reasonOf } from "../ops/log.ts";

/** Milliseconds between two checks. Each is a connection to itself, unless another one has come meanwhile. */
const CHECK_MS = 1_000;
/** Milliseconds that a connection may take to be noticed, which a busy server needs. */
const NOTICE_MS = 2_000;
/** Milliseconds between two log entries about it: a flood of connections must not flood the log. */
const REPORT_MS = 60_000;

/** Options of a {@linkcode WsListener}. */
export interface WsListenerOptions {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  /** Takes an entry when connections cannot be accepted, at most once a minute. */
  readonly log: Log;
}

/** Keeps a server listening until it is stopped. */
export class WsListener {
  readonly port: number;
  readonly #server: Server;
  readonly #hostname: string;
  readonly #log: Log;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isStopped = false;
  #isListening = true;
  /** Connections that were accepted. */
  #accepted = 0;
  #checked = 0;
  #reportedAt = -Infinity;

  /** Listens. Rejects with what `Deno.listen` throws, such as `Deno.errors.AddrInUse`. */
  static async listen(server: Server, options: WsListenerOptions): Promise<WsListener> {
    await listenOnce(server, options.hostname, options.port);
    return new WsListener(server, options);
  }

  private constructor(server: Server, { hostname, log }: WsListenerOptions) {
    this.#server = server;
    this.#hostname = hostname;
    this.#log = log;
    this.port = (server.address() as AddressInfo).port;
    server.on("connection", () => this.#accepted++);
    // Errors of listening again are handled there; one that comes later is no reason to end the process.
    server.on("error", () => {});
    this.#checkLater();
  }

  /** False while connections cannot be taken. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** Stops accepting. Idempotent. */
  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearTimeout(this.#timer);
    this.#server.close();
  }

  #checkLater(): void {
    this.#timer = setTimeout(async () => {
      this.#isListening = await this.#hears();
      if (!this.#isListening && !this.#isStopped) await this.#listenAgain();
      if (!this.#isStopped) this.#checkLater();
    }, CHECK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Returns false where a connection was made and not accepted. */
  async #hears(): Promise<boolean> {
    if (!this.#hasAccepted()) {
      try {
        using _probe = await Deno.connect({ hostname: reachable(this.#hostname), port: this.port });
        for (const end = performance.now() + NOTICE_MS; !this.#hasAccepted();) {
          if (performance.now() > end || this.#isStopped) return this.#isStopped;
          await delay(10);
        }
      } catch (error) {
        // Without a descriptor for the question there is none for an answer.
        if (!(error instanceof Deno.errors.ConnectionRefused)) return true;
        return false;
      }
    }
    return true;
  }

  #hasAccepted(): boolean {
    const hasAccepted = this.#accepted !== this.#checked;
    this.#checked = this.#accepted;
    return hasAccepted;
  }

  async #listenAgain(): Promise<void> {
    this.#report("out of file descriptors");
    this.#server.close();
    try {
      await listenOnce(this.#server, this.#hostname, this.port);
      this.#isListening = true;
    } catch (error) {
      this.#report(reasonOf(error));
    }
  }

  #report(reason: string): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = now;
    this.#log("accept_failed", { reason });
  }
}

async function listenOnce(server: Server, host: string, port: number): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const failed = (error: Error) => reject(asDenoError(error));
  server.once("listening", resolve).once("error", failed);
  server.listen({ host, port });
  try {
    await promise;
  } finally {
    server.off("listening", resolve).off("error", failed);
  }
}

/** Turns an error of Node's kind into the one that Deno's own listeners throw. */
function asDenoError(error: Error & { code?: string }): Error {
  switch (error.code) {
    case "EADDRINUSE":
      return new Deno.errors.AddrInUse(error.message);
    case "EADDRNOTAVAIL":
      return new Deno.errors.AddrNotAvailable(error.message);
    case "EACCES":
      return new Deno.errors.PermissionDenied(error.message);
  }
  return error;
}
