/** The gate, attacked over real sockets. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { SignJWT } from "jose";
import { Revoked } from "../auth/revoked.ts";
import { Tokens } from "../auth/tokens.ts";
import { TokenBuckets } from "../limits/rate.ts";
import { CLOSE_CODES } from "../protocol.ts";
import type { TransportName } from "./transport_choice.ts";
import { main, type Server, type ServerOptions, startServer } from "../server.ts";
import { certificate, filesIn } from "../testing/certificate.ts";
import { toldTo } from "../testing/told.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { fromSource, RunningServer } from "../testing/process.ts";
import { RawSocket } from "../testing/raw_socket.ts";

const SECRET = "a secret of more than thirty-two bytes";
const ignore = lacks("net");

function token(sub: string, seconds = 60, claims: Record<string, unknown> = {}): Promise<string> {
  const exp = Math.floor(Date.now() / 1_000) + seconds;
  return new SignJWT({ sub, exp, ...claims }).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(SECRET));
}

async function serve(transport: TransportName, options: ServerOptions = {}, open = false): Promise<Server> {
  const tokens = open ? {} : { tokens: await Tokens.open({ secret: SECRET }) };
  return await startServer({ port: 0, helloGraceMs: 0, transport, ...tokens, ...options });
}

/** Asks for an upgrade with these headers; returns the status and the text of the answer. */
async function ask(
  server: Server,
  headers: Record<string, string> = {},
  path = "/ws",
): Promise<{ status: number; text: string }> {
  using socket = await RawSocket.connect(server.port);
  const { host = `127.0.0.1:${server.port}`, ...others } = headers;
  const lines = Object.entries(others).map(([name, value]) => `${name}: ${value}\r\n`).join("");
  await socket.write(
    `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n${lines}\r\n`,
  );
  const text = await socket.readSome();
  return { status: Number(text.split(" ")[1]), text };
}

/** Connects; returns the socket, the frames that come, and the code of its end. */
function connect(server: Server, query: string, bearer?: string) {
  const headers = bearer === undefined ? {} : { headers: { authorization: `Bearer ${bearer}` } };
  // deno-lint-ignore no-explicit-any -- Deno's own option, which the type of the standard constructor does not have
  const socket = new WebSocket(`${server.url}${query}`, headers as any);
  const frames: Record<string, unknown>[] = [];
  let wake = () => {};
  socket.onmessage = ({ data }) => {
    frames.push(JSON.parse(data));
    wake();
  };
  return {
    frames,
    socket,
    open: new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = () => reject(new Error("refused"));
    }),
    closed: new Promise<number>((resolve) => socket.onclose = ({ code }) => resolve(code)),
    async until(done: () => boolean) {
      while (!done()) await new Promise<void>((resolve) => wake = resolve);
    },
  };
}

testOverTransports({
  name: "gate - without a good token there is no socket, and the answer says why in JSON",
  ignore,
  async fn(transport) {
    const lines: string[] = [];
    await using server = await serve(transport, { log: toldTo(lines) });
    const good = await token("alice"), other = await token("mallory", -120);
    const refused: [Record<string, string>, string, number][] = [
      [{}, "/ws", 401],
      [{}, `/ws?token=${good}`, 401],
      [{ authorization: "Bearer nonsense" }, "/ws", 401],
      [{ authorization: `Bearer ${await token("alice", 60, { more: "x".repeat(4_096) })}` }, "/ws", 401],
      [{ authorization: `Bearer ${other}` }, "/ws", 401],
      [{ "sec-websocket-protocol": `bearer.${good}` }, "/ws", 401],
      [{ authorization: `Bearer ${good}` }, "/ws?name=bob", 403],
    ];
    for (const [headers, path, status] of refused) {
      const answer = await ask(server, headers, path);
      assertEquals(answer.status, status, path);
      const body = JSON.parse(answer.text.split("\r\n\r\n")[1]!.replace(/^[0-9a-f]+\r\n|\r\n0.*$/gs, ""));
      assertEquals([body.type, typeof body.message, body.retryable], ["error", "string", false]);
    }
    assertEquals((await ask(server, { authorization: `Bearer ${good}` })).status, 101);
    assert(
      lines.length >= 5 && !lines.some((line) => line.includes(good.slice(0, 30)) || line.includes("nonsense")),
      lines.join("\n"),
    );
  },
});

testOverTransports({
  name: "gate - a browser logs in with a subprotocol, and is answered with parley",
  ignore,
  async fn(transport) {
    await using server = await serve(transport);
    for (const comma of [", ", ",", " ,\t"]) {
      const answer = await ask(server, { "sec-websocket-protocol": `parley${comma}bearer.${await token("alice")}` });
      assertEquals(answer.status, 101);
      assertStringIncludes(answer.text.toLowerCase(), "sec-websocket-protocol: parley\r\n");
    }
  },
});

testOverTransports({
  name: "gate - a token is a name: nobody sends under another, or says hello as another",
  ignore,
  async fn(transport) {
    await using server = await serve(transport);
    const alice = connect(server, "", await token("Alice"));
    await alice.open;
    alice.socket.send('{"type":"hello","v":1,"name":"bob"}');
    alice.socket.send('{"sender":"bob","recipient":"alice","content":"hi"}');
    await alice.until(() => alice.frames.length >= 2);
    assertEquals(alice.frames.map(({ code }) => code), ["forbidden", "forbidden"]);
    alice.socket.close();
    await alice.closed;
  },
});

testOverTransports({
  name: "gate - who has the role of an administrator lists and disconnects users, and nobody else does",
  ignore,
  async fn(transport) {
    const lines: string[] = [];
    await using server = await serve(transport, { log: toldTo(lines) });
    const root = connect(server, "", await token("root", 60, { role: "admin" }));
    const alice = connect(server, "", await token("alice", 60, { role: ["admin"], admin: true }));
    await Promise.all([root.open, alice.open]);
    for (const device of [root, alice]) {
      device.socket.send('{"type":"hello","v":1,"device":"d"}');
      await device.until(() => device.frames.some(({ type }) => type === "synced"));
    }
    for (const device of [root, alice]) {
      device.socket.send('{"type":"admin","op":"list","id":"1"}');
      await device.until(() => device.frames.some(({ id }) => id === "1"));
    }
    assertEquals(alice.frames.at(-1)!.code, "forbidden");
    const users = root.frames.at(-1)!.users as { user: string }[];
    assertEquals(users.map(({ user }) => user).toSorted(), ["alice", "root"]);
    alice.socket.send('{"type":"admin","op":"disconnect","user":"root","id":"2"}');
    await alice.until(() => alice.frames.some(({ id }) => id === "2"));
    root.socket.send('{"type":"admin","op":"disconnect","user":"alice","id":"2"}');
    assertEquals(await alice.closed, CLOSE_CODES.revoked.code);
    assertEquals(lines, ["root disconnected alice: connections closed: 1"]);
    root.socket.close();
    await root.closed;
  },
});

testOverTransports({
  name: "gate - a connection ends with its own code when its token expires",
  ignore,
  async fn(transport) {
    await using server = await serve(transport);
    const alice = connect(server, "", await token("alice", 2));
    // Within the tolerance of clocks, so it is let in, as long as that lasts.
    const bob = connect(server, "", await token("bob", -28));
    assertEquals(await Promise.all([alice.closed, bob.closed]), Array(2).fill(CLOSE_CODES.token_expired.code));
    const again = connect(server, "", await token("alice"));
    await again.open;
    again.socket.close();
    await again.closed;
  },
});

testOverTransports({
  name: "gate - who is revoked is cut off at once, and not let in again",
  ignore: lacks("net", "read", "write"),
  async fn(transport) {
    const file = await Deno.makeTempFile();
    const lines: string[] = [];
    const log = toldTo(lines);
    const revoked = new Revoked(file, log);
    await using server = await serve(transport, { revoked, log });
    const alice = connect(server, "", await token("alice", 60, { jti: "t1" })), bob = connect(server, "", await token("bob"));
    await Promise.all([alice.open, bob.open]);
    await Deno.writeTextFile(file, "t1 # lost her laptop\n");
    revoked.look();
    assertEquals(await alice.closed, CLOSE_CODES.revoked.code);
    assertEquals(lines.splice(0), [
      `${file} was read again: 1 revoked, 0 no more; names and token ids in it: 1`,
      `alice is revoked by ${file}: connections closed: 1`,
    ]);
    assertEquals((await ask(server, { authorization: `Bearer ${await token("alice", 60, { jti: "t1" })}` })).status, 403);
    assertEquals(bob.socket.readyState, WebSocket.OPEN);
    bob.socket.close();
    await bob.closed;
    revoked.close();
    await Deno.remove(file);
  },
});

testOverTransports({
  name: "gate - pages of other origins may not connect, those allowed may",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, { allowOrigin: ["https://chat.example.org"] }, true);
    const statuses = [];
    for (const origin of [`http://127.0.0.1:${server.port}`, "https://chat.example.org", "https://evil.example", "null"]) {
      statuses.push((await ask(server, { origin })).status);
    }
    assertEquals(statuses, [101, 101, 403, 403]);
  },
});

testOverTransports({
  name: "gate - in open mode a name that DNS leads here is no host of ours; with tokens it is",
  ignore,
  async fn(transport) {
    const headers = { host: "evil.example", origin: "http://evil.example" };
    await using open = await serve(transport, {}, true);
    assertEquals((await ask(open, headers)).status, 403);
    await using server = await serve(transport);
    assertEquals((await ask(server, { ...headers, authorization: `Bearer ${await token("alice")}` })).status, 101);
  },
});

testOverTransports({
  name: "gate - open mode refuses what comes through a proxy or asks for another host, says what to do, and logs it once",
  ignore,
  async fn(transport) {
    const strange: Record<string, string>[] = [
      { "x-forwarded-for": "203.0.113.7" },
      { forwarded: "for=203.0.113.7" },
      { "x-real-ip": "203.0.113.7" },
      { host: "chat.example.org" },
    ];
    const lines: string[] = [];
    await using open = await serve(
      transport,
      { trustedHops: 1, log: toldTo(lines) },
      true,
    );
    for (const headers of strange) {
      const { status, text } = await ask(open, headers, "/ws?name=alice");
      assertEquals(status, 403, JSON.stringify(headers));
      for (const words of ['"code":"forbidden"', "--jwt-public-key", "--insecure-open"]) assertStringIncludes(text, words);
    }
    assertEquals(lines.length, 1);
    assertStringIncludes(lines[0]!, "X-Forwarded-For");
    for (const host of ["localhost:8080", "[::1]:8080"]) assertEquals((await ask(open, { host })).status, 101);
    await using insisting = await serve(transport, { insecureOpen: true }, true);
    await using keyed = await serve(transport);
    const authorization = `Bearer ${await token("alice")}`;
    for (const headers of strange) {
      assertEquals((await ask(insisting, headers)).status, 101);
      assertEquals((await ask(keyed, { ...headers, authorization })).status, 101);
    }
  },
});

testOverTransports({
  name: "gate - connections that say nothing, new ones per second, all of them and memory are bounded with Retry-After",
  ignore,
  async fn(transport) {
    const cases: [ServerOptions["admission"], number, number][] = [
      [{ namelessPerAddress: 3 }, 3, 429],
      [{ upgradesPerSecond: 1 }, 2, 429],
      [{ connections: 3 }, 3, 503],
      [{ memoryBytes: 1 }, 0, 503],
    ];
    for (const [admission, admitted, status] of cases) {
      await using server = await serve(transport, { admission: admission! }, true);
      const sockets = [];
      for (let i = 0; i < admitted; i++) sockets.push(await RawSocket.upgrade(server.port));
      const refused = await ask(server);
      assertEquals(refused.status, status, JSON.stringify(admission));
      assertStringIncludes(refused.text.toLowerCase(), "retry-after: ");
      assertEquals(await fetch(`http://127.0.0.1:${server.port}/healthz`).then((response) => response.text()), "ok\n");
      for (const socket of sockets) socket[Symbol.dispose]();
    }
  },
});

testOverTransports({
  name: "gate - a proxy in front passes on whom it counts for",
  ignore,
  async fn(transport) {
    await using server = await serve(
      transport,
      { admission: { namelessPerAddress: 1 }, trustedHops: 1, insecureOpen: true },
      true,
    );
    using _one = await RawSocket.upgrade(server.port);
    assertEquals((await ask(server)).status, 429);
    assertEquals((await ask(server, { "x-forwarded-for": "192.0.2.7" })).status, 101);

    const lines: string[] = [];
    await using guarded = await serve(transport, {
      trustedHops: 1,
      log: toldTo(lines),
    });
    assertEquals((await ask(guarded, { "x-forwarded-for": "192.0.2.7" })).status, 401);
    assertEquals(lines, ["login of 192.0.2.7 refused: no token"]);
  },
});

testOverTransports({
  name: "server - the page at / names wss where a proxy of ours says so, and nobody else is believed",
  ignore,
  async fn(transport) {
    for (const trustedHops of [0, 1]) {
      await using server = await serve(transport, { trustedHops }, true);
      const page = async (headers: HeadersInit) => await (await fetch(`http://127.0.0.1:${server.port}/`, { headers })).text();
      assertStringIncludes(await page({ "x-forwarded-proto": "https" }), `${trustedHops ? "wss" : "ws"}://127.0.0.1`);
      assertStringIncludes(await page({}), " ws://127.0.0.1");
    }
  },
});

testOverTransports({
  name: "server - a user who sends too fast is told to wait, over all devices, and the others are not",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, { rateLimit: new TokenBuckets(1, 5) }, true);
    const [one, two, bob] = [connect(server, "?name=alice"), connect(server, "?name=alice"), connect(server, "?name=bob")];
    await Promise.all([one.open, two.open, bob.open]);
    for (const [i, device] of [one, one, one, two, two, two, bob].entries()) {
      const sender = device === bob ? "bob" : "alice";
      device.socket.send(JSON.stringify({ sender, recipient: "bob", content: String(i), id: String(i) }));
    }
    const answered = (device: typeof one) => device.frames.filter(({ type }) => type === "ack" || type === "error");
    await one.until(() => answered(one).length === 3);
    await two.until(() => answered(two).length === 3);
    const errors = [...answered(one), ...answered(two)].filter(({ type }) => type === "error");
    assertEquals(errors.length, 1);
    const [{ code, retryable, retry_after_ms }] = errors as [Record<string, unknown>];
    assertEquals([code, retryable], ["rate_limited", true]);
    assert((retry_after_ms as number) > 0 && (retry_after_ms as number) <= 1_000);
    await bob.until(() => bob.frames.some(({ type, id }) => type === "ack" && id === "6"));
    for (const device of [one, two, bob]) {
      device.socket.close();
      await device.closed;
    }
  },
});

testOverTransports({
  name: "server - a reader that stalls is closed at its limit, costs no more, and is counted until it goes",
  ignore,
  async fn(transport) {
    await using server = await serve(transport, { queueBytes: 200_000 }, true);
    const stalled = await RawSocket.upgrade(server.port);
    await stalled.frame('{"type":"hello","v":1,"name":"bob","device":"d"}');
    await stalled.readSome();
    const alice = connect(server, "?name=alice");
    await alice.open;
    const content = "x".repeat(16_000);
    // The kernel takes a few MiB, and then it is over.
    for (let sent = 0; server.admission.counts.stalled === 0 && sent < 2_000;) {
      for (const end = sent + 20; sent < end; sent++) {
        alice.socket.send(JSON.stringify({ sender: "alice", recipient: "bob", content, id: String(sent) }));
      }
      await alice.until(() => alice.frames.length === sent);
    }
    assertEquals(server.admission.counts.stalled, 1);
    assertEquals((await server.hub.list()).filter(({ user }) => user === "bob"), []);
    alice.socket.send('{"sender":"alice","recipient":"alice","content":"hi","id":"last"}');
    await alice.until(() => alice.frames.some(({ id }) => id === "last"));
    stalled[Symbol.dispose]();
    alice.socket.close();
    await alice.closed;
    while (server.admission.counts.connections > 0) {
      await fetch(`http://127.0.0.1:${server.port}/healthz`).then((r) => r.body?.cancel());
    }
    assertEquals(server.admission.counts.stalled, 0);
  },
});

Deno.test({
  name: "server - open mode serves this machine alone, unless the operator insists",
  ignore: lacks("net", "env"),
  async fn() {
    const lines: string[] = [];
    const { error } = console;
    console.error = (line: string) => lines.push(line);
    try {
      assertEquals(await main(["--host", "0.0.0.0", "--port", "0", "--broker", "memory", "--log-format", "text"]), 1);
    } finally {
      console.error = error;
    }
    assertEquals(lines.length, 1);
    for (const word of ["--jwt-public-key", "--insecure-open"]) assertStringIncludes(lines[0]!, word);
  },
});

// ---- TLS ----

testOverTransports({
  name:
    "server - TLS: at SIGHUP a renewed certificate is for new connections, open ones live on, and a broken one changes nothing",
  ignore: !CAN_RUN || lacksProgram("openssl", ["version"]),
  async fn(transport) {
    const dir = await Deno.makeTempDir({ prefix: "tls-" });
    await certificate(dir, 1);
    const { ca, cert, key } = filesIn(dir);
    const options = ["--transport", transport, "--broker", "memory", "--cert", cert, "--key", key];
    await using server = await RunningServer.start(fromSource("server"), options);
    const port = Number(new URL(server.url).port);
    assert(server.url.startsWith("wss://"));
    using http = Deno.createHttpClient({ caCerts: [await Deno.readTextFile(ca)] });
    // deno-lint-ignore no-explicit-any -- Deno's own option
    const socket = new WebSocket(`${server.url}?name=alice`, { client: http } as any);
    const frames: string[] = [];
    let wake = () => {};
    socket.onmessage = ({ data }) => {
      frames.push(data);
      wake();
    };
    await new Promise((resolve) => socket.onopen = resolve);
    const serialNow = async () => {
      const { stdout } = await new Deno.Command("openssl", {
        args: ["s_client", "-connect", `127.0.0.1:${port}`, "-showcerts"],
        stdin: "null",
        stderr: "null",
      }).output();
      const leaf = `${dir}/shown.pem`;
      await Deno.writeFile(leaf, stdout);
      const shown = await new Deno.Command("openssl", { args: ["x509", "-in", leaf, "-noout", "-serial"] }).output();
      return new TextDecoder().decode(shown.stdout).trim();
    };
    assertEquals(await serialNow(), "serial=01");
    await certificate(dir, 2);
    server.kill("SIGHUP");
    await server.err.next("the certificate was read again");
    assertEquals(await serialNow(), "serial=02");
    await Deno.writeTextFile(cert, "broken");
    server.kill("SIGHUP");
    await server.err.next("the certificate stays as it was");
    assertEquals(await serialNow(), "serial=02");
    socket.send('{"sender":"alice","recipient":"alice","content":"still here","id":"1"}');
    while (frames.length === 0) await new Promise<void>((resolve) => wake = resolve);
    assertStringIncludes(frames[0]!, '"id":"1"');
    // The port behind the front takes nobody who did not come through it, and plain text gets nowhere.
    using plain = await RawSocket.connect(port);
    await plain.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
    await plain.drain();
    const closed = new Promise((resolve) => socket.onclose = resolve);
    socket.close();
    await closed;
    await Deno.remove(dir, { recursive: true });
  },
});
