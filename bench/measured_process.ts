/**
 * A child process that talks in lines of JSON, and what the operating system says of its processor time and memory.
 */

import { deadline } from "@std/async/deadline";

/** Milliseconds for any one answer: ten times what the slowest takes. */
const ANSWER_MS = 120_000;

/** Processors that a process may use, as `taskset -c` takes them; undefined for all. */
export type Cpus = string | undefined;

/** A child process of this benchmark. */
export class MeasuredProcess {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string>;
  #turn: Promise<unknown> = Promise.resolve();
  static readonly #running = new Set<MeasuredProcess>();

  /** Kills those that run: for an end in the middle. */
  static killAll(): void {
    for (const { pid } of MeasuredProcess.#running) Deno.kill(pid, "SIGKILL");
  }

  /** Starts this same Deno with `args`. */
  constructor(args: readonly string[], cpus: Cpus) {
    const command = cpus === undefined ? [] : ["taskset", "-c", cpus];
    const [program, ...rest] = [...command, Deno.execPath(), ...args];
    this.#child = new Deno.Command(program!, { args: rest, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = lines(this.#child.stdout);
    MeasuredProcess.#running.add(this);
    void this.#child.status.then(() => MeasuredProcess.#running.delete(this));
  }

  get pid(): number {
    return this.#child.pid;
  }

  /** The next line that the process prints. Rejects when it ends instead, or prints none for long. */
  async line(): Promise<string> {
    const { value, done } = await deadline(this.#lines.next(), ANSWER_MS).catch(() => {
      throw new Error(`bench: process ${this.#child.pid} did not answer within ${ANSWER_MS / 1_000} s`);
    });
    if (done) throw new Error(`bench: process ${this.#child.pid} ended before it answered`);
    return value;
  }

  /** Sends a command and gives back the answer; one at a time, in order. Rejects where the answer says `failed`. */
  ask<T>(command: unknown): Promise<T> {
    const answer = this.#turn.then(async () => {
      await this.#writer.write(new TextEncoder().encode(JSON.stringify(command) + "\n"));
      const result = JSON.parse(await this.line());
      if (typeof result.failed === "string") throw new Error(`bench: ${result.failed}`);
      return result as T;
    });
    this.#turn = answer.catch(() => {});
    return answer;
  }

  /** Microseconds on a processor so far, of all threads. */
  cpuUs(): number {
    let ns = 0;
    for (const { name } of Deno.readDirSync(`/proc/${this.#child.pid}/task`)) {
      try {
        ns += Number.parseInt(Deno.readTextFileSync(`/proc/${this.#child.pid}/task/${name}/schedstat`), 10);
      } catch {
        // The thread ended in between.
      }
    }
    return ns / 1_000;
  }

  /** KiB of memory that are the process's alone or its share of (Pss); `peak` is the most it ever had resident. */
  memoryKib(): { now: number; peak: number } {
    const field = (file: string, name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(Deno.readTextFileSync(`/proc/${this.#child.pid}/${file}`))?.[1]);
    return { now: field("smaps_rollup", "Pss"), peak: field("status", "VmHWM") };
  }

  /** Ends it and waits for that. */
  async stop(): Promise<void> {
    try {
      this.#child.kill("SIGTERM");
    } catch {
      // It ended by itself.
    }
    const timer = setTimeout(() => this.#child.kill("SIGKILL"), 6_000);
    await this.#child.status;
    clearTimeout(timer);
    await this.#writer.close().catch(() => {});
    await this.#lines.return(undefined);
  }
}

async function* lines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const parts = (rest + text).split("\n");
    rest = parts.pop()!;
    yield* parts;
  }
}
