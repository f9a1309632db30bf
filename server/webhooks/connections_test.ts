/** Connections that are used again, over real sockets, and receivers that have other plans with them. */

import { assert, assertEquals, assertRejects } from "@std/assert";
import { lacks } from "../../testing/permissions.ts";
import { KeptConnections, Wire } from "./connections.ts";
import { type Post, postWith } from "./post.ts";

const ignore = lacks("net");
const OK = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/** A receiver that answers each request of a connection with the text that `answer` gives; an empty one closes it. */
class Receiver implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #open = new Set<Deno.Conn>();
  readonly #answering: Promise<void>[] = [];
  readonly #accepting: Promise<void>;
  connections = 0;
  requests = 0;

  constructor(answer: (request: number, connection: Deno.Conn) => string | Promise<string>) {
    this.#accepting = (async () => {
      for await (const connection of this.#listener) {
        this.connections++;
        this.#open.add(connection);
        this.#answering.push(this.#serve(connection, answer).catch(() => {}).finally(() => close(connection)));
      }
    })();
  }

  get url(): URL {
    return new URL(`http://127.0.0.1:${(this.#listener.addr as Deno.NetAddr).port}/`);
  }

  async #serve(connection: Deno.Conn, answer: (request: number, connection: Deno.Conn) => string | Promise<string>) {
    const buffer = new Uint8Array(65_536);
    let text = "";
    for (;;) {
      const count = await connection.read(buffer);
      if (count === null) return;
      text += new TextDecoder().decode(buffer.subarray(0, count));
      if (!text.endsWith("{}")) continue;
      text = "";
      const answered = await answer(++this.requests, connection);
      if (answered === "") return;
      await connection.write(new TextEncoder().encode(answered));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const connection of this.#open) close(connection);
    await this.#accepting;
    await Promise.all(this.#answering);
  }
}

function close(connection: Deno.Conn): void {
  try {
    connection.close();
  } catch { /* it is closed */ }
}

/** Makes requests over connections that can be counted. */
class Sender implements Disposable {
  readonly #connections = new KeptConnections();
  readonly post: Post = postWith(undefined, this.#connections);

  get kept(): number {
    return this.#connections.counts.kept;
  }

  /** Waits until the fate of every connection is known: it is ready for the next request, or closed. */
  async settled(): Promise<void> {
    const begun = performance.now();
    while (this.#connections.counts.kept > this.#connections.counts.ready) {
      assert(performance.now() - begun < 10_000, "a connection is neither ready nor closed");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Waits until no connection is kept. */
  async emptied(): Promise<void> {
    const begun = performance.now();
    while (this.#connections.counts.kept > 0) {
      assert(performance.now() - begun < 10_000, "a connection is kept");
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  [Symbol.dispose](): void {
    this.post.close?.();
  }
}

function requestTo(url: URL, allowPrivate = true) {
  return { url, headers: {}, body: "{}", timeoutMs: 5_000, allowPrivate };
}

Deno.test({
  name: "an answer whose end is certain leaves its connection for the next request, any other does not",
  ignore,
  async fn() {
    const cases: readonly (readonly [answer: string, connections: number])[] = [
      [OK, 1],
      ["HTTP/1.1 204 No Content\r\n\r\n", 1],
      ["HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", 1],
      ["HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n", 1],
      ["HTTP/1.1 100 Continue\r\n\r\n" + OK, 1],
      ["HTTP/1.1 200 OK\r\nConnection: Close\r\ncontent-length: 2\r\n\r\nok", 3],
      ["HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", 3],
      ["HTTP/1.1 200 OK\r\n\r\nok", 3],
      ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok", 3],
      ["HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 3],
      ["HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 3],
      [OK + "HTTP/1.1 200 OK\r\n\r\n", 3],
      ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nmore", 3],
      ["HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n", 3],
      [`HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n${"x".repeat(99_998)}`, 3],
    ];
    for (const [answer, connections] of cases) {
      await using receiver = new Receiver(() => answer);
      using hook = new Sender();
      for (let request = 0; request < 3; request++) {
        await hook.post(requestTo(receiver.url));
        await (connections === 1 ? hook.settled() : hook.emptied());
      }
      assertEquals([receiver.requests, receiver.connections], [3, connections], answer.slice(0, 100));
    }
  },
});

Deno.test({
  name: "a connection that the receiver has closed meanwhile costs nothing; one that fails anew is a failure",
  ignore,
  async fn() {
    await using receiver = new Receiver((request) => request === 2 || request > 3 ? "" : OK);
    using hook = new Sender();
    await hook.post(requestTo(receiver.url));
    await hook.settled();
    assertEquals((await hook.post(requestTo(receiver.url))).status, 200);
    assertEquals([receiver.requests, receiver.connections], [3, 2], "it was sent again, on another connection");
    await hook.settled();
    await assertRejects(() => hook.post(requestTo(receiver.url)), Error, "without an answer");
    assertEquals([receiver.requests, receiver.connections], [5, 3]);
  },
});

Deno.test({
  name: "what comes unasked on a connection that is kept is no answer to the next request",
  ignore,
  async fn() {
    using hook = new Sender();
    await using receiver = new Receiver(async (_, connection) => {
      await connection.write(new TextEncoder().encode(OK));
      await hook.settled();
      return "HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n";
    });
    for (let request = 0; request < 3; request++) {
      assertEquals((await hook.post(requestTo(receiver.url))).status, 200);
      await hook.emptied();
    }
    assertEquals(receiver.connections, 3);
  },
});

Deno.test({
  name: "a connection to a private address is not used for an endpoint that may not have one",
  ignore,
  async fn() {
    await using receiver = new Receiver(() => OK);
    using hook = new Sender();
    await hook.post(requestTo(receiver.url));
    await hook.settled();
    await assertRejects(() => hook.post(requestTo(receiver.url, false)), Error, "loopback");
    assertEquals(receiver.requests, 1);
  },
});

Deno.test({
  name: "a receiver that never ends its answers holds up no request, and has few connections, for a short time",
  ignore,
  async fn() {
    await using receiver = new Receiver(() => "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok");
    using hook = new Sender();
    for (let request = 0; request < 100; request++) assertEquals((await hook.post(requestTo(receiver.url))).status, 200);
    assertEquals(receiver.connections, 100);
    assertEquals(hook.kept, 32);
  },
});

Deno.test({
  name: "a connection that nobody wants is closed",
  ignore,
  async fn() {
    const ended = Promise.withResolvers<void>();
    await using receiver = new Receiver(() => OK);
    const connections = new KeptConnections(1);
    const connection = await Deno.connect({ hostname: "127.0.0.1", port: Number(receiver.url.port) });
    const wire = new Wire(connection);
    const close = wire.close.bind(wire);
    wire.close = () => {
      close();
      ended.resolve();
    };
    void connections.keep("a", wire, Promise.resolve(true));
    await ended.promise;
    assertEquals(connections.take("a"), undefined);
  },
});
