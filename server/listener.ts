/**
 * A listener that outlives a shortage of file descriptors. At the first connection that it cannot take (EMFILE) `Deno.serve`
 * closes its listener for good, while the process and its open sockets live on: whoever opens enough connections would end the
 * service.
 */

import type { Log } from "../ops/log.ts";

/**
 * Milliseconds between attempts to listen. They fail as long as the listener is there, and cost a system call. Deno's own word
 * that it is gone (`finished`) cannot be waited for: some versions give it when the last open connection ends.
 */
const LISTEN_MS = 1_000;
/** Milliseconds between two log entries about it: a flood of connections must not flood the log. */
const REPORT_MS = 60_000;

/** Options of a {@linkcode Listener}. */
export interface ListenerOptions {
  /** 0 for any free port. */
  readonly port: number;
  /** Listens on a port, as `Deno.serve` does, and throws as it does. */
  readonly listen: (port: number) => Deno.HttpServer<Deno.NetAddr>;
  /** Takes an entry when connections cannot be accepted, at most once a minute. */
  readonly log: Log;
}

/** Listens until it is shut down. */
export class Listener {
  readonly port: number;
  readonly #options: ListenerOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #http: Deno.HttpServer<Deno.NetAddr>;
  #reportedAt = -Infinity;
  #isListening = true;

  /** Throws what `listen` throws, such as `Deno.errors.AddrInUse`. */
  constructor(options: ListenerOptions) {
    this.#options = options;
    this.#http = this.#listen(options.port);
    this.port = this.#http.addr.port;
    this.#timer = setInterval(() => this.#listenAgain(), LISTEN_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** False from when the listener was found to be gone until it is there again. */
  get isListening(): boolean {
    return this.#isListening;
  }

  /** Stops accepting, and lets requests finish. Idempotent. */
  async shutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.#http.shutdown();
  }

  #listen(port: number): Deno.HttpServer<Deno.NetAddr> {
    const http = this.#options.listen(port);
    http.finished.catch((error) => this.#report(error));
    return http;
  }

  #listenAgain(): void {
    try {
      this.#http = this.#listen(this.port);
      this.#isListening = true;
    } catch (error) {
      // Where the port is in use, it is this listener that uses it; else there is still no descriptor.
      this.#isListening = error instanceof Deno.errors.AddrInUse;
    }
  }

  #report(error: unknown): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = now;
    this.#options.log("accept_failed", { reason: String(error) });
  }
}
