/**
 * The contract of transports: tests that any transport has to pass, over a real port of loopback. A transport implements
 * {@linkcode Connection} and feeds the {@linkcode Receiver} that it gets for it.
 */

import { assert, assertEquals } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { MemoryBroker } from "../broker/memory.ts";
import { Hub, type HubOptions } from "../hub.ts";
import { CLOSE_CODES } from "../protocol.ts";
import { lacks } from "../testing/permissions.ts";
import { RawSocket } from "../testing/raw_socket.ts";
import { WsPeer } from "../testing/ws_peer.ts";
import type { Connection, Identity, Receiver } from "./connection.ts";

/** The part of a hub that a transport gives connections to. */
export type TransportHost = Pick<Hub, "connect" | "frameBytes">;

/** A transport that listens. Disposing of it waits for its connections, whose peers are gone by then, and frees everything. */
export interface RunningTransport extends AsyncDisposable {
  /** Port on 127.0.0.1 where a WebSocket handshake for `/ws?name=NAME` makes a connection of the user NAME. */
  readonly port: number;
}

/** Milliseconds after which something that did not happen never will: generous, for a machine under load. */
const PATIENCE_MS = 30_000;
/** Opcodes of frames, with the bit of the last fragment. */
const TEXT = 0x81, TEXT_BEGINS = 0x01, TEXT_ENDS = 0x80, CLOSE = 0x88, RESERVED = 0xf3;

/** Bytes that may wait for a slow reader: a few bursts. */
const QUEUE_BYTES = 1_048_576;
/** Messages of 16 KB at once: fewer than a queue holds, more than a round trip each would allow in good time. */
const BURST = 20;

/** One connection as the hub saw it. */
interface Arrival {
  readonly connection: Connection;
  readonly identity: Identity;
  /** Frames that the transport passed on. */
  readonly received: unknown[];
  /** The argument of each call of `gone`. */
  readonly gone: boolean[];
  /** Codes with which the hub closed the connection. */
  readonly closed: number[];
}

/** A hub that notes what a transport does to it. */
class WatchedHub implements TransportHost {
  readonly hub: Hub;
  readonly arrivals: Arrival[] = [];
  #wake = () => {};

  constructor(options: Partial<HubOptions>) {
    this.hub = new Hub({ broker: new MemoryBroker(), helloGraceMs: 0, ...options });
  }

  get frameBytes(): number {
    return this.hub.frameBytes;
  }

  connect(connection: Connection, identity: Identity = {}): Receiver {
    const arrival: Arrival = { connection, identity, received: [], gone: [], closed: [] };
    this.arrivals.push(arrival);
    const note = <T>(list: T[], entry: T) => {
      list.push(entry);
      this.#wake();
    };
    const receiver = this.hub.connect({
      get buffered() {
        return connection.buffered;
      },
      ...connection.drained && { drained: () => connection.drained!() },
      send: (frame) => connection.send(frame),
      close(code, reason) {
        note(arrival.closed, code);
        connection.close(code, reason);
      },
    }, identity);
    this.#wake();
    return {
      get user() {
        return receiver.user;
      },
      receive(data) {
        receiver.receive(data);
        note(arrival.received, data);
      },
      gone(clean) {
        receiver.gone(clean);
        note(arrival.gone, clean);
      },
      close: (name, reason) => receiver.close(name, reason),
    };
  }

  /** Returns the connection of `user`, once there is one. */
  async arrival(user: string): Promise<Arrival> {
    const find = () => this.arrivals.find(({ identity }) => identity.user === user);
    await this.until(() => find() !== undefined);
    return find()!;
  }

  /** Resolves when `condition` holds, which is asked whenever the transport has done something. */
  async until(condition: () => boolean): Promise<void> {
    const holds = async () => {
      while (!condition()) await new Promise<void>((resolve) => this.#wake = resolve);
    };
    await deadline(holds(), PATIENCE_MS);
  }
}

/** A hub behind a transport, and its peers. */
interface Place {
  readonly watched: WatchedHub;
  readonly port: number;
  /** Connects a well-behaved peer. */
  peer(name: string): Promise<WsPeer>;
  /** Connects a peer that is played by hand. */
  raw(name: string): Promise<RawSocket>;
}

/** Runs the contract over the transport that `start` starts. */
export function testTransport(
  name: string,
  start: (host: TransportHost) => RunningTransport | Promise<RunningTransport>,
): void {
  const test = (claim: string, fn: (place: Place) => Promise<void>, options: Partial<HubOptions> = {}) =>
    Deno.test({
      name: `${name} ${claim}`,
      ignore: lacks("net"),
      async fn() {
        const watched = new WatchedHub(options);
        await using transport = await start(watched);
        const { port } = transport;
        await fn({
          watched,
          port,
          peer: (user) => WsPeer.open(`ws://127.0.0.1:${port}/ws?name=${user}`),
          raw: (user) => RawSocket.upgrade(port, `/ws?name=${user}`),
        });
      },
    });

  test("gives the hub a connection once it is open, with the identity that it was admitted for", async ({ watched, peer }) => {
    await using _ann = await peer("ann");
    const { identity, connection, received, gone } = await watched.arrival("ann");
    assertEquals([identity.user, connection.buffered, received, gone], ["ann", 0, [], []]);
    assertEquals(watched.arrivals.length, 1);
  });

  test("carries text in and out, as it is and in order", async ({ watched, peer }) => {
    await using ann = await peer("ann");
    await using bob = await peer("bob");
    await watched.arrival("bob");
    const contents = ["żółw 🐢", "", "line\nbreak", ...Array.from({ length: 500 }, (_, i) => `${i}`)];
    const frames = contents.map((content) => JSON.stringify({ sender: "ann", recipient: "bob", content }));
    for (const frame of frames) ann.send(frame);
    for (const content of contents) {
      const frame = await bob.next();
      assertEquals(frame.type === undefined && frame.content, content);
    }
    assertEquals((await watched.arrival("ann")).received, frames);
  });

  test("puts the fragments of a message together", async ({ watched, raw }) => {
    using ann = await raw("ann");
    const { received } = await watched.arrival("ann");
    await ann.frame('{"type":', TEXT_BEGINS);
    await ann.frame('"ping"}', TEXT_ENDS);
    await watched.until(() => received.length > 0);
    assertEquals(received, ['{"type":"ping"}']);
  });

  test("passes on binary frames, which the hub refuses, and goes on", async ({ watched, peer }) => {
    await using ann = await peer("ann");
    ann.send(new Uint8Array([0x7b, 0x7d]));
    const refused = await ann.next();
    assertEquals(refused.type === "error" && refused.code, "binary_frame");
    const { received } = await watched.arrival("ann");
    assert(typeof received[0] !== "string");
    ann.send({ sender: "ann", recipient: "ann", content: "still here", id: "1" });
    assertEquals((await ann.next()).type, "ack");
  });

  test("has a frame over the limit refused, and one far over it ends the connection with 1009", async ({ peer }) => {
    await using ann = await peer("ann");
    ann.send("x".repeat(1_025));
    const refused = await ann.next();
    assertEquals(refused.type === "error" && refused.code, "too_large");
    ann.send("x".repeat(3_000));
    assertEquals((await deadline(ann.closed, PATIENCE_MS)).code, CLOSE_CODES.too_big.code);
  }, { frameBytes: 1_024 });

  test("closes with the code and the reason of the hub", async ({ watched, peer }) => {
    await using ann = await peer("ann");
    const { gone } = await watched.arrival("ann");
    watched.hub.disconnectHere("ann", "revoked", "Schluß für heute");
    const { code, reason } = await deadline(ann.closed, PATIENCE_MS);
    assertEquals([code, reason], [CLOSE_CODES.revoked.code, "Schluß für heute"]);
    await watched.until(() => gone.length > 0);
  });

  const GOODBYES: [string, number[], boolean][] = [
    ["1000", [0x03, 0xe8], true],
    ["1001", [0x03, 0xe9], false],
    ["4000", [0x0f, 0xa0], false],
    ["no code", [], false],
  ];
  for (const [code, payload, clean] of GOODBYES) {
    test(`says that a peer which closes with ${code} ${clean ? "said goodbye" : "is gone"}`, async ({ watched, raw }) => {
      using ann = await raw("ann");
      const { gone } = await watched.arrival("ann");
      await ann.frame(new Uint8Array(payload), CLOSE);
      await watched.until(() => gone.length > 0);
      assertEquals(gone[0], clean);
    });
  }

  const BREAKS: [string, (ann: RawSocket, connection: Connection) => Promise<void> | void][] = [
    ["ends its connection", (ann) => ann[Symbol.dispose]()],
    ["ends one direction of it", (ann) => ann.tcp.closeWrite()],
    ["resets it", async (ann, connection) => {
      // A peer that closes what has unread bytes resets the connection.
      connection.send('{"type":"pong"}');
      await ann.frame('{"type":"ping"}', TEXT);
      ann[Symbol.dispose]();
    }],
    ["breaks the protocol", (ann) => ann.frame("x", RESERVED)],
  ];
  for (const [how, breakOff] of BREAKS) {
    test(`says once that a peer is gone which ${how} without a goodbye`, async ({ watched, raw, port }) => {
      using ann = await raw("ann");
      const { gone, connection } = await watched.arrival("ann");
      await breakOff(ann, connection);
      await watched.until(() => gone.length > 0);
      await ann.tcp.closeWrite().catch(() => {});
      using _later = await RawSocket.upgrade(port, "/ws?name=bob");
      await watched.arrival("bob");
      assertEquals(gone, [false]);
      assertEquals([connection.send("{}"), watched.hub.counts.sessions], [false, 1]);
    });
  }

  test("takes nothing once it closes, closes once, and throws at neither", async ({ watched, peer }) => {
    await using ann = await peer("ann");
    const { connection, gone } = await watched.arrival("ann");
    assertEquals(connection.send('{"type":"pong"}'), true);
    connection.close(CLOSE_CODES.restart.code, "first");
    assertEquals(connection.send('{"type":"pong"}'), false);
    connection.close(CLOSE_CODES.revoked.code, "second");
    const { code, reason } = await deadline(ann.closed, PATIENCE_MS);
    assertEquals([code, reason, ann.rest().length], [CLOSE_CODES.restart.code, "first", 1]);
    await watched.until(() => gone.length > 0);
    assertEquals([connection.send('{"type":"pong"}'), connection.buffered], [false, 0]);
    connection.close(CLOSE_CODES.revoked.code, "third");
  });

  test("says that a connection has drained, where it says so at all, once its peer has read everything", async ({ watched, raw }) => {
    using ann = await raw("ann");
    const { connection } = await watched.arrival("ann");
    if (!connection.drained) return;
    const frame = "x".repeat(64_000);
    while (connection.buffered < QUEUE_BYTES) {
      connection.send(frame);
      await new Promise((resolve) => setTimeout(resolve)); // the kernel takes some MiB
    }
    let isDrained = false;
    const drained = connection.drained().then(() => isDrained = true);
    assertEquals(isDrained, false);
    const read = ann.drain();
    await deadline(drained, PATIENCE_MS);
    assertEquals(connection.buffered, 0);
    ann[Symbol.dispose]();
    await read;
  });

  test(
    "says how much waits for a slow reader, whom the hub closes with 4100 while others go on",
    async ({ watched, peer, raw }) => {
      await using ann = await peer("ann");
      await using cat = await peer("cat");
      using _bob = await raw("bob"); // and reads nothing
      const { connection, closed } = await watched.arrival("bob");
      // Bob is let in a moment later; what came before it would be a backlog, which waits for him without an end.
      do {
        ann.send({ sender: "ann", recipient: "ann", content: "a note", id: crypto.randomUUID() });
        assertEquals((await ann.next()).type, "ack");
      } while (watched.hub.counts.users < 3);
      const message = { sender: "ann", recipient: "bob", content: "x".repeat(16_000) };
      let waiting = 0;
      // The kernel takes some MiB before anything waits in the transport.
      for (let burst = 0; closed.length === 0; burst++) {
        assert(burst < 200, "bob was never closed");
        for (let i = 0; i < BURST; i++) ann.send({ ...message, id: `${burst}.${i}` });
        for (let i = 0; i < BURST; i++) assertEquals((await ann.next()).type, "ack");
        waiting = Math.max(waiting, connection.buffered);
      }
      assert(waiting > QUEUE_BYTES / 4 && waiting <= QUEUE_BYTES, `${waiting} bytes waited`);
      assertEquals(closed, [CLOSE_CODES.slow.code]);
      assertEquals(connection.send("{}"), false);
      cat.send({ sender: "cat", recipient: "ann", content: "still here" });
      const frame = await ann.next();
      assertEquals(frame.type === undefined && frame.content, "still here");
    },
    { queueBytes: QUEUE_BYTES },
  );
}
