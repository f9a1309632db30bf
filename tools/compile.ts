/**
 * `deno task compile [--standalone] [--out DIR]`: makes ./chat-server and ./chat-client.
 *
 * A binary needs the runtime that `deno compile` downloads, or that DENORT_BIN names. Where neither is to be had, a launcher
 * that needs `deno` takes its place, so that `./chat-client --name bob` works either way; `--standalone` makes that an error.
 * Every program is started once before it is reported as done: with a runtime of another version it compiles without an error,
 * and does not start.
 */

import { parseArgs } from "@std/cli/parse-args";
import { ensurePage } from "./web.ts";
import config from "../deno.json" with { type: "json" };

const ROOT = new URL("..", import.meta.url);
const WINDOWS = Deno.build.os === "windows";
/** Modules that a program loads without an import, and files that it reads beside its own. */
const INCLUDED: Record<string, readonly string[]> = { "server.ts": ["broker/sqlite/worker.ts", "web/dist"] };
const USAGE = "usage: deno task compile [--standalone] [--out DIR]";

/** A program: its name, and the command of its task. */
export interface Program {
  readonly name: string;
  readonly main: string;
  /** The permissions of the task: the binary gets no others. */
  readonly flags: readonly string[];
}

/** Returns the program that the command of a task runs. Throws where it is not `deno run FLAGS MAIN`. */
export function programOf(name: string, command: string): Program {
  // What runs before it in the task is a matter of the checkout.
  const [deno, run, ...rest] = wordsOf(command.split(" && ").at(-1)!);
  const main = rest.pop();
  if (deno !== "deno" || run !== "run" || main === undefined || !rest.every((flag) => flag.startsWith("-"))) {
    throw new Error(`Cannot compile "${name}": its task is not "deno run FLAGS MAIN" but "${command}"`);
  }
  return { name, main, flags: rest };
}

/** Returns the words of a command as the shell of tasks reads them: in quotes, as older releases take an asterisk for a pattern. */
function wordsOf(command: string): string[] {
  return (command.match(/(?:'[^']*'|[^\s'])+/g) ?? []).map((word) => word.replaceAll("'", ""));
}

/** The runtime for binaries cannot be had. Any other failure is a defect of the program. */
class NoRuntime extends Error {}

const PROGRAMS = [
  programOf("chat-server", config.tasks.server.command),
  programOf("chat-client", config.tasks.client.command),
];

async function compile(program: Program, file: string): Promise<void> {
  const included = (INCLUDED[program.main] ?? []).filter(isThere).map((path) => `--include=${path}`);
  const { success, stderr } = await run(Deno.execPath(), [
    ...["compile", "--no-check", ...program.flags, ...included, ...leaveOutUnused(), "--output", file, program.main],
  ]);
  if (!success) {
    if (/Writing deno compile executable|denort/i.test(stderr)) {
      throw new NoRuntime("could not be downloaded, and DENORT_BIN names none");
    }
    throw new Error(`Cannot compile "${program.main}":\n${stderr.trim()}`);
  }
  if (!await answers(file)) throw new NoRuntime("does not start what was compiled with it");
}

/** Only the page may be missing, where it could not be built: a line said so. */
function isThere(path: string): boolean {
  try {
    return Deno.statSync(new URL(path, ROOT)) !== undefined;
  } catch {
    return false;
  }
}

/** Returns the flags, known since Deno 2.9, without which every package of the lock file is embedded, the tests' too. */
function leaveOutUnused(): string[] {
  const [major, minor] = Deno.version.deno.split(".").map(Number) as [number, number];
  return major > 2 || (major === 2 && minor >= 9) ? ["--exclude-unused-npm"] : [];
}

/** Returns a script that takes the place of a binary. It names this checkout, so it may be linked to and copied. */
export function launcher(program: Program, root: string, windows = WINDOWS): string {
  const args = ["run", ...program.flags];
  if (windows) {
    const quoted = [...args, "--config", `${root}deno.json`, `${root}${program.main}`].map((arg) => `"${arg}"`);
    return `@echo off\r\nrem Made by "deno task compile". Needs deno on the PATH.\r\ndeno ${quoted.join(" ")} %*\r\n`;
  }
  const quoted = [...args, "--config", `${root}deno.json`, `${root}${program.main}`]
    .map((arg) => `'${arg.replaceAll("'", `'\\''`)}'`);
  return `#!/bin/sh
# Made by "deno task compile", without the runtime that a binary needs: deno must be on the PATH.
command -v deno >/dev/null || { echo "$0: this launcher needs deno on the PATH" >&2; exit 127; }
exec deno ${quoted.join(" ")} "$@"
`;
}

async function writeLauncher(program: Program, file: string): Promise<void> {
  await Deno.writeTextFile(file, launcher(program, pathOf(ROOT)));
  if (!WINDOWS) await Deno.chmod(file, 0o755);
  if (!await answers(file)) throw new Error(`The launcher ${file} does not start: is deno on the PATH?`);
}

async function answers(file: string): Promise<boolean> {
  const { success, stdout } = await run(file, ["--version"]);
  return success && stdout.includes(config.version);
}

async function run(command: string, args: string[]): Promise<{ success: boolean; stdout: string; stderr: string }> {
  const options = { args, cwd: pathOf(ROOT), env: { NO_COLOR: "1" }, stdin: "null" as const };
  try {
    const { success, stdout, stderr } = await new Deno.Command(command, options).output();
    return { success, stdout: new TextDecoder().decode(stdout), stderr: new TextDecoder().decode(stderr) };
  } catch (error) {
    return { success: false, stdout: "", stderr: error instanceof Error ? error.message : String(error) };
  }
}

async function removeIfThere(file: string): Promise<void> {
  try {
    await Deno.remove(file);
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

function pathOf(url: URL): string {
  const path = decodeURIComponent(url.pathname);
  return WINDOWS ? path.slice(1).replaceAll("/", "\\") : path;
}

/** Makes all programs in the folder `out`, and reports each on a line. Returns the exit status. */
async function make(out: string, standalone: boolean): Promise<number> {
  const page = await ensurePage();
  if (page.state === "missing") console.error(`The page for browsers cannot be built, so there is none: ${page.reason}`);
  let missing: string | undefined;
  for (const program of PROGRAMS) {
    const binary = `${out}${program.name}${WINDOWS ? ".exe" : ""}`;
    const script = `${out}${program.name}${WINDOWS ? ".cmd" : ""}`;
    if (missing === undefined) {
      try {
        await putInPlace(binary, (file) => compile(program, file));
        if (script !== binary) await removeIfThere(script);
        console.log(`${program.name}: compiled`);
        continue;
      } catch (error) {
        if (!(error instanceof NoRuntime)) throw error;
        missing = error.message;
        console.error(
          `The runtime for binaries ${missing}: set DENORT_BIN to the denort of Deno ${Deno.version.deno} to compile with it`,
        );
        if (standalone) return 1;
      }
    }
    await putInPlace(script, (file) => writeLauncher(program, file));
    if (script !== binary) await removeIfThere(binary);
    console.log(`${program.name}: a launcher that needs deno on the PATH`);
  }
  return 0;
}

/**
 * Makes a file beside `file`, and puts it there once it is whole: what was there, which may run, stays until then and is left
 * alone by a failure. The name's ending stays, as Windows starts nothing without it.
 */
export async function putInPlace(file: string, write: (beside: string) => Promise<void>): Promise<void> {
  const beside = file.replace(/(?=(?:\.exe|\.cmd)?$)/, ".new");
  try {
    await removeIfThere(beside);
    await write(beside);
    await Deno.rename(beside, file);
  } finally {
    await removeIfThere(beside);
  }
}

async function main(): Promise<number> {
  const unknown: string[] = [];
  const { standalone, out } = parseArgs(Deno.args, {
    boolean: ["standalone"],
    string: ["out"],
    unknown: (arg) => void unknown.push(arg),
  });
  if (unknown.length > 0 || out === "") {
    console.error(`${unknown.length > 0 ? `There is no option ${unknown[0]}` : "--out needs a folder"}; ${USAGE}`);
    return 2;
  }
  try {
    const folder = await Deno.realPath(out ?? pathOf(ROOT));
    return await make(folder + (WINDOWS ? "\\" : "/"), standalone);
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
