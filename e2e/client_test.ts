/** The client between other programs, against a real server: its input, output and exit statuses. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import type { Appended, Draft } from "../broker.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { type Server, startServer } from "../server.ts";
import { certificate, filesIn } from "../testing/certificate.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { fromSource, Running, RunningServer, runToEnd } from "../testing/process.ts";
import { quoted } from "../testing/tmux.ts";
import { untilOnline } from "../testing/ws_peer.ts";

const CLIENT = fromSource("client");
const SERVER = fromSource("server");
const ignore = !CAN_RUN;

/** A server and a home for clients, gone at the end. */
class Place implements AsyncDisposable {
  readonly home = Deno.makeTempDirSync();
  readonly env = { XDG_CONFIG_HOME: `${this.home}/config`, XDG_STATE_HOME: `${this.home}/state` };

  private constructor(public server: Server) {}

  static async start(): Promise<Place> {
    return new Place(await startServer({ port: 0 }));
  }

  get url(): string {
    return this.server.url;
  }

  /** Runs a client to its end. */
  run(name: string, args: readonly string[], input = ""): Promise<{ code: number; out: string; err: string }> {
    return runToEnd(CLIENT, [...args, "--server", this.url, "--name", name], input, this.env);
  }

  /** Starts one that goes on. */
  start(name: string, ...args: string[]): Running {
    return new Running(CLIENT, [...args, "--server", this.url, "--name", name], this.env);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.shutdown();
    await Deno.remove(this.home, { recursive: true });
  }
}

/** Returns whether a shell is installed; most machines have only one of them. */
function isThere(shell: string): boolean {
  return ["/bin", "/usr/bin"].some((folder) => {
    try {
      return Deno.statSync(`${folder}/${shell}`).isFile;
    } catch {
      return false;
    }
  });
}

/** Writes a program that answers every message with yes. Returns its path. */
async function answering(folder: string): Promise<string> {
  const { command, args } = CLIENT;
  const client = [command, ...args].map(quoted).join(" ");
  await Deno.writeTextFile(`${folder}/answer`, `#!/bin/sh\nexec ${client} send "$PARLEY_CONVERSATION" yes\n`, { mode: 0o755 });
  return `${folder}/answer`;
}

/** A broker whose every append takes as long as the sync of a slow disk. */
class SlowBroker extends MemoryBroker {
  syncs = 0;
  #last: Promise<unknown> = Promise.resolve();

  override async append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    this.syncs++;
    const before = this.#last;
    const done = Promise.withResolvers<void>();
    this.#last = done.promise;
    await before;
    await new Promise((resolve) => setTimeout(resolve, 10));
    const results = await super.append(drafts);
    done.resolve();
    return results;
  }
}

/** Returns a broker that knows a user. */
async function knowing(user: string): Promise<MemoryBroker> {
  const broker = new MemoryBroker();
  await broker.attach(user, "elsewhere");
  return broker;
}

Deno.test({
  name: "client sends lines and prints what arrives on stdout, all else on stderr",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await using alice = place.start("alice");
    await untilOnline(place.url, "alice");
    const bob = await place.run("bob", ["--to", "alice"], "one\n\ntwo");
    assertEquals([bob.code, bob.out], [0, ""]);
    assertStringIncludes(bob.err, "Connected to");
    await alice.out.next("two");
    await alice.type("@bob back to you");
    await alice.endInput();
    assertEquals(await alice.code(), 0);
    assertEquals(alice.out.all(), ["bob: one", "bob: two"]);
    const again = await place.run("bob", ["--json"]);
    assertEquals([again.code, again.out.split("\n").length], [0, 1]);
    const { sender, recipient, content } = JSON.parse(again.out);
    assertEquals([sender, recipient, content], ["alice", "bob", "back to you"]);
    assertEquals((await place.run("bob", [])).out, "");
  },
});

Deno.test({
  name: "client makes control characters visible between programs too",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await using alice = place.start("alice");
    await using bob = place.start("bob", "--to", "alice");
    await untilOnline(place.url, "alice", "bob");
    await bob.type("\x1b]52;c;aGk=\x07 \u202eevil \x9b31m");
    assertEquals(await alice.out.next("bob"), "bob: ^[]52;c;aGk=^G evil \\x9b31m");
  },
});

Deno.test({
  name: "client exits with 1 when something is refused, 2 for usage, 3 without a server",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    const refused = await place.run("bob", ["--to", "nobody"], "hello");
    assertEquals(refused.code, 1);
    assertStringIncludes(refused.err, 'There is no user "nobody"');
    for (
      const args of [
        ["--colour"],
        ["--to"],
        ["--to", "two words"],
        ["--server", "ftp://x"],
        ["dance"],
        ["send", "alice"],
        [
          "history",
        ],
        ["--token-file", "/nowhere"],
        ["send", "alice", "hi", "--id", "x".repeat(65)],
        ["listen", "--exec", " "],
      ]
    ) {
      const usage = await runToEnd(CLIENT, [...args, "--name", "bob"], "", place.env);
      assertEquals([usage.code, usage.out], [2, ""], args.join(" "));
      assertMatch(usage.err, /^chat-client: [^\n]+$/);
    }
    const nameless = await runToEnd(CLIENT, [], "", place.env);
    assertEquals(nameless.code, 2);
    assertStringIncludes(nameless.err, "--name");
    const nowhere = await runToEnd(CLIENT, ["--name", "bob", "--server", "127.0.0.1:1"], "", place.env);
    assertEquals([nowhere.code, nowhere.err], [3, "There is no server at 127.0.0.1:1"]);
    const unsent = await runToEnd(
      CLIENT,
      ["send", "alice", "hi", "--timeout", "1", "--name", "bob", "--server", "127.0.0.1:1"],
      "",
      place.env,
    );
    assertEquals(unsent.code, 3);
    assertStringIncludes(unsent.err, "Not sent: there was no connection");
    const wrong = await runToEnd(CLIENT, ["--name", "bob", "--server", place.url.replace("/ws", "/chat")], "", place.env);
    assertEquals(wrong.code, 1);
    assertStringIncludes(wrong.err, "There is no chat server at");
  },
});

Deno.test({
  name: "client talks to a server with tokens and TLS, and says what is wrong with either",
  ignore: ignore || lacksProgram("openssl", ["version"]),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const at = (name: string) => `${folder}/${name}`;
    const env = { XDG_CONFIG_HOME: at("config"), XDG_STATE_HOME: at("state") };
    await certificate(folder);
    const { ca, cert, key } = filesIn(folder);
    assertEquals((await runToEnd(SERVER, ["keys", "--out", at("keys")])).code, 0);
    for (const name of ["alice", "bob"]) {
      const { out } = await runToEnd(SERVER, ["token", "--name", name, "--jwt-private-key", at("keys/private.pem")]);
      await Deno.writeTextFile(at(name), out);
    }
    await Deno.writeTextFile(at("garbage"), "x.y.z");
    await Deno.writeTextFile(at("empty"), "\n");
    await Deno.writeTextFile(at("two"), `# for alice\n${await Deno.readTextFile(at("alice"))}`);
    const options = ["--jwt-public-key", at("keys/public.pem"), "--cert", cert, "--key", key];
    {
      await using server = await RunningServer.start(SERVER, ["--data", ":memory:", ...options]);
      const run = (...args: string[]) => runToEnd(CLIENT, ["--server", server.url, ...args], "", env);
      const trusted = ["--ca", ca];
      assertEquals((await run(...trusted, "--token-file", at("bob"))).err, `Connected to ${new URL(server.url).host}`);
      const sent = await runToEnd(
        CLIENT,
        ["send", "bob", "hello", "--server", server.url, ...trusted, "--token-file", at("alice")],
        "",
        env,
      );
      assertEquals([sent.code, sent.err], [0, ""]);
      assertEquals((await run(...trusted, "--token-file", at("bob"))).out, "alice: hello");
      const table: [string[], number, string][] = [
        [["--token-file", at("bob")], 1, "--ca FILE"],
        [[...trusted, "--token-file", at("garbage")], 1, "did not accept the token"],
        [[...trusted, "--name", "bob"], 1, "--token-file FILE"],
        [[...trusted, "--token-file", at("bob"), "--name", "alice"], 1, 'You are "bob" and cannot be "alice"'],
        [[...trusted, "--token-file", at("empty")], 2, "There is no token in"],
        [[...trusted, "--token-file", at("two")], 2, `The text in ${at("two")} is not a token`],
        [["--ca", key, "--token-file", at("bob")], 2, "There is no certificate (PEM) in"],
        [["--server", server.url.replace("wss:", "ws:"), "--token-file", at("bob")], 3, "try wss://"],
      ];
      for (const [args, code, words] of table) {
        const end = await run(...args);
        assertEquals(end.code, code, end.err);
        assertStringIncludes(end.err, words);
        assert(!end.err.includes("eyJ"), "the output has the token");
      }
      // A program of --exec connects as the listener does.
      await using listen = new Running(
        CLIENT,
        ["listen", "--server", server.url, ...trusted, "--token-file", at("bob"), "--exec", await answering(folder)],
        env,
      );
      await using alice = new Running(
        CLIENT,
        ["--server", server.url, ...trusted, "--token-file", at("alice"), "--to", "bob"],
        env,
      );
      await alice.type("are you there?");
      assertEquals(await alice.out.next("bob"), "bob: yes");
      listen.kill("SIGTERM");
      assertEquals(await listen.code(), 0);
    }
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name: "listen that was welcome waits for its token where the file is empty or away, and goes on with a new one",
  ignore,
  fn: async () => {
    const folder = await Deno.makeTempDir();
    const at = (name: string) => `${folder}/${name}`;
    const env = { XDG_CONFIG_HOME: at("config"), XDG_STATE_HOME: at("state") };
    assertEquals((await runToEnd(SERVER, ["keys", "--out", at("keys")])).code, 0);
    const token = async (name: string) =>
      (await runToEnd(SERVER, ["token", "--name", name, "--jwt-private-key", at("keys/private.pem")])).out;
    await Deno.writeTextFile(at("alice"), await token("alice"));
    await Deno.writeTextFile(at("bob"), await token("bob"));
    const options = ["--data", at("data"), "--jwt-public-key", at("keys/public.pem")];
    const first = await RunningServer.start(SERVER, options);
    const { port } = new URL(first.url);
    await using listen = new Running(CLIENT, ["listen", "--server", first.url, "--token-file", at("bob")], env);
    await listen.err.next("Connected to");
    await Deno.writeTextFile(at("bob"), "");
    first.kill("SIGTERM");
    assertEquals(await first.code(), 0);
    await first[Symbol.asyncDispose]();
    await using second = new RunningServer(SERVER, ["--port", port, ...options]);
    await second.out.next("ws://");
    await listen.err.next(/There is no token in .*bob; trying again/);
    await Deno.remove(at("bob"));
    await listen.err.next(/there is no such file; trying again/);
    await Deno.writeTextFile(at("bob"), await token("bob"));
    await listen.err.next("Connected to");
    const sent = await runToEnd(
      CLIENT,
      ["send", "bob", "still there?", "--server", first.url, "--token-file", at("alice")],
      "",
      env,
    );
    assertEquals([sent.code, sent.err], [0, ""]);
    assertEquals(await listen.out.next("alice"), "alice: still there?");
    listen.kill("SIGTERM");
    assertEquals(await listen.code(), 0);
    second.kill("SIGTERM");
    await second.code();
    await Deno.remove(folder, { recursive: true });
  },
});

Deno.test({
  name: "a line that is too large for a message is told with its size, --split sends it, and what follows goes out",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await using alice = place.start("alice");
    await untilOnline(place.url, "alice");
    const large = "x".repeat(100_000);
    const told = await place.run("bob", ["--to", "alice"], `${large}\nafter`);
    assertEquals(told.code, 1);
    assertStringIncludes(told.err, "Not sent to alice: The text has 100,000 bytes, and the server takes 16,384 in one message");
    assertEquals(await alice.out.next("bob"), "bob: after");
    const sent = await place.run("bob", ["send", "alice", "-"], large);
    assertEquals(sent.code, 1);
    assertStringIncludes(sent.err, "100,000 bytes");
    const lines = Array.from({ length: 4_000 }, (_, i) => `line ${i}`).join("\n");
    const split = await place.run("bob", ["send", "alice", "-", "--split", "--id", "log", "--json"], lines);
    assertEquals([split.code, split.out.split("\n").length], [0, 3], split.err);
    const again = await place.run("bob", ["send", "alice", "-", "--split", "--id", "log", "--json"], lines);
    assert(again.out.split("\n").every((line) => JSON.parse(line).duplicate), "sent again under the same id, it arrives once");
    const parts = [];
    for (let part = 0; part < 3; part++) parts.push((await alice.out.next("bob: line")).slice("bob: ".length));
    assertEquals(parts.join("\\n"), lines.replaceAll("\n", "\\n"));
    assertEquals((await place.run("bob", ["--to", "alice", "--split"], large)).code, 0);
  },
});

Deno.test({
  name: "a pipe has many lines on their way: a slow disk is asked once for many, and the order is kept",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await place.server.shutdown();
    const broker = new SlowBroker();
    await broker.attach("alice", "elsewhere");
    place.server = await startServer({ port: 0, broker });
    const lines = Array.from({ length: 2_000 }, (_, i) => `${i}`);
    const sent = await place.run("bob", ["--to", "alice"], lines.join("\n"));
    assertEquals(sent.code, 0, sent.err);
    const stored: string[] = [];
    for (let after = 0; stored.length < lines.length;) {
      const page = await broker.read("alice", after, 500);
      stored.push(...page.messages.map(({ content }) => content));
      after = page.messages.at(-1)!.seq;
    }
    assertEquals(stored, lines);
    assert(broker.syncs < 60, `${broker.syncs} syncs`);
  },
});

Deno.test({
  name: "client sends once what it was given while the server was away",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await using alice = place.start("alice");
    await using bob = place.start("bob", "--to", "alice");
    await untilOnline(place.url, "alice", "bob");
    const { port } = place.server;
    await place.server.shutdown();
    await bob.err.next("restarting");
    await alice.err.next("restarting");
    await bob.type("typed meanwhile");
    place.server = await startServer({ port, broker: await knowing("alice") });
    assertEquals(await alice.out.next("bob"), "bob: typed meanwhile");
    await bob.endInput();
    assertEquals(await bob.code(), 0);
    await alice.endInput();
    assertEquals(await alice.code(), 0);
    assertEquals(alice.out.all(), ["bob: typed meanwhile"]);
  },
});

Deno.test({
  name: "send is acked, arrives once under one id, and leaves what waits to other devices",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    assertEquals((await place.run("alice", [])).code, 0);
    assertEquals((await place.run("bob", ["send", "alice", "first", "--id", "1"])).code, 0);
    const second = await place.run("bob", ["send", "@alice", "first", "--id", "1", "--json"]);
    assertEquals([second.code, JSON.parse(second.out).duplicate], [0, true]);
    assertEquals((await place.run("bob", ["send", "alice", "other", "--id", "1"])).code, 1);
    assertEquals((await place.run("bob", ["send", "alice", "-"], "several\nlines\n")).code, 0);
    assertEquals((await place.run("alice", ["send", "bob", "unheard"])).code, 0);
    assertEquals((await place.run("alice", [])).out, "bob: first\nbob: several\\nlines\\n");
    assertEquals((await place.run("bob", [])).out, "alice: unheard");
  },
});

Deno.test({
  name: "listen goes on where it stopped, and hands messages to a program without a shell",
  ignore: ignore || Deno.build.os === "windows",
  fn: async () => {
    await using place = await Place.start();
    {
      await using listen = place.start("alice", "listen", "--from", "bob");
      await untilOnline(place.url, "alice");
      await place.run("carol", ["send", "alice", "not for this"]);
      await place.run("bob", ["send", "alice", "one"]);
      await listen.out.next("bob: one");
      listen.kill("SIGTERM");
      assertEquals(await listen.code(), 0);
      assertEquals(listen.out.all(), ["bob: one"]);
    }
    await place.run("bob", ["send", "alice", "$(two); `three`"]);
    const script = `${place.home}/show`;
    await Deno.writeTextFile(script, '#!/bin/sh\necho "$PARLEY_SENDER to $PARLEY_RECIPIENT: $(cat) ($1)"\n');
    await Deno.chmod(script, 0o755);
    await using listen = place.start("alice", "listen", "--exec", `${script} arg`);
    assertEquals(await listen.out.next("bob"), "bob to alice: $(two); `three` (arg)");
    listen.kill("SIGTERM");
    assertEquals(await listen.code(), 0);
    assertEquals(listen.out.all().length, 1);
  },
});

Deno.test({
  name: "listen waits for its program before it ends, and what does something else has a position of its own",
  ignore: ignore || Deno.build.os === "windows",
  fn: async () => {
    await using place = await Place.start();
    const script = `${place.home}/slow`;
    const wait = `while [ ! -e ${quoted(`${place.home}/go`)} ]; do sleep 0.01; done`;
    await Deno.writeTextFile(script, `#!/bin/sh\necho "begin $(cat)"; ${wait}; echo end\n`, { mode: 0o755 });
    const from = ["listen", "--from", "carol"];
    for (const args of [from, ["listen", "--exec", script]]) {
      await using listen = place.start("alice", ...args);
      await untilOnline(place.url, "alice");
      listen.kill("SIGTERM");
      assertEquals(await listen.code(), 0);
    }
    await place.run("bob", ["send", "alice", "one"]);
    await place.run("carol", ["send", "alice", "from carol"]);
    {
      await using listen = place.start("alice", "listen", "--exec", script);
      await listen.out.next("begin one");
      listen.kill("SIGTERM");
      await Deno.writeTextFile(`${place.home}/go`, "");
      assertEquals(await listen.code(), 0);
      assertEquals(listen.out.all(), ["begin one", "end"]);
    }
    await using listen = place.start("alice", "listen", "--exec", script);
    assertEquals(await listen.out.next("begin"), "begin from carol");
    await using other = place.start("alice", ...from);
    await other.out.next("carol: from carol");
    for (const running of [listen, other]) {
      running.kill("SIGTERM");
      assertEquals(await running.code(), 0);
    }
  },
});

Deno.test({
  name: "client whose words nobody reads goes on, and its exit status says what became of it",
  ignore: ignore || Deno.build.os === "windows" || lacksProgram("bash"),
  fn: async () => {
    await using place = await Place.start();
    const bash = async (line: string, input = "") => {
      const words = [CLIENT.command, ...CLIENT.args].map(quoted).join(" ");
      return (await runToEnd({ command: "bash", args: ["-c", line.replace("CLIENT", words)] }, [], input, place.env)).out;
    };
    await place.run("bob", []);
    const unreachable = "CLIENT send bob hi --name eve --server 127.0.0.1:1 --timeout 1 2> >(exec true); echo $?";
    assertEquals(await bash(unreachable), "3");
    await place.run("eve", []);
    await place.run("bob", ["send", "eve", "something waits"]);
    const lines = Array.from({ length: 50 }, (_, i) => `line ${i}`);
    assertEquals(
      await bash(`exec 3>&1; (CLIENT --name eve --to bob --server ${place.url}; echo $? >&3) | true`, lines.join("\n")),
      "0",
    );
    const { out } = await place.run("bob", ["history", "eve", "--limit", "60"]);
    assertEquals(out.split("\n").filter((line) => line.includes(" eve: line")).length, 50);
    assertEquals((await place.run("eve", [])).out, "bob: something waits");
  },
});

Deno.test({
  name: "the bot in README answers",
  ignore: ignore || Deno.build.os === "windows",
  fn: async () => {
    await using place = await Place.start();
    const readme = await Deno.readTextFile(new URL("../README.md", import.meta.url));
    const bot = /```sh\n(#!\/bin\/sh\n[^`]*)```/.exec(readme)![1]!;
    assertEquals(bot.trim().split("\n").length, 5);
    const { command, args } = CLIENT;
    const client = `#!/bin/sh\nexec ${[command, ...args].map(quoted).join(" ")} "$@"\n`;
    for (const [name, text] of [["bot.sh", bot], ["chat-client", client]] as const) {
      await Deno.writeTextFile(`${place.home}/${name}`, text, { mode: 0o755 });
    }
    const [line] = /\.\/chat-client listen .* \.\/bot\.sh/.exec(readme)!;
    await using running = new Running(
      { command: "sh", args: ["-c", `cd ${quoted(place.home)} && exec ${line}`] },
      [],
      { ...place.env, PARLEY_SERVER: place.url, PARLEY_DEVICE: "box" }, // a device for the listener alone
    );
    await untilOnline(place.url, "bot");
    await using alice = place.start("alice", "--to", "bot");
    await alice.type("time, please");
    assertMatch(await alice.out.next("bot"), /^bot: .*\d\d:\d\d:\d\d/);
    await alice.type("$(reboot)");
    assertEquals(await alice.out.next("bot"), "bot: Ask me for the time");
    running.kill("SIGTERM");
    assertEquals(await running.code(), 0);
  },
});

Deno.test({
  name: "history prints a conversation, the newest, or since a time",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await place.run("alice", []);
    await place.run("bob", ["--to", "alice"], "one\ntwo\nthree");
    const two = await place.run("alice", ["history", "bob", "--limit", "2"]);
    assertEquals(two.out.split("\n").map((line) => line.slice(20)), ["bob: two", "bob: three"]);
    const recent = await place.run("alice", ["history", "bob", "--since", "1h", "--json"]);
    assertEquals(recent.out.split("\n").map((line) => JSON.parse(line).content), ["one", "two", "three"]);
    assertEquals((await place.run("alice", ["history", "bob", "--since", "2999-01-01"])).out, "");
    assertEquals((await place.run("alice", ["history", "#nothing"])).code, 1);
  },
});

Deno.test({
  name: "client is two devices when it runs twice at once, and the same one the next time",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await using one = place.start("alice");
    await using two = place.start("alice");
    await Promise.all([one.err.next("Connected"), two.err.next("Connected")]);
    await place.run("bob", ["send", "alice", "to both"]);
    await one.out.next("to both");
    await two.out.next("to both");
    one.kill("SIGKILL");
    two.kill("SIGKILL");
    await Promise.all([one.code(), two.code()]);
    await using three = place.start("alice");
    await three.err.next("Connected");
    const devices = [...Deno.readDirSync(`${place.home}/state/parley`)].flatMap(({ name }) =>
      name.includes("alice-pipe") ? [...Deno.readDirSync(`${place.home}/state/parley/${name}`)] : []
    ).filter(({ name }) => name.endsWith(".device"));
    assertEquals(devices.length, 2);
    assert(!three.err.all().some((line) => line.includes("second time")));
  },
});

Deno.test({
  name: "client works where nothing can be remembered, and says so where that matters",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    const env = { ...place.env, XDG_STATE_HOME: "/dev/null/nowhere" };
    const run = (...args: string[]) => runToEnd(CLIENT, [...args, "--server", place.url], "", env);
    assertEquals((await run("--name", "bob")).code, 0);
    const sent = await run("send", "bob", "hi", "--name", "alice");
    assertEquals([sent.code, sent.err], [0, ""]);
    assertStringIncludes((await run("history", "alice", "--name", "bob")).out, "alice: hi");
    assertStringIncludes((await run("--name", "bob")).err, "Nothing is remembered for the next time");
  },
});

Deno.test({
  name: "config shows where values come from, and the shells take their completions",
  ignore,
  fn: async () => {
    await using place = await Place.start();
    await Deno.mkdir(`${place.home}/config/parley`, { recursive: true });
    await Deno.writeTextFile(
      `${place.home}/config/parley/client.json`,
      '{"notify": "all", "name": "bob", "nmae": 7, "servers": {"home": {"server": "chat.example"}}}',
    );
    const env = { ...place.env, PARLEY_TOKEN: "secret", PARLEY_COLOR: "never" };
    const { code, out } = await runToEnd(CLIENT, ["config", "--name", "alice", "--server", "home"], "", env);
    assertEquals(code, 0);
    const rows = new Map(out.split("\n").map((line) => [line.split(/ +/)[0], line.split(/ {2,}/).slice(1)]));
    assertEquals(rows.get("name"), ["alice", "command line"]);
    assertEquals(rows.get("server"), ["home (chat.example)", "command line"]);
    assertEquals(rows.get("notify"), ["all", "settings"]);
    assertEquals(rows.get("color"), ["never", "environment"]);
    assertEquals(rows.get("token"), ["(hidden)", "environment"]);
    assertStringIncludes(out, `${place.home}/config/parley/client.json\nIt has names that are no settings: nmae`);
    for (const [shell, check] of [["bash", ["-n"]], ["zsh", ["-n"]], ["fish", ["--no-execute"]]] as const) {
      const script = await runToEnd(CLIENT, ["completions", shell], "", place.env);
      assertEquals(script.code, 0);
      if (shell !== "bash" && !isThere(shell)) continue;
      assertEquals((await runToEnd({ command: shell, args: check }, ["/dev/stdin"], script.out)).err, "");
    }
    assertEquals((await runToEnd(CLIENT, ["completions", "tcsh"], "", place.env)).code, 2);
    assertStringIncludes((await runToEnd(CLIENT, ["man"], "", place.env)).out, ".TH CHAT-CLIENT 1");
  },
});
