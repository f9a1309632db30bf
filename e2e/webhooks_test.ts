/**
 * Webhooks of real servers to a real receiver: servers are killed at any moment and nothing is lost; of several nodes one delivers,
 * and another takes over; an operator's orders reach a server that runs.
 *
 * PARLEY_SEED repeats a run.
 */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { delay } from "@std/async/delay";
import { Webhook } from "standardwebhooks";
import type { ServerFrameOf } from "../protocol.ts";
import { LACKS_POSTGRES, PostgresServer } from "../testing/postgres.ts";
import { CAN_RUN } from "../testing/permissions.ts";
import { fromSource, RunningServer, runToEnd } from "../testing/process.ts";
import { seeded } from "../testing/random.ts";
import { WsPeer } from "../testing/ws_peer.ts";

/** Kills in a run, and messages sent before each. */
const KILLS = 12, MESSAGES = 20;
/** Milliseconds between two looks, and looks before a test gives up. */
const LOOK_MS = 50, LOOKS = 1_200;
const SECRET = "whsec_" + btoa("a secret of thirty-two bytes !!!");

interface Body {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown> & { readonly content?: string };
}

/** A receiver on loopback that verifies what comes. */
class Receiver implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #hook = new Webhook(SECRET);
  /** Bodies that were taken, by their webhook-id, each with how often it came. */
  readonly taken = new Map<string, { readonly body: Body; count: number }>();
  /** Ids and bodies of everything that came: a repetition has to be the same. */
  readonly #texts = new Map<string, string>();
  readonly mistakes: string[] = [];
  /** Returns the status to answer with. */
  respond: (body: Body) => number | Promise<number> = () => 204;

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, (request) => this.#answer(request));
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/hook`;
  }

  async #answer(request: Request): Promise<Response> {
    const text = await request.text().catch(() => undefined);
    if (text === undefined) return new Response(null, { status: 400 }); // its sender was killed
    const id = request.headers.get("webhook-id") ?? "";
    let body: Body;
    try {
      body = this.#hook.verify(text, Object.fromEntries(request.headers)) as Body;
    } catch (error) {
      this.mistakes.push(`${id}: ${error}`);
      return new Response(null, { status: 400 });
    }
    if ((this.#texts.get(id) ?? text) !== text) this.mistakes.push(`${id} has another body`);
    this.#texts.set(id, text);
    const status = await this.respond(body);
    if (status < 300) {
      const before = this.taken.get(id);
      if (before) before.count++;
      else this.taken.set(id, { body, count: 1 });
    }
    return new Response(null, { status });
  }

  contents(): (string | undefined)[] {
    return [...this.taken.values()].map(({ body }) => body.data.content);
  }

  /** Waits until all of these contents were taken. */
  async until(contents: Iterable<string>): Promise<void> {
    for (let look = 0, missing: string[] = []; look < LOOKS; look++) {
      const taken = new Set(this.contents());
      missing = [...contents].filter((content) => !taken.has(content));
      if (missing.length === 0) return;
      if (look === LOOKS - 1) throw new Error(`There was never ${missing}`);
      await delay(LOOK_MS);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

/** Text of a file of webhooks with one endpoint. */
function fileFor(url: string, members: Record<string, unknown> = {}): string {
  const endpoint = {
    name: "push",
    url,
    secret: SECRET,
    events: ["message.created", "group.changed"],
    allow_private: true,
    ...members,
  };
  return JSON.stringify({ endpoints: [endpoint] });
}

/** A folder with such a file. */
function folder(url: string, members: Record<string, unknown> = {}): { dir: string; file: string } {
  const dir = Deno.makeTempDirSync({ prefix: "webhooks-" }), file = `${dir}/webhooks.json`;
  Deno.writeTextFileSync(file, fileFor(url, members));
  return { dir, file };
}

const UNLIMITED = [
  "--quiet",
  "--no-web",
  "--rate",
  "0",
  "--max-upgrades-per-second",
  "0",
  "--max-connections-per-address",
  "0",
];

function serve(...args: string[]): Promise<RunningServer> {
  return RunningServer.start(fromSource("server"), [...UNLIMITED, ...args]);
}

async function hello(server: RunningServer, name: string): Promise<WsPeer> {
  const peer = await WsPeer.open(server.url);
  peer.send({ type: "hello", v: 1, name, device: `${name}-device` });
  while ((await peer.next()).type !== "synced");
  return peer;
}

/** Waits until the server's webhooks have begun: what was sent before is not theirs. */
async function begun(server: RunningServer, receiver: Receiver): Promise<void> {
  const peer = await hello(server, "prober");
  for (let probe = 0; receiver.taken.size === 0 && probe < LOOKS; probe++) {
    peer.send({ sender: "prober", recipient: "prober", content: `probe ${probe}` });
    await delay(LOOK_MS);
  }
  await peer[Symbol.asyncDispose]();
}

Deno.test({
  name: "webhooks - a server that is killed at any moment loses none, and each has one id and one body however often it comes",
  ignore: !CAN_RUN,
  async fn() {
    const seed = Number(Deno.env.get("PARLEY_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    console.log(`seed ${seed}`);
    const random = seeded(seed);
    await using receiver = new Receiver();
    const { dir, file } = folder(receiver.url), args = ["--data", `${dir}/data`, "--webhooks", file];
    const acked = new Set<string>();
    let server = await serve(...args);
    try {
      await (await hello(server, "ben"))[Symbol.asyncDispose]();
      await begun(server, receiver);
      for (let kill = 0; kill < KILLS; kill++) {
        receiver.respond = async () => {
          if (random() < 0.3) await delay(random() * 20);
          return random() < 0.2 ? 503 : 204;
        };
        const ann = await hello(server, "ann");
        for (let count = 0; count < MESSAGES; count++) {
          ann.send({ sender: "ann", recipient: "ben", content: `k${kill}m${count}`, id: `k${kill}m${count}` });
        }
        // Every ack that comes before the kill is a promise.
        const dying = delay(random() * 200).then(() => server.kill("SIGKILL"));
        try {
          for (;;) {
            const frame = await ann.next();
            if (frame.type === "ack") acked.add((frame as ServerFrameOf<"ack">).id!);
          }
        } catch { /* it is dead */ }
        await dying;
        await server[Symbol.asyncDispose]();
        server = await serve(...args);
      }
      receiver.respond = () => 204;
      await receiver.until(acked);
      console.log(
        `${acked.size} acked, all taken; taken more than once: ${
          [...receiver.taken.values()].filter(({ count }) => count > 1).length
        }`,
      );
      assert(acked.size > 0);
      assertEquals(receiver.mistakes, []);
    } finally {
      await server[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "webhooks - the operator lists, tries and replays endpoints of a running server, and lets one go on that said 410",
  ignore: !CAN_RUN,
  async fn() {
    await using receiver = new Receiver();
    const { dir, file } = folder(receiver.url.replace("127.0.0.1", "localhost")), data = `${dir}/data`;
    const server = await serve("--data", data, "--webhooks", file);
    const command = (...words: string[]) => runToEnd(fromSource("server"), ["webhook", ...words]);
    try {
      await begun(server, receiver);
      const ann = await hello(server, "ann");
      const say = async (content: string) => {
        ann.send({ sender: "ann", recipient: "ann", content, id: content });
        while ((await ann.next()).type !== "ack");
      };
      await say("one");
      ann.send({ type: "group", op: "create", group: "#ops", id: "g1" });
      await receiver.until(["one"]);
      for (
        let look = 0;
        ![...receiver.taken.values()].some(({ body }) => body.type === "group.changed") && look < LOOKS;
        look++
      ) {
        await delay(LOOK_MS);
      }
      const group = [...receiver.taken.values()].find(({ body }) => body.type === "group.changed")!.body.data;
      assertEquals([group.group, group.change, group.user, group.members], ["#ops", "create", "ann", 1]);

      const tested = await command("test", "push", "--webhooks", file);
      assertEquals([tested.code, tested.out], [0, "push answered 204"], tested.err);
      assert([...receiver.taken.values()].some(({ body }) => body.type === "webhook.test"));

      receiver.taken.clear();
      const replayed = await command("replay", "push", "--from", "0", "--data", data);
      assertEquals(replayed.code, 0, replayed.err);
      await receiver.until(["probe 0", "one"]);

      receiver.respond = () => 410;
      await say("gone");
      for (let look = 0; look < LOOKS; look++) {
        const { out, err } = await command("list", "--data", data);
        if (out.includes("410 Gone")) break;
        assertEquals(err, "");
      }
      const { out } = await command("list", "--data", data);
      assertStringIncludes(out, "push: messages up to ");
      assertStringIncludes(out, "1 to be sent, answered 410 Gone and gets nothing");
      receiver.respond = () => 204;
      assertEquals((await command("enable", "push", "--data", data)).code, 0);
      await receiver.until(["gone"]);
      assertEquals((await command("enable", "nobody", "--data", data)).code, 1);
      assertEquals(receiver.mistakes, []);
      await ann[Symbol.asyncDispose]();
    } finally {
      await server[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "webhooks - the file is read again when it changes, and a mistake in it changes nothing",
  ignore: !CAN_RUN,
  async fn() {
    await using receiver = new Receiver();
    await using other = new Receiver();
    const { dir, file } = folder(receiver.url);
    const server = await serve("--data", `${dir}/data`, "--webhooks", file);
    try {
      await begun(server, receiver);
      Deno.writeTextFileSync(file, "{");
      await server.err.next(/stay as they were: .*the file is no JSON/);
      const ann = await hello(server, "ann");
      ann.send({ sender: "ann", recipient: "ann", content: "still", id: "1" });
      await receiver.until(["still"]);
      Deno.writeTextFileSync(file, fileFor(other.url));
      await server.err.next(/was read again; endpoints of webhooks in it: 1/);
      ann.send({ sender: "ann", recipient: "ann", content: "moved", id: "2" });
      await other.until(["moved"]);
      await ann[Symbol.asyncDispose]();
      const wrong = await runToEnd(fromSource("server"), [
        "--port",
        "0",
        "--data",
        ":memory:",
        "--webhooks",
        `${dir}/none.json`,
      ]);
      assertEquals(wrong.code, 1);
      assertStringIncludes(wrong.err, "Cannot read --webhooks");
    } finally {
      await server[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    }
  },
});

Deno.test({
  name: "webhooks - of several nodes one delivers, and another goes on where it was when that one is killed",
  ignore: LACKS_POSTGRES,
  async fn() {
    await using database = new PostgresServer();
    await using receiver = new Receiver();
    const { dir, file } = folder(receiver.url, { events: ["message.created", "user.online"] });
    const start = (node: string) => serve("--postgres", database.url(), "--node", node, "--webhooks", file);
    let one = await start("one");
    const two = await start("two");
    try {
      await begun(one, receiver);
      const ann = await hello(two, "ann");
      const all: string[] = [];
      for (let round = 0; round < 3; round++) {
        const contents = Array.from({ length: 20 }, (_, count) => `r${round}m${count}`);
        for (const content of contents) ann.send({ sender: "ann", recipient: "ann", content, id: content });
        all.push(...contents);
        if (round === 1) await one[Symbol.asyncDispose](); // by SIGKILL, in the middle of it
        await receiver.until(all);
        if (round === 0) {
          const twice = [...receiver.taken.values()].filter(({ body, count }) => body.type === "message.created" && count > 1);
          assertEquals(twice, [], "one node delivers");
          assert([...receiver.taken.values()].some(({ body }) => body.type === "message.created"));
        }
        if (round === 1) one = await start("one");
      }
      for (let look = 0; !online(receiver, "ann") && look < LOOKS; look++) await delay(LOOK_MS);
      assert(online(receiver, "ann"), "who is connected to any node is told");
      assertEquals(receiver.mistakes, []);
      await ann[Symbol.asyncDispose]();
    } finally {
      await one[Symbol.asyncDispose]();
      await two[Symbol.asyncDispose]();
      await Deno.remove(dir, { recursive: true });
    }
  },
});

function online({ taken }: Receiver, user: string): boolean {
  return [...taken.values()].some(({ body }) => body.type === "user.online" && body.data.user === user);
}
