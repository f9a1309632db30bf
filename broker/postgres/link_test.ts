/** Connections to a PostgreSQL of the test's own: TLS, passwords, poolers, and the words of what goes wrong. */

import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { certificate, filesIn, oddCertificate } from "../../testing/certificate.ts";
import { lacksProgram } from "../../testing/permissions.ts";
import { LACKS_POSTGRES, PostgresServer, runAsPostgres } from "../../testing/postgres.ts";
import { BrokerError } from "../errors.ts";
import { openPostgresBroker, type PostgresBroker, type PostgresOptions } from "../postgres.ts";

const ignore = LACKS_POSTGRES;
/** Milliseconds between two looks, and looks before a test gives up. */
const LOOK_MS = 20, LOOKS = 1_500;
/** Milliseconds in which a start that cannot succeed has said so, on a machine under load too; one that tries again takes no end. */
const SOON_MS = 30_000;
const PASSWORD = "hunter2";
/** Lets the test's own psql in, and others with a password. */
const SCRAM = ["host all postgres 127.0.0.1/32 trust", "host all all 127.0.0.1/32 scram-sha-256"];
const SCRAM_TLS = [SCRAM[0]!, "hostssl all all 127.0.0.1/32 scram-sha-256"];

async function until(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  for (let look = 0; look < LOOKS; look++) {
    if (await done()) return;
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  throw new Error(`There was never ${what}`);
}

/** A server that lets the role `parley` in with {@linkcode PASSWORD}. */
function withPassword(hba: readonly string[], tls?: { cert: string; key: string }): PostgresServer {
  const server = new PostgresServer({ hba, ...tls && { tls } });
  server.query(`CREATE ROLE parley LOGIN PASSWORD '${PASSWORD}'; CREATE SCHEMA parley AUTHORIZATION parley`);
  return server;
}

async function works(broker: PostgresBroker): Promise<void> {
  await broker.attach("ann", "laptop");
  const [result] = await broker.append([{ sender: "ann", recipient: "ann", content: "hi", id: undefined, origin: "laptop" }]);
  assert(result && "seq" in result);
}

/** Opens a broker that must not open; returns why, which never has the password. */
async function refusal(options: PostgresOptions): Promise<string> {
  const { message } = await assertRejects(() => openPostgresBroker(options), BrokerError);
  assert(!message.includes(PASSWORD), message);
  return message;
}

// ---- TLS --------------------------------------------------------------------------------------------------------------------

/** Stands in between and keeps what clients say. */
class Listener implements AsyncDisposable {
  readonly heard: Uint8Array[] = [];
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #done: Promise<void>;

  constructor(port: number) {
    this.#done = this.#run(port);
  }

  get port(): number {
    return this.#listener.addr.port;
  }

  async #run(port: number): Promise<void> {
    const pipes: Promise<unknown>[] = [];
    for await (const client of this.#listener) {
      const server = await Deno.connect({ hostname: "127.0.0.1", port });
      const keep = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
        transform: (chunk, controller) => {
          this.heard.push(chunk.slice());
          controller.enqueue(chunk);
        },
      });
      pipes.push(client.readable.pipeThrough(keep).pipeTo(server.writable).catch(() => {}));
      pipes.push(server.readable.pipeTo(client.writable).catch(() => {}));
    }
    await Promise.all(pipes);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#done;
  }
}

/** Asserts that nothing was said but the question for TLS and what TLS says in the clear. */
function assertNothingInClear(heard: readonly Uint8Array[]): void {
  assert(heard.length > 0);
  const text = heard.map((bytes) => new TextDecoder("latin1").decode(bytes)).join("");
  for (const word of ["parley", "scram", PASSWORD, "search_path"]) {
    assert(!text.includes(word), `"${word}" was said in the clear`);
  }
  for (const bytes of heard) assert(bytes.length === 8 || [0x14, 0x15, 0x16, 0x17].includes(bytes[0]!), "no TLS was spoken");
}

Deno.test({
  name: "link - TLS verifies the authority and the name of every host, and nothing is said before it is there",
  ignore: ignore || lacksProgram("openssl", ["version"]),
  async fn() {
    const dir = await Deno.makeTempDir(), elsewhere = await Deno.makeTempDir();
    await certificate(dir);
    await certificate(elsewhere);
    const { ca: caFile, cert, key } = filesIn(dir);
    await using server = withPassword(SCRAM_TLS, { cert, key });
    await using between = new Listener(server.port);
    const url = (host: string, query = "") => `postgres://parley:${PASSWORD}@${host}:${between.port}/postgres${query}`;
    for (const host of ["localhost", "127.0.0.1"]) {
      await using broker = await openPostgresBroker({ url: url(host, "?sslmode=verify-full"), caFile });
      await works(broker);
    }
    const sessions = "FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'parley'";
    {
      await using _broker = await openPostgresBroker({ url: url("127.0.0.1"), caFile });
      assertEquals(server.query(`SELECT bool_and(ssl), count(*) > 0 ${sessions}`), "t|t");
    }
    const others = filesIn(elsewhere).ca;
    assertStringIncludes(await refusal({ url: url("localhost"), caFile: others }), "certificate of localhost");
    assertStringIncludes(await refusal({ url: url("localhost", "?sslmode=require") }), "certificate of localhost");
    assertNothingInClear(between.heard);

    // Of the right authority, for another name; also for the name that an address is none of.
    for (
      const [san, host] of [["DNS:elsewhere.test", "localhost"], ["DNS:localhost", "127.0.0.1"], ["IP:127.0.0.1", "localhost"]]
    ) {
      server.certify(await oddCertificate(dir, { name: "database", san: san! }));
      server.set("");
      assertStringIncludes(await refusal({ url: url(host!), caFile }), `certificate of ${host}`);
    }
    assertNothingInClear(between.heard);
    // Where several hosts are named, the next one is taken.
    await using right = withPassword(SCRAM_TLS, { cert, key });
    const both = `postgres://parley:${PASSWORD}@localhost:${between.port},localhost:${right.port}/postgres`;
    await using broker = await openPostgresBroker({ url: both, caFile });
    await works(broker);
    for (const file of [dir, elsewhere]) await Deno.remove(file, { recursive: true });
  },
});

Deno.test({
  name: "link - a server without TLS, or with more to say before it, is refused where TLS is asked for",
  ignore,
  async fn() {
    await using server = withPassword(SCRAM);
    await using between = new Listener(server.port);
    const url = `postgres://parley:${PASSWORD}@127.0.0.1:${between.port}/postgres?sslmode=verify-full`;
    assertStringIncludes(await refusal({ url }), "does not speak TLS: set ssl = on there");
    assertNothingInClear(between.heard);

    using liar = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const lying = (async () => {
      for await (const client of liar) {
        const done = client.readable.pipeTo(new WritableStream()).catch(() => {});
        const writer = client.writable.getWriter();
        await writer.write(new TextEncoder().encode("SR\0\0\0\x08\0\0\0\0")).catch(() => {}); // TLS, and "you are in"
        await done;
      }
    })();
    const message = await refusal({ url: url.replace(`${between.port}`, `${liar.addr.port}`) });
    assertStringIncludes(message, "does not speak TLS");
    liar.close();
    await lying;
  },
});

// ---- Passwords --------------------------------------------------------------------------------------------------------------

Deno.test({
  name: "link - passwords come from the URL, from a file of their own or from PGPASSFILE, and are read again when they change",
  ignore,
  async fn() {
    await using server = withPassword(SCRAM);
    const dir = await Deno.makeTempDir(), passwordFile = `${dir}/password`, passFile = `${dir}/pgpass`;
    const bare = server.url("parley"), reports: string[] = [];
    await Deno.writeTextFile(passwordFile, PASSWORD + "\n");
    await Deno.writeTextFile(passFile, `*:*:*:ben:no\n127.0.0.1:${server.port}:postgres:parley:${PASSWORD}\n`, { mode: 0o600 });
    for (const options of [{ url: server.url("parley", PASSWORD) }, { url: bare, passFile }]) {
      await using broker = await openPostgresBroker(options);
      await works(broker);
    }
    const begun = performance.now();
    for (const options of [{ url: bare }, { url: server.url("parley", "x" + PASSWORD) }]) {
      const message = await refusal(options);
      assertStringIncludes(message, 'password authentication failed for user "parley" (28P01). Give the right one with');
    }
    assert(performance.now() - begun < SOON_MS, "what does not mend by itself is said at once");

    const report = (error: unknown) => reports.push(String(error));
    await using broker = await openPostgresBroker({ url: bare, passwordFile, report });
    await works(broker);
    server.query("ALTER ROLE parley PASSWORD 'another'");
    server.query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'parley'");
    await until(() => /password authentication failed/.test(broker.trouble ?? ""), "a refusal of the password");
    await Deno.writeTextFile(passwordFile, "another\n");
    await until(() => works(broker).then(() => true, () => false), "an append with the new password");
    await until(() => broker.trouble === undefined, "the end of the trouble");
    assert(reports.length > 0 && !reports.join().includes(PASSWORD) && !reports.join().includes("another"), reports.join("\n"));
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "link - nothing but the address says where to connect and how: PG* of the environment is not read",
  ignore,
  async fn() {
    await using server = withPassword(SCRAM);
    const odd = {
      ...{
        PGHOST: "nowhere.invalid",
        PGPORT: "1",
        PGUSER: "nobody",
        PGDATABASE: "none",
        PGPASSWORD: "wrong",
        PGSSL: "require",
      },
      ...{ PGTARGETSESSIONATTRS: "standby", PGTARGET_SESSION_ATTRS: "standby", PGMAX_LIFETIME: "1", PGAPPNAME: "odd" },
    };
    const before = Object.keys(odd).map((name) => [name, Deno.env.get(name)] as const);
    for (const [name, value] of Object.entries(odd)) Deno.env.set(name, value);
    const opening = openPostgresBroker({ url: server.url("parley", PASSWORD), node: "one" });
    await opening.catch(() => {});
    for (const [name, value] of before) value === undefined ? Deno.env.delete(name) : Deno.env.set(name, value);
    await using broker = await opening;
    await works(broker);
    const names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE usename = 'parley'";
    assertEquals(server.query(names), "parley one");
  },
});

// ---- Poolers ----------------------------------------------------------------------------------------------------------------

Deno.test({
  name: "link - a pooler is refused in words, whether it takes the settings of sessions or not",
  ignore: ignore || lacksProgram("pgbouncer"),
  async fn() {
    await using server = new PostgresServer();
    const schemas = () =>
      server.query("SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname !~ '^pg_|^information'");
    for (const mode of ["transaction", "session", "statement"]) {
      for (const ignored of ["", "search_path,client_min_messages,plan_cache_mode,jit,tcp_user_timeout,statement_timeout"]) {
        await using pooler = new Pooler(server, mode, ignored);
        const message = await refusal({ url: `postgres://postgres@127.0.0.1:${pooler.port}/postgres` });
        assertStringIncludes(message, "nodes need connections to PostgreSQL itself", `${mode} ${ignored}`);
      }
    }
    assertEquals(schemas(), "public");
    assertEquals(server.query("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace"), "0");
  },
});

/** A PgBouncer in front of a server. */
class Pooler implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;

  constructor(server: PostgresServer, mode: string, ignored: string) {
    this.#folder = `${server.folder}/pooler`;
    using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    this.port = listener.addr.port;
    listener.close();
    const lines = [
      "[databases]",
      `* = host=127.0.0.1 port=${server.port}`,
      "[pgbouncer]",
      `listen_addr = 127.0.0.1\nlisten_port = ${this.port}\nunix_socket_dir =\nauth_type = any\npool_mode = ${mode}`,
      `pidfile = ${this.#folder}/pid\nlogfile = ${this.#folder}/log`,
      `ignore_startup_parameters = ${ignored}`,
    ];
    runAsPostgres("/bin/mkdir", ["-p", this.#folder]);
    Deno.writeTextFileSync(`${this.#folder}/ini`, lines.join("\n").replace("* = host", "* = user=postgres host") + "\n");
    runAsPostgres("/usr/bin/env", ["PATH=/usr/sbin:/usr/bin:/bin", "pgbouncer", "-q", "-d", `${this.#folder}/ini`]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const pid = Number(Deno.readTextFileSync(`${this.#folder}/pid`));
    Deno.kill(pid, "SIGKILL");
    await until(() => !exists(`/proc/${pid}/exe`), "the end of the pooler");
    Deno.removeSync(`${this.#folder}/pid`);
  }
}

function exists(path: string): boolean {
  try {
    return Deno.readLinkSync(path) !== "";
  } catch {
    return false;
  }
}

// ---- Words ------------------------------------------------------------------------------------------------------------------

Deno.test({
  name: "link - whatever keeps a server from starting is said in a sentence, in a few seconds, and with what to do",
  ignore,
  async fn() {
    await using server = withPassword(SCRAM);
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const at = (place: string, database = "postgres") => `postgres://parley:${PASSWORD}@${place}/${database}`;
    const here = `127.0.0.1:${server.port}`;
    const begun = performance.now();
    const cases = [
      [at("127.0.0.1:1"), "Nothing listens at 127.0.0.1:1: does PostgreSQL run there?"],
      [at("nowhere.invalid"), "nowhere.invalid:5432"],
      [at(`127.0.0.1:${silent.addr.port}`), "does not answer"],
      [at(here, "none"), 'database "none" does not exist (3D000). Create it'],
      [`postgres://nobody@${here}/postgres`, '"nobody"'],
      [`${at("")}?host=/none`, "There is no /none/.s.PGSQL.5432"],
      [
        at(`127.0.0.1:1,${here}`, "none"),
        "Nothing listens at 127.0.0.1:1: does PostgreSQL run there?; PostgreSQL at 127.0.0.1",
      ],
    ] as const;
    await Promise.all(cases.map(async ([url, words]) => {
      const message = await refusal({ url });
      assertStringIncludes(message, words);
      assertStringIncludes(message, "Cannot reach postgres://");
    }));
    assert(performance.now() - begun < SOON_MS, `${performance.now() - begun} ms`);
    server.query("ALTER ROLE parley CONNECTION LIMIT 0");
    assertStringIncludes(await refusal({ url: at(here) }), "(53300). A node takes eight connections: raise max_connections");
    server.query(
      "ALTER ROLE parley CONNECTION LIMIT -1; REVOKE ALL ON SCHEMA parley FROM parley; ALTER SCHEMA parley OWNER TO postgres",
    );
    assertStringIncludes(await refusal({ url: at(here) }), "permission denied");
  },
});
