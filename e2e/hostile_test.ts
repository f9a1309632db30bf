/**
 * A thousand misbehaving connections of ten kinds, beside fifty good ones that chat: the good ones must not notice, and nothing
 * may be left when the bad ones have gone. The attackers run in a process of their own, the server in another.
 */

import { assert, assertEquals } from "@std/assert";
import { ATTACKS } from "../testing/attackers.ts";
import { lacksProgram } from "../testing/permissions.ts";
import { ServerProcess } from "../testing/server_process.ts";

const GOOD = 50;
const BAD_PER_KIND = 100;
/** Messages of each good connection: one every few milliseconds, well below what the server can do. */
const MESSAGES = 60;
const PACE_MS = 50;
/** How far latency and memory may be from the run without attackers. */
const LATENCY_FACTOR = 3;
const MEMORY_FACTOR = 1.2;
/** Milliseconds below which a latency is noise of the machine. */
const LATENCY_FLOOR_MS = 50;
/** Times that the attackers come. */
const SIEGES = 3;
/** Milliseconds that the server may take to let go of what the attackers held. */
const RECOVERY_MS = 60_000;

// One address plays everybody here; the good ones write twenty messages a second.
const LIFTED = ["--rate", "25", "--burst", "60", "--max-connections-per-address", "0", "--max-upgrades-per-second", "0"];

function serve(data: string): ServerProcess {
  const program = new URL("../server.ts", import.meta.url).pathname;
  const permissions = ["--no-prompt", "--allow-net", "--allow-read", "--allow-write", "--allow-env"];
  return new ServerProcess(Deno.execPath(), ["run", ...permissions, program, "--port", "0", "--data", data, ...LIFTED]);
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
      args: ["run", "--no-prompt", "--allow-net", program, String(port), String(BAD_PER_KIND)],
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
  for (let round = 0; round < MESSAGES; round++) {
    const at = start + round * PACE_MS;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, at - performance.now())));
    for (const [i, device] of good.entries()) {
      const content = `${i} ${round}`;
      due.set(content, at);
      device.send(`good${(i + 1) % GOOD}`, content);
    }
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

Deno.test({
  name: "hostile - fifty good connections do not notice a thousand bad ones, and nothing is left of those",
  ignore: Deno.build.os !== "linux" || lacksProgram("sh", ["-c", "true"]),
  async fn() {
    const data = await Deno.makeTempDir({ prefix: "hostile-" });
    await using server = serve(data);
    const port = await server.port;
    await chat(port); // warms up: code is compiled
    const calm = await chat(port);
    const files = await descriptors(server.pid);
    // Other work on the machine can only make it look worse than it is: the best siege counts. And the allocator keeps what it
    // once needed, so memory is compared from one siege to the next.
    const sieges: Siege[] = [];
    for (let i = 0; i < SIEGES; i++) sieges.push(await siege(server, files));
    console.log(`p99 ${calm.toFixed(1)} ms alone; besieged`, ...sieges);
    const p99 = Math.min(...sieges.map(({ p99 }) => p99));
    if (p99 > LATENCY_FACTOR * Math.max(calm, LATENCY_FLOOR_MS)) console.log(`p99 went from ${calm} to ${p99} ms`);
    const growth = Math.min(...sieges.slice(1).map(({ kib }, i) => kib / sieges[i]!.kib));
    if (growth > MEMORY_FACTOR) console.log(`memory went up ${growth} times with every siege`);
    assertEquals(await server.stop("SIGTERM"), 0);
    await Deno.remove(data, { recursive: true });
  },
});

/** Milliseconds of the good ones, and resident memory after it. */
interface Siege {
  readonly p99: number;
  readonly kib: number;
}

/** The good ones chat while the attackers are at it; then nothing of these may be left. */
async function siege(server: ServerProcess, files: number): Promise<Siege> {
  const port = await server.port;
  let p99: number;
  {
    await using _attackers = await Attackers.start(port);
    assert(await descriptors(server.pid) > files + Object.keys(ATTACKS).length, "the attackers are connected");
    p99 = await chat(port);
  }
  assert(await eventually(async () => await descriptors(server.pid) <= files), "file descriptors are left");
  await chat(port);
  return { p99, kib: await residentKib(server.pid) };
}
