/** `chat-server move`: from a folder of SQLite to PostgreSQL, as operators do it and as clients see it. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { Message, ServerFrame } from "../protocol.ts";
import { LACKS_POSTGRES, PostgresServer } from "../testing/postgres.ts";
import { fromSource, Running, RunningServer, runToEnd } from "../testing/process.ts";
import { WsPeer } from "../testing/ws_peer.ts";

const ignore = LACKS_POSTGRES;
/** Messages of a folder whose move takes long enough to be killed. */
const MANY = 60_000;

function move(from: string, to: string, ...more: string[]) {
  return runToEnd(fromSource("server"), ["move", "--from", from, "--to", to, ...more]);
}

type Frame<T extends ServerFrame["type"]> = Extract<ServerFrame, { type: T }>;

/** A device that says hello and reads up to `synced`. */
async function device(url: string, name: string, device: string, resume?: { epoch: string; seq: number }) {
  const peer = await WsPeer.open(url), frames: ServerFrame[] = [];
  peer.send({ type: "hello", v: 1, name, device, ...resume && { resume } });
  do frames.push(await peer.next()); while (frames.at(-1)!.type !== "synced");
  return {
    peer,
    welcome: frames.find(({ type }) => type === "welcome") as Frame<"welcome">,
    contents: frames.filter((frame): frame is Message & { type: undefined } => frame.type === undefined).map(({ content }) =>
      content
    ),
    async ask<T extends ServerFrame["type"]>(frame: object, type: T): Promise<Frame<T>> {
      peer.send(frame);
      for (;;) {
        const next = await peer.next();
        if (next.type === "error") throw new Error(next.message);
        if (next.type === type) return next as Frame<T>;
      }
    },
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  };
}

Deno.test({
  name:
    "move - devices resume on PostgreSQL where they were, with everything and nothing twice; the folder and the schema in words",
  ignore,
  async fn() {
    await using postgres = new PostgresServer();
    const dir = await Deno.makeTempDir(), to = postgres.url();
    let seen = { epoch: "", seq: 0 };
    {
      await using server = await RunningServer.start(fromSource("server"), ["--data", dir]);
      await using ann = await device(server.url, "ann", "laptop");
      await using ben = await device(server.url, "ben", "laptop");
      await (await device(server.url, "ben", "phone"))[Symbol.asyncDispose]();
      await ann.ask({ type: "group", op: "create", group: "#g", id: "c" }, "group");
      await ann.ask({ type: "group", op: "invite", group: "#g", user: "ben", id: "i" }, "group");
      const { seq } = await ann.ask({ sender: "ann", recipient: "ben", content: "one", id: "1" }, "ack");
      await ben.ask({ type: "ping", id: "p" }, "pong");
      ben.peer.send({ type: "receipt", kind: "read", with: "ann", seq });
      await ann.ask({ type: "ping", id: "p" }, "pong");
      seen = { epoch: ben.welcome.epoch, seq };
      await ben[Symbol.asyncDispose]();
      await ann.ask({ sender: "ann", recipient: "#g", content: "two", id: "2" }, "ack");
      const inUse = await move(dir, to);
      assertEquals(inUse.code, 1);
      assertStringIncludes(inUse.err, "Another server uses");
      server.kill("SIGTERM");
      assertEquals(await server.code(), 0);
    }
    const { code, out, err } = await move(dir, to);
    assertEquals([code, err], [0, ""]);
    assertMatch(out, /^Messages taken over: 2, of 2 users; devices resume where they were\nStart no server on .* again/);
    const again = await move(dir, to);
    assertEquals(again.code, 1);
    assertStringIncludes(
      again.err,
      'The schema "parley" is in use; move takes an empty one, such as --postgres-schema parley2',
    );

    await using one = await RunningServer.start(fromSource("server"), ["--postgres", to, "--node", "one"]);
    await using two = await RunningServer.start(fromSource("server"), ["--postgres", to, "--node", "two"]);
    await using ben = await device(one.url, "ben", "laptop", seen);
    assertEquals([ben.welcome.recovered, ben.welcome.epoch, ben.contents], [true, seen.epoch, ["two"]]);
    await using phone = await device(two.url, "ben", "phone");
    assertEquals(phone.contents, ["one", "two"], "a device that was away gets what it lacks");
    await using ann = await device(two.url, "ann", "laptop");
    assertEquals(
      (await ann.ask({ sender: "ann", recipient: "ben", content: "one", id: "1" }, "ack")).seq,
      seen.seq,
      "sent again",
    );
    const { seq } = await ann.ask({ sender: "ann", recipient: "#g", content: "three", id: "3" }, "ack");
    assert(seq > seen.seq);
    const next = await ben.peer.next() as Message;
    assertEquals([next.content, next.sender, next.recipient], ["three", "ann", "#g"]);
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "move - one that is killed leaves nothing behind, and the next one takes everything over",
  ignore,
  async fn() {
    await using postgres = new PostgresServer();
    const dir = await Deno.makeTempDir(), to = postgres.url();
    const sqlite = await openSqliteBroker({ dir });
    await sqlite.attach("ann", "laptop");
    for (let n = 0; n < MANY; n += 5_000) {
      await sqlite.append(Array.from({ length: 5_000 }, (_, i) => (
        { sender: "ann", recipient: "ann", content: `${n + i}`, id: `${n + i}`, origin: "laptop" }
      )));
    }
    await sqlite.close();
    {
      await using moving = new Running(fromSource("server"), ["move", "--from", dir, "--to", to]);
      const inserts = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO messages%' AND state <> 'idle'";
      while (postgres.query(inserts) === "0");
      moving.kill("SIGKILL");
      await moving.code();
    }
    assertEquals(postgres.query("SELECT count(*) FROM parley.users"), "0");
    assertEquals(postgres.query("SELECT count(*) FROM parley.messages"), "0");
    const { code, out } = await move(dir, to);
    assertEquals(code, 0);
    assertStringIncludes(out, `Messages taken over: ${MANY}, of 1 user; devices resume`);
    await Deno.remove(dir, { recursive: true });
  },
});
