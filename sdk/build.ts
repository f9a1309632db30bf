/**
 * `deno task npm [DIR]`: makes `@parley/client` for npm of the chat client and the protocol: the folder `package` and the tarball
 * that npm packs of it, in sdk/dist or DIR. It fails where publint or attw, which look at what others will install, find anything.
 */

import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import product from "../deno.json" with { type: "json" };
import browsers from "../tools/dom.json" with { type: "json" };
import own from "./deno.json" with { type: "json" };

const HERE = fileURLToPath(new URL(".", import.meta.url));
const ROOT = fileURLToPath(new URL("..", import.meta.url));
/** Module that programs import. */
const ENTRY = "chat_client";

/** Contents of the package's package.json. */
const MANIFEST = {
  name: "@parley/client",
  version: product.version,
  description: "Client of Parley, a messaging server you host yourself: reconnects, resumes, and loses nothing.",
  keywords: ["chat", "messaging", "parley", "websocket"],
  license: product.license,
  type: "module",
  exports: {
    ".": { types: `./dist/${ENTRY}.d.ts`, default: `./dist/${ENTRY}.js` },
    "./package.json": "./package.json",
  },
  files: ["dist"],
  sideEffects: false,
  engines: { node: ">=20" },
};

/** Specifiers of the package's own modules in declarations. */
const DECLARED_IMPORT_REGEXP = /^((?:import|export) .*from "\.[^"]*)\.ts"/gm;

const COMPILER_OPTIONS: ts.CompilerOptions = {
  ...browsers.compilerOptions,
  strict: true,
  // All that the oldest promised, Node.js 20, has of the language and of strings; the rest of ES2024 came later.
  target: ts.ScriptTarget.ES2022,
  lib: ["lib.es2022.d.ts", "lib.es2024.string.d.ts", "lib.dom.d.ts"],
  types: [],
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
  rewriteRelativeImportExtensions: true,
  isolatedModules: true,
  verbatimModuleSyntax: true,
  declaration: true,
  sourceMap: true,
  inlineSources: true,
  newLine: ts.NewLineKind.LineFeed,
  rootDir: ROOT,
};

async function make(out: string): Promise<string> {
  const folder = join(out, "package");
  await Deno.remove(folder, { recursive: true }).catch(() => {});
  await Deno.mkdir(folder, { recursive: true });
  compile(join(folder, "dist"));
  await Deno.writeTextFile(join(folder, "package.json"), JSON.stringify(MANIFEST, null, 2) + "\n");
  await Deno.copyFile(join(HERE, "README.md"), join(folder, "README.md"));
  await Deno.copyFile(join(ROOT, "LICENSE"), join(folder, "LICENSE"));
  const tarball = await pack(folder, out);
  const { publint, "@arethetypeswrong/cli": attw } = own.imports;
  await run(Deno.execPath(), ["run", "--quiet", "-A", publint, "run", tarball, "--strict"], HERE);
  await run(Deno.execPath(), ["run", "--quiet", "-A", `${attw}/attw`, tarball, "--profile", "esm-only"], HERE);
  return tarball;
}

/** Compiles to modules and declarations. Throws what the compiler says. */
function compile(outDir: string): void {
  // Maps name their sources as seen from here, wherever the package is made.
  const seenFrom = join(ROOT, "dist");
  const program = ts.createProgram([join(ROOT, `${ENTRY}.ts`)], { ...COMPILER_OPTIONS, outDir: seenFrom });
  // The compiler rewrites what modules import, and not what declarations do.
  const write: ts.WriteFileCallback = (path, text) =>
    ts.sys.writeFile(
      join(outDir, relative(seenFrom, path)),
      path.endsWith(".d.ts") ? text.replace(DECLARED_IMPORT_REGEXP, '$1.js"') : text,
    );
  const said = [...ts.getPreEmitDiagnostics(program), ...program.emit(undefined, write).diagnostics];
  const host = { getCurrentDirectory: () => ROOT, getCanonicalFileName: (name: string) => name, getNewLine: () => "\n" };
  if (said.length > 0) throw new Error(ts.formatDiagnostics(said, host));
}

/** Packs a folder, with the modes and times that npm gives to all; returns the tarball's path. */
async function pack(folder: string, out: string): Promise<string> {
  await run("chmod", ["-R", "u=rwX,go=rX", folder], folder);
  const said = await run("npm", ["pack", "--json", "--offline", "--ignore-scripts", "--pack-destination", out], folder);
  const name = /"filename": "([^"]+)"/.exec(said)?.[1];
  if (name === undefined) throw new Error(`npm pack does not say which file it made: ${said}`);
  return join(out, name);
}

/** Runs a program; returns what it says. Throws it where the program fails. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  const env = { NO_COLOR: "1", NPM_CONFIG_UPDATE_NOTIFIER: "false" };
  const output = await new Deno.Command(command, { args: [...args], cwd, env, stdin: "null" }).output();
  const [out, err] = [output.stdout, output.stderr].map((bytes) => new TextDecoder().decode(bytes)) as [string, string];
  if (!output.success) throw new Error(`${command} ${args.join(" ")} failed:\n${out}${err}`);
  return out;
}

if (import.meta.main) {
  const [out = join(HERE, "dist"), ...more] = Deno.args;
  if (more.length > 0 || out.startsWith("-")) {
    console.error("usage: deno task npm [DIR]");
    Deno.exit(2);
  }
  try {
    // A task runs in the folder of its own, and means folders as seen from where it was called.
    const folder = resolve(Deno.env.get("INIT_CWD") ?? ".", out);
    await Deno.mkdir(folder, { recursive: true });
    console.log(await make(folder));
  } catch (error) {
    console.error(error instanceof Deno.errors.NotFound ? `npm is not there: ${error.message}` : (error as Error).message);
    Deno.exit(1);
  }
}
