/**
 * `deno task package [--programs DIR] [--out DIR]`: makes a Debian package, a container image as an OCI layout, a bill of
 * materials and checksums, the same bytes every time for the same SOURCE_DATE_EPOCH (default: the last commit).
 *
 * Programs are compiled unless --programs names a folder that has them. Anything that cannot be made on this machine, for want of
 * the runtime for binaries or of a program, is skipped and said; the exit status is 0 if something was made.
 */

import { parseArgs } from "@std/cli/parse-args";
import config from "../deno.json" with { type: "json" };
import { type Build, makeDeb } from "./package/deb.ts";
import { makeImage } from "./package/image.ts";
import { run, Unmakeable } from "./package/run.ts";
import { billOfMaterials, type Lock } from "./package/sbom.ts";

const ROOT = decodeURIComponent(new URL("..", import.meta.url).pathname).replace(/\/$/, "");
const USAGE = "usage: deno task package [--programs DIR] [--out DIR]";

/** Makes everything that can be made; returns the paths of what was made. */
async function make(programs: string | undefined, out: string): Promise<string[]> {
  const work = await Deno.makeTempDir({ prefix: "package-" });
  try {
    const build: Build = { root: ROOT, programs: programs ?? await compiled(work), work, out, epoch: await epochOf() };
    const made: string[] = [];
    for (
      const [what, step] of [["Debian package", makeDeb], ["container image", makeImage], [
        "bill of materials",
        makeBill,
      ]] as const
    ) {
      const path = await tryTo(what, () => step(build));
      if (path !== undefined) made.push(path);
    }
    return [...made, await writeSums(out)];
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}

/** Runs a step; undefined where it cannot be made here, which is said. */
async function tryTo(what: string, step: () => Promise<string>): Promise<string | undefined> {
  try {
    const path = await step();
    console.log(`${what}: ${path}`);
    return path;
  } catch (error) {
    if (!(error instanceof Unmakeable)) throw error;
    console.log(`${what}: skipped, ${error.message}`);
    return undefined;
  }
}

async function compiled(work: string): Promise<string> {
  const folder = `${work}/programs`;
  await Deno.mkdir(folder);
  try {
    await run(Deno.execPath(), ["task", "compile", "--standalone", "--out", folder], { cwd: ROOT });
  } catch (error) {
    throw new Error(
      `There are no programs to package: ${
        (error as Error).message
      }\nCompile them elsewhere, and name their folder with --programs`,
    );
  }
  return folder;
}

async function epochOf(): Promise<number> {
  const given = Deno.env.get("SOURCE_DATE_EPOCH");
  return Number(given ?? await run("git", ["log", "-1", "--format=%ct"], { cwd: ROOT }));
}

async function makeBill({ out, epoch, programs }: Build): Promise<string> {
  const lock = JSON.parse(await Deno.readTextFile(`${ROOT}/deno.lock`)) as Lock;
  const shipped = new Set<string>();
  for (const main of ["server.ts", "client.ts"]) {
    const { modules } = JSON.parse(await run(Deno.execPath(), ["info", "--json", main], { cwd: ROOT })) as {
      modules: { kind?: string; npmPackage?: string }[];
    };
    for (const { kind, npmPackage } of modules) if (kind === "npm" && npmPackage) shipped.add(npmPackage);
  }
  const path = `${out}/parley-${config.version}.cdx.json`;
  const product = { version: config.version, deno: await runtimeOf(programs), epoch, shipped: [...shipped].sort() };
  await Deno.writeTextFile(path, billOfMaterials(lock, product));
  return path;
}

/** Returns the version of the runtime that is in the programs: the one that compiled them. */
async function runtimeOf(programs: string): Promise<string> {
  const words = await run("sh", ["-c", `grep -aoE 'Deno/[0-9]+\\.[0-9]+\\.[0-9]+' '${programs}/chat-server' | head -n 1`])
    .catch(() => "");
  return words.trim().replace("Deno/", "") || Deno.version.deno;
}

/** Writes the checksums of all files in the folder, as `sha256sum -c` reads them; returns the path. */
async function writeSums(out: string): Promise<string> {
  const files = (await run("find", [".", "-type", "f", "!", "-name", "SHA256SUMS"], { cwd: out })).trim().split("\n").sort();
  const path = `${out}/SHA256SUMS`;
  await Deno.writeTextFile(path, await run("sha256sum", files.map((file) => file.replace(/^\.\//, "")), { cwd: out }));
  return path;
}

async function main(): Promise<number> {
  const unknown: string[] = [];
  const { programs, out } = parseArgs(Deno.args, {
    string: ["programs", "out"],
    unknown: (arg) => void unknown.push(arg),
  });
  if (unknown.length > 0) {
    console.error(`There is no option ${unknown[0]}; ${USAGE}`);
    return 2;
  }
  try {
    const folder = out || `${ROOT}/dist`;
    await Deno.mkdir(folder, { recursive: true });
    await make(programs ? await Deno.realPath(programs) : undefined, await Deno.realPath(folder));
    return 0;
  } catch (error) {
    console.error(error instanceof Error ? error.message : String(error));
    return 1;
  }
}

if (import.meta.main) Deno.exit(await main());
