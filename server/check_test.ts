import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { parseOptions } from "../cli/options.ts";
import { startServer } from "../server.ts";
import { certificate, filesIn, oddCertificate } from "../testing/certificate.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { LACKS_POSTGRES, sharedPostgres } from "../testing/postgres.ts";
import { open } from "../testing/sqlite_folder.ts";
import { checkAll, checkCommand, CHECKS } from "./check.ts";
import { keysCommand } from "./credentials.ts";
import { SERVER_OPTIONS } from "./options.ts";
import { RULES } from "./rules.ts";

const ignore = lacks("net", "env", "read", "write", "sys");

/** Checks a command line in an environment; gives the lines and the status. */
async function check(args: string[], env: Record<string, string> = {}): Promise<{ lines: string[]; status: number }> {
  const { text, status } = await checkCommand(["--port", "0", ...args], (name) => env[name]);
  return { lines: text.split("\n"), status };
}

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = await Deno.makeTempDir({ prefix: "check-" });
  try {
    await use(dir);
  } finally {
    await Deno.remove(dir, { recursive: true });
  }
}

Deno.test({
  name: "check says everything that is wrong and not only the first, each once, and ends with 1",
  ignore,
  fn: () =>
    inFolder(async (dir) => {
      const args = [
        "--data",
        `${dir}/file/x`,
        "--content-bytes",
        "70000",
        "--allow-origin",
        "ftp://x",
        "--cert",
        "c",
        "--key",
        "k",
      ];
      Deno.writeTextFileSync(`${dir}/file`, "");
      const { lines, status } = await check(args, { PARLEY_RATE: "fast", PARLEY_BURST: "0" });
      assertEquals(status, 1);
      const errors = lines.filter((line) => line.startsWith("error"));
      const expected = [
        "PARLEY_RATE",
        "PARLEY_BURST",
        "--content-bytes",
        "ftp://x",
        "Cannot read c",
        "Cannot read k",
        `${dir}/file`,
      ];
      for (const words of expected) assertEquals(errors.filter((line) => line.includes(words)).length >= 1, true, words);
      assertEquals(errors.filter((line) => /options: /.test(line)).length, 4, errors.join("\n"));
    }),
});

Deno.test({
  name: "check of what can start says ok for each look, changes nothing, and is silent with --quiet",
  ignore,
  fn: () =>
    inFolder(async (dir) => {
      const { lines, status } = await check(["--data", `${dir}/data`]);
      assertEquals([status, lines.filter((line) => !line.startsWith("ok "))], [0, []]);
      assertEquals([...Deno.readDirSync(dir)], []);
      assertEquals(await check(["--data", `${dir}/data`, "--quiet"]), { lines: [""], status: 0 });
    }),
});

Deno.test({
  name: "check knows a folder in use from one that cannot be used, and a database that is newer, or none",
  ignore,
  fn: () =>
    inFolder(async (dir) => {
      {
        await using _broker = await open(dir);
        const { lines, status } = await check(["--data", dir, "--free-bytes", String(2 ** 52)]);
        assertEquals(status, 0);
        assertStringIncludes(lines.join("\n"), "a server uses it now");
        assertMatch(lines.join("\n"), /^warning {2}space: .*messages would be refused$/m);
      }
      const file = `${dir}/parley.db`;
      const database = new DatabaseSync(file);
      database.exec("PRAGMA user_version = 999");
      database.close();
      assertStringIncludes((await check(["--data", dir])).lines.join("\n"), "error    messages: The messages in");
      Deno.writeTextFileSync(file, "no database at all".repeat(100));
      const { lines, status } = await check(["--data", dir]);
      assertEquals(status, 1);
      assertStringIncludes(lines.join("\n"), "not a database");
    }),
});

Deno.test({
  name: "check tries the private key of the environment against the server's public key",
  ignore,
  fn: () =>
    inFolder(async (dir) => {
      await keysCommand({ out: `${dir}/a`, help: false });
      await keysCommand({ out: `${dir}/b`, help: false });
      const options = ["--broker", "memory", "--jwt-public-key", `${dir}/a/public.pem`];
      try {
        Deno.env.set("PARLEY_JWT_PRIVATE_KEY", `${dir}/b/private.pem`);
        const other = await check(options);
        assertEquals(other.status, 1);
        assertStringIncludes(other.lines.join("\n"), "does not belong to");
        Deno.env.set("PARLEY_JWT_PRIVATE_KEY", `${dir}/a/private.pem`);
        assertEquals((await check(options)).status, 0);
        const open = await check(["--broker", "memory"]);
        assertEquals(open.status, 1);
        assertStringIncludes(open.lines.join("\n"), "PARLEY_JWT_PRIVATE_KEY makes tokens and checks none");
      } finally {
        Deno.env.delete("PARLEY_JWT_PRIVATE_KEY");
      }
    }),
});

Deno.test({
  name: "check looks at the dates of a certificate, and whether its key is its own",
  ignore: ignore || !CAN_RUN || lacksProgram("openssl", ["version"]),
  fn: () =>
    inFolder(async (dir) => {
      await certificate(dir, 1);
      const { ca, cert, key } = filesIn(dir);
      const certificateLine = async (cert: string, key: string) => {
        const { lines } = await check(["--broker", "memory", "--cert", cert, "--key", key]);
        return lines.find((line) => line.includes("certificate: "));
      };
      assertMatch((await certificateLine(cert, key))!, /^ok .*belong together|^warning .*ends on/);
      assertMatch((await certificateLine(ca, key))!, /^error .*does not belong to/);
      const odd = await oddCertificate(dir, { to: "20210101000000Z" });
      assertMatch((await certificateLine(odd.cert, odd.key))!, /^error .*has ended on/);
    }),
});

Deno.test({
  name: "check knows a port that a server of ours has from one that somebody else has",
  ignore,
  async fn() {
    await using server = await startServer({ port: 0 });
    const values = (port: number) => parseOptions(SERVER_OPTIONS, ["--port", String(port), "--broker", "memory"]).values;
    const look = CHECKS.filter(({ name }) => name === "address");
    const ours = (await checkAll(values(server.port), look)).flatMap(([, found]) => found);
    assertEquals(ours.map(({ level }) => level), ["ok"]);
    await using other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello\n"));
    const others = (await checkAll(values(other.addr.port), look)).flatMap(([, found]) => found);
    assertEquals(others.map(({ level }) => level), ["error"]);
    assertStringIncludes(others[0]!.words, "is in use");
  },
});

Deno.test({
  name: "check asks PostgreSQL whether it is there and of which version, and makes nothing in it",
  ignore: ignore || LACKS_POSTGRES,
  async fn() {
    const url = sharedPostgres().url();
    const { lines, status } = await check(["--postgres", url, "--postgres-schema", "unmade"]);
    assertEquals(status, 0, lines.join("\n"));
    assertStringIncludes(lines.join("\n"), "PostgreSQL can be reached; the start makes the schema");
    assertEquals((await check(["--postgres", url, "--postgres-schema", "unmade"])).lines, lines, "it is as it was");
    const gone = await check(["--postgres", "postgres://nobody@127.0.0.1:1/none"]);
    assertEquals(gone.status, 1);
    assertStringIncludes(gone.lines.join("\n"), "error    messages: Cannot reach");
  },
});

Deno.test({
  name: "rules let the defaults pass, and content that no frame holds not",
  ignore: lacks("env"),
  fn() {
    const said = (...args: string[]) => {
      const { values } = parseOptions(SERVER_OPTIONS, args);
      return RULES.flatMap((rule) => rule(values));
    };
    assertEquals(said(), []);
    assertEquals(said("--content-bytes", "65280"), []);
    assertEquals(said("--content-bytes", "65281").length, 1);
    assert(said("--frame-bytes", "1024")[0]!.includes("--content-bytes 16384"));
    assertEquals(said("--postgres-schema", "other"), ["--postgres-schema is about PostgreSQL, and needs --postgres"]);
    assertEquals(said("--postgres-schema", "other", "--postgres", "postgres://ann@db/x"), []);
  },
});
