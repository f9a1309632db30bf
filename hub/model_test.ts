/**
 * Several users with several devices, who come, go, write, join and leave at random, checked against a model of what each device
 * is due: `synced`, `recovered`, order, strangers and presence. PARLEY_SEED repeats a run.
 */

import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { setImmediate } from "node:timers";
import { MemoryBroker } from "../broker/memory.ts";
import { Hub } from "../hub.ts";
import type { ServerFrame } from "../protocol.ts";
import { Device } from "../testing/hub_devices.ts";
import { lacks } from "../testing/permissions.ts";

const RUNS = 60;
const STEPS = 80;
const USERS = ["ann", "ben", "cat"], DEVICES = ["laptop", "phone"], GROUPS = ["#g", "#h"];

/** A message of the model: who is due it, and which device sent it. */
interface Sent {
  readonly content: string;
  readonly seq: number;
  readonly users: ReadonlySet<string>;
  readonly author: Client;
}

/** Something that happens: `a` to `c` choose whom and what it concerns. */
const step = fc.record({
  op: fc.constantFrom(
    "come",
    "come",
    "go",
    "break",
    "send",
    "send",
    "send",
    "ack",
    "create",
    "join",
    "leave",
    "invite",
    "remove",
    "away",
  ),
  a: fc.nat(5),
  b: fc.nat(5),
  c: fc.nat(5),
});

/** One device with what its application keeps over connections. */
class Client {
  connection: Device | undefined;
  isAway = false;
  /** Contents that it has. */
  readonly kept = new Set<string>();
  /** The position to resume at; undefined before the first connection. */
  position: { epoch: string; seq: number } | undefined;
  /** It is due what comes after this. */
  start = 0;
  /** Statuses that it was told, by user. */
  readonly told = new Map<string, string>();
  #read = 0;
  #lastSeq = 0;

  constructor(readonly user: string, readonly device: string) {}

  get label(): string {
    return `${this.user}/${this.device}`;
  }

  /** Connects, and resumes unless this is the first time or it has lost its position. */
  come(hub: Hub, resumes: boolean): void {
    this.connection = new Device(hub, this.user);
    this.#read = this.#lastSeq = 0;
    this.isAway = false;
    this.told.clear();
    const resume = resumes && this.position ? { resume: this.position } : {};
    this.connection.say({ type: "hello", v: 1, device: this.device, ...resume });
    this.connection.say({ type: "watch", users: USERS });
  }

  /** Ends the connection. */
  go(clean: boolean): void {
    this.connection?.peer.gone(clean);
    this.connection = undefined;
  }

  /** Takes what has come since the last time. */
  take(sent: ReadonlyMap<string, Sent>): void {
    const frames = this.connection?.frames ?? [];
    for (const frame of frames.slice(this.#read)) this.#take(frame, sent);
    this.#read = frames.length;
  }

  #take(frame: ServerFrame, sent: ReadonlyMap<string, Sent>): void {
    if (frame.type === "presence") this.told.set(frame.user, frame.status);
    if (frame.type === "welcome") {
      if (this.position === undefined || !frame.recovered) this.start = frame.seq;
      this.position = { epoch: frame.epoch, seq: Math.min(this.position?.seq ?? frame.seq, frame.seq) };
    }
    if (frame.type === "synced") this.position = { ...this.position!, seq: Math.max(this.position!.seq, frame.seq) };
    if (frame.type !== undefined) return;
    const message = sent.get(frame.content);
    if (message) assert(message.users.has(this.user), `${this.label} is a stranger to ${frame.content}`);
    assert(frame.seq! > this.#lastSeq, `${this.label} got ${frame.content} late or twice`);
    this.#lastSeq = frame.seq!;
    this.kept.add(frame.content);
    this.position = { ...this.position!, seq: Math.max(this.position!.seq, frame.seq!) };
  }

  /** Confirms everything that it has. */
  ack(): void {
    if (this.position) this.connection?.say({ type: "ack", seq: this.position.seq });
  }
}

/** The hub with its clients, and what should be. */
class World {
  readonly hub = new Hub({ broker: new MemoryBroker(), defer: setImmediate, presenceGraceMs: 0, confirmIntervalMs: 0 });
  readonly clients = USERS.flatMap((user) => DEVICES.map((device) => new Client(user, device)));
  readonly #sent = new Map<string, Sent>();
  readonly #members = new Map<string, Set<string>>();
  #next = 0;

  /** Lets everything that is due happen. */
  async settle(): Promise<void> {
    for (let i = 0; i < 4; i++) await new Promise<void>((resolve) => setImmediate(() => resolve()));
    await new Promise((resolve) => setTimeout(resolve, 0)); // the grace of presence
    await new Promise<void>((resolve) => setImmediate(() => resolve()));
    for (const client of this.clients) client.take(this.#sent);
  }

  /** Does one step, and settles. */
  async run({ op, a, b, c }: { op: string; a: number; b: number; c: number }): Promise<void> {
    const client = this.clients[a % this.clients.length]!;
    const group = GROUPS[b % GROUPS.length]!, target = USERS[c % USERS.length]!;
    if (op === "come" && !client.connection) client.come(this.hub, b > 0);
    else if (!client.connection) return;
    else if (op === "go" || op === "break") client.go(op === "go");
    else if (op === "ack") client.ack();
    else if (op === "away") {
      client.isAway = !client.isAway;
      client.connection.say({ type: "presence", status: client.isAway ? "away" : "online" });
    } else if (op === "send") await this.#send(client, b < 3 ? target : group);
    else if (op !== "come") await this.#group(client, op, group, target);
    await this.settle();
  }

  async #send(client: Client, recipient: string): Promise<void> {
    const content = `m${++this.#next}`, connection = client.connection!;
    const users = recipient.startsWith("#") ? new Set(this.#members.get(recipient)) : new Set([client.user, recipient]);
    connection.tell(recipient, content, content);
    await this.#until(() => connection.frames.some((frame) => "id" in frame && frame.id === content));
    const answer = connection.frames.find((frame) => "id" in frame && frame.id === content)!;
    if (answer.type !== "ack") return assert(answer.type === "error", `${content} is answered`);
    assert(users.has(client.user), `${client.label} writes to ${recipient}`);
    this.#sent.set(content, { content, seq: answer.seq, users, author: client });
  }

  async #group(client: Client, op: string, group: string, user: string): Promise<void> {
    const id = `g${++this.#next}`, connection = client.connection!;
    connection.say({ type: "group", op, group, user, id });
    await this.#until(() => connection.frames.some((frame) => "id" in frame && frame.id === id));
    const answer = connection.frames.find((frame) => "id" in frame && frame.id === id)!;
    if (answer.type !== "group") return;
    if (op === "create") this.#members.set(group, new Set([client.user]));
    const members = this.#members.get(group)!;
    if (op === "join") members.add(client.user);
    if (op === "leave") members.delete(client.user);
    if (op === "invite") members.add(user);
    if (op === "remove") members.delete(user);
    if (members.size === 0) this.#members.delete(group);
  }

  async #until(condition: () => boolean): Promise<void> {
    for (let turns = 0; !condition(); turns++) {
      assert(turns < 100, "there was no answer");
      await new Promise<void>((resolve) => setImmediate(() => resolve()));
    }
  }

  /** Checks what everybody who is connected has and was told. */
  check(): void {
    for (const client of this.clients) {
      if (!client.connection) continue;
      assertEquals(client.connection.closed, undefined, client.label);
      assert(client.connection.frames.some(({ type }) => type === "synced"), `${client.label} is synced`);
      for (const { content, seq, users, author } of this.#sent.values()) {
        const isDue = seq > client.start && users.has(client.user) && author !== client;
        if (isDue) assert(client.kept.has(content), `${client.label} misses ${content}`);
      }
      for (const user of USERS) assertEquals(client.told.get(user), this.#status(user), `${client.label} about ${user}`);
    }
  }

  #status(user: string): string {
    const here = this.clients.filter((client) => client.user === user && client.connection);
    return here.length === 0 ? "offline" : here.some(({ isAway }) => !isAway) ? "online" : "away";
  }
}

Deno.test("Hub gives every device what it is due, in order and once, whoever comes, goes, joins and leaves", async () => {
  const seed = lacks("env") ? undefined : Deno.env.get("PARLEY_SEED");
  const run = async (steps: readonly { op: string; a: number; b: number; c: number }[]) => {
    const world = new World();
    // Everybody is known, and has been there once.
    for (const client of world.clients) client.come(world.hub, false);
    await world.settle();
    for (const one of steps) {
      await world.run(one);
      world.check();
    }
    for (const client of world.clients) client.go(true);
    await world.settle();
    assertEquals(world.hub.counts, { users: 0, sessions: 0, presence: 0 });
  };
  await fc.assert(fc.asyncProperty(fc.array(step, { minLength: STEPS, maxLength: STEPS, size: "max" }), run), {
    numRuns: RUNS,
    ...seed === undefined ? {} : { seed: Number(seed) },
  });
});
