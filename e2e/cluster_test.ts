/**
 * Many nodes on one PostgreSQL, as real processes: what looks at one process works over all of them, and what is acked survives
 * whatever happens to nodes and to PostgreSQL. With controls: the same checker finds the messages that are skipped where the
 * horizon is taken away.
 *
 * PARLEY_SEED repeats a run.
 */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import type { Message, ServerFrame } from "../protocol.ts";
import { ChaosDevice } from "../testing/chaos_device.ts";
import { ChaosProxy } from "../testing/chaos_proxy.ts";
import { check, type DeviceHistory } from "../testing/history.ts";
import { LACKS_POSTGRES, PostgresServer } from "../testing/postgres.ts";
import { fromSource, RunningServer, runToEnd } from "../testing/process.ts";
import { pick, seeded } from "../testing/random.ts";
import { WsPeer } from "../testing/ws_peer.ts";

const ignore = LACKS_POSTGRES;
/** Faults of the long run, and messages between two of them. */
const FAULTS = 30, MESSAGES = 25;
/** Milliseconds that everything may take to settle after the last fault. */
const SETTLE_MS = 60_000;
/** The same where nothing fails, and where something never comes. */
const SETTLE_CONTROL_MS = 10_000;
/** Options of a node that no load of a test meets. */
const UNLIMITED = [
  "--rate",
  "0",
  "--max-upgrades-per-second",
  "0",
  "--max-connections-per-address",
  "0",
  "--max-refusals",
  "0",
];
const USERS = ["ann", "ben", "cat", "dan"];
const GROUPS = new Map([["#all", USERS], ["#few", ["ann", "ben"]]]);
/** A group that `dan` keeps leaving and joining. */
const LOOSE = "#loose";

function start(url: string, name: string, more: readonly string[] = []): Promise<RunningServer> {
  return RunningServer.start(fromSource("server"), ["--quiet", "--postgres", url, "--node", name, ...UNLIMITED, ...more]);
}

function portOf({ url }: RunningServer): number {
  return Number(new URL(url).port);
}

async function hello(server: RunningServer, name: string, device: string, token?: string): Promise<WsPeer> {
  const peer = await WsPeer.open(server.url, token ? ["parley", `bearer.${token}`] : []);
  peer.send({ type: "hello", v: 1, ...token ? {} : { name }, device });
  await frame(peer, "welcome");
  return peer;
}

async function frame<T extends ServerFrame["type"]>(
  peer: WsPeer,
  type: T,
  fits: (frame: Extract<ServerFrame, { type: T }>) => boolean = () => true,
): Promise<Extract<ServerFrame, { type: T }>> {
  for (;;) {
    const next = await peer.next() as Extract<ServerFrame, { type: T }>;
    if (next.type === type && fits(next)) return next;
  }
}

// ---- What looks at one process ------------------------------------------------------------------------------------------------

Deno.test({
  name: "cluster - a device that connects elsewhere is replaced, and devices, messages and signals are one over all nodes",
  ignore,
  async fn() {
    await using postgres = new PostgresServer();
    await using one = await start(postgres.url(), "one", ["--max-devices", "2"]);
    await using two = await start(postgres.url(), "two", ["--max-devices", "2"]);
    await using first = await hello(one, "ann", "laptop");
    await using second = await hello(two, "ann", "laptop");
    assertEquals((await first.closed).code, 4009);
    await using phone = await hello(one, "ann", "phone");
    const third = await WsPeer.open(two.url);
    third.send({ type: "hello", v: 1, name: "ann", device: "tablet" });
    assertEquals((await third.closed).reason, '"ann" has too many devices connected');

    await using ben = await hello(two, "ben", "laptop");
    phone.send({ sender: "ann", recipient: "ben", content: "hi", id: "1" });
    const message = await frame(ben, undefined) as Message;
    assertEquals(message.content, "hi");
    assertEquals((await frame(phone, "ack")).seq, message.seq);
    ben.send({ type: "receipt", kind: "read", with: "ann", seq: message.seq });
    assertEquals((await frame(phone, "receipt", ({ kind }) => kind === "read")).user, "ben");
    ben.send({ type: "typing", recipient: "ann" });
    assertEquals((await frame(phone, "typing")).sender, "ben");
    assertEquals((await frame(second, "typing")).sender, "ben");
  },
});

Deno.test({
  name: "cluster - watchers hear of users on other nodes; those of a node that dies are offline within 20 seconds",
  ignore,
  async fn() {
    await using postgres = new PostgresServer();
    await using one = await start(postgres.url(), "one");
    await using two = await start(postgres.url(), "two");
    await using ann = await hello(one, "ann", "laptop");
    ann.send({ type: "watch", users: ["ben", "cat"] });
    const ben = await hello(two, "ben", "laptop");
    await frame(ann, "presence", ({ user, status }) => user === "ben" && status === "online");
    ben.send({ type: "presence", status: "away" });
    await frame(ann, "presence", ({ user, status }) => user === "ben" && status === "away");
    await using cat = await hello(two, "cat", "laptop");
    await frame(ann, "presence", ({ user, status }) => user === "cat" && status === "online");
    await ben[Symbol.asyncDispose]();
    const gone = await frame(ann, "presence", ({ user, status }) => user === "ben" && status === "offline");
    assert(gone.last_seen !== undefined);
    // The other node has to have lived long enough to be sure that a silence is not its own.
    await delay(17_000);
    const died = Date.now();
    two.kill("SIGKILL");
    const lost = await frame(ann, "presence", ({ user, status }) => user === "cat" && status === "offline");
    assert(Date.now() - died < 20_000, `${Date.now() - died} ms`);
    assert(Math.abs(new Date(lost.last_seen!).getTime() - died) < 5_000, "seen last when its node was");
    await cat.closed;
  },
});

Deno.test({
  name: "cluster - administrators list and disconnect users of all nodes, and who is revoked on one has no socket on any",
  ignore,
  async fn() {
    await using postgres = new PostgresServer();
    const dir = await Deno.makeTempDir();
    const [secret, revoked] = [`${dir}/secret`, `${dir}/revoked`];
    await Deno.writeTextFile(secret, "a secret of more than thirty-two bytes, for tests alone");
    await Deno.writeTextFile(revoked, "");
    const token = async (name: string, ...more: string[]) =>
      (await runToEnd(fromSource("server"), ["token", "--name", name, "--jwt-secret-file", secret, ...more])).out.trim();
    await using one = await start(postgres.url(), "one", ["--jwt-secret-file", secret, "--revoked", revoked]);
    await using two = await start(postgres.url(), "two", ["--jwt-secret-file", secret]);
    await using root = await hello(one, "root", "laptop", await token("root", "--admin"));
    await using ann = await hello(two, "ann", "laptop", await token("ann"));
    await using ben = await hello(two, "ben", "laptop", await token("ben"));
    root.send({ type: "admin", op: "list" });
    const { users } = await frame(root, "admin");
    assertEquals(users!.map(({ user }) => user).sort(), ["ann", "ben", "root"]);
    root.send({ type: "admin", op: "disconnect", user: "ann" });
    assertEquals((await frame(root, "admin")).closed, 1);
    assertEquals((await ann.closed).code, 4003);
    const begun = performance.now();
    await Deno.writeTextFile(revoked, "ben\n");
    assertEquals((await ben.closed).code, 4003);
    assert(performance.now() - begun < 2_500, `${performance.now() - begun} ms`);
    const again = new WebSocket(two.url, ["parley", `bearer.${await token("ben")}`]);
    await new Promise<void>((resolve) => again.onclose = () => resolve());
    await Deno.remove(dir, { recursive: true });
  },
});

// ---- The promise under fire ---------------------------------------------------------------------------------------------------

/** Three nodes and what they stand on. */
class Cluster implements AsyncDisposable {
  readonly postgres: PostgresServer[];
  readonly nodes: RunningServer[] = [];
  readonly proxy: ChaosProxy;
  readonly #random: () => number;
  #names = 0;

  constructor(random: () => number, postgres: PostgresServer[]) {
    this.#random = random;
    this.postgres = postgres;
    this.proxy = new ChaosProxy(seeded(random() * 2 ** 32));
    // Whoever comes back comes back to another node, often one that is not there.
    this.proxy.upstream = () => this.nodes.length === 0 ? 0 : portOf(pick(random, this.nodes));
  }

  get url(): string {
    return `postgres://postgres@${this.postgres.map(({ port }) => `127.0.0.1:${port}`).join(",")}/postgres`;
  }

  async open(): Promise<void> {
    this.nodes.push(...await Promise.all([1, 2, 3].map(() => start(this.url, `n${++this.#names}`))));
  }

  /** One thing that goes wrong, and is mended. */
  async fault(): Promise<string> {
    const chance = this.#random(), index = Math.floor(this.#random() * this.nodes.length), node = this.nodes[index]!;
    const primary = this.postgres[0]!, pause = () => delay(300 + 1_200 * this.#random());
    if (chance < 0.35) {
      await node[Symbol.asyncDispose]();
      this.nodes[index] = await start(this.url, `n${++this.#names}`);
      return "node killed";
    }
    if (chance < 0.55) {
      node.kill("SIGSTOP");
      await pause();
      node.kill("SIGCONT");
      return "node stopped";
    }
    if (chance < 0.65) {
      primary.signalAll("SIGSTOP");
      await pause();
      primary.signalAll("SIGCONT");
      return "PostgreSQL stopped";
    }
    if (chance < 0.8) {
      await primary.crash();
      primary.start();
      return "PostgreSQL killed";
    }
    this.proxy.cut(0.7);
    return "connections cut";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.proxy[Symbol.asyncDispose]();
    for (const node of this.nodes) await node[Symbol.asyncDispose]();
  }
}

/** Lets devices send and read while things go wrong; returns everything that is wrong. */
async function run(
  cluster: Cluster,
  random: () => number,
  faults: number,
  pick_ = () => cluster.fault(),
  settleMs = SETTLE_MS,
): Promise<string[]> {
  await cluster.open();
  const devices = USERS.flatMap((user) => [
    new ChaosDevice(cluster.proxy.port, user, "laptop", true),
    new ChaosDevice(cluster.proxy.port, user, "phone", true),
  ]);
  let sent = 0;
  const happened: Record<string, number> = {};
  try {
    await Promise.all(devices.map((device) => device.until(() => device.synced)));
    await makeGroups(devices);
    const [dan] = devices.filter(({ user }) => user === "dan");
    for (let fault = 0; fault < faults; fault++) {
      const failing = pick_();
      failing.catch(() => {}); // awaited below
      for (let i = 0; i < MESSAGES; i++) {
        const device = pick(random, devices);
        device.send(pick(random, [...targets(device.user), LOOSE]), `m${sent++}`);
        if (random() < 0.2) dan!.write({ type: "group", op: random() < 0.5 ? "leave" : "join", group: LOOSE });
        if (random() < 0.3) await delay(random() * 20);
      }
      const what = await failing; // one after the other
      happened[what] = (happened[what] ?? 0) + 1;
    }
    dan!.write({ type: "group", op: "join", group: LOOSE });
    await deadline(settled(devices), settleMs).catch(() => console.log("not everything settled in time"));
  } finally {
    await Promise.all(devices.map((device) => device.close()));
  }
  const acked = devices.reduce((sum, device) => sum + device.acked.size, 0);
  console.log(`${sent} sent, ${acked} acked; ${JSON.stringify(happened)}`);
  // Those who are not in the loose group are refused there.
  const refused = devices.flatMap((device) => device.refused).filter((words) => !/not_member|forbidden/.test(words));
  return [...refused, ...check(devices.map(counted), GROUPS), ...strangers(cluster, devices)];
}

function targets(user: string): string[] {
  return [
    ...USERS.filter((other) => other !== user),
    ...[...GROUPS].filter(([, members]) => members.includes(user)).map(([name]) => name),
  ];
}

async function makeGroups(devices: readonly ChaosDevice[]): Promise<void> {
  for (const [group, members] of [...GROUPS, [LOOSE, USERS] as const]) {
    for (const [index, user] of members.entries()) {
      const device = devices.find((device) => device.user === user)!, probe = `joined ${group} ${user}`;
      device.write({ type: "group", op: index === 0 ? "create" : "join", group });
      device.send(group, probe);
      await device.until(() => device.acked.has(probe));
    }
  }
}

/** Messages from before everybody was in their groups, and to the loose one, are checked apart. */
function counted(device: ChaosDevice): DeviceHistory {
  const counts = (message: Message | undefined) =>
    message !== undefined && message.recipient !== LOOSE && !/^joined /.test(message.content);
  const { user, extended } = device;
  return {
    user,
    device: device.device,
    extended,
    sent: new Map([...device.sent].filter(([, message]) => counts(message))),
    acked: new Map([...device.acked].filter(([id]) => counts(device.sent.get(id)))),
    received: device.received.filter(counts),
  };
}

/** Messages of the loose group from, or to, somebody who was not in it at their position. */
function strangers({ postgres }: Cluster, devices: readonly ChaosDevice[]): string[] {
  const rows = postgres[0]!.query(`SELECT u.name, c.seq, c.enters FROM parley.changes c JOIN parley.users u ON u.id = c.usr
    JOIN parley.threads t ON t.id = c.thread WHERE t.name = '${LOOSE}' ORDER BY c.seq`).split("\n").map((row) =>
    row.split("|")
  );
  const isIn = (user: string, seq: number) => rows.findLast(([name, at]) => name === user && Number(at) < seq)?.[2] === "t";
  return devices.flatMap((device) =>
    device.received.filter(({ recipient }) => recipient === LOOSE).flatMap(({ sender, seq, content }) => [
      ...isIn(device.user, seq!) ? [] : [`${device.user}/${device.device} read ${content} of a group that it was not in`],
      ...isIn(sender, seq!) ? [] : [`${content} is of ${sender}, who was not in the group`],
    ])
  );
}

/** Everything is acked or refused, and every device has read a last message from another device of its user. */
async function settled(devices: readonly ChaosDevice[]): Promise<void> {
  const isDone = (device: ChaosDevice) =>
    [...device.sent].every(([id, { recipient }]) => device.acked.has(id) || (recipient === LOOSE && device.user === "dan"));
  await Promise.all(devices.map((device) => device.until(() => isDone(device))));
  for (const device of devices) device.send(device.user, `last of ${device.user}/${device.device}`);
  await Promise.all(devices.map((device) => {
    const last = devices.filter((other) => other.user === device.user && other !== device)
      .map((other) => `last of ${other.user}/${other.device}`);
    return device.until(() => isDone(device) && last.every((id) => device.received.some((message) => message.id === id)));
  }));
}

function newSeed(): number {
  const seed = Number(Deno.env.get("PARLEY_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  console.log(`seed ${seed}`);
  return seed;
}

/** Commits take as long as with a standby in another zone, so that appends of the nodes overlap. */
const SLOW = ["commit_delay = 5000", "commit_siblings = 0"];

Deno.test({
  name:
    `cluster - what is acked survives ${FAULTS} faults of nodes, connections and PostgreSQL, once, in order and for nobody else`,
  ignore,
  async fn() {
    const seed = newSeed(), random = seeded(seed);
    await using postgres = new PostgresServer({ settings: SLOW });
    await using cluster = new Cluster(random, [postgres]);
    assertEquals(await run(cluster, random, FAULTS), [], `seed ${seed}`);
  },
});

Deno.test({
  name: "cluster - nothing acked is lost when the primary is killed and its synchronous standby promoted",
  ignore,
  async fn() {
    const seed = newSeed(), random = seeded(seed);
    await using primary = new PostgresServer();
    await using standby = new PostgresServer({ standbyOf: primary });
    primary.set("synchronous_standby_names = '*'");
    await using cluster = new Cluster(random, [primary, standby]);
    let faults = 0;
    const wrong = await run(cluster, random, 6, async () => {
      if (++faults !== 3) return await delay(500).then(() => "nothing");
      await primary.crash();
      standby.promote();
      standby.set("synchronous_standby_names = ''");
      cluster.postgres.reverse();
      return "standby promoted";
    });
    assertEquals(wrong, [], `seed ${seed}`);
  },
});

Deno.test({
  name: "cluster - an upgrade of one node after the other loses nothing, old and new beside each other under load",
  ignore,
  async fn() {
    const seed = newSeed(), random = seeded(seed);
    await using postgres = new PostgresServer();
    await using cluster = new Cluster(random, [postgres]);
    const program = new URL("../testing/newer_server.ts", import.meta.url).pathname;
    const newer = { command: Deno.execPath(), args: ["run", "--quiet", "-A", program] };
    let next = 0;
    const wrong = await run(cluster, random, 3, async () => {
      const old = cluster.nodes[next]!;
      old.kill("SIGTERM");
      assertEquals(await old.code(), 0);
      await old[Symbol.asyncDispose]();
      cluster.nodes[next] = await RunningServer.start({ ...newer, args: [...newer.args, postgres.url(), `new-${next++}`] });
      return "node upgraded";
    });
    assertEquals(wrong, [], `seed ${seed}`);
    assertEquals(postgres.query("SELECT value FROM parley.meta WHERE key = 'version'"), "2");
    await using back = await start(postgres.url(), "back"); // an old one still may
    assert(back.url !== "");
  },
});

Deno.test({
  name:
    "cluster - the checker finds the messages that are skipped where the horizon is taken away: the control of the long run",
  ignore,
  async fn() {
    const seed = newSeed(), random = seeded(seed);
    await using postgres = new PostgresServer({ settings: SLOW });
    await using cluster = new Cluster(random, [postgres]);
    await using node = await start(postgres.url(), "first"); // makes the schema
    postgres.query(`SET search_path = parley; CREATE OR REPLACE FUNCTION horizon() RETURNS bigint LANGUAGE sql AS
      $$ SELECT last_value FROM log_seq $$`);
    // Many appends at once, and no settling: what is skipped never comes.
    const wrong = await run(cluster, random, 8, () => delay(400).then(() => "nothing"), SETTLE_CONTROL_MS);
    assert(wrong.some((words) => words.includes("never read")), `seed ${seed}: ${wrong.join("\n")}`);
    assert(node.url !== "");
  },
});
