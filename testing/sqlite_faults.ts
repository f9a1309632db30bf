/**
 * Breaks every database of this worker as the worker's name says. Everything above SQLite stays as it is, so that what is wrong
 * then is what would be wrong if the broker did so.
 */

import { DatabaseSync } from "node:sqlite";

/** Milliseconds from a false commit to the true one: some messages are acked in between. */
const LATE_MS = 30;

const { exec, prepare } = DatabaseSync.prototype;

/** Commits later than it says, so that acks go out for what a kill takes away. */
function commitLate(): void {
  const begun = new Set<DatabaseSync>();
  DatabaseSync.prototype.exec = function (sql: string) {
    if (sql === "COMMIT" && begun.has(this)) return;
    if (sql !== "BEGIN IMMEDIATE" || !isMigrated(this)) return exec.call(this, sql);
    if (begun.has(this)) return;
    begun.add(this);
    exec.call(this, sql);
    setTimeout(() => {
      begun.delete(this);
      exec.call(this, "COMMIT");
    }, LATE_MS);
  };
}

function isMigrated(database: DatabaseSync): boolean {
  return Number(prepare.call(database, "PRAGMA user_version").get()!.user_version) > 0;
}

/** Lets an id be stored again. */
function storeAgain(): void {
  DatabaseSync.prototype.exec = function (sql: string) {
    exec.call(this, sql.replace("CREATE UNIQUE INDEX messages_id", "CREATE INDEX messages_id"));
  };
  DatabaseSync.prototype.prepare = function (sql: string) {
    return prepare.call(this, sql.replace(/ON CONFLICT \(sender, id\) WHERE id IS NOT NULL DO NOTHING/, ""));
  };
}

const { name } = self as unknown as { name: string };
if (name === "ack-early") commitLate();
else if (name === "no-dedupe") storeAgain();
