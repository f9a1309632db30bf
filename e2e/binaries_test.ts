/**
 * The programs as they are shipped: what `deno task compile --out DIR` made, with PARLEY_BINARIES=DIR. Without it the tests are
 * ignored; where CI is set they fail.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { type Command, Running, RunningServer, runToEnd } from "../testing/process.ts";
import { untilOnline, WsPeer } from "../testing/ws_peer.ts";

const folder = lacks("env") ? undefined : Deno.env.get("PARLEY_BINARIES");
/**
 * Bytes by which the server may be larger than the client: its own modules, PostgreSQL's, metrics' and the built page are two
 * megabytes; what the page is made with (esbuild alone has ten) would be far more.
 */
const PAGE_BYTES_MAX = 3_000_000;
const ignore = !CAN_RUN || (folder === undefined && Deno.env.get("CI") !== "true");

function binary(name: "chat-server" | "chat-client"): Command {
  assert(folder !== undefined, "PARLEY_BINARIES does not say where the programs are");
  return { command: `${folder}/${name}`, args: [] };
}

for (const name of ["chat-server", "chat-client"] as const) {
  Deno.test({
    name: `${name} - helps, says its version, and refuses what it does not know in one line`,
    ignore,
    fn: async () => {
      const help = await runToEnd(binary(name), ["--help"]);
      assertEquals([help.code, help.err], [0, ""]);
      assertStringIncludes(help.out, name);
      assertStringIncludes(help.out, "--version");
      const version = await runToEnd(binary(name), ["--version"]);
      assertEquals([version.code, version.err], [0, ""]);
      assertStringIncludes(version.out, config.version);
      const wrong = await runToEnd(binary(name), ["--colour-of-the-sky", "blue"]);
      assertEquals([wrong.code, wrong.out], [2, ""]);
      assertMatch(wrong.err, /^[^\n]*--colour-of-the-sky[^\n]*$/);
    },
  });
}

Deno.test({
  name: "chat-server has the page for browsers in it, and nothing of what the page is made with",
  ignore,
  fn: async () => {
    await using server = await RunningServer.start(binary("chat-server"), ["--broker", "memory"]);
    const address = server.url.replace(/^ws(.*)ws$/, "http$1");
    const page = await fetch(address, { headers: { accept: "text/html" } });
    const html = await page.text();
    assertEquals(page.headers.get("content-type"), "text/html; charset=utf-8");
    const script = await fetch(address + /src="([^"]+)"/.exec(html)![1]!);
    assertEquals([script.status, script.headers.get("content-encoding")], [200, "br"]);
    await script.body?.cancel();
    const [larger, smaller] = [await sizeOf("chat-server"), await sizeOf("chat-client")];
    assert(larger - smaller < PAGE_BYTES_MAX, `chat-server is ${larger - smaller} bytes larger than chat-client`);
  },
});

/** Size of a program in bytes; 0 for a launcher, which has nothing in it. */
async function sizeOf(name: "chat-server" | "chat-client"): Promise<number> {
  const { size } = await Deno.stat(binary(name).command);
  return size < PAGE_BYTES_MAX ? 0 : size;
}

Deno.test({
  name: "chat-server and two chat-clients talk, and all end with status 0",
  ignore,
  fn: async () => {
    const home = await Deno.makeTempDir();
    try {
      await using server = await RunningServer.start(binary("chat-server"), ["--data", `${home}/data`]);
      const env = homeIn(home);
      await using alice = chat(server, "alice", "bob", env);
      await using bob = chat(server, "bob", "alice", env);
      await untilOnline(server.url, "alice", "bob");
      await alice.type("hi bob");
      await bob.out.next("hi bob");
      await bob.type("hello alice");
      await alice.out.next("hello alice");
      await Promise.all([alice.endInput(), bob.endInput()]);
      assertEquals([await alice.code(), await bob.code()], [0, 0]);
      server.kill("SIGTERM");
      assertEquals(await server.code(), 0);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
});

Deno.test({
  name: "two chat-clients talk on terminals",
  ignore: ignore || lacksProgram("tmux", ["-V"]),
  fn: async () => {
    const home = await Deno.makeTempDir();
    try {
      await using server = await RunningServer.start(binary("chat-server"), ["--broker", "memory"]);
      const run = (name: string, to: string) => `exec ${folder}/chat-client --server ${server.url} --name ${name} --to ${to}`;
      // In control mode tmux writes what its panes show, line by line; the first pane is %0.
      const control = ["-S", `${home}/tmux`, "-f", "/dev/null", "-C", "new-session", "-x", "100", "-y", "30"];
      await using tmux = new Running({ command: "tmux", args: [...control, run("alice", "bob")] }, [], homeIn(home));
      await tmux.type(`new-window "${run("bob", "alice")}"`);
      await untilOnline(server.url, "alice", "bob");
      await tmux.type("send-keys -t :1 'hello alice' Enter");
      await tmux.out.next(/^%output %0 .*hello alice/);
      await tmux.type("send-keys -t :0 'hi bob' Enter");
      await tmux.out.next(/^%output %1 .*hi bob/);
      for (const pane of [0, 1]) await tmux.type(`send-keys -t :${pane} /quit Enter`);
      // With its last pane tmux ends.
      await tmux.code();
    } finally {
      await new Deno.Command("tmux", { args: ["-S", `${home}/tmux`, "kill-server"] }).output();
      await Deno.remove(home, { recursive: true });
    }
  },
});

Deno.test({
  name: "chat-server keeps an acked message over a restart, and tells its clients of it",
  ignore,
  fn: async () => {
    const data = await Deno.makeTempDir();
    try {
      {
        await using server = await RunningServer.start(binary("chat-server"), ["--data", data]);
        await using bob = await WsPeer.open(`${server.url}?name=bob`);
        bob.send({ sender: "bob", recipient: "bob", content: "I exist", id: "1" });
        assertEquals((await bob.next()).type, "ack");
        await bob[Symbol.asyncDispose]();
        await using alice = await WsPeer.open(`${server.url}?name=alice`);
        alice.send({ sender: "alice", recipient: "bob", content: "read this later", id: "1" });
        assertEquals((await alice.next()).type, "ack");
        server.kill("SIGTERM");
        assertEquals((await alice.closed).code, 1012);
        assertEquals(await server.code(), 0);
      }
      await using server = await RunningServer.start(binary("chat-server"), ["--data", data]);
      await using bob = await WsPeer.open(`${server.url}?name=bob`);
      assertEquals(await bob.next(), { sender: "alice", recipient: "bob", content: "read this later" });
    } finally {
      await Deno.remove(data, { recursive: true });
    }
  },
});

Deno.test({
  name: "chat-server listens where its options say, whatever DENO_SERVE_ADDRESS does",
  ignore,
  fn: async () => {
    using taken = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const env = { DENO_SERVE_ADDRESS: `tcp:127.0.0.1:${taken.addr.port}` };
    await using server = await RunningServer.start(binary("chat-server"), ["--broker", "memory"], env);
    await using peer = await WsPeer.open(server.url);
    peer.send({ sender: "ann", recipient: "ann", content: "hi", id: "1" });
    assertEquals((await peer.next()).type, "ack");
  },
});

function chat(server: RunningServer, name: string, to: string, env: Record<string, string>): Running {
  return new Running(binary("chat-client"), ["--server", server.url, "--name", name, "--to", to], env);
}

/** Settings and state of the client are kept in here. */
function homeIn(folder: string): Record<string, string> {
  return { XDG_CONFIG_HOME: `${folder}/config`, XDG_STATE_HOME: `${folder}/state`, XDG_DATA_HOME: `${folder}/share` };
}
