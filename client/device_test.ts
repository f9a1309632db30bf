import { assert, assertEquals, assertMatch, assertNotEquals, assertRejects } from "@std/assert";
import { lacks } from "../testing/permissions.ts";
import { FileStore, takeDevice } from "./device.ts";
import { IgnoredFile } from "./terminal/ignored.ts";
import { foldersFor } from "./paths.ts";
import { Recall } from "./terminal/recall.ts";

const ignore = lacks("read", "write");
const ACCOUNT = { server: "ws://localhost:8080/ws", name: "bob" };

async function inFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test({
  name: "takeDevice gives two clients at once two devices, and the first one again when it is free",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const account = { ...ACCOUNT, folder };
      const one = await takeDevice(account, undefined, () => {});
      const two = await takeDevice(account, undefined, () => {});
      assertMatch(one.name, /^cli-[0-9a-f]{8}$/);
      assertNotEquals(one.name, two.name);
      await one[Symbol.asyncDispose]();
      const again = await takeDevice(account, undefined, () => {});
      assertEquals(again.name, one.name);
      await Promise.all([again, two].map((device) => device[Symbol.asyncDispose]()));
    }),
});

Deno.test({
  name: "takeDevice says what to do where there is no folder to be had",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      Deno.writeTextFileSync(`${folder}/file`, "");
      const taken = takeDevice({ ...ACCOUNT, folder: `${folder}/file` }, undefined, () => {});
      await assertRejects(() => taken, Error, "Set XDG_STATE_HOME");
    }),
});

Deno.test({
  name: "takeDevice keeps what is of other servers, names and purposes apart",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const accounts = [
        { ...ACCOUNT, folder },
        { ...ACCOUNT, folder, name: "alice" },
        { ...ACCOUNT, folder, server: "ws://localhost:8081/ws" },
        { ...ACCOUNT, folder, purpose: "send" },
      ];
      const devices = await Promise.all(accounts.map((account) => takeDevice(account, undefined, () => {})));
      assertEquals(new Set(devices.map(({ name }) => name)).size, accounts.length);
      devices[0]!.store.save({ position: { epoch: "e", seq: 1 }, outbox: [] });
      assertEquals(devices[1]!.store.load(), { outbox: [] });
      await Promise.all(devices.map((device) => device[Symbol.asyncDispose]()));
    }),
});

Deno.test({
  name: "takeDevice takes the name it is given, and a new one for a file that has none",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const named = await takeDevice({ ...ACCOUNT, folder }, "laptop", () => {});
      assertEquals(named.name, "laptop");
      const first = await takeDevice({ ...ACCOUNT, folder }, undefined, () => {});
      await first[Symbol.asyncDispose]();
      for await (const { name } of Deno.readDir(folder)) await Deno.writeTextFile(`${folder}/${name}/0.device`, "\x1b[2J");
      await using second = await takeDevice({ ...ACCOUNT, folder }, undefined, () => {});
      assertMatch(second.name, /^cli-[0-9a-f]{8}$/);
    }),
});

Deno.test({
  name: "takeDevice takes over what a client that runs no more could not send, and nothing of one that runs",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const account = { ...ACCOUNT, folder };
      const outgoing = (id: string) => ({ sender: "", recipient: "alice", content: "x", id });
      const devices = [];
      for (let i = 0; i < 3; i++) devices.push(await takeDevice(account, undefined, () => {}));
      const position = { epoch: "e", seq: 1 };
      for (const [index, { store }] of devices.entries()) store.save({ position, outbox: [outgoing(`${index}`)] });
      await devices[0]![Symbol.asyncDispose]();
      await devices[1]![Symbol.asyncDispose]();
      await using next = await takeDevice(account, undefined, () => {});
      assertEquals(next.store.load(), { position, outbox: [outgoing("0"), outgoing("1")] });
      assertEquals(devices[1]!.store.load(), { position, outbox: [] });
      assertEquals(devices[2]!.store.load().outbox.length, 1);
      await devices[2]![Symbol.asyncDispose]();
    }),
});

Deno.test({
  name: "FileStore gives back what it kept, and nothing for what is damaged",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const warnings: string[] = [];
      const store = new FileStore(`${folder}/state.json`, (line) => warnings.push(line));
      assertEquals(store.load(), { outbox: [] });
      const saved = {
        position: { epoch: "e1", seq: 7 },
        outbox: [{ sender: "bob", recipient: "alice", content: "x", id: "1" }],
      };
      store.save(saved);
      assertEquals(store.load(), saved);
      if (Deno.build.os !== "windows") assertEquals((await Deno.stat(`${folder}/state.json`)).mode! & 0o777, 0o600);
      assertEquals([...Deno.readDirSync(folder)].length, 1);
      assertEquals(warnings, []);
      for (const damaged of ["{", "null", '{"position":{"epoch":1},"outbox":[{"sender":1}, 5]}']) {
        await Deno.writeTextFile(`${folder}/state.json`, damaged);
        assertEquals(store.load(), { outbox: [] });
      }
      assertEquals(await Deno.readTextFile(`${folder}/state.json.damaged`), "null");
      const nowhere = new FileStore(`${folder}/none/state.json`, (line) => warnings.push(line));
      nowhere.save(saved);
      nowhere.save(saved);
      assertEquals(warnings.filter((line) => line.includes("Cannot remember")).length, 1);
    }),
});

Deno.test({
  name: "Recall gives typed lines back, the newest first, and keeps its file short and private",
  ignore,
  fn: () =>
    inFolder(async (folder) => {
      const recall = new Recall(folder);
      assertEquals(recall.load(), []);
      for (const line of ["one", "two", "one"]) recall.add(line);
      assertEquals(new Recall(folder).load(), ["one", "two"]);
      if (Deno.build.os !== "windows") assertEquals((await Deno.stat(`${folder}/typed`)).mode! & 0o777, 0o600);
      await Deno.writeTextFile(`${folder}/typed`, "\x1b]52;c;aGk=\x07evil\x9b2J\r\n\x1b\n");
      assertEquals(recall.load(), ["]52;c;aGk=evil2J"]);
      for (let i = 0; i < 1_100; i++) recall.add(`line ${i}`);
      assertEquals(recall.load().length, 500);
      assert((await Deno.readTextFile(`${folder}/typed`)).split("\n").length < 600);
    }),
});

Deno.test("foldersFor follows XDG, and what other systems have", () => {
  const on = (os: string, env: Record<string, string>) => foldersFor((name) => env[name], os);
  assertEquals(on("linux", { HOME: "/home/bob" }), {
    config: "/home/bob/.config/parley",
    state: "/home/bob/.local/state/parley",
  });
  assertEquals(on("linux", { HOME: "/home/bob", XDG_STATE_HOME: "/s" }), {
    config: "/home/bob/.config/parley",
    state: "/s/parley",
  });
  assertEquals(
    on("linux", { HOME: "/home/bob", XDG_STATE_HOME: "s", XDG_CONFIG_HOME: "" }),
    on("linux", { HOME: "/home/bob" }),
  );
  assertEquals(on("linux", { XDG_CONFIG_HOME: "/c", XDG_STATE_HOME: "/s" }), { config: "/c/parley", state: "/s/parley" });
  assertEquals(on("darwin", { HOME: "/Users/bob" }).config, "/Users/bob/Library/Application Support/parley");
  assertEquals(on("windows", { APPDATA: "C:\\r", LOCALAPPDATA: "C:\\l" }), { config: "C:\\r\\parley", state: "C:\\l\\parley" });
  try {
    on("linux", {});
    assert(false, "a home that is nowhere was found");
  } catch (error) {
    assert(error instanceof TypeError && error.message.includes("HOME"));
  }
});

Deno.test({
  name: "IgnoredFile remembers the last word on everybody, of clients at once, and is for its owner alone",
  ignore,
  fn: () =>
    inFolder((folder) => {
      const [one, two] = [new IgnoredFile(folder), new IgnoredFile(folder)];
      assertEquals(one.load(), new Set());
      one.add("carol", true);
      two.add("dave", true);
      one.add("carol", false);
      two.add("\u00e9va", true);
      Deno.writeTextFileSync(`${folder}/ignored`, "\nnonsense\n+\n+two words\n+cut sh", { append: true });
      assertEquals(new IgnoredFile(folder).load(), new Set(["dave", "\u00e9va"]));
      if (Deno.build.os !== "windows") assertEquals(Deno.statSync(`${folder}/ignored`).mode! & 0o777, 0o600);
      return Promise.resolve();
    }),
});
