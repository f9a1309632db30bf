/** The index of words, and pages of users who are in many conversations: what is there only once a log is long. */

import { assert, assertEquals } from "@std/assert";
import { delay } from "@std/async/delay";
import type { Draft } from "../../broker.ts";
import { LACKS_POSTGRES, sharedPostgres } from "../../testing/postgres.ts";
import { openPostgresBroker, type PostgresBroker, type PostgresOptions } from "../postgres.ts";

const ignore = LACKS_POSTGRES;
/** Milliseconds between two looks, and looks before a test gives up. */
const LOOK_MS = 50, LOOKS = 600;

async function open(options: Partial<PostgresOptions> = {}) {
  const server = sharedPostgres(), schema = server.newSchema();
  const broker = await openPostgresBroker({ url: server.url(), schema, mailbox: Infinity, ...options });
  return { broker, query: (sql: string) => server.query(`SET search_path = ${schema}; ${sql}`) };
}

function draft(sender: string, recipient: string, content: string): Draft {
  return { sender, recipient, content, id: undefined, origin: "laptop" };
}

async function append(broker: PostgresBroker, drafts: readonly Draft[]): Promise<number[]> {
  return (await broker.append(drafts)).map((result) => "seq" in result ? result.seq : 0);
}

/** Waits until the index has everything up to a position. */
async function indexed(query: (sql: string) => string, seq: number): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    if (Number(query("SELECT indexed FROM indexing")) >= seq) return;
    await delay(LOOK_MS);
  }
  throw new Error("It was never indexed");
}

async function search(broker: PostgresBroker, user: string, query: string, before?: number) {
  const found = await broker.search(user, { query, limit: 3, before });
  assert(!("code" in found));
  return { contents: found.messages.map(({ content }) => content), before: found.before };
}

Deno.test({
  name: "PostgresBroker finds by the index of words what lies below the newest messages, for nobody else, until it is removed",
  ignore,
  async fn() {
    const { broker, query } = await open({ retentionDays: -1, secondLookMs: 0 });
    for (const user of ["ann", "ben", "cat"]) await broker.attach(user, "laptop");
    await append(broker, [
      draft("ann", "ben", "the Café, 東京タワー 🙂 and 'quotes'"),
      draft("ben", "ann", "cafeteria"),
      draft("ann", "ben", "caf"),
      draft("ben", "cat", "café of others"),
      draft("ann", "cat", "a café too"),
      draft("ann", "ben", "タワー東京"),
    ]);
    const fill = Array.from({ length: 600 }, (_, n) => draft("ann", "ben", `filler ${n}`));
    const last = (await append(broker, fill)).at(-1)!;
    await indexed(query, last);
    // Only the index knows now: what is looked at, is of the newest five hundred.
    assertEquals((await search(broker, "ann", "cafe")).contents, [
      "the Café, 東京タワー 🙂 and 'quotes'",
      "cafeteria",
      "a café too",
    ]);
    assertEquals((await search(broker, "cat", "cafe")).contents, ["café of others", "a café too"]);
    assertEquals((await search(broker, "ann", "caf quotes")).contents, ["the Café, 東京タワー 🙂 and 'quotes'"]);
    assertEquals((await search(broker, "ann", "京タ")).contents, ["the Café, 東京タワー 🙂 and 'quotes'"]);
    assertEquals((await search(broker, "ann", "🙂")).contents, ["the Café, 東京タワー 🙂 and 'quotes'"]);
    assertEquals((await search(broker, "ann", "a")).contents, ["a café too"]);
    assertEquals((await search(broker, "dan", "cafe")).contents, []);
    const all: string[] = [];
    for (let before: number | undefined = 607;;) {
      const page = await search(broker, "ann", "caf", before);
      all.unshift(...page.contents);
      if (page.before === undefined) break;
      before = page.before;
    }
    assertEquals(all, ["the Café, 東京タワー 🙂 and 'quotes'", "cafeteria", "caf", "a café too"]);
    await broker.expire();
    assertEquals(query("SELECT count(*) FROM messages") + query("SELECT count(*) FROM search"), "00");
    await broker.close();
  },
});

Deno.test({
  name: "PostgresBroker reads the backlog of a user in more than a thousand conversations, every message once and in order",
  ignore,
  async fn() {
    const { broker, query } = await open();
    const others = Array.from({ length: 1_100 }, (_, n) => `u${n}`);
    query(`SELECT count(*) FROM know(ARRAY[${["ann", ...others].map((name) => `'${name}'`)}])`);
    const sent: number[] = [];
    for (let round = 0; round < 5; round++) {
      sent.push(...await append(broker, others.map((other) => draft(other, "ann", `${other} ${round}`))));
    }
    const strangers = await append(broker, others.map((other) => draft(other, "u0", "not for ann")));
    sent.splice(sent.length, 0, ...await append(broker, [draft("u0", "ann", "last")]));
    assert(strangers.length === others.length);
    const read: number[] = [];
    for (let after = 0, more = true; more;) {
      const page = await broker.read("ann", after, 100);
      read.push(...page.messages.map(({ seq }) => seq));
      more = page.more;
      after = read.at(-1)!;
    }
    assertEquals(read, sent);
    // A little behind: from the log.
    const near = await broker.read("ann", sent.at(-3)!, 10);
    assertEquals([near.messages.map(({ seq }) => seq), near.more], [sent.slice(-2), false]);
    assertEquals(await broker.read("ann", sent.at(-1)!, 10), { messages: [], more: false });
    await broker.close();
  },
});

Deno.test({
  name: "PostgresBroker moves the markers of one conversation in their order where they come together",
  ignore,
  async fn() {
    const { broker } = await open();
    for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
    const [first, second] = await append(broker, [draft("ann", "ben", "1"), draft("ann", "ben", "2")]);
    const move = (seq: number, kind: "delivered" | "read" = "delivered") => ({ user: "ben", with: "ann", kind, seq });
    const moved = await Promise.all([
      broker.mark([move(first!), move(second!), move(first!)]),
      broker.mark([move(second!, "read"), { user: "ben", with: "nobody", kind: "read", seq: first! }]),
    ]);
    assertEquals(moved.map((results) => results.map(({ moved, authors }) => [moved, ...authors])), [
      [[true, "ann"], [true, "ann"], [false]],
      [[true, "ann"], [false]],
    ]);
    await broker.close();
  },
});
