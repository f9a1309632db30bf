/**
 * Fifty good devices that chat beside a thousand misbehaving connections of eleven kinds. The attackers run in a process of their
 * own, the server in another: `counted_server.ts`, on SQLite.
 */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { openSqliteBroker } from "../broker/sqlite.ts";
import type { TransportName } from "../server/transport_choice.ts";
import { ATTACKS, INSIDER, INSIDER_GROUPS } from "./attackers.ts";
import { ServerProcess } from "./server_process.ts";

const GOOD = 50;
const BAD_PER_KIND = 100;
/** Messages of each good device, each at its own time, slower than the rate that everybody may have. */
const MESSAGES = 30;
const PACE_MS = 220;
/** Milliseconds in which everything that the good ones sent has come, on however busy a machine: some hundred times what it takes. */
const ARRIVED_MS = 60_000;
/**
 * Milliseconds that the server may take to let go of what the attackers held, on however busy a machine: it gives a peer that does
 * not read 30 seconds, in which Deno's sockets keep what is to be written.
 */
const RECOVERY_MS = 120_000;
/** Milliseconds between two looks at that. */
const LOOK_MS = 500;

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

/** The attackers at work, until it is disposed of. */
class Attackers implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;

  private constructor(child: Deno.ChildProcess) {
    this.#child = child;
  }

  static async start(port: number): Promise<Attackers> {
    const program = new URL("./attackers.ts", import.meta.url).pathname;
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

/** A well-behaved device; it knows when each message came to it. It is closed by nobody but itself, and told nothing but messages. */
class Good {
  readonly #socket: WebSocket;
  readonly #expected: number;
  readonly #done = Promise.withResolvers<void>();
  readonly received = new Map<string, number>();
  readonly open: Promise<void>;

  constructor(port: number, readonly name: string, expected: number) {
    this.#socket = new WebSocket(`ws://127.0.0.1:${port}/ws?name=${name}`);
    this.#expected = expected;
    this.#done.promise.catch(() => {});
    this.open = new Promise((resolve) => this.#socket.onopen = () => resolve());
    this.#socket.onmessage = ({ data }) => this.#take(JSON.parse(data).content, data);
    this.#socket.onclose = ({ code }) => this.#done.reject(new Error(`${this.name} was closed with ${code}`));
  }

  #take(content: unknown, frame: string): void {
    const previous = [...this.received.keys()].at(-1);
    if (typeof content !== "string") this.#done.reject(new Error(`${this.name} was told ${frame}`));
    else if (previous !== undefined && Number(content) <= Number(previous)) {
      this.#done.reject(new Error(`${this.name} got ${content} after ${previous}`));
    } else {
      this.received.set(content, performance.now());
      if (this.received.size === this.#expected) this.#done.resolve();
    }
  }

  /** Resolves when everything has come; rejects where something else did, or where the connection was closed. */
  complete(): Promise<void> {
    return this.#done.promise;
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

/** Holdings of the server: entries by the name of their map, and bytes. */
export interface Held {
  readonly entries: Record<string, number>;
  readonly heap: number;
}

/** Milliseconds from the moments at which messages were due to those at which they came, ascending. */
export type Latencies = readonly number[];

/** The server, good devices and attackers. */
export class Siege implements AsyncDisposable {
  readonly #dir: string;
  readonly #server: ServerProcess;

  private constructor(dir: string, server: ServerProcess) {
    this.#dir = dir;
    this.#server = server;
  }

  /** Starts a server over `transport`, whose code is warm. */
  static async start(transport: TransportName): Promise<Siege> {
    const dir = await Deno.makeTempDir({ prefix: "siege-" });
    await prepare(dir);
    const program = new URL("./counted_server.ts", import.meta.url).pathname;
    const server = new ServerProcess(Deno.execPath(), ["run", "--v8-flags=--expose-gc", "-A", program, dir, transport]);
    const siege = new Siege(dir, server);
    await siege.chat();
    return siege;
  }

  get pid(): number {
    return this.#server.pid;
  }

  /** Everybody writes to the next one. Rejects where a message is lost, doubled or out of order, or a connection closed. */
  async chat(): Promise<Latencies> {
    const port = await this.#server.port;
    const good = Array.from({ length: GOOD }, (_, i) => new Good(port, `good${i}`, MESSAGES));
    await Promise.all(good.map(({ open }) => open));
    const due: number[] = [];
    const start = performance.now();
    for (let n = 0; n < MESSAGES * GOOD; n++) {
      const at = start + n * PACE_MS / GOOD, sender = n % GOOD;
      if (at > performance.now()) await new Promise((resolve) => setTimeout(resolve, at - performance.now()));
      due.push(at);
      good[sender]!.send(`good${(sender + 1) % GOOD}`, String(n));
    }
    await deadline(Promise.all(good.map((device) => device.complete())), ARRIVED_MS);
    const latencies = good.flatMap(({ received }) => [...received].map(([content, at]) => at - due[Number(content)]!));
    assertEquals(latencies.length, GOOD * MESSAGES);
    await Promise.all(good.map((device) => device.close()));
    return latencies.sort((a, b) => a - b);
  }

  /** The good ones chat while the attackers are at it; these are gone when it resolves. */
  async chatBesieged(): Promise<Latencies> {
    await using _attackers = await Attackers.start(await this.#server.port);
    const { connections } = (await this.#ask()).counts;
    assert(connections! > Object.keys(ATTACKS).length, "the attackers are connected");
    return await this.chat();
  }

  /** Entries of the server's maps and its file descriptors; bytes on its heap that are no garbage, and of its buffers. */
  async held(): Promise<Held> {
    const { counts, heap } = await this.#ask();
    const descriptors = (await Array.fromAsync(Deno.readDir(`/proc/${this.pid}/fd`))).length;
    return { entries: { ...counts, descriptors }, heap };
  }

  /** Waits until `ok` is true of what the server holds, for a while; what it holds at the end. */
  async settled(ok: (held: Held) => boolean): Promise<Held> {
    const end = performance.now() + RECOVERY_MS;
    for (;;) {
      const held = await this.held();
      if (ok(held) || performance.now() > end) return held;
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
    }
  }

  /** Ends the server as an operator does; its exit status. */
  async stop(): Promise<number> {
    return await this.#server.stop("SIGTERM");
  }

  async #ask(): Promise<{ readonly counts: Record<string, number>; readonly heap: number }> {
    return JSON.parse(await this.#server.ask("SIGUSR2"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server[Symbol.asyncDispose]();
    await Deno.remove(this.#dir, { recursive: true });
  }
}
