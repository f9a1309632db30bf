/**
 * A thousand misbehaving connections of eleven kinds, beside fifty good ones that chat: the good ones must not notice, and nothing
 * may be left when the bad ones have gone. The attackers run in a process of their own, the server in another.
 */

import { assert, assertEquals } from "@std/assert";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { TransportName } from "../server/transport_choice.ts";
import { ATTACKS, INSIDER, INSIDER_GROUPS } from "../testing/attackers.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { lacksProgram } from "../testing/permissions.ts";
import { ServerProcess } from "../testing/server_process.ts";

const GOOD = 50;
const BAD_PER_KIND = 100;
/** Messages of each good connection, each at its own time, slower than the rate that everybody may have. */
const MESSAGES = 30;
const PACE_MS = 220;
/** Factors by which latency and memory may exceed the run without attackers. */
const LATENCY_FACTOR = 3;
const MEMORY_FACTOR = 1.2;
/** Milliseconds below which a latency is noise of a machine on which server, attackers and good ones share two processors. */
const LATENCY_FLOOR_MS = 10;
/**
 * Times that the attackers come: other work on the machine can only make it look worse than it is, so the best siege counts, for
 * latency and for memory. What leaks grows with each.
 */
const SIEGES_MAX = 5;
const SIEGES_MIN = 2;
/** Milliseconds that the server may take to let go of what the attackers held. */
const RECOVERY_MS = 60_000;
/** Milliseconds without work after which V8 has collected its garbage and given memory back. */
const REST_MS = 15_000;

/** Members of each group of the insider, and messages in it. */
const INSIDER_MEMBERS = 200, INSIDER_MESSAGES = 500;

/** Stores what makes the insider's frames dear: large groups, much of the past, and receipts of everybody in them. */
async function prepare(dir: string): Promise<void> {
  await using stack = new AsyncDisposableStack();
  const broker = stack.adopt(await openSqliteBroker({ dir }), (broker) => broker.close());
  const users = Array.from({ length: INSIDER_MEMBERS }, (_, n) => `member${n}`);
  await Promise.all([INSIDER, ...users].map((user) => broker.attach(user, "d")));
  await broker.group({ op: "create", user: users[0]!, group: "#open", open: true });
  for (let n = 0; n < INSIDER_GROUPS; n++) {
    const group = `#in${n}`;
    await broker.group({ op: "create", user: INSIDER, group, open: true });
    await Promise.all(users.map((user) => broker.group({ op: "join", user, group })));
    await broker.append(Array.from({ length: INSIDER_MESSAGES }, (_, i) => {
      const sender = i % 2 ? INSIDER : users[i % users.length]!;
      return { sender, recipient: group, content: `the message ${i} of a group`, id: undefined, origin: "d" };
    }));
  }
  const { head } = await broker.attach(INSIDER, "d");
  for (const user of [INSIDER, ...users]) await broker.markAll(user, head);
}

function serve(data: string, transport: TransportName): ServerProcess {
  const program = new URL("../testing/counted_server.ts", import.meta.url).pathname;
  return new ServerProcess(Deno.execPath(), ["run", "-A", program, data, transport]);
}

/** The attackers at work, until it is disposed of. */
class Attackers implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  static async start(port: number): Promise<Attackers> {
    const program = new URL("../testing/attackers.ts", import.meta.url).pathname;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-prompt", "--allow-net", "--allow-sys=setPriority", program, String(port), String(BAD_PER_KIND)],
      stdin: "piped",
      stdout: "piped",
    }).spawn();
    const reader = child.stdout.getReader();
    const { value } = await reader.read();
    assertEquals(new TextDecoder().decode(value), "attacking\n");
    reader.releaseLock();
    return new Attackers(child);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#child.stdin.close();
    await this.#child.stdout.cancel();
    await this.#child.status;
  }
}

/** A well-behaved device; it knows how long each of its messages took to its recipient. */
class Good {
  readonly #socket: WebSocket;
  readonly received = new Map<string, number>();
  readonly open: Promise<void>;
  #complete: () => void = () => {};

  constructor(port: number, readonly name: string, readonly expected: number) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}/ws?name=${name}`);
    this.open = new Promise((resolve) => this.#socket.onopen = () => resolve());
    this.#socket.onmessage = ({ data }) => {
      const { content } = JSON.parse(data);
      assert(typeof content === "string", `${name} was told ${data}`);
      assert(!this.received.has(content), `${name} got ${content} twice`);
      this.received.set(content, performance.now());
      if (this.received.size === this.expected) this.#complete();
    };
  }

  /** Resolves when everything has come. */
  async complete(): Promise<void> {
    if (this.received.size < this.expected) await new Promise<void>((resolve) => this.#complete = resolve);
  }

  send(recipient: string, content: string): void {
    this.#socket.send(JSON.stringify({ sender: this.name, recipient, content }));
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#socket.onclose = () => resolve();
      this.#socket.close();
    });
  }
}

/** Everybody writes to the next one; the 99th percentile of milliseconds from the moment a message was due. */
async function chat(port: number): Promise<number> {
  const good = Array.from({ length: GOOD }, (_, i) => new Good(port, `good${i}`, MESSAGES));
  await Promise.all(good.map(({ open }) => open));
  const due = new Map<string, number>();
  const start = performance.now();
  for (let n = 0; n < MESSAGES * GOOD; n++) {
    const at = start + n * PACE_MS / GOOD, sender = n % GOOD;
    if (at > performance.now()) await new Promise((resolve) => setTimeout(resolve, at - performance.now()));
    due.set(String(n), at);
    good[sender]!.send(`good${(sender + 1) % GOOD}`, String(n));
  }
  await Promise.all(good.map((device) => device.complete()));
  const latencies = good.flatMap(({ received }) => [...received].map(([content, at]) => at - due.get(content)!)).sort((a, b) =>
    a - b
  );
  assertEquals(latencies.length, GOOD * MESSAGES);
  await Promise.all(good.map((device) => device.close()));
  return latencies[Math.floor(latencies.length * 0.99)]!;
}

async function residentKib(pid: number): Promise<number> {
  const status = await Deno.readTextFile(`/proc/${pid}/status`);
  return Number(/VmRSS:\s+(\d+)/.exec(status)![1]);
}

async function descriptors(pid: number): Promise<number> {
  return (await Array.fromAsync(Deno.readDir(`/proc/${pid}/fd`))).length;
}

/** Waits for `ok`, looking now and then, and says at the end how it is. */
async function eventually(ok: () => Promise<boolean>): Promise<boolean> {
  const end = Date.now() + RECOVERY_MS;
  while (Date.now() < end) {
    if (await ok()) return true;
    await new Promise((resolve) => setTimeout(resolve, 250));
  }
  return await ok();
}

testOverTransports({
  name: "hostile - fifty good connections do not notice a thousand bad ones, and nothing is left of those",
  ignore: Deno.build.os !== "linux" || lacksProgram("sh", ["-c", "true"]),
  async fn(transport) {
    const data = await Deno.makeTempDir({ prefix: "hostile-" });
    await prepare(data);
    await using server = serve(data, transport);
    const port = await server.port;
    await chat(port); // warms up: code is compiled
    const calm = await chat(port);
    const empty = await held(server);
    const limit = LATENCY_FACTOR * Math.max(calm, LATENCY_FLOOR_MS);
    const besieged: number[] = [], left: number[] = [];
    // The first siege is what memory is compared with: the process has had a thousand connections, as any has after a while.
    const hasStayed = () => left.some((kib, i) => i > 0 && kib <= left[i - 1]! * MEMORY_FACTOR);
    while (besieged.length < SIEGES_MIN || ((Math.min(...besieged) > limit || !hasStayed()) && besieged.length < SIEGES_MAX)) {
      besieged.push(await siege(server, empty));
      await new Promise((resolve) => setTimeout(resolve, REST_MS));
      left.push(await residentKib(server.pid));
    }
    const told = besieged.map((p99) => p99.toFixed(1)).join(", ");
    assert(Math.min(...besieged) <= limit, `p99 went from ${calm.toFixed(1)} ms to ${told} ms`);
    assert(hasStayed(), `each siege left more memory in use: ${left.join(", ")} KiB`);
    assertEquals(await server.stop("SIGTERM"), 0);
    await Deno.remove(data, { recursive: true });
  },
});

/** Holdings of the server: entries of its maps, and file descriptors. */
async function held(server: ServerProcess): Promise<string> {
  return `${await server.ask("SIGUSR2")} and ${await descriptors(server.pid)} file descriptors`;
}

/** The good ones chat while the attackers are at it; then nothing of these may be left. The good ones' p99 in milliseconds. */
async function siege(server: ServerProcess, empty: string): Promise<number> {
  const port = await server.port;
  let p99: number;
  {
    await using _attackers = await Attackers.start(port);
    const { connections } = JSON.parse(await server.ask("SIGUSR2"));
    assert(connections > Object.keys(ATTACKS).length, "the attackers are connected");
    p99 = await chat(port);
  }
  assert(await eventually(async () => await held(server) === empty), `it held ${empty}, and holds ${await held(server)}`);
  return p99;
}
