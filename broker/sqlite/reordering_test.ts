import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { CAN_RUN, lacks } from "../../testing/permissions.ts";
import { seeded } from "../../testing/random.ts";
import { BrokerError } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { inspectFolder } from "./inspect.ts";
import { migrate, MIGRATIONS } from "./schema.ts";
import { finish } from "./steps.ts";
import { SqliteStore } from "./store.ts";

/** Steps of the last schema that had messages by conversation. */
const BEFORE = 10;
const USERS = 8, MESSAGES = 700;
/** Positions that are left out after a crash, in the middle of the log. */
const GAP = 1_000_000;

/** Makes a file as the version before left it: many conversations, some messages without ids, a gap, an ended group. */
function makeOld(path: string, seed: number): void {
  const random = seeded(seed), below = (n: number) => Math.floor(random() * n);
  const database = new DatabaseSync(path);
  database.exec(MIGRATIONS.slice(0, BEFORE).join(";"));
  database.exec(`PRAGMA user_version = ${BEFORE}; BEGIN; INSERT INTO meta VALUES ('epoch', 'old')`);
  for (let user = 1; user <= USERS; user++) database.exec(`INSERT INTO users (id, name) VALUES (${user}, 'u${user}')`);
  database.exec("INSERT INTO threads (id, name, owner) VALUES (1, ' 1 #g', -1); INSERT INTO ended VALUES (1, 1, 0, 5)");
  const insert = database.prepare("INSERT INTO messages (thread, seq, sender, ts, id, origin, content) VALUES (?,?,?,?,?,?,?)");
  const index = database.prepare("INSERT INTO search (rowid, words) VALUES (?, ?)");
  const threads = new Map<string, number>();
  let head = 0;
  for (let n = 0; n < MESSAGES; n++) {
    head = n === 300 ? head + GAP : head + 1;
    const one = 1 + below(USERS), two = 1 + below(USERS), name = one < two ? `u${one} u${two}` : `u${two} u${one}`;
    let thread = n < 5 ? 1 : threads.get(name);
    if (thread === undefined) {
      threads.set(name, thread = threads.size + 2);
      database.exec(`INSERT INTO threads (id, name) VALUES (${thread}, '${name}')`);
      database.exec(`INSERT INTO members (user, thread, other, since, joined) VALUES (${one}, ${thread}, ${two}, 0, 0)
        ON CONFLICT DO NOTHING`);
      database.exec(`INSERT INTO members (user, thread, other, since, joined) VALUES (${two}, ${thread}, ${one}, 0, 0)
        ON CONFLICT DO NOTHING`);
    }
    insert.run(thread, head, one, 1_000 + n, n % 7 === 0 ? null : `id${n}`, "laptop", `content ${n} ${"x".repeat(below(300))}`);
    database.exec(`UPDATE threads SET last_seq = ${head} WHERE id = ${thread}`);
    if (n < 200) index.run(head, `${thread}\u00b7content`);
  }
  database.exec(`INSERT INTO meta VALUES ('head', ${head}); COMMIT`);
  database.close();
}

/** Every message, in the order of coming. */
function messagesOf(database: DatabaseSync): unknown[] {
  return database.prepare("SELECT seq, thread, sender, ts, id, origin, content FROM messages ORDER BY seq").all();
}

/** Asserts that a file is in the new order, whole, and has these messages. */
function assertWhole(path: string, expected: unknown[], what: string): void {
  const database = new DatabaseSync(path);
  migrate(database);
  assertEquals(messagesOf(database), expected, what);
  assertEquals(database.prepare("PRAGMA integrity_check").get()!.integrity_check, "ok");
  assertEquals(database.prepare("SELECT 1 FROM sqlite_master WHERE name IN ('clustered', 'messages_id')").get(), undefined);
  const listed = database.prepare("SELECT thread, seq, sender FROM listed ORDER BY seq").all();
  assertEquals(listed, database.prepare("SELECT thread, seq, sender FROM messages ORDER BY seq").all());
  assertEquals(database.prepare("SELECT count(*) AS n FROM search").get()!.n, 200);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  const page = finish(store.read("u1", 0, MESSAGES));
  assert(page.messages.length > 50 && !page.more, what);
  const last = page.messages.findLast(({ id }) => id !== undefined)!;
  assertEquals([...store.append([last]).seqs], [last.seq], "an id that was stored is known");
  store.flush();
  database.close();
}

function temporary(): { path: string; [Symbol.dispose]: () => void } {
  const dir = Deno.makeTempDirSync({ prefix: "reordering-" });
  return { path: `${dir}/parley.db`, [Symbol.dispose]: () => Deno.removeSync(dir, { recursive: true }) };
}

/** Takes a file over in a process that is killed at a call; returns the number of calls where it was not. */
async function takeOver(path: string, call: number): Promise<number | undefined> {
  const program = new URL("../../testing/killed_takeover.ts", import.meta.url).pathname;
  const command = new Deno.Command(Deno.execPath(), { args: ["run", "-A", "--no-check", program, path, String(call)] });
  const { success, signal, stdout, stderr } = await command.output();
  assert(success || signal === "SIGKILL", new TextDecoder().decode(stderr));
  return success ? Number(new TextDecoder().decode(stdout)) : undefined;
}

Deno.test({
  name: "a takeover that is killed at any call of SQLite, time and again, loses no message, and the next one ends it",
  ignore: !CAN_RUN,
  async fn() {
    const seed = Number(Deno.env.get("PARLEY_SEED") ?? crypto.getRandomValues(new Uint32Array(1))[0]);
    console.log(`seed ${seed}`);
    const random = seeded(seed);
    using old = temporary();
    makeOld(old.path, seed);
    const database = new DatabaseSync(old.path), expected = messagesOf(database);
    database.close();
    using whole = temporary();
    Deno.copyFileSync(old.path, whole.path);
    const calls = await takeOver(whole.path, Infinity);
    assert(calls! > 100, `${calls} calls`);
    assertWhole(whole.path, expected, "undisturbed");
    for (let folder = 0; folder < 16; folder++) {
      using one = temporary();
      Deno.copyFileSync(old.path, one.path);
      const kills: number[] = [];
      // What goes on has ever fewer calls to make: one of them is the last.
      do kills.push(1 + Math.floor(random() * calls! * (kills.length === 0 ? 1 : 0.6))); while (
        await takeOver(one.path, kills.at(-1)!) === undefined
      );
      assertWhole(one.path, expected, `seed ${seed}, folder ${folder}, killed at calls ${kills}`);
    }
  },
});

Deno.test({
  name:
    "a takeover for which there is no room is refused in words that say how much, where and what to do, and changes nothing",
  ignore: lacks("read", "write"),
  fn() {
    using old = temporary();
    makeOld(old.path, 1);
    const before = Deno.readFileSync(old.path), database = new DatabaseSync(old.path);
    const error = assertThrows(() => migrate(database, { freeBytes: () => 2 ** 20 }), BrokerError);
    for (const words of [`in ${old.path} `, "needs 33 MiB", "1 MiB are free", "nothing was done", "make room"]) {
      assertStringIncludes(error.message, words);
    }
    database.close();
    const dir = old.path.slice(0, old.path.lastIndexOf("/"));
    const found = assertThrows(
      () => inspectFolder(dir, { freeBytes: () => 2 ** 20 }),
      BrokerError,
      "",
      "a check finds it before",
    );
    assertEquals(found.message, error.message);
    assertEquals(inspectFolder(dir, { freeBytes: () => 2 ** 30 }).version, BEFORE);
    assertEquals(Deno.readFileSync(old.path), before);
  },
});

Deno.test({
  name:
    "a takeover says that it begins and ends, that of an empty file says nothing, and the version before refuses what it left",
  ignore: lacks("read", "write"),
  fn() {
    using old = temporary();
    makeOld(old.path, 2);
    const said: string[] = [], notice = (words: string) => said.push(words);
    const database = new DatabaseSync(old.path), empty = new DatabaseSync(":memory:");
    migrate(database, { notice });
    assertEquals(said.length, 2);
    migrate(database, { notice });
    migrate(empty, { notice });
    assertEquals(said.length, 2);
    assertThrows(() => migrate(database, {}, MIGRATIONS.slice(0, BEFORE)), BrokerError, "newer version");
    database.close();
    empty.close();
  },
});
