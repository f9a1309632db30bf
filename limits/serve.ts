/**
 * `Deno.serve` that outlives a shortage of file descriptors. Deno gives up accepting for good at the first connection that it
 * cannot take (EMFILE), while the process and its open sockets live on: whoever opens enough connections would end the service.
 */

/** Milliseconds between attempts to listen again: descriptors come back as connections end. */
const RETRY_MS = 100;
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
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isShutDown = false;
  #reportedAt = -Infinity;

  /** Throws what `Deno.serve` throws, such as `Deno.errors.AddrInUse`. */
  constructor(options: ServeOptions) {
    this.#options = options;
    this.#http = this.#serve(options.port);
    this.port = (this.#http.addr as Deno.NetAddr).port;
  }

  /** Stops accepting, and lets requests finish. Sockets of a listener that broke are not told. Idempotent. */
  async shutdown(): Promise<void> {
    this.#isShutDown = true;
    clearTimeout(this.#timer);
    if (this.#timer === undefined) await this.#http.shutdown();
  }

  #serve(port: number): Deno.HttpServer {
    const { hostname, handler, onError } = this.#options;
    const http = Deno.serve(
      { hostname, port, onListen() {}, onError },
      (request, { remoteAddr }) => handler(request, remoteAddr as Deno.NetAddr),
    );
    http.finished.catch((error) => {
      if (this.#isShutDown) return;
      this.#report(error);
      this.#listenLater();
    });
    return http;
  }

  #listenLater(): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      try {
        this.#http = this.#serve(this.port);
      } catch {
        this.#listenLater();
      }
    }, RETRY_MS);
  }

  #report(error: unknown): void {
    const now = performance.now();
    if (now - this.#reportedAt < REPORT_MS) return;
    this.#reportedAt = now;
    this.#options.report(`cannot take more connections (${String(error)}); open ones go on, and it tries again until it can`);
  }
}
