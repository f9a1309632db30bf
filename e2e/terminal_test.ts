/**
 * The chat on a terminal, as somebody in front of it sees it: tmux shows the screen. With PARLEY_BINARIES=DIR the compiled
 * client is looked at too.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { MemoryBroker } from "../broker/memory.ts";
import { startServer } from "../server.ts";
import { type Shell, SHELLS } from "../cli/completions.ts";
import { lacksProgram } from "../testing/permissions.ts";
import { type Command, fromSource, runToEnd } from "../testing/process.ts";
import { CLIENTS, NO_TERMINAL, onTerminal, Place } from "../testing/terminal_place.ts";
import { quoted, Terminal } from "../testing/tmux.ts";
import { untilOnline, WsPeer } from "../testing/ws_peer.ts";

/** A server that welcomes a client and then sends what no server sends. */
class NonsenseServer {
  readonly #http = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => this.#upgrade(request));
  readonly #sockets: WebSocket[] = [];
  #isGone = false;

  get port(): number {
    return this.#http.addr.port;
  }

  #upgrade(request: Request): Response {
    if (this.#isGone) return new Response(null, { status: 503 });
    const { socket, response } = Deno.upgradeWebSocket(request);
    this.#sockets.push(socket);
    socket.onmessage = ({ data }) => {
      for (const line of String(data).split("\n")) {
        for (const answer of nonsense(JSON.parse(line))) {
          socket.send(typeof answer === "string" ? answer : JSON.stringify(answer));
        }
      }
    };
    return response;
  }

  /** Closes every connection with a reason, and accepts no more. */
  leave(reason: string): void {
    this.#isGone = true;
    for (const socket of this.#sockets.splice(0)) socket.close(1012, reason);
  }

  async stop(): Promise<void> {
    this.leave("");
    await this.#http.shutdown();
  }
}

const NOT_FRAMES = ["", "null", "[]", "{", "{}", "\x1b[2J", '{"type":"\\u001b[2J"}', '{"type":"__proto__"}', '{"type":7}'];
const LIMITS = { frame: 1_000, content: 1_000, rate: 0, burst: 0 };

/** Returns the nonsense server's answers to a frame: the wrong ones, and many. */
function nonsense({ type, id }: { type?: string; id?: string }): (string | object)[] {
  if (type === "conversations") return [{ type: "group", op: "members", id }, { type: "error", id, ...OWNED }];
  if (type === "group" || type === "history") {
    return [{ type: "conversations", conversations: [], more: true, id }, { type: "error", id, ...OWNED }];
  }
  if (type !== "hello") return [];
  const welcome = { type: "welcome", v: 1, device: "x", caps: [], epoch: "e", seq: 0, recovered: true, limits: LIMITS };
  const from = { recipient: "bob", ts: "no time" };
  return [
    ...[{ ...welcome, user: "bob" }, { type: "synced", seq: 0 }, ...NOT_FRAMES, { ...welcome, user: "mallory", epoch: "f" }],
    { ...from, sender: "a" + "\u0301".repeat(40) + "b", content: "a name of marks", seq: 1 },
    { ...from, sender: "\x1b[2Jalice", content: "no name", seq: 2 },
    { sender: "alice", recipient: "carol", content: "for somebody else", seq: Number.MAX_SAFE_INTEGER, ts: "\x1b[2J" },
    { type: "presence", user: "alice", status: "online", last_seen: "\x1b[2J" },
    { type: "receipt", kind: "read", user: "alice", with: "bob", seq: Number.MAX_SAFE_INTEGER, ts: "x" },
    { type: "group", op: "invite", group: "#g", user: "bob" },
    { type: "error", ...OWNED, retry_after_ms: Number.MAX_SAFE_INTEGER },
  ];
}

const OWNED = { code: "\x1b[2J", message: "\x1b]0;owned\x07\u202eevil\nline", retryable: false };

function say(content: string, recipient = "bob", sender = "alice"): object {
  return { sender, recipient, content };
}

onTerminal("@name and /to chat, what is typed is shown once, and the marks follow", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob();
  await bob.shows("as bob. /help");
  await bob.type("@alice hi there");
  await bob.press("Enter");
  assertEquals(await alice.next(), say("hi there", "alice", "bob") as never);
  const lines = await bob.shows(/^\d\d:\d\d you to alice: hi there$/);
  assertEquals(lines.filter((line) => line.includes("hi there")).length, 1);
  await bob.type("/to alice");
  await bob.press("Enter");
  await bob.shows("=== alice ===");
  await bob.type("plain");
  await bob.press("Enter");
  await bob.shows(/you: plain$/);
  await bob.endsWith("alice (delivered)>");
  await bob.type("/quit");
  await bob.press("Enter");
  await bob.shows("ended with 0");
  assert(await bob.isRestored());
});

onTerminal(
  "where nothing may be drawn twice the terminal echoes, lines follow each other, and commands work",
  async (place) => {
    await using alice = await place.alice();
    await using bob = await place.bob({}, "--plain");
    await bob.shows("as bob. /help");
    await bob.type("/tow alice");
    await bob.press("Enter");
    await bob.shows("Did you mean /to?");
    await bob.type("/to alice");
    await bob.press("Enter");
    await bob.shows("=== alice ===");
    await bob.type("plain words");
    await bob.press("Enter");
    assertEquals(await alice.next(), say("plain words", "alice", "bob") as never);
    alice.send(say("and an answer\x1b[2J"));
    const lines = await bob.shows("and an answer^[[2J");
    assertEquals(lines.filter((line) => line.includes("plain words")), ["plain words"]);
    assertEquals(lines.filter((line) => line.endsWith(">")), []);
    await bob.type("/quit");
    await bob.press("Enter");
    await bob.shows("ended with 0");
    assert(await bob.isRestored());
  },
);

onTerminal("the line being typed survives 200 messages, with its cursor in the middle", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  await bob.type("start end");
  await bob.press("Left", "Left", "Left");
  await bob.endsWith("alice> start end");
  for (let i = 1; i <= 200; i++) {
    alice.send(say(`message ${i}`));
    if (i % 40 === 0) await bob.type(String(i / 40));
  }
  await bob.endsWith("alice> start 12345end");
  const lines = await bob.until((all) => all.some((line) => line.endsWith("message 200")), true);
  const received = lines.flatMap((line) => /alice: message (\d+)$/.exec(line)?.[1] ?? []).map(Number);
  assertEquals(received, Array.from({ length: 200 }, (_, i) => i + 1));
  assertEquals(lines.at(-1), "alice> start 12345end");
  await bob.press("Enter");
  await bob.shows(/you: start 12345end$/);
});

onTerminal("a wrapped line with wide characters is neither cut nor doubled, whatever arrives", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({ columns: 40, rows: 20 }, "--to", "alice");
  await bob.shows("=== alice ===");
  const text = "日本語のとても長い文章です and 👍 then מילים בעברית and more words to wrap the line twice over";
  await bob.type(text);
  const typed = (lines: string[]) => lines.join("").replaceAll(" ", "");
  await bob.until((lines) => typed(lines).endsWith(text.replaceAll(" ", "")));
  alice.send(say("one\ntwo"));
  alice.send(say("x".repeat(100)));
  await bob.until((lines) => typed(lines).includes("x".repeat(100)));
  const lines = await bob.until((all) => typed(all).endsWith(text.replaceAll(" ", "")));
  assertEquals(typed(lines).split("日本語").length, 2);
  await bob.press("Enter");
  assertEquals(await alice.next(), say(text, "alice", "bob") as never);
  const sent = await bob.until((all) => /alice( \(\w+\))?>$/.test(all.at(-1)!));
  assertEquals(typed(sent).split("日本語").length, 2);
});

onTerminal("a line that wide characters wrap early, or joined emoji, can be edited anywhere", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({ columns: 40, rows: 12 }, "--to", "alice");
  await bob.shows("=== alice ===");
  const family = "👨\u200d👩\u200d👧\u200d👦";
  for (const text of [`we are ${family} and ${family} and ${family}`, `we are ${"a".repeat(25)}${"日本語".repeat(20)}`]) {
    await bob.type(text);
    await bob.until((lines) => lines.at(-1)!.endsWith(text.slice(-1)) || lines.at(-1)!.endsWith("👦"));
    await bob.press("Left", "Left", "Left");
    await bob.type("!");
    await bob.until((lines) => lines.at(-1)!.includes("!"));
    await bob.press("BSpace");
    // A look may fall between two writes, when the line is not there again yet.
    await bob.until((lines) => !lines.at(-1)!.includes("!") && lines.filter((line) => line.includes("> we are")).length === 1);
    await bob.press("Enter");
    assertEquals(await alice.next(), say(text, "alice", "bob") as never);
  }
});

onTerminal("resizing keeps the line being typed", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  await bob.type("a line of some sixty columns that is in one row and then is not");
  await bob.resize(40, 24);
  await bob.until((lines) => lines.at(-1) === "d then is not" || lines.at(-1)!.endsWith("then is not"));
  alice.send(say("after the resize"));
  await bob.shows("alice: after the resize");
  await bob.resize(100, 24);
  alice.send(say("and once more"));
  await bob.shows("alice: and once more");
  await bob.endsWith("alice> a line of some sixty columns that is in one row and then is not");
  await bob.press("Enter");
  assertEquals(
    (await alice.next() as { content: string }).content,
    "a line of some sixty columns that is in one row and then is not",
  );
});

onTerminal("Tab completes commands, names and groups, and lists what there is", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob();
  await bob.shows("as bob");
  await bob.type("/group create #operators");
  await bob.press("Enter");
  await bob.shows("#operators is made");
  alice.send(say("hi"));
  await bob.shows("alice");
  await bob.type("/r");
  await bob.press("Tab");
  await bob.endsWith("[1 new: alice] #operators> /re");
  await bob.press("Tab");
  await bob.shows("/reply  /receipts");
  await bob.endsWith("[1 new: alice] #operators> /re");
  await bob.type("p");
  await bob.press("Tab");
  await bob.endsWith("[1 new: alice] #operators> /reply");
  await bob.press("C-u");
  await bob.type("@al");
  await bob.press("Tab");
  await bob.endsWith("[1 new: alice] #operators> @alice");
  await bob.press("C-u");
  await bob.type("/to #op");
  await bob.press("Tab");
  await bob.endsWith("[1 new: alice] #operators> /to #operators");
  await bob.press("C-u");
  await bob.type("/hlep");
  await bob.press("Enter");
  await bob.shows("There is no command /hlep, so nothing was sent. Did you mean /help?");
});

onTerminal("a pasted block is one message, to be edited before it goes", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  await bob.send("\x1b[200~one\r\n\ttwo\x1b[31m\nthree\x1b[201~");
  await bob.endsWith("alice> one␤␉two[31m␤three");
  await bob.type("!");
  await bob.press("Enter");
  assertEquals(await alice.next(), say("one\n\ttwo[31m\nthree!", "alice", "bob") as never);
});

onTerminal("a server that goes away is told in words, typing goes on, and what was typed goes out once", async (place) => {
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows('There is no user "alice"');
  const { port } = place.server;
  await place.server.shutdown();
  await bob.shows("The server is restarting");
  await bob.endsWith("[offline] alice>");
  await bob.type("typed meanwhile");
  await bob.press("Enter");
  await bob.shows(/you: typed meanwhile {2}\(waiting\)$/);
  await bob.endsWith("[offline] alice (waiting)>");
  await bob.type("/to alice");
  await bob.press("Enter");
  await bob.shows("=== alice === (its history comes with the connection)");
  const broker = new MemoryBroker();
  await broker.attach("alice", "~");
  place.server = await startServer({ port, broker });
  await bob.shows("Connected again");
  await bob.shows(/^=== alice ===$/);
  await bob.until((lines) => /^alice \((sent|delivered)\)>$/.test(lines.at(-1)!));
  await using alice = await place.alice();
  assertEquals(await alice.next(), say("typed meanwhile", "alice", "bob") as never);
  await bob.endsWith("alice (delivered)>");
  assertEquals(alice.rest(), []);
});

onTerminal("nothing that others say is obeyed", async (place) => {
  await using alice = await place.alice();
  await using bob = await place.bob({ columns: 100, rows: 50 }, "--to", "alice");
  await bob.shows("=== alice ===");
  await bob.type("unharmed");
  const title = await bob.title();
  alice.send(say("first"));
  for (let code = 1; code < 0xa0; code++) {
    if (code >= 0x20 && code < 0x7f) continue;
    alice.send(say(`<${code}${String.fromCharCode(code)}>`));
  }
  alice.send(say("\x1b]0;taken\x07 \x1b]2;taken\x1b\\ \x9d0;taken\x9c \x1bktaken\x1b\\"));
  alice.send(say("\x1b]52;c;aGFja2Vk\x07"));
  alice.send(say("\x1b[2J\x1b[H\x1b[?1049h\x1b[8m\x1b[31;7mgone"));
  alice.send(say("\u202egnp.exe\u202c \u2066x\u2069 \u200b\u200e"));
  alice.send(say("z" + "\u0301".repeat(10_000 - 3_000) + "algo"));
  alice.send(say("last"));
  await bob.shows(/alice: last$/);
  await bob.endsWith("alice> unharmed");
  const lines = await bob.screen(true);
  assert(lines.some((line) => line.endsWith("alice: first")));
  for (
    const shown of [
      "<1^A>",
      "<27^[>",
      "<127^?>",
      "<128\\x80>",
      "<155\\x9b>",
      "<10",
      "<9    >",
      "^[]52;c;aGFja2Vk^G",
      "gnp.exe x",
    ]
  ) {
    assert(lines.some((line) => line.includes(shown)), shown);
  }
  assert(lines.some((line) => /alice: z\u0301{4}algo$/.test(line)));
  assertEquals(await bob.title(), title);
  assert(!(await bob.colors()).includes("\x1b[8m"));
  await bob.press("Enter");
  assertEquals((await alice.next() as { content: string }).content, "unharmed");
});

onTerminal("nor what a server says that talks nonsense", async (place) => {
  const evil = new NonsenseServer();
  {
    await using bob = await Terminal.start(
      place.client,
      ["--name", "bob", "--to", "alice", "--server", `127.0.0.1:${evil.port}`],
      place.env,
      { columns: 100 },
    );
    await bob.shows("as bob");
    await bob.type("unharmed");
    await bob.shows("! ^[]0;owned^Gevil\\nline");
    await bob.press("C-u");
    await bob.type("/group list");
    await bob.press("Enter");
    await bob.type("unharmed");
    const name = "\u00e1\u0301\u0301\u0301\u0301b"; // no more marks than that
    const lines = await bob.endsWith(`[1 new: ${name}] alice> unharmed`);
    assert(!lines.some((line) => line.includes("fault of the program")));
    await bob.press("C-u");
    await bob.type("@");
    await bob.press("Tab");
    await bob.until((lines) => lines.some((line) => line.endsWith(`  @${name}`)));
    await bob.press("C-u");
    await bob.type("unharmed");
    evil.leave("\x1b[2Jgone\u202e");
    await bob.shows("! ^[[2Jgone");
    await bob.endsWith(`[offline, 1 new: ${name}] alice> unharmed`);
  }
  await evil.stop();
});

onTerminal("it is restored after Ctrl-C, Ctrl-D and SIGTERM", async (place) => {
  for (const key of ["C-c", "C-d"]) {
    await using bob = await place.bob();
    await bob.shows("as bob");
    await bob.type("half a line");
    await bob.endsWith("> half a line");
    await bob.press("C-c");
    await bob.endsWith(">");
    await bob.press(key);
    await bob.shows("ended with 0");
    assert(await bob.isRestored());
  }
  await using bob = await place.bob();
  await bob.shows("as bob");
  bob.kill("SIGTERM");
  await bob.shows("ended with 143");
  assert(await bob.isRestored());
});

/** Ctrl-Z, where a shell was told to run `command`. */
async function stopsAndGoesOn(place: Place, { command, args }: Command): Promise<void> {
  await using alice = await place.alice();
  await using shell = await Terminal.start(
    { command: "bash", args: ["--norc", "--noprofile", "-i"] },
    [],
    { ...place.env, PS1: "shell> " },
  );
  await shell.shows("shell>");
  const words = [command, ...args, "--name", "bob", "--to", "alice", "--server", place.server.url];
  await shell.type(words.map(quoted).join(" "));
  await shell.press("Enter");
  await shell.shows("=== alice ===");
  await shell.type("half");
  await shell.endsWith("alice> half");
  await shell.press("C-z");
  await shell.endsWith("shell>");
  await shell.type("echo shell is$((1+1))here");
  await shell.press("Enter");
  await shell.shows(/^shell is2here$/);
  await shell.type("fg");
  await shell.press("Enter");
  await shell.endsWith("alice> half");
  await shell.type(" a line");
  await shell.press("Enter");
  assertEquals((await alice.next() as { content: string }).content, "half a line");
  await shell.type("/quit");
  await shell.press("Enter");
  await shell.endsWith("shell>");
}

onTerminal(
  "Ctrl-Z gives the terminal back to the shell, and fg brings the chat with its line",
  (place) => stopsAndGoesOn(place, place.client),
);

Deno.test({
  name: "terminal (task) - Ctrl-Z gives the terminal back to the shell, and fg brings the chat with its line",
  ignore: NO_TERMINAL || lacksProgram("ps", ["-p", "1"]),
  async fn() {
    const config = new URL("../deno.json", import.meta.url).pathname;
    const task = { command: Deno.execPath(), args: ["task", "--quiet", "--config", config, "client"] };
    await using place = await Place.start(task);
    await stopsAndGoesOn(place, task);
  },
});

Deno.test({
  name: "terminal (source) - Ctrl-Z does nothing where no shell would bring it back",
  ignore: NO_TERMINAL || lacksProgram("setsid", ["--version"]),
  async fn() {
    await using place = await Place.start({
      command: "setsid",
      args: ["--ctty", CLIENTS[0]![1].command, ...CLIENTS[0]![1].args],
    });
    await using bob = await place.bob();
    await bob.shows("as bob. /help");
    await bob.type("half");
    await bob.press("C-z");
    await bob.type(" a line");
    await bob.endsWith("> half a line");
    await bob.press("C-c");
    await bob.press("C-d");
    await bob.shows("ended with 0");
  },
});

onTerminal("a conversation opens with its history, and marks what was read", async (place) => {
  {
    await using bob = await place.bob();
    await bob.shows("as bob");
    await bob.press("C-d");
    await bob.shows("ended with 0");
  }
  await using alice = await WsPeer.open(place.server.url);
  alice.send({ type: "hello", v: 1, name: "alice", device: "a" });
  for (const content of ["one", "two"]) alice.send(say(content));
  await using bob = await place.bob();
  await bob.shows(/alice: two$/);
  await bob.type("/to alice");
  await bob.press("Enter");
  await bob.shows("=== alice ===");
  const lines = await bob.endsWith("alice>");
  const from = lines.indexOf("=== alice ===");
  assertMatch(lines[from + 1]!, /^--- \w+ \d+ \w+ \d{4} ---$/);
  assertEquals(lines[from + 2], "--- new ---"); // they went by without a view
  assertEquals(lines.slice(from + 3, -1).map((line) => line.slice(6)), ["alice: one", "alice: two"]);
  for (;;) {
    const frame = await alice.next();
    if (frame.type === "receipt" && frame.kind === "read") break;
  }
});

onTerminal("what others have read is known the next time too", async (place) => {
  await using alice = await WsPeer.open(place.server.url);
  alice.send({ type: "hello", v: 1, name: "alice", device: "a" });
  {
    await using bob = await place.bob();
    await bob.type("@alice have you seen this?");
    await bob.press("Enter");
    for (;;) {
      const frame = await alice.next();
      if (frame.type !== undefined) continue;
      alice.send({ type: "receipt", kind: "read", with: "bob", seq: frame.seq });
      break;
    }
    await bob.type("/to alice");
    await bob.press("Enter");
    await bob.endsWith("alice (read)>");
    await bob.press("C-d");
    await bob.shows("ended with 0");
  }
  await using bob = await place.bob();
  await bob.shows("as bob");
  await bob.type("/to alice");
  await bob.press("Enter");
  await bob.shows(/you: have you seen this\? {2}\(read\)$/);
});

onTerminal("who is ignored stays so the next time, until they are shown again", async (place) => {
  await using alice = await place.alice();
  {
    await using bob = await place.bob();
    await bob.shows("as bob");
    await bob.type("/ignore Alice");
    await bob.press("Enter");
    await bob.shows("Messages of alice are hidden");
    bob.kill("SIGKILL");
    await bob.shows("ended with 137");
  }
  await using carol = await WsPeer.open(`${place.server.url}?name=carol`);
  await using bob = await place.bob();
  await bob.shows("as bob");
  alice.send(say("unheard"));
  alice.send(say("it is kept", "carol"));
  assertEquals(await carol.next(), say("it is kept", "carol") as never);
  carol.send(say("heard", "bob", "carol"));
  const lines = await bob.shows(/carol: heard$/);
  assert(!lines.some((line) => line.includes("unheard")));
  await bob.type("/ignore alice");
  await bob.press("Enter");
  await bob.shows("Messages of alice are shown again");
  alice.send(say("heard"));
  await bob.shows(/alice: heard$/);
});

onTerminal("others see that something is typed for them, and not that commands are", async (place) => {
  await using alice = await WsPeer.open(place.server.url);
  alice.send({ type: "hello", v: 1, name: "alice", device: "a" });
  await untilOnline(place.server.url, "alice");
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  await bob.type("/receipts off");
  await bob.press("Enter", "Enter", "Up", "C-u");
  await bob.shows("Nobody can see");
  await bob.type("@alice hi");
  await bob.press("Enter");
  const nextOf = async (...types: string[]) => {
    for (;;) {
      const { type } = await alice.next();
      if (types.includes(type ?? "message")) return type ?? "message";
    }
  };
  assertEquals(await nextOf("message", "typing"), "message");
  await bob.type("a word");
  assertEquals(await nextOf("message", "typing"), "typing");
});

onTerminal("nobody is called online who may have left since the connection was lost", async (place) => {
  await using _ = await place.alice();
  await using bob = await place.bob({}, "--to", "alice");
  await bob.shows("=== alice ===");
  await bob.type("/who");
  await bob.press("Enter");
  await bob.shows(/^ {2}alice {2}online$/);
  await place.server.shutdown();
  await bob.endsWith("[offline] alice>");
  await bob.type("/who");
  await bob.press("Enter");
  await bob.shows(/^ {2}alice {2}not known yet$/);
});

onTerminal("what was typed while the server was away goes out once, though the client is killed in between", async (place) => {
  const { port } = place.server;
  {
    await using bob = await place.bob({}, "--to", "alice");
    await bob.shows('There is no user "alice"');
    await place.server.shutdown();
    await bob.endsWith("[offline] alice>");
    await bob.type("for later");
    await bob.press("Enter");
    await bob.endsWith("[offline] alice (waiting)>");
    bob.kill("SIGKILL");
    await bob.shows("ended with 137");
  }
  const broker = new MemoryBroker();
  await broker.attach("alice", "~");
  place.server = await startServer({ port, broker });
  await using bob = await place.bob();
  await bob.shows("Messages from the last time that are still to be sent: 1");
  await using alice = await place.alice();
  assertEquals(await alice.next(), say("for later", "alice", "bob") as never);
  await bob.type("@alice and now");
  await bob.press("Enter");
  assertEquals(await alice.next(), say("and now", "alice", "bob") as never);
});

/** Arguments that start each shell with completions from `file` and without settings of its user. */
const SHELL_ARGS: Record<Shell, (file: string) => { args: string[]; env?: Record<string, string> }> = {
  bash: (file) => ({ args: ["--noprofile", "--rcfile", file, "-i"] }),
  zsh: (file) => ({ args: ["-d", "-i"], env: { ZDOTDIR: file.slice(0, file.lastIndexOf("/")) } }),
  fish: (file) => ({ args: ["--no-config", "-C", `source ${file}; function fish_prompt; echo '> '; end`] }),
};
/** Texts before Tab and after it. */
const COMPLETED = [
  ["se", "send"],
  ["--notify d", "--notify dm"],
  ["--notify=a", "--notify=all"],
  ["--name bob --no-rec", "--name bob --no-receipts"],
  ["send alice --json --timeo", "send alice --json --timeout"],
  ["completions f", "completions fish"],
  ["listen --exec FOLDER/ans", "listen --exec FOLDER/answer"],
] as const;

/** Settings of zsh with which it finds its completions by itself, or by a command. */
const ZSHRC = {
  "": "fpath=($ZDOTDIR $fpath); autoload -Uz compinit; compinit -u -D; PS1='> '",
  " that has sourced them": "autoload -Uz compinit; compinit -u -D; source <(cat $ZDOTDIR/_chat-client); PS1='> '",
};

for (const [shell, way] of [...SHELLS.map((shell) => [shell, ""] as const), ["zsh", " that has sourced them"] as const]) {
  Deno.test({
    name: `completions - ${shell}${way} completes commands, options, their values and files`,
    ignore: NO_TERMINAL || lacksProgram(shell),
    fn: async () => {
      const folder = await Deno.makeTempDir();
      const { out } = await runToEnd(fromSource("client"), ["completions", shell], "", { HOME: folder });
      const file = shell === "zsh" ? `${folder}/_chat-client` : `${folder}/completions`;
      await Deno.writeTextFile(file, shell === "bash" ? `${out}\nPS1='> '\n` : out);
      await Deno.writeTextFile(`${folder}/answer`, "");
      await Deno.writeTextFile(`${folder}/.zshrc`, ZSHRC[way]);
      const { args, env = {} } = SHELL_ARGS[shell](file);
      {
        await using terminal = await Terminal.start({ command: shell, args }, [], { HOME: folder, ...env });
        await terminal.endsWith(">");
        for (const [typed, completed] of COMPLETED.map((texts) => texts.map((text) => text.replace("FOLDER", folder)))) {
          await terminal.type(`chat-client ${typed}`);
          await terminal.press("Tab");
          // zsh adds the equals sign that may stand before a value.
          await terminal.until((lines) => lines.at(-1)!.replace(/=$/, "") === `> chat-client ${completed}`);
          await terminal.press("C-u");
          await terminal.endsWith(">");
        }
      }
      await Deno.remove(folder, { recursive: true });
    },
  });
}
