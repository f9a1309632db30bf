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

/** Commits of ten in a row that a failing disk refuses: the last ones, so that a server starts. */
const REFUSED_OF_TEN = 3;

/** Fails some of the commits that come after the first append, as a disk does that is full, or breaks, for a while. */
function failSometimes(): void {
  let commits = 0, hasBegun = false;
  DatabaseSync.prototype.prepare = function (sql: string) {
    hasBegun ||= sql.startsWith("INSERT INTO messages");
    return prepare.call(this, sql);
  };
  DatabaseSync.prototype.exec = function (sql: string) {
    if (sql === "COMMIT" && hasBegun && commits++ % 10 >= 10 - REFUSED_OF_TEN) {
      throw new Error(commits % 2 === 0 ? "database or disk is full" : "disk I/O error");
    }
    exec.call(this, sql);
  };
}

/** Milliseconds that a commit takes on a slow disk. */
const SLOW_MS = 20;

/** Makes every commit wait for the disk. */
function commitSlowly(): void {
  const never = new Int32Array(new SharedArrayBuffer(4));
  DatabaseSync.prototype.exec = function (sql: string) {
    if (sql === "COMMIT") Atomics.wait(never, 0, 0, SLOW_MS);
    exec.call(this, sql);
  };
}

/** Lets an id be stored again. */
function storeAgain(): void {
  DatabaseSync.prototype.exec = function (sql: string) {
    exec.call(
      this,
      sql.replace("CREATE UNIQUE INDEX IF NOT EXISTS messages_by_id", "CREATE INDEX IF NOT EXISTS messages_by_id"),
    );
  };
  DatabaseSync.prototype.prepare = function (sql: string) {
    return prepare.call(this, sql.replace(/ON CONFLICT \(sender, id\) WHERE id IS NOT NULL DO NOTHING/, ""));
  };
}

const { name } = self as unknown as { name: string };
if (name === "ack-early") commitLate();
else if (name === "no-dedupe") storeAgain();
else if (name === "failing-disk") failSometimes();
else if (name === "slow-disk") commitSlowly();
