/** Webhooks of a server in this process: what the hub tells of, on its way to a receiver. */

import { assert, assertEquals, assertThrows } from "@std/assert";
import { MemoryBroker } from "../broker/memory.ts";
import { startServer } from "../server.ts";
import { lacks } from "../testing/permissions.ts";
import { WsPeer } from "../testing/ws_peer.ts";
import { newSharedSecret, readEndpoints, WebhookFileError, Webhooks } from "./webhooks.ts";

const ignore = lacks("net", "read", "write");

interface Body {
  readonly type: string;
  readonly data: Record<string, unknown>;
}

/** Bodies that a receiver gets, one by one. */
class Receiver implements AsyncDisposable {
  readonly #server: Deno.HttpServer<Deno.NetAddr>;
  readonly #bodies: Body[] = [];
  #came = Promise.withResolvers<void>();

  constructor() {
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, async (request) => {
      this.#bodies.push(await request.json());
      this.#came.resolve();
      this.#came = Promise.withResolvers();
      return new Response();
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.addr.port}/`;
  }

  async next(type: string): Promise<Body["data"]> {
    for (;;) {
      const at = this.#bodies.findIndex((body) => body.type === type);
      if (at >= 0) return this.#bodies.splice(at, 1)[0]!.data;
      await this.#came.promise;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.shutdown();
  }
}

async function withFile(url: string, events: readonly string[], run: (file: string) => Promise<void>): Promise<void> {
  const file = await Deno.makeTempFile();
  const endpoint = { name: "push", url, secret: newSharedSecret(), events, allow_private: true, undelivered_after: 1 };
  await Deno.writeTextFile(file, JSON.stringify({ endpoints: [endpoint] }));
  try {
    await run(file);
  } finally {
    await Deno.remove(file);
  }
}

Deno.test({
  name: "a server tells of who is online, of a full mailbox, and of a message that nobody has taken",
  ignore,
  async fn() {
    await using receiver = new Receiver();
    await withFile(receiver.url, ["user.online", "mailbox.full", "message.undelivered"], async (webhooks) => {
      const broker = new MemoryBroker({ mailbox: 1 });
      await broker.attach("ben", "laptop");
      await using server = await startServer({ port: 0, broker, webhooks });
      await using ann = await WsPeer.open(server.url);
      ann.send({ type: "hello", v: 1, name: "ann", device: "laptop" });
      assertEquals(await receiver.next("user.online"), { user: "ann" }, "and by then the webhooks have begun");
      for (const content of ["one", "two"]) ann.send({ sender: "ann", recipient: "ben", content, id: content });
      assertEquals(await receiver.next("mailbox.full"), { user: "ben", sender: "ann" });
      const { content, users } = await receiver.next("message.undelivered");
      assertEquals([content, users], ["one", ["ben"]]);
    });
  },
});

Deno.test({
  name: "what is wrong with the file is told at the start, with its name",
  ignore,
  async fn() {
    const file = await Deno.makeTempFile();
    await Deno.writeTextFile(file, "{");
    const parts = { file, broker: new MemoryBroker(), online: () => Promise.resolve([]), log: () => {} };
    for (const start of [() => readEndpoints(file), () => new Webhooks(parts)]) {
      const { message } = assertThrows(start, WebhookFileError);
      assert(message.includes(file) && message.includes("no JSON"), message);
    }
    await Deno.remove(file);
    assertThrows(() => readEndpoints(file), WebhookFileError, "Cannot read --webhooks");
  },
});
