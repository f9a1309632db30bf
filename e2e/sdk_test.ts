/** `@parley/client`, the package for npm: built, packed, installed into an empty folder, and used as its README says. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { makeToken, Tokens } from "../auth/tokens.ts";
import { ChatClient, isGroup } from "../chat_client.ts";
import config from "../deno.json" with { type: "json" };
import { startServer } from "../server.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { installSdk, packSdk, ran, runTool, socketFlags } from "../testing/sdk_package.ts";

const ignore = !CAN_RUN || lacksProgram("npm") || lacksProgram("node");
const README = new URL("../sdk/README.md", import.meta.url);
const SECRET = "a secret of more than thirty-two bytes";
/** Milliseconds for a program of the README, which needs less than one second. */
const PROGRAM_MS = 60_000;
/** Bytes of the whole package, minified and compressed with gzip, as the README says it. */
const ALL_BYTES_MAX = 10 * 1_024;
/** Bytes of one small function, minified. */
const ONE_BYTES_MAX = 1_024;

/** A program of the README with the output that stands below it, and the number of the program among all. */
interface Program {
  readonly number: number;
  readonly text: string;
  readonly output: string;
}

function programsOf(readme: string): Program[] {
  const found = readme.matchAll(/^```js\n(.*?)^```\n(?:\n```text\n(.*?)^```$)?/gms);
  return [...found].map(([, text, output = ""], number) => ({ number, text: text!, output }));
}

/** Runs tests with the packed package installed in a folder. */
async function withPackage(run: (folder: string, tarball: string, made: string) => Promise<void>): Promise<void> {
  const made = await Deno.makeTempDir({ prefix: "sdk-" });
  try {
    const tarball = await packSdk(made);
    const folder = await installSdk(tarball, ["ws", "@types/ws", "@types/node"]);
    try {
      await run(folder, tarball, made);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  } finally {
    await Deno.remove(made, { recursive: true });
  }
}

Deno.test({
  name: "@parley/client - is the same bytes every time, needs nothing, and passes publint and attw",
  ignore,
  fn: async () => {
    await withPackage(async (folder, tarball, made) => {
      const again = await packSdk(`${made}/again`);
      assertEquals(await hashOf(again), await hashOf(tarball));
      assert(tarball.endsWith(`parley-client-${config.version}.tgz`));
      const installed = `${folder}/node_modules/@parley/client`;
      const manifest = JSON.parse(await Deno.readTextFile(`${installed}/package.json`)) as Record<string, unknown>;
      assertEquals([manifest.version, manifest.dependencies, manifest.type], [config.version, undefined, "module"]);
      for await (const { name } of Deno.readDir(`${installed}/dist/chat_client`)) {
        const text = await Deno.readTextFile(`${installed}/dist/chat_client/${name}`);
        if (!name.endsWith(".map")) assert(!/(?:from|import\() ?"\.[^"]*(?<!\.js)"/.test(text), name);
      }
    });
  },
});

async function hashOf(path: string): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", await Deno.readFile(path))).toHex();
}

Deno.test({
  name: "@parley/client - every program of its README says what stands below it, in Node.js and in Deno",
  ignore,
  fn: async (t) => {
    const readme = await Deno.readTextFile(README);
    assert(readme.includes(`parley-client-${config.version}.tgz`), "the README installs another version");
    const programs = programsOf(readme);
    assert(programs.length > 5);
    assertEquals(programs.length, readme.match(/^```js$/gm)?.length);
    await withPackage(async (folder) => {
      for (const program of programs) {
        for (const runtime of ["node", "deno"] as const) {
          await t.step(`program ${program.number + 1} in ${runtime}`, () => runProgram(program, runtime, folder));
        }
      }
    });
  },
});

async function runProgram({ number, text, output }: Program, runtime: "node" | "deno", folder: string): Promise<void> {
  const cwd = `${folder}/${runtime}-${number}`;
  await Deno.mkdir(cwd);
  await using world = await World.start(text.includes("getToken"));
  await Deno.writeTextFile(`${cwd}/program.js`, world.adapt(text));
  const [command, args] = runtime === "deno"
    ? [Deno.execPath(), ["run", "-A", "--quiet", "--no-lock"]] as const
    : ["node", text.includes('from "ws"') ? [] : await socketFlags()] as const;
  const { code, out, err } = await deadline(ran(command, [...args, "program.js"], cwd), PROGRAM_MS);
  assertEquals([code, out], [0, output], err);
}

/** A server, bob, who repeats what he is told, and a backend that gives carol a token. */
class World implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #url: string;
  readonly #backend: string;

  private constructor(stack: AsyncDisposableStack, url: string, backend: string) {
    this.#stack = stack;
    this.#url = url;
    this.#backend = backend;
  }

  static async start(hasTokens: boolean): Promise<World> {
    await using stack = new AsyncDisposableStack();
    const tokens = hasTokens ? { tokens: await Tokens.open({ secret: SECRET }) } : {};
    const { url } = stack.use(await startServer({ port: 0, ...tokens }));
    const backend = stack.use(Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, async () => {
      const { token } = await makeToken({ name: "carol", seconds: 86_400, admin: false, secret: SECRET });
      return new Response(token);
    }));
    if (!hasTokens) await startBob(url, stack);
    return new World(stack.move(), url, `http://127.0.0.1:${backend.addr.port}`);
  }

  /** Returns a program of the README with the addresses of this world. */
  adapt(text: string): string {
    return text.replaceAll("ws://127.0.0.1:8080/ws", this.#url).replaceAll("http://127.0.0.1:3000", this.#backend);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stack.disposeAsync();
  }
}

async function startBob(url: string, stack: AsyncDisposableStack): Promise<void> {
  const bob = new ChatClient({ url, name: "bob" });
  stack.defer(() => bob.close());
  bob.subscribe({
    message: ({ sender, recipient, content }) => {
      if (!isGroup(recipient)) bob.send(sender, `you said ${content}`);
    },
  });
  const synced = new Promise<void>((resolve) => bob.subscribe({ synced: resolve }));
  bob.connect();
  await synced;
}

Deno.test({
  name: "@parley/client - its types hold in strict programs, those of the README too, with both kinds of resolution",
  ignore,
  fn: async (t) => {
    const programs = programsOf(await Deno.readTextFile(README));
    await withPackage(async (folder) => {
      const strict = { strict: true, exactOptionalPropertyTypes: true, noUncheckedIndexedAccess: true, noEmit: true };
      const check = async (name: string, options: Record<string, unknown>, files: readonly string[]) => {
        const compilerOptions = { ...strict, skipLibCheck: false, target: "es2022", ...options };
        await Deno.writeTextFile(`${folder}/${name}.json`, JSON.stringify({ compilerOptions, files }));
        const { code, out } = await runTool("typescript", ["--project", `${folder}/${name}.json`], "/tsc");
        return { code, out };
      };
      for (const { number, text } of programs) await Deno.writeTextFile(`${folder}/program${number}.ts`, text);
      const files = programs.map(({ number }) => `program${number}.ts`);
      for (const [module, moduleResolution] of [["nodenext", "nodenext"], ["esnext", "bundler"]]) {
        await t.step(`the README, with ${moduleResolution}`, async () => {
          const types = { lib: ["es2022", "dom"], types: ["node"] };
          assertEquals(await check(moduleResolution!, { module, moduleResolution, ...types }, files), { code: 0, out: "" });
        });
      }
      await t.step("without the types of browsers and of Node.js", async () => {
        await Deno.writeTextFile(
          `${folder}/bare.ts`,
          `import { ChatClient, ChatError, type State } from "@parley/client";\n` +
            `const client = new ChatClient({ url: "ws://host/ws", getToken: () => "t" });\n` +
            `export const state: State = client.state;\nexport const { code } = new ChatError("offline", "");\n`,
        );
        const bare = { module: "nodenext", moduleResolution: "nodenext", lib: ["es2022"], types: [] };
        assertEquals(await check("bare", bare, ["bare.ts"]), { code: 0, out: "" });
      });
      await t.step("and a mistake is found", async () => {
        await Deno.writeTextFile(
          `${folder}/wrong.ts`,
          'import { ChatClient } from "@parley/client";\nnew ChatClient({ url: 1 });\n',
        );
        const { code, out } = await check("wrong", { module: "nodenext", lib: ["es2022"], types: [] }, ["wrong.ts"]);
        assertEquals(code, 2);
        assertMatch(out, /wrong\.ts\(2,\d+\): error TS2322/);
      });
    });
  },
});

Deno.test({
  name: "@parley/client - is small, and smaller where a program uses little of it",
  ignore,
  fn: async () => {
    await withPackage(async (folder) => {
      const bundled = async (name: string, text: string) => {
        await Deno.writeTextFile(`${folder}/${name}.js`, text);
        const { code, out, err } = await runTool("esbuild", [
          `${folder}/${name}.js`,
          "--bundle",
          "--minify",
          "--format=esm",
          "--charset=utf8",
          "--log-level=warning",
        ]);
        assertEquals(code, 0, err);
        return new TextEncoder().encode(out);
      };
      const all = await bundled("all", 'export * from "@parley/client";\n');
      const compressed = new Response(new Response(all).body!.pipeThrough(new CompressionStream("gzip")));
      const { byteLength } = await compressed.arrayBuffer();
      assert(byteLength <= ALL_BYTES_MAX && byteLength > ALL_BYTES_MAX - 2_048, `${byteLength} bytes, compressed`);
      const one = await bundled("one", 'import { lookOnReturn } from "@parley/client";\nlookOnReturn({ lookNow() {} });\n');
      assert(one.length <= ONE_BYTES_MAX, `${one.length} bytes of one function`);
      assertEquals((await bundled("none", 'import "@parley/client";\n')).length, 0);
    });
  },
});
