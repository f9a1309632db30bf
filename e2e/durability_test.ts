/**
 * The promise under fire: random clients send while connections are cut, data is delayed and the server is killed with SIGKILL
 * and started again. After it settles, nothing acked is lost, doubled, out of order, or with somebody it is not for.
 *
 * PARLEY_SEED repeats a run. PARLEY_FAULT=ack-early or no-dedupe breaks the server on purpose, to see the checker find it.
 */

import { assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { DatabaseSync } from "node:sqlite";
import type { TransportName } from "../server/transport_choice.ts";
import { ChaosDevice } from "../testing/chaos_device.ts";
import { ChaosProxy } from "../testing/chaos_proxy.ts";
import { check, type DeviceHistory } from "../testing/history.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN } from "../testing/permissions.ts";
import { pick, seeded } from "../testing/random.ts";
import { ServerProcess } from "../testing/server_process.ts";

/** Kills in a run, and messages sent between two of them. */
const KILLS = 20;
const MESSAGES_PER_ROUND = 40;
/** Milliseconds that everything may take to settle after the last kill. */
const SETTLE_MS = 60_000;
const USERS = ["ann", "ben", "cat", "dan"];
const GROUPS = new Map([["#all", USERS], ["#few", ["ann", "ben"]]]);

/** A server on `data` that may have a fault. */
function serve(data: string, fault: string, transport: TransportName): ServerProcess {
  const program = new URL("../testing/faulty_server.ts", import.meta.url).pathname;
  const permissions = ["--no-prompt", "--allow-net", "--allow-read", "--allow-write", "--allow-env"];
  return new ServerProcess(Deno.execPath(), ["run", ...permissions, program, data, fault, transport]);
}

testOverTransports({
  name: "durability - what is acked survives cut connections and 20 kills of the server, once and in order",
  ignore: !CAN_RUN,
  async fn(transport) {
    const seed = Number(Deno.env.get("PARLEY_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    const fault = Deno.env.get("PARLEY_FAULT") ?? "none";
    console.log(`seed ${seed}`);
    const random = seeded(seed);
    const data = await Deno.makeTempDir({ prefix: "durability-" });
    // Its own numbers: when data comes is not repeatable, but what is sent, and when the server is killed, is.
    await using proxy = new ChaosProxy(seeded(seed + 1));
    let server = serve(data, fault, transport);
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
      for (let kill = 0; kill < KILLS; kill++) {
        await Promise.all(pickSome(random, devices).map((device) => device.until(() => device.synced)));
        for (let i = 0; i < MESSAGES_PER_ROUND; i++) {
          const device = pick(random, devices);
          device.send(pick(random, targets(device.user)), `m${sent++}`);
          if (random() < 0.1) await new Promise((resolve) => setTimeout(resolve, random() * 10));
          if (random() < 0.05) proxy.cut(0.3);
        }
        await server.stop();
        ackedAtKill.push(devices.reduce((sum, device) => sum + device.acked.size, 0));
        server = serve(data, fault, transport);
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
