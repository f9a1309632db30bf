import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { MemoryBroker } from "./broker/memory.ts";
import { main, type Server, startServer } from "./server.ts";
import type { FreeSpace } from "./server/free_space.ts";
import { testOverTransports } from "./testing/over_transports.ts";
import { toldTo } from "./testing/told.ts";
import { CAN_RUN, lacks } from "./testing/permissions.ts";
import { fromSource, RunningServer, runToEnd } from "./testing/process.ts";
import { RawSocket } from "./testing/raw_socket.ts";

const ignore = lacks("net");

/** A WebSocket that collects the frames it gets. */
class Client {
  readonly frames: string[] = [];
  readonly socket: WebSocket;
  readonly open: Promise<void>;
  readonly closed: Promise<CloseEvent>;
  #next: (() => void) | undefined;

  constructor(server: Server, query = "", protocols: string[] = []) {
    this.socket = new WebSocket(server.url + query, protocols);
    this.open = new Promise((resolve, reject) => {
      this.socket.onopen = () => resolve();
      this.socket.onerror = () => reject(new Error("refused"));
    });
    this.closed = new Promise((resolve) => this.socket.onclose = resolve);
    this.socket.onmessage = ({ data }) => {
      this.frames.push(data);
      this.#next?.();
    };
  }

  /** Resolves with the first frame that has not been taken yet. */
  async take(): Promise<Record<string, unknown>> {
    while (this.frames.length === 0) await new Promise<void>((resolve) => this.#next = resolve);
    return JSON.parse(this.frames.shift()!);
  }

  say(frame: unknown): void {
    this.socket.send(typeof frame === "string" ? frame : JSON.stringify(frame));
  }

  async close(): Promise<void> {
    this.socket.close();
    await this.closed;
  }
}

function serve(): Promise<Server> {
  return startServer({ port: 0, helloGraceMs: 0 });
}

function http(server: Server, path: string, init?: RequestInit): Promise<Response> {
  return fetch(`http://127.0.0.1:${server.port}${path}`, init);
}

Deno.test({
  name: "server - GET / says what this is and how to connect, /healthz that it lives",
  ignore,
  async fn() {
    await using server = await serve();
    const home = await (await http(server, "/")).text();
    assertStringIncludes(home, `ws://127.0.0.1:${server.port}/ws`);
    const health = await http(server, "/healthz");
    assertEquals([health.status, await health.text()], [200, "ok\n"]);
  },
});

/** A broker whose next append ends when `finish` is called, and that is as well as it is told to be. */
class SlowBroker extends MemoryBroker {
  readonly #begun = Promise.withResolvers<void>();
  readonly #finished = Promise.withResolvers<void>();
  unwell: string | undefined;

  get begun(): Promise<void> {
    return this.#begun.promise;
  }

  finish(): void {
    this.#finished.resolve();
  }

  health(): string | undefined {
    return this.unwell;
  }

  override async append(drafts: Parameters<MemoryBroker["append"]>[0]): ReturnType<MemoryBroker["append"]> {
    this.#begun.resolve();
    await this.#finished.promise;
    return await super.append(drafts);
  }
}

testOverTransports({
  name: "server - /readyz says no while nothing can be stored or it ends, and why to programs of this machine alone",
  ignore,
  async fn(transport) {
    const broker = new SlowBroker();
    let isShort = false;
    const space = {
      get isShort() {
        return isShort;
      },
    } as FreeSpace;
    const server = await startServer({ port: 0, transport, broker, space });
    const ready = async (headers: Record<string, string> = {}) => {
      const response = await http(server, "/readyz", { headers });
      return [response.status, await response.text()];
    };
    assertEquals(await ready(), [200, "ok\n"]);
    broker.unwell = "the disk is full";
    assertEquals(await ready(), [503, "not ready: nothing can be stored (the disk is full)\n"]);
    assertEquals(await ready({ "x-forwarded-for": "203.0.113.7" }), [503, "not ready\n"]);
    const health = await http(server, "/healthz");
    assertEquals([health.status, await health.text()], [200, "ok, but nothing can be stored (the disk is full)\n"]);
    const seenFromAfar = await http(server, "/healthz", { headers: { "x-forwarded-for": "203.0.113.7" } });
    assertEquals([seenFromAfar.status, await seenFromAfar.text()], [200, "ok\n"]);
    const lives = await http(server, "/livez");
    assertEquals([lives.status, await lives.text()], [200, "ok\n"]);
    broker.unwell = undefined;
    isShort = true;
    assertEquals(await ready(), [503, "not ready: there is too little free space for messages (--free-bytes)\n"]);
    isShort = false;
    assertEquals(await ready(), [200, "ok\n"]);
    const client = new Client(server, "?name=ann");
    await client.open;
    client.say({ sender: "ann", recipient: "ann", content: "on its way" });
    await broker.begun;
    const ended = server.shutdown();
    assertEquals(await ready(), [503, "not ready: it is draining\n"]);
    const alive = await http(server, "/livez");
    assertEquals([alive.status, await alive.text()], [200, "ok\n"], "a drain is no reason to be killed");
    broker.finish();
    await Promise.all([ended, client.closed]);
  },
});

Deno.test({
  name: "server - messages are refused while there is too little space, and reading goes on",
  ignore,
  async fn() {
    let isShort = true;
    const space = {
      get isShort() {
        return isShort;
      },
    } as FreeSpace;
    await using server = await startServer({ port: 0, space });
    const ann = new Client(server);
    await ann.open;
    ann.say({ type: "hello", v: 1, name: "ann", device: "d" });
    assertEquals([(await ann.take()).type, (await ann.take()).type], ["welcome", "synced"]);
    ann.say({ sender: "ann", recipient: "ann", content: "hi", id: "1" });
    const { code, retryable, id } = await ann.take();
    assertEquals([code, retryable, id], ["unavailable", true, "1"]);
    const back = await server.hub.submit({ sender: "ann", recipient: "ann", content: "hi", id: "2" });
    assertEquals("code" in back && back.code, "unavailable");
    ann.say({ type: "history", with: "ann", id: "h" });
    assertEquals((await ann.take()).type, "history");
    isShort = false;
    ann.say({ sender: "ann", recipient: "ann", content: "hi", id: "1" });
    assertEquals((await ann.take()).type, "ack");
    await ann.close();
  },
});

Deno.test({
  name: "server - a shutdown on a slow disk takes nothing more, acks what is in flight, and then says 1012",
  ignore,
  async fn() {
    const broker = new SlowBroker();
    const server = await startServer({ port: 0, broker });
    const ann = new Client(server);
    await ann.open;
    ann.say({ type: "hello", v: 1, name: "ann", device: "d" });
    assertEquals([(await ann.take()).type, (await ann.take()).type], ["welcome", "synced"]);
    ann.say({ sender: "ann", recipient: "ann", content: "in flight", id: "1" });
    await broker.begun;
    const ended = server.shutdown();
    ann.say({ sender: "ann", recipient: "ann", content: "too late", id: "2" });
    ann.say({ type: "ping" });
    broker.finish();
    assertEquals((await ann.take()).id, "1");
    assertEquals((await ann.closed).code, 1012);
    assertEquals(ann.frames, []);
    await ended;
  },
});

Deno.test({
  name: "server - a shutdown says 1012 to everybody and ends in time, even if the broker never answers",
  ignore,
  async fn() {
    class Dead extends SlowBroker {
      override close(): Promise<void> {
        return new Promise(() => {});
      }
    }
    const broker = new Dead(), lines: string[] = [];
    const server = await startServer({ port: 0, broker, log: toldTo(lines) });
    const ann = new Client(server, "?name=ann");
    await ann.open;
    ann.say({ sender: "ann", recipient: "ann", content: "never stored" });
    await broker.begun;
    const begun = performance.now();
    await server.shutdown();
    assert(performance.now() - begun < 6_000);
    assertEquals((await ann.closed).code, 1012);
    assertEquals(lines.length, 1);
    assertStringIncludes(lines[0]!, "closing the messages failed");
    broker.finish();
  },
});

for (const path of ["/", "/livez", "/healthz", "/readyz", "/ws"]) {
  Deno.test({
    name: `server - OPTIONS ${path} names what is answered there, to a check of HTTP/1.0 without a Host too`,
    ignore,
    async fn() {
      await using server = await serve();
      const response = await http(server, path, { method: "OPTIONS" });
      assertEquals([response.status, response.headers.get("allow")], [204, "GET, HEAD, OPTIONS"]);
      using raw = await RawSocket.connect(server.port);
      await raw.write(`OPTIONS ${path} HTTP/1.0\r\n\r\n`);
      assertStringIncludes(await raw.readSome(), " 204 ");
    },
  });
}

const ANSWERS: [string, string, number][] = [
  ["GET", "/ws", 426],
  ["GET", "/nothing", 404],
  ["GET", "/ws/", 404],
  ["POST", "/", 405],
  ["DELETE", "/ws", 405],
  ["GET", `/ws?name=${"x".repeat(3_000)}`, 414],
];

for (const [method, path, status] of ANSWERS) {
  Deno.test({
    name: `server - ${method} ${path.slice(0, 20)} is answered with ${status}`,
    ignore,
    async fn() {
      await using server = await serve();
      const response = await http(server, path, { method });
      await response.body?.cancel();
      assertEquals(response.status, status);
    },
  });
}

Deno.test({
  name: "server - an upgrade with a bad name or without a key is refused, and the next one is served",
  ignore,
  async fn() {
    await using server = await serve();
    using raw = await RawSocket.connect(server.port);
    await raw.write(
      "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assertStringIncludes(await raw.readSome(), "HTTP/1.1 400");
    const bad = new Client(server, "?name=a%20b");
    await bad.open.catch(() => {});
    await bad.closed;
    const good = new Client(server, "?name=alice");
    await good.open;
    await good.close();
  },
});

Deno.test({
  name: "server - two base clients chat, and a device of the extended level sees both",
  ignore,
  async fn() {
    await using server = await serve();
    const alice = new Client(server, "?name=alice"), bob = new Client(server, "?name=Bob"), phone = new Client(server);
    await Promise.all([alice.open, bob.open, phone.open]);
    phone.say({ type: "hello", v: 1, name: "bob", device: "phone" });
    assertEquals((await phone.take()).type, "welcome");
    assertEquals((await phone.take()).type, "synced");
    alice.say({ sender: "alice", recipient: "bob", content: "hi" });
    assertEquals(await bob.take(), { sender: "alice", recipient: "bob", content: "hi" });
    assertEquals((await phone.take()).content, "hi");
    bob.say({ sender: "bob", recipient: "alice", content: "hello" });
    assertEquals(await alice.take(), { sender: "bob", recipient: "alice", content: "hello" });
    assertEquals((await phone.take()).content, "hello");
    await Promise.all([alice.close(), bob.close(), phone.close()]);
  },
});

Deno.test({
  name: "server - a peer that breaks off, breaks the protocol or sends binary hurts nobody and leaves nothing",
  ignore,
  async fn() {
    await using server = await serve();
    const alice = new Client(server, "?name=alice");
    await alice.open;
    for (const [payload, first] of [["\xff\xfe", 0x81], ["x", 0xf3], ["x", 0x80], ["x", 0x82]] as const) {
      using raw = await RawSocket.upgrade(server.port, "/ws?name=mallory");
      await raw.frame(new Uint8Array([...payload].map((c) => c.charCodeAt(0))), first);
      await raw.readSome();
    }
    alice.say({ sender: "alice", recipient: "alice", content: "still here", id: "1" });
    assertEquals((await alice.take()).id, "1");
    await alice.close();
    while (server.hub.counts.sessions > 0) await http(server, "/healthz").then((response) => response.body?.cancel());
    assertEquals(server.hub.counts.users, 0);
  },
});

Deno.test({
  name: "server - shutdown says 1012 to every socket, refuses new ones and resolves soon",
  ignore,
  async fn() {
    const server = await serve();
    const clients = [new Client(server), new Client(server, "?name=alice")];
    await Promise.all(clients.map(({ open }) => open));
    await deadline(server.shutdown(), 5_000);
    assertEquals((await Promise.all(clients.map(({ closed }) => closed))).map(({ code }) => code), [1012, 1012]);
    assertEquals(server.hub.counts, { users: 0, sessions: 0, presence: 0 });
  },
});

Deno.test({
  name: "server - a port in use, an unknown option and a bad value are one line and a status",
  ignore: lacks("net", "env"),
  async fn() {
    await using server = await serve();
    const lines: string[] = [];
    const { error } = console;
    console.error = (line: string) => lines.push(line);
    try {
      const statuses = [
        await main(["--port", String(server.port), "--broker", "memory", "--log-format", "text"]),
        await main(["--prot", "1"]),
        await main(["--port", "many"]),
        await main(["--revoked", "file", "--log-format", "text"]),
        await main(["dance"]),
      ];
      assertEquals(statuses, [1, 2, 2, 2, 2]);
    } finally {
      console.error = error;
    }
    assertEquals(lines.length, 5);
    assertStringIncludes(lines[0]!, "is in use");
    for (const line of lines) {
      assert(!line.includes("\n") && line.startsWith("chat-server: ") && line.split("--help").length <= 2, line);
    }
  },
});

testOverTransports({
  name: "server - /readyz says no at a limit that lets nobody in, to balancers, while those who are in go on",
  ignore,
  async fn(transport) {
    await using server = await startServer({ port: 0, transport, admission: { connections: 1 } });
    const client = new Client(server, "?name=ann");
    await client.open;
    const full = await http(server, "/readyz");
    assertEquals(
      [full.status, await full.text()],
      [503, "not ready: it is at a limit (The server has no room for more connections)\n"],
    );
    await client.close();
    while (server.admission.counts.connections > 0) await http(server, "/livez").then((response) => response.body?.cancel());
    const ready = await http(server, "/readyz");
    assertEquals([ready.status, await ready.text()], [200, "ok\n"]);
  },
});

Deno.test({
  name:
    "server - into a pipe it writes nothing but lines of JSON, from where it listens to its end, and with the failure to start",
  ignore: !CAN_RUN,
  async fn() {
    const options = ["--broker", "memory", "--no-web", "--log-level", "debug"],
      env = { PARLEY_LOG_FORMAT: "", PARLEY_NOTHING: "1" };
    await using server = await RunningServer.start(fromSource("server"), options, env);
    const peer = new WebSocket(`${server.url}?name=ann`);
    await new Promise((resolve) => peer.onopen = resolve);
    server.kill("SIGTERM");
    await new Promise((resolve) => peer.onclose = resolve);
    assertEquals(await server.code(), 0);
    const events = (lines: string[]) => lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    const [listening, ...none] = events(server.out.all());
    assertEquals([listening?.event, listening?.url, none], ["listening", server.url, []]);
    const told = events(server.err.all());
    assertEquals(told.map(({ event }) => event), ["variable_unread", "admitted", "draining", "closed", "ended"]);
    assertEquals([told[3]?.user, told[3]?.code, told[3]?.level], ["ann", 1012, "debug"]);
    const { code, err, out } = await runToEnd(fromSource("server"), ["--host", "0.0.0.0"], "", { PARLEY_LOG_FORMAT: "" });
    assertEquals([code, out, events([err])[0]?.event], [1, "", "start_failed"]);
  },
});

Deno.test({
  name: "server - SIGHUP without a certificate is a line in the log, and SIGTERM ends it with status 0",
  ignore: !CAN_RUN || Deno.build.os === "windows",
  async fn() {
    await using server = await RunningServer.start(fromSource("server"), ["--broker", "memory"]);
    server.kill("SIGHUP");
    await server.err.next("there is no --cert to read again");
    server.kill("SIGTERM");
    assertEquals(await server.code(), 0);
  },
});
