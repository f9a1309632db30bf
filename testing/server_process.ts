/** A server in a process of its own, which a test can kill. */

/** Milliseconds that a server has to say where it listens. */
const START_MS = 30_000;

/** Runs a program that prints `ws://127.0.0.1:PORT/ws`, or `wss`, once it listens. */
export class ServerProcess implements AsyncDisposable {
  readonly pid: number;
  readonly #child: Deno.ChildProcess;
  #output = "";
  readonly #reading: Promise<void>;
  #found: (port: number) => void = () => {};
  #printed: () => void = () => {};
  /** Resolves with the port it listens on; rejects when it ends without listening. */
  readonly port: Promise<number>;

  constructor(command: string, args: readonly string[], env: Record<string, string> = {}) {
    this.#child = new Deno.Command(command, { args: [...args], env, stdin: "null", stdout: "piped", stderr: "inherit" })
      .spawn();
    this.pid = this.#child.pid;
    this.port = new Promise((resolve, reject) => {
      this.#found = resolve;
      this.#child.status.then(() => reject(new Error(`The server did not start: ${this.#output}`)));
    });
    this.port.catch(() => {});
    this.#reading = this.#read();
  }

  async #read(): Promise<void> {
    const killer = setTimeout(() => this.#child.kill("SIGKILL"), START_MS);
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) {
      this.#output = (this.#output + text).slice(-4_096);
      this.#printed();
      const port = /wss?:\/\/127\.0\.0\.1:(\d+)\/ws/.exec(this.#output)?.[1];
      if (!port) continue;
      clearTimeout(killer);
      this.#found(Number(port));
    }
    clearTimeout(killer);
  }

  /** Sends a signal and gives the line that it prints then. */
  async ask(signal: Deno.Signal): Promise<string> {
    this.#output = "";
    this.#child.kill(signal);
    while (!this.#output.endsWith("\n")) await new Promise<void>((resolve) => this.#printed = resolve);
    return this.#output.trim();
  }

  /** Sends a signal and waits for the end; gives the exit status. */
  async stop(signal: Deno.Signal = "SIGKILL"): Promise<number> {
    try {
      this.#child.kill(signal);
    } catch { /* it has ended */ }
    await this.#reading;
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
