/** Every limit that is an option, given on the command line and then passed over a real socket. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { CLOSE_CODES } from "../protocol.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN } from "../testing/permissions.ts";
import { fromSource, RunningServer, runToEnd } from "../testing/process.ts";
import { RawSocket } from "../testing/raw_socket.ts";
import { WsPeer } from "../testing/ws_peer.ts";
import type { TransportName } from "./transport_choice.ts";

const ignore = !CAN_RUN;
/** A test has one address, and connects more often than people do. */
const NO_ADDRESS_LIMITS = ["--max-connections-per-address", "0", "--max-upgrades-per-second", "0"];

function serve(transport: TransportName, ...options: string[]): Promise<RunningServer> {
  return RunningServer.start(fromSource("server"), ["--transport", transport, "--broker", "memory", ...options]);
}

async function login(server: RunningServer, name: string): Promise<WsPeer> {
  const peer = await WsPeer.open(server.url);
  peer.send({ type: "hello", v: 1, name, device: crypto.randomUUID() });
  while ((await peer.next()).type !== "synced");
  return peer;
}

async function answer(peer: WsPeer, frame: string | object): Promise<string | undefined> {
  peer.send(frame);
  const answered = await peer.next();
  return answered.type === "error" ? answered.code : undefined;
}

/** Returns the code with which a connection ends soon. */
async function end(peer: WsPeer): Promise<number> {
  return (await deadline(peer.closed, 30_000)).code;
}

/** Asks for an upgrade; returns the status of the answer, and whether it says when to come back. */
async function knock(server: RunningServer, name: string): Promise<{ status: number; retries: boolean }> {
  using socket = await RawSocket.connect(Number(new URL(server.url).port));
  await socket.write(
    `GET /ws?name=${name} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
  );
  const text = await socket.readSome();
  return { status: Number(text.split(" ")[1]), retries: /^retry-after: \d/im.test(text) };
}

testOverTransports({
  name: "limits - sizes, devices, groups, members, mailbox, refusals and the time to say hello are what the options say",
  ignore,
  async fn(transport) {
    await using server = await serve(
      transport,
      ...["--frame-bytes", "1024", "--content-bytes", "100", "--hello-timeout", "1", "--mailbox", "4", "--max-devices", "1"],
      ...["--max-groups", "1", "--max-group-members", "1", "--max-refusals", "3", "--rate", "0", ...NO_ADDRESS_LIMITS],
    );
    await using silent = await WsPeer.open(server.url);
    await using ann = await login(server, "ann");
    const bob = await login(server, "bob");
    await using again = await WsPeer.open(server.url);
    again.send({ type: "hello", v: 1, name: "ann", device: "another" });
    assertEquals(await end(again), CLOSE_CODES.overloaded.code);

    assertEquals(await answer(ann, { type: "group", op: "create", group: "#one", open: true, id: "1" }), undefined);
    assertEquals(await answer(ann, { type: "group", op: "create", group: "#two", id: "2" }), "limit_reached");
    assertEquals(await answer(bob, { type: "group", op: "join", group: "#one", id: "1" }), "limit_reached");
    const message = { sender: "ann", recipient: "bob" };
    assertEquals(await answer(ann, { ...message, content: "x".repeat(101), id: "3" }), "too_large");
    assertEquals(await answer(ann, { ...message, content: "x".repeat(1_500), id: "4" }), "too_large");

    await bob[Symbol.asyncDispose]();
    for (const id of ["5", "6"]) assertEquals(await answer(ann, { ...message, content: "waits", id }), undefined);

    // Two messages are refused by now; the fourth is told why, and is the last.
    for (const id of ["7", "8"]) assertEquals(await answer(ann, { ...message, content: "more", id }), "mailbox_full");
    assertEquals(await end(ann), CLOSE_CODES.policy.code);
    await using cat = await login(server, "cat");
    cat.send("x".repeat(2_049));
    assertEquals(await end(cat), CLOSE_CODES.too_big.code);
    assertEquals(await end(silent), CLOSE_CODES.nameless.code);
  },
});

testOverTransports({
  name: "limits - who sends faster than --rate and --burst is told to wait, and closed after --max-refusals",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, "--rate", "1", "--burst", "2", "--max-refusals", "3");
    await using ann = await login(server, "ann");
    const message = { sender: "ann", recipient: "ann", content: "quick" };
    for (let refused = 0, sent = 0; refused < 3; sent++) {
      assert(sent < 100, "nothing was refused");
      ann.send({ ...message, id: String(sent) });
      const frame = await ann.next();
      if (frame.type !== "error") continue;
      refused++;
      const { code, retryable, retry_after_ms: wait } = frame;
      assertEquals([code, retryable], ["rate_limited", true]);
      assert(wait! > 0 && wait! <= 1_000, String(wait));
    }
    ann.send({ ...message, id: "one too many" });
    assertEquals(await end(ann), CLOSE_CODES.flood.code);
  },
});

const DOORS: [string, string, number, number][] = [
  ["--max-connections", "1", 1, 503],
  ["--max-connections-per-address", "1", 1, 429],
  ["--max-upgrades-per-second", "1", 2, 429],
  ["--max-memory", "1", 0, 503],
];

for (const [option, value, admitted, status] of DOORS) {
  testOverTransports({
    name: `limits - above ${option} an upgrade is answered with ${status}, and those who are in go on`,
    ignore,
    async fn(transport) {
      await using server = await serve(transport, option, value);
      const peers = [];
      for (let i = 0; i < admitted; i++) peers.push(await WsPeer.open(server.url));
      assertEquals(await knock(server, "ann"), { status, retries: true });
      for (const peer of peers) {
        assertEquals(await answer(peer, { type: "ping" }), "name_required");
        await peer[Symbol.asyncDispose]();
      }
    },
  });
}

testOverTransports({
  name: "limits - a user gets no more sockets than devices and stalled ones may be, however fast they are opened",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, "--max-devices", "2", "--max-stalled-per-user", "2", ...NO_ADDRESS_LIMITS);
    const port = Number(new URL(server.url).port);
    const attempts = await Promise.allSettled(Array.from({ length: 10 }, () => RawSocket.upgrade(port, "/ws?name=bob")));
    const sockets = attempts.flatMap((attempt) => attempt.status === "fulfilled" ? [attempt.value] : []);
    assertEquals(sockets.length, 4);
    assertEquals([(await knock(server, "bob")).status, (await knock(server, "ann")).status], [429, 101]);
    for (const socket of sockets) socket[Symbol.dispose]();
    while ((await knock(server, "bob")).status !== 101);
  },
});

const STALLED: [string, number, number][] = [["--max-stalled-per-user", 429, 101], ["--max-stalled", 503, 503]];

for (const [option, forBob, forOthers] of STALLED) {
  testOverTransports({
    name: `limits - at ${option} who does not read gets no further socket, until the stalled one has gone`,
    ignore,
    async fn(transport) {
      await using server = await serve(transport, option, "1", "--queue-bytes", "131072", "--rate", "0", ...NO_ADDRESS_LIMITS);
      await using ann = await login(server, "ann");
      using stalled = await RawSocket.upgrade(Number(new URL(server.url).port));
      await stalled.frame('{"type":"hello","v":1,"name":"bob","device":"d"}');
      await stalled.readSome();
      // The kernel takes some MiB before anything waits in the server.
      const message = { sender: "ann", recipient: "bob", content: "x".repeat(16_000) };
      for (let burst = 0; (await knock(server, "bob")).status === 101; burst++) {
        assert(burst < 40, "bob was never closed");
        for (let i = 0; i < 100; i++) ann.send({ ...message, id: `${burst}.${i}` });
        for (let i = 0; i < 100; i++) assertEquals((await ann.next()).type, "ack");
      }
      assertEquals(await knock(server, "bob"), { status: forBob, retries: true });
      assertEquals((await knock(server, "cat")).status, forOthers);
      stalled[Symbol.dispose]();
      while ((await knock(server, "bob")).status !== 101);
    },
  });
}

const UPGRADE = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UNFINISHED: [string, string, string][] = [
  ["a body that was announced and never comes", "POST /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 9999999999\r\n\r\n", "405"],
  ["a body without an end", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\nbegins", "405"],
  ["a body of a GET", "GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nbegins", "400"],
  [
    "an upgrade with a body",
    `GET /ws HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nSec-WebSocket-Version: 13\r\n${UPGRADE}\r\n`,
    "400",
  ],
  ["a head of too many lines", `GET / HTTP/1.1\r\nHost: x\r\n${"a: b\r\n".repeat(200)}\r\n`, "400|431"],
  ["a head without an end", `GET / HTTP/1.1\r\nHost: x\r\na: ${"b".repeat(600_000)}`, "400|431"],
];

for (const [what, request, statuses] of UNFINISHED) {
  testOverTransports({
    name: `limits - ${what} is answered, and the connection ends`,
    ignore,
    async fn(transport) {
      await using server = await serve(transport);
      using socket = await RawSocket.connect(Number(new URL(server.url).port));
      await socket.write(request).catch(() => {}); // it may be cut off before its end
      assertMatch(await socket.readSome(), new RegExp(`^HTTP/1\\.1 (${statuses}) `));
      await deadline(socket.drain(), 30_000);
    },
  });
}

const ODD: [string, string, string][] = [
  ["a host that is none", "GET /ws?token=secret HTTP/1.1\r\nHost: [\u009b31m\r\n\r\n", "400"],
  ["an address that is none", "GET http://[/ws HTTP/1.1\r\nHost: x\r\n\r\n", "400"],
  ["an upgrade by HEAD", `HEAD /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\n${UPGRADE}\r\n`, "405"],
  ["another version of WebSockets", `GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 8\r\n${UPGRADE}\r\n`, "426"],
  [
    "a key that is none",
    `GET /ws HTTP/1.1\r\nHost: x\r\nSec-WebSocket-Version: 13\r\n${UPGRADE.replace("dGh", "")}\r\n`,
    "400",
  ],
];

testOverTransports({
  name: "limits - requests that are nonsense are refused, and are no line in the log",
  ignore,
  async fn(transport) {
    await using server = await serve(transport);
    for (const [what, request, status] of ODD) {
      using socket = await RawSocket.connect(Number(new URL(server.url).port));
      await socket.write(request);
      assertMatch(await socket.readSome(), new RegExp(`^HTTP/1\\.1 ${status} `), what);
    }
    server.kill("SIGTERM");
    assertEquals(await server.code(), 0);
    assertMatch(server.err.all().join("\n"), /^\S+ draining: .*\n\S+ ended after .*$/);
  },
});

Deno.test({
  name: "limits - values that cannot go together, or can never match, are refused at the start in one line",
  ignore,
  async fn() {
    for (
      const [option, value, words] of [
        ["--queue-bytes", "65536", "at least 131072"],
        ["--burst", "0", "whole number from 1"],
        ["--allow-origin", "chat.example.org", "is no origin"],
        ["--allow-origin", "https://chat.example.org/app", "has a path"],
        ["--allow-origin", "https://*.example.org", "has a wildcard"],
      ] as const
    ) {
      const { code, err } = await runToEnd(fromSource("server"), ["--port", "0", "--broker", "memory", option, value]);
      assertEquals(code, 2);
      assertMatch(err, new RegExp(`^chat-server: ${option} .*${words}.*; see chat-server --help$`));
    }
  },
});

testOverTransports({
  name: "limits - a user who has sent --sender-bytes-per-day is told when there is more, over all devices, and others go on",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, "--sender-bytes-per-day", "1000", "--rate", "0");
    await using ann = await login(server, "ann");
    await using laptop = await login(server, "ann");
    await using bob = await login(server, "bob");
    const send = (peer: WsPeer, sender: string, content: string) =>
      peer.send({ sender, recipient: "nobody", content, id: "1" });
    send(ann, "ann", "é".repeat(300));
    assertEquals((await ann.next() as { code: string }).code, "unknown_recipient");
    send(laptop, "ann", "x".repeat(401));
    const over = await laptop.next() as { code: string; retryable: boolean; retry_after_ms: number };
    assertEquals([over.code, over.retryable], ["quota_exceeded", true]);
    assert(over.retry_after_ms > 60_000 && over.retry_after_ms < 90_000, `${over.retry_after_ms}`); // a byte in 86.4 s
    send(bob, "bob", "x".repeat(1_000));
    assertEquals((await bob.next() as { code: string }).code, "unknown_recipient");
  },
});

Deno.test({
  name: "limits - below --free-bytes messages are unavailable, the log says it once, and /readyz says no",
  ignore,
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "space-" });
    {
      const options = ["--data", dir, "--free-bytes", String(2 ** 52)];
      await using server = await RunningServer.start(fromSource("server"), options);
      await server.err.next("fewer than --free-bytes");
      await using ann = await login(server, "ann");
      assertEquals(await answer(ann, { sender: "ann", recipient: "ann", content: "hi", id: "1" }), "unavailable");
      const ready = await fetch(server.url.replace("ws:", "http:").replace("/ws", "/readyz"));
      assertEquals([ready.status, (await ready.text()).includes("--free-bytes")], [503, true]);
    }
    await Deno.remove(dir, { recursive: true });
  },
});

testOverTransports({
  name: "limits - what a device has confirmed does not count against a small --mailbox",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, "--mailbox", "5", "--rate", "0");
    await using ann = await login(server, "ann");
    await using bob = await login(server, "bob");
    for (let i = 0; i < 50; i++) {
      ann.send({ sender: "ann", recipient: "bob", content: `${i}`, id: `${i}` });
      const message = await bob.next() as { content: string; seq: number };
      assertEquals(message.content, `${i}`);
      bob.send({ type: "ack", seq: message.seq });
    }
  },
});
