import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { CAN_RUN, lacks } from "../../testing/permissions.ts";
import { open, temporary } from "../../testing/sqlite_folder.ts";
import { BrokerError } from "../errors.ts";
import { backup } from "./backup.ts";
import { DATABASE_NAME } from "./files.ts";

const ignore = lacks("read", "write");

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
    await assertRejects(
      () => backup(`${folder.dir}/data`, folder.dir),
      BrokerError,
      "is a folder: a backup goes into a new file",
    );
    await assertRejects(() => backup(`${folder.dir}/data`, `${folder.dir}/none/x`), BrokerError, "its folder is not there");
    if (Deno.build.os === "linux") {
      await assertRejects(() => backup(`${folder.dir}/data`, "/dev/full"), BrokerError, "a backup goes into a new file");
    }
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

/** Bytes that the messages take, and of a file as the system lets a process make it, in the 512-byte blocks of ulimit. */
const STORED_BYTES = 2_000_000, FILE_BLOCKS = 1_024;

Deno.test({
  name: "a backup for which there is no room leaves nothing behind",
  ignore: !CAN_RUN || Deno.build.os === "windows",
  async fn() {
    await using folder = temporary();
    const data = `${folder.dir}/data`, copies = `${folder.dir}/copies`;
    await Deno.mkdir(copies);
    {
      await using broker = await open(data);
      await broker.attach("ann", "laptop");
      const content = "x".repeat(10_000);
      const drafts = Array.from({ length: STORED_BYTES / content.length }, (_, n) => n)
        .map((n) => ({ sender: "ann", recipient: "ann", content, id: String(n), origin: "" }));
      await broker.append(drafts);
    }
    const program = `import { backup } from "${new URL(
      "./backup.ts",
      import.meta.url,
    )}"; await backup(Deno.args[0], Deno.args[1]);`;
    await Deno.writeTextFile(`${folder.dir}/backup.ts`, program);
    const script = `trap '' XFSZ; ulimit -f ${FILE_BLOCKS}; exec "$0" run --quiet --no-check -A --config "$1" "$2" "$3" "$4"`;
    const config = new URL("../../deno.json", import.meta.url).pathname;
    const args = ["-c", script, Deno.execPath(), config, `${folder.dir}/backup.ts`, data, `${copies}/copy.db`];
    const { success, stderr } = await new Deno.Command("sh", { args, stdin: "null", stdout: "null" }).output();
    assertEquals(success, false);
    assertStringIncludes(new TextDecoder().decode(stderr), "Cannot copy the messages");
    assertEquals([...Deno.readDirSync(copies)].map(({ name }) => name), []);
  },
});
