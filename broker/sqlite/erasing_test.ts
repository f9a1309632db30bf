import { assert, assertEquals } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { lacks } from "../../testing/permissions.ts";
import { temporary } from "../../testing/sqlite_folder.ts";
import { Database } from "./database.ts";
import { eraseUser, finishErasing } from "./erasing.ts";
import { migrate } from "./schema.ts";
import { finish } from "./steps.ts";

Deno.test({
  name: "in a long log the index of ids, in which erased ones are left, is made anew at the next start",
  ignore: lacks("read", "write"),
  async fn() {
    await using folder = temporary();
    const file = `${folder.dir}/messages.db`, database = new DatabaseSync(file);
    database.exec("PRAGMA journal_mode = WAL; PRAGMA secure_delete = ON");
    migrate(database);
    const db = new Database(database);
    const users = ["ann", "ben"].map((name) => db.addUser(name));
    const insert = "INSERT INTO messages VALUES (?, 1, ?, 1, ?, '', 'x')";
    database.exec("BEGIN");
    db.run(insert, 1, users[1]!, "the-first");
    for (let i = 0; i < 5_000; i++) {
      const which = i % 2;
      db.run(insert, 300_000 + i, users[which]!, `${["ann", "ben"][which]}-id-${i >> 1}`);
    }
    database.exec("COMMIT");
    const isFound = (words: string) => {
      database.prepare("PRAGMA wal_checkpoint(TRUNCATE)").get();
      return new TextDecoder("latin1").decode(Deno.readFileSync(file)).includes(words);
    };
    assertEquals(finish(eraseUser(db, "ann", () => {})), 2_500);
    assert(isFound("ann-id"), "the test would find it");
    const notices: string[] = [];
    for (let start = 0; start < 2; start++) finishErasing(database, (words) => notices.push(words));
    assertEquals(notices.length, 1);
    assertEquals([isFound("ann-id"), isFound("ben-id")], [false, true]);
    assertEquals(finish(eraseUser(db, "ann", () => {})), 0);
    finishErasing(database, (words) => notices.push(words));
    assertEquals(notices.length, 1, "whoever wrote nothing leaves nothing");
    database.close();
  },
});
