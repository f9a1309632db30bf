/** One endpoint, with time that is stepped and a receiver that is a function. The network is in post_test.ts. */

import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { MemoryBroker } from "../../broker/memory.ts";
import type { Cursor, Feed } from "../../broker.ts";
import { sentenceOf } from "../../ops/log.ts";
import { FakeTiming } from "../../testing/fake_timing.ts";
import { parseEndpoints } from "./config.ts";
import { Delivery, LEASE_MS } from "./delivery.ts";
import { passing } from "./events.ts";
import type { Answer } from "./answer.ts";
import type { Post, PostRequest } from "./post.ts";
import { newSharedSecret } from "./secrets.ts";

const SECRET = newSharedSecret();
const SECOND_MS = 1_000, MINUTE_MS = 60_000, HOUR_MS = 3_600_000, DAY_MS = 86_400_000;

type Respond = (body: Body, request: PostRequest) => Answer | Promise<Answer>;

interface Body {
  readonly type: string;
  readonly timestamp: string;
  readonly data: Record<string, unknown>;
}

const OK: Answer = { status: 200, retryAfter: undefined };

/** An endpoint on a broker, with everything that it was sent. */
class Place implements AsyncDisposable {
  readonly timing: FakeTiming;
  readonly broker: MemoryBroker;
  readonly log: string[] = [];
  readonly counts = new Map<string, number>();
  /** Requests in the order in which they came. */
  readonly requests: { readonly id: string; readonly body: Body }[] = [];
  respond: Respond = () => OK;
  delivery: Delivery;
  readonly #members: Record<string, unknown>;
  #feed: Feed;

  constructor(members: Record<string, unknown> = {}, retentionDays = 30) {
    this.timing = new FakeTiming();
    this.broker = new MemoryBroker({ retentionDays, clocks: this.timing });
    this.#members = members;
    this.#feed = this.broker.feed;
    this.delivery = this.open();
  }

  endpoint(members: Record<string, unknown> = {}) {
    const one = {
      name: "push",
      url: "https://example.org/hook",
      secret: SECRET,
      events: ["message.created"],
      ...this.#members,
      ...members,
    };
    return parseEndpoints(JSON.stringify({ endpoints: [one] }), () => "")[0]!;
  }

  open(feed: Feed = this.#feed): Delivery {
    const post: Post = async (request) => {
      const body = JSON.parse(request.body);
      this.requests.push({ id: request.headers["webhook-id"]!, body });
      return await this.respond(body, request);
    };
    return new Delivery({
      endpoint: this.endpoint(),
      feed,
      epoch: () => "e",
      post,
      timing: this.timing,
      log: (event, fields) => void this.log.push(sentenceOf(event, fields)),
      meter: (_, result, count) => void this.counts.set(result, (this.counts.get(result) ?? 0) + count),
    });
  }

  async know(...users: string[]): Promise<void> {
    for (const user of users) await this.broker.attach(user, "laptop");
  }

  async send(content: string, recipient = "ben", sender = "ann"): Promise<void> {
    await this.broker.append([{ sender, recipient, content, id: undefined, origin: "" }]);
  }

  /** Contents that were sent, in order. */
  get contents(): unknown[] {
    return this.requests.map(({ body }) => body.data.content);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const closing = this.delivery.close();
    await this.timing.pass(SECOND_MS);
    await closing;
  }
}

async function placeOf(members: Record<string, unknown> = {}, retentionDays?: number): Promise<Place> {
  const place = new Place(members, retentionDays);
  await place.know("ann", "ben", "cat");
  await place.timing.pass(SECOND_MS);
  return place;
}

Deno.test("an endpoint gets what is sent from its beginning on, once and in order, and nothing of before", async () => {
  const place = new Place();
  await place.know("ann", "ben");
  await place.send("before");
  await using _ = place;
  await place.delivery.close();
  place.delivery = place.open();
  await place.timing.pass(SECOND_MS);
  for (const content of ["one", "two"]) await place.send(content);
  await place.timing.pass(SECOND_MS);
  await place.send("three");
  await place.timing.pass(HOUR_MS);
  assertEquals(place.contents.filter((content) => content !== "before"), ["one", "two", "three"]);
  const { id, body } = place.requests.at(-1)!;
  const { ts, seq } = (await place.broker.read("ben", 0, 9)).messages.at(-1)!;
  assertEquals(id, `msg_e_${seq}`);
  assertEquals(body, {
    type: "message.created",
    timestamp: new Date(ts).toISOString(),
    data: { epoch: "e", seq, sender: "ann", recipient: "ben", content: "three" },
  });
});

Deno.test("patterns say whose messages an endpoint gets, and content can be kept out", async () => {
  await using place = await placeOf({ recipients: ["c*", "#Ops-*"], content: false });
  await place.broker.group({ op: "create", user: "ann", group: "#ops-eu", open: true });
  for (const recipient of ["ben", "cat", "#ops-eu"]) await place.send("secret", recipient);
  await place.timing.pass(SECOND_MS);
  assertEquals(place.requests.map(({ body }) => [body.data.recipient, body.data.content]), [
    ["cat", undefined],
    ["#ops-eu", undefined],
  ]);
});

Deno.test("content that is too long for a webhook is left out, and the body says so", async () => {
  await using place = await placeOf();
  await place.send("x".repeat(16_385));
  await place.timing.pass(SECOND_MS);
  const { content, content_left_out } = place.requests[0]!.body.data;
  assertEquals([content, content_left_out], [undefined, true]);
});

Deno.test("what fails comes again under the same id, with growing pauses, and others are not held up by it", async () => {
  await using place = await placeOf();
  const times: number[] = [];
  place.respond = ({ data }) => {
    if (data.content !== "poison") return OK;
    times.push(place.timing.monotonic());
    return { status: 500, retryAfter: undefined };
  };
  await place.send("poison");
  await place.timing.pass(SECOND_MS);
  for (let count = 0; count < 40; count++) {
    await place.send(`m${count}`);
    await place.timing.pass(15 * MINUTE_MS);
  }
  assertEquals(place.contents.filter((content) => content !== "poison").length, 40, "each at once");
  const pauses = times.slice(1).map((time, index) => Math.round((time - times[index]!) / SECOND_MS));
  assertEquals(pauses, [5, 300, 1_800, 7_200, 18_000]);
  assertEquals(new Set(place.requests.filter(({ body }) => body.data.content === "poison").map(({ id }) => id)).size, 1);
  assertEquals(place.log.filter((line) => line.includes("failed")).length > 0, true);
});

Deno.test("what is not taken for three days is given up, counted and logged, and can be replayed", async () => {
  await using place = await placeOf();
  place.respond = ({ data }) => ({ ...OK, status: data.content === "poison" ? 503 : 200 });
  await place.send("poison");
  const { seq } = (await place.broker.read("ben", 0, 1)).messages[0]!;
  await place.timing.pass(5 * DAY_MS);
  assertEquals([place.counts.get("given_up"), place.delivery.waiting.events], [1, 0]);
  assert(
    place.log.some((line) => line.includes("which are given up: 1") && line.includes(`replay push --from ${seq - 1}`)),
    place.log.join("\n"),
  );
  const before = place.requests.length;
  await place.timing.pass(DAY_MS);
  assertEquals(place.requests.length, before);
});

Deno.test("an endpoint that is down gets one event at a time, and everything as soon as it is back", async () => {
  await using place = await placeOf({ concurrency: 8 });
  let isDown = true;
  place.respond = () => ({ ...OK, status: isDown ? 502 : 200 });
  for (let count = 0; count < 300; count++) await place.send(`m${count}`);
  await place.timing.pass(10 * HOUR_MS);
  assert(place.requests.length < 8 * 3 + 150, `${place.requests.length} attempts in ten hours`);
  assert(place.delivery.waiting.events <= 100, "no more is read than is kept");
  isDown = false;
  place.requests.length = 0;
  await place.timing.pass(12 * HOUR_MS);
  assertEquals(new Set(place.contents), new Set(Array.from({ length: 300 }, (_, count) => `m${count}`)));
  assertEquals(place.contents.length, 300, "each once");
  assert(place.log.some((line) => line.includes("takes events again")));
});

Deno.test("a receiver that asks to be left alone is, for as long as it says and no longer than a day", async () => {
  await using place = await placeOf();
  place.respond = () => ({ status: 429, retryAfter: "3600" });
  await place.send("one");
  await place.timing.pass(59 * MINUTE_MS);
  assertEquals(place.requests.length, 1);
  place.respond = () => OK;
  await place.timing.pass(2 * MINUTE_MS);
  assertEquals(place.requests.length, 2);
});

Deno.test("redirects are failures", async () => {
  await using place = await placeOf();
  place.respond = () => ({ status: 307, retryAfter: undefined });
  await place.send("one");
  await place.timing.pass(SECOND_MS);
  assertEquals([place.counts.get("failed"), place.counts.get("delivered")], [1, undefined]);
  assert(place.log.some((line) => line.includes("redirects are not followed")));
});

Deno.test("410 ends an endpoint, over a restart too, until the operator enables it; then nothing is missing", async () => {
  await using place = await placeOf();
  place.respond = () => ({ status: 410, retryAfter: undefined });
  for (const content of ["one", "two"]) await place.send(content);
  await place.timing.pass(DAY_MS);
  const asked = place.requests.length;
  assert(asked <= 2);
  assert(place.log.some((line) => line.includes("410") && line.includes("webhook enable push")));
  await place.delivery.close();
  const wishing = withWish(place.broker.feed);
  place.delivery = place.open(wishing.feed);
  await place.send("three");
  await place.timing.pass(DAY_MS);
  assertEquals(place.requests.length, asked, "nothing after a restart");
  place.respond = () => OK;
  wishing.wish = JSON.stringify({ do: "enable" });
  place.requests.length = 0;
  await place.timing.pass(10 * SECOND_MS);
  assertEquals(place.contents.toSorted(), ["one", "three", "two"]);
  assertEquals(wishing.wish, undefined, "the wish is carried out once");
});

/** A feed with an operator who wishes something. */
function withWish(feed: Feed): { wish: string | undefined; readonly feed: Feed } {
  const wishing: { wish: string | undefined; readonly feed: Feed } = {
    wish: undefined,
    feed: {
      ends: () => feed.ends(),
      messages: (after, limit) => feed.messages(after, limit),
      changes: (after, limit) => feed.changes(after, limit),
      undelivered: (messages) => feed.undelivered(messages),
      release: (name) => feed.release(name),
      watch: (changed) => feed.watch(changed),
      async claim(name, ms): Promise<Cursor | undefined> {
        const cursor = await feed.claim(name, ms);
        return cursor && { ...cursor, wish: name === "push" ? wishing.wish : undefined };
      },
      save(name, state, carriedOut) {
        if (carriedOut !== undefined && carriedOut === wishing.wish) wishing.wish = undefined;
        return feed.save(name, state);
      },
    },
  };
  return wishing;
}

Deno.test("a replay sends everything after a position again, under the same ids", async () => {
  const place = await placeOf({ events: ["message.created", "group.changed"] });
  await place.delivery.close();
  const wishing = withWish(place.broker.feed);
  place.delivery = place.open(wishing.feed);
  await using _ = place;
  await place.timing.pass(SECOND_MS);
  await place.broker.group({ op: "create", user: "ann", group: "#old", open: true });
  await place.timing.pass(MINUTE_MS);
  for (const content of ["one", "two", "three"]) {
    await place.send(content);
    await place.timing.pass(MINUTE_MS);
  }
  await place.broker.group({ op: "create", user: "ann", group: "#new", open: true });
  await place.timing.pass(MINUTE_MS);
  const first = place.requests.map(({ id }) => id);
  place.requests.length = 0;
  const { seq } = (await place.broker.read("ben", 0, 1)).messages[0]!;
  wishing.wish = JSON.stringify({ do: "replay", from: seq });
  await place.timing.pass(MINUTE_MS);
  assertEquals(place.requests.map(({ id }) => id).sort(), first.slice(2).sort());
  assert(place.log.some((line) => line.includes(`is sent again what comes after ${seq} of`)));
});

Deno.test("a crash at any moment loses nothing: what was not kept as done is sent again", async () => {
  for (let crash = 1; crash <= 60; crash += 3) {
    const place = new Place({ concurrency: 3 });
    await place.know("ann", "ben");
    await place.timing.pass(SECOND_MS);
    // Every third attempt fails at first, and saving stops at some moment: from then on the process is dead.
    let attempts = 0, saves = 0, isDead = false;
    const feed = place.broker.feed, save = feed.save.bind(feed);
    feed.save = (name, state) => {
      if (isDead || saves++ > crash / 3) return Promise.resolve(true);
      return save(name, state);
    };
    const taken = new Set<unknown>();
    place.respond = ({ data }) => {
      if (isDead) throw new Error("dead");
      if (attempts++ % 3 === 2) return { ...OK, status: 500 };
      taken.add(data.content);
      return OK;
    };
    for (let count = 0; count < 20; count++) {
      await place.send(`m${count}`);
      await place.timing.pass(100);
      if (attempts >= crash) isDead = true;
    }
    isDead = true;
    const dead = place.delivery.close();
    await place.timing.pass(SECOND_MS);
    await dead;
    feed.save = save;
    place.respond = ({ data }) => {
      taken.add(data.content);
      return OK;
    };
    place.delivery = place.open();
    await place.timing.pass(HOUR_MS);
    assertEquals(taken.size, 20, `crash ${crash}`);
    await place[Symbol.asyncDispose]();
  }
});

Deno.test("an undelivered message is told after its time, for those who have not got it, and not where everybody has", async () => {
  await using place = await placeOf({ events: ["message.undelivered"], undelivered_after: 60 });
  await place.broker.group({ op: "create", user: "ann", group: "#g", open: true });
  for (const user of ["ben", "cat"]) await place.broker.group({ op: "join", user, group: "#g" });
  await place.send("taken", "ben");
  await place.send("away", "cat");
  await place.send("some", "#g");
  await place.send("own", "ann");
  const { messages } = await place.broker.read("ben", 0, 9);
  await place.broker.mark([
    { user: "ben", kind: "delivered", with: "ann", seq: messages[0]!.seq },
    { user: "ben", kind: "delivered", with: "#g", seq: messages.at(-1)!.seq },
  ]);
  await place.timing.pass(59 * SECOND_MS);
  assertEquals(place.requests, []);
  await place.timing.pass(2 * SECOND_MS);
  assertEquals(place.requests.map(({ body }) => [body.type, body.data.content, body.data.users]), [
    ["message.undelivered", "away", ["cat"]],
    ["message.undelivered", "some", ["cat"]],
  ]);
  await place.timing.pass(HOUR_MS);
  assertEquals(place.requests.length, 2, "once");
});

Deno.test("nobody is pushed to for a message that they have got while the endpoint was down", async () => {
  await using place = await placeOf({ events: ["message.undelivered"], undelivered_after: 1 });
  place.respond = () => ({ ...OK, status: 500 });
  await place.send("hello");
  await place.timing.pass(2 * SECOND_MS);
  assertEquals(place.requests.length, 1);
  await place.broker.mark([{ user: "ben", kind: "delivered", with: "ann", seq: 99 }]);
  await place.timing.pass(HOUR_MS);
  assertEquals([place.requests.length, place.delivery.waiting.events], [1, 0]);
});

Deno.test("an endpoint that is told of more from now on gets nothing of before", async () => {
  await using place = await placeOf({ events: ["user.online"] });
  await place.send("before");
  await place.timing.pass(SECOND_MS);
  place.delivery.configure(place.endpoint({ events: ["message.created"] }));
  await place.timing.pass(SECOND_MS);
  await place.send("after");
  await place.timing.pass(SECOND_MS);
  assertEquals(place.contents, ["after"]);
});

Deno.test("what retention has removed before an endpoint got it is told once, and counted", async () => {
  await using place = await placeOf({}, 10);
  place.respond = () => ({ ...OK, status: 500 });
  for (let count = 0; count < 1_000; count++) await place.send(`m${count}`);
  await place.timing.pass(HOUR_MS);
  await place.send("later");
  await place.timing.pass(12 * DAY_MS);
  place.broker.expire();
  await place.send("new");
  place.respond = () => OK;
  await place.timing.pass(DAY_MS);
  assertEquals(place.contents.at(-1), "new");
  assertEquals([place.counts.get("missed"), place.log.filter((line) => line.includes("was too late")).length], [1, 1]);
});

Deno.test("users who come and go are told after a grace, and again at a start; who left meanwhile is told then", async () => {
  await using place = await placeOf({ events: ["user.online", "user.offline"], recipients: ["a*", "b*"] });
  const told = () => place.requests.splice(0).map(({ body }) => `${body.type} ${body.data.user}`);
  const look = async (...users: string[]) => {
    place.delivery.look(new Set(users));
    await place.timing.pass(2 * SECOND_MS);
  };
  await look("ann", "ben", "cat");
  assertEquals(told(), ["user.online ann", "user.online ben"]);
  await look("ann");
  await look("ann", "ben");
  assertEquals(told(), [], "who is back at once was never away");
  for (let looks = 0; looks < 10; looks++) await look("ann");
  assertEquals(told(), ["user.offline ben"]);
  await look("ann", "ben");
  await place.timing.pass(15 * SECOND_MS);
  assertEquals(told(), ["user.online ben"]);
  await place.delivery.close();
  place.delivery = place.open();
  await place.timing.pass(SECOND_MS);
  for (let looks = 0; looks < 10; looks++) await look("ann");
  assertEquals(told(), ["user.online ann", "user.offline ben"]);
});

Deno.test("of one user or mailbox the newest event alone waits, and a flood of them is bounded", async () => {
  await using place = await placeOf({ events: ["user.online"] });
  place.respond = () => ({ ...OK, status: 500 });
  place.delivery.offer("user ann", passing("user.online", 1, { user: "ann" }));
  await place.timing.pass(SECOND_MS);
  for (let count = 0; count < 5; count++) place.delivery.offer("user ann", passing("user.offline", count, { user: "ann" }));
  assertEquals(place.delivery.waiting.events, 1);
  for (let count = 0; count < 10_500; count++) {
    place.delivery.offer(`user u${count}`, passing("user.online", 1, { user: `u${count}` }));
  }
  assertEquals(place.delivery.waiting.events, 10_000);
  assertEquals(place.counts.get("dropped"), 501);
});

Deno.test("of two nodes one delivers, and the other takes over what is left when the first is gone", async () => {
  const place = await placeOf();
  const lease = new Lease();
  await place.delivery.close();
  const one = place.delivery = place.open(lease.of("one", place.broker.feed));
  await place.timing.pass(SECOND_MS);
  const two = place.open(lease.of("two", place.broker.feed));
  await place.timing.pass(SECOND_MS);
  await place.send("first");
  await place.timing.pass(SECOND_MS);
  assertEquals([place.contents, lease.holder], [["first"], "one"]);
  // The first node stands still: it neither renews nor delivers.
  lease.frozen = "one";
  place.respond = () => OK;
  await place.send("second");
  await place.timing.pass(LEASE_MS + 5 * SECOND_MS);
  assertEquals(lease.holder, "two");
  assert(place.contents.includes("second"));
  const count = place.requests.length;
  lease.frozen = undefined;
  await place.send("third");
  await place.timing.pass(10 * SECOND_MS);
  assertEquals(place.requests.length, count + 1, "the first one has noticed");
  assertNotEquals(place.contents.indexOf("third"), -1);
  const closing = [one.close(), two.close()];
  await place.timing.pass(SECOND_MS);
  await Promise.all(closing);
});

/** A lease that several nodes ask for, by a clock of its own. */
class Lease {
  holder: string | undefined;
  frozen: string | undefined;

  of(node: string, feed: Feed): Feed {
    const isFrozen = () => this.frozen === node;
    const late = new Error("late");
    return {
      ends: () => feed.ends(),
      messages: (after, limit) => isFrozen() ? Promise.reject(late) : feed.messages(after, limit),
      changes: (after, limit) => feed.changes(after, limit),
      undelivered: (messages) => feed.undelivered(messages),
      watch: (changed) => feed.watch(changed),
      release: () => Promise.resolve(void (this.holder = this.holder === node ? undefined : this.holder)),
      claim: (name, ms) => {
        if (isFrozen()) return Promise.reject(late);
        if (this.holder === this.frozen) this.holder = undefined;
        this.holder ??= node;
        return this.holder === node ? feed.claim(name, ms) : Promise.resolve(undefined);
      },
      save: (name, state) => this.holder === node && !isFrozen() ? feed.save(name, state) : Promise.resolve(false),
    } as Feed;
  }
}

Deno.test("what was erased while it waited is sent as it stands then, without its content and id", async () => {
  await using place = await placeOf({ concurrency: 1 });
  const held = Promise.withResolvers<Answer>();
  place.respond = () => held.promise;
  for (const id of ["a1", "a2"]) {
    await place.broker.append([{ sender: "ann", recipient: "ben", content: "secret", id, origin: "" }]);
  }
  await place.timing.pass(SECOND_MS);
  assertEquals(place.contents, ["secret"]);
  await place.broker.erase("ann");
  await place.timing.pass(SECOND_MS);
  place.respond = () => OK;
  held.resolve({ status: 500, retryAfter: undefined });
  await place.timing.pass(HOUR_MS);
  const told = place.requests.slice(1).map(({ body: { data } }) => [data.content, data.id]);
  assertEquals(told, [["", undefined], ["", undefined]]);
});

Deno.test("what retention removes from the queue of an endpoint that is down is counted, and not sent", async () => {
  await using place = await placeOf({}, 1);
  place.respond = () => ({ status: 500, retryAfter: undefined });
  await place.send("old");
  await place.timing.pass(SECOND_MS);
  await place.timing.pass(12 * HOUR_MS);
  await place.send("later");
  await place.timing.pass(30 * HOUR_MS);
  place.broker.expire();
  await place.send("new");
  const kept = (await place.broker.feed.messages(0, 9)).items.map(({ content }) => content);
  assertEquals(kept.includes("old"), false, "the test would find it");
  const { length } = place.requests;
  place.respond = () => OK;
  await place.timing.pass(DAY_MS);
  assertEquals([place.contents.slice(length).sort(), place.counts.get("missed")], [kept.sort(), 1]);
});
