/**
 * The promise under fire: random clients send while connections are cut, data is delayed, the disk fails or is slow, and the
 * server is killed, or stopped under load, and started again. After it settles, nothing acked is lost, doubled, out of order, or
 * with somebody it is not for. Then clocks that step, and devices that come and go by the hundred.
 *
 * PARLEY_SEED repeats a run. PARLEY_FAULT=ack-early or no-dedupe breaks the server on purpose, to see the checker find it.
 */

import { assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { DatabaseSync } from "node:sqlite";
import type { ServerFrame } from "../protocol.ts";
import type { TransportName } from "../server/transport_choice.ts";
import { ChaosDevice } from "../testing/chaos_device.ts";
import { ChaosProxy } from "../testing/chaos_proxy.ts";
import { check, type DeviceHistory } from "../testing/history.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN } from "../testing/permissions.ts";
import { pick, seeded } from "../testing/random.ts";
import { ServerProcess } from "../testing/server_process.ts";
import { WsPeer } from "../testing/ws_peer.ts";

/** Rounds in a run, each ended by a kill or, every fourth, by a stop under load; and messages sent in each. */
const ROUNDS = 28;
const STOP_EVERY = 4;
/** Disks of the rounds, in turn. */
const DISKS = ["none", "failing-disk", "slow-disk", "none", "none"];
/** Milliseconds within which a server has to have stopped, whatever it was doing. */
const STOP_MS = 20_000;
const MESSAGES_PER_ROUND = 40;
/** Milliseconds that everything may take to settle after the last kill. */
const SETTLE_MS = 60_000;
const USERS = ["ann", "ben", "cat", "dan"];
const GROUPS = new Map([["#all", USERS], ["#few", ["ann", "ben"]]]);

const FAKETIME = faketime();

/** A server on `data` that may have a fault. */
function serve(
  data: string,
  fault: string,
  transport: TransportName = "deno",
  env: Record<string, string> = {},
): ServerProcess {
  const program = new URL("../testing/faulty_server.ts", import.meta.url).pathname;
  const permissions = ["--no-prompt", "--allow-net", "--allow-read", "--allow-write", "--allow-env"];
  return new ServerProcess(Deno.execPath(), ["run", ...permissions, program, data, fault, transport], env);
}

testOverTransports({
  name: "durability - what is acked survives cut connections, bad disks, kills and stops of the server, once and in order",
  ignore: !CAN_RUN,
  async fn(transport) {
    const seed = Number(Deno.env.get("PARLEY_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    const fault = Deno.env.get("PARLEY_FAULT");
    console.log(`seed ${seed}`);
    const random = seeded(seed);
    const data = await Deno.makeTempDir({ prefix: "durability-" });
    // Its own numbers: when data comes is not repeatable, but what is sent, and when the server is killed, is.
    await using proxy = new ChaosProxy(seeded(seed + 1));
    let server = serve(data, fault ?? "none", transport);
    proxy.upstream = await server.port;
    const devices = USERS.flatMap((user) => [
      new ChaosDevice(proxy.port, user, "laptop", true),
      new ChaosDevice(proxy.port, user, "phone", true),
      new ChaosDevice(proxy.port, user, "wscat", false),
    ]);
    try {
      await Promise.all(devices.map((device) => device.until(() => device.synced || !device.extended)));
      await makeGroups(devices);
      let sent = 0;
      const ackedAtKill: number[] = [];
      for (let round = 1; round <= ROUNDS; round++) {
        await Promise.all(pickSome(random, devices).map((device) => device.until(() => device.synced)));
        for (let i = 0; i < MESSAGES_PER_ROUND; i++) {
          const device = pick(random, devices);
          device.send(pick(random, targets(device.user)), `m${sent++}`);
          if (random() < 0.1) await new Promise((resolve) => setTimeout(resolve, random() * 10));
          if (random() < 0.05) proxy.cut(0.3);
        }
        if (round % STOP_EVERY > 0) await server.stop();
        else assertEquals(await deadline(server.stop("SIGTERM"), STOP_MS), 0, "a stop ends well");
        ackedAtKill.push(devices.reduce((sum, device) => sum + device.acked.size, 0));
        server = serve(data, fault ?? DISKS[round % DISKS.length]!, transport);
        proxy.upstream = await server.port;
      }
      console.log(`${sent} sent; acked at each kill: ${ackedAtKill.join(" ")}`);
      await deadline(settled(devices), SETTLE_MS).catch(() => console.log("not everything settled in time"));
    } finally {
      await Promise.all(devices.map((device) => device.close()));
      await server.stop();
    }
    const wrong = [...devices.flatMap((device) => device.refused), ...check(devices.map(counted), GROUPS), ...unacked(devices)];
    assertEquals(wrong, [], `seed ${seed}`);
    assertEquals(integrity(data), "ok");
    await Deno.remove(data, { recursive: true });
  },
});

/** Milliseconds for which a server is asked things, so that what it does at its start, and a moment later, is done. */
const LOOK_MS = 300;

Deno.test({
  name: "durability - a clock that steps, back and ahead, takes no message",
  ignore: !CAN_RUN || FAKETIME === undefined,
  async fn() {
    const data = await Deno.makeTempDir({ prefix: "durability-" });
    const sent: string[] = [];
    /** Runs a server under a clock that is off; alice writes to bob meanwhile. */
    const run = async (offset: string) => {
      await using server = serve(data, "none", "deno", {
        LD_PRELOAD: FAKETIME!,
        FAKETIME: offset,
        FAKETIME_DONT_FAKE_MONOTONIC: "1",
      });
      const url = `ws://127.0.0.1:${await server.port}/ws`;
      await using alice = await login(url, { name: "alice", device: "laptop" });
      if (sent.length === 0) await (await login(url, { name: "bob", device: "phone" }))[Symbol.asyncDispose]();
      const days = new Date(await sendOne(alice, "bob", `at ${offset}`)).getTime() - Date.now();
      assertEquals(Math.round(days / 86_400_000), parseInt(offset), "the clock is set");
      sent.push(`at ${offset}`);
      for (const end = performance.now() + LOOK_MS; performance.now() < end;) await sendOne(alice, "alice", "note");
      await server.stop("SIGTERM");
    };
    for (const offset of ["+0d", "-40d", "+0d", "+40d", "-400d", "+400d", "+0d"]) await run(offset);
    await using server = serve(data, "none");
    await using bob = await login(`ws://127.0.0.1:${await server.port}/ws`, { name: "bob", device: "phone" });
    const received = bob.before.flatMap((frame) => frame.type === undefined ? frame.content : []);
    assertEquals(received, sent);
    await server.stop();
    await Deno.remove(data, { recursive: true });
  },
});

/** Devices that come and go: more than two times those that are remembered. */
const VISITORS = 250;

Deno.test({
  name: "durability - a device that was away gets what waits for it, though hundreds of others came and went",
  ignore: !CAN_RUN,
  async fn() {
    const data = await Deno.makeTempDir({ prefix: "durability-" });
    let server = serve(data, "none");
    let url = `ws://127.0.0.1:${await server.port}/ws`;
    await (await login(url, { name: "bob", device: "phone" }))[Symbol.asyncDispose]();
    {
      await using alice = await login(url, { name: "alice", device: "laptop" });
      for (let n = 0; n < 5; n++) await sendOne(alice, "bob", String(n));
    }
    for (let visitors = 0; visitors < VISITORS; visitors += 25) {
      await Promise.all(Array.from({ length: 25 }, async () => {
        await using visitor = await login(url, { name: "bob" });
        visitor.send({ type: "ack", seq: visitor.head });
        visitor.send({ type: "ping", id: "acked" });
        await visitor.until(({ type }) => type === "pong");
      }));
    }
    await server.stop();
    server = serve(data, "none");
    url = `ws://127.0.0.1:${await server.port}/ws`;
    await using bob = await login(url, { name: "bob", device: "phone" });
    assertEquals(bob.before.flatMap((frame) => frame.type === undefined ? frame.content : []), ["0", "1", "2", "3", "4"]);
    await server.stop();
    await Deno.remove(data, { recursive: true });
  },
});

Deno.test({
  name: "durability - a device that was away gets what its user was due in a group that they left meanwhile, over a kill too",
  ignore: !CAN_RUN,
  async fn() {
    const data = await Deno.makeTempDir({ prefix: "durability-" });
    let server = serve(data, "none");
    let url = `ws://127.0.0.1:${await server.port}/ws`;
    let resume = {};
    {
      await using phone = await login(url, { name: "bob", device: "phone" });
      await using alice = await login(url, { name: "alice", device: "laptop" });
      await using laptop = await login(url, { name: "bob", device: "laptop" });
      const group = async (who: Login, op: string) => {
        who.send({ type: "group", op, group: "#g", id: op });
        await who.until((frame) => frame.type === "group" && frame.id === op);
      };
      await group(alice, "create");
      await group(laptop, "join");
      const welcome = phone.before.find((frame) => frame.type === "welcome")!;
      resume = { epoch: welcome.type === "welcome" ? welcome.epoch : "", seq: phone.head };
      await phone[Symbol.asyncDispose]();
      for (const content of ["1", "2", "3"]) await sendOne(alice, "#g", content);
      await group(laptop, "leave");
      await sendOne(alice, "#g", "not for bob");
    }
    await server.stop();
    server = serve(data, "none");
    url = `ws://127.0.0.1:${await server.port}/ws`;
    await using phone = await login(url, { name: "bob", device: "phone", resume });
    assertEquals(phone.before.flatMap((frame) => frame.type === undefined ? frame.content : []), ["1", "2", "3"]);
    assertEquals(phone.before.flatMap((frame) => frame.type === "welcome" ? frame.recovered : []), [true]);
    await server.stop();
    await Deno.remove(data, { recursive: true });
  },
});

/** Library of Debian's package `faketime`; undefined where it is not installed. */
function faketime(): string | undefined {
  const file = `/usr/lib/${Deno.build.arch}-linux-gnu/faketime/libfaketimeMT.so.1`;
  try {
    return Deno.statSync(file).isFile ? file : undefined;
  } catch {
    return undefined;
  }
}

/** A device of the extended level that has caught up. */
interface Login extends AsyncDisposable {
  /** Everything that came before `synced`. */
  readonly before: readonly ServerFrame[];
  /** Newest position of the log at the welcome. */
  readonly head: number;
  send(frame: object): void;
  /** Returns the next frame that is as wanted. */
  until(isWanted: (frame: ServerFrame) => boolean): Promise<ServerFrame>;
}

async function login(url: string, hello: object): Promise<Login> {
  const peer = await WsPeer.open(url);
  peer.send({ type: "hello", v: 1, ...hello });
  const before: ServerFrame[] = [];
  let head = 0;
  for (let frame = await peer.next(); frame.type !== "synced"; frame = await peer.next()) {
    if (frame.type === "welcome") head = frame.seq;
    before.push(frame);
  }
  return {
    before,
    head,
    send: (frame) => peer.send(frame),
    async until(isWanted) {
      for (;;) {
        const frame = await peer.next();
        if (isWanted(frame)) return frame;
      }
    },
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  };
}

/** Sends a message of alice's, waits for its ack, and returns the time that the server gave it. */
async function sendOne(from: Login, recipient: string, content: string): Promise<string> {
  const id = crypto.randomUUID();
  from.send({ sender: "alice", recipient, content, id });
  const ack = await from.until((frame) => frame.type === "ack" && frame.id === id);
  return ack.type === "ack" ? ack.ts : "";
}

/** About half of the devices of the extended level: who is back before the next round begins. */
function pickSome(random: () => number, devices: readonly ChaosDevice[]): ChaosDevice[] {
  return devices.filter(({ extended }) => random() < 0.5 && extended);
}

function targets(user: string): string[] {
  const groups = [...GROUPS].filter(([, members]) => members.includes(user)).map(([group]) => group);
  return [...USERS.filter((other) => other !== user), ...groups];
}

/** Everybody is in their groups before the first message. */
async function makeGroups(devices: readonly ChaosDevice[]): Promise<void> {
  for (const [group, members] of GROUPS) {
    for (const [index, user] of members.entries()) {
      const device = devices.find((device) => device.user === user && device.extended)!;
      const probe = `joined ${group} ${user}`;
      device.write({ type: "group", op: index === 0 ? "create" : "join", group });
      device.send(group, probe);
      await device.until(() => device.acked.has(probe));
    }
  }
}

/** Messages from before everybody was in their groups are not part of the test. */
function counted(device: ChaosDevice): DeviceHistory {
  const counts = (id: string) => !/^joined /.test(id);
  const { user, extended } = device;
  return {
    user,
    device: device.device,
    extended,
    sent: new Map([...device.sent].filter(([id]) => counts(id))),
    acked: new Map([...device.acked].filter(([id]) => counts(id))),
    received: device.received.filter(({ content }) => counts(content)),
  };
}

/** Everything is acked, and every device of the extended level has read a last message from another device of its user. */
async function settled(devices: readonly ChaosDevice[]): Promise<void> {
  await Promise.all(devices.map((device) => device.until(() => device.pending === 0)));
  for (const device of devices) if (device.extended) device.send(device.user, `last of ${device.user}/${device.device}`);
  await Promise.all(
    devices.filter((device) => device.extended).map((device) => {
      const others = devices.filter((other) => other.user === device.user && other !== device && other.extended);
      const last = others.map((other) => `last of ${other.user}/${other.device}`);
      return device.until(() =>
        device.pending === 0 && last.every((id) => device.received.some((message) => message.id === id))
      );
    }),
  );
}

function unacked(devices: readonly ChaosDevice[]): string[] {
  return devices.filter((device) => device.pending > 0).map((device) =>
    `${device.user}/${device.device}: ${device.pending} never acked`
  );
}

function integrity(data: string): unknown {
  const [file] = [...Deno.readDirSync(data)].filter((entry) => /\.(db|sqlite3?)$/.test(entry.name));
  const database = new DatabaseSync(`${data}/${file!.name}`);
  try {
    return database.prepare("PRAGMA integrity_check").get()?.integrity_check;
  } finally {
    database.close();
  }
}
