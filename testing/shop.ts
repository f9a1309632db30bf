/** examples/shop as its README says it is started, with the packed client and a server of its own. */

import { installSdk, packSdk } from "./sdk_package.ts";
import { type Command, fromSource, Running, RunningServer } from "./process.ts";

const SHOP = new URL("../examples/shop/", import.meta.url);
/** Address of the shop in its README. */
const ADDRESS = "http://127.0.0.1:3000";

/** A shop that is open. */
export class Shop implements AsyncDisposable {
  readonly #stack: AsyncDisposableStack;
  readonly #start: () => Promise<Running>;
  #program: Running;

  private constructor(
    stack: AsyncDisposableStack,
    start: () => Promise<Running>,
    program: Running,
    readonly server: RunningServer,
    /** With a slash at its end. */
    readonly address: string,
    /** The folder that it was installed into. */
    readonly folder: string,
  ) {
    this.#stack = stack;
    this.#start = start;
    this.#program = program;
  }

  /** The program of the shop. */
  get program(): Running {
    return this.#program;
  }

  /** Ends the shop and opens it again, with nothing in its memory. */
  async reopen(): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    this.#program = await this.#start();
  }

  /** Installs the shop, makes its keys, and starts it with a server, that of `PARLEY_BINARIES` where there are any. */
  static async open(): Promise<Shop> {
    await using stack = new AsyncDisposableStack();
    const removed = (folder: string) => {
      stack.defer(() => Deno.remove(folder, { recursive: true }));
      return folder;
    };
    const made = removed(await Deno.makeTempDir({ prefix: "sdk-" }));
    const folder = removed(await installSdk(await packSdk(made), ["standardwebhooks"]));
    for (const name of ["shop.js", "page.js", "page.html", "login.html"]) {
      await Deno.copyFile(new URL(name, SHOP), `${folder}/${name}`);
    }
    const port = freePort(), address = `http://127.0.0.1:${port}`;
    const readme = (await Deno.readTextFile(new URL("README.md", SHOP))).replaceAll(ADDRESS, address);
    const parley = programOf();
    const [, keys, started] = [...readme.matchAll(/^```sh\n(.*?)^```/gms)].map(([, commands]) => commands!);
    await runCommands(keys!, folder, parley);
    const options = started!.replaceAll("\\\n", "").replaceAll("keys/", `${folder}/keys/`).trim().split(/\s+/).slice(1);
    const server = stack.use(await RunningServer.start(parley, ["--data", `${folder}/data`, ...options]));
    const env = { PORT: String(port), CHAT: server.url.replace(/^ws(.*)\/ws$/, "http$1"), KEYS: `${folder}/keys` };
    const start = async () => {
      const program = new Running({ command: "node", args: [`${folder}/shop.js`] }, [], env);
      await program.out.next(address);
      return program;
    };
    return new Shop(stack.move(), start, await start(), server, `${address}/`, folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#program[Symbol.asyncDispose]();
    await this.#stack.disposeAsync();
  }
}

function programOf(): Command {
  const folder = Deno.env.get("PARLEY_BINARIES");
  return folder === undefined ? fromSource("server") : { command: `${folder}/chat-server`, args: [] };
}

/** Runs commands of the README in a folder, with `chat-server` on the PATH. */
async function runCommands(commands: string, cwd: string, { command, args }: Command): Promise<void> {
  const bin = `${cwd}/bin`;
  await Deno.mkdir(bin);
  const words = [command, ...args].map((word) => `'${word}'`).join(" ");
  await Deno.writeTextFile(`${bin}/chat-server`, `#!/bin/sh\nexec ${words} "$@"\n`, { mode: 0o755 });
  const env = { NO_COLOR: "1", PATH: `${bin}:${Deno.env.get("PATH")}` };
  const { code, stderr } = await new Deno.Command("sh", { args: ["-euc", commands], cwd, env, stdin: "null" }).output();
  if (code !== 0) throw new Error(`The README's commands failed: ${new TextDecoder().decode(stderr)}`);
}

/** Finds a port that is free now: the shop and the server have to know each other's before they start. */
function freePort(): number {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return (listener.addr as Deno.NetAddr).port;
}
