import { assert, assertEquals } from "@std/assert";
import { ChatClient, type Clock } from "../chat_client.ts";
import { MemoryBroker } from "../broker/memory.ts";
import type { Appended, Draft } from "../broker.ts";
import { Hub } from "../hub.ts";
import { HubSocket } from "../testing/hub_socket.ts";
import { seeded } from "../testing/random.ts";
import { close, extended, settle, setUp } from "../testing/hub_devices.ts";
import { ORDERED_IN_FLIGHT_MAX } from "./send_order.ts";

const ORDERED = { caps: ["ordered"] };

/** A broker that takes its time, and refuses what a test says; in the order of its calls, as every broker. */
class SlowBroker extends MemoryBroker {
  readonly stored: string[] = [];
  calls = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(readonly refuses: (draft: Draft) => boolean, readonly turns: () => number) {
    super();
  }

  override async append(drafts: readonly Draft[]): Promise<readonly Appended[]> {
    this.calls++;
    const before = this.#last;
    const done = Promise.withResolvers<void>();
    this.#last = done.promise;
    await before;
    for (let turn = this.turns(); turn > 0; turn--) await settle();
    const results: Appended[] = [];
    const held = new Set<string>();
    for (const draft of drafts) {
      if (held.has(draft.recipient) || this.refuses(draft)) {
        held.add(draft.recipient); // within one call nothing changes: a full mailbox stays full
        results.push({ code: "mailbox_full", message: "full" });
        continue;
      }
      results.push(...await super.append([draft]));
      this.stored.push(`${draft.recipient} ${draft.content}`);
    }
    done.resolve();
    return results;
  }
}

Deno.test("Hub keeps the order of many messages on their way, whatever is refused and however slow the broker is", async () => {
  for (let seed = 1; seed <= 5; seed++) {
    const random = seeded(seed);
    const broker = new SlowBroker(() => random() < 0.03, () => Math.floor(random() * 4));
    const rateLimit = { consume: () => random() < 0.02 ? 1 : 0 };
    const hub = new Hub({ broker, rateLimit, confirmIntervalMs: 0 });
    await Promise.all(["ann", "ben"].map((name) => broker.attach(name, "d")));
    const client = new ChatClient({
      url: "ws://hub/ws",
      name: "bot",
      device: "d",
      random,
      socket: () => new HubSocket(hub),
      clock: new EagerClock(),
    });
    client.connect();
    const sent: Record<string, string[]> = { ann: [], ben: [] };
    for (let i = 0; i < 300; i++) {
      const to = random() < 0.7 ? "ann" : "ben";
      sent[to]!.push(`${to} ${i}`);
      client.send(to, `${i}`);
    }
    await client.flushed();
    for (const [to, texts] of Object.entries(sent)) {
      assertEquals(broker.stored.filter((entry) => entry.startsWith(`${to} `)), texts, `seed ${seed}`);
    }
    await client.close();
  }
});

/** Milliseconds after which a client asks whether the server is still there, and gives up: that is no part of this. */
const SIGNS_OF_LIFE_MS = [10_000, 30_000];

/** A clock that goes on to what is due as soon as nothing else is to be done. */
class EagerClock implements Clock {
  #now = 0;

  now(): number {
    return this.#now;
  }

  after(ms: number, run: () => void): () => void {
    if (SIGNS_OF_LIFE_MS.includes(ms)) return () => {};
    const at = this.#now + ms;
    const timer = setTimeout(() => {
      this.#now = Math.max(this.#now, at);
      run();
    });
    return () => clearTimeout(timer);
  }
}

Deno.test("Hub appends what comes while the broker is busy together: a sync for each message would be slow", async () => {
  const broker = new SlowBroker(() => false, () => 2);
  const { hub } = setUp({ broker });
  await broker.attach("ann", "d");
  const bot = await extended(hub, "bot", "d", ORDERED);
  assertEquals(bot.last("welcome").caps, ["ordered"]);
  for (let i = 0; i < 100; i++) {
    bot.tell("ann", `${i}`, `${i}`);
    if (i % 10 === 9) await Promise.resolve().then(() => Promise.resolve());
  }
  while (broker.stored.length < 100) await settle();
  assertEquals(broker.stored, Array.from({ length: 100 }, (_, i) => `ann ${i}`));
  assert(broker.calls <= 3, `${broker.calls} calls`);
  close(bot);
});

Deno.test("Hub refuses what is behind a refused message until its sender begins again, and other conversations go on", async () => {
  let isFull = true;
  const broker = new SlowBroker(({ recipient }) => isFull && recipient === "ann", () => 0);
  const { hub } = setUp({ broker });
  await Promise.all(["ann", "ben"].map((name) => broker.attach(name, "d")));
  const bot = await extended(hub, "bot", "d", ORDERED);
  bot.tell("ann", "1", "1");
  await settle();
  isFull = false;
  bot.tell("ann", "2", "2");
  bot.tell("ben", "b", "b");
  await settle();
  const outcomes = () => bot.frames.flatMap((f) => f.type === "error" ? [`${f.id} ${f.code}`] : f.type === "ack" ? [f.id] : []);
  assertEquals(outcomes(), ["1 mailbox_full", "2 out_of_order", "b"]);
  assertEquals(bot.last("error").retryable, true);
  bot.say({ sender: "bot", recipient: "ann", content: "1", id: "1", again: true });
  bot.tell("ann", "2", "2");
  await settle();
  assertEquals([outcomes().slice(3), broker.stored], [["1", "2"], ["ben b", "ann 1", "ann 2"]]);
  close(bot);
});

Deno.test("Hub holds up nothing for a client that did not ask for it, nor after a refusal for good", async () => {
  const broker = new SlowBroker(({ content }) => content === "refused", () => 0);
  const { hub } = setUp({ broker });
  await broker.attach("ann", "d");
  const plain = await extended(hub, "plain"), bot = await extended(hub, "bot", "d", ORDERED);
  plain.tell("ann", "refused", "1");
  bot.tell("nobody", "x", "1");
  await settle();
  plain.tell("ann", "2", "2");
  bot.tell("nobody", "y", "2");
  await settle();
  assertEquals([plain.last("ack").id, bot.last("error").code], ["2", "unknown_recipient"]);
  close(plain, bot);
});

Deno.test("Hub closes a client that goes on sending behind a refused message for ever", async () => {
  const broker = new SlowBroker(() => true, () => 0);
  const { hub } = setUp({ broker, refusalsMax: 10 });
  await broker.attach("ann", "d");
  const bot = await extended(hub, "bot", "d", ORDERED);
  bot.tell("ann", "x", "x");
  await settle();
  for (let i = 0; i < ORDERED_IN_FLIGHT_MAX; i++) bot.tell("ann", "x", `${i}`);
  assertEquals(bot.closed, undefined);
  for (let i = 0; i < 11; i++) bot.tell("ann", "x", `more ${i}`);
  assertEquals(bot.closed?.code, 1008);
});
