/**
 * The one file that touches the terminal: keys in, lines out above the line being typed, and the terminal as it was at the end,
 * however the end comes.
 *
 * Nothing is redrawn while somebody types but by readline itself; what arrives moves the line being typed down.
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import readline from "node:readline";
import { PassThrough } from "node:stream";
import { commonStart } from "./commands.ts";
import { PASTE_OFF, PASTE_ON, PasteFilter, withJoinSigns } from "./paste.ts";
import { sanitize } from "../sanitize.ts";
import { rowsOf } from "./view.ts";

/** Typed lines that can be called back. */
const RECALL_MAX = 500;
const CTRL_Z = "\x1a";
/** Milliseconds after which a process that was told to stop has stopped. */
const NOT_STOPPED_MS = 200;
/** One key that is no text. */
// deno-lint-ignore no-control-regex
const KEY_REGEXP = /(\x1b(?:\[[\d;]*[ -/]*[@-~]|O.|[^])?|[\x00-\x1f\x7f])/u;
/** The end of a chunk in the middle of a key. */
// deno-lint-ignore no-control-regex
const CUT_KEY_REGEXP = /\x1b(?:\[[\d;]*|O)?$/;

/** What a screen tells. */
export interface ScreenOptions {
  /** Lines typed before, the newest first. */
  readonly recall: string[];
  line(text: string): void;
  /** A key was pressed. */
  key(): void;
  /** The input ended, or Ctrl-C on an empty line. */
  end(): void;
  complete(line: string): { readonly candidates: string[]; readonly word: string };
}

/** What a chat is shown on. */
export interface Surface {
  readonly columns: number;
  /** The line being typed, where that is known. */
  readonly line: string;
  /** What was typed stays where it was typed. */
  readonly keepsTyped: boolean;
  /** Writes lines. `text` has to be harmless already. */
  print(text: string): void;
  /** Writes what changes nothing on the screen, such as a bell. */
  ring(text: string): void;
  set prompt(text: string);
  clear(): void;
  /** Puts the terminal back as it was. Idempotent. */
  close(): void;
}

/** The terminal of this process, with the line being typed below what arrives. Only one can be open. */
export class Screen implements Surface {
  readonly keepsTyped = false;
  readonly #options: ScreenOptions;
  readonly #keys = new PassThrough();
  readonly #readline: readline.Interface;
  readonly #filter = new PasteFilter();
  readonly #undo: (() => void)[] = [];
  #prompt = "> ";
  #open = true;
  #isSuspended = false;

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.#raw(true);
    this.#readline = readline.createInterface({
      input: this.#keys,
      output: process.stdout,
      terminal: true,
      history: options.recall.slice(0, RECALL_MAX),
      historySize: RECALL_MAX,
      removeHistoryDuplicates: true,
      tabSize: 4,
      completer: (line: string) => this.#complete(line),
    });
    this.#readline.on("line", (line) => this.#entered(line));
    this.#readline.on("SIGINT", () => this.#interrupt());
    this.#readline.on("close", () => this.#open && options.end());
    this.#readline.setPrompt(this.#prompt);
    this.#readline.prompt();
    if (Deno.build.os !== "windows") this.#listen("SIGCONT", () => this.#resume());
    void this.#read();
  }

  /** Columns of the terminal. */
  get columns(): number {
    return Math.max(process.stdout.columns || 80, 10);
  }

  /** The line being typed. */
  get line(): string {
    return this.#readline.line;
  }

  print(text: string): void {
    if (!this.#open) return;
    this.#hide();
    write(text.replaceAll("\n", "\r\n") + "\r\n");
    this.#readline.prompt(true);
  }

  ring(text: string): void {
    if (this.#open) write(text);
  }

  /** Shows another prompt; what is typed stays. */
  set prompt(text: string) {
    if (text === this.#prompt || !this.#open) return;
    this.#hide();
    this.#prompt = text;
    this.#readline.setPrompt(text);
    this.#readline.prompt(true);
  }

  clear(): void {
    if (!this.#open) return;
    write("\x1b[H\x1b[2J\x1b[3J");
    this.#forgetRows();
    this.#readline.prompt(true);
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    for (const undo of this.#undo) undo();
    this.#hide();
    this.#readline.close();
    this.#raw(false);
  }

  // ---- Keys ----

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(16_384);
    let isCut = false;
    for (;;) {
      const count = await Deno.stdin.read(buffer).catch(() => null);
      if (count === null || !this.#open) break;
      const keys = this.#filter.feed(decoder.decode(buffer.subarray(0, count), { stream: true }));
      if (keys.includes(CTRL_Z)) this.#suspend();
      const rest = withJoinSigns(keys.replaceAll(CTRL_Z, ""), this.#readline.line.slice(0, this.#readline.cursor));
      if (rest === "") continue;
      // What follows a key that was cut in two may belong to it: readline knows.
      if (isCut) this.#give(rest, true);
      else for (const part of rest.split(KEY_REGEXP)) if (part !== "") this.#give(part, KEY_REGEXP.test(part));
      isCut = CUT_KEY_REGEXP.test(rest);
      this.#options.key();
    }
    if (this.#open) this.#options.end();
  }

  /**
   * Text is inserted whole, which does not draw a long paste once for every character; keys go by events, at once, so that the
   * order stays. Either way readline has to know the row that the cursor is in: it does not count one that a wide character
   * began, as it did not fit.
   */
  #give(part: string, isKey: boolean): void {
    if (!this.#open) return;
    if (isKey) this.#keys.emit("data", Buffer.from(part));
    else this.#readline.write(part);
    if (this.#open) this.#rows = this.#readline.getCursorPos().rows;
  }

  /** What was typed stands on the screen as it was typed; it is taken away, for the message to be shown in its place. */
  #entered(line: string): void {
    readline.moveCursor(process.stdout, 0, -rowsOf(this.#prompt + line, this.columns));
    readline.cursorTo(process.stdout, 0);
    readline.clearScreenDown(process.stdout);
    this.#forgetRows();
    this.#options.line(line);
    if (this.#open) this.#readline.prompt();
  }

  #interrupt(): void {
    if (this.#readline.line === "") return this.#options.end();
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
  }

  #complete(line: string): [string[], string] {
    const { candidates, word } = this.#options.complete(line);
    if (candidates.length === 1) return [[`${candidates[0]} `], word];
    const common = commonStart(candidates);
    if (common.length > word.length) return [[common], word];
    // Written here, as readline's own list swallows the next key in some releases.
    if (candidates.length > 1) queueMicrotask(() => this.print(candidates.map((candidate) => sanitize(candidate)).join("  ")));
    return [[], word];
  }

  // ---- The terminal ----

  /** Takes the line being typed off the screen, all its rows. */
  #hide(): void {
    const { rows } = this.#readline.getCursorPos();
    readline.moveCursor(process.stdout, 0, -rows);
    readline.cursorTo(process.stdout, 0);
    readline.clearScreenDown(process.stdout);
    this.#forgetRows();
  }

  /** The cursor is at the beginning of an empty line, which readline cannot know. */
  #forgetRows(): void {
    this.#rows = 0;
  }

  /** Rows above the cursor that belong to the line being typed, as readline believes. */
  set #rows(rows: number) {
    (this.#readline as unknown as { prevRows: number }).prevRows = rows;
  }

  #raw(on: boolean): void {
    if (on) {
      Deno.stdin.setRaw(true);
      write(PASTE_ON);
    } else {
      write(PASTE_OFF);
      Deno.stdin.setRaw(false);
    }
  }

  /** As the terminal itself would, for the whole group: the shell notices when what it started has stopped. */
  #suspend(): void {
    if (Deno.build.os === "windows" || this.#isSuspended) return;
    this.#isSuspended = true;
    this.#hide();
    this.#raw(false);
    // `deno task` passes this signal on, and does not stop by it.
    if (isStartedByWrapper()) Deno.kill(Deno.ppid, "SIGSTOP");
    Deno.kill(0, "SIGTSTP");
    // Where no shell would bring it back the system has not stopped it.
    setTimeout(() => this.#isSuspended && Deno.kill(0, "SIGCONT"), NOT_STOPPED_MS);
  }

  #resume(): void {
    if (!this.#open || !this.#isSuspended) return;
    this.#isSuspended = false;
    this.#raw(true);
    this.#readline.prompt(true);
  }

  #listen(signal: Deno.Signal, listener: () => void): void {
    Deno.addSignalListener(signal, listener);
    this.#undo.push(() => Deno.removeSignalListener(signal, listener));
  }
}

/** Whether the process that started this one is in its group, and so part of what the shell started. */
function isStartedByWrapper(): boolean {
  try {
    const args = ["-o", "pgid=", "-p", `${Deno.pid},${Deno.ppid}`];
    const { stdout } = new Deno.Command("ps", { args, stderr: "null" }).outputSync();
    const [own, parents] = new TextDecoder().decode(stdout).trim().split(/\s+/);
    return own === parents;
  } catch {
    return false;
  }
}

/**
 * The terminal as a typewriter: it echoes what is typed, line by line, and nothing is drawn twice. For those who have it read
 * out, and for terminals that can do no more.
 */
export class PlainScreen implements Surface {
  readonly columns = 80;
  readonly line = "";
  readonly keepsTyped = true;
  readonly #options: ScreenOptions;
  #open = true;

  constructor(options: ScreenOptions) {
    this.#options = options;
    void this.#read();
  }

  print(text: string): void {
    if (this.#open) write(text + "\n");
  }

  /** The bell alone: other sequences could be shown as text. */
  ring(text: string): void {
    if (this.#open && text.includes("\x07")) write("\x07");
  }

  set prompt(_: string) {}

  clear(): void {}

  close(): void {
    this.#open = false;
  }

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(16_384);
    let rest = "";
    for (let count; (count = await Deno.stdin.read(buffer).catch(() => null)) !== null;) {
      const lines = (rest + decoder.decode(buffer.subarray(0, count), { stream: true })).split(/\r?\n/);
      rest = lines.pop()!;
      for (const line of lines) if (this.#open) this.#options.line(line);
    }
    if (this.#open && rest !== "") this.#options.line(rest);
    if (this.#open) this.#options.end();
  }
}

/** By the same way as readline's own writes, which keeps the order. */
function write(text: string): void {
  process.stdout.write(text);
}
