/** Attacks that the `ws` transport withstands, and Deno's own sockets cannot. The server is in a process of its own. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { delay } from "@std/async/delay";
import { certificate, filesIn } from "../testing/certificate.ts";
import { LACKS_WS } from "../testing/over_transports.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { rawFrame, RawSocket } from "../testing/raw_socket.ts";
import { ServerProcess } from "../testing/server_process.ts";
import { WsPeer } from "../testing/ws_peer.ts";

const ignore = !CAN_RUN || LACKS_WS || Deno.build.os !== "linux";
/** Milliseconds after which what did not happen never will: generous, for a machine under load. */
const PATIENCE_MS = 30_000;
/** Milliseconds that the server gives for heads, handshakes and closes here. */
const DEADLINE_MS = 1_000;
const MIB = 1_048_576;
/** Bytes that resident memory may have grown by while an attack goes on, and after it: what the collector has not given back. */
const GROWTH_MAX = 40 * MIB;
/** Times that a flood comes at most: other work on the machine can only make it look worse than it is. */
const TRIES_MAX = 3;
/** Peers of an attack, as many as descriptors of this process allow. */
const PEERS = 1_000;
/** First bytes of frames: text as a whole, its first fragment, another one, a ping, text with the bit of compression. */
const TEXT_BEGINS = 0x01, CONTINUES = 0x00, PING = 0x89, COMPRESSED = 0xc1;

/** Holdings of a server. */
interface Held {
  readonly connections: number;
  readonly sessions: number;
  readonly stalled: number;
  readonly rss: number;
  readonly descriptors: number;
}

/** A server under attack. */
class Target extends ServerProcess {
  constructor(...files: string[]) {
    const program = new URL("../testing/ws_server.ts", import.meta.url).pathname;
    super(Deno.execPath(), ["run", "--v8-flags=--expose-gc", "-A", program, String(DEADLINE_MS), ...files]);
  }

  async held(): Promise<Held> {
    return JSON.parse(await this.ask("SIGUSR2"));
  }

  /** Resolves with what the server holds once `condition` is true of it. */
  async until(condition: (held: Held) => boolean): Promise<Held> {
    let held = await this.held();
    for (const end = performance.now() + PATIENCE_MS; !condition(held); held = await this.held()) {
      assert(performance.now() < end, `The server still holds ${JSON.stringify(held)}`);
      await delay(50);
    }
    return held;
  }

  /** Resolves when somebody who behaves has been answered. */
  async serves(): Promise<void> {
    await using ann = await WsPeer.open(`ws://127.0.0.1:${await this.port}/ws?name=ann`);
    ann.send({ sender: "ann", recipient: "ann", content: "hello", id: "1" });
    assertEquals((await ann.next()).type, "ack");
  }
}

/** Reads until the server ends the connection; returns the code of its close frame, or undefined without one. */
async function closeCode(socket: RawSocket): Promise<number | undefined> {
  const buffer = new Uint8Array(65_536);
  let code: number | undefined;
  try {
    for (let length; (length = await socket.tcp.read(buffer)) !== null;) {
      const at = buffer.subarray(0, length).lastIndexOf(0x88);
      if (at >= 0 && at + 3 < length) code = buffer[at + 2]! << 8 | buffer[at + 3]!;
    }
  } catch { /* reset */ }
  return code;
}

const PIECES: [string, number, number][] = [
  ["large", MIB, 1_009],
  ["of one KiB", 1_024, 1_008],
];

for (const [which, bytes, code] of PIECES) {
  Deno.test({
    name: `ws - 300 MB in fragments that are ${which} end with ${code} within a second, and cost no memory`,
    ignore,
    async fn() {
      await using target = new Target();
      await target.serves();
      const tried: Flood[] = [];
      const isHeld = () => tried.some(({ ms, growth }) => ms < 1_000 && growth < GROWTH_MAX);
      while (!isHeld() && tried.length < TRIES_MAX) tried.push(await flood(target, bytes));
      assert(isHeld(), JSON.stringify(tried));
      for (const flooded of tried) assert(flooded.code === code || flooded.code === 1_009, `closed with ${flooded.code}`);
      await target.serves();
    },
  });
}

/** Outcome of a flood: how it was closed, after how many milliseconds, and by how many bytes memory grew, at most and for good. */
interface Flood {
  readonly code: number | undefined;
  readonly ms: number;
  readonly growth: number;
}

/** Sends 300 MB in fragments of this many bytes, until it is cut off. */
async function flood(target: Target, bytes: number): Promise<Flood> {
  const before = await target.held();
  using bad = await RawSocket.upgrade(await target.port, "/ws?name=bad");
  const piece = rawFrame(new Uint8Array(bytes).fill(97), CONTINUES);
  const many = bytes < MIB ? await new Blob(Array(MIB / bytes).fill(piece)).bytes() : piece;
  const begun = performance.now();
  const closed = closeCode(bad).then((code) => ({ code, ms: performance.now() - begun }));
  let outcome: string | undefined;
  const attack = (async () => {
    await bad.frame("a", TEXT_BEGINS);
    for (let sent = 0; sent < 300; sent++) await bad.write(many);
  })().then(() => outcome = "all of it was taken", () => outcome = "cut off");
  let peak = 0;
  do peak = Math.max(peak, (await target.held()).rss); while (outcome === undefined);
  assertEquals(await attack, "cut off");
  const { code, ms } = await deadline(closed, PATIENCE_MS);
  const after = await target.until(({ connections }) => connections === 0);
  return { code, ms, growth: Math.max(peak, after.rss) - before.rss };
}

Deno.test({
  name: "ws - a thousand peers that stop reading are all ended, and what was queued for them is freed",
  ignore,
  async fn() {
    await using target = new Target();
    await target.serves();
    await using ann = await WsPeer.open(`ws://127.0.0.1:${await target.port}/ws?name=ann`);
    await stopReading(target, ann);
    const first = await target.held();
    await stopReading(target, ann);
    // The process has had a thousand connections before, as any has after a while.
    const second = await target.held();
    assert(second.rss - first.rss < GROWTH_MAX, `${(second.rss - first.rss) / MIB} MiB more`);
    assertEquals([second.stalled, second.descriptors], [0, first.descriptors]);
  },
});

/** A thousand peers connect and read nothing: most are replaced by another one, the others ask for more than they read. */
async function stopReading(target: Target, ann: WsPeer): Promise<void> {
  const users = 20;
  const peers: RawSocket[] = [];
  for (let i = 0; i < PEERS; i++) {
    const peer = await RawSocket.upgrade(await target.port, `/ws?name=bad${i % users}`);
    await peer.frame(JSON.stringify({ type: "hello", v: 1, device: "d" }));
    peers.push(peer);
  }
  for (let i = 0; i < users; i++) {
    ann.send({ sender: "ann", recipient: `bad${i}`, content: "x".repeat(16_000), id: crypto.randomUUID() });
    assertEquals((await ann.next()).type, "ack");
  }
  const asks = await new Blob(Array(1_000).fill(rawFrame('{"type":"history","with":"ann","limit":9}'))).bytes();
  for (const peer of peers.slice(-users)) await peer.write(asks);
  await target.until(({ connections }) => connections === 1);
  await target.serves();
  for (const peer of peers) peer[Symbol.dispose]();
}

for (const isSecure of [false, true]) {
  const what = isSecure ? "TLS handshakes, and silent peers before one," : "heads, and peers that say nothing,";
  Deno.test({
    name: `ws - a thousand half-open ${what} are gone after the deadline`,
    ignore: ignore || (isSecure && lacksProgram("openssl", ["version"])),
    async fn() {
      const dir = await Deno.makeTempDir({ prefix: "attacks-" });
      if (isSecure) await certificate(dir);
      const { cert, key } = filesIn(dir);
      await using target = new Target(...isSecure ? [cert, key] : []);
      const port = await target.port;
      const before = await target.held();
      // The beginning of a ClientHello of 512 bytes, and of a head.
      const half = isSecure ? new Uint8Array([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]) : "GET /ws HTTP/1.1\r\nHost: x\r\nUpgr";
      const peers = await Promise.all(Array.from({ length: PEERS }, async (_, i) => {
        const peer = await RawSocket.connect(port);
        if (i % 2 === 0) await peer.write(half);
        return peer;
      }));
      await deadline(Promise.all(peers.map((peer) => peer.drain())), PATIENCE_MS);
      await target.until(({ descriptors }) => descriptors <= before.descriptors);
      for (const peer of peers) peer[Symbol.dispose]();
      await Deno.remove(dir, { recursive: true });
    },
  });
}

Deno.test({
  name: "ws - compression is not agreed to, and a bomb that comes all the same ends its connection with 1002",
  ignore,
  async fn() {
    await using target = new Target();
    using bad = await RawSocket.connect(await target.port);
    await bad.write(
      "GET /ws?name=bad HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n",
    );
    const head = await bad.readSome();
    assertMatch(head, /^HTTP\/1\.1 101 /);
    assert(!/sec-websocket-extensions/i.test(head), head);
    const bomb = new Blob([new Uint8Array(50 * MIB)]).stream().pipeThrough(new CompressionStream("deflate-raw"));
    await bad.frame(await new Response(bomb).bytes(), COMPRESSED);
    assertEquals(await deadline(closeCode(bad), PATIENCE_MS), 1_002);
    await target.serves();
  },
});

Deno.test({
  name: "ws - 100,000 ping frames are answered with the newest of each turn, and others are served meanwhile",
  ignore,
  async fn() {
    await using target = new Target();
    await target.serves();
    const before = await target.held();
    using bad = await RawSocket.upgrade(await target.port, "/ws?name=bad");
    const pings = await new Blob(Array(10_000).fill(rawFrame("0123456789", PING))).bytes();
    let answered = 0;
    const reading = (async () => {
      const buffer = new Uint8Array(65_536);
      for (let length; (length = await bad.tcp.read(buffer)) !== null;) answered += length;
    })().catch(() => {});
    for (let i = 0; i < 10; i++) await bad.write(pings);
    await target.serves();
    const { sessions, rss } = await target.until(() => answered > 0);
    assertEquals(sessions, 1);
    assert(answered < 100_000 * 12 / 10, `${answered} bytes of pongs`);
    assert(rss - before.rss < GROWTH_MAX, `${(rss - before.rss) / MIB} MiB more`);
    bad[Symbol.dispose]();
    await reading;
  },
});
