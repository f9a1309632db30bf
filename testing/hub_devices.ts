/** Devices at a hub without a network, for the tests of the hub and its rooms. */

import { assertExists } from "@std/assert";
import { setImmediate } from "node:timers";
import type { Broker } from "../broker.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { Hub, type HubOptions, type Receiver } from "../hub.ts";
import type { ServerFrame } from "../protocol.ts";
import { FakeConnection } from "./fake_connection.ts";

/** A hub with its broker, which it tells at once what devices have. */
export function setUp(options: Partial<HubOptions> = {}): { hub: Hub; broker: Broker; reports: string[] } {
  const broker = options.broker ?? new MemoryBroker();
  const reports: string[] = [];
  const hub = new Hub({
    report: (error, where) => reports.push(`${where}: ${error}`),
    confirmIntervalMs: 0,
    ...options,
    broker,
  });
  return { hub, broker, reports };
}

export class Device extends FakeConnection {
  readonly peer: Receiver;

  constructor(hub: Hub, readonly user?: string) {
    super();
    this.peer = hub.connect(this, user === undefined ? {} : { user });
  }

  say(frame: unknown): void {
    this.peer.receive(JSON.stringify(frame));
  }

  tell(recipient: string, content: string, id?: string): void {
    this.say({ sender: this.user, recipient, content, id });
  }

  last<T extends ServerFrame["type"]>(type: T): Extract<ServerFrame, { type: T }> {
    const frame = this.frames.findLast((frame) => frame.type === type);
    assertExists(frame, `no ${type} in ${this.sent.join("\n")}`);
    return frame as Extract<ServerFrame, { type: T }>;
  }
}

/** Lets everything that is due happen: the memory broker answers within microtasks. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 3; i++) await new Promise<void>((resolve) => setImmediate(() => resolve()));
}

export async function extended(
  hub: Hub,
  user: string,
  device = "laptop",
  hello: Record<string, unknown> = {},
): Promise<Device> {
  const connection = new Device(hub, user);
  connection.say({ type: "hello", v: 1, name: user, device, ...hello });
  await settle();
  connection.last("synced");
  return connection;
}

/** A connection of the base level, settled by a first frame that reaches nobody. */
export async function base(hub: Hub, user: string): Promise<Device> {
  const connection = new Device(hub, user);
  connection.tell("nobody", "");
  await settle();
  connection.sent.length = 0;
  return connection;
}

export function close(...devices: Device[]): void {
  for (const device of devices) device.peer.gone(true);
}
