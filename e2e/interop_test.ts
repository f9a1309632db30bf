/** Programs of others and the terminal client, through a real server: base frames are all it takes. */

import { assert, assertEquals } from "@std/assert";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { fromSource, Running, RunningServer } from "../testing/process.ts";
import { untilOnline, WsPeer } from "../testing/ws_peer.ts";

/** Debian's own: another one on the PATH may lack the package. */
const PYTHON = "/usr/bin/python3";

Deno.test({
  name: "the Python client of PROTOCOL.md chats with the terminal client",
  ignore: !CAN_RUN || lacksProgram(PYTHON, ["-c", "import websockets"]),
  fn: () =>
    withTerry("pat", async (server, terry, folder) => {
      await Deno.writeTextFile(`${folder}/chat.py`, await exampleIn("python"));
      await using pat = new Running({ command: PYTHON, args: [`${folder}/chat.py`, "pat", "terry", server.url] });
      await untilOnline(server.url, "pat", "terry");
      await pat.type("привет, terry \u{1f44b}");
      await terry.out.next("привет, terry \u{1f44b}");
      await terry.type("hello pat");
      assertEquals(await pat.out.next("hello"), "terry: hello pat");
      await pat.endInput();
      assertEquals(await pat.code(), 0);
      assertEquals(pat.err.all(), []);
    }),
});

Deno.test({
  name: "wscat chats with the terminal client",
  ignore: !CAN_RUN || lacksProgram("wscat"),
  fn: () =>
    withTerry("wanda", async (server, terry) => {
      await using wanda = new Running({ command: "wscat", args: ["--no-color", "--connect", `${server.url}?name=wanda`] });
      await untilOnline(server.url, "wanda", "terry");
      await wanda.type('{"sender":"wanda","recipient":"terry","content":"typed by hand"}');
      await terry.out.next("typed by hand");
      await terry.type("and read by eye");
      await wanda.out.next('{"sender":"terry","recipient":"wanda","content":"and read by eye"}');
    }),
});

Deno.test({
  name: "the browser's client of PROTOCOL.md chats with anybody",
  ignore: !CAN_RUN,
  fn: async () => {
    await using server = await RunningServer.start(fromSource("server"), ["--broker", "memory"]);
    await using alice = await WsPeer.open(`${server.url}?name=alice`);
    alice.send({ sender: "alice", recipient: "alice", content: "here I am", id: "1" });
    assertEquals((await alice.next()).type, "ack");
    const code = (await exampleIn("js")).replace("ws://127.0.0.1:8080/ws", server.url);
    await using carol = new Running({ command: Deno.execPath(), args: ["eval", code] });
    assertEquals(await alice.next(), { sender: "carol", recipient: "alice", content: "hello" });
    alice.send({ sender: "alice", recipient: "carol", content: "hello carol" });
    assertEquals(await carol.out.next("carol"), "alice: hello carol");
  },
});

/** A server, and a terminal client of terry's that writes to `to`. */
async function withTerry(
  to: string,
  chat: (server: RunningServer, terry: Running, folder: string) => Promise<void>,
): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const home = { XDG_CONFIG_HOME: `${folder}/config`, XDG_STATE_HOME: `${folder}/state` };
    await using server = await RunningServer.start(fromSource("server"), ["--data", `${folder}/data`]);
    await using terry = new Running(fromSource("client"), ["--server", server.url, "--name", "terry", "--to", to], home);
    await chat(server, terry, folder);
    await terry.endInput();
    assertEquals(await terry.code(), 0, terry.err.all().join("\n"));
    server.kill("SIGTERM");
    assertEquals(await server.code(), 0);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

/** The client in PROTOCOL.md that is written in `language`. */
async function exampleIn(language: "python" | "js"): Promise<string> {
  const text = await Deno.readTextFile(new URL("../docs/PROTOCOL.md", import.meta.url));
  const code = text.split("```" + language + "\n")[1]?.split("```")[0];
  assert(code, `PROTOCOL.md has no client in ${language}`);
  return code;
}
