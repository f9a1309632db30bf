/** The broker on PostgreSQL: the suite of all brokers, and what only this one can get wrong. */

import { assert, assertEquals, assertRejects, assertStringIncludes, assertThrows } from "@std/assert";
import { delay } from "@std/async/delay";
import type { Appended, Draft, Stored } from "../broker.ts";
import { LACKS_POSTGRES, PostgresServer, runAsPostgres, sharedPostgres } from "../testing/postgres.ts";
import { SmallDisk } from "../testing/small_disk.ts";
import { testBroker } from "./contract.ts";
import { BrokerError } from "./errors.ts";
import {
  moveToPostgres,
  openPostgresBroker,
  openPostgresFeedDesk,
  type PostgresBroker,
  type PostgresOptions,
} from "./postgres.ts";
import { MIGRATIONS } from "./postgres/schema.ts";
import { openSqliteBroker } from "./sqlite.ts";

const ignore = LACKS_POSTGRES;
/** MiB of the disk of a test that fills one. */
const DISK_MIB = 160;
/** Milliseconds between two looks, and looks before a test gives up. */
const LOOK_MS = 20, LOOKS = 1_500;
/** Milliseconds within which every call has to settle, with some for a busy machine. */
const SETTLED_MS = 15_000;
/** Milliseconds within which a node closes whose PostgreSQL is away: a second, with as much for a busy machine. */
const CLOSED_MS = 6_000;

testBroker("PostgresBroker", async (limits) => {
  const server = sharedPostgres(), schema = server.newSchema();
  const open = () => openPostgresBroker({ url: server.url(), schema, secondLookMs: 0, ...limits });
  let broker = await open();
  return {
    broker,
    expire: () => broker.expire(),
    reopen: async () => {
      await broker.close();
      return broker = await open();
    },
    [Symbol.asyncDispose]: () => broker.close(),
  };
}, ignore);

function test(name: string, fn: () => Promise<void>): void {
  Deno.test({ name: `PostgresBroker ${name}`, ignore, fn });
}

async function until(done: () => boolean | Promise<boolean>, what = "what was waited for"): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    if (await done()) return;
    await delay(LOOK_MS);
  }
  throw new Error(`There was never ${what}`);
}

function draft(sender: string, recipient: string, content: string, id?: string): Draft {
  return { sender, recipient, content, id, origin: "laptop" };
}

function codeOf(result: Appended | undefined): string {
  return result && "code" in result ? result.code : "ok";
}

/** Two nodes of a fresh installation, with users. */
async function twoNodes(options: Partial<PostgresOptions> = {}) {
  const server = sharedPostgres(), schema = server.newSchema();
  const open = (more: Partial<PostgresOptions> = {}) => openPostgresBroker({ url: server.url(), schema, ...options, ...more });
  const one = await open({ node: "one" }), two = await open({ node: "two" });
  for (const user of ["ann", "ben", "cat"]) await one.attach(user, "laptop");
  return {
    server,
    schema,
    one,
    two,
    open,
    async [Symbol.asyncDispose]() {
      await one.close();
      await two.close();
    },
  };
}

function listen(broker: PostgresBroker, user: string): Stored[] {
  const messages: Stored[] = [];
  broker.subscribe(user, { message: (message) => messages.push(message), signal() {} });
  return messages;
}

/** A session of its own that holds a transaction open, as a node does in the middle of an append. */
class Holder implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: ReadableStreamDefaultReader<string>;
  #rest = "";

  constructor(server: PostgresServer, schema: string) {
    const args = ["-h", "127.0.0.1", "-p", `${server.port}`, "-U", "postgres", "-d", "postgres", "-qtAX"];
    this.#child = new Deno.Command("psql", { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#lines = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    void this.#writer.write(new TextEncoder().encode(`SET search_path = ${schema};\n`));
  }

  /** Runs one statement that gives one value. */
  async run(sql: string): Promise<string> {
    await this.#writer.write(new TextEncoder().encode(`${sql};\nSELECT 'done';\n`));
    while (!this.#rest.includes("done\n")) {
      const { value, done } = await this.#lines.read();
      if (done) throw new Error("psql has ended");
      this.#rest += value;
    }
    const [answer, rest] = this.#rest.split("done\n");
    this.#rest = rest ?? "";
    return answer!.trim();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#writer.close();
    await this.#lines.cancel();
    await this.#child.status;
  }
}

// ---- Positions --------------------------------------------------------------------------------------------------------------

test("notes users who leave in one turn together, each with a time of their own that only moves forward", async () => {
  const server = sharedPostgres(), schema = server.newSchema();
  await using broker = await openPostgresBroker({ url: server.url(), schema });
  const users = Array.from({ length: 1_000 }, (_, i) => `user${i}`);
  await Promise.all(users.map((user, i) => broker.seen([user], 5_000 + i)));
  assertEquals(await broker.lastSeen(users), users.map((_, i) => 5_000 + i));
  const count = () => Number(server.query(`SELECT count(DISTINCT xmin::text) FROM ${schema}.users`));
  const commits = count();
  assert(commits <= 20, `${commits} commits`);
  const again = [
    broker.seen(["user0", "new", "user0"], 9_000),
    broker.seen(["user0", "new"], 8_000),
    broker.seen(["user1"], 1),
  ];
  await Promise.all([...again, broker.seen([], 7)]);
  assertEquals(await broker.lastSeen(["user0", "user1", "new"]), [9_000, 5_001, 9_000]);
});

test("delivers on all nodes what was appended on any, in one order", async () => {
  await using nodes = await twoNodes();
  const { one, two } = nodes, here = listen(one, "ben"), there = listen(two, "ben");
  const sending: Promise<unknown>[] = [];
  for (let n = 0; n < 200; n++) sending.push((n % 2 ? one : two).append([draft(n % 2 ? "ann" : "cat", "ben", `${n}`)]));
  await Promise.all(sending);
  await until(() => here.length === 200 && there.length === 200, "200 messages on both nodes");
  assertEquals(here.map(({ seq }) => seq), there.map(({ seq }) => seq));
  assertEquals(here.map(({ seq }) => seq), here.map(({ seq }) => seq).toSorted((a, b) => a - b));
});

test("yields and reads nothing above an append that is under way, so that a late one is not skipped", async () => {
  await using nodes = await twoNodes();
  const { one, two, server, schema } = nodes, there = listen(two, "ben");
  await one.append([draft("ann", "ben", "first")]);
  await until(() => there.length === 1);
  await using late = new Holder(server, schema);
  await late.run("BEGIN; SELECT begin_drawing()");
  const seq = Number(await late.run("SELECT nextval('log_seq')"));
  const [later] = await one.append([draft("ann", "ben", "later")]);
  assert(later && "seq" in later && later.seq > seq);
  // A poll of the tail, several times over.
  for (let n = 0; n < 5; n++) await two.append([draft("cat", "cat", "elsewhere")]);
  assertEquals(there.map(({ content }) => content), ["first"]);
  assertEquals((await two.read("ben", 0, 10)).messages.map(({ content }) => content), ["first"]);
  assert((await two.attach("ben", "phone", { last: 0 })).position < seq, "a new device starts below it");
  await late.run(
    `INSERT INTO messages SELECT ${seq}, 1, thread, sender, recipient, NULL, '', 'late' FROM messages LIMIT 1; COMMIT`,
  );
  await until(() => there.length === 3, "all three messages");
  assertEquals(there.map(({ content }) => content), ["first", "late", "later"]);
  assertEquals((await two.read("ben", 0, 10)).messages.map(({ content }) => content), ["first", "late", "later"]);
});

test("counts what it has seen as visible when a lock is taken late, so that the horizon steps back", async () => {
  await using nodes = await twoNodes();
  const { one, server, schema } = nodes, here = listen(one, "ben");
  const low = Number(server.query(`SELECT last_value FROM ${schema}.log_seq`));
  await one.append([draft("ann", "ben", "1"), draft("ann", "ben", "2")]);
  await until(() => here.length === 2);
  await using late = new Holder(server, schema);
  await late.run(`BEGIN; SELECT pg_advisory_xact_lock_shared(schema_oid()::bit(32)::int, ${low})`);
  assertEquals(Number(server.query(`SET search_path = ${schema}; SELECT horizon()`)), low);
  assertEquals((await one.read("ben", 0, 10)).messages.length, 2);
  assertEquals((await one.attach("ben", "laptop")).head, here[1]!.seq);
  const history = await one.history("ben", { with: "ann", limit: 10 });
  assert("messages" in history && history.messages.length === 2);
  await late.run("COMMIT");
});

test("is held up by no lock of another installation, or of another database", async () => {
  await using nodes = await twoNodes();
  await using others = await twoNodes();
  const { one, server } = nodes, here = listen(one, "ben");
  server.query("CREATE DATABASE other");
  const low = server.query(`SELECT last_value - 1 FROM ${nodes.schema}.log_seq`);
  const oid = server.query(`SELECT '${nodes.schema}.log_seq'::regclass::oid`);
  await using late = new Holder(server, others.schema);
  await late.run("BEGIN; SELECT begin_drawing()");
  await using elsewhere = new Holder(server, "public");
  await elsewhere.run(`\\c other\nBEGIN; SELECT pg_advisory_xact_lock_shared(${oid}, ${low})`);
  await one.append([draft("ann", "ben", "hi")]);
  await until(() => here.length === 1, "a message");
  await late.run("COMMIT");
  await elsewhere.run("COMMIT");
});

test("gives its first message a position above that of everybody who was there before", async () => {
  const server = sharedPostgres();
  await using broker = await openPostgresBroker({ url: server.url(), schema: server.newSchema() });
  const { head, position } = await broker.attach("ann", "laptop");
  const [first] = await broker.append([draft("ann", "ann", "hi")]);
  assert(first && "seq" in first && first.seq > head && first.seq > position);
});

// ---- Idempotency, groups ----------------------------------------------------------------------------------------------------

test("stores an id once though two nodes append it at the same moment, in any order", async () => {
  await using nodes = await twoNodes();
  const { one, two } = nodes;
  for (let round = 0; round < 10; round++) {
    const ids = Array.from({ length: 50 }, (_, n) => `${round}-${n}`);
    const [here, there] = await Promise.all([
      one.append(ids.map((id) => draft("ann", "ben", id, id))),
      two.append(ids.toReversed().map((id) => draft("ann", "ben", id, id))),
    ]);
    const seqs = (results: readonly Appended[]) => results.map((result) => "seq" in result ? result.seq : result.code);
    assertEquals(seqs(here), seqs(there).toReversed());
    const isNew = [...here, ...there].filter((result) => "seq" in result && !result.duplicate);
    assertEquals(isNew.length, ids.length);
  }
});

test("stores an id once though two nodes begin the conversation with it at the same moment", async () => {
  await using nodes = await twoNodes();
  const { one, two } = nodes;
  for (let round = 0; round < 60; round++) {
    const others = [`x${round}`, `y${round}`];
    for (const name of others) await one.attach(name, "d");
    const drafts = [draft("ann", others[0]!, "hi", `${round}-x`), draft("ann", others[1]!, "hi", `${round}-y`)];
    // The later a node is, the nearer the other's commit comes to each of its steps.
    const late = (async () => {
      for (let turn = 0; turn < round; turn++) await new Promise((resolve) => setImmediate(resolve));
      return await two.append(drafts);
    })();
    const seqs = (results: readonly Appended[]) => results.map((result) => "seq" in result ? result.seq : result.code);
    assertEquals(seqs(await one.append(drafts)), seqs(await late));
  }
});

/** Lets members of a group come and go while others send; returns messages whose senders were no members at their position. */
async function strangersIn(nodes: Awaited<ReturnType<typeof twoNodes>>, rounds: number): Promise<number> {
  const { one, two, server, schema } = nodes;
  for (const group of ["#a", "#b"]) await one.group({ op: "create", user: "ann", group, open: true });
  for (const user of ["ben", "cat"]) for (const group of ["#a", "#b"]) await one.group({ op: "join", user, group });
  let ended = false;
  const sending = [one, two].flatMap((node, n) =>
    ["ben", "cat"].map(async (user) => {
      for (let i = 0; !ended; i++) await node.append([draft(user, i % 2 ? "#a" : "#b", `${n}`), draft(user, "#b", "x")]);
    })
  );
  const changing = [one, two].map(async (node, n) => {
    for (let i = 0; i < rounds; i++) {
      const user = ["ben", "cat"][(i >> 1) % 2]!, group = (i + n) % 2 ? "#a" : "#b";
      await node.group({ op: (i + n) % 4 < 2 ? "leave" : "join", user, group });
    }
  });
  await Promise.all(changing);
  ended = true;
  await Promise.all(sending);
  return Number(server.query(`SELECT count(*) FROM ${schema}.messages m WHERE m.recipient = 0 AND NOT coalesce((SELECT c.enters
    FROM ${schema}.changes c WHERE c.usr = m.sender AND c.thread = m.thread AND c.seq < m.seq ORDER BY c.seq DESC LIMIT 1), false)`));
}

test("stores nothing of somebody who is no member of the group at that position", async () => {
  await using nodes = await twoNodes();
  assertEquals(await strangersIn(nodes, 150), 0);
  assert(Number(nodes.server.query(`SELECT count(*) FROM ${nodes.schema}.messages`)) > 100);
});

test("would store some without the lock of the group: the control of the test before", async () => {
  await using nodes = await twoNodes();
  const { server, schema } = nodes;
  const source = server.query(`SELECT pg_get_functiondef('${schema}.change'::regproc)`);
  const unlocked = source.replace(/PERFORM pg_advisory_xact_lock\([^;]*;/, "PERFORM pg_sleep(0.005);");
  assert(unlocked !== source);
  server.query(`SET search_path = ${schema}; ${unlocked}`);
  // The append is slow between its look at the members and its positions, as on a busy server.
  const append = server.query(`SELECT pg_get_functiondef('${schema}.append'::regproc)`);
  server.query(
    `SET search_path = ${schema};` +
      append.replace("SELECT nextval('log_seq')", "SELECT nextval('log_seq') + 0 * length(pg_sleep(0.003)::text)"),
  );
  assert(await strangersIn(nodes, 150) > 0);
});

// ---- Failures ---------------------------------------------------------------------------------------------------------------

test("answers unavailable within five seconds while PostgreSQL is stopped, and goes on by itself", async () => {
  await using server = new PostgresServer();
  const reports: string[] = [];
  await using broker = await openPostgresBroker({ url: server.url(), report: (error) => reports.push(String(error)) });
  for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
  const ben = listen(broker, "ben");
  let leaving: PostgresBroker | undefined = await openPostgresBroker({ url: server.url() });
  for (
    const [fail, mend] of [
      [() => server.signalAll("SIGSTOP"), () => server.signalAll("SIGCONT")],
      [() => server.crash(), () => server.start()],
      [() => server.stop("fast"), () => server.start()],
    ] as const
  ) {
    await fail();
    const begun = performance.now(), id = crypto.randomUUID();
    const results = await Promise.all([
      broker.append([draft("ann", "ben", id, id)]).then(([result]) => codeOf(result)),
      broker.read("ben", 0, 1).then(() => "ok", () => "rejected"),
      broker.advance([{ user: "ben", device: "laptop", seq: 1 }]).then(() => "ok", () => "rejected"),
      broker.group({ op: "members", user: "ann", group: "#g" }).then(() => "ok", () => "rejected"),
      leaving ? leaving.append([draft("ann", "ben", "never acked")]).then(([result]) => codeOf(result)) : "unavailable",
    ]);
    assertEquals(results, ["unavailable", "rejected", "rejected", "rejected", "unavailable"]);
    assert(performance.now() - begun < SETTLED_MS, `${performance.now() - begun} ms`);
    assert(broker.trouble !== undefined);
    if (leaving) {
      const begun = performance.now();
      await leaving.close();
      assert(performance.now() - begun < CLOSED_MS, "a node that closes meanwhile waits for no answer");
      leaving = undefined;
    }
    await mend();
    await until(
      async () => codeOf((await broker.append([draft("ann", "ben", id, id)]))[0]) === "ok",
      "an append that succeeds",
    );
    await until(() => ben.some(({ content }) => content === id), "the message");
    assertEquals(ben.filter(({ content }) => content === id).length, 1);
    await until(() => broker.trouble === undefined, "the end of the trouble");
  }
  assert(reports.length < 40, `${reports.length} lines: what is wrong is said once`);
});

test("answers unavailable while PostgreSQL takes no writes", async () => {
  await using server = new PostgresServer();
  await using broker = await openPostgresBroker({ url: server.url() });
  await broker.attach("ann", "laptop");
  server.set("default_transaction_read_only = on");
  await until(async () => codeOf((await broker.append([draft("ann", "ann", "hi")]))[0]) === "unavailable", "a refusal");
  assertStringIncludes(broker.trouble ?? "", "read-only");
  server.set("default_transaction_read_only = off");
  await until(async () => codeOf((await broker.append([draft("ann", "ann", "hi")]))[0]) === "ok", "an append that succeeds");
});

test("takes a commit whose wait for the standby was cut off for no commit", async () => {
  await using server = new PostgresServer();
  await using broker = await openPostgresBroker({ url: server.url() });
  await broker.attach("ann", "laptop");
  server.set("synchronous_standby_names = 'nobody'");
  const appending = broker.append([draft("ann", "ann", "hi", "1")]);
  const waiting = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
  await until(() => server.query(`SELECT count(*) ${waiting}`) !== "0", "a commit that waits");
  server.query(`SELECT pg_cancel_backend(pid) ${waiting}`);
  assertEquals(codeOf((await appending)[0]), "unavailable");
  server.set("synchronous_standby_names = ''");
  await until(
    async () => codeOf((await broker.append([draft("ann", "ann", "hi", "1")]))[0]) === "ok",
    "an append that succeeds",
  );
});

test("goes on in another epoch where a standby was promoted that lacks what was acknowledged", async () => {
  await using primary = new PostgresServer();
  await using standby = new PostgresServer({ standbyOf: primary });
  const url = `postgres://postgres@127.0.0.1:${primary.port},127.0.0.1:${standby.port}/postgres`;
  await using broker = await openPostgresBroker({ url });
  let changes = 0;
  const ignored = { replaced() {}, disconnect() {}, changed() {}, revoked() {} };
  broker.cluster.listen({ ...ignored, epochChanged: () => changes++ });
  assertStringIncludes(broker.durability.words, "asynchronous");
  await broker.attach("ann", "laptop");
  const ann = listen(broker, "ann"), { epoch } = broker;
  await broker.append([draft("ann", "ann", "kept", "1")]);
  const sent = primary.query("SELECT pg_current_wal_lsn()");
  await until(() => standby.query(`SELECT pg_last_wal_replay_lsn() >= '${sent}'`) === "t", "the replay");
  standby.stop();
  await broker.append([draft("ann", "ann", "lost", "2")]);
  await until(() => ann.length === 2);
  await primary.crash();
  standby.start();
  standby.promote();
  await until(() => changes === 1 && broker.epoch !== epoch, "another epoch");
  assertEquals((await broker.read("ann", 0, 10)).messages.map(({ content }) => content), ["kept"]);
  await until(async () => codeOf((await broker.append([draft("ann", "ann", "lost", "2")]))[0]) === "ok");
  await until(() => ann.length === 3, "what is sent again");
});

Deno.test({
  name: "PostgresBroker answers unavailable while the disk is full, loses nothing, and goes on by itself",
  ignore: ignore || !SmallDisk.isPossible(),
  async fn() {
    using disk = SmallDisk.make(DISK_MIB)!;
    await using server = new PostgresServer({ dir: disk.folder });
    const reports: string[] = [];
    await using broker = await openPostgresBroker({ url: server.url(), report: (error) => reports.push(String(error)) });
    await broker.attach("ann", "laptop");
    const acked: string[] = [];
    let sent = 0;
    const send = async () => {
      const id = String(sent++), [result] = await broker.append([draft("ann", "ann", "x".repeat(16_000), id)]);
      if (codeOf(result) === "ok") acked.push(id);
      return codeOf(result);
    };
    assertEquals(await send(), "ok");
    disk.fill();
    await until(async () => await send() === "unavailable", "a refusal");
    assert(broker.trouble !== undefined);
    // Without room for its log it ends, and then that is all that anybody knows.
    const isSaid = () => reports.some((words) => /\(53100\)\. Make room on its disk/.test(words));
    await until(async () => isSaid() || server.pids().length === 0 || await send() === "", "words of the disk");
    disk.free();
    // Without room for its log PostgreSQL may end; whoever runs it starts it again.
    if (server.pids().length === 0) server.revive();
    await until(async () => await send() === "ok", "an append that succeeds");
    const kept = new Set<string>();
    for (let after = 0, more = true; more;) {
      const page = await broker.read("ann", after, 100);
      for (const { id } of page.messages) kept.add(id!);
      after = page.messages.at(-1)?.seq ?? after;
      more = page.more;
    }
    assertEquals(acked.filter((id) => !kept.has(id)), []);
  },
});

test("refuses a PostgreSQL that acknowledges what it may lose, unless its operator insists", async () => {
  await using server = new PostgresServer({ settings: ["synchronous_commit = off"] });
  const error = await assertRejects(() => openPostgresBroker({ url: server.url() }), BrokerError);
  assertStringIncludes(error.message, "--postgres-allow-async");
  await using broker = await openPostgresBroker({ url: server.url(), allowAsync: true });
  assertStringIncludes(broker.durability.words, "promises nothing");
});

test("refuses synchronous_commit local where there is a standby, of either kind, unless its operator insists", async () => {
  await using primary = new PostgresServer({ settings: ["synchronous_commit = local"] });
  await (await openPostgresBroker({ url: primary.url() })).close();
  await using standby = new PostgresServer({ standbyOf: primary });
  await until(() => primary.query("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") === "1", "a standby");
  for (const names of ["", "*"]) {
    primary.set(`synchronous_standby_names = '${names}'`);
    await until(() => primary.query("SHOW synchronous_standby_names") === names, "the setting");
    const error = await assertRejects(() => openPostgresBroker({ url: primary.url() }), BrokerError);
    assertStringIncludes(
      error.message,
      "a failover would lose acknowledged messages. Set it to on, or start with --postgres-allow-async",
    );
    await using broker = await openPostgresBroker({ url: primary.url(), allowAsync: true });
    assertStringIncludes(broker.durability.words, "loses what had not reached the standby");
  }
  // The standby itself takes no node, and says so; with the primary beside it in the address the primary is found.
  const error = await assertRejects(() => openPostgresBroker({ url: standby.url(), allowAsync: true }), BrokerError);
  assertStringIncludes(error.message, "is a standby, which takes no writes. Promote it, or name the primary");
  const both = `postgres://postgres@127.0.0.1:${standby.port},127.0.0.1:${primary.port}/postgres`;
  await using broker = await openPostgresBroker({ url: both, allowAsync: true });
  await broker.attach("ann", "laptop");
  await primary.crash();
  assertEquals(codeOf((await broker.append([draft("ann", "ann", "hi")]))[0]), "unavailable");
  await until(() => {
    const words = broker.trouble ?? "";
    return words.includes(`127.0.0.1:${standby.port}`) && words.includes("Promote it") && words.includes("Nothing listens at");
  }, "words about both hosts");
});

test("goes on saying why on a schema that a newer version has taken something from", async () => {
  const server = sharedPostgres(), schema = server.newSchema(), url = server.url();
  await using broker = await openPostgresBroker({ url, schema });
  await broker.attach("ann", "laptop");
  server.query(`UPDATE ${schema}.meta SET value = '99' WHERE key = 'oldest'`);
  server.query(`ALTER TABLE ${schema}.messages RENAME TO letters`);
  assertEquals(codeOf((await broker.append([draft("ann", "ann", "hi")]))[0]), "unavailable");
  assertStringIncludes(broker.trouble ?? "", "PostgreSQL says 42P01. Another version has changed the schema: start that one");
  server.query(`ALTER TABLE ${schema}.letters RENAME TO messages`);
  // It may write to what it can, until it connects again: then it is asked which versions may.
  server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query ~ 'append' AND pid <> pg_backend_pid()");
  await until(
    () => /needs nodes that know version 99.*Start a newer version/.test(broker.trouble ?? ""),
    "words of the version",
  );
  server.query(`UPDATE ${schema}.meta SET value = '1' WHERE key = 'oldest'`);
  await until(() => broker.trouble === undefined, "the end of the trouble");
});

test("says in words why it cannot be opened, and never the password", async () => {
  const server = sharedPostgres();
  for (
    const [url, words] of [
      ["postgres://ann:hunter2@127.0.0.1:1/postgres", "Cannot reach postgres://ann@127.0.0.1:1/postgres"],
      [server.url("nobody", "hunter2"), 'role "nobody" does not exist'],
      ["postgres://ann:hunter2@/x?sslmode=prefer", "sslmode=prefer"],
      ["http://ann:hunter2@localhost", "no address"],
    ] as const
  ) {
    const error = await assertRejects(() => openPostgresBroker({ url }), BrokerError);
    assertStringIncludes(error.message, words);
    assert(!error.message.includes("hunter2"), error.message);
  }
});

test("lets one node at a time follow the log under a name, and another one when the first is over or lets go", async () => {
  await using nodes = await twoNodes();
  const { one, two, server, schema } = nodes;
  assert(await one.feed.claim("push", 60_000));
  assertEquals([await two.feed.claim("push", 60_000), await two.feed.save("push", "two")], [undefined, false]);
  assert(await two.feed.claim("other", 60_000), "another name is another matter");
  assertEquals(await one.feed.save("push", "one"), true);
  await one.feed.release("push");
  assertEquals((await two.feed.claim("push", 0))?.state, "one");
  assertEquals((await one.feed.claim("push", 60_000))?.state, "one", "the other's time was over");
  assertEquals(await two.feed.save("push", "late"), false);
  await using desk = await openPostgresFeedDesk({ url: server.url(), schema });
  assertEquals([await desk.wish("push", "again"), await desk.wish("nobody", "x")], [true, false]);
  assertEquals((await one.feed.claim("push", 60_000))?.wish, "again");
  await one.feed.save("push", "done", "again");
  assertEquals((await desk.list()).find(({ name }) => name === "push"), { name: "push", state: "done", wish: undefined });
});

test("hears nothing of roles that may not read its schema, and goes on over what it does not understand", async () => {
  await using nodes = await twoNodes({ report: (error) => reports.push(String(error)) });
  const reports: string[] = [], { one, two, server, schema } = nodes, signals: string[] = [];
  two.subscribe("ben", { message() {}, signal: (signal) => signals.push(JSON.stringify(signal)) });
  server.query("CREATE ROLE mallory LOGIN");
  const typing = (sender: string) => ({ type: "typing", sender, recipient: "ben" }) as const;
  const forged = JSON.stringify(["x", 0, ["signal", ["ben"], typing("mallory")]]);
  server.query(`NOTIFY ${schema}, '${forged}'`, "mallory");
  assertThrows(() => server.query(`SELECT * FROM ${schema}.meta`, "mallory"), Error, "permission denied");
  const channel = `${schema}_${server.query(`SELECT value FROM ${schema}.meta WHERE key = 'channel'`)}`;
  const listener = () => server.query("SELECT string_agg(pid::text, ',') FROM pg_stat_activity WHERE query ~ '^LISTEN'");
  const before = listener();
  for (const payload of ["garbage", "null", "[]", '["x",0,null]', '["x",0,["signal",null,{}]]', '["x",0,["unheard-of"]]']) {
    server.query(`NOTIFY ${channel}, '${payload}'`);
  }
  await until(() => {
    one.signal(["ben"], typing("ann"));
    return signals.length > 0;
  }, "a signal of a node");
  assertEquals(signals.filter((signal) => signal.includes("mallory")), []);
  assertEquals(listener(), before, "the connection has ended");
  assertEquals(reports, Array(2).fill("Another node, or somebody else, said what cannot be understood"), "once for each node");
});

test("keeps what looks like SQL, like an array or like anything else of PostgreSQL's as it is, in every field", async () => {
  await using nodes = await twoNodes();
  const { one, two, server, schema } = nodes;
  const odd = [
    ...[
      "'; DROP TABLE users; --",
      '"\\"{},NULL',
      "\\",
      "NULL",
      "{a,b}",
      "$1 $$ %s :x ?",
      "\u{1F600}\u2028",
      "\x01\x7f",
      "\\x00",
    ],
    "E'\\000'",
  ];
  for (const [n, text] of odd.entries()) {
    const sent = { sender: "ann", recipient: "ben", content: text, id: text, origin: `${text}'` };
    const [first, again] = [await one.append([sent]), await two.append([sent])];
    assertEquals([codeOf(first[0]), "seq" in again[0]! && again[0].duplicate], ["ok", true], text);
    one.signal(["ben"], { type: "typing", sender: text, recipient: text });
    await two.feed.claim(text, 60_000);
    assertEquals(await two.feed.save(text, text), true, `${n}`);
    await two.search("ben", { query: text, limit: 5 });
  }
  const page = await two.read("ben", 0, 100);
  assertEquals(
    page.messages.map(({ content, id, origin }) => [content, id, origin]),
    odd.map((text) => [text, text, `${text}'`]),
  );
  assertEquals(server.query(`SELECT count(*) FROM ${schema}.users`), "3");
});

test("refuses a message with U+0000 in words, and none of those that are stored with it", async () => {
  await using nodes = await twoNodes();
  const { one } = nodes;
  const id = "\0",
    results = await Promise.all([
      one.append([draft("ann", "ben", "a\0b"), draft("ann", "ben", "fine"), draft("ann", "ben", "hi", id)]),
      one.append([draft("ann", "ben", "fine too")]),
    ]);
  assertEquals(results.flat().map((result) => "code" in result ? result.message : "ok"), [
    '"content" has U+0000',
    "ok",
    '"id" has U+0000',
    "ok",
  ]);
  assertEquals((await one.read("ben", 0, 10)).messages.map(({ content }) => content), ["fine", "fine too"]);
});

test("has no index with a column that every move of a marker changes, and finds markers in every block of the one it has", async () => {
  await using nodes = await twoNodes();
  const { one, two, server, schema } = nodes;
  const indexed = server.query(`SELECT DISTINCT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid
    AND a.attnum = ANY(i.indkey) WHERE i.indrelid = '${schema}.members'::regclass ORDER BY 1`);
  assertEquals(indexed.split("\n"), ["marked_block", "thread", "usr"]);
  const moved: number[] = [];
  for (const seq of [0, 2 ** 20 - 4, 2 ** 20 + 8, 5 * 2 ** 20]) {
    if (seq > 0) server.query(`SELECT setval('${schema}.log_seq', ${seq})`);
    const [sent] = await one.append([draft("ann", "ben", "hi")]);
    assert("seq" in sent!);
    const [result] = await two.mark([{ user: "ben", kind: "delivered", with: "ann", seq: sent.seq }]);
    assertEquals(result!.authors, ["ann"]);
    moved.push(sent.seq);
    for (const since of [0, ...moved]) {
      const markers = (await Array.fromAsync(one.markers("ann", since))).flat();
      assertEquals(markers.map(({ user, seq }) => [user, seq]), [["ben", sent.seq]], `${since} of ${moved}`);
    }
    assertEquals((await Array.fromAsync(one.markers("ann", sent.seq + 1))).flat(), []);
  }
});

// ---- The schema -------------------------------------------------------------------------------------------------------------

test("is migrated by one of several nodes that start at once", async () => {
  const server = sharedPostgres(), schema = server.newSchema();
  const nodes = await Promise.all([1, 2, 3, 4].map(() => openPostgresBroker({ url: server.url(), schema })));
  assertEquals(new Set(nodes.map(({ epoch }) => epoch)).size, 1);
  for (const node of nodes) await node.close();
});

test("works on a schema that a newer version has added to, and refuses one that it is too old for", async () => {
  const server = sharedPostgres(), schema = server.newSchema(), url = server.url();
  await using old = await openPostgresBroker({ url, schema });
  await old.attach("ann", "laptop");
  const expanded = [...MIGRATIONS, { oldest: 1, sql: "ALTER TABLE messages ADD COLUMN edited bigint" }];
  await using newer = await openPostgresBroker({ url, schema, migrations: expanded });
  for (const node of [old, newer]) assertEquals(codeOf((await node.append([draft("ann", "ann", "hi")]))[0]), "ok");
  await (await openPostgresBroker({ url, schema })).close();
  const contracted = [...expanded, { oldest: expanded.length, sql: "SELECT 1" }];
  await (await openPostgresBroker({ url, schema, migrations: contracted })).close();
  const error = await assertRejects(() => openPostgresBroker({ url, schema }), BrokerError);
  assertStringIncludes(error.message, `this one knows ${MIGRATIONS.length}. Start a newer version`);
});

// ---- What operators do --------------------------------------------------------------------------------------------------------

/** Code of a kind in docs/CLUSTER.md, the first that has some words. */
function codeOfDocs(kind: string, words: string): string {
  const text = Deno.readTextFileSync(new URL("../docs/CLUSTER.md", import.meta.url));
  const blocks = [...text.matchAll(/```(\w+)\n([^]*?)```/g)];
  return blocks.find(([, language, code]) => language === kind && code!.includes(words))![2]!;
}

test("needs no more than the role that the docs make, which may do nothing elsewhere", async () => {
  await using server = new PostgresServer();
  const file = `${server.folder}/role.sql`;
  Deno.writeTextFileSync(file, codeOfDocs("sql", "CREATE ROLE"));
  runAsPostgres("psql", [
    "-h",
    "127.0.0.1",
    "-p",
    `${server.port}`,
    "-U",
    "postgres",
    "-q",
    "-v",
    "ON_ERROR_STOP=1",
    "-f",
    file,
  ]);
  const url = `postgres://parley:x@127.0.0.1:${server.port}/parley`;
  await using broker = await openPostgresBroker({ url });
  await broker.attach("ann", "laptop");
  assertEquals(codeOf((await broker.append([draft("ann", "ann", "hi")]))[0]), "ok");
  await broker.expire();
  const error = await assertRejects(() => openPostgresBroker({ url, schema: "other" }), BrokerError);
  assertStringIncludes(error.message, "permission denied");
  assertEquals(server.query("SELECT rolsuper OR rolcreatedb OR rolcreaterole FROM pg_roles WHERE rolname = 'parley'"), "f");
});

test("is restored from a dump, under another epoch, by the commands of the docs", async () => {
  await using server = new PostgresServer();
  const commands = codeOfDocs("console", "pg_dump").trim().split("\n");
  server.query("CREATE DATABASE parley");
  server.query("CREATE DATABASE restored");
  const at = (database: string) => `postgres://postgres@127.0.0.1:${server.port}/${database}`;
  const env = { PGHOST: "127.0.0.1", PGPORT: `${server.port}`, PGUSER: "postgres" };
  await using broker = await openPostgresBroker({ url: at("parley") });
  for (const user of ["ann", "ben"]) await broker.attach(user, "laptop");
  await broker.append([draft("ann", "ben", "kept", "1")]);
  for (const command of commands) runAsPostgres("/bin/sh", ["-c", `cd ${server.folder} && ${command}`], env);
  await using restored = await openPostgresBroker({ url: at("restored") });
  assert(restored.epoch !== broker.epoch);
  assertEquals((await restored.read("ben", 0, 10)).messages.map(({ content }) => content), ["kept"]);
  const [again] = await restored.append([draft("ann", "ben", "kept", "1")]);
  assertEquals(again && "seq" in again && again.duplicate, true);
});

test("takes over a folder of SQLite, with everything at its place", async () => {
  const server = sharedPostgres(), schema = server.newSchema(), dir = await Deno.makeTempDir();
  const sqlite = await openSqliteBroker({ dir });
  for (const user of ["ann", "ben", "cat"]) await sqlite.attach(user, "laptop");
  await sqlite.group({ op: "create", user: "ann", group: "#g", open: false });
  for (const target of ["ben", "cat"]) await sqlite.group({ op: "invite", user: "ann", group: "#g", target });
  const odd = '"2"\\\n{}';
  const sent = await sqlite.append([draft("ann", "ben", "1", "a"), draft("ben", "#g", odd, "b"), draft("ann", "ann", "3")]);
  const seqs = sent.map((one) => "seq" in one ? one.seq : 0);
  await sqlite.group({ op: "leave", user: "cat", group: "#g" });
  await sqlite.mark([{ user: "ben", kind: "read", with: "ann", seq: seqs[0]! }]);
  await sqlite.advance([{ user: "ben", device: "laptop", seq: seqs[1]! }]);
  await sqlite.seen(["ann"], 1_700_000_000_000);
  const ask = async (broker: typeof sqlite | PostgresBroker) => ({
    epoch: broker.epoch,
    pages: await Promise.all(["ann", "ben", "cat"].map((user) => broker.read(user, 0, 10))),
    devices: await Promise.all(["ann", "ben", "cat"].map((user) => broker.attach(user, "laptop"))),
    lists: await Promise.all(["ann", "ben"].map((user) => broker.conversations(user, 10))),
    markers: await Array.fromAsync(broker.markers("ann", 0)),
    group: await broker.group({ op: "members", user: "ann", group: "#g" }),
    seen: await broker.lastSeen(["ann", "ben", "nobody"]),
  });
  await sqlite.feed.save("push", '{"position":2,"change":3,"begun":[]}');
  const before = await ask(sqlite);
  await assertRejects(() => moveToPostgres(dir, { url: server.url(), schema }), BrokerError, "Another server uses");
  await sqlite.close();
  assertEquals(await moveToPostgres(dir, { url: server.url(), schema }), { users: 3, messages: 3 });
  await using broker = await openPostgresBroker({ url: server.url(), schema });
  assertEquals(JSON.parse(JSON.stringify(await ask(broker))), JSON.parse(JSON.stringify(before)));
  const [again, next] = await broker.append([draft("ann", "ben", "1", "a"), draft("ann", "ben", "4")]);
  assert(again && "seq" in again && again.duplicate && again.seq === seqs[0]);
  assert(next && "seq" in next && next.seq > seqs[2]!);
  const cursor = await broker.feed.claim("push", 60_000);
  assertEquals(cursor?.state, '{"position":2,"begun":[]}', "changes have other numbers here");
  await assertRejects(() => moveToPostgres(dir, { url: server.url(), schema }), BrokerError, "is in use");
  await Deno.remove(dir, { recursive: true });
});

/** A folder of SQLite with some messages. */
async function folderOf(messages: number): Promise<{ readonly dir: string; readonly epoch: string }> {
  const dir = await Deno.makeTempDir();
  const sqlite = await openSqliteBroker({ dir });
  for (const user of ["ann", "ben"]) await sqlite.attach(user, "laptop");
  await sqlite.append(Array.from({ length: messages }, (_, n) => draft("ann", "ben", `${n}`)));
  await sqlite.close();
  return { dir, epoch: sqlite.epoch };
}

test("takes over one folder of two at the same moment, and a node that starts meanwhile finds all of it", async () => {
  const server = sharedPostgres(), schema = server.newSchema(), url = server.url();
  await (await openPostgresBroker({ url, schema })).close();
  const folders = [await folderOf(10), await folderOf(10)];
  await using holder = new Holder(server, schema);
  await holder.run("BEGIN; LOCK TABLE messages IN SHARE MODE");
  const moving = folders.map(({ dir }) => moveToPostgres(dir, { url, schema }));
  const settled = Promise.allSettled(moving);
  const waiting = (more: string) =>
    server.query(`SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '${schema}.messages'::regclass ${more}`);
  await until(() => waiting("") === "1", "a move that waits");
  const opening = openPostgresBroker({ url, schema });
  await until(
    () => server.query(`SELECT count(*) > 1 FROM pg_locks WHERE NOT granted AND relation = '${schema}.meta'::regclass`) === "t",
    "a move and a start that wait",
  );
  await holder.run("COMMIT");
  const results = await settled, done = results.findIndex(({ status }) => status === "fulfilled");
  await using broker = await opening;
  assertEquals(results.map(({ status }) => status).toSorted(), ["fulfilled", "rejected"]);
  const failed = results.find((result) => result.status === "rejected") as PromiseRejectedResult;
  assertStringIncludes(String(failed.reason), "is in use");
  assertEquals(broker.epoch, folders[done]!.epoch);
  assertEquals((await broker.read("ben", 0, 100)).messages.length, 10);
  for (const { dir } of folders) await Deno.remove(dir, { recursive: true });
});

test("says that somebody holds a lock, when it is moved to, started and used", async () => {
  const server = sharedPostgres(), schema = server.newSchema(), url = server.url();
  await using broker = await openPostgresBroker({ url, schema });
  await broker.attach("ann", "laptop");
  const { dir } = await folderOf(1);
  await using holder = new Holder(server, schema);
  await holder.run("BEGIN; LOCK TABLE meta, users, messages IN ACCESS EXCLUSIVE MODE");
  const [appended, started, moved] = await Promise.all([
    broker.append([draft("ann", "ann", "hi")]),
    assertRejects(() => openPostgresBroker({ url, schema }), BrokerError),
    assertRejects(() => moveToPostgres(dir, { url, schema }), BrokerError),
  ]);
  assertEquals(codeOf(appended[0]), "unavailable");
  for (const { message } of [started, moved]) assertStringIncludes(message, "(55P03). Somebody holds a lock on the schema");
  await until(() => /another program holds a lock; see pg_stat_activity/.test(broker.trouble ?? ""), "words of the lock");
  await holder.run("COMMIT");
  await until(async () => codeOf((await broker.append([draft("ann", "ann", "hi")]))[0]) === "ok", "an append that succeeds");
  await until(() => broker.trouble === undefined, "the end of the trouble");
  await Deno.remove(dir, { recursive: true });
});
