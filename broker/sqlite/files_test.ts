import { assertEquals } from "@std/assert";
import { lacks } from "../../testing/permissions.ts";
import { temporary } from "../../testing/sqlite_folder.ts";
import { openSqliteBroker } from "../sqlite.ts";

Deno.test({
  name:
    "files of the messages that others can read are closed at the start, an open folder is warned about, and a closed one is not",
  ignore: lacks("read", "write") || Deno.build.os === "windows",
  async fn() {
    await using folder = temporary();
    const dir = `${folder.dir}/data`;
    const notices: string[] = [];
    const start = async () => {
      notices.length = 0;
      await (await openSqliteBroker({ dir, notice: (words) => notices.push(words) })).close();
    };
    const modes = () => ["", "/parley.db", "/lock"].map((name) => (Deno.statSync(dir + name).mode ?? 0) & 0o777);
    await start();
    assertEquals([modes(), notices], [[0o700, 0o600, 0o600], []]);
    for (const [name, mode] of [["", 0o755], ["/parley.db", 0o644], ["/lock", 0o640]] as const) {
      Deno.chmodSync(dir + name, mode);
    }
    await start();
    assertEquals(modes(), [0o755, 0o600, 0o600]);
    assertEquals(notices, [
      `${dir}/lock could be read by others of this machine (mode 640) and is its owner's alone now`,
      `${dir}/parley.db could be read by others of this machine (mode 644) and is its owner's alone now`,
      `the folder ${dir} is open to others of this machine (mode 755); close it with: chmod 700 ${dir}`,
    ]);
    Deno.chmodSync(dir, 0o750);
    await start();
    assertEquals(notices, []);
  },
});
