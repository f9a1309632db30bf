/** The package for npm, as others get it: packed, and installed without a network into a folder that has nothing else. */

const SDK = new URL("../sdk/", import.meta.url);
/** The folder of the package's sources, with what it is built and tried with in `node_modules`. */
export const SDK_FOLDER = decodeURIComponent(SDK.pathname);

/** Outcome of a program. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a program to its end, without colours. */
export async function ran(
  command: string,
  args: readonly string[],
  cwd: string,
  env: Record<string, string> = {},
): Promise<Ran> {
  const options: Deno.CommandOptions = { args: [...args], cwd, env: { NO_COLOR: "1", ...env }, stdin: "null" };
  const { code, stdout, stderr } = await new Deno.Command(command, options).output();
  const [out, err] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes)) as [string, string];
  return { code, out, err };
}

/** Runs a program that has to succeed; returns what it says. */
export async function succeed(command: string, args: readonly string[], cwd: string): Promise<string> {
  const { code, out, err } = await ran(command, args, cwd);
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${out}${err}`);
  return out;
}

/** Builds the package, with all checks of its build, into a folder; returns the tarball's path. */
export async function packSdk(folder: string): Promise<string> {
  const out = await succeed(Deno.execPath(), ["run", "-A", "--quiet", "--no-prompt", "build.ts", folder], SDK_FOLDER);
  return out.trim().split("\n").at(-1)!;
}

/** Runs a program of npm that `sdk/deno.json` names, with its version. */
export async function runTool(name: string, args: readonly string[], bin = ""): Promise<Ran> {
  const { imports } = JSON.parse(await Deno.readTextFile(new URL("deno.json", SDK))) as { imports: Record<string, string> };
  return await ran(Deno.execPath(), ["run", "-A", "--quiet", "--no-prompt", `${imports[name]}${bin}`, ...args], SDK_FOLDER);
}

/**
 * Makes a folder of somebody who has installed the tarball, and nothing else; `linked` are packages of sdk/node_modules that they
 * have too. Returns its path; the caller removes it.
 */
export async function installSdk(tarball: string, linked: readonly string[] = []): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "consumer-" });
  await Deno.writeTextFile(`${folder}/package.json`, '{ "name": "consumer", "private": true, "type": "module" }\n');
  await succeed("npm", ["install", "--offline", "--no-audit", "--no-fund", "--loglevel=error", tarball], folder);
  for (const name of linked) {
    const link = `${folder}/node_modules/${name}`;
    await Deno.mkdir(link.slice(0, link.lastIndexOf("/")), { recursive: true });
    await Deno.symlink(`${SDK_FOLDER}node_modules/${name}`, link);
  }
  return folder;
}

/** Flags that give Node.js the WebSocket that it has by itself from version 22. */
export async function socketFlags(): Promise<string[]> {
  const version = await succeed("node", ["--version"], ".");
  return Number(/^v(\d+)/.exec(version)![1]) < 22 ? ["--experimental-websocket", "--no-warnings"] : [];
}
