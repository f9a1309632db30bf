import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { CAN_RUN, lacks } from "../testing/permissions.ts";
import { open, temporary } from "../testing/sqlite_folder.ts";
import { testBroker } from "./contract.ts";
import { BrokerError } from "./errors.ts";
import { DATABASE_NAME, openSqliteBroker, SqliteBroker } from "./sqlite.ts";
import { migrate } from "./sqlite/schema.ts";

const ignore = lacks("read", "write");

testBroker("SqliteBroker", async (limits) => {
  const folder = temporary();
  const options = { ...limits, secondLookMs: 0 };
  let broker = await open(folder.dir, options);
  return {
    broker,
    async expire() {
      // Only the second look removes.
      await broker.expire();
      await broker.expire();
    },
    async reopen() {
      await broker.close();
      return broker = await open(folder.dir, options);
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
    // SQLite checks this only when it commits: the statements before have all succeeded.
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

for (
  const [what, act] of [
    ["removed", (file: string) => Deno.remove(file)],
    ["replaced", async (file: string) => {
      await Deno.copyFile(file, `${file}.copy`);
      await Deno.rename(`${file}.copy`, file);
    }],
    ["left without its log", (file: string) => Deno.remove(`${file}-wal`)],
    ["emptied where it stands", (file: string) => Deno.truncate(file)],
    ["left without the lock that keeps other servers away", (file: string) => Deno.remove(file.replace(DATABASE_NAME, "lock"))],
  ] as const
) {
  Deno.test({
    name: `SqliteBroker acks nothing into a file that was ${what}, and says so once`,
    ignore: ignore || Deno.build.os === "windows",
    async fn() {
      await using folder = temporary();
      const failures: unknown[] = [];
      await using broker = await open(folder.dir, { report: (error) => failures.push(error) });
      await broker.attach("ann", "laptop");
      const received: string[] = [];
      broker.subscribe("ann", { message: ({ content }) => received.push(content), signal() {} });
      const append = async (content: string) => {
        const [result] = await broker.append([{ sender: "ann", recipient: "ann", content, id: undefined, origin: "" }]);
        return "code" in result! ? result.code : "ok";
      };
      assertEquals([await append("kept"), broker.health()], ["ok", undefined]);
      await act(`${folder.dir}/${DATABASE_NAME}`);
      assertEquals([await append("lost"), await append("lost"), received], ["unavailable", "unavailable", ["kept"]]);
      await assertRejects(() => broker.read("ann", 0, 10), BrokerError, "removed or replaced under the server");
      assertStringIncludes(broker.health() ?? "", "until it is restarted");
      assertEquals(failures.length, 1);
    },
  });
}

Deno.test({
  name: "SqliteBroker tells why nothing can be stored, until it can again though nobody sends anything",
  ignore,
  async fn() {
    await using folder = temporary();
    await using broker = await open(folder.dir);
    await broker.attach("ann", "laptop");
    const file = new DatabaseSync(`${folder.dir}/${DATABASE_NAME}`);
    file.exec("CREATE TRIGGER full BEFORE INSERT ON messages BEGIN SELECT RAISE(FAIL, 'database or disk is full'); END");
    assertEquals(broker.health(), undefined, "nothing has failed yet");
    const results = await broker.append([{ sender: "ann", recipient: "ann", content: "x", id: undefined, origin: "" }]);
    assertEquals(results.map((result) => "code" in result && result.code), ["unavailable"]);
    file.exec("DROP TRIGGER full");
    file.close();
    assertEquals(broker.health(), "database or disk is full");
    await broker.lastSeen(["ann"]); // behind the write that was tried
    assertEquals(broker.health(), undefined);
  },
});

/** Bytes of the files of a database. */
function bytesOf(dir: string): { database: Uint8Array; log: Uint8Array } {
  const [database, log] = ["", "-wal"].map((suffix) => Deno.readFileSync(`${dir}/${DATABASE_NAME}${suffix}`));
  return { database: database!, log: log! };
}

Deno.test({
  name: "SqliteBroker leaves nothing of what has expired in its files",
  ignore,
  async fn() {
    await using folder = temporary();
    await using broker = await open(folder.dir, { retentionDays: -1, secondLookMs: 0 });
    for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
    // Of all sizes, so that pages are split, and one that takes several.
    const drafts = Array.from({ length: 1_000 }, (_, n) => {
      const content = `SECRET-${n}`.padEnd(n % 97 === 0 ? 16_000 : 10 + n % 700, ".");
      return { sender: n % 2 ? "ann" : "ben", recipient: n % 2 ? "ben" : "ann", content, id: `SECRET-ID-${n}`, origin: "" };
    });
    for (let n = 0; n < drafts.length; n += 50) await broker.append(drafts.slice(n, n + 50));
    const found = () => {
      const { database, log } = bytesOf(folder.dir);
      return [database, log].map((bytes) => new TextDecoder("latin1").decode(bytes).includes("SECRET"));
    };
    assert(found().includes(true), "the test would find it");
    await broker.expire();
    await broker.expire();
    await broker.lastSeen([]); // the log is emptied after the answer to what was asked before
    assertEquals(found(), [false, false]);
  },
});

Deno.test({
  name: "SqliteBroker leaves nothing of what was erased in its files, with more messages than one step has",
  ignore,
  async fn() {
    await using folder = temporary();
    await using broker = await open(folder.dir);
    for (const user of ["ann", "ben"]) await broker.attach(user, "d");
    const draft = (sender: string, recipient: string, i: number) => {
      return { sender, recipient, content: `${sender}-secret-${i}`, id: `${sender}-id-${i}`, origin: `${sender}-phone` };
    };
    const numbers = Array.from({ length: 2_500 }, (_, i) => i);
    await broker.append(numbers.flatMap((i) => [draft("ann", "ben", i), draft("ben", "ann", i)]));
    assertEquals(await broker.erase("ann"), numbers.length);
    await broker.lastSeen([]); // what empties the log comes after the answer
    const text = ["", "-wal"].map((end) => Deno.readFileSync(`${folder.dir}/${DATABASE_NAME}${end}`))
      .map((bytes) => new TextDecoder("latin1").decode(bytes)).join();
    assertEquals(text.match(/ann-(secret|phone|id)/)?.[0], undefined);
    assert(text.includes("ben-secret-7"), "the test would find it");
  },
});

Deno.test({
  name: "SqliteBroker keeps its log small, and says once that another program's reading keeps it from that",
  ignore,
  async fn() {
    await using folder = temporary();
    const notices: string[] = [];
    await using broker = await open(folder.dir, { mailbox: Infinity, notice: (words) => notices.push(words) });
    await broker.attach("ann", "laptop");
    const draft = { sender: "ann", recipient: "ann", content: "x".repeat(16_000), id: undefined, origin: "" };
    const write = async (mebibytes: number) => {
      for (let i = 0; i < mebibytes; i++) await broker.append(new Array(64).fill(draft));
    };
    const reader = new DatabaseSync(`${folder.dir}/${DATABASE_NAME}`);
    reader.exec("BEGIN");
    reader.prepare("SELECT count(*) FROM messages").get();
    await write(40);
    assert(bytesOf(folder.dir).log.length > 2 ** 25, "the reader has kept it large");
    assertEquals(notices.length, 1);
    assertStringIncludes(notices[0]!, "Another program keeps reading the database");
    reader.close();
    await write(2);
    assert(bytesOf(folder.dir).log.length <= 2 ** 25, String(bytesOf(folder.dir).log.length));
    await write(40);
    assert(bytesOf(folder.dir).log.length <= 2 ** 25, String(bytesOf(folder.dir).log.length));
    assertEquals(notices.length, 1);
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

/** Copies the database of a running broker as a kill would leave it, without the log where that is lost. */
async function copyDatabase(from: string, to: string, suffixes: readonly string[]): Promise<void> {
  await Deno.mkdir(to);
  for (const suffix of suffixes) await Deno.copyFile(`${from}/${DATABASE_NAME}${suffix}`, `${to}/${DATABASE_NAME}${suffix}`);
}

for (const [what, suffixes, isLost] of [["without its log", [""], true], ["as it was", ["", "-wal"], false]] as const) {
  Deno.test({
    name: `SqliteBroker gives no position again after a kill, and knows what was lost - with the file ${what}`,
    ignore,
    async fn() {
      await using folder = temporary();
      const [before, after] = [`${folder.dir}/before`, `${folder.dir}/after`];
      const send = async (broker: SqliteBroker) => {
        const [result] = await broker.append([{ sender: "ann", recipient: "ann", content: "hi", id: undefined, origin: "" }]);
        return "seq" in result! ? result.seq : 0;
      };
      // A clean end in between: the file itself says that it was let go of.
      {
        await using broker = await open(before, { sync: "full" });
        await broker.attach("ann", "laptop");
        await send(broker);
      }
      const taken: number[] = [];
      {
        await using broker = await open(before, { sync: "full" });
        for (let n = 0; n < 5; n++) taken.push(await send(broker));
        assertEquals(taken, [2, 3, 4, 5, 6], "nothing is left out after a clean end");
        await copyDatabase(before, after, suffixes);
      }
      await using broker = await open(after, { sync: "full" });
      const next = await send(broker);
      assert(next > 6, String(next));
      const lost = async (resume: number) => (await broker.attach("ann", "laptop", { resume })).isLost;
      assertEquals([await lost(1), await lost(6), await lost(next - 1), await lost(next)], [false, isLost, false, false]);
    },
  });
}

Deno.test({
  name: "SqliteBroker remembers the gaps of many crashes, and takes none for lost who came between them",
  ignore,
  async fn() {
    await using folder = temporary();
    {
      await using broker = await open(`${folder.dir}/0`);
      await broker.append([{ sender: "ann", recipient: "ann", content: "hi", id: undefined, origin: "" }]);
    }
    const heads: number[] = [];
    for (let crash = 0; crash < 4; crash++) {
      await using broker = await open(`${folder.dir}/${crash}`);
      heads.push((await broker.attach("ann", "laptop")).head);
      await copyDatabase(`${folder.dir}/${crash}`, `${folder.dir}/${crash + 1}`, ["", "-wal"]);
    }
    await using broker = await open(`${folder.dir}/4`);
    for (const head of heads) {
      const [at, past] = [
        await broker.attach("ann", "x", { resume: head }),
        await broker.attach("ann", "x", { resume: head + 1 }),
      ];
      assertEquals([at.isLost, past.isLost], [false, true], String(head));
    }
  },
});

Deno.test({
  name: "SqliteBroker finishes what was begun before it was closed, however much it is",
  ignore,
  async fn() {
    await using folder = temporary();
    const drafts = Array.from(
      { length: 2_000 },
      () => ({ sender: "ann", recipient: "ann", content: "hi", id: undefined, origin: "" }),
    );
    const broker = await open(folder.dir);
    await broker.attach("ann", "laptop");
    const appends = Array.from({ length: 30 }, () => broker.append(drafts));
    await broker.close();
    const results = (await Promise.all(appends)).flat();
    assert(results.length === 60_000 && results.every((result) => !("code" in result)));
  },
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
