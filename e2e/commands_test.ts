/** The commands of both programs, as scripts use them: against a real server, with exit statuses and what stands on stderr. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { type Server, startServer } from "../server.ts";
import { CAN_RUN } from "../testing/permissions.ts";
import { fromSource, Running, RunningServer, runToEnd } from "../testing/process.ts";
import { quoted } from "../testing/tmux.ts";
import { untilOnline, WsPeer } from "../testing/ws_peer.ts";

const CLIENT = fromSource("client");
const SERVER = fromSource("server");
const ignore = !CAN_RUN;

/** A server and a home for clients, gone at the end. */
class Place implements AsyncDisposable {
  readonly home = Deno.makeTempDirSync();
  readonly env = { XDG_CONFIG_HOME: `${this.home}/config`, XDG_STATE_HOME: `${this.home}/state` };

  private constructor(readonly server: Server) {}

  static async start(): Promise<Place> {
    return new Place(await startServer({ port: 0 }));
  }

  run(args: readonly string[], env: Record<string, string> = {}) {
    return runToEnd(CLIENT, [...args, "--server", this.server.url], "", { ...this.env, ...env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.shutdown();
    await Deno.remove(this.home, { recursive: true });
  }
}

Deno.test({
  name: "help, completions and man are commands of both programs, and say what they do not know",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    for (const [program, name] of [[CLIENT, "chat-client"], [SERVER, "chat-server"]] as const) {
      const run = (...args: string[]) => runToEnd(program, args, "", place.env);
      const help = await run("help");
      assertEquals([help.code, help.out], [0, (await run("--help")).out]);
      const command = name === "chat-client" ? "send" : "backup";
      assertEquals((await run("help", command)).out, (await run(command, "--help")).out);
      const unknown = await run("help", "nothing");
      assertEquals(unknown.code, 2);
      assertStringIncludes(unknown.err, 'no command "nothing"');
      assertStringIncludes((await run("completions", "bash")).out, `complete -F _${name.replace("-", "_")} ${name}`);
      assertStringIncludes((await run("man")).out, `.TH ${name.toUpperCase()} 1`);
      assertEquals((await run("completions", "tcsh")).code, 2);
    }
  },
});

Deno.test({
  name: "a line that is no UTF-8 is an error, and those before it are sent",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await using alice = await WsPeer.open(`${place.server.url}?name=alice`);
    await untilOnline(place.server.url, "alice");
    const client = [CLIENT.command, ...CLIENT.args, "--name", "bob", "--to", "alice", "--server", place.server.url];
    const pipe = `printf 'one\\ncaf\\351\\ntwo\\n' | ${client.map(quoted).join(" ")}`;
    const { code, err } = await runToEnd({ command: "sh", args: ["-c", pipe] }, [], "", place.env);
    assertEquals(code, 1, err);
    assertStringIncludes(err, "line 2 of the input");
    const frame = await alice.next();
    assert(frame.type === undefined && frame.content === "one");
    const send = `printf 'caf\\351' | ${[...client.slice(0, -4), "--server", place.server.url].map(quoted).join(" ")}`
      .replace("--name", "send' 'alice' '-' '--name");
    const sent = await runToEnd({ command: "sh", args: ["-c", send] }, [], "", place.env);
    assertEquals(sent.code, 1, sent.err);
    assertStringIncludes(sent.err, "not UTF-8");
  },
});

Deno.test({
  name: "with --json errors and notices are JSON too, and --quiet leaves the errors",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    const json = await place.run(["send", "nobody", "x", "--name", "bob", "--json"]);
    assertEquals(json.code, 1);
    const { type, code } = JSON.parse(json.err.split("\n").at(-1)!);
    assertEquals([type, code], ["error", "unknown_recipient"]);
    const usage = await place.run(["--json", "--colour"]);
    assertEquals([usage.code, JSON.parse(usage.err).code], [2, "usage"]);
    const talks = await place.run(["--name", "bob", "--to", "bob"]);
    assertStringIncludes(talks.err, "Connected");
    const quiet = await place.run(["--name", "bob", "--to", "bob", "--quiet"]);
    assertEquals([quiet.code, quiet.out, quiet.err], [0, "", ""]);
    const refused = await place.run(["send", "nobody", "x", "--name", "bob"]);
    assertStringIncludes(refused.err, "no user");
  },
});

Deno.test({
  name: "listen ends after --count messages, of which none comes again, or when nothing came for --idle seconds",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    const listen = (...args: string[]) => ["listen", "--name", "bob", "--server", place.server.url, ...args];
    await runToEnd(CLIENT, listen("--idle", "1"), "", place.env); // bob is known now
    for (const text of ["one", "two", "three"]) await place.run(["send", "bob", text, "--name", "alice"]);
    const first = await runToEnd(CLIENT, listen("--count", "2"), "", place.env);
    assertEquals([first.code, first.out], [0, "alice: one\nalice: two"]);
    const rest = await runToEnd(CLIENT, listen("--idle", "1", "--quiet"), "", place.env);
    assertEquals([rest.code, rest.out, rest.err], [0, "alice: three", ""]);
    const less = await runToEnd(CLIENT, listen("--idle", "1", "--count", "1"), "", place.env);
    assertEquals([less.code, less.out], [3, ""]);
    assertStringIncludes(less.err, "0 of 1 messages came");
  },
});

Deno.test({
  name: "listen refuses a program that is not there before it listens",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    const { code, err } = await place.run(["listen", "--name", "bob", "--exec", "./not-there.sh"]);
    assertEquals([code, err.includes("./not-there.sh"), err.includes("Connected")], [2, true, false]);
  },
});

Deno.test({
  name: "a server on this machine is reached whatever proxy the environment names",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    const proxies = { HTTP_PROXY: "http://127.0.0.1:9", ALL_PROXY: "http://127.0.0.1:9" };
    const { code, err } = await place.run(["--name", "bob", "--to", "bob"], proxies);
    assertEquals(code, 0, err);
    const away = ["send", "bob", "x", "--name", "bob", "--server", "ws://chat.invalid/ws", "--timeout", "1"];
    const other = await runToEnd(CLIENT, away, "", { ...place.env, ...proxies });
    assertStringIncludes(other.err, "(through the proxy of HTTP_PROXY, 127.0.0.1:9)");
  },
});

Deno.test({
  name: "admin lists, disconnects and makes known, for those whose token says so",
  ignore,
  fn: async () => {
    const home = await Deno.makeTempDir();
    try {
      const secret = `${home}/secret`;
      await Deno.writeTextFile(secret, "x".repeat(64));
      for (const [name, ...more] of [["root", "--admin"], ["bob"], ["carol"]]) {
        const args = ["token", "--name", name!, "--jwt-secret-file", secret, "--out", `${home}/${name}.token`, ...more];
        assertEquals((await runToEnd(SERVER, args)).code, 0);
      }
      await using server = await RunningServer.start(SERVER, ["--data", ":memory:", "--jwt-secret-file", secret]);
      const env = { XDG_CONFIG_HOME: `${home}/config`, XDG_STATE_HOME: `${home}/state` };
      const as = (name: string) => ["--server", server.url, "--token-file", `${home}/${name}.token`];
      const admin = (name: string, ...words: string[]) => runToEnd(CLIENT, ["admin", ...words, ...as(name)], "", env);
      const refused = await admin("bob", "create", "carol");
      assertEquals(refused.code, 1);
      assertStringIncludes(refused.err, "Only administrators");
      assertEquals((await admin("root", "create", "Carol")).out, "carol is known now");
      assertEquals((await admin("root", "create", "carol")).out, "carol was known before");
      const sent = await runToEnd(CLIENT, ["send", "carol", "welcome", ...as("bob")], "", env);
      assertEquals(sent.code, 0, sent.err);
      await using carol = new Running(CLIENT, ["listen", ...as("carol")], env);
      await carol.out.next("bob: welcome");
      const listed = (await admin("root", "list", "--json")).out.split("\n").map((line) => JSON.parse(line).user);
      assertEquals(listed, ["carol", "root"]);
      assertEquals((await admin("root", "disconnect", "carol")).out, "carol: 1 connections closed");
      assertEquals(await carol.code(), 1);
      const again = await admin("root", "disconnect", "carol");
      assertEquals(again.code, 1);
      assert((await admin("root", "dance")).code === 2);
    } finally {
      await Deno.remove(home, { recursive: true });
    }
  },
});
