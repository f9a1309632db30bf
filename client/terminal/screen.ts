/**
 * The terminal: reads keys, prints lines above the line being typed, and restores the terminal at the end. No other file
 * touches it.
 *
 * While somebody types, readline alone redraws; what arrives moves the line being typed down.
 */

import { Buffer } from "node:buffer";
import process from "node:process";
import readline from "node:readline";
import { PassThrough } from "node:stream";
import { inputLines } from "../input.ts";
import { commonStart } from "./commands.ts";
import { PASTE_OFF, PASTE_ON, PasteFilter, withJoinSigns } from "./paste.ts";
import { ReverseSearch } from "./reverse_search.ts";
import { sanitize } from "../sanitize.ts";
import { rowsOf } from "./view.ts";

/** Typed lines that can be recalled. */
const RECALL_MAX = 500;
const CTRL_C = "\x03", CTRL_D = "\x04", CTRL_R = "\x12", CTRL_Z = "\x1a";
const UP_KEYS: readonly string[] = ["\x1b[A", "\x1bOA", "\x10"], DOWN_KEYS: readonly string[] = ["\x1b[B", "\x1bOB", "\x0e"];
/** Milliseconds after which a process that still runs was not stopped by SIGTSTP. */
const NOT_STOPPED_MS = 200;
/** Milliseconds of silence in a paste after which what has come of it is drawn. */
const PASTE_GATHER_MS = 50;
/** Matches one key that is no text. */
// deno-lint-ignore no-control-regex
const KEY_REGEXP = /(\x1b(?:\[[\d;]*[ -/]*[@-~]|O.|[^])?|[\x00-\x1f\x7f])/u;
/** Matches Alt and a letter or digit. */
// deno-lint-ignore no-control-regex
const ALT_REGEXP = /^\x1b[a-z0-9]$/i;
/** Matches the end of a chunk that was cut in the middle of a key. */
// deno-lint-ignore no-control-regex
const CUT_KEY_REGEXP = /\x1b(?:\[[\d;]*|O)?$/;

/** Callbacks of a screen, and the lines that it can recall. */
export interface ScreenOptions {
  /** Lines typed before, newest first. */
  readonly recall: string[];
  /** A line was entered. */
  line(text: string): void;
  /** A key was pressed. */
  key(): void;
  /** The input ended, or the person wants to leave; Ctrl-C after that, when the chat should end at once. */
  end(): void;
  /** Ctrl-C or Ctrl-D on an empty line. Returns false where the chat should not end yet, and says why. */
  mayEnd(): boolean;
  /** Alt and a letter or digit. Returns false where that means nothing. */
  shortcut(key: string): boolean;
  complete(line: string): { readonly candidates: string[]; readonly word: string };
}

/** The place where a chat is shown. */
export interface Surface {
  readonly columns: number;
  /** The line being typed; "" where that is not known. */
  readonly line: string;
  /** Entered lines stay on the screen as they were typed. */
  readonly keepsTyped: boolean;
  /** Prints lines. `text` has to be harmless already. */
  print(text: string): void;
  /** Writes a sequence that changes nothing on the screen, such as a bell. */
  ring(text: string): void;
  set prompt(text: string);
  clear(): void;
  /** Restores the terminal. Idempotent. */
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
  /** The search through earlier lines that is going on. */
  #search: ReverseSearch | undefined;
  /** Text that was being typed when Up went to earlier lines that do not begin with it. */
  #typed: string | undefined;
  /** Keys and pasted text that readline was not given yet. */
  #gathered = "";
  #gathering: ReturnType<typeof setTimeout> | undefined;
  #isKeyCut = false;
  /** The chat was asked to end: it sends what waits, and nothing more is typed. */
  #hasEnded = false;

  constructor(options: ScreenOptions) {
    this.#options = options;
    this.#raw(true);
    // Before readline draws anew: the terminal has wrapped the line being typed at its new width already.
    const resized = () => void (this.#rows = this.#readline.getCursorPos().rows);
    process.stdout.prependListener("resize", resized);
    this.#undo.push(() => process.stdout.off("resize", resized));
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
    this.#readline.on("close", () => this.#end());
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
    this.#showPrompt();
  }

  /** Shows prompt and line again; not while the chat ends, when nothing can be typed. */
  #showPrompt(): void {
    if (!this.#hasEnded) this.#readline.prompt(true);
  }

  ring(text: string): void {
    if (this.#open) write(text);
  }

  /** Shows another prompt; the line being typed stays. */
  set prompt(text: string) {
    if (text === this.#prompt || !this.#open || this.#hasEnded) return;
    this.#prompt = text;
    if (!this.#search) this.#redraw(text);
  }

  #redraw(prompt: string): void {
    this.#hide();
    this.#readline.setPrompt(prompt);
    this.#readline.prompt(true);
  }

  clear(): void {
    if (!this.#open) return;
    write("\x1b[H\x1b[2J\x1b[3J");
    this.#resetRows();
    this.#showPrompt();
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    clearTimeout(this.#gathering);
    for (const undo of this.#undo) undo();
    this.#hide();
    this.#readline.close();
    this.#raw(false);
  }

  // ---- Keys ----

  async #read(): Promise<void> {
    const decoder = new TextDecoder();
    const buffer = new Uint8Array(16_384);
    for (;;) {
      const count = await Deno.stdin.read(buffer).catch(() => null);
      if (count === null || !this.#open) break;
      const keys = this.#filter.feed(decoder.decode(buffer.subarray(0, count), { stream: true }), performance.now());
      if (this.#hasEnded) {
        if (keys.includes(CTRL_C)) this.#options.end(); // a second time: at once
        continue;
      }
      this.#gathered += keys;
      clearTimeout(this.#gathering);
      // The line is drawn once for a paste, and not for each of its chunks.
      if (this.#filter.isPasting) this.#gathering = setTimeout(() => this.#takeGathered(), PASTE_GATHER_MS);
      else this.#takeGathered();
    }
    if (this.#open && !this.#hasEnded) this.#end();
  }

  #takeGathered(): void {
    const keys = this.#gathered;
    this.#gathered = "";
    if (!this.#open || this.#hasEnded) return;
    if (keys.includes(CTRL_Z)) this.#suspend();
    const rest = withJoinSigns(keys.replaceAll(CTRL_Z, ""), this.#readline.line.slice(0, this.#readline.cursor));
    if (rest === "") return;
    // The text after a key that was cut in two may belong to the key: readline knows.
    if (this.#isKeyCut) this.#give(rest, true);
    else for (const part of rest.split(KEY_REGEXP)) if (part !== "") this.#give(part, KEY_REGEXP.test(part));
    this.#isKeyCut = CUT_KEY_REGEXP.test(rest);
    if (!this.#hasEnded) this.#options.key();
  }

  #askToEnd(): void {
    if (this.#options.mayEnd()) this.#end();
  }

  /** Asks the chat to end. Readline takes nothing after that, and what is typed meanwhile goes nowhere. */
  #end(): void {
    if (!this.#open) return;
    this.#hasEnded = true;
    this.#options.end();
  }

  /**
   * Gives readline text or a key. Text is inserted whole, so that a long paste is not drawn once for every character; keys are
   * emitted as events, synchronously, so that the order stays. Then readline is told the row of the cursor: it does not count a
   * row that began because a wide character did not fit.
   */
  #give(part: string, isKey: boolean): void {
    if (!this.#open || this.#hasEnded || this.#searches(part) || (isKey && this.#isOwn(part))) return;
    const isDown = isKey && DOWN_KEYS.includes(part);
    if (isKey && UP_KEYS.includes(part)) this.#leaveText();
    else if (!isDown) this.#typed = undefined;
    if (isKey) this.#keys.emit("data", Buffer.from(part));
    else this.#readline.write(part);
    if (isDown) this.#returnToText();
    if (this.#open && !this.#hasEnded) this.#rows = this.#readline.getCursorPos().rows;
  }

  /** Handles keys that readline does not know. Returns false for others. */
  #isOwn(key: string): boolean {
    if (key === CTRL_D && this.#readline.line === "") {
      this.#askToEnd();
      return true;
    }
    return ALT_REGEXP.test(key) && this.#options.shortcut(key[1]!.toLowerCase());
  }

  // ---- Earlier lines ----

  /** Feeds a search through earlier lines, or begins one. Returns false where there is none, or it ended with this key. */
  #searches(part: string): boolean {
    if (!this.#search && part !== CTRL_R) return false;
    const search = this.#search ??= new ReverseSearch(this.#earlier.history, this.#readline.line);
    const step = search.take(part);
    if (step === "goes on") {
      this.#replace(search.line, search.prompt);
      return true;
    }
    this.#search = undefined;
    this.#replace(step === "cancelled" ? search.before : search.line, this.#prompt);
    return step === "cancelled";
  }

  #replace(line: string, prompt: string): void {
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
    if (line !== "") this.#readline.write(line);
    this.#rows = this.#readline.getCursorPos().rows;
    this.#redraw(prompt);
  }

  /** Lets Up go to earlier lines where none begins with what was typed: readline would stay. */
  #leaveText(): void {
    const { line, cursor } = this.#readline, { history, historyIndex } = this.#earlier;
    const typed = line.slice(0, cursor);
    if (historyIndex >= 0 || typed === "" || history.some((earlier) => earlier.startsWith(typed) && earlier !== line)) return;
    this.#typed = line;
    this.#readline.write(null, { ctrl: true, name: "a" });
  }

  /** Gives the typed text back where Down has come to the end of the earlier lines. */
  #returnToText(): void {
    if (this.#typed === undefined || this.#earlier.historyIndex >= 0) return;
    this.#readline.write(this.#typed);
    this.#typed = undefined;
  }

  /** The earlier lines as readline has them, the newest first, and the index of the one that is shown; -1 for none. */
  get #earlier(): { readonly history: readonly string[]; readonly historyIndex: number } {
    return this.#readline as unknown as { history: readonly string[]; historyIndex: number };
  }

  /** Takes an entered line off the screen, so that the message can be shown in its place. */
  #entered(line: string): void {
    readline.moveCursor(process.stdout, 0, -rowsOf(this.#prompt + line, this.columns));
    readline.cursorTo(process.stdout, 0);
    readline.clearScreenDown(process.stdout);
    this.#resetRows();
    this.#options.line(line);
    if (this.#open && !this.#hasEnded) this.#readline.prompt();
  }

  #interrupt(): void {
    if (this.#readline.line === "") return this.#askToEnd();
    this.#readline.write(null, { ctrl: true, name: "e" });
    this.#readline.write(null, { ctrl: true, name: "u" });
  }

  #complete(line: string): [string[], string] {
    const { candidates, word } = this.#options.complete(line);
    if (candidates.length === 1) return [[`${candidates[0]} `], word];
    const common = commonStart(candidates);
    if (common.length > word.length) return [[common], word];
    // Printed here, as readline's own list swallows the next key in some releases.
    if (candidates.length > 1) queueMicrotask(() => this.print(candidates.map((candidate) => sanitize(candidate)).join("  ")));
    return [[], word];
  }

  // ---- The terminal ----

  /** Takes all rows of the line being typed off the screen. */
  #hide(): void {
    const { rows } = this.#readline.getCursorPos();
    readline.moveCursor(process.stdout, 0, -rows);
    readline.cursorTo(process.stdout, 0);
    readline.clearScreenDown(process.stdout);
    this.#resetRows();
  }

  /** Tells readline that the cursor is at the beginning of an empty line, which it cannot know. */
  #resetRows(): void {
    this.#rows = 0;
  }

  /** Sets the number of rows above the cursor that readline counts to the line being typed. */
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

  /** Stops the whole process group, as the terminal itself would: the shell notices when what it started has stopped. */
  #suspend(): void {
    if (Deno.build.os === "windows" || this.#isSuspended) return;
    this.#isSuspended = true;
    this.#hide();
    this.#raw(false);
    // `deno task` forwards SIGTSTP, and does not stop itself.
    if (isStartedByWrapper()) Deno.kill(Deno.ppid, "SIGSTOP");
    Deno.kill(0, "SIGTSTP");
    // Without a shell that could continue it, the system does not stop the process.
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

/** Returns whether the parent process is in this one's group, and so part of what the shell started. */
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
 * A screen that never redraws: the terminal itself echoes what is typed, line by line. For screen readers, and for terminals
 * that can do no more.
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

  /** Writes the bell alone: other sequences could be shown as text. */
  ring(text: string): void {
    if (this.#open && text.includes("\x07")) write("\x07");
  }

  set prompt(_: string) {}

  clear(): void {}

  close(): void {
    this.#open = false;
  }

  async #read(): Promise<void> {
    try {
      for await (const line of inputLines(undefined, { lenient: true })) if (this.#open) this.#options.line(line);
    } catch { /* the terminal is gone */ }
    if (this.#open) this.#options.end();
  }
}

/** Writes the same way as readline does, which keeps the order. */
function write(text: string): void {
  process.stdout.write(text);
}
