/**
 * Programs as child processes: what tests of the whole start, type into and read from.
 *
 * Waits are for lines, never for time; a test that waits for a line that never comes fails with all that was said.
 */

import { programOf } from "../tools/compile.ts";
import config from "../deno.json" with { type: "json" };

/** Milliseconds after which a line that did not come never will: generous, for a machine under load. */
const PATIENCE_MS = 30_000;
const ROOT = new URL("..", import.meta.url);

/** Program to run: the command, and the arguments that come before all others. */
export interface Command {
  readonly command: string;
  readonly args: readonly string[];
}

/** The program of a task, from its source, with the task's permissions. */
export function fromSource(task: "server" | "client"): Command {
  const { main, flags } = programOf(task, config.tasks[task].command);
  return { command: Deno.execPath(), args: ["run", ...flags, new URL(main, ROOT).href] };
}

/** The lines that a process prints, read one by one. */
class Lines {
  readonly #lines: string[] = [];
  #read = 0;
  #ended = false;
  #changed = Promise.withResolvers<void>();
  readonly done: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.done = this.#gather(stream);
  }

  async #gather(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop()!;
      this.#lines.push(...lines);
      this.#notify();
    }
    if (rest !== "") this.#lines.push(rest);
    this.#ended = true;
    this.#notify();
  }

  #notify(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** The next line that matches, and skips those before it. Rejects where the process ends or says nothing like it for long. */
  async next(pattern: string | RegExp): Promise<string> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const patience = new Promise<"late">((resolve) => timer = setTimeout(resolve, PATIENCE_MS, "late"));
    try {
      for (;;) {
        while (this.#read < this.#lines.length) {
          const line = this.#lines[this.#read++]!;
          if (typeof pattern === "string" ? line.includes(pattern) : pattern.test(line)) return line;
        }
        if (this.#ended || await Promise.race([this.#changed.promise, patience]) === "late") {
          throw new Error(`Nothing like ${pattern} came, but:\n${this.#lines.join("\n")}`);
        }
      }
    } finally {
      clearTimeout(timer);
    }
  }

  /** Everything so far. */
  all(): string[] {
    return [...this.#lines];
  }
}

/** A process with its input and its two outputs. Killed when disposed of, if it still runs. */
export class Running implements AsyncDisposable {
  readonly out: Lines;
  readonly err: Lines;
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;

  constructor({ command, args }: Command, more: readonly string[] = [], env: Record<string, string> = {}) {
    this.#child = new Deno.Command(command, {
      args: [...args, ...more],
      env: { NO_COLOR: "1", PARLEY_LOG_FORMAT: "text", ...env },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.out = new Lines(this.#child.stdout);
    this.err = new Lines(this.#child.stderr);
    this.#input = this.#child.stdin.getWriter();
  }

  /** Types a line. */
  async type(line: string): Promise<void> {
    await this.#input.write(new TextEncoder().encode(line + "\n"));
  }

  /** Ends the input. */
  async endInput(): Promise<void> {
    await this.#input.close();
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** The exit status, once all output was read. */
  async code(): Promise<number> {
    await Promise.all([this.out.done, this.err.done]);
    return (await this.#child.status).code;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.code();
    await this.#input.abort().catch(() => {});
  }
}

/** Runs a program to its end, with all of `input` on its stdin. */
export async function runToEnd(
  command: Command,
  args: readonly string[],
  input = "",
  env: Record<string, string> = {},
): Promise<{ code: number; out: string; err: string }> {
  await using running = new Running(command, args, env);
  // A program that does not read its input may be gone before it is written.
  await running.type(input).then(() => running.endInput()).catch(() => {});
  const code = await running.code();
  return { code, out: running.out.all().join("\n"), err: running.err.all().join("\n") };
}

/** A server on a free port. */
export class RunningServer extends Running {
  /** Starts one and waits until it listens. `data` may be `:memory:`. */
  static async start(command: Command, args: readonly string[] = [], env: Record<string, string> = {}): Promise<RunningServer> {
    const server = new RunningServer(command, ["--port", "0", ...args], env);
    try {
      const line = await server.out.next(/wss?:\/\/127\.0\.0\.1:\d+\/ws/);
      server.#url = /wss?:\/\/127\.0\.0\.1:\d+\/ws/.exec(line)![0];
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw new Error(`The server did not start: ${server.err.all().join("\n")}`, { cause: error });
    }
  }

  #url = "";

  /** Address at which clients connect. */
  get url(): string {
    return this.#url;
  }
}
