import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CLIENT_OPTIONS } from "./options.ts";
import { parseOptions, UsageError } from "../cli/options.ts";
import { lacks } from "../testing/permissions.ts";
import { gather, parseSince } from "./history.ts";
import { accountOf, surroundings } from "./settings.ts";
import { configLines } from "./config.ts";
import { serverUrl } from "./transport.ts";
import type { Message } from "../protocol.ts";

const ignore = lacks("read", "write", "env");

function withSettings(settings: string, test: (folders: { config: string; state: string }) => void): void {
  const folder = Deno.makeTempDirSync();
  try {
    Deno.writeTextFileSync(`${folder}/client.json`, settings);
    test({ config: folder, state: folder });
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test({
  name: "settings of the named server come before the common ones, and the command line before both",
  ignore,
  fn: () => {
    const settings = {
      name: "bob",
      notify: "all",
      timeout: 5,
      servers: { work: { server: "wss://chat.example.org", name: "robert", notify: "none" } },
      ours: "ignored",
    };
    withSettings(JSON.stringify(settings), (folders) => {
      const parse = (...args: string[]) => parseOptions(CLIENT_OPTIONS, args, surroundings(folders, CLIENT_OPTIONS, args));
      const home = parse();
      assertEquals([home.values.name, home.values.notify, home.values.timeout], ["bob", "all", 5]);
      const work = parse("--server", "work", "--notify", "dm");
      assertEquals([work.values.name, work.values.notify], ["robert", "dm"]);
      assertEquals([work.origins.name, work.origins.notify, work.origins.color], ["settings", "command line", "default"]);
      assertEquals(accountOf(work.values, folders).server, "wss://chat.example.org/ws");
      const lines = configLines(work.values, work.origins, `${folders.config}/client.json`);
      assertEquals(lines.find((line) => line.startsWith("name"))!.split(/ +/), ["name", "robert", "settings"]);
    });
  },
});

Deno.test({
  name: "who one is comes from --name, else from the token, where it shows",
  ignore,
  fn: () =>
    withSettings("{}", (folders) => {
      const nameFor = (...args: string[]) =>
        accountOf(parseOptions(CLIENT_OPTIONS, args, { settings: {} }).values, folders).name;
      const claims = new TextEncoder().encode('{"sub":"Zoë"}').toBase64({ alphabet: "base64url" });
      assertEquals(nameFor("--token", `e30.${claims}.c2ln`), "zoë");
      assertEquals(nameFor("--token", `e30.${claims}.c2ln`, "--name", "bob"), "bob");
      for (const token of ["opaque", "a.b.c", "e30.e30.e30", "e30.WzFd.x"]) assertEquals(nameFor("--token", token), "");
      assertThrows(() => nameFor(), UsageError, "Say who you are");
    }),
});

Deno.test({
  name: "settings that are wrong are told in a line, and a token in them is refused",
  ignore,
  fn: () => {
    for (const text of ["{", "[]", '{"servers": 1}', '{"token": "secret"}', '{"notify": "loud"}', '{"timeout": "soon"}']) {
      withSettings(text, (folders) => {
        const error = assertThrows(
          () => parseOptions(CLIENT_OPTIONS, [], surroundings(folders, CLIENT_OPTIONS, [])),
          UsageError,
        );
        assertEquals(error.message.includes("\n"), false);
        assertEquals(error.message.includes("secret"), false);
      });
    }
  },
});

Deno.test({
  name: "settings and token files that Windows wrote are read, and Latin-1 is named",
  ignore,
  fn: () => {
    withSettings('\ufeff{"name":"bob"}', (folders) => {
      const parse = () => parseOptions(CLIENT_OPTIONS, [], surroundings(folders, CLIENT_OPTIONS, []));
      assertEquals(parse().values.name, "bob");
      Deno.writeFileSync(`${folders.config}/client.json`, Uint8Array.of(0x7b, 0xe9, 0x7d));
      assertStringIncludes(assertThrows(parse, UsageError).message, "not UTF-8");
      const file = `${folders.config}/token`;
      Deno.writeTextFileSync(file, "\ufeffa.b.c\r\n");
      Deno.writeTextFileSync(`${folders.config}/client.json`, "{}");
      const { values } = parseOptions(CLIENT_OPTIONS, ["--token-file", file], surroundings(folders, CLIENT_OPTIONS, []));
      assertEquals(accountOf(values, folders).token!(), "a.b.c");
    });
  },
});

Deno.test("configLines never shows a token", () => {
  const lines = configLines({ token: "secret", name: undefined }, { token: "environment", name: "default" }, "file");
  assertEquals(lines.join().includes("secret"), false);
  assertStringIncludes(lines.join(), "(not set)");
});

Deno.test("serverUrl takes addresses as people write them", () => {
  const table = [
    ["localhost", "ws://localhost/ws"],
    ["localhost:8080", "ws://localhost:8080/ws"],
    ["https://chat.example.org", "wss://chat.example.org/ws"],
    ["wss://chat.example.org/other#x", "wss://chat.example.org/other"],
    ["[::1]:8080", "ws://[::1]:8080/ws"],
  ] as const;
  for (const [given, url] of table) assertEquals(serverUrl(given), url);
  for (const given of ["ftp://x", "ws://", "a b", "ws://me:secret@x"]) assertThrows(() => serverUrl(given), TypeError);
});

Deno.test("parseSince understands spans and dates", () => {
  assertEquals(parseSince("2d", 10 * 86_400_000), 8 * 86_400_000);
  assertEquals(parseSince("90m", 6_000_000), 600_000);
  assertEquals(parseSince("2026-01-31T10:00:00Z", 0), Date.UTC(2026, 0, 31, 10));
  assertEquals(parseSince("2026-01-31", 0), new Date(2026, 0, 31).getTime());
  for (const text of ["yesterday", "2", "d", "-1d", "2026-13-01", ""]) assertThrows(() => parseSince(text, 0), UsageError);
});

Deno.test("gather reads pages backwards, as many as are wanted and none before its time", async () => {
  const log: Message[] = Array.from({ length: 1_200 }, (_, i) => ({
    sender: "a",
    recipient: "b",
    content: "",
    seq: i + 1,
    ts: new Date(i * 1_000).toISOString(),
  }));
  const asked: number[] = [];
  const source = {
    history({ before = Infinity, limit = 50 }: { before?: number; limit?: number }) {
      asked.push(limit);
      const below = log.filter(({ seq }) => seq! < before);
      return Promise.resolve({ messages: below.slice(-limit), more: below.length > limit });
    },
  };
  const seqs = async (limit: number, since?: number) => (await gather(source, "b", limit, since)).map(({ seq }) => seq!);
  assertEquals(await seqs(3), [1_198, 1_199, 1_200]);
  assertEquals((await seqs(1_100))[0], 101);
  assertEquals(asked, [3, 500, 500, 100]);
  assertEquals((await seqs(Infinity)).length, 1_200);
  assertEquals((await seqs(Infinity, 600_000))[0], 601);
});

Deno.test("gather ends where a server gives the same page for ever", async () => {
  const message = { sender: "b", recipient: "a", content: "again", id: "1", seq: 7, ts: "2026-01-01T00:00:00.000Z" };
  const source = { history: () => Promise.resolve({ type: "history" as const, with: "b", messages: [message], more: true }) };
  assertEquals((await gather(source, "b", Infinity, 0)).length, 1);
});
