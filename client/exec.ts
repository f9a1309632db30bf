/** The program of `listen --exec`: whether it is there, before anything is listened to. */

import { UsageError } from "../cli/options.ts";

/** Surroundings in which a program is looked for. */
export interface ExecPlace {
  readonly path: string | undefined;
  readonly os: typeof Deno.build.os;
  /** Returns whether there is a file that can be run. */
  isProgram(file: string): boolean;
}

/**
 * Throws a {@linkcode UsageError} where the first word of `command` is no program that can be run: a message must not be the
 * first to find that out. On Windows endings decide what can be run, and nothing is checked.
 */
export function checkProgram(command: string, place: ExecPlace = ownPlace()): void {
  const [program = ""] = command.trim().split(/\s+/);
  if (program === "") throw new UsageError("--exec needs a command");
  if (place.os === "windows") return;
  if (program.includes("/")) {
    if (place.isProgram(program)) return;
    throw new UsageError(`--exec: ${program} is not there, or cannot be run (chmod +x ${program})`);
  }
  const folders = (place.path ?? "").split(":").filter((folder) => folder !== "");
  if (folders.some((folder) => place.isProgram(`${folder}/${program}`))) return;
  throw new UsageError(`--exec: there is no program "${program}" on the PATH; a file here is ./${program}`);
}

function ownPlace(): ExecPlace {
  return { path: Deno.env.get("PATH"), os: Deno.build.os, isProgram };
}

function isProgram(file: string): boolean {
  try {
    const { isFile, mode } = Deno.statSync(file);
    return isFile && (mode === null || (mode & 0o111) !== 0);
  } catch {
    return false;
  }
}
