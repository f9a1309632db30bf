/**
 * Takes a database over as the broker's worker does, and kills itself at a call of SQLite:
 * `deno run -A testing/killed_takeover.ts FILE CALL`. Prints the number of calls where it comes to its end before.
 */

import { DatabaseSync, type SQLInputValue, StatementSync } from "node:sqlite";
import { migrate } from "../broker/sqlite/schema.ts";

/** Messages in one transaction: few, so that there are many. */
const STEP = 50;

const [file, call] = Deno.args;
let calls = 0;

function count(): void {
  if (++calls === Number(call)) Deno.kill(Deno.pid, "SIGKILL");
}

const { exec } = DatabaseSync.prototype;
const { run } = StatementSync.prototype as { run(...values: SQLInputValue[]): ReturnType<StatementSync["run"]> };
DatabaseSync.prototype.exec = function (sql: string) {
  count();
  exec.call(this, sql);
};
StatementSync.prototype.run = function (this: StatementSync, ...values: SQLInputValue[]) {
  count();
  return run.apply(this, values);
} as StatementSync["run"];

const database = new DatabaseSync(file!);
database.exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA temp_store = MEMORY");
migrate(database, { step: STEP });
database.close();
console.log(calls);
