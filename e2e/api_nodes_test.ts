/** The HTTP API on several nodes of one PostgreSQL: whichever node is asked, the answer holds on all of them. */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { LACKS_POSTGRES, PostgresServer } from "../testing/postgres.ts";
import { fromSource, RunningServer, runToEnd } from "../testing/process.ts";
import { WsPeer } from "../testing/ws_peer.ts";

/** Milliseconds before this gives up: nodes are told within two seconds, the rest is for a machine under load. */
const PATIENCE_MS = 30_000;
/** Messages that are sent to both nodes at once. */
const COUNT = 40;

/** Two nodes with a key for everything, each with a list of the revoked of its own. */
class Nodes implements AsyncDisposable {
  private constructor(
    readonly stack: AsyncDisposableStack,
    readonly postgres: PostgresServer,
    readonly key: string,
    readonly servers: readonly RunningServer[],
  ) {}

  static async start(): Promise<Nodes> {
    await using stack = new AsyncDisposableStack();
    const folder = stack.adopt(await Deno.makeTempDir({ prefix: "nodes-" }), (dir) => Deno.remove(dir, { recursive: true }));
    const scopes = ["write", "read", "users", "moderate", "erase", "tokens"].flatMap((scope) => [`--${scope}`, "*"]);
    const files = [
      "--name",
      "shop",
      "--api-keys",
      `${folder}/keys`,
      "--out",
      `${folder}/key`,
      "--rate",
      "1000",
      "--burst",
      "1000",
    ];
    const { code, err } = await runToEnd(fromSource("server"), ["apikey", ...files, ...scopes, "--groups", "#*", "--stats"]);
    assertEquals(code, 0, err);
    await Deno.writeTextFile(`${folder}/secret`, "a secret of thirty-two characters, and some more");
    const postgres = stack.use(new PostgresServer());
    const servers: RunningServer[] = [];
    for (const node of ["a", "b"]) {
      await Deno.writeTextFile(`${folder}/revoked-${node}`, "");
      const options = ["--node", node, "--postgres", postgres.url(), "--api-keys", `${folder}/keys`];
      const lists = ["--jwt-secret-file", `${folder}/secret`, "--revoked", `${folder}/revoked-${node}`];
      servers.push(stack.use(await RunningServer.start(fromSource("server"), [...options, ...lists])));
    }
    return new Nodes(stack.move(), postgres, (await Deno.readTextFile(`${folder}/key`)).trim(), servers);
  }

  /** Asks a node; returns the status and the body. */
  // deno-lint-ignore no-explicit-any -- what a route answers is for each test to say
  async ask(node: number, method: string, path: string, body?: unknown): Promise<{ status: number; body: any }> {
    const { origin } = new URL(this.servers[node]!.url.replace(/^ws/, "http"));
    const answer = await fetch(`${origin}/api/v1${path}`, {
      method,
      headers: { authorization: `Bearer ${this.key}`, "content-type": "application/json" },
      ...body !== undefined && { body: JSON.stringify(body) },
    });
    const text = await answer.text();
    return { status: answer.status, body: text === "" ? undefined : JSON.parse(text) };
  }

  /** Connects somebody to a node, with a token of another one. */
  async connect(node: number, user: string): Promise<WsPeer> {
    const { body: { token } } = await this.ask(1 - node, "POST", "/tokens", { user });
    const peer = await WsPeer.open(this.servers[node]!.url, ["parley", `bearer.${token}`]);
    peer.send({ type: "hello", v: 1, device: "phone" });
    while ((await peer.next()).type !== "welcome");
    return peer;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stack.disposeAsync();
  }
}

Deno.test({
  name:
    "API on two nodes - an id is one message wherever it is sent to; whom one node disconnects, revokes or erases is so on both",
  ignore: LACKS_POSTGRES,
  async fn(t) {
    await using nodes = await Nodes.start();
    for (const user of ["shop", "ann", "ben"]) assertEquals((await nodes.ask(0, "PUT", `/users/${user}`)).status, 201);
    assertEquals((await nodes.ask(1, "PUT", "/users/ann")).body, { user: "ann", created: false });

    await t.step("the same message, sent to both at once, is stored once", async () => {
      await Promise.all(Array.from({ length: COUNT }, async (_, i) => {
        const message = { sender: "shop", recipient: "ann", content: `order ${i}`, id: `order-${i}` };
        const [one, other] = await Promise.all([0, 1].map((node) => nodes.ask(node, "POST", "/messages", message)));
        assertEquals([one!.status, other!.status].sort(), [200, 201], JSON.stringify([one, other]));
        assertEquals(one!.body.seq, other!.body.seq);
      }));
      const changed = { sender: "shop", recipient: "ann", content: "another", id: "order-0" };
      for (const node of [0, 1]) assertEquals((await nodes.ask(node, "POST", "/messages", changed)).body.code, "id_conflict");
      const { body } = await nodes.ask(1, "GET", `/messages?user=ann&with=shop&limit=${COUNT + 1}`);
      assertEquals(body.messages.length, COUNT);
    });

    await t.step("who is connected to one is seen and disconnected by the other", async () => {
      await using ann = await nodes.connect(0, "ann");
      assertEquals((await nodes.ask(1, "GET", "/users/ann")).body.status, "online");
      assertEquals((await nodes.ask(1, "POST", "/users/ann/disconnect")).body, { user: "ann", closed: 1 });
      await deadline(ann.closed, PATIENCE_MS);
    });

    await t.step("who is revoked by one is out of the other within two seconds, until that one takes it back", async () => {
      await using ann = await nodes.connect(0, "ann");
      assertEquals((await nodes.ask(1, "POST", "/users/ann/revoke")).body.revoked, true);
      await deadline(ann.closed, PATIENCE_MS);
      assertEquals((await nodes.ask(0, "GET", "/users/ann")).body.revoked, true);
      assertEquals((await nodes.ask(0, "POST", "/tokens", { user: "ann" })).body.code, "forbidden");
      assertEquals((await nodes.ask(0, "POST", "/users/ann/restore")).body.revoked, true, "the other node's list has her");
      assertEquals((await nodes.ask(1, "POST", "/users/ann/restore")).body.revoked, false);
      const end = performance.now() + PATIENCE_MS;
      while ((await nodes.ask(0, "GET", "/users/ann")).body.revoked) assert(performance.now() < end, "it is never taken back");
    });

    await t.step("who is erased by one is gone from the other", async () => {
      await using ben = await nodes.connect(0, "ben");
      const message = { sender: "ben", recipient: "ann", content: "the secret of ben", id: "ben-1" };
      assertEquals((await nodes.ask(0, "POST", "/messages", message)).status, 201);
      assertEquals((await nodes.ask(1, "DELETE", "/users/ben")).body, { user: "ben", messages: 1 });
      await deadline(ben.closed, PATIENCE_MS);
      const { body: { messages: [kept] } } = await nodes.ask(0, "GET", "/messages?user=ann&with=ben");
      assertEquals([kept.sender, kept.content, kept.id], ["ben", "", undefined]);
      const again = await nodes.ask(0, "POST", "/messages", { ...message, content: "anew" });
      assertEquals([again.status, again.body.duplicate], [201, false], "his ids are free");
    });
  },
});
