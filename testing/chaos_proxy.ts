/** A TCP proxy that delays what it carries and cuts it, between real clients and a real server. */

/** Milliseconds that a piece of data is held at most. */
const DELAY_MS_MAX = 5;

/** Carries connections to `upstream`, badly. */
export class ChaosProxy implements AsyncDisposable {
  /** Port of the server, or what chooses one for each connection; may change while it runs. 0: nobody is there. */
  upstream: number | (() => number) = 0;
  readonly port: number;
  readonly #listener: Deno.TcpListener;
  readonly #links = new Set<{ close(): void }>();
  readonly #running: Promise<void>;
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = this.#listener.addr.port;
    this.#running = this.#accept();
  }

  /** Cuts each connection with this probability. */
  cut(probability: number): void {
    for (const link of [...this.#links]) if (this.#random() < probability) link.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    this.cut(1);
    await this.#running;
  }

  async #accept(): Promise<void> {
    const carried: Promise<void>[] = [];
    try {
      for await (const client of this.#listener) carried.push(this.#carry(client));
    } catch { /* the listener is closed */ }
    await Promise.all(carried);
  }

  async #carry(client: Deno.TcpConn): Promise<void> {
    let server: Deno.TcpConn;
    try {
      const port = typeof this.upstream === "number" ? this.upstream : this.upstream();
      server = await Deno.connect({ hostname: "127.0.0.1", port });
    } catch {
      return client.close();
    }
    let open = true;
    const link = {
      close: () => {
        if (!open) return;
        open = false;
        this.#links.delete(link);
        client.close();
        server.close();
      },
    };
    this.#links.add(link);
    await Promise.all([this.#pump(client, server, link), this.#pump(server, client, link)]);
  }

  async #pump(from: Deno.TcpConn, to: Deno.TcpConn, link: { close(): void }): Promise<void> {
    const buffer = new Uint8Array(16_384);
    try {
      for (;;) {
        const length = await from.read(buffer);
        if (length === null) break;
        if (this.#random() < 0.2) await new Promise((resolve) => setTimeout(resolve, this.#random() * DELAY_MS_MAX));
        for (let sent = 0; sent < length;) sent += await to.write(buffer.subarray(sent, length));
      }
    } catch { /* cut */ }
    link.close();
  }
}
