/**
 * Misbehaving connections of eleven kinds, in a process of their own: `attackers.ts PORT PER_KIND`. It prints `attacking` once all
 * of them are at it, and ends when its standard input does. Everything it does is bounded in count and size, on loopback.
 */

import { constants, setPriority } from "node:os";
import { rawFrame, RawSocket } from "./raw_socket.ts";

/** Frames of one flood, and pieces of one endless message. */
const FLOOD_FRAMES = 600;
/** Milliseconds between two bursts of a flood: the point is what one connection may cost, not how much loopback carries. */
const BURST_MS = 100;
const BURST_FRAMES = 4;

/** The one user whose connections all of the eleventh kind are. */
export const INSIDER = "insider";
/** Groups of the insider, named `#in0` and so on. */
export const INSIDER_GROUPS = 20;
/** Connections at which the insider asks for things; the others are devices that get what comes of it. */
const INSIDER_BUSY = 8;
/** Milliseconds between two frames on each of them: together somewhat more than the rate allows. */
const INSIDER_MS = 1_200;

type Attack = (port: number, name: string) => Promise<RawSocket>;

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function flood(socket: RawSocket, ...frames: Uint8Array<ArrayBuffer>[]): Promise<void> {
  const burst = await new Blob(Array.from({ length: BURST_FRAMES }, (_, i) => frames[i % frames.length]!)).bytes();
  for (let sent = 0; sent < FLOOD_FRAMES; sent += BURST_FRAMES) {
    await socket.write(burst);
    await pause(BURST_MS);
  }
}

async function flooding(port: number, path: string, text: string): Promise<RawSocket> {
  const socket = await RawSocket.upgrade(port, path);
  void socket.drain();
  flood(socket, rawFrame(text)).catch(() => {});
  return socket;
}

/** Makes a turn of frames of the insider, each legal and the dearest of its type. */
function dearFrames(turn: number): unknown[] {
  const group = `#in${turn % INSIDER_GROUPS}`;
  return [
    { type: "conversations", limit: 500 },
    { type: "group", op: turn % 2 ? "leave" : "join", group: "#open" },
    { type: "search", query: "e a", limit: 500 },
    { type: "group", op: "list" },
    { type: "history", with: group, limit: 500 },
    { type: "group", op: "members", group },
    { sender: INSIDER, recipient: group, content: "x".repeat(4_000) },
    { type: "typing", recipient: group },
  ];
}

/** Comes as a new device that wants all of the past and all receipts, asks for dear things, and comes again. */
async function askDearly(port: number, seat: number): Promise<void> {
  for (let turn = seat;; turn++) {
    using socket = await RawSocket.upgrade(port);
    void socket.drain();
    const last = seat === 0 ? 10_000 : 500;
    await socket.frame(JSON.stringify({ type: "hello", v: 1, name: INSIDER, last, caps: ["batch"] }));
    for (const frame of dearFrames(turn)) {
      await pause(INSIDER_MS);
      await socket.frame(JSON.stringify(frame));
    }
  }
}

/** The eleven kinds. Each returns once its connection is up to no good. */
export const ATTACKS: Record<string, Attack> = {
  "says nothing": (port) => RawSocket.connect(port),
  "stops in the middle of the upgrade": async (port) => {
    const socket = await RawSocket.connect(port);
    await socket.write("GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgr");
    return socket;
  },
  "never says who it is": async (port) => {
    const socket = await RawSocket.upgrade(port);
    void socket.drain();
    return socket;
  },
  "floods tiny frames": (port, name) => flooding(port, `/ws?name=${name}`, "x"),
  "floods hellos": (port, name) => flooding(port, "/ws", JSON.stringify({ type: "hello", v: 1, name, device: "d" })),
  "floods history requests, receipts and acks": async (port, name) => {
    const socket = await RawSocket.upgrade(port);
    void socket.drain();
    await socket.frame(JSON.stringify({ type: "hello", v: 1, name, device: "d" }));
    const frames = [
      { type: "history", with: name, limit: 500 },
      { type: "receipt", kind: "read", with: name, seq: 1 },
      { type: "ack", seq: 1 },
    ];
    flood(socket, ...frames.map((frame) => rawFrame(JSON.stringify(frame)))).catch(() => {});
    return socket;
  },
  "sends frames over the limit": async (port, name) => {
    const socket = await RawSocket.upgrade(port, `/ws?name=${name}`);
    void socket.drain();
    const big = rawFrame(new Uint8Array(200_000).fill(97));
    void (async () => {
      for (let i = 0; i < 5; i++) {
        await socket.write(big);
        await pause(200);
      }
    })().catch(() => {});
    return socket;
  },
  "sends a message in endless fragments": async (port, name) => {
    const socket = await RawSocket.upgrade(port, `/ws?name=${name}`);
    void socket.drain();
    await socket.frame("a", 0x01);
    flood(socket, rawFrame("a".repeat(200), 0x00)).catch(() => {});
    return socket;
  },
  "never reads what it is sent": async (port, name) => {
    const socket = await RawSocket.upgrade(port);
    await socket.frame(JSON.stringify({ type: "hello", v: 1, name, device: "d" }));
    // Its own messages do not come back to it: another device of the same name sends them.
    const other = await RawSocket.upgrade(port, `/ws?name=${name}`);
    void other.drain();
    const message = rawFrame(JSON.stringify({ sender: name, recipient: name, content: "x".repeat(16_000) }));
    void (async () => {
      for (let i = 0; i < 20; i++) await other.write(message);
    })().catch(() => {});
    return socket;
  },
  "asks for what costs most, within the limits": async (port, name) => {
    const socket = await RawSocket.upgrade(port);
    void socket.drain();
    await socket.frame(JSON.stringify({ type: "hello", v: 1, name: INSIDER, device: name, caps: ["batch"] }));
    const seat = Number(name.slice(name.indexOf("-") + 1));
    if (seat < INSIDER_BUSY) askDearly(port, seat).catch(() => {});
    return socket;
  },
  "breaks the protocol": async (port, name) => {
    const socket = await RawSocket.upgrade(port, `/ws?name=${name}`);
    void socket.drain();
    await socket.frame(new Uint8Array([0xff, 0xfe]), 0x81);
    await socket.frame("binary", 0x82).catch(() => {});
    await socket.frame("reserved", 0xf3).catch(() => {});
    return socket;
  },
};

async function main(): Promise<void> {
  // Attackers have machines of their own: what these take from the server's processor is no attack.
  setPriority(constants.priority.PRIORITY_LOW);
  const [port, perKind] = Deno.args.map(Number) as [number, number];
  const sockets: RawSocket[] = [];
  for (const [kind, attack] of Object.values(ATTACKS).entries()) {
    const attempts = Array.from({ length: perKind }, (_, i) => attack(port, `bad${kind}-${i}`).catch(() => undefined));
    for (const socket of await Promise.all(attempts)) if (socket) sockets.push(socket);
  }
  console.log("attacking");
  for await (const _ of Deno.stdin.readable);
  for (const socket of sockets) socket[Symbol.dispose]();
  Deno.exit(); // whatever they are still at
}

if (import.meta.main) await main();
