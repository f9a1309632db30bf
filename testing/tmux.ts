/** A program on a terminal that a test can see: tmux, on a server of its own. */

import type { Command } from "./process.ts";

/** Milliseconds after which what is not on the screen never will be. */
const PATIENCE_MS = 30_000;
/** Milliseconds between two looks at the screen. */
const LOOK_MS = 25;

/** One terminal with one program in it. */
export class Terminal implements AsyncDisposable {
  readonly #socket: string;
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.#socket = `${folder}/tmux`;
  }

  /** Starts a program on a terminal of `columns` by `rows`. The terminal stays when it ends. */
  static async start(
    { command, args }: Command,
    more: readonly string[],
    env: Record<string, string>,
    { columns = 80, rows = 24 } = {},
  ): Promise<Terminal> {
    const terminal = new Terminal(await Deno.makeTempDir());
    const settings = Object.entries({ LANG: "C.UTF-8", TERM: "screen-256color", ...env }).map(([name, value]) =>
      `${name}=${value}`
    );
    const line = ["env", "-u", "NO_COLOR", ...settings, command, ...args, ...more].map(quoted).join(" ");
    // Afterwards the shell says what it was left: its terminal's settings and the exit status.
    const program = `sh -c ${quoted(`echo $$ > ${quoted(`${terminal.#folder}/pid`)}; exec ${line}`)}`;
    const script = `stty -a > ${quoted(`${terminal.#folder}/before`)}; ${program}; echo "ended with $?"; ` +
      `stty -a > ${quoted(`${terminal.#folder}/after`)}; exec cat`;
    await terminal.#tmux("-f", "/dev/null", "new-session", "-d", "-x", `${columns}`, "-y", `${rows}`, script);
    return terminal;
  }

  async #tmux(...args: string[]): Promise<string> {
    const { success, stdout, stderr } = await new Deno.Command("tmux", {
      args: ["-u", "-S", this.#socket, ...args],
      env: { TMUX: "", LANG: "C.UTF-8" },
    }).output();
    if (!success) throw new Error(`tmux ${args[0]}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  /** Types text as it is. */
  async type(text: string): Promise<void> {
    await this.#tmux("send-keys", "-l", text);
  }

  /** Presses keys by their names in tmux, such as `Enter`, `Tab`, `C-c`. */
  async press(...keys: string[]): Promise<void> {
    await this.#tmux("send-keys", ...keys);
  }

  /** Sends bytes as the terminal would. */
  async send(text: string): Promise<void> {
    const bytes = [...new TextEncoder().encode(text)].map((byte) => byte.toString(16).padStart(2, "0"));
    await this.#tmux("send-keys", "-H", ...bytes);
  }

  /** Pastes text, as the terminal does that marks what is pasted. */
  async paste(text: string): Promise<void> {
    const file = `${this.#folder}/paste`;
    await Deno.writeTextFile(file, text);
    await this.#tmux("load-buffer", file);
    await this.#tmux("paste-buffer", "-p", "-d");
  }

  /** Sends the program a signal. */
  kill(signal: Deno.Signal): void {
    Deno.kill(Number(Deno.readTextFileSync(`${this.#folder}/pid`)), signal);
  }

  async resize(columns: number, rows: number): Promise<void> {
    await this.#tmux("resize-window", "-x", `${columns}`, "-y", `${rows}`);
  }

  /** Returns what is on the screen, and with `back` what has left it; no empty lines at the end. */
  async screen(back = false): Promise<string[]> {
    const text = await this.#tmux("capture-pane", "-p", ...(back ? ["-S", "-", "-J"] : []));
    return text.trimEnd().split("\n").map((line) => line.trimEnd());
  }

  /** The screen with its escape sequences for colours. */
  async colors(): Promise<string> {
    return await this.#tmux("capture-pane", "-p", "-e");
  }

  /** The title of the terminal. */
  async title(): Promise<string> {
    return (await this.#tmux("display-message", "-p", "#{pane_title}")).trim();
  }

  /** The screen, once it is as it should be. Rejects with the screen where it does not become so. */
  async until(isDone: (lines: string[]) => boolean, back = false): Promise<string[]> {
    const start = performance.now();
    for (;;) {
      const lines = await this.screen(back);
      if (isDone(lines)) return lines;
      if (performance.now() - start > PATIENCE_MS) throw new Error(`The screen did not become so:\n${lines.join("\n")}`);
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** The screen, once some line of it matches. */
  async shows(pattern: string | RegExp): Promise<string[]> {
    try {
      return await this.until((lines) =>
        lines.some((line) => typeof pattern === "string" ? line.includes(pattern) : pattern.test(line))
      );
    } catch (error) {
      throw new Error(`Nothing like ${pattern}. ${(error as Error).message}`);
    }
  }

  /** The screen, once its last line is this. */
  async endsWith(line: string): Promise<string[]> {
    try {
      return await this.until((lines) => lines.at(-1) === line);
    } catch (error) {
      throw new Error(`The last line is not ${JSON.stringify(line)}. ${(error as Error).message}`);
    }
  }

  /** Returns whether the program, once it has ended, left the terminal's settings as they were. */
  async isRestored(): Promise<boolean> {
    await this.shows("ended with");
    const after = `${this.#folder}/after`;
    await this.until(() => isWritten(after));
    return Deno.readTextFileSync(after) === Deno.readTextFileSync(`${this.#folder}/before`);
  }

  /** The program is killed, so that it writes nothing any more. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.kill("SIGKILL");
    } catch { /* it has ended */ }
    await this.#tmux("kill-server").catch(() => {});
    // The shell may be writing down how the terminal was left.
    for (let left = 40; !await isRemoved(this.#folder, left === 0); left--) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }
}

/** A word as a shell reads it. */
export function quoted(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

async function isRemoved(folder: string, isLast: boolean): Promise<boolean> {
  try {
    await Deno.remove(folder, { recursive: true });
    return true;
  } catch (error) {
    if (isLast) throw error;
    return false;
  }
}

function isWritten(file: string): boolean {
  try {
    return Deno.statSync(file).size > 0;
  } catch {
    return false;
  }
}
