/** A chat on a terminal, with a server and somebody to talk to, for tests of what a person sees. */

import { type Server, startServer } from "../server.ts";
import { CAN_RUN, lacks, lacksProgram } from "./permissions.ts";
import { type Command, fromSource } from "./process.ts";
import { Terminal } from "./tmux.ts";
import { untilOnline, WsPeer } from "./ws_peer.ts";

const folder = lacks("env") ? undefined : Deno.env.get("PARLEY_BINARIES");
/** The clients to look at, by where they come from: the source, and a compiled one where there is one. */
export const CLIENTS: [string, Command][] = [
  ["source", fromSource("client")],
  ...(folder === undefined ? [] : [["binary", { command: `${folder}/chat-client`, args: [] }]] as [string, Command][]),
];
/** True where no terminal can be had. */
export const NO_TERMINAL = !CAN_RUN || lacksProgram("tmux", ["-V"]) || lacksProgram("bash");

/** Defines a test for the client from source, and for the compiled one where there is one. */
export function onTerminal(name: string, test: (place: Place) => Promise<void>): void {
  for (const [which, client] of CLIENTS) {
    const fn = async () => {
      await using place = await Place.start(client);
      await test(place);
    };
    Deno.test({ name: `terminal (${which}) - ${name}`, ignore: NO_TERMINAL, fn });
  }
}

/** A server, a home for clients, and alice, who is a plain socket. */
export class Place implements AsyncDisposable {
  /** Home of the clients. */
  readonly #home = Deno.makeTempDirSync();
  readonly env = { XDG_STATE_HOME: `${this.#home}/state`, XDG_CONFIG_HOME: `${this.#home}/config` };

  private constructor(readonly client: Command, public server: Server) {}

  static async start(client: Command): Promise<Place> {
    return new Place(client, await startServer({ port: 0 }));
  }

  /** Starts bob's client on a terminal. */
  async bob(size = {}, ...args: string[]): Promise<Terminal> {
    const terminal = await Terminal.start(
      this.client,
      ["--name", "bob", "--server", this.server.url, ...args],
      this.env,
      size,
    );
    await untilOnline(this.server.url, "bob");
    return terminal;
  }

  async alice(): Promise<WsPeer> {
    const alice = await WsPeer.open(`${this.server.url}?name=alice`);
    await untilOnline(this.server.url, "alice");
    return alice;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.shutdown();
    await Deno.remove(this.#home, { recursive: true });
  }
}
