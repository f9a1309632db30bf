import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { parseOptions } from "../cli/options.ts";
import { type Log, sentenceOf } from "../ops/log.ts";
import { startServer } from "../server.ts";
import { certificate, filesIn, oddCertificate } from "../testing/certificate.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { LACKS_POSTGRES, sharedPostgres } from "../testing/postgres.ts";
import { open } from "../testing/sqlite_folder.ts";
import { whyMetricsExposed } from "./assemble.ts";
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
      const full = await check(["--data", `${dir}/data/deep`, "--quiet", "--free-bytes", String(2 ** 52)]);
      assertMatch(full.lines.join("\n"), /^warning {2}space: .*messages would be refused$/m);
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
  name: "check warns of an endpoint whose address nothing is sent to, and tells of a wrong address of metrics once",
  ignore,
  fn: () =>
    inFolder(async (dir) => {
      const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", events = ["message.created"], file = `${dir}/hooks`;
      const urls = ["http://10.0.0.1/", "https://[::1]:8443/", "http://LOCALHOST/", "https://shop.example/", "http://8.8.8.8/"];
      const endpoints = urls.map((url, i) => ({ name: `e${i}`, url, secret, events }));
      const own = { name: "own", url: urls[0], secret, events, allow_private: true };
      Deno.writeTextFileSync(file, JSON.stringify({ endpoints: [...endpoints, own] }), { mode: 0o600 });
      const { lines, status } = await check(["--broker", "memory", "--quiet", "--webhooks", file, "--metrics-listen", "9464"]);
      const hint = "allow_private lets it be";
      assertEquals([status, lines], [1, [
        'error    options: --metrics-listen "9464" is no address with a port, such as 127.0.0.1:9464',
        `warning  webhooks: ${file}: "e0" is sent nothing: its address is private; ${hint}`,
        `warning  webhooks: ${file}: "e1" is sent nothing: its address is this machine; ${hint}`,
        `warning  webhooks: ${file}: "e2" is sent nothing: its address is loopback; ${hint}`,
      ]]);
    }),
});

Deno.test({
  name: "check warns of a list of the revoked beside which the server cannot keep that of backends",
  ignore: ignore || Deno.build.os !== "linux",
  fn: () =>
    inFolder(async (dir) => {
      Deno.writeTextFileSync(`${dir}/secret`, "x".repeat(40), { mode: 0o600 });
      Deno.writeTextFileSync(`${dir}/keys`, "", { mode: 0o600 });
      Deno.writeTextFileSync(`${dir}/revoked`, "");
      const given = ["--broker", "memory", "--quiet", "--jwt-secret-file", `${dir}/secret`, "--api-keys", `${dir}/keys`];
      assertEquals(await check([...given, "--revoked", `${dir}/revoked`]), { lines: [""], status: 0 });
      assertEquals([...Deno.readDirSync(dir)].length, 3, "nothing is left behind");
      // A file that can be read, in a folder in which nobody can make one, not even root.
      const { lines, status } = await check([...given, "--revoked", "/proc/self/limits"]);
      assertEquals(status, 0);
      assertMatch(
        lines.at(-1)!,
        /^warning {2}revoked: \/proc\/self\/limits\.api cannot be written .*no backend can revoke anybody/,
      );
      const alone = await check([...given.slice(0, 5), "--revoked", "/proc/self/limits"]);
      assert(!alone.lines.some((line) => line.includes("cannot be written")), "without backends nobody writes it");
    }),
});

Deno.test({
  name: "check warns of secrets that others may read, and of lists that they may write, and of nothing else",
  ignore: ignore || Deno.build.os === "windows",
  fn: () =>
    inFolder(async (dir) => {
      const file = (name: string, text: string) => {
        Deno.writeTextFileSync(`${dir}/${name}`, text);
        return `${dir}/${name}`;
      };
      const secret = file("secret", "x".repeat(40)),
        revoked = file("revoked", ""),
        webhooks = file("hooks", '{"endpoints":[]}');
      const given = [
        "--broker",
        "memory",
        "--quiet",
        "--jwt-secret-file",
        secret,
        "--revoked",
        revoked,
        "--webhooks",
        webhooks,
      ];
      for (const one of [secret, webhooks]) Deno.chmodSync(one, 0o640);
      Deno.chmodSync(revoked, 0o664);
      assertEquals(await check(given), { lines: [""], status: 0 });
      for (const one of [secret, webhooks]) Deno.chmodSync(one, 0o644);
      Deno.chmodSync(revoked, 0o666);
      Deno.chmodSync(dir, 0o700);
      assertEquals(await check(given), { lines: [""], status: 0 }, "nobody else comes to the folder");
      Deno.chmodSync(dir, 0o711);
      assertEquals(await check(given), {
        lines: [
          `warning  secrets: ${secret} (--jwt-secret-file) can be read by everybody on this machine; chmod o= ${secret}`,
          `warning  secrets: ${webhooks} (--webhooks) can be read by everybody on this machine; chmod o= ${webhooks}`,
          `warning  secrets: ${revoked} (--revoked) can be changed by everybody on this machine; chmod o-w ${revoked}`,
        ],
        status: 0,
      });
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
  name: "check looks at the port of the metrics: the server's own, one of ours, somebody else's",
  ignore,
  async fn() {
    await using server = await startServer({ port: 0, metrics: { hostname: "127.0.0.1", port: 0 } });
    await using other = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen() {} }, () => new Response("hello\n"));
    const metricsAt = async (address: string) => {
      const args = ["--port", String(server.port), "--broker", "memory", "--metrics-listen", address];
      const look = CHECKS.filter(({ name }) => name === "metrics");
      const [finding] = (await checkAll(parseOptions(SERVER_OPTIONS, args).values, look)).flatMap(([, found]) => found);
      return `${finding!.level}: ${finding!.words}`;
    };
    assertMatch(await metricsAt(`127.0.0.1:${server.port}`), /^error: .*where the server itself listens/);
    assertMatch(await metricsAt(`0.0.0.0:${server.port}`), /^error: .*where the server itself listens/);
    assertMatch(await metricsAt(`127.0.0.1:${server.metricsPort}`), /^ok: .*by the metrics of a server that runs/);
    assertMatch(await metricsAt(`127.0.0.1:${other.addr.port}`), /^error: .*in use; choose another with --metrics-listen/);
    assertMatch(await metricsAt("127.0.0.1:0"), /^ok: /);
  },
});

Deno.test({
  name: "metrics that others may reach are warned of, by check and by the log of the start",
  ignore,
  async fn() {
    const warnings = async (address: string) => {
      const { lines, status } = await check(["--broker", "memory", "--metrics-listen", address]);
      return [status, lines.filter((line) => line.startsWith("warning")).map((line) => line.slice(0, 65))];
    };
    assertEquals(await warnings("127.0.0.1:0"), [0, []]);
    assertEquals(await warnings("localhost:0"), [0, []]);
    assertEquals(await warnings("0.0.0.0:0"), [0, ["warning  metrics: --metrics-listen 0.0.0.0:0 can be reached from "]]);
    const logged: string[] = [];
    const log: Log = (event, fields) => void logged.push(`${event}: ${sentenceOf(event, fields)}`);
    {
      await using _quiet = await startServer({ port: 0, metrics: { hostname: "127.0.0.1", port: 0 }, log });
    }
    assertEquals(logged, []);
    await using _server = await startServer({ port: 0, metrics: { hostname: "0.0.0.0", port: 0 }, log });
    assertEquals(logged.length, 1);
    assertStringIncludes(logged[0]!, "metrics_exposed: --metrics-listen 0.0.0.0:");
  },
});

Deno.test("an address is everybody's, the internet's, or of the operator's own networks", () => {
  const reached = (address: string) => /reached from (every|the internet)/.exec(whyMetricsExposed(address, 9_464) ?? "")?.[1];
  for (const address of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"]) {
    assertEquals(reached(address), "every", address);
  }
  for (const address of ["8.8.8.8", "172.32.0.1", "2a01:4f8::1", "::ffff:8.8.8.8"]) {
    assertEquals(reached(address), "the internet", address);
  }
  for (const address of ["127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "::1", "fe80::1", "fd00::1"]) {
    assertEquals(reached(address), undefined, address);
  }
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
