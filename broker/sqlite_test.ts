import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { CAN_RUN, lacks } from "../testing/permissions.ts";
import { testBroker } from "./contract.ts";
import { BrokerError } from "./errors.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import { backup, DATABASE_NAME, openSqliteBroker, SqliteBroker, type SqliteOptions } from "./sqlite.ts";
import { migrate, MIGRATIONS } from "./sqlite/schema.ts";
import { SqliteStore } from "./sqlite/store.ts";

const ignore = lacks("read", "write");

function temporary(): AsyncDisposable & { dir: string } {
  const dir = Deno.makeTempDirSync({ prefix: "broker-" });
  return { dir, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

async function open(dir: string, options: Partial<SqliteOptions> = {}): Promise<SqliteBroker & AsyncDisposable> {
  const broker = await openSqliteBroker({ dir, sync: "normal", ...options });
  return Object.assign(broker, { [Symbol.asyncDispose]: () => broker.close() });
}

testBroker("SqliteBroker", async (limits) => {
  const folder = temporary();
  let broker = await open(folder.dir, limits);
  return {
    broker,
    expire: () => broker.expire(),
    async reopen() {
      await broker.close();
      return broker = await open(folder.dir, limits);
    },
    async [Symbol.asyncDispose]() {
      await broker.close();
      await folder[Symbol.asyncDispose]();
    },
  };
}, ignore);

// ---- Where it cannot start ----

Deno.test({
  name: "SqliteBroker refuses a folder that another server uses, and takes it when that has ended",
  ignore,
  async fn() {
    await using folder = temporary();
    {
      await using _first = await open(folder.dir);
      const error = await assertRejects(() => openSqliteBroker({ dir: folder.dir }), BrokerError);
      assertStringIncludes(error.message, "Another server uses");
    }
    await using _second = await open(folder.dir);
  },
});

const UNUSABLE: [string, (file: string) => void, RegExp][] = [
  [
    "is no database",
    (file) => Deno.writeTextFileSync(file, "not a database, but long enough to be looked at".repeat(20)),
    /not a database/,
  ],
  ["is damaged", (file) => {
    const database = new DatabaseSync(file);
    migrate(database);
    database.close();
    using handle = Deno.openSync(file, { write: true });
    handle.seekSync(100, Deno.SeekMode.Start);
    handle.writeSync(new Uint8Array(4_000).fill(0xaa));
  }, /malformed|corrupt|not a database/],
  ["was written by a newer version", (file) => {
    const database = new DatabaseSync(file);
    database.exec("PRAGMA user_version = 99");
    database.close();
  }, /newer version/],
];

for (const [what, make, pattern] of UNUSABLE) {
  Deno.test({
    name: `SqliteBroker says in a sentence that its file ${what}, and lets go of the folder`,
    ignore,
    async fn() {
      await using folder = temporary();
      make(`${folder.dir}/${DATABASE_NAME}`);
      const error = await assertRejects(() => openSqliteBroker({ dir: folder.dir }), BrokerError);
      assert(pattern.test(error.message) && !error.message.includes("\n"), error.message);
      await Deno.remove(`${folder.dir}/${DATABASE_NAME}`);
      await using _broker = await open(folder.dir);
    },
  });
}

Deno.test({
  name: "SqliteBroker says in a sentence that its folder cannot be made",
  ignore,
  async fn() {
    await using folder = temporary();
    await Deno.writeTextFile(`${folder.dir}/file`, "");
    const error = await assertRejects(() => openSqliteBroker({ dir: `${folder.dir}/file/data` }), BrokerError);
    assertStringIncludes(error.message, "Cannot make the folder");
  },
});

Deno.test({
  name: "SqliteBroker keeps its files from others on the machine",
  ignore: ignore || Deno.build.os === "windows",
  async fn() {
    await using folder = temporary();
    await using broker = await open(`${folder.dir}/data`);
    await broker.attach("ann", "laptop");
    assertEquals((Deno.statSync(`${folder.dir}/data`).mode ?? 0) & 0o777, 0o700);
    for (const { name } of Deno.readDirSync(`${folder.dir}/data`)) {
      if (name.startsWith(DATABASE_NAME)) {
        assertEquals((Deno.statSync(`${folder.dir}/data/${name}`).mode ?? 0) & 0o777, 0o600, name);
      }
    }
  },
});

// ---- Where it fails later ----

Deno.test({
  name: "SqliteBroker gives no position twice, though a loss of power took the newest messages from a log that is not synced",
  ignore,
  async fn() {
    await using folder = temporary();
    const start = (dir: string) => open(`${folder.dir}/${dir}`, { sync: "normal" });
    const send = async (broker: SqliteBroker) => {
      const [result] = await broker.append([{ sender: "ann", recipient: "ann", content: "hi", id: undefined, origin: "" }]);
      return "seq" in result! ? result.seq : 0;
    };
    let taken: number;
    {
      await using broker = await start("before");
      await broker.attach("ann", "laptop");
      await Deno.mkdir(`${folder.dir}/after`);
      for (const suffix of ["", "-wal"]) {
        await Deno.copyFile(`${folder.dir}/before/${DATABASE_NAME}${suffix}`, `${folder.dir}/after/${DATABASE_NAME}${suffix}`);
      }
      await send(broker);
      taken = await send(broker);
    }
    await using broker = await start("after");
    const next = await send(broker);
    assert(next > taken, `${next} after ${taken}`);
  },
});

Deno.test("SqliteStore has lost nothing and can go on after a transaction that was rolled back", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  const message = (content: string) => ({ sender: "ann", recipient: "ben", content, id: content, origin: "" });
  for (const user of ["ann", "ben"]) store.attach(user, "laptop", undefined);
  const seqs = (content: string) => [...store.append([message(content)]).seqs];
  assertEquals(seqs("one"), [1]);
  store.flush();
  database.exec("BEGIN");
  assertEquals(seqs("lost"), [2]);
  store.flush();
  database.exec("ROLLBACK");
  store.forget();
  assertEquals(seqs("two"), [2]);
  assertEquals(store.read("ben", 0, 10).messages.map(({ content }) => content), ["one", "two"]);
  database.close();
});

Deno.test({
  name: "SqliteBroker refuses with unavailable what a full disk cannot take, acks none of it, and goes on",
  ignore,
  async fn() {
    await using folder = temporary();
    {
      await using broker = await open(folder.dir);
      for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
    }
    const failures: unknown[] = [];
    // A trigger that fails stands in for a disk that is full: the statement fails inside the transaction.
    const file = new DatabaseSync(`${folder.dir}/${DATABASE_NAME}`);
    file.exec(
      "CREATE TRIGGER full BEFORE INSERT ON messages WHEN new.content = 'big' BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END",
    );
    file.close();
    await using broker = await open(folder.dir, { report: (error) => failures.push(error) });
    const received: string[] = [];
    broker.subscribe("ben", { message: ({ content }) => received.push(content), signal() {} });
    const draft = (content: string) => ({ sender: "ann", recipient: "ben", content, id: undefined, origin: "" });
    const results = await Promise.all([
      broker.append([draft("one")]),
      broker.append([draft("two"), draft("big")]),
      broker.append([draft("three")]),
    ]);
    const codes = results.flat().map((result) => "code" in result ? result.code : "ok");
    assertEquals(codes, ["ok", "unavailable", "unavailable", "ok"]);
    assertEquals([received, failures.length], [["one", "three"], 1]);
    assertEquals((await broker.read("ben", 0, 10)).messages.map(({ content }) => content), ["one", "three"]);
  },
});

Deno.test({
  name: "SqliteBroker acks and yields nothing whose commit fails, reports a trouble once, and goes on when it is over",
  ignore,
  async fn() {
    await using folder = temporary();
    const failures: unknown[] = [];
    await using broker = await open(folder.dir, { report: (error) => failures.push(error) });
    for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
    const received: string[] = [];
    broker.subscribe("ben", { message: ({ content }) => received.push(content), signal() {} });
    const append = async (content: string) => {
      const [result] = await broker.append([{ sender: "ann", recipient: "ben", content, id: content, origin: "" }]);
      return "code" in result! ? result.code : result!.seq;
    };
    // Looked at by SQLite only when it commits: the statements before have all succeeded.
    const file = new DatabaseSync(`${folder.dir}/${DATABASE_NAME}`);
    file.exec(`CREATE TABLE trap (x INTEGER REFERENCES users (id) DEFERRABLE INITIALLY DEFERRED);
      CREATE TRIGGER trap AFTER INSERT ON messages BEGIN INSERT INTO trap VALUES (-1); END`);
    assertEquals([await append("one"), await append("two"), await broker.lastSeen(["ann"])], ["unavailable", "unavailable", [
      0,
    ]]);
    file.exec("DROP TRIGGER trap");
    file.close();
    assertEquals([typeof await append("one"), typeof await append("three")], ["number", "number"]);
    assertEquals([received, failures.length], [["one", "three"], 1]);
  },
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
  store.forget();
  assertEquals(store.read("ann", 0, 100).messages.length, stored);
  database.exec("PRAGMA max_page_count = 1000");
  transact(`${stored}`.padEnd(1_000));
  assertEquals(store.read("ann", 0, 100).messages.map(({ content }) => content.trim()).at(-1), String(stored));
  assertEquals(database.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
  database.close();
});

Deno.test({
  name: "SqliteBroker fails in words, now and later, when its worker has crashed",
  ignore,
  async fn() {
    const crashing = new Worker("data:text/javascript,self.onmessage = () => { throw new Error('boom') }", { type: "module" });
    const failures: unknown[] = [];
    const broker = new SqliteBroker(crashing, new DatabaseSync(":memory:"), "epoch", (error) => failures.push(error));
    const pending = [
      broker.lastSeen(["ann"]),
      broker.append([{ sender: "ann", recipient: "ann", content: "", id: undefined, origin: "" }]),
    ];
    for (const call of pending) assertStringIncludes((await assertRejects(() => call, BrokerError)).message, "boom");
    await assertRejects(() => broker.seen(["ann"], 1), BrokerError, "The database has stopped");
    await broker.close();
    assertEquals(failures.length, 1);
  },
});

/** Appends to the folder in its first argument until it is killed, and prints how many were acked. */
const APPENDER = `
  import { openSqliteBroker } from ${JSON.stringify(new URL("./sqlite.ts", import.meta.url).href)};
  const broker = await openSqliteBroker({ dir: Deno.args[0] });
  await broker.attach("ann", "laptop");
  for (let acked = 0;;) {
    await broker.append(Array.from({ length: 10 }, (_, i) => {
      const content = String(acked + i);
      return { sender: "ann", recipient: "ann", content, id: content, origin: "" };
    }));
    await Deno.stdout.write(new TextEncoder().encode((acked += 10) + "\\n"));
  }
`;

Deno.test({
  name: "SqliteBroker has every acked message, whole batches, and a folder to take when its process was killed",
  ignore: ignore || !CAN_RUN,
  async fn() {
    await using folder = temporary();
    const child = new Deno.Command(Deno.execPath(), { args: ["eval", APPENDER, folder.dir], stdout: "piped" }).spawn();
    let output = "";
    for await (const text of child.stdout.pipeThrough(new TextDecoderStream())) {
      output += text;
      if (output.length > 100) child.kill("SIGKILL");
    }
    await child.status;
    const acked = Number(output.slice(0, output.lastIndexOf("\n")).split("\n").at(-1));
    await using broker = await open(folder.dir);
    const { messages } = await broker.read("ann", 0, 100_000);
    assert(acked > 0 && messages.length >= acked && messages.length % 10 === 0, `${messages.length} of ${acked}`);
    assertEquals(messages.map(({ content }) => content), messages.map((_, index) => String(index)));
  },
});

// ---- Migrations ----

// The first released schema and a row in every table of it. DO NOT EDIT.
const FIRST_SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_seen INTEGER NOT NULL DEFAULT 0,
    horizon INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE devices (
    user INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE threads (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL DEFAULT 0,
    open INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE members (
    user INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    other INTEGER NOT NULL,
    since INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    marked_ts INTEGER NOT NULL DEFAULT 0,
    marked_at INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (user, thread)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX members_thread ON members (thread, marked_at);
  CREATE TABLE messages (
    thread INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    id TEXT,
    origin TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (thread, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX messages_id ON messages (sender, id) WHERE id IS NOT NULL;
  CREATE TABLE ticks (ts INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
`;
const FIRST_ROWS = `
  INSERT INTO meta VALUES ('epoch', 'firstepoch'), ('head', 7);
  INSERT INTO users VALUES (1, 'ann', 0, 0), (2, 'ben', 0, 0);
  INSERT INTO devices VALUES (2, 'laptop', 5);
  INSERT INTO threads VALUES (1, 'ann ben', 0, 0, 7);
  INSERT INTO members VALUES (1, 1, 2, 0, 0, 0, 0, 0, -1), (2, 1, 1, 0, 0, 5, 5, 1, 5);
  INSERT INTO messages VALUES (1, 5, 1, 1000, 'a', 'x', 'old'), (1, 7, 1, 1000, NULL, 'x', 'newer');
  INSERT INTO ticks VALUES (1000, 5);
`;

Deno.test("migrate brings the first schema to the newest with everything in it", () => {
  const database = new DatabaseSync(":memory:");
  database.exec(FIRST_SCHEMA);
  database.exec(`${FIRST_ROWS} PRAGMA user_version = 1`);
  migrate(database);
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  assertEquals([store.epoch, store.head], ["firstepoch", 7]);
  assertEquals(store.attach("ben", "laptop", undefined), { position: 5, isNew: false, horizon: 0, head: 7 });
  assertEquals(store.read("ben", 5, 10).messages.map(({ content }) => content), ["newer"]);
  assertEquals(Number(database.prepare("PRAGMA user_version").get()!.user_version), MIGRATIONS.length);
  database.close();
});

Deno.test("migrate carries out later steps once, and a step that fails changes nothing", () => {
  const database = new DatabaseSync(":memory:");
  const steps = [...MIGRATIONS, "CREATE TABLE later (x)"];
  migrate(database, steps);
  migrate(database, steps);
  assertThrows(() => migrate(database, [...steps, "CREATE TABLE half (x); CREATE TABLE later (x)"]));
  assertEquals(Number(database.prepare("PRAGMA user_version").get()!.user_version), steps.length);
  assertEquals(database.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").get(), undefined);
  assertThrows(() => migrate(database), BrokerError, "newer version");
  database.close();
});

// ---- Plans ----

Deno.test("SqliteStore finds a backlog, a page of history, what is unread and the groups on an index", () => {
  const plans: string[] = [];
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const prepare = database.prepare.bind(database);
  database.prepare = (sql: string) => {
    if (/\b(FROM|JOIN) (messages|members|threads)\b/.test(sql)) {
      plans.push(...prepare(`EXPLAIN QUERY PLAN ${sql}`).all().map(({ detail }) => `${detail}  <- ${sql}`));
    }
    return prepare(sql);
  };
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  for (const user of ["ann", "ben"]) store.attach(user, "laptop", undefined);
  store.append([{ sender: "ann", recipient: "ben", content: "hi", id: "1", origin: "" }]);
  store.append([{ sender: "ann", recipient: "ben", content: "hi", id: "1", origin: "" }]);
  store.flush();
  store.attach("ben", "phone", 10);
  store.read("ben", 0, 10);
  store.history("ben", { with: "ann", limit: 10 });
  store.history("ben", { with: "ann", after: 0, limit: 10 });
  store.conversations("ben", 10);
  store.mark([{ user: "ben", kind: "read", with: "ann", seq: 1 }]);
  store.markers("ann", 0);
  store.group({ op: "create", user: "ben", group: "#g", open: true });
  store.group({ op: "list", user: "ann" });
  assert(plans.filter((plan) => /^SEARCH (messages|m) /.test(plan)).length >= 8, plans.join("\n"));
  for (const plan of plans) {
    assert(!plan.startsWith("SCAN") || /^SCAN (\(subquery|t USING INDEX threads_groups)/.test(plan), plan);
    // What one user is in is sorted, and who is in one group: both are bounded. Messages never are.
    assert(!/^USE TEMP B-TREE FOR .*ORDER BY.* <- .*FROM messages/s.test(plan), plan);
  }
  database.close();
});

Deno.test("SqliteStore reads no more of a long history than fits into an answer, from either end, and says that there is more", () => {
  const database = new DatabaseSync(":memory:");
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  store.attach("ann", "laptop", undefined);
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
  assertEquals(oldest.messages[0]?.seq, 1);
  database.close();
});

// ---- Who waits for whom ----

Deno.test({
  name: "SqliteBroker stores a message before it reads what many others asked for earlier",
  ignore,
  async fn() {
    await using folder = temporary();
    await using broker = await open(folder.dir);
    await broker.attach("ann", "laptop");
    const draft = { sender: "ann", recipient: "ann", content: "x".repeat(1_000), id: undefined, origin: "" };
    await broker.append(Array.from({ length: 500 }, () => draft));
    const settled: string[] = [];
    const reads = Array.from(
      { length: 300 },
      () => broker.history("ann", { with: "ann", limit: 500 }).then(() => settled.push("read")),
    );
    const append = broker.append([draft]).then(() => settled.push("append"));
    await Promise.all([...reads, append]);
    assert(settled.indexOf("append") < 100, `after ${settled.indexOf("append")} reads`);
  },
});

Deno.test({
  name: "SqliteBroker reads while others write without end",
  ignore,
  async fn() {
    await using folder = temporary();
    await using broker = await open(folder.dir);
    await broker.attach("ann", "laptop");
    const drafts = Array.from(
      { length: 5_000 },
      () => ({ sender: "ann", recipient: "ann", content: "hi", id: undefined, origin: "" }),
    );
    const settled: string[] = [];
    const appends = Array.from({ length: 20 }, () => broker.append(drafts).then(() => settled.push("append")));
    const read = broker.read("ann", 0, 10).then(() => settled.push("read"));
    await Promise.all([...appends, read]);
    assert(settled.indexOf("read") < 10, `after ${settled.indexOf("read")} appends`);
  },
});

// ---- Backup ----

Deno.test({
  name: "backup copies a running broker's messages into a file that can be put in their place, under another epoch",
  ignore,
  async fn() {
    await using folder = temporary();
    const file = `${folder.dir}/copy.db`;
    await using broker = await open(`${folder.dir}/data`);
    for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
    await broker.append([{ sender: "ann", recipient: "ben", content: "kept", id: "1", origin: "" }]);
    await backup(`${folder.dir}/data`, file);
    await assertRejects(() => backup(`${folder.dir}/data`, file), BrokerError, "is there already");
    await assertRejects(() => backup(`${folder.dir}/nothing`, `${file}2`), BrokerError, "There are no messages");
    if (Deno.build.os !== "windows") assertEquals((Deno.statSync(file).mode ?? 0) & 0o777, 0o600);
    await Deno.mkdir(`${folder.dir}/restored`);
    await Deno.copyFile(file, `${folder.dir}/restored/${DATABASE_NAME}`);
    await using restored = await open(`${folder.dir}/restored`);
    assert(restored.epoch !== broker.epoch);
    assertEquals((await restored.read("ben", 0, 10)).messages.map(({ content }) => content), ["kept"]);
    const [again] = await restored.append([{ sender: "ann", recipient: "ben", content: "kept", id: "1", origin: "" }]);
    assertEquals(again && "duplicate" in again && again.duplicate, true);
  },
});

Deno.test({
  name: "SqliteBroker takes a backup as it is, whatever a killed server left beside the file in whose place it was put",
  ignore,
  async fn() {
    await using folder = temporary();
    const [used, restored] = [`${folder.dir}/used`, `${folder.dir}/restored`];
    await using broker = await open(used);
    await broker.attach("ann", "laptop");
    const send = (content: string) => broker.append([{ sender: "ann", recipient: "ann", content, id: content, origin: "" }]);
    await send("before");
    await backup(used, `${folder.dir}/copy.db`);
    for (let n = 0; n < 100; n++) await send(`after ${n}`);
    await Deno.mkdir(restored);
    await Deno.copyFile(`${used}/${DATABASE_NAME}-wal`, `${restored}/${DATABASE_NAME}-wal`);
    await Deno.copyFile(`${folder.dir}/copy.db`, `${restored}/${DATABASE_NAME}`);
    for (const _start of ["first", "second"]) {
      await using again = await open(restored);
      assertEquals((await again.read("ann", 0, 1_000)).messages.map(({ content }) => content), ["before"]);
      assert(again.epoch !== broker.epoch);
    }
  },
});
