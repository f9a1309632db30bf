import { assertEquals, assertMatch } from "@std/assert";
import process from "node:process";
import { deadline } from "@std/async/deadline";
import { testTransport, type TransportHost } from "../hub/transport_contract.ts";
import { Hub } from "../hub.ts";
import { MemoryBroker } from "../broker/memory.ts";
import { Admission, UNLIMITED } from "../limits/admission.ts";
import { LACKS_WS } from "../testing/over_transports.ts";
import { RawSocket } from "../testing/raw_socket.ts";
import { Gate } from "./gate.ts";
import { Guests } from "./guest.ts";
import { httpHandler } from "./http.ts";
import type { Transport } from "./transport.ts";
import type { WsTransportTimes } from "./ws_transport.ts";

/** A transport that listens on loopback, with what it counts. */
interface Place extends AsyncDisposable {
  readonly transport: Transport;
  readonly guests: Guests;
  readonly admission: Admission;
}

async function listen(host: TransportHost, times: WsTransportTimes = {}): Promise<Place> {
  const { listenWithWs } = await import("./ws_transport.ts");
  const admission = new Admission(UNLIMITED, () => 0);
  const guests = new Guests(host);
  const transport = await listenWithWs({
    hostname: "127.0.0.1",
    port: 0,
    certificate: undefined,
    gate: new Gate({ admission, hostname: "127.0.0.1" }),
    guests,
    frameBytes: host.frameBytes,
    handlerOf: (upgrade) =>
      httpHandler({
        scheme: "ws",
        trustedHops: 0,
        isDraining: () => false,
        unreadiness: () => undefined,
        unstored: () => undefined,
        upgrade,
      }),
    log: () => {},
  }, times);
  return { transport, guests, admission, [Symbol.asyncDispose]: () => transport.close() };
}

if (!LACKS_WS) {
  testTransport("ws -", async (host) => {
    const place = await listen(host);
    return {
      port: place.transport.port,
      async [Symbol.asyncDispose]() {
        await place.guests.empty();
        await place.transport.close();
        const none = { connections: 0, stalled: 0, users: 0, addresses: 0 };
        assertEquals(place.admission.counts, none, "slots are free again");
      },
    };
  });
}

Deno.test({
  name: "ws - a peer that gives no sign of life is pinged, and cut when it answers nothing",
  ignore: LACKS_WS,
  async fn() {
    await using place = await listen(new Hub({ broker: new MemoryBroker() }), { tickMs: 20 });
    using frozen = await RawSocket.upgrade(place.transport.port, "/ws?name=frozen");
    const ping = new Uint8Array(2);
    await deadline(frozen.tcp.read(ping), 30_000);
    assertEquals(ping, new Uint8Array([0x89, 0]));
    await deadline(frozen.drain(), 30_000);
    await deadline(place.guests.empty(), 30_000);
    assertEquals(place.admission.counts.connections, 0);
  },
});

const ASK = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
  "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const ODD: [string, string, number][] = [
  ["two hosts", `GET /ws HTTP/1.1\r\nHost: a\r\nHost: b\r\n${ASK}\r\n`, 400],
  ["HTTP/1.0", `GET /ws HTTP/1.0\r\nHost: a\r\n${ASK}\r\n`, 400],
  [
    "subprotocols that are none",
    `GET /ws?name=ann HTTP/1.1\r\nHost: localhost\r\nSec-WebSocket-Protocol: ,\r\n${ASK}\r\n`,
    400,
  ],
  ["two lengths", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400],
  ["a host with a path", `GET /x HTTP/1.1\r\nHost: localhost/ws?\r\n${ASK}\r\n`, 400],
  ["an address that is not one of HTTP", `GET file:///ws HTTP/1.1\r\nHost: localhost\r\n${ASK}\r\n`, 400],
  [
    "an upgrade that no proxy in front understands",
    `GET /ws HTTP/1.1\r\nHost: localhost\r\n${ASK.replace("Connection:", "Proxy-Connection:")}\r\n`,
    400,
  ],
  ["a length and chunks", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400],
];

Deno.test({
  name: "ws - requests that are ambiguous are refused, and hold no slot",
  ignore: LACKS_WS,
  async fn() {
    await using place = await listen(new Hub({ broker: new MemoryBroker() }));
    for (const [what, request, status] of ODD) {
      using socket = await RawSocket.connect(place.transport.port);
      await socket.write(request);
      assertMatch(await deadline(socket.readSome(), 30_000), new RegExp(`^HTTP/1.1 ${status} `), what);
      await deadline(socket.drain(), 30_000);
    }
    assertEquals(place.admission.counts.connections, 0);
  },
});

Deno.test({
  name: "ws - an upgrade behind another request is answered after it",
  ignore: LACKS_WS,
  async fn() {
    await using place = await listen(new Hub({ broker: new MemoryBroker() }));
    using socket = await RawSocket.connect(place.transport.port);
    const get = "GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    await socket.write(`${get}${get}GET /ws HTTP/1.1\r\nHost: localhost\r\n${ASK}\r\n`);
    let text = "";
    while ((text.match(/^HTTP/gm) ?? []).length < 3) text += await deadline(socket.readSome(), 30_000);
    assertEquals(text.match(/(?<=HTTP\/1\.1 )\d+/g), ["200", "200", "101"]);
  },
});

Deno.test({
  name: "ws - an answer that is cut short ends its connection, though the body of its request has come",
  ignore: LACKS_WS,
  async fn() {
    await using place = await listen(new Hub({ broker: new MemoryBroker() }));
    using socket = await RawSocket.connect(place.transport.port);
    await socket.write("PUT / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx");
    assertMatch(await deadline(socket.readSome(), 30_000), /^HTTP\/1\.1 405 [^]*\r\nconnection: close\r\n/i);
    await deadline(socket.drain(), 30_000);
  },
});

Deno.test({
  name: "ws - whoever sends on after a head that is none is answered once, and costs one listener",
  ignore: LACKS_WS,
  async fn() {
    await using place = await listen(new Hub({ broker: new MemoryBroker() }));
    const warnings: string[] = [];
    const onWarning = ({ message }: Error) => void warnings.push(message);
    process.on("warning", onWarning);
    using socket = await RawSocket.connect(place.transport.port);
    const ended = socket.drain();
    try {
      await socket.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx");
      for (;;) await socket.write(" ".repeat(2_048));
    } catch { /* the server has ended it */ }
    await deadline(ended, 30_000);
    process.off("warning", onWarning);
    assertEquals(warnings, []);
  },
});
