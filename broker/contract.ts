/**
 * The guarantees of broker.ts as tests: one suite for every broker. Each test has a fresh broker; `reopen` is for brokers whose
 * messages outlive them.
 */

import { assert, assertEquals, assertNotEquals, assertStrictEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import type {
  Appended,
  Broker,
  BrokerRefusal,
  ConversationCursor,
  Draft,
  GroupEvent,
  GroupRequest,
  HistoryQuery,
  Marker,
  SearchQuery,
  Signal,
  Stored,
} from "../broker.ts";
import { type BrokerLimits, DEVICES_KEPT, ENDED_KEPT, GROUPS_LISTED_MAX, UNREAD_MAX } from "./limits.ts";
import { BASE_DEVICE } from "./names.ts";

/** A broker for one test, which is closed after it. */
export interface Opened extends AsyncDisposable {
  readonly broker: Broker;
  /** Removes what is too old now. */
  expire(): Promise<void>;
  /** Closes the broker and opens it again; undefined where nothing outlives it. */
  readonly reopen: (() => Promise<Broker>) | undefined;
}

/** Days of retention with which every message is too old as soon as it is sent. */
const TOO_OLD_AT_ONCE = -1;

/** Milliseconds between two looks for what is yielded after an append has resolved, and looks before a test gives up. */
const YIELD_LOOK_MS = 5, YIELD_TRIES = 2_000;

/** Opens a fresh broker with limits. */
export type Open = (limits?: Partial<BrokerLimits>) => Promise<Opened>;

function draft(sender: string, recipient: string, content: string, id?: string): Draft {
  const origin = `${sender}-laptop`;
  return { sender, recipient, content, id, origin };
}

async function know(broker: Broker, ...users: string[]): Promise<void> {
  for (const user of users) await broker.attach(user, "laptop");
}

/** Appends one message, which has to succeed, and returns its position. */
async function send(broker: Broker, sender: string, recipient: string, content: string, id?: string): Promise<number> {
  const [result] = await broker.append([draft(sender, recipient, content, id)]);
  assert(result && !("code" in result), JSON.stringify(result));
  return result.seq;
}

function codeOf(result: Appended | BrokerRefusal | object | undefined): string {
  return result && "code" in result ? String(result.code) : "ok";
}

async function group(broker: Broker, request: GroupRequest): Promise<string> {
  return codeOf(await broker.group(request));
}

async function contents(broker: Broker, user: string, after = 0, limit = 100): Promise<string[]> {
  return (await broker.read(user, after, limit)).messages.map(({ content }) => content);
}

/** Confirms everything on the only device of a user. */
async function catchUp(broker: Broker, user: string): Promise<void> {
  await broker.advance([{ user, device: "laptop", seq: Number.MAX_SAFE_INTEGER }]);
}

/** Returns true for a device that has everything if it goes on after a position. */
async function isWhole(broker: Broker, user: string, seq: number): Promise<boolean> {
  return seq >= (await broker.attach(user, "laptop")).horizon;
}

async function markersOf(broker: Broker, user: string, since: number): Promise<Marker[]> {
  return (await Array.fromAsync(broker.markers(user, since))).flat();
}

function listen(broker: Broker, user: string): { messages: Stored[]; signals: Signal[]; close(): void } {
  const messages: Stored[] = [], signals: Signal[] = [];
  const subscription = broker.subscribe(user, { message: (m) => messages.push(m), signal: (s) => signals.push(s) });
  return { messages, signals, close: () => subscription.close() };
}

/** Waits until the broker has yielded `count` messages to a listener; in order, so nothing else is under way before the last. */
async function yielded({ messages }: { readonly messages: readonly Stored[] }, count: number): Promise<void> {
  for (let tries = 0; messages.length < count && tries < YIELD_TRIES; tries++) await delay(YIELD_LOOK_MS);
}

/** Waits until everything up to a position can be read by those who follow the log. */
async function yieldedTo({ feed }: Broker, seq: number): Promise<void> {
  for (let tries = 0; (await feed.ends()).message < seq && tries < YIELD_TRIES; tries++) await delay(YIELD_LOOK_MS);
}

/** Registers the suite for one kind of broker. */
export function testBroker(name: string, open: Open, ignore = false): void {
  const test = (claim: string, run: (opened: Opened) => Promise<void>, limits: Partial<BrokerLimits> = {}) =>
    Deno.test({
      name: `${name} ${claim}`,
      ignore,
      async fn() {
        await using opened = await open(limits);
        await run(opened);
      },
    });

  // ---- append ----

  test("gives positions that grow, and keeps what is appended", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const results = await broker.append([draft("ann", "ben", "one"), draft("ben", "ann", "two"), draft("ann", "ben", "three")]);
    const seqs = results.map((result) => "seq" in result ? result.seq : 0);
    assert(seqs[0]! > 0 && seqs[0]! < seqs[1]! && seqs[1]! < seqs[2]!, String(seqs));
    const { messages, more } = await broker.read("ben", 0, 10);
    assertEquals([messages.map(({ content }) => content), more], [["one", "two", "three"], false]);
    const { sender, recipient, origin, seq, ts, id } = messages[0]!;
    assertEquals([sender, recipient, origin, seq, id], ["ann", "ben", "ann-laptop", seqs[0], undefined]);
    assert(Math.abs(ts - Date.now()) < 60_000);
  });

  test("keeps any content as it is", async ({ broker }) => {
    await know(broker, "ann");
    const odd = [
      "",
      " ",
      "a\nb\r\n",
      "\u0001\u001f\u007f",
      "🎈é\u2028",
      "'; DROP TABLE messages; --",
      '"\\',
      "x".repeat(16_384),
    ];
    for (const content of odd) await send(broker, "ann", "ann", content, content.slice(0, 9) || undefined);
    assertEquals(await contents(broker, "ann"), odd);
  });

  test("stores an id once and answers with the position it has, in one append and in another", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const ben = listen(broker, "ben");
    const [first, again] = await broker.append([draft("ann", "ben", "hi", "1"), draft("ann", "ben", "hi", "1")]);
    const [later] = await broker.append([draft("ann", "ben", "hi", "1")]);
    assert(first && "seq" in first && again && "seq" in again && later && "seq" in later);
    assertEquals([first.duplicate, again, later], [false, { ...first, duplicate: true }, { ...first, duplicate: true }]);
    await send(broker, "ann", "ben", "end");
    await yielded(ben, 2);
    assertEquals([ben.messages.length, await contents(broker, "ben")], [2, ["hi", "end"]]);
  });

  test("refuses an id that was used for another content or recipient, but not that of another sender", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await send(broker, "ann", "ben", "hi", "1");
    const results = await broker.append([
      draft("ann", "ben", "other", "1"),
      draft("ann", "cat", "hi", "1"),
      draft("ben", "ann", "hi", "1"),
      draft("ann", "ben", "hi", "2"),
    ]);
    assertEquals(results.map(codeOf), ["id_conflict", "id_conflict", "ok", "ok"]);
  });

  test("refuses an unknown recipient, and the others of the append are stored", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const results = await broker.append([
      draft("ann", "ben", "1"),
      draft("ann", "nobody", "2"),
      draft("ann", "#no", "3"),
      draft("ann", "ben", "4"),
    ]);
    assertEquals(results.map(codeOf), ["ok", "unknown_recipient", "unknown_group", "ok"]);
    assertEquals(await contents(broker, "ben"), ["1", "4"]);
  });

  test("refuses messages to a full mailbox until they are delivered, and drops none", async ({ broker }) => {
    await know(broker, "ann", "ben");
    // A sender's share is half of what the others have left.
    const results = await broker.append([1, 2, 3, 4].map((n) => draft("ann", "ben", String(n), String(n))));
    assertEquals(results.map(codeOf), ["ok", "ok", "ok", "mailbox_full"]);
    assertEquals(codeOf((await broker.append([draft("ann", "ben", "1", "1")]))[0]), "ok", "a repeated one is no new one");
    assertEquals(await contents(broker, "ben"), ["1", "2", "3"]);
    const [, second] = (await broker.read("ben", 0, 10)).messages;
    await broker.mark([{ user: "ben", kind: "delivered", with: "ann", seq: second!.seq }]);
    const after = await broker.append([4, 5, 6].map((n) => draft("ann", "ben", String(n), String(n))));
    assertEquals(after.map(codeOf), ["ok", "ok", "mailbox_full"]);
    assertEquals(codeOf((await broker.append([draft("ben", "ann", "hi")]))[0]), "ok", "the other way is free");
    await group(broker, { op: "create", user: "ben", group: "#g", open: true });
    await group(broker, { op: "join", user: "ann", group: "#g" });
    assertEquals(codeOf((await broker.append([draft("ann", "#g", "hi")]))[0]), "ok", "a group is not a mailbox");
  }, { mailbox: 6 });

  test("lets one sender take half of what is free in a mailbox, and says so", async ({ broker }) => {
    await know(broker, "mal", "cat", "dan", "ben");
    const fill = async (sender: string) => {
      const results = await broker.append(Array.from({ length: 9 }, (_, n) => draft(sender, "ben", String(n))));
      const refusal = results.find((result) => "code" in result);
      return [results.filter((result) => !("code" in result)).length, refusal && "code" in refusal ? refusal.message : ""];
    };
    const share = 'Your share of the mailbox of "ben" is full; try again when they have read what you sent';
    assertEquals([await fill("mal"), await fill("cat"), await fill("dan")], [[4, share], [2, share], [1, share]]);
    assertEquals((await fill("mal"))[0], 0);
    const mine = (await broker.read("cat", 0, 10)).messages;
    await broker.mark([{ user: "ben", kind: "delivered", with: "cat", seq: mine.at(-1)!.seq }]);
    assertEquals([(await fill("mal"))[0], (await fill("cat"))[0], (await fill("dan"))[0]], [0, 2, 0]);
  }, { mailbox: 8 });

  test("begins no conversation with a draft that it refuses", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat", "dan");
    await send(broker, "ann", "ben", "hi", "1");
    await send(broker, "dan", "ben", "hi");
    const refused = await broker.append([draft("ann", "cat", "hi", "1"), draft("cat", "ben", "hi"), draft("ann", "eve", "hi")]);
    assertEquals(refused.map(codeOf), ["id_conflict", "mailbox_full", "unknown_recipient"]);
    for (const [user, other] of [["cat", "ann"], ["ann", "cat"], ["ben", "cat"], ["cat", "ben"]] as const) {
      const [marked] = await broker.mark([{ user, kind: "read", with: other, seq: 1 }]);
      assertEquals(marked!.moved, false, `${user} and ${other} have no conversation`);
    }
    assertEquals((await broker.append([draft("ann", "cat", "hi", "2")])).map(codeOf), ["ok"]);
  }, { mailbox: 2 });

  test("frees the ids of a group that has ended, once no device is due any of it", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const seq = await send(broker, "ann", "#g", "hi", "1");
    await group(broker, { op: "leave", user: "ann", group: "#g" });
    assertEquals((await broker.append([draft("ann", "ben", "hi", "1")])).map(codeOf), ["id_conflict"]);
    await broker.advance([{ user: "ann", device: "laptop", seq }]);
    assertEquals((await broker.append([draft("ann", "ben", "hi", "1")])).map(codeOf), ["ok"]);
  });

  test("gives no page of what retention has removed since the page before", async ({ broker, expire }) => {
    await know(broker, "ann", "ben");
    for (let n = 1; n <= 5; n++) await send(broker, "ann", "ben", String(n));
    const { messages, more } = await broker.read("ben", 0, 2);
    assertEquals([messages.map(({ content }) => content), more], [["1", "2"], true]);
    await expire();
    assertEquals(await broker.read("ben", messages.at(-1)!.seq, 9), { messages: [], more: false });
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("counts no more as waiting what retention has removed", async ({ broker, expire }) => {
    await know(broker, "ann", "ben");
    const fill = async () => (await broker.append(Array.from({ length: 3 }, () => draft("ann", "ben", "x")))).map(codeOf);
    assertEquals(await fill(), ["ok", "ok", "mailbox_full"]);
    await expire();
    assertEquals(await fill(), ["ok", "ok", "mailbox_full"]);
  }, { mailbox: 4, retentionDays: TOO_OLD_AT_ONCE });

  test("answers a repeated draft with its position though its sender has left the group since", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const seq = await send(broker, "ben", "#g", "hi", "1");
    await group(broker, { op: "leave", user: "ben", group: "#g" });
    const [again, other] = await broker.append([draft("ben", "#g", "hi", "1"), draft("ben", "ann", "hi", "1")]);
    assert(again && "seq" in again);
    assertEquals([again.seq, again.duplicate, codeOf(other)], [seq, true, "id_conflict"]);
  });

  test("counts no notes to oneself as waiting", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const results = await broker.append([1, 2, 3].map((n) => draft("ann", "ann", String(n))));
    assertEquals(results.map(codeOf), ["ok", "ok", "ok"]);
    assertEquals(codeOf((await broker.append([draft("ben", "ann", "hi")]))[0]), "ok");
  }, { mailbox: 1 });

  // ---- subscribe ----

  test("yields each message once to the recipient and to the sender, in order, and to nobody else", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const [ann, ben, cat] = ["ann", "ben", "cat"].map((user) => listen(broker, user)) as [
      ReturnType<typeof listen>,
      ReturnType<typeof listen>,
      ReturnType<typeof listen>,
    ];
    await Promise.all([
      broker.append([draft("ann", "ben", "1"), draft("ben", "ann", "2")]),
      broker.append([draft("ann", "ann", "3"), draft("ann", "ben", "4")]),
    ]);
    const texts = (messages: Stored[]) => messages.map(({ content }) => content);
    await yielded(ann, 4);
    assertEquals([texts(ann.messages), texts(ben.messages), texts(cat.messages)], [["1", "2", "3", "4"], ["1", "2", "4"], []]);
    assertEquals(ann.messages[0], ben.messages[0]);
    for (const { seq, content } of ben.messages) {
      assertEquals((await broker.read("ben", seq - 1, 1)).messages[0]!.content, content);
    }
  });

  test("yields nothing after a subscription is closed, and closing twice is fine", async ({ broker }) => {
    await know(broker, "ann");
    const one = listen(broker, "ann"), two = listen(broker, "ann");
    one.close();
    one.close();
    await send(broker, "ann", "ann", "hi");
    await yielded(two, 1);
    broker.signal(["ann"], { type: "typing", sender: "ann", recipient: "ann" });
    assertEquals([one.messages.length, two.messages.length], [0, 1]);
    assertEquals([one.signals.length, two.signals.length], [0, 1]);
  });

  test("yields nothing that was appended before a subscription", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const before = listen(broker, "ben");
    await send(broker, "ann", "ben", "before");
    await yielded(before, 1);
    const ben = listen(broker, "ben");
    await send(broker, "ann", "ben", "after");
    await yielded(ben, 1);
    assertEquals(ben.messages.map(({ content }) => content), ["after"]);
  });

  test("yields one object to all receivers of a message, once to each subscriber", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["ben", "cat"]) await group(broker, { op: "join", user, group: "#g" });
    const all = ["ann", "ben", "ben", "cat"].map((user) => listen(broker, user));
    const seq = await send(broker, "ann", "#g", "hi", "1");
    for (const listener of all) await yielded(listener, 1);
    for (const { messages } of all) {
      assertEquals(messages.map((message) => message.seq), [seq]);
      assertStrictEquals(messages[0], all[0]!.messages[0]);
    }
    const { ts, ...message } = all[0]!.messages[0]!;
    assertEquals(message, { ...draft("ann", "#g", "hi", "1"), seq });
    assertEquals((await broker.read("cat", 0, 10)).messages, [{ ...message, ts }], "a page has the same");
  });

  test("hands signals to the subscribers of a user alone", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const ann = listen(broker, "ann"), ben = listen(broker, "ben");
    broker.signal(["ben"], { type: "typing", sender: "ann", recipient: "ben" });
    broker.signal(["nobody"], { type: "typing", sender: "ann", recipient: "nobody" });
    broker.signal(["ann", "ben"], { type: "typing", sender: "cat", recipient: "ann" });
    assertEquals([ann.signals.length, ben.signals.length], [1, 2]);
  });

  // ---- attach, advance ----

  test("starts a new device at the head, at the user's most advanced device, or some messages back", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const seqs = [];
    for (const n of [1, 2, 3, 4]) seqs.push(await send(broker, "ann", "ben", String(n)));
    const newcomer = await broker.attach("cat", "laptop");
    assertEquals([newcomer.position, newcomer.isNew], [newcomer.head, true]);
    await broker.advance([{ user: "ben", device: "laptop", seq: seqs[1]! }]);
    assertEquals((await broker.attach("ben", "phone")).position, seqs[1]);
    assertEquals((await broker.attach("ben", "tablet", { last: 0 })).position, seqs[3]);
    const { position } = await broker.attach("ben", "desktop", { last: 3 });
    assertEquals(await contents(broker, "ben", position), ["2", "3", "4"]);
    assertEquals(await contents(broker, "ben", (await broker.attach("ben", "tv", { last: 99 })).position), [
      "1",
      "2",
      "3",
      "4",
    ]);
  });

  test("starts a new device among the messages that its user may see, own ones included", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await send(broker, "ann", "ben", "1");
    await send(broker, "ann", "#g", "before ben");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    await send(broker, "ben", "#g", "2");
    await send(broker, "ann", "ann", "not for ben");
    const last = await send(broker, "ann", "ben", "3");
    const all = await broker.attach("ben", "phone", { last: 3 }), two = await broker.attach("ben", "tablet", { last: 2 });
    assertEquals([await contents(broker, "ben", all.position), await contents(broker, "ben", two.position)], [
      ["1", "2", "3"],
      ["2", "3"],
    ]);
    assertEquals([all.head, two.head], [last, last]);
  });

  test("registers nobody for a confirmation", async ({ broker }) => {
    await know(broker, "ann");
    const seq = await send(broker, "ann", "ann", "hi");
    await broker.advance([{ user: "nobody", device: "laptop", seq }, { user: "ann", device: "phone", seq }]);
    assertEquals(await broker.lastSeen(["nobody"]), [undefined]);
    assertEquals((await broker.attach("ann", "phone", { last: 1 })).isNew, true);
  });

  test("keeps the positions of devices apart, and moves them only forward", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const [one, two] = [await send(broker, "ann", "ben", "1"), await send(broker, "ann", "ben", "2")];
    await broker.attach("ben", "phone", { last: 2 });
    await broker.advance([{ user: "ben", device: "laptop", seq: two }, { user: "ben", device: "laptop", seq: one }]);
    const laptop = await broker.attach("ben", "laptop", { last: 5 }), phone = await broker.attach("ben", "phone");
    assertEquals([laptop.position, laptop.isNew, phone.isNew], [two, false, false]);
    assert(phone.position < one);
    await broker.advance([{ user: "ben", device: "laptop", seq: two + 1_000 }]);
    assertEquals((await broker.attach("ben", "laptop")).position, two, "not beyond the head");
  });

  test("remembers a bounded number of devices, and forgets those whose names were made up first", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await broker.attach("ben", BASE_DEVICE);
    await broker.attach("ben", "phone");
    for (let n = 0; n < 5; n++) await send(broker, "ann", "ben", String(n));
    const named = (await broker.attach("ben", "d-named", { temporary: true })).position;
    assertEquals((await broker.attach("ben", "d-named")).isNew, false);
    for (let n = 0; n < 3 * DEVICES_KEPT; n++) {
      const { head } = await broker.attach("ben", `d-${n}`, { temporary: true });
      await broker.advance([{ user: "ben", device: `d-${n}`, seq: head }]);
    }
    const phone = await broker.attach("ben", "phone");
    assertEquals([phone.isNew, await contents(broker, "ben", phone.position)], [false, ["0", "1", "2", "3", "4"]]);
    const other = await broker.attach("ben", "d-named", { temporary: true });
    assertEquals([other.isNew, other.position], [false, named], "a device that was named is none that was made up");
    for (const [device, isNew] of [[BASE_DEVICE, false], ["laptop", false], ["d-1", true]] as const) {
      assertEquals((await broker.attach("ben", device)).isNew, isNew, device);
    }
  });

  test("forgets no device that has mail waiting before one that has none, its own messages aside", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await broker.attach("ben", "phone", { last: 0 });
    await send(broker, "ann", "ben", "for the phone");
    await broker.attach("ben", "idle", { last: 0 });
    await broker.append([{ ...draft("ben", "ann", "mine"), origin: "script" }]);
    await broker.attach("ben", "script", { last: 1 });
    const { head } = await broker.attach("ben", "ready", { last: 0 });
    for (let n = 4; n < DEVICES_KEPT; n++) await broker.attach("ben", `device-${n}`, { last: 9 });
    // idle has one message waiting by now, script only its own, ready none.
    await broker.attach("ben", "new-1", { last: 9 });
    await broker.attach("ben", "new-2", { last: 9 });
    const kept = async (device: string) => !(await broker.attach("ben", device, { last: 0 })).isNew;
    assertEquals([await kept("phone"), await kept("idle"), await kept("new-1"), await kept("new-2")], [true, true, true, true]);
    assertEquals((await broker.attach("ben", "phone")).position < head, true);
    assertEquals([await kept("script"), await kept("ready")], [false, false]);
  });

  test("forgets the device furthest behind where mail waits for all, but not the one of base connections", async ({ broker }) => {
    await know(broker, "ann");
    await broker.attach("ann", BASE_DEVICE);
    const first = await send(broker, "ann", "ann", "1");
    for (let n = 2; n < DEVICES_KEPT; n++) await broker.attach("ann", `device-${n}`, { last: 0 });
    await broker.append([{ ...draft("ann", "ann", "2"), origin: "" }]);
    await broker.advance(["laptop", "device-50"].map((device) => ({ user: "ann", device, seq: first + 1 })));
    await broker.append([{ ...draft("ann", "ann", "3"), origin: "" }]);
    await broker.attach("ann", "one-more", { last: 1 });
    const [gone, kept, base] = [
      await broker.attach("ann", "device-10"),
      await broker.attach("ann", "device-50"),
      await broker.attach("ann", BASE_DEVICE),
    ];
    assertEquals([gone.isNew, kept.isNew, base.isNew], [true, false, false]);
  });

  // ---- read ----

  test("reads all of a user's conversations in one order, a page at a time", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat", "dan");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const wanted: string[] = [];
    for (let n = 0; n < 40; n++) {
      const [from, to] = ([["ann", "ben"], ["cat", "ben"], ["ben", "dan"], ["ann", "#g"]] as const)[n % 4]!;
      await send(broker, from, to, String(n));
      await send(broker, "cat", "dan", "not for ben");
      wanted.push(String(n));
    }
    const found: string[] = [];
    for (let after = 0, more = true; more;) {
      const page = await broker.read("ben", after, 7);
      assert(page.messages.length > 0 && page.messages.length <= 7);
      found.push(...page.messages.map(({ content }) => content));
      after = page.messages.at(-1)!.seq;
      more = page.more;
    }
    assertEquals(found, wanted);
    assertEquals(await broker.read("nobody", 0, 10), { messages: [], more: false });
  });

  test("reads many conversations in bursts in one order, whatever the pages, also while more are begun and left", async ({ broker }) => {
    const users = Array.from({ length: 60 }, (_, n) => `u${n}`);
    await know(broker, "ann", ...users);
    const wanted: string[] = [];
    const burst = async (user: string, count: number) => {
      const drafts = Array.from({ length: count }, (_, n) => draft("ann", user, `${wanted.length + n}`));
      wanted.push(...drafts.map(({ content }) => content));
      await broker.append(drafts);
    };
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const [n, user] of users.entries()) await burst(user, 1 + (n * 7) % 23);
    await burst("#g", 30);
    for (const [n, user] of users.entries()) await burst(user, 1 + (n * 5) % 3);
    for (const limit of [1_000, 13]) {
      const found: string[] = [];
      let changed = false;
      for (let after = 0, more = true; more;) {
        const page = await broker.read("ann", after, limit);
        found.push(...page.messages.map(({ content }) => content));
        after = page.messages.at(-1)!.seq;
        more = page.more;
        if (limit === 13 && !changed) {
          changed = true;
          await know(broker, "zoe");
          await burst("zoe", 2);
          await group(broker, { op: "leave", user: "ann", group: "#g" });
        }
        if (limit === 13 && found.length === 26) await burst("u3", 2);
      }
      assertEquals(found, wanted);
    }
  });

  test("says that there is more exactly where there is", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    for (let n = 0; n < 20; n++) await send(broker, "ann", n % 2 ? "ben" : "cat", String(n));
    for (const [user, limit, more] of [["ben", 10, false], ["ben", 9, true], ["ann", 20, false], ["ann", 19, true]] as const) {
      const page = await broker.read(user, 0, limit);
      assertEquals([page.messages.length, page.more], [limit, more], `${user} ${limit}`);
    }
    const { head } = await broker.attach("ann", "laptop");
    assertEquals(await broker.read("ann", head, 10), { messages: [], more: false });
  });

  test("reads large messages in pages that are complete one after the other", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const wanted: string[] = [];
    for (let n = 0; n < 60; n++) {
      wanted.push(`${n}`.padEnd(n % 4 === 0 ? 16_000 : 10));
      await send(broker, "ann", n % 3 === 0 ? "cat" : "ben", wanted.at(-1)!);
    }
    const found: string[] = [];
    for (let after = 0, more = true; more;) {
      const page = await broker.read("ann", after, 50);
      assert(page.messages.length > 0);
      found.push(...page.messages.map(({ content }) => content));
      after = page.messages.at(-1)!.seq;
      more = page.more;
    }
    assertEquals(found, wanted);
  });

  test("yields to a subscription made before what the page does not have", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const all = Array.from({ length: 20 }, (_, n) => String(n));
    const sending: Promise<unknown>[] = [], seen: { live: ReturnType<typeof listen>; page: Promise<string[]> }[] = [];
    for (const n of all) {
      sending.push(broker.append([draft("ann", "ben", n)]));
      if (Number(n) % 3 === 0) await sending[Number(n) / 2 | 0];
      seen.push({ live: listen(broker, "ben"), page: contents(broker, "ben") });
    }
    await Promise.all(sending);
    const last = listen(broker, "ben");
    await send(broker, "ann", "ben", "end");
    // Some sent just before may come first.
    for (let n = 1; last.messages.at(-1)?.content !== "end" && n < YIELD_TRIES; n++) await yielded(last, n);
    for (const { live, page } of seen) {
      const found = new Set([...await page, ...live.messages.map(({ content }) => content)]);
      found.delete("end");
      assertEquals([...found].sort((a, b) => Number(a) - Number(b)), all);
    }
  });

  test("carries out changes in the order in which they were made", async ({ broker }) => {
    const results = await Promise.all(
      [
        broker.attach("ann", "laptop"),
        broker.attach("ben", "laptop"),
        broker.group({ op: "create", user: "ann", group: "#g", open: true }),
        broker.append([draft("ben", "#g", "1")]),
        broker.group({ op: "join", user: "ben", group: "#g" }),
        broker.append([draft("ben", "#g", "2")]),
        broker.group({ op: "leave", user: "ben", group: "#g" }),
        broker.append([draft("ben", "#g", "3")]),
      ] as const,
    );
    assertEquals([results[3], results[5], results[7]].map(([result]) => codeOf(result)), ["not_member", "ok", "not_member"]);
    assertEquals(await contents(broker, "ann"), ["2"], "a question sees what had resolved");
  });

  // ---- history, conversations ----

  test("pages through a conversation backwards and forwards, oldest first", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const seqs: number[] = [];
    for (let n = 0; n < 9; n++) {
      seqs.push(await send(broker, n % 2 ? "ben" : "ann", n % 2 ? "ann" : "ben", String(n)));
      await send(broker, "ann", "cat", "elsewhere");
    }
    const page = async (query: Omit<HistoryQuery, "with">, user = "ann", other = "ben") => {
      const found = await broker.history(user, { with: other, ...query });
      return "code" in found ? found.code : [found.messages.map(({ content }) => content).join(""), found.more];
    };
    assertEquals(await page({ limit: 3 }), ["678", true]);
    assertEquals(await page({ limit: 3 }, "ben", "ann"), ["678", true]);
    assertEquals(await page({ limit: 3, before: seqs[6]! }), ["345", true]);
    assertEquals(await page({ limit: 3, before: seqs[3]! }), ["012", false]);
    assertEquals(await page({ limit: 3, after: seqs[3]! }), ["456", true]);
    assertEquals(await page({ limit: 9, after: seqs[6]! }), ["78", false]);
    assertEquals(await page({ limit: 9, after: seqs[1]!, before: seqs[4]! }), ["23", false]);
    assertEquals(await page({ limit: 9 }, "cat", "ben"), ["", false]);
    assertEquals(await page({ limit: 9 }, "ann", "nobody"), "unknown_recipient");
    assertEquals(await page({ limit: 9 }, "ann", "#nothing"), "unknown_group");
  });

  test("pages through a group no further back than its reader has been in it", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const before = await send(broker, "ann", "#g", "before");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const first = await send(broker, "ann", "#g", "1");
    await send(broker, "ben", "#g", "2");
    const page = async (query: Omit<HistoryQuery, "with">) => {
      const found = await broker.history("ben", { with: "#g", ...query });
      assert(!("code" in found));
      return [found.messages.map(({ content }) => content).join(""), found.more];
    };
    assertEquals(await page({ limit: 9 }), ["12", false]);
    assertEquals(await page({ limit: 2 }), ["12", false]);
    assertEquals(await page({ limit: 9, after: before - 1 }), ["12", false]);
    assertEquals(await page({ limit: 9, before: first }), ["", false]);
  });

  test("lists conversations, the most recent first, with what is unread", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const one = await send(broker, "ben", "ann", "1");
    await send(broker, "ben", "ann", "2");
    await send(broker, "ann", "ben", "mine");
    await send(broker, "cat", "ann", "3");
    await broker.mark([{ user: "ann", kind: "read", with: "ben", seq: one }]);
    const { conversations, more } = await broker.conversations("ann", 10);
    const rows = conversations.map(({ with: other, last, read, unread }) => [other, last?.content, read, unread]);
    assertEquals([rows, more], [[["cat", "3", 0, 1], ["ben", "mine", one, 1]], false]);
    const cut = await broker.conversations("ann", 1);
    assertEquals([cut.conversations.length, cut.more], [1, true]);
    assertEquals(await broker.conversations("nobody", 10), { conversations: [], more: false });
  });

  test("goes on with a list of conversations where the last one ended, through the groups without messages too", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat", "dan");
    for (const name of ["#a", "#b", "#c"]) await group(broker, { op: "create", user: "ann", group: name, open: true });
    for (const user of ["ben", "cat", "dan"]) await send(broker, user, "ann", "hi");
    await send(broker, "ann", "#b", "hi");
    for (const limit of [1, 2, 3, 4, 7]) {
      const names: string[] = [];
      for (let before: ConversationCursor | undefined, more = true; more;) {
        const page = await broker.conversations("ann", limit, before);
        names.push(...page.conversations.map((row) => row.with));
        const last = page.conversations.at(-1)!;
        before = { seq: last.last?.seq ?? 0, with: last.with };
        more = page.more;
      }
      assertEquals(names, ["#b", "dan", "cat", "ben", "#a", "#c"], `limit ${limit}`);
    }
  });

  test("counts what is unread among the newest messages, own ones included", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await send(broker, "ben", "ann", "old");
    await broker.append(Array.from({ length: UNREAD_MAX - 1 }, () => draft("ann", "ben", "mine")));
    const unread = async () => (await broker.conversations("ann", 10)).conversations.map((row) => row.unread);
    assertEquals(await unread(), [1]);
    await send(broker, "ann", "ben", "mine");
    assertEquals(await unread(), [0]);
  });

  test("counts what is unread in a group since joining, and not beyond a bound", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await send(broker, "ann", "#g", "before");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const unread = async () =>
      (await broker.conversations("ben", 10)).conversations.map(({ last, unread }) => [last?.seq, unread]);
    assertEquals(await unread(), [[undefined, 0]]);
    const seq = await send(broker, "ann", "#g", "after");
    assertEquals(await unread(), [[seq, 1]]);
    await broker.append(Array.from({ length: UNREAD_MAX + 5 }, () => draft("ann", "#g", "many")));
    assertEquals(await unread(), [[seq + UNREAD_MAX + 5, UNREAD_MAX]]);
  });

  // ---- markers ----

  test("finds messages by the beginnings of their words, whatever case and accents, newest page first", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const seqs = [
      await send(broker, "ann", "ben", "The Release is on Friday"),
      await send(broker, "ben", "ann", "releases: CAFÉ first"),
      await send(broker, "ann", "cat", "no prerelease"),
      await send(broker, "cat", "ann", "東京タワー, release?"),
    ];
    const find = async (query: string, more: Partial<SearchQuery> = {}) => {
      const found = await broker.search("ann", { query, limit: 10, ...more });
      assert(!("code" in found), query);
      return found.messages.map(({ seq }) => seqs.indexOf(seq) + 1);
    };
    assertEquals(await find("release"), [1, 2, 4]);
    assertEquals(await find("RELEASE friday"), [1]);
    assertEquals(await find("cafe"), [2]);
    assertEquals(await find("京タ"), [4]);
    assertEquals(await find("タ京"), []);
    assertEquals(await find("on o"), []);
    assertEquals(await find("release", { with: "ben" }), [1, 2]);
    const page = await broker.search("ann", { query: "release", limit: 2 });
    assert(!("code" in page));
    assertEquals([page.messages.map(({ seq }) => seq), page.before], [[seqs[1]!, seqs[3]!], seqs[1]]);
    assertEquals(await find("release", { before: page.before! }), [1]);
    assertEquals(page.indexed, seqs.at(-1));
    assertEquals(codeOf(await broker.search("ann", { query: "?!", limit: 2 })), "bad_frame");
    assertEquals(await find('"rel* OR ann:'), []);
  });

  test("finds for nobody what they may not read", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#ops", open: true });
    await send(broker, "ann", "#ops", "secret one");
    await group(broker, { op: "join", user: "cat", group: "#ops" });
    await send(broker, "ann", "#ops", "secret two");
    await send(broker, "ann", "ben", "secret three");
    const find = async (user: string, other?: string) => {
      const found = await broker.search(user, { query: "secret", limit: 10, with: other });
      return "code" in found ? found.code : found.messages.map(({ content }) => content);
    };
    assertEquals(await find("ann"), ["secret one", "secret two", "secret three"]);
    assertEquals(await find("ben"), ["secret three"]);
    assertEquals(await find("cat"), ["secret two"]);
    assertEquals([await find("ben", "#ops"), await find("cat", "#none"), await find("cat", "dan")], [
      "not_member",
      "unknown_group",
      "unknown_recipient",
    ]);
    assertEquals([await find("cat", "ben"), await find("dan")], [[], []]);
    await group(broker, { op: "leave", user: "cat", group: "#ops" });
    assertEquals(await find("cat"), []);
    await group(broker, { op: "join", user: "cat", group: "#ops" });
    assertEquals(await find("cat"), []);
  });

  test("finds nothing that was removed", async ({ broker, expire }) => {
    await know(broker, "ann", "ben");
    await send(broker, "ann", "ben", "gone soon");
    const count = async () => {
      const found = await broker.search("ann", { query: "gone", limit: 10 });
      return "code" in found ? -1 : found.messages.length;
    };
    assertEquals(await count(), 1);
    await expire();
    assertEquals(await count(), 0);
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("searches many conversations in one order, a page at a time, and finds each message once", async ({ broker }) => {
    const friends = Array.from({ length: 12 }, (_, i) => `friend${i}`);
    await know(broker, "ann", ...friends);
    const sent: number[] = [];
    for (let i = 0; i < 60; i++) {
      const seq = await send(broker, "ann", friends[(i * 7) % 12]!, i % 3 === 0 ? `needle ${i}` : `hay ${i}`);
      if (i % 3 === 0) sent.push(seq);
    }
    const found: number[] = [];
    let before: number | undefined;
    do {
      const page = await broker.search("ann", { query: "needle", limit: 7, before });
      assert(!("code" in page) && page.messages.length <= 7);
      found.unshift(...page.messages.map(({ seq }) => seq));
      before = page.before;
    } while (before !== undefined);
    assertEquals(found, sent);
  });

  test("gives mail that waited to the first device of a user who was never here", async ({ broker }) => {
    await know(broker, "ann");
    assertEquals(await broker.lastSeen(["new"]), [undefined]);
    await broker.seen(["new"], 0);
    assertEquals(await broker.lastSeen(["new"]), [0]);
    await send(broker, "ann", "new", "welcome");
    const { position } = await broker.attach("new", "phone", { last: 0 });
    assertEquals(await contents(broker, "new", position), ["welcome"]);
    assertEquals((await broker.attach("new", "laptop", { last: 0 })).position > position, true);
  });

  test("moves markers only forward, and names the authors whom they newly cover", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const seqs = [];
    for (const n of [1, 2, 3]) seqs.push(await send(broker, "ann", "ben", String(n)));
    const mark = async (kind: "delivered" | "read", seq: number, user = "ben", other = "ann") => {
      const [marked] = await broker.mark([{ user, kind, with: other, seq }]);
      return [marked!.moved, marked!.authors];
    };
    assertEquals(await mark("delivered", seqs[1]!), [true, ["ann"]]);
    assertEquals(await mark("delivered", seqs[0]!), [false, []]);
    assertEquals(await mark("delivered", seqs[1]!), [false, []]);
    assertEquals(await mark("read", seqs[0]!), [true, ["ann"]]);
    assertEquals(await mark("read", seqs[2]! + 1_000), [true, ["ann"]], "no further than the head");
    assertEquals(await mark("delivered", seqs[2]!), [false, []], "read moves delivered along");
    assertEquals(await mark("read", seqs[2]!, "ann", "ben"), [true, []], "nobody else wrote");
    assertEquals(await mark("read", seqs[2]!, "ben", "nobody"), [false, []]);
    assertEquals(await mark("read", seqs[2]!, "ben", "#nothing"), [false, []]);
  });

  test("carries out several moves in their order, with a result for each", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const one = await send(broker, "ann", "ben", "1"), two = await send(broker, "cat", "ben", "2");
    const results = await broker.mark([
      { user: "ben", kind: "read", with: "cat", seq: two },
      { user: "ben", kind: "read", with: "nobody", seq: two },
      { user: "ben", kind: "delivered", with: "ann", seq: one },
      { user: "ben", kind: "delivered", with: "ann", seq: one },
    ]);
    assertEquals(results.map(({ moved, authors }) => [moved, authors]), [[true, ["cat"]], [false, []], [true, ["ann"]], [
      false,
      [],
    ]]);
    for (const { ts } of results) assert(Math.abs(ts - Date.now()) < 60_000);
    assertEquals(await broker.mark([]), []);
  });

  test("names every author in a group whose message a marker newly covers, but none from before its user joined", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat", "dan");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["cat", "dan"]) await group(broker, { op: "join", user, group: "#g" });
    await send(broker, "dan", "#g", "before ben");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const authors = async (seq: number) => {
      const [marked] = await broker.mark([{ user: "ben", kind: "delivered", with: "#g", seq }]);
      return [...marked!.authors].sort();
    };
    for (const user of ["ann", "ben", "cat"]) await send(broker, user, "#g", "1");
    assertEquals(await authors(await send(broker, "ann", "#g", "2")), ["ann", "cat"]);
    assertEquals(await authors(await send(broker, "cat", "#g", "3")), ["cat"]);
    assertEquals(await authors(await send(broker, "ben", "#g", "4")), []);
  });

  test("ends the markers of those who leave a group", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const seq = await send(broker, "ann", "#g", "hi");
    await broker.mark([{ user: "ben", kind: "read", with: "#g", seq }]);
    assertEquals([(await markersOf(broker, "ann", 0)).length, (await markersOf(broker, "ben", 0)).length], [2, 1]);
    await group(broker, { op: "leave", user: "ben", group: "#g" });
    assertEquals([await markersOf(broker, "ann", 0), await markersOf(broker, "ben", 0)], [[], []]);
    const [marked] = await broker.mark([{ user: "ben", kind: "read", with: "#g", seq: seq + 1 }]);
    assertEquals(marked!.moved, false);
  });

  test("names no author who has left the group", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["ben", "cat"]) await group(broker, { op: "join", user, group: "#g" });
    for (const user of ["ann", "cat"]) await send(broker, user, "#g", "hi");
    await group(broker, { op: "remove", user: "ann", group: "#g", target: "cat" });
    const seq = await send(broker, "ann", "#g", "hi");
    const [marked] = await broker.mark([{ user: "ben", kind: "read", with: "#g", seq }]);
    assertEquals([marked!.moved, marked!.authors], [true, ["ann"]]);
    const [gone] = await broker.mark([{ user: "cat", kind: "read", with: "#g", seq }]);
    assertEquals([gone!.moved, await markersOf(broker, "cat", 0)], [false, []]);
  });

  test("moves what was delivered in every conversation at once, and frees the mailbox", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await send(broker, "ann", "#g", "before ben");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const one = await send(broker, "ann", "ben", "1"), two = await send(broker, "cat", "ben", "2");
    await send(broker, "ben", "ben", "a note");
    const three = await send(broker, "ann", "#g", "3"), four = await send(broker, "cat", "ben", "4");
    const send5 = async () => codeOf((await broker.append([draft("ann", "ben", "5")]))[0]);
    assertEquals(await send5(), "mailbox_full");
    const all = async (user: string, seq: number) =>
      (await broker.markAll(user, seq)).map(({ user, kind, with: other, seq, moved, authors }) =>
        `${user} ${kind} ${other} ${seq} ${moved} ${authors}`
      ).sort();
    const wanted = [
      `ben delivered #g ${three} true ann`,
      `ben delivered ann ${one} true ann`,
      `ben delivered cat ${three} true cat`,
    ];
    assertEquals(await all("ben", three), wanted);
    assertEquals([await all("ben", three), await all("ben", two), await all("nobody", four)], [[], [], []]);
    assertEquals(await send5(), "ok");
    assertEquals((await all("ben", Number.MAX_SAFE_INTEGER)).length, 2, "no further than the newest");
    assertEquals((await markersOf(broker, "cat", 0)).map(({ user, kind, seq }) => `${user} ${kind} ${seq}`), [
      `ben delivered ${four}`,
    ]);
    assertEquals(await all("ben", Number.MAX_SAFE_INTEGER), []);
  }, { mailbox: 4 });

  test("yields the markers of many in pages, each of them once", async ({ broker }) => {
    const users = Array.from({ length: 700 }, (_, n) => `u${n}`);
    await Promise.all(users.map((user) => broker.attach(user, "laptop")));
    await know(broker, "ann");
    for (const name of ["#a", "#b"]) {
      await group(broker, { op: "create", user: "ann", group: name, open: true });
      await Promise.all(users.map((user) => group(broker, { op: "join", user, group: name })));
      const seq = await send(broker, "ann", name, "hi");
      await broker.mark(users.map((user) => ({ user, kind: "delivered", with: name, seq } as const)));
    }
    await broker.append(users.map((user) => draft("ann", user, "hi")));
    for (const user of users) await broker.markAll(user, Number.MAX_SAFE_INTEGER);
    const pages = await Array.fromAsync(broker.markers("ann", 0));
    assert(Math.max(...pages.map((page) => page.length)) < 1_500, "no page is all");
    const found = pages.flat().map(({ user, with: other }) => `${user} ${other}`);
    assertEquals([found.length, new Set(found).size], [2_100, 2_100]);
  }, { groupMembers: Infinity });

  test("keeps markers for those whom they concern", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const first = await send(broker, "ann", "ben", "1");
    await broker.mark([{ user: "ben", kind: "delivered", with: "ann", seq: first }]);
    const second = await send(broker, "ann", "ben", "2");
    await broker.mark([{ user: "ben", kind: "read", with: "ann", seq: second }]);
    const seen = async (user: string, since: number) =>
      (await markersOf(broker, user, since)).map(({ user, kind, with: other, seq }) => `${user} ${kind} ${other} ${seq}`)
        .sort();
    assertEquals(await seen("ann", 0), [`ben delivered ann ${second}`, `ben read ann ${second}`]);
    assertEquals(await seen("ben", 0), [`ben read ann ${second}`]);
    assertEquals(await seen("ann", second + 1), []);
    assertEquals(await seen("cat", 0), []);
  });

  test("keeps a private read marker for its user, and tells nobody else, not even when it moved", async ({ broker, reopen }) => {
    await know(broker, "ann", "ben");
    const one = await send(broker, "ann", "ben", "1"), two = await send(broker, "ann", "ben", "2");
    await broker.mark([{ user: "ben", kind: "read", with: "ann", seq: one }]);
    const told = await markersOf(broker, "ann", 0);
    const move = async (seq: number, isPrivate: boolean) => {
      const [result] = await broker.mark([{ user: "ben", kind: "read", with: "ann", seq, private: isPrivate }]);
      return [result!.moved, result!.authors];
    };
    const later = await send(broker, "ben", "ann", "3");
    assertEquals(await move(one, true), [false, []]);
    assertEquals(await move(two, true), [true, []]);
    assertEquals(await move(two, true), [false, []]);
    const own = (of: Broker) => markersOf(of, "ben", later).then((all) => all.map(({ user, kind, seq }) => [user, kind, seq]));
    const check = async (kept: Broker) => {
      assertEquals([await markersOf(kept, "ann", 0), await markersOf(kept, "ann", later)], [told, []]);
      assertEquals(await own(kept), [["ben", "read", two]]);
      const { conversations: [row] } = await kept.conversations("ben", 1);
      assertEquals([row!.read, row!.unread], [two, 0]);
    };
    await check(broker);
    const again = await reopen?.();
    if (again) await check(again);
    else assertEquals(await move(two, false), [true, ["ann"]], "said aloud later, it is told");
  });

  test("tells of markers in a group only the members whose messages they cover", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["ben", "cat"]) await group(broker, { op: "join", user, group: "#g" });
    const seq = await send(broker, "ann", "#g", "hello");
    const [marked] = await broker.mark([{ user: "ben", kind: "read", with: "#g", seq }]);
    assertEquals(marked!.authors, ["ann"]);
    assertEquals((await markersOf(broker, "ann", 0)).map(({ user, kind }) => `${user} ${kind}`).sort(), [
      "ben delivered",
      "ben read",
    ]);
    assertEquals(await markersOf(broker, "cat", 0), []);
  });

  // ---- groups ----

  test("delivers to a group's members what was sent since they joined, and stores it once", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const ben = listen(broker, "ben"), ann = listen(broker, "ann");
    await send(broker, "ann", "#g", "before");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const seq = await send(broker, "ben", "#g", "after", "1");
    await yielded(ben, 1);
    await yielded(ann, 2);
    assertEquals([ben.messages.map((m) => m.content), ann.messages.map((m) => m.content)], [["after"], ["before", "after"]]);
    assertEquals([await contents(broker, "ben"), await contents(broker, "ann")], [["after"], ["before", "after"]]);
    const history = await broker.history("ben", { with: "#g", limit: 10 });
    assert(!("code" in history));
    assertEquals(history.messages.map(({ seq, recipient }) => [seq, recipient]), [[seq, "#g"]]);
    assertEquals(codeOf(await broker.history("cat", { with: "#g", limit: 10 })), "not_member");
    assertEquals(codeOf((await broker.append([draft("cat", "#g", "hi")]))[0]), "not_member");
  });

  test("takes those who left or were removed out of a group at once", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["ben", "cat"]) await group(broker, { op: "join", user, group: "#g" });
    const ben = listen(broker, "ben"), cat = listen(broker, "cat"), ann = listen(broker, "ann");
    await send(broker, "ann", "#g", "1");
    assertEquals(await group(broker, { op: "remove", user: "ben", group: "#g", target: "cat" }), "forbidden");
    assertEquals(await group(broker, { op: "remove", user: "ann", group: "#g", target: "cat" }), "ok");
    assertEquals(await group(broker, { op: "leave", user: "ben", group: "#g" }), "ok");
    await send(broker, "ann", "#g", "2");
    await yielded(ann, 2);
    const texts = [ben, cat, ann].map(({ messages }) => messages.map(({ content }) => content));
    assertEquals([texts, await contents(broker, "ben")], [[["1"], ["1"], ["1", "2"]], ["1"]]);
    assertEquals(codeOf(await broker.history("ben", { with: "#g", limit: 10 })), "not_member");
    assertEquals((await broker.conversations("ben", 10)).conversations, []);
    assertEquals(await group(broker, { op: "remove", user: "ann", group: "#g", target: "cat" }), "not_member");
    assertEquals(await group(broker, { op: "leave", user: "ben", group: "#g" }), "not_member");
  });

  test("has open groups and those by invitation, and says who is in them", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    assertEquals(await group(broker, { op: "create", user: "ann", group: "#g", open: false }), "ok");
    assertEquals(await group(broker, { op: "create", user: "ben", group: "#g", open: true }), "group_exists");
    assertEquals(await group(broker, { op: "join", user: "ben", group: "#g" }), "forbidden");
    assertEquals(await group(broker, { op: "join", user: "ben", group: "#no" }), "unknown_group");
    assertEquals(await group(broker, { op: "invite", user: "cat", group: "#g", target: "ben" }), "not_member");
    assertEquals(await group(broker, { op: "invite", user: "ann", group: "#g", target: "nobody" }), "unknown_recipient");
    const invited = await broker.group({ op: "invite", user: "ann", group: "#g", target: "ben" });
    assert(!("code" in invited));
    assertEquals([invited.changed, invited.members, invited.owner], [true, ["ann", "ben"], "ann"]);
    const again = await broker.group({ op: "join", user: "ben", group: "#g" });
    assertEquals("changed" in again && again.changed, false);
    assertEquals(await group(broker, { op: "members", user: "cat", group: "#g" }), "not_member");
    const list = async (user: string) => {
      const answer = await broker.group({ op: "list", user });
      return "groups" in answer ? answer.groups : undefined;
    };
    assertEquals(await list("ben"), [{ group: "#g", owner: "ann", open: false, members: 2 }]);
    assertEquals(await list("cat"), []);
  });

  test("answers every change with the owner and the members, in the order of joining", async ({ broker }) => {
    await know(broker, "zoe", "ann", "ben");
    const ask = async (request: GroupRequest) => {
      const answer = await broker.group(request);
      assert(!("code" in answer), JSON.stringify(answer));
      return [answer.changed, answer.owner, answer.members.join(" ")];
    };
    assertEquals(await ask({ op: "create", user: "zoe", group: "#g", open: false }), [true, "zoe", "zoe"]);
    assertEquals(await ask({ op: "invite", user: "zoe", group: "#g", target: "ben" }), [true, "zoe", "zoe ben"]);
    assertEquals(await ask({ op: "invite", user: "ben", group: "#g", target: "ann" }), [true, "zoe", "zoe ben ann"]);
    assertEquals(await ask({ op: "invite", user: "ben", group: "#g", target: "zoe" }), [false, "zoe", "zoe ben ann"]);
    assertEquals(await ask({ op: "members", user: "ann", group: "#g" }), [false, "zoe", "zoe ben ann"]);
    assertEquals(await ask({ op: "remove", user: "zoe", group: "#g", target: "ben" }), [true, "zoe", "zoe ann"]);
    assertEquals(await ask({ op: "join", user: "ann", group: "#g" }), [false, "zoe", "zoe ann"]);
    assertEquals(await ask({ op: "leave", user: "zoe", group: "#g" }), [true, "ann", "ann"]);
    assertEquals(await ask({ op: "invite", user: "ann", group: "#g", target: "zoe" }), [true, "ann", "ann zoe"]);
    assertEquals(await ask({ op: "remove", user: "ann", group: "#g", target: "ann" }), [true, "", "zoe"]);
    assertEquals(await ask({ op: "members", user: "zoe", group: "#g" }), [false, "", "zoe"]);
    assertEquals(await ask({ op: "join", user: "zoe", group: "#g" }), [true, "zoe", "zoe"]);
    assertEquals(await ask({ op: "leave", user: "zoe", group: "#g" }), [true, "", ""]);
  });

  test("makes nobody the owner of a group that they were only brought into, until they write or join", async ({ broker }) => {
    await know(broker, "mal", "ann", "ben", "cat");
    const owner = async (group: string) => {
      const answer = await broker.group({ op: "list", user: "ann" });
      return "groups" in answer ? answer.groups?.find((info) => info.group === group)?.owner : undefined;
    };
    for (const name of ["#closed", "#open"]) {
      await group(broker, { op: "create", user: "mal", group: name, open: name === "#open" });
      for (const target of ["ann", "ben"]) await group(broker, { op: "invite", user: "mal", group: name, target });
      const left = await broker.group({ op: "leave", user: "mal", group: name });
      assertEquals("owner" in left && [left.owner, left.members], ["", ["ann", "ben"]]);
    }
    assertEquals([await owner("#closed"), await owner("#open")], ["", ""]);
    assertEquals(await group(broker, { op: "remove", user: "ann", group: "#closed", target: "ben" }), "forbidden");
    await send(broker, "ben", "#closed", "hi");
    await send(broker, "ann", "#closed", "hi");
    assertEquals(await owner("#closed"), "ben", "the first who wrote");
    await group(broker, { op: "join", user: "cat", group: "#open" });
    assertEquals(await owner("#open"), "cat", "who joined");
    await send(broker, "ann", "#open", "hi");
    const left = await broker.group({ op: "leave", user: "cat", group: "#open" });
    assertEquals("owner" in left && left.owner, "ann", "who has written, not who has been in it longest");
  });

  test(
    "counts no invitation against one's own groups, and lets one person take half of the places for them",
    async ({ broker }) => {
      await know(broker, "mal", "eve", "ann", "ben");
      for (const user of ["mal", "eve", "ann"]) {
        for (const n of [1, 2, 3, 4]) {
          assertEquals(await group(broker, { op: "create", user, group: `#${user}${n}`, open: false }), "ok");
        }
      }
      const invite = (user: string, name: string) => group(broker, { op: "invite", user, group: name, target: "ben" });
      const byMal = [], byEve = [];
      for (const n of [1, 2, 3]) byMal.push(await invite("mal", `#mal${n}`));
      for (const n of [1, 2]) byEve.push(await invite("eve", `#eve${n}`));
      assertEquals([byMal, byEve], [["ok", "ok", "limit_reached"], ["ok", "limit_reached"]]);
      assertEquals([await invite("ann", "#ann1"), await invite("ann", "#ann2")], ["ok", "limit_reached"]);
      for (const n of [1, 2, 3, 4, 5]) {
        const code = await group(broker, { op: "create", user: "ben", group: `#ben${n}`, open: true });
        assertEquals(code, n < 5 ? "ok" : "limit_reached");
      }
      await group(broker, { op: "leave", user: "ben", group: "#mal1" });
      assertEquals([await invite("mal", "#mal3"), await invite("mal", "#mal4")], ["limit_reached", "limit_reached"]);
      await group(broker, { op: "leave", user: "ben", group: "#ann1" });
      assertEquals(await invite("mal", "#mal3"), "ok", "a place that was left is free again");
    },
    { groupsPerUser: 4 },
  );

  test("brings nobody back into a group after they have left, by the same person", async ({ broker, reopen }) => {
    await know(broker, "mal", "ann", "ben");
    const open = { op: "create", user: "mal", group: "#g", open: false } as const;
    const invite = (broker: Broker, user: string) => group(broker, { op: "invite", user, group: "#g", target: "ben" });
    await group(broker, open);
    await group(broker, { op: "invite", user: "mal", group: "#g", target: "ann" });
    assertEquals(await invite(broker, "mal"), "ok");
    await group(broker, { op: "leave", user: "ben", group: "#g" });
    assertEquals(await invite(broker, "mal"), "forbidden");
    assertEquals(await invite(broker, "ann"), "ok", "another may");
    await group(broker, { op: "remove", user: "mal", group: "#g", target: "ben" });
    assertEquals(await invite(broker, "ann"), "ok", "who was removed has not left");
    await group(broker, { op: "leave", user: "ben", group: "#g" });
    for (const user of ["mal", "ann"]) await group(broker, { op: "leave", user, group: "#g" });
    const again = reopen ? await reopen() : broker;
    await group(again, open);
    assertEquals(await invite(again, "mal"), "forbidden", "nor into another group of that name");
  });

  test("lists groups, one's own first, and no more than an answer takes", async ({ broker }) => {
    await know(broker, "ann", "ben");
    const names = Array.from({ length: GROUPS_LISTED_MAX }, (_, i) => `#g${1_000 + i}`);
    await Promise.all(names.map((name) => group(broker, { op: "create", user: "ann", group: name, open: true })));
    await group(broker, { op: "create", user: "ann", group: "#closed", open: false });
    await group(broker, { op: "create", user: "ben", group: "#z", open: true });
    const list = async (user: string) => {
      const answer = await broker.group({ op: "list", user });
      assert("groups" in answer && answer.groups);
      return [answer.groups.map((info) => info.group), answer.more];
    };
    assertEquals(await list("ben"), [["#z", ...names.slice(0, -1)], true]);
    assertEquals(await list("ann"), [["#closed", ...names.slice(0, -1)], true]);
    await group(broker, { op: "leave", user: "ben", group: "#z" });
    assertEquals(await list("ben"), [names, false]);
  }, { groupsPerUser: Infinity });

  test("lists groups after another, one's own first", async ({ broker }) => {
    await know(broker, "ann", "ben");
    for (const name of ["#b", "#d"]) await group(broker, { op: "create", user: "ben", group: name, open: true });
    for (const name of ["#a", "#c", "#e"]) await group(broker, { op: "create", user: "ann", group: name, open: true });
    const list = async (after?: string) => {
      const answer = await broker.group({ op: "list", user: "ben", after });
      return "code" in answer ? [] : answer.groups!.map(({ group }) => group);
    };
    assertEquals(await list(), ["#b", "#d", "#a", "#c", "#e"]);
    assertEquals([await list("#b"), await list("#d"), await list("#c"), await list("#e")], [
      ["#d", "#a", "#c", "#e"],
      ["#a", "#c", "#e"],
      ["#e"],
      [],
    ]);
  });

  test("hands a group over to the eldest member, and ends it with the last", async ({ broker, expire }) => {
    await know(broker, "ann", "zoe", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["zoe", "ben"]) await group(broker, { op: "join", user, group: "#g" });
    const left = await broker.group({ op: "leave", user: "ann", group: "#g" });
    assertEquals("owner" in left && left.owner, "zoe");
    await send(broker, "zoe", "#g", "hi", "1");
    for (const user of ["ann", "zoe", "ben"]) await catchUp(broker, user);
    for (const user of ["zoe", "ben"]) await group(broker, { op: "leave", user, group: "#g" });
    assertEquals(codeOf((await broker.append([draft("zoe", "#g", "hi")]))[0]), "unknown_group");
    assertEquals(await group(broker, { op: "create", user: "ben", group: "#g", open: true }), "ok");
    assertEquals(await contents(broker, "ben"), []);
    await expire();
    await group(broker, { op: "join", user: "zoe", group: "#g" });
    await send(broker, "zoe", "#g", "new", "1");
    assertEquals(await contents(broker, "ben"), ["new"], "its ids are free");
  });

  test("delivers what was sent to a group up to the end of a membership to devices that were away, and nothing from after it", async ({ broker }) => {
    const ends: Record<string, (user: string) => Promise<unknown>> = {
      left: (user) => group(broker, { op: "leave", user, group: "#left" }),
      removed: (user) => group(broker, { op: "remove", user: "ann", group: "#removed", target: user }),
      back: async (user) => {
        await group(broker, { op: "leave", user, group: "#back" });
        await send(broker, "ann", "#back", "between");
        await group(broker, { op: "join", user, group: "#back" });
      },
      invited: async (user) => {
        await group(broker, { op: "remove", user: "ann", group: "#invited", target: user });
        await send(broker, "ann", "#invited", "between");
        await group(broker, { op: "invite", user: "ann", group: "#invited", target: user });
      },
      ended: async (user) => {
        for (const name of [user, "ann"]) await group(broker, { op: "leave", user: name, group: "#ended" });
      },
      anew: async (user) => {
        for (const name of [user, "ann"]) await group(broker, { op: "leave", user: name, group: "#anew" });
        await group(broker, { op: "create", user: "ann", group: "#anew", open: true });
      },
    };
    const gets: Record<string, readonly string[]> = { back: ["after"], invited: ["after"] };
    await know(broker, "ann");
    for (const [how, end] of Object.entries(ends)) {
      const user = `u-${how}`, name = `#${how}`;
      await know(broker, user);
      await group(broker, { op: "create", user: "ann", group: name, open: true });
      await group(broker, { op: "join", user, group: name });
      const { position } = await broker.attach(user, "laptop");
      for (const content of ["1", "2", "3"]) await send(broker, "ann", name, content);
      await end(user);
      await broker.append([draft("ann", name, "after")]);
      const page = await broker.read(user, position, 100);
      const wanted = ["1", "2", "3", ...gets[how] ?? []];
      assertEquals(
        page.messages.map(({ recipient, content }) => [recipient, content]),
        wanted.map((text) => [name, text]),
        how,
      );
      assertEquals(await isWhole(broker, user, position), true, how);
      const last = await broker.attach(user, "phone", { last: 2 });
      assertEquals(await contents(broker, user, last.position), wanted.slice(-2), how);
    }
  });

  test("keeps what an ended membership is due until every device has it, and then says so to those who go back", async ({ broker, expire, reopen }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await group(broker, { op: "join", user: "ben", group: "#g" });
    await broker.attach("ben", "phone");
    const one = await send(broker, "ann", "#g", "1"), two = await send(broker, "ann", "#g", "2");
    await group(broker, { op: "leave", user: "ben", group: "#g" });
    await group(broker, { op: "leave", user: "ann", group: "#g" });
    await broker.advance([{ user: "ben", device: "laptop", seq: two }, { user: "ben", device: "phone", seq: one }]);
    await expire();
    const again = await reopen?.() ?? broker;
    assertEquals([await contents(again, "ben", one), await isWhole(again, "ben", one)], [["2"], true]);
    await again.advance([{ user: "ben", device: "phone", seq: two }]);
    await expire();
    assertEquals([await contents(again, "ben"), await isWhole(again, "ben", one)], [[], false]);
    assertEquals(await isWhole(again, "ben", two), true);
  });

  test("raises the horizon where retention takes what an ended membership is due", async ({ broker, expire }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["ben", "cat"]) await group(broker, { op: "join", user, group: "#g" });
    const { head } = await broker.attach("ben", "laptop");
    await send(broker, "ann", "#g", "1");
    for (const user of ["ben", "cat"]) await group(broker, { op: "leave", user, group: "#g" });
    await expire();
    assertEquals([await contents(broker, "ben"), await contents(broker, "cat")], [[], []]);
    assertEquals([await isWhole(broker, "ben", head), await isWhole(broker, "cat", head)], [false, false]);
    assertEquals(await isWhole(broker, "cat", head + 1), true, "not for what came after the end");
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("keeps a bounded number of ended memberships, and says where it does not", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const seqs: number[] = [];
    for (let n = 0; n <= ENDED_KEPT; n++) {
      await group(broker, { op: "join", user: "ben", group: "#g" });
      seqs.push(await send(broker, "ann", "#g", String(n)));
      await group(broker, { op: "leave", user: "ben", group: "#g" });
    }
    assertEquals((await contents(broker, "ben", 0, 1_000)).length, ENDED_KEPT);
    assertEquals([await isWhole(broker, "ben", 0), await isWhole(broker, "ben", seqs[0]!)], [false, true]);
  });

  test("answers a repeated draft to a group that has ended with its position, while the message is kept", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    await group(broker, { op: "join", user: "ben", group: "#g" });
    const seq = await send(broker, "ben", "#g", "hi", "1");
    for (const user of ["ben", "ann"]) await group(broker, { op: "leave", user, group: "#g" });
    const [again, other] = await broker.append([draft("ben", "#g", "hi", "1"), draft("ben", "ann", "hi", "1")]);
    assertEquals(again && "seq" in again && [again.seq, again.duplicate], [seq, true]);
    assertEquals(codeOf(other), "id_conflict");
  });

  test("bounds the members of a group and the groups of a user", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    for (const name of ["#a", "#b"]) {
      assertEquals(await group(broker, { op: "create", user: "ann", group: name, open: true }), "ok");
    }
    assertEquals(await group(broker, { op: "create", user: "ann", group: "#c", open: true }), "limit_reached");
    assertEquals(await group(broker, { op: "join", user: "ben", group: "#a" }), "ok");
    assertEquals(await group(broker, { op: "join", user: "cat", group: "#a" }), "limit_reached");
    assertEquals(
      await group(broker, { op: "join", user: "ann", group: "#c" }),
      "unknown_group",
      "what was refused was not made",
    );
  }, { groupMembers: 2, groupsPerUser: 2 });

  // ---- users ----

  test("knows who was connected and when", async ({ broker }) => {
    await know(broker, "ann");
    const [never, nobody] = await broker.lastSeen(["ann", "nobody"]);
    await broker.seen(["ann", "ben"], 2_000);
    await broker.seen(["ann"], 1_000);
    assertEquals([never, nobody], [0, undefined]);
    assertEquals(await broker.lastSeen(["ann", "ben"]), [2_000, 2_000], "it only moves forward");
  });

  // ---- erasure ----

  test("erases what a user wrote and what is kept about them, and nothing of others", async ({ broker, reopen }) => {
    await know(broker, "ann", "ben", "cat");
    await broker.group({ op: "create", user: "ben", group: "#g", open: true });
    await broker.group({ op: "join", user: "ann", group: "#g" });
    await send(broker, "ann", "ben", "from ann", "a1");
    await send(broker, "ben", "ann", "from ben", "b1");
    await send(broker, "ann", "#g", "ann to all");
    await send(broker, "cat", "ben", "from cat");
    const last = await send(broker, "ann", "ann", "a note");
    await broker.mark([{ user: "ann", kind: "read", with: "ben", seq: last }]);
    await broker.seen(["ann"], 1_000);
    await broker.group({ op: "leave", user: "ann", group: "#g" });

    assertEquals(await broker.erase("ann"), 3);
    const check = async (broker: Broker) => {
      const page = await broker.read("ben", 0, 10);
      const seen = page.messages.map(({ sender, content, id, origin }) => [sender, content, id, origin]);
      assertEquals(seen, [
        ["ann", "", undefined, ""],
        ["ben", "from ben", "b1", "ben-laptop"],
        ["ann", "", undefined, ""],
        ["cat", "from cat", undefined, "cat-laptop"],
      ]);
      assertEquals(await contents(broker, "ann"), []);
      assertEquals(await broker.conversations("ann", 10), { conversations: [], more: false });
      assertEquals(await broker.history("ann", { with: "ben", limit: 10 }), { messages: [], more: false });
      assertEquals(await broker.lastSeen(["ann", "cat"]), [0, 0]);
      assertEquals(await markersOf(broker, "ben", 0), []);
      for (const user of ["ann", "ben"]) {
        for (const query of ["ann", "note"]) {
          const found = await broker.search(user, { query, limit: 10 });
          assert("messages" in found);
          assertEquals(found.messages.map(({ content }) => content), []);
        }
      }
    };
    await check(broker);
    assertEquals([await broker.erase("ann"), await broker.erase("nobody")], [0, 0]);
    await check(await reopen?.() ?? broker);
  });

  test("lets whoever comes back under an erased name begin anew, with ids that are free again", async ({ broker }) => {
    await know(broker, "ann", "ben");
    await send(broker, "ann", "ben", "before", "a1");
    const before = await send(broker, "ben", "ann", "for the one before");
    await broker.erase("ann");
    const { isNew, position } = await broker.attach("ann", "laptop");
    assertEquals([isNew, position >= before], [true, true]);
    const listener = listen(broker, "ann");
    const after = await send(broker, "ann", "ben", "after", "a1");
    await send(broker, "ben", "ann", "welcome");
    await yielded(listener, 2);
    assertEquals(await contents(broker, "ann"), ["after", "welcome"]);
    const history = await broker.history("ben", { with: "ann", limit: 10 });
    assert("messages" in history);
    assertEquals(history.messages.map(({ content }) => content), ["", "for the one before", "after", "welcome"]);
    const [marked] = await broker.mark([{ user: "ann", kind: "read", with: "ben", seq: Number.MAX_SAFE_INTEGER }]);
    assertEquals([marked!.moved, marked!.authors], [true, ["ben"]]);
    assert(after > before);
    listener.close();
  });

  test("frees an erased user's mailbox, and is asked again without harm", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    for (let i = 0; i < 2; i++) await send(broker, "ben", "ann", `${i}`);
    await send(broker, "cat", "ann", "and me");
    assertEquals(codeOf((await broker.append([draft("ben", "ann", "too much")]))[0]), "mailbox_full");
    for (let i = 0; i < 2; i++) assertEquals(await broker.erase("ann"), 0);
    await send(broker, "ben", "ann", "there is room");
    assertEquals(await contents(broker, "ann"), ["there is room"]);
    assertEquals(await contents(broker, "ben"), ["0", "1", "there is room"]);
  }, { mailbox: 4 });

  // ---- retention ----

  test("removes what is too old, says so to those who would resume there, and forgets its ids", async ({ broker, expire }) => {
    await know(broker, "ann", "ben", "cat");
    const seq = await send(broker, "ann", "ben", "old", "1");
    await expire();
    assertEquals([await contents(broker, "ben"), await contents(broker, "ann")], [[], []]);
    assertEquals(await broker.conversations("ben", 10), { conversations: [], more: false });
    assertEquals((await broker.attach("ben", "laptop")).horizon, seq);
    assertEquals((await broker.attach("cat", "laptop")).horizon, 0);
    const again = await send(broker, "ann", "ben", "new", "1");
    assert(again > seq, "positions are never given twice");
    assertEquals(await contents(broker, "ben", seq), ["new"]);
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("lists no conversation of which everything has expired, however many messages it had", async ({ broker, expire }) => {
    await know(broker, "ann", "ben", "cat");
    // As many as one step of removing takes, and one more.
    for (const [other, count] of [["ben", 1_000], ["cat", 1_001]] as const) {
      await broker.append(Array.from({ length: count }, () => draft("ann", other, "old")));
    }
    await expire();
    for (const user of ["ann", "ben", "cat"]) {
      assertEquals(await broker.conversations(user, 10), { conversations: [], more: false }, user);
    }
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("raises no horizon for those who could not see what was removed", async ({ broker, expire }) => {
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const seq = await send(broker, "ann", "#g", "old");
    await group(broker, { op: "join", user: "ben", group: "#g" });
    await expire();
    const horizons = [(await broker.attach("ann", "laptop")).horizon, (await broker.attach("ben", "laptop")).horizon];
    assertEquals(horizons, [seq, 0]);
    const { conversations } = await broker.conversations("ann", 10);
    assertEquals(conversations, [{ with: "#g", last: undefined, read: 0, unread: 0 }], "a group outlives its messages");
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("keeps what is not too old", async ({ broker, expire }) => {
    await know(broker, "ann", "ben");
    await send(broker, "ann", "ben", "kept");
    await expire();
    assertEquals([await contents(broker, "ben"), (await broker.attach("ben", "laptop")).horizon], [["kept"], 0]);
  });

  // ---- the feed ----

  test("yields the whole log in order, in bounded pages, to those who follow it", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const start = (await broker.feed.ends()).message;
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const sent = [await send(broker, "ann", "ben", "one", "1"), await send(broker, "ann", "#g", "two")];
    await broker.append([draft("ben", "#g", "he is no member")]);
    sent.push(await send(broker, "cat", "cat", "three"));
    const all: Stored[] = [];
    for (let after = start, looks = 0; all.length < 3 && looks < YIELD_TRIES; looks++) {
      const { items, upTo, removed, now } = await broker.feed.messages(after, 2);
      assert(items.length <= 2 && upTo >= after && removed === 0 && Math.abs(now - Date.now()) < 60_000);
      if (items.length === 2) assertEquals(upTo, items[1]!.seq);
      all.push(...items);
      after = upTo;
    }
    assertEquals(all.map(({ seq }) => seq), sent);
    assertEquals(all.map(({ sender, recipient, content }) => [sender, recipient, content]), [
      ["ann", "ben", "one"],
      ["ann", "#g", "two"],
      ["cat", "cat", "three"],
    ]);
    assertEquals([all[0]!.id, all[0]!.origin], ["1", "ann-laptop"]);
    assertEquals((await broker.feed.messages(sent[2]!, 10)).items, []);
  });

  test("keeps each change of a group once, with who did it, and none that nobody sees", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    const start = (await broker.feed.ends()).change;
    for (
      const request of [
        { op: "create", user: "ann", group: "#g", open: true },
        { op: "invite", user: "ann", group: "#g", target: "ben" },
        { op: "join", user: "ben", group: "#g" },
        { op: "join", user: "cat", group: "#g" },
        { op: "join", user: "cat", group: "#g" },
        { op: "remove", user: "ann", group: "#g", target: "cat" },
        { op: "members", user: "ann", group: "#g" },
        { op: "leave", user: "ann", group: "#g" },
        { op: "leave", user: "ben", group: "#g" },
      ] satisfies GroupRequest[]
    ) await group(broker, request);
    const all: GroupEvent[] = [];
    for (let after = start, looks = 0; all.length < 6 && looks < YIELD_TRIES; looks++) {
      const { items, upTo } = await broker.feed.changes(after, 4);
      all.push(...items);
      after = upTo;
    }
    assertEquals(all.map(({ op, user, by, owner, members }) => [op, user, by, owner, members]), [
      ["create", "ann", "ann", "ann", 1],
      ["invite", "ben", "ann", "ann", 2],
      ["join", "cat", "cat", "ann", 3],
      ["remove", "cat", "ann", "ann", 2],
      ["leave", "ann", "ann", "ben", 1],
      ["leave", "ben", "ben", "", 0],
    ]);
    for (const { group, ts } of all) assert(group === "#g" && Math.abs(ts - Date.now()) < 60_000);
    assertEquals((await broker.feed.changes(all.at(-1)!.number, 10)).items, []);
  });

  test("names those who have not got a message, in a group all of them", async ({ broker }) => {
    await know(broker, "ann", "ben", "cat");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    for (const user of ["ben", "cat"]) await group(broker, { op: "join", user, group: "#g" });
    const message = (sender: string, recipient: string, seq: number): Stored => ({
      ...draft(sender, recipient, ""),
      seq,
      ts: 0,
    });
    const one = message("ann", "ben", await send(broker, "ann", "ben", "one"));
    const two = message("ann", "#g", await send(broker, "ann", "#g", "two"));
    const own = message("ann", "ann", await send(broker, "ann", "ann", "own"));
    const last = message("ann", "ben", await send(broker, "ann", "ben", "three"));
    await yieldedTo(broker, last.seq);
    assertEquals(await broker.feed.undelivered([one, two, own]), [["ben"], ["ben", "cat"], []]);
    await broker.mark([{ user: "ben", kind: "delivered", with: "ann", seq: one.seq }]);
    await broker.mark([{ user: "cat", kind: "delivered", with: "#g", seq: two.seq }]);
    assertEquals(await broker.feed.undelivered([one, two, last]), [[], ["ben"], ["ben"]]);
    assertEquals(await broker.feed.undelivered([]), []);
  });

  test("says of what retention has removed before a follower got it", async ({ broker, expire }) => {
    await know(broker, "ann");
    const seq = await send(broker, "ann", "ann", "old");
    await expire();
    const { items, removed } = await broker.feed.messages(0, 10);
    assertEquals(items, []);
    assert(removed >= seq, `${removed} ${seq}`);
  }, { retentionDays: TOO_OLD_AT_ONCE });

  test("keeps the place of a follower by name, and calls back when something is added", async ({ broker, reopen }) => {
    await know(broker, "ann");
    assertEquals(await broker.feed.claim("push", 60_000), { state: "", wish: undefined });
    assertEquals(await broker.feed.save("push", "here"), true);
    assertEquals(await broker.feed.claim("push", 60_000), { state: "here", wish: undefined });
    assertEquals(await broker.feed.claim("other", 60_000), { state: "", wish: undefined });
    const added = Promise.withResolvers<void>();
    const watching = broker.feed.watch(() => added.resolve());
    await send(broker, "ann", "ann", "hi");
    await added.promise;
    watching.close();
    await broker.feed.release("push");
    const again = await reopen?.();
    if (again) assertEquals((await again.feed.claim("push", 60_000))?.state, "here");
  });

  // ---- what outlives the process ----

  test("is a log of its own, with an epoch of its own", async ({ broker }) => {
    await using other = await open();
    assertNotEquals(other.broker.epoch, broker.epoch);
    await know(broker, "ann");
    await know(other.broker, "ann");
    await send(broker, "ann", "ann", "hi");
    assertEquals(await contents(other.broker, "ann"), []);
  });

  test("finishes what was begun before it was closed", async ({ broker, reopen }) => {
    await know(broker, "ann");
    const ann = listen(broker, "ann");
    const sending = broker.append([draft("ann", "ann", "hi")]), reading = contents(broker, "ann");
    const again = await (reopen ?? (() => broker.close()))();
    assertEquals([codeOf((await sending)[0]), ann.messages.length], ["ok", 1]);
    await reading; // a question sees what had resolved when it was asked
    if (again) assertEquals(await contents(again, "ann"), ["hi"]);
  });

  test("has everything after a restart, under the same epoch", async ({ broker, reopen }) => {
    if (!reopen) return assertNotEquals(broker.epoch, "");
    await know(broker, "ann", "ben");
    await group(broker, { op: "create", user: "ann", group: "#g", open: true });
    const seq = await send(broker, "ann", "ben", "kept", "1");
    await broker.advance([{ user: "ben", device: "laptop", seq }]);
    await broker.mark([{ user: "ben", kind: "read", with: "ann", seq }]);
    const again = await reopen();
    assertEquals(again.epoch, broker.epoch);
    assertEquals(await contents(again, "ben"), ["kept"]);
    const [repeated] = await again.append([draft("ann", "ben", "kept", "1")]);
    assertEquals(repeated && "duplicate" in repeated && repeated.duplicate, true);
    assertEquals((await again.attach("ben", "laptop")).position, seq);
    assertEquals((await markersOf(again, "ann", 0)).length, 2);
    assert(await send(again, "ann", "#g", "next") > seq);
  });
}
