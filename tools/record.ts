/**
 * `deno run -A tools/record.ts`: plays a chat of two people on two terminals, and makes docs/demo.cast (for asciinema) and
 * docs/demo.svg (its last picture) of it. Needs tmux, and port 8080.
 */

import { delay } from "@std/async/delay";
import { startServer } from "../server.ts";
import stringWidth from "string-width";

const COLUMNS = 68;
const ROWS = 14;
/** Milliseconds between two frames. */
const FRAME_MS = 80;
/** Milliseconds between two keys, as somebody types who types well. */
const KEY_MS = 55;
const DOCS = new URL("../docs/", import.meta.url);

/** One side of the recording: a client in tmux. */
class Side {
  readonly #folder = Deno.makeTempDirSync();

  constructor(readonly name: string) {}

  async start(): Promise<void> {
    const client = `${Deno.execPath()} run -A ${new URL("../client.ts", import.meta.url).pathname} --name ${this.name}`;
    const env =
      `env -u NO_COLOR LANG=C.UTF-8 TERM=screen-256color XDG_STATE_HOME=${this.#folder} XDG_CONFIG_HOME=${this.#folder}`;
    await this.#tmux("-f", "/dev/null", "new-session", "-d", "-x", `${COLUMNS}`, "-y", `${ROWS}`, `${env} ${client}`);
  }

  async #tmux(...args: string[]): Promise<string> {
    const command = new Deno.Command("tmux", { args: ["-u", "-S", `${this.#folder}/tmux`, ...args], env: { TMUX: "" } });
    const { success, stdout, stderr } = await command.output();
    if (!success) throw new Error(`tmux ${args[0]}: ${new TextDecoder().decode(stderr)}`);
    return new TextDecoder().decode(stdout);
  }

  async type(text: string): Promise<void> {
    for (const key of text) {
      await this.#tmux("send-keys", "-l", key);
      await delay(KEY_MS);
    }
    await delay(4 * KEY_MS);
    await this.press("Enter");
  }

  async press(key: string): Promise<void> {
    await this.#tmux("send-keys", key);
    await delay(6 * KEY_MS);
  }

  /** Returns the rows on the screen with their colours, each as wide as the screen. */
  async rows(): Promise<string[]> {
    const lines = (await this.#tmux("capture-pane", "-p", "-e")).split("\n").slice(0, ROWS);
    let style = "";
    return lines.map((line) => {
      const styled = style + line;
      style = styleAfter(styled);
      return styled + "\x1b[0m" + " ".repeat(Math.max(0, COLUMNS - stringWidth(line)));
    });
  }

  async close(): Promise<void> {
    await this.#tmux("kill-server");
    await delay(500);
    await Deno.remove(this.#folder, { recursive: true });
  }
}

/** Returns the colours that are on at the end of `text`: tmux writes them where they change, and not anew in every row. */
export function styleAfter(text: string): string {
  // deno-lint-ignore no-control-regex
  const codes = text.match(/\x1b\[[\d;]*m/g) ?? [];
  const reset = codes.findLastIndex((code) => /^.\[0?[;m]/.test(code)); // with colours after it, or alone
  return codes.slice(Math.max(reset, 0)).join("");
}

/** Plays the chat. */
async function play(alice: Side, bob: Side): Promise<void> {
  await delay(800);
  await bob.type("/to alice");
  await bob.type("lunch at one?");
  await delay(900);
  await alice.type("/reply yes! the usual place?");
  await delay(900);
  await bob.type("/group create #lunch");
  await bob.type("/group invite #lunch alice");
  await delay(600);
  await bob.type("who else is hungry?");
  await delay(900);
  await alice.press("M-a"); // the next unread conversation
  await delay(900);
  await alice.type("me, 日本料理 🍣 please");
  await delay(900);
  await bob.type("/search usual");
  await delay(1_600);
}

type Frame = [seconds: number, "o", data: string];

/** Looks at both sides until it is stopped; one frame for every change. */
async function film(sides: readonly Side[], until: Promise<void>): Promise<{ frames: Frame[]; last: string[] }> {
  const frames: Frame[] = [];
  const start = performance.now();
  let last: string[] = [];
  let running = true;
  void until.finally(() => running = false);
  while (running) {
    const [left, right] = await Promise.all(sides.map((side) => side.rows()));
    const rows = left!.map((row, index) => `${row} \x1b[2m│\x1b[0m ${right![index]}`);
    if (rows.join() !== last.join()) {
      const changed = rows.flatMap((row, index) => row === last[index] ? [] : [`\x1b[${index + 1};1H${row}`]);
      frames.push([Number(((performance.now() - start) / 1_000).toFixed(3)), "o", changed.join("")]);
      last = rows;
    }
    await delay(FRAME_MS);
  }
  await until;
  return { frames, last };
}

// ---- The picture -------------------------------------------------------------------------------------------------------------

const CELL = { width: 8.4, height: 18 };
const BACKGROUND = "#16181d";
const FOREGROUND = "#d8dbe2";

/** Rows with colours as an SVG. */
export function picture(rows: readonly string[]): string {
  const [width, height] = [Math.ceil((2 * COLUMNS + 3) * CELL.width) + 32, ROWS * CELL.height + 32];
  const texts = rows.flatMap((row, index) => runs(row).map((run) => textElement(run, index)));
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-label="Two people chatting">
<rect width="100%" height="100%" rx="8" fill="${BACKGROUND}"/>
<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,'DejaVu Sans Mono',monospace" font-size="14" xml:space="preserve">
${texts.join("\n")}
</g>
</svg>
`;
}

interface Run {
  readonly column: number;
  readonly text: string;
  readonly style: string;
}

/** Cuts a row where its colour changes. */
function runs(row: string): Run[] {
  const out: Run[] = [];
  let column = 0;
  let sgr: string[] = [];
  // deno-lint-ignore no-control-regex
  for (const part of row.split(/(\x1b\[[\d;]*m)/)) {
    // deno-lint-ignore no-control-regex
    const codes = /^\x1b\[([\d;]*)m$/.exec(part)?.[1];
    if (codes !== undefined) {
      sgr = codes === "" || codes.split(";")[0] === "0" ? [codes] : [...sgr, codes];
      continue;
    }
    if (part.trim() !== "") out.push({ column, text: part, style: styleOf(sgr.join(";")) });
    column += stringWidth(part);
  }
  return out;
}

function styleOf(sgr: string): string {
  // 39 ends a colour and nothing else.
  const color = [...sgr.matchAll(/38;5;(\d+)|(?<=^|;)39(?=;|$)/g)].at(-1)?.[1];
  const others = `;${sgr.replace(/38;5;\d+/g, "")};`;
  const fill = color === undefined ? FOREGROUND : cube(Number(color));
  return `fill="${fill}"${others.includes(";1;") ? ' font-weight="bold"' : ""}${
    others.includes(";2;") ? ' opacity="0.6"' : ""
  }`;
}

/** Returns one of the 216 colours of the cube. */
function cube(color: number): string {
  const index = color - 16;
  const level = (part: number) => (part === 0 ? 0 : 55 + part * 40).toString(16).padStart(2, "0");
  return `#${level(Math.floor(index / 36))}${level(Math.floor(index / 6) % 6)}${level(index % 6)}`;
}

function textElement({ column, text, style }: Run, row: number): string {
  const trimmed = text.trimEnd();
  const [x, y] = [16 + column * CELL.width, 16 + (row + 0.75) * CELL.height];
  const length = (stringWidth(trimmed) * CELL.width).toFixed(1);
  const escaped = trimmed.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  return `<text x="${x.toFixed(1)}" y="${y}" textLength="${length}" ${style}>${escaped}</text>`;
}

// ---- All of it ---------------------------------------------------------------------------------------------------------------

async function main(): Promise<void> {
  const server = await startServer();
  const sides = [new Side("alice"), new Side("bob")] as const;
  try {
    for (const side of sides) await side.start();
    await delay(1_000);
    const { frames, last } = await film(sides, play(...sides));
    const header = { version: 2, width: 2 * COLUMNS + 3, height: ROWS, title: "Parley: two people chat" };
    await Deno.writeTextFile(
      new URL("demo.cast", DOCS),
      [header, ...frames].map((line) => JSON.stringify(line)).join("\n") + "\n",
    );
    const svg = new URL("demo.svg", DOCS);
    await Deno.writeTextFile(svg, picture(last));
    await new Deno.Command(Deno.execPath(), { args: ["fmt", "--quiet", svg.pathname] }).output();
    console.log(`${frames.length} frames, ${frames.at(-1)?.[0]} s: docs/demo.cast, docs/demo.svg`);
  } finally {
    for (const side of sides) await side.close();
    await server.shutdown();
  }
}

if (import.meta.main) await main();
