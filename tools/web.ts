/**
 * `deno run tools/web.ts`: builds the page for browsers where it is missing or its sources have changed, and else does nothing.
 * Where it cannot be built, a line says why, and everything else goes on without it; `--required` makes that an error.
 *
 * The build is a process of its own with the configuration in web/: nothing of its packages belongs to the programs.
 */

const ROOT = new URL("..", import.meta.url);
/** Sources of the page beside the folder web/ itself. */
const SOURCES = ["protocol.ts", "chat_client.ts", "chat_client"];
/** Folders of web/ that are made. */
const MADE_REGEXP = /^(?:dist|node_modules|dist\.tmp-.*)$/;
/** Digits of the hash that files.json carries. */
const HASH_CHARS = 16;

/** Outcome of {@linkcode ensurePage}: there is a page, or a reason for which there is none. */
export type PageState = { readonly state: "there" | "built" } | { readonly state: "missing"; readonly reason: string };

/** Builds the page where it has to be. */
export async function ensurePage(): Promise<PageState> {
  const sources = await hashOfSources();
  if (await builtFrom() === sources) return { state: "there" };
  console.error("Building the page for browsers …");
  const reason = await build(sources);
  if (reason === undefined) return { state: "built" };
  // An old page may not understand this server.
  await Deno.remove(new URL("web/dist", ROOT), { recursive: true }).catch(() => {});
  return { state: "missing", reason };
}

/** Runs the build; returns the reason for which it failed. */
async function build(sources: string): Promise<string | undefined> {
  try {
    const { success, stderr } = await new Deno.Command(Deno.execPath(), {
      args: [
        "run",
        "--quiet",
        "--no-prompt",
        "--allow-read",
        "--allow-write",
        "--allow-env",
        "--allow-run",
        "build.ts",
        sources,
      ],
      cwd: new URL("web/", ROOT),
      env: { NO_COLOR: "1" },
      stdin: "null",
      stdout: "null",
    }).output();
    if (success) return undefined;
    const said = new TextDecoder().decode(stderr).trim().split("\n").map((line) => line.trim()).filter((line) => line !== "");
    return said.find((line) => /error/i.test(line)) ?? said[0] ?? "the build failed";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Hash of the sources that the built page was made from; undefined where there is none. */
async function builtFrom(): Promise<string | undefined> {
  try {
    return JSON.parse(await Deno.readTextFile(new URL("web/dist/files.json", ROOT))).sources;
  } catch {
    return undefined;
  }
}

async function hashOfSources(): Promise<string> {
  const files: string[] = [];
  for await (const file of filesIn("web")) files.push(file);
  for (const source of SOURCES) for await (const file of filesIn(source)) files.push(file);
  const parts: Uint8Array[] = [];
  for (const file of files.sort()) {
    parts.push(new TextEncoder().encode(`\n${file}\n`), await Deno.readFile(new URL(file, ROOT)));
  }
  const digest = await crypto.subtle.digest("SHA-256", await new Blob(parts as Uint8Array<ArrayBuffer>[]).arrayBuffer());
  return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("").slice(0, HASH_CHARS);
}

/** Yields a file, or the files of a folder, as paths from the root; tests and what is made are left out. */
async function* filesIn(path: string): AsyncGenerator<string> {
  const stat = await Deno.stat(new URL(path, ROOT)).catch(() => undefined);
  if (stat?.isFile) yield path;
  if (!stat?.isDirectory) return;
  for await (const { name, isDirectory } of Deno.readDir(new URL(`${path}/`, ROOT))) {
    if (path === "web" && MADE_REGEXP.test(name) || name.endsWith("_test.ts")) continue;
    if (isDirectory) yield* filesIn(`${path}/${name}`);
    else yield `${path}/${name}`;
  }
}

if (import.meta.main) {
  const page = await ensurePage();
  if (page.state === "missing") {
    console.error(`The page for browsers cannot be built, so there is none: ${page.reason}`);
    if (Deno.args.includes("--required")) Deno.exit(1);
  }
}
