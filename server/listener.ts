/**
 * `Deno.serve` that outlives a shortage of file descriptors. At the first connection that it cannot take (EMFILE) Deno closes its
 * listener for good, while the process and its open sockets live on: whoever opens enough connections would end the service.
 */

/**
 * Milliseconds between attempts to listen. They fail as long as the listener is there, and cost a system call. Deno's own word
 * that it is gone (`finished`) cannot be waited for: some versions give it when the last open connection ends.
 */
const LISTEN_MS = 1_000;
/** Milliseconds between two lines about it: a flood of connections is none of lines. */
const REPORT_MS = 60_000;

/** What is served. */
export interface ServeOptions {
  readonly hostname: string;
  /** 0 for any free port. */
  readonly port: number;
  readonly handler: (request: Request, remote: Deno.NetAddr) => Response | Promise<Response>;
  readonly onError: (error: unknown) => Response;
  /** Told when connections cannot be accepted, at most once a minute. One line for the operator. */
  readonly report: (line: string) => void;
}

/** Serves HTTP until it is shut down. */
export class Serving {
  readonly port: number;
  readonly #options: ServeOptions;
  #http: Deno.HttpServer;
  readonly #timer: ReturnType<typeof setInterval>;
  #reportedAt = -Infinity;

  /** Throws what `Deno.serve` throws, such as `Deno.errors.AddrInUse`. */
  constructor(options: ServeOptions) {
    this.#options = options;
    this.#http = this.#serve(options.port);
    this.port = (this.#http.addr as Deno.NetAddr).port;
    this.#timer = setInterval(() => this.#listenAgain(), LISTEN_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Stops accepting, and lets requests finish. Idempotent. */
  async shutdown(): Promise<void> {
    clearInterval(this.#timer);
    await this.#http.shutdown();
  }

  #serve(port: number): Deno.HttpServer {
    const { hostname, handler, onError } = this.#options;
    const http = Deno.serve(
      { hostname, port, onListen() {}, onError },
      (request, { remoteAddr }) => handler(request, remoteAddr as Deno.NetAddr),
    );
    http.finished.catch((error) => this.#report(error));
    return http;
  }

  #listenAgain(): void {
    try {
      this.#http = this.#serve(this.port);
    } catch { /* it listens, or there is still no descriptor */ }
  }

  #report(error: unknown): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = now;
    this.#options.report(`cannot take more connections (${String(error)}); open ones go on, and it tries again until it can`);
  }
}
