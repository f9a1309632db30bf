import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { DEFAULT_LIMITS, DEVICES_KEPT } from "../limits.ts";
import { migrate } from "./schema.ts";
import { finish } from "./steps.ts";
import { SqliteStore } from "./store.ts";

Deno.test("SqliteStore has lost nothing and can go on after a transaction that was rolled back", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  const message = (content: string) => ({ sender: "ann", recipient: "ben", content, id: content, origin: "" });
  for (const user of ["ann", "ben"]) finish(store.attach(user, "laptop"));
  const seqs = (content: string) => [...store.append([message(content)]).seqs];
  assertEquals(seqs("one"), [1]);
  store.flush();
  database.exec("BEGIN");
  assertEquals(seqs("lost"), [2]);
  store.flush();
  database.exec("ROLLBACK");
  store.clearCaches();
  assertEquals(seqs("two"), [2]);
  assertEquals(finish(store.read("ben", 0, 10)).messages.map(({ content }) => content), ["one", "two"]);
  database.close();
});

/** A store with what ann sent to ben, in a database that another store can be opened on. */
function stored(...contents: readonly string[]): { database: DatabaseSync; store: SqliteStore } {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  for (const user of ["ann", "ben"]) finish(store.attach(user, "laptop"));
  store.append(contents.map((content) => ({ sender: "ann", recipient: "ben", content, id: undefined, origin: "" })));
  store.flush();
  return { database, store };
}

/** The contents that ben finds, and up to where everything is known. */
function find(store: SqliteStore, query: string): { contents: string[]; indexed: number } {
  const found = finish(store.search("ben", { query, limit: 10 }));
  assert(!("code" in found));
  return { contents: found.messages.map(({ content }) => content), indexed: found.indexed };
}

Deno.test("SqliteStore indexes what an older version or an earlier run stored, step by step, and says up to where", () => {
  const { database } = stored(...Array.from({ length: 2_000 }, (_, i) => `word${i}`));
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  assert(find(store, "word1").indexed < 2_000);
  let steps = 0;
  while (store.index() > 0) steps++;
  assert(steps > 4, `${steps} steps`);
  assertEquals(find(store, "word1999"), { contents: ["word1999"], indexed: 2_000 });
  assertEquals(database.prepare("SELECT count(*) AS n FROM search").get()!.n, 2_000);
  assertEquals(store.index(), 0);
  database.close();
});

Deno.test("SqliteStore finds the new words of a message that was changed, and not the old ones", () => {
  const { database, store } = stored("first", "second", "third");
  assertEquals(find(store, "second").contents, ["second"]);
  database.exec("UPDATE messages SET content = 'other' WHERE seq = 2");
  assertEquals([find(store, "second").contents, find(store, "other").contents], [[], ["other"]]);
  assertEquals(find(store, "third"), { contents: ["third"], indexed: 3 });
  database.close();
});

Deno.test("SqliteStore loses nothing of what it had when the disk is full, and goes on when there is room", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  const transact = (content: string) => {
    database.exec("BEGIN IMMEDIATE");
    store.append([{ sender: "ann", recipient: "ann", content, id: content.slice(0, 9), origin: "" }]);
    store.flush();
    database.exec("COMMIT");
  };
  const { page_count: pages } = database.prepare("PRAGMA page_count").get()!;
  database.exec(`PRAGMA max_page_count = ${pages}`);
  let stored = 0;
  const error = assertThrows(() => {
    for (;; stored++) transact(`${stored}`.padEnd(1_000));
  }, Error);
  assertStringIncludes(error.message, "full");
  if (database.isTransaction) database.exec("ROLLBACK");
  store.clearCaches();
  assertEquals(finish(store.read("ann", 0, 100)).messages.length, stored);
  database.exec("PRAGMA max_page_count = 1000");
  transact(`${stored}`.padEnd(1_000));
  assertEquals(finish(store.read("ann", 0, 100)).messages.map(({ content }) => content.trim()).at(-1), String(stored));
  assertEquals(database.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
  database.close();
});

/** Walks that are no search, each bounded: what a subquery found, groups, and what waits in memory. */
const WALKS = [
  /^SCAN (\(subquery|p\b|positions\b|constant|u\b|t USING INDEX threads_groups|threads USING INDEX threads_ended)/,
  /^SCAN (temp\.)?unlisted\b.* <- SELECT count/s,
  /^SCAN (temp\.)?unlisted\b.* VIRTUAL TABLE/s,
];

Deno.test("SqliteStore finds everything on an index: no query walks or sorts the messages", () => {
  const plans: string[] = [], asked = new Set<string>();
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const prepare = database.prepare.bind(database);
  database.prepare = (sql: string) => {
    if (/\b(FROM|JOIN|UPDATE|INTO) (main\.|temp\.)?(messages|positions|listed|unlisted|members|threads)\b/.test(sql)) {
      asked.add(sql);
      plans.push(...prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => `${detail}  <- ${sql}`));
    }
    return prepare(sql);
  };
  let now = 1_000_000;
  const clocks = { now: () => now, monotonic: () => now };
  const store = new SqliteStore(database, { ...DEFAULT_LIMITS, mailbox: 4, retentionDays: 1 }, { clocks, secondLookMs: 1 });
  for (const user of ["ann", "ben", "cat"]) finish(store.attach(user, "laptop"));
  const send = (recipient: string, id: string, content = "hi") =>
    store.append([{ sender: "ann", recipient, content, id, origin: "laptop" }]);
  for (const id of ["1", "1", "2", "3", "4"]) send("ben", id);
  store.group({ op: "create", user: "ben", group: "#g", open: true });
  store.group({ op: "join", user: "ann", group: "#g" });
  store.group({ op: "invite", user: "ben", group: "#g", target: "cat" });
  send("#g", "5");
  store.flush();
  finish(store.attach("ben", "phone", { last: 10 }));
  for (let device = 0; device <= DEVICES_KEPT; device++) finish(store.attach("ben", `d${device}`, { temporary: true }));
  finish(store.read("ben", 0, 10));
  // A backlog of more conversations than are read ahead.
  for (let n = 0; n < 40; n++) {
    finish(store.attach(`friend${n}`, "laptop"));
    send(`friend${n}`, `to-${n}`);
  }
  store.flush();
  assertEquals(finish(store.read("ann", 0, 40)).messages.length, 40);
  assert([...asked].some((sql) => sql.includes("json_each")), "positions of a page are read together");
  for (const range of [{}, { after: 0 }, { before: 9 }]) store.history("ben", { with: "ann", limit: 10, ...range });
  finish(store.conversations("ben", 10));
  finish(store.search("ben", { query: "hi", limit: 10 }));
  while (store.index() > 0);
  for (const kind of ["delivered", "read"] as const) store.mark([{ user: "ben", kind, with: "ann", seq: 2 }]);
  store.mark([{ user: "ben", kind: "read", with: "#g", seq: 5, private: true }]);
  finish(store.markAll("ben", 9));
  finish(store.markers("ann", 0));
  store.advance([{ user: "ben", device: "laptop", seq: 3 }]);
  store.group({ op: "list", user: "ann" });
  for (const user of ["ann", "ben", "cat"]) store.group({ op: "leave", user, group: "#g" });
  now += 61_000; // the time of a tick
  // As many as begin the listing of what waits.
  for (let n = 0; n < 70; n++) store.append(Array(1_000).fill({ sender: "ann", recipient: "ann", content: "", origin: "" }));
  store.flush();
  now += 10 * 86_400_000;
  for (let step = 0; step < 200; step++) {
    now += 10;
    store.expire();
  }
  assertEquals(store.history("ben", { with: "ann", limit: 10 }), { messages: [], more: false });
  assert(asked.size >= 50, [...asked].join("\n"));
  for (const plan of plans) {
    assert(!plan.startsWith("SCAN") || WALKS.some((walk) => walk.test(plan)), plan);
    // A user's conversations and a group's members are sorted, as both are bounded. Messages never are.
    assert(!/^USE TEMP B-TREE FOR .*ORDER BY.* <- .*FROM (messages|positions)/s.test(plan), plan);
  }
  database.close();
});

Deno.test("SqliteStore reads no more of a long history than fits into an answer, from either end, and says that there is more", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  finish(store.attach("ann", "laptop"));
  const content = "x".repeat(16_000);
  store.append(Array.from({ length: 500 }, () => ({ sender: "ann", recipient: "ann", content, id: undefined, origin: "" })));
  const newest = store.history("ann", { with: "ann", limit: 500 });
  assert("messages" in newest && newest.more && newest.messages.length < 100, "a page");
  assertEquals(newest.messages.at(-1)?.seq, 500);
  const seen = newest.messages.map(({ seq }) => seq);
  for (let more = true; more;) {
    const page = store.history("ann", { with: "ann", limit: 500, before: seen[0]! });
    assert("messages" in page);
    seen.unshift(...page.messages.map(({ seq }) => seq));
    more = page.more;
  }
  assertEquals(seen, Array.from({ length: 500 }, (_, i) => i + 1));
  const oldest = store.history("ann", { with: "ann", limit: 500, after: 0 });
  assert("messages" in oldest && oldest.more && oldest.messages.length < 100, "a page");
  const chars = (messages: readonly { content: string }[]) => messages.reduce((sum, { content }) => sum + content.length, 0);
  for (const { messages } of [newest, oldest]) assert(chars(messages) <= 262_144 && chars(messages) > 240_000, "a full one");
  assertEquals(oldest.messages[0]?.seq, 1);
  database.close();
});

Deno.test("SqliteStore reads whatever was written, short and long, in order", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  for (const user of ["ann", "ben"]) finish(store.attach(user, "laptop"));
  const odd = ["", "[1,null]", 'say "hi" \\ \n\t\u0001\u001e\u007f', "\u{1f600} \u0436\u2028\u202e", "null", "\ufeff\uffff"];
  const contents = [
    ...odd,
    ...odd.map((text) => text.repeat(200)),
    ...[255, 256, 257].map((n) => "x".repeat(n)),
    "\u0436".repeat(128),
  ];
  const drafts = contents.map((content, i) => ({ content, id: i % 2 ? `"${i}\u0001` : undefined, origin: i % 3 ? 'a"b' : "" }));
  store.append(drafts.map((draft) => ({ sender: "ann", recipient: "ben", ...draft })));
  const isWhole = (page: object, ...order: number[]) => {
    assert("messages" in page);
    const messages = page.messages as { content: string; id: string | undefined; origin: string; seq: number }[];
    assertEquals(messages.map(({ content, id, origin }) => ({ content, id, origin })), drafts);
    assertEquals(messages.map(({ seq }) => seq), order);
  };
  const seqs = contents.map((_, i) => i + 1);
  isWhole(store.history("ben", { with: "ann", limit: 50 }), ...seqs);
  isWhole(store.history("ben", { with: "ann", limit: 50, after: 0 }), ...seqs);
  isWhole(finish(store.read("ben", 0, 50)), ...seqs);
  database.close();
});

Deno.test("SqliteStore reads the whole log after a position by looking at no message before it", () => {
  const plans: string[] = [];
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const prepare = database.prepare.bind(database);
  database.prepare = (sql: string) => {
    if (/FROM messages m CROSS JOIN threads/.test(sql)) {
      plans.push(...prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => String(detail)));
    }
    return prepare(sql);
  };
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  for (const user of ["ann", "ben"]) finish(store.attach(user, "laptop"));
  store.append([{ sender: "ann", recipient: "ben", content: "hi", id: "1", origin: "" }]);
  finish(store.feed({ kind: "messages", after: 0, limit: 10 }));
  assert(plans.some((plan) => /^SEARCH m USING .*(seq|rowid)>\?/.test(plan)), plans.join("\n"));
});
