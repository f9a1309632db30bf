/** Connections through TLS that never become WebSockets. */

import { assertEquals, assertStringIncludes } from "@std/assert";
import { deadline } from "@std/async/deadline";
import { startServer } from "../server.ts";
import { certificate, filesIn } from "../testing/certificate.ts";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { rawFrame } from "../testing/raw_socket.ts";
import { TlsTerminator } from "./tls_terminator.ts";

/** Milliseconds to become a WebSocket; a connection that outlives them is left alone. */
const UPGRADE_MS = 300;

const HEALTH = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
const UPGRADE = "GET /ws?name=bob HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
  "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

const BEGINNINGS: [string, string][] = [
  ["nothing after the handshake", ""],
  ["half a head", "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgr"],
  ["a request that is answered, and then nothing", HEALTH],
];

Deno.test({
  name: "TlsTerminator ends what is no WebSocket in time, and leaves WebSockets alone",
  ignore: !CAN_RUN || lacksProgram("openssl", ["version"]),
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "terminator-" });
    await certificate(dir);
    const files = filesIn(dir);
    const [ca, cert, key] = await Promise.all([files.ca, files.cert, files.key].map((file) => Deno.readTextFile(file)));
    await using server = await startServer({ port: 0 });
    const terminator = new TlsTerminator({
      ...{ cert: cert!, key: key!, hostname: "127.0.0.1", port: 0 },
      target: server.port,
      upgradeMs: UPGRADE_MS,
    });
    using client = Deno.createHttpClient({ caCerts: [ca!] });
    // deno-lint-ignore no-explicit-any -- Deno's own option
    const socket = new WebSocket(`wss://127.0.0.1:${terminator.port}/ws?name=alice`, { client } as any);
    await new Promise((resolve) => socket.onopen = resolve);
    // A proxy may have used the connection for something else before.
    const proxy = await Deno.connectTls({ hostname: "127.0.0.1", port: terminator.port, caCerts: [ca!] });
    for (const [request, status] of [[HEALTH, "200"], [UPGRADE, "101"]] as const) {
      await proxy.write(new TextEncoder().encode(request));
      assertStringIncludes(await readText(proxy), `HTTP/1.1 ${status} `);
    }
    for (const [what, beginning] of BEGINNINGS) {
      const peer = await Deno.connectTls({ hostname: "127.0.0.1", port: terminator.port, caCerts: [ca!] });
      await peer.handshake();
      if (beginning) await peer.write(new TextEncoder().encode(beginning));
      await deadline(ended(peer), 30_000).catch(() => Promise.reject(new Error(`${what} was left alone`)));
    }
    await proxy.write(rawFrame('{"sender":"bob","recipient":"bob","content":"here too","id":"1"}'));
    assertStringIncludes(await readText(proxy), '"id":"1"');
    proxy.close();
    const answered = new Promise((resolve) => socket.onmessage = resolve);
    socket.send('{"sender":"alice","recipient":"alice","content":"still here","id":"1"}');
    await answered;
    assertEquals(socket.readyState, WebSocket.OPEN);
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
    terminator.close();
    await Deno.remove(dir, { recursive: true });
  },
});

async function readText(peer: Deno.Conn): Promise<string> {
  const buffer = new Uint8Array(4_096);
  return new TextDecoder().decode(buffer.subarray(0, await peer.read(buffer) ?? 0));
}

/** Resolves when the other side has ended the connection, properly or not. */
async function ended(peer: Deno.Conn): Promise<void> {
  const buffer = new Uint8Array(4_096);
  try {
    while (await peer.read(buffer) !== null);
  } catch { /* cut off */ }
  peer.close();
}
