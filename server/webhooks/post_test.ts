/** Receivers that answer as they should not, over real sockets. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { certificate, filesIn, oddCertificate } from "../../testing/certificate.ts";
import { lacks, lacksProgram } from "../../testing/permissions.ts";
import type { Answer } from "./answer.ts";
import { type PostRequest, postWith, type Resolve } from "./post.ts";

const ignore = lacks("net");

/** A receiver: hears what came, and answers with raw bytes, or not at all. */
class Receiver implements AsyncDisposable {
  readonly #listener: Deno.Listener;
  readonly #connections = new Set<Deno.Conn>();
  readonly #done: Promise<void>;
  readonly heard: string[] = [];

  constructor(
    answer: (connection: Deno.Conn) => Promise<void>,
    listener: Deno.Listener = Deno.listen({ hostname: "127.0.0.1", port: 0 }),
  ) {
    this.#listener = listener;
    this.#done = (async () => {
      const answering: Promise<void>[] = [];
      for await (const connection of listener) {
        this.#connections.add(connection);
        answering.push(this.#answer(connection, answer).catch(() => {}));
      }
      await Promise.all(answering);
    })();
  }

  get port(): number {
    return (this.#listener.addr as Deno.NetAddr).port;
  }

  async #answer(connection: Deno.Conn, answer: (connection: Deno.Conn) => Promise<void>): Promise<void> {
    try {
      let text = "";
      const buffer = new Uint8Array(65_536);
      while (!/\r\n\r\n[^]+\}$/.test(text)) {
        const count = await connection.read(buffer);
        if (count === null) break;
        text += new TextDecoder().decode(buffer.subarray(0, count));
      }
      this.heard.push(text);
      await answer(connection);
    } finally {
      close(connection);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#connections) close(connection);
    await this.#done.catch(() => {});
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* it is closed */ }
}

const answers = (text: string) => async (connection: Deno.Conn) => {
  await connection.write(new TextEncoder().encode(text));
};

function requestTo(url: string, more: Partial<PostRequest> = {}): PostRequest {
  return {
    url: new URL(url),
    headers: { "webhook-id": "msg_1" },
    body: '{"a":"ü"}',
    timeoutMs: 5_000,
    allowPrivate: true,
    ...more,
  };
}

/** Makes one request, and keeps no connection. */
async function post(request: PostRequest, resolve?: Resolve): Promise<Answer> {
  const one = postWith(resolve);
  try {
    return await one(request);
  } finally {
    one.close?.();
  }
}

/** Waits until a connection has ended from the other side. */
async function ended(connection: Deno.Conn): Promise<void> {
  while (await connection.read(new Uint8Array(1_024)) !== null);
}

Deno.test({
  name: "a request has path, host, length and headers, and an answer gives status and retry-after",
  ignore,
  async fn() {
    await using receiver = new Receiver(answers("HTTP/1.1 429 Slow\r\nRetry-After: 7\r\ncontent-length: 0\r\n\r\n"));
    const answer = await post(requestTo(`http://bob:p%20w@127.0.0.1:${receiver.port}/a/b?c=d#e`));
    assertEquals(answer, { status: 429, retryAfter: "7" });
    const [head, body] = receiver.heard[0]!.split("\r\n\r\n");
    assertEquals(body, '{"a":"ü"}');
    const [first, ...lines] = head!.split("\r\n");
    assertEquals(first, "POST /a/b?c=d HTTP/1.1");
    for (
      const line of [
        `host: 127.0.0.1:${receiver.port}`,
        "content-length: 10",
        "webhook-id: msg_1",
        `authorization: Basic ${btoa("bob:p w")}`,
      ]
    ) {
      assert(lines.includes(line), `${line} in ${lines}`);
    }
  },
});

Deno.test({
  name: "a redirect is an answer like others: nothing is sent to where it leads",
  ignore,
  async fn() {
    await using inner = new Receiver(answers("HTTP/1.1 200 OK\r\n\r\n"));
    await using outer = new Receiver(answers(`HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:${inner.port}/\r\n\r\n`));
    assertEquals((await post(requestTo(`http://127.0.0.1:${outer.port}/`))).status, 307);
    assertEquals(inner.heard, []);
  },
});

Deno.test({
  name: "of an answer the head alone is read, however much there is, and none longer than there should be",
  ignore,
  async fn() {
    const endless = async (connection: Deno.Conn) => {
      for (;;) await connection.write(new Uint8Array(65_536).fill(120));
    };
    await using body = new Receiver(async (connection) => {
      await answers("HTTP/1.1 200 OK\r\n\r\n")(connection);
      await endless(connection);
    });
    assertEquals((await post(requestTo(`http://127.0.0.1:${body.port}/`))).status, 200);
    await using head = new Receiver(async (connection) => {
      await answers("HTTP/1.1 200 OK\r\nx: ")(connection);
      await endless(connection);
    });
    const error = await assertRejects(() => post(requestTo(`http://127.0.0.1:${head.port}/`)), Error);
    assertStringIncludes(error.message, "longer than 16384 bytes");
  },
});

Deno.test({
  name: "a receiver that never answers, or says a byte now and then, costs its time and no more",
  ignore,
  async fn() {
    const closed: Promise<void>[] = [];
    await using silent = new Receiver((connection) => closed[closed.push(ended(connection)) - 1]!);
    const begun = performance.now();
    const error = await assertRejects(
      () => post(requestTo(`http://127.0.0.1:${silent.port}/`, { timeoutMs: 200 })),
      Error,
    );
    assertStringIncludes(error.message, "no answer within 0.2 s");
    assert(performance.now() - begun < 20_000);
    await Promise.all(closed);
    await using slow = new Receiver(async (connection) => {
      for (;;) {
        await connection.write(new Uint8Array([72]));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    });
    await assertRejects(
      () => post(requestTo(`http://127.0.0.1:${slow.port}/`, { timeoutMs: 200 })),
      Error,
      "no answer within",
    );
  },
});

Deno.test({
  name: "an attempt that is cut off ends at once, and its connection too",
  ignore,
  async fn() {
    const cut = new AbortController();
    const closed = Promise.withResolvers<void>();
    await using receiver = new Receiver(async (connection) => {
      cut.abort();
      await ended(connection).then(closed.resolve, closed.resolve);
    });
    const request = requestTo(`http://127.0.0.1:${receiver.port}/`, { signal: cut.signal });
    await assertRejects(() => post(request), Error, "cut off");
    await closed.promise;
  },
});

Deno.test({
  name: "what is no HTTP, or no answer, is a failure",
  ignore,
  async fn() {
    for (
      const [answer, words] of [["hello\r\n\r\n", "no HTTP"], ["", "without an answer"], [
        "HTTP/1.1 100 \r\n\r\n".repeat(9),
        "again and again",
      ]]
    ) {
      await using receiver = new Receiver(answers(answer!));
      await assertRejects(() => post(requestTo(`http://127.0.0.1:${receiver.port}/`)), Error, words);
    }
    await using receiver = new Receiver(answers("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"));
    assertEquals((await post(requestTo(`http://127.0.0.1:${receiver.port}/`))).status, 204);
  },
});

Deno.test({
  name: "addresses that are not the internet's are not connected to, by number or by name, unless they may be",
  ignore,
  async fn() {
    await using receiver = new Receiver(answers("HTTP/1.1 200 OK\r\n\r\n"));
    const guarded = (host: string, resolve?: (name: string) => Promise<readonly string[]>) =>
      post(requestTo(`http://${host}:${receiver.port}/`, { allowPrivate: false }), resolve);
    for (
      const host of [
        "127.0.0.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "169.254.169.254",
      ]
    ) {
      await assertRejects(() => guarded(host), Error, "allow_private lets it be");
    }
    await assertRejects(() => guarded("inside.example", () => Promise.resolve(["127.0.0.1"])), Error, "loopback");
    await assertRejects(() => guarded("none.example", () => Promise.reject(new Error("secret"))), Error, "cannot be looked up");
    assertEquals(receiver.heard, []);
  },
});

Deno.test({
  name: "the address that was checked is the one that is connected to, whatever the name leads to a moment later",
  ignore,
  async fn() {
    await using receiver = new Receiver(answers("HTTP/1.1 200 OK\r\n\r\n"));
    let asked = 0;
    // A name that is looked up again would lead inside; the one address of the internet here does not answer.
    const rebinding = () => Promise.resolve([asked++ === 0 ? "192.88.98.1" : "127.0.0.1"]);
    const request = requestTo(`http://rebind.example:${receiver.port}/`, { allowPrivate: false, timeoutMs: 300 });
    await assertRejects(() => post(request, rebinding));
    assertEquals([asked, receiver.heard.length], [1, 0]);
    const mixed = requestTo(`http://mixed.example:${receiver.port}/`, { allowPrivate: true });
    assertEquals((await post(mixed, () => Promise.resolve(["127.0.0.1"]))).status, 200);
  },
  sanitizeOps: false, // the system may still try to connect
});

Deno.test({
  name: "TLS is checked by the name of the endpoint, and a certificate that is not for it, is over or is nobody's is refused",
  ignore: ignore || lacks("read", "write", "run") || lacksProgram("openssl", ["version"]),
  async fn() {
    const dir = await Deno.makeTempDir();
    try {
      await certificate(dir);
      const files = filesIn(dir), ca = await Deno.readTextFile(files.ca);
      const serve = (pair: { cert: string; key: string }) =>
        new Receiver(
          answers("HTTP/1.1 200 OK\r\n\r\n"),
          Deno.listenTls({
            hostname: "127.0.0.1",
            port: 0,
            cert: Deno.readTextFileSync(pair.cert),
            key: Deno.readTextFileSync(pair.key),
          }),
        );
      const local = (request: PostRequest) => post(request, () => Promise.resolve(["127.0.0.1"]));
      {
        await using good = serve(files);
        const url = `https://localhost:${good.port}/`;
        assertEquals((await local(requestTo(url, { ca }))).status, 200);
        await assertRejects(() => local(requestTo(url)), Error, "cannot connect");
        await assertRejects(() => local(requestTo(`https://other.example:${good.port}/`, { ca })), Error, "cannot connect");
        assertEquals(good.heard.filter((text) => text !== "").length, 1);
        // Where a packet waits until the one before is confirmed, which takes 40 ms, not one request is faster.
        const times: number[] = [];
        while (times.length < 5) {
          const begun = performance.now();
          await local(requestTo(url, { ca }));
          times.push(performance.now() - begun);
        }
        assert(Math.min(...times) < 35, `${times}`);
      }
      for (const oddity of [{ name: "other.example" }, { from: "20200101000000Z", to: "20210101000000Z" }]) {
        await using bad = serve(await oddCertificate(dir, oddity));
        await assertRejects(() => local(requestTo(`https://localhost:${bad.port}/`, { ca })), Error, "cannot connect");
        assertEquals(bad.heard.filter((text) => text !== ""), [], "nothing was said");
      }
    } finally {
      await Deno.remove(dir, { recursive: true });
    }
  },
});
