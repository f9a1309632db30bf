import { assertEquals, assertThrows } from "@std/assert";
import { DatabaseSync } from "node:sqlite";
import { BrokerError } from "../errors.ts";
import { DEFAULT_LIMITS } from "../limits.ts";
import { migrate, MIGRATIONS } from "./schema.ts";
import { finish } from "./steps.ts";
import { SqliteStore } from "./store.ts";

// The first released schema and a row in every table of it. DO NOT EDIT.
const FIRST_SCHEMA = `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
  CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_seen INTEGER NOT NULL DEFAULT 0,
    horizon INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE devices (
    user INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, name)
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE threads (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    owner INTEGER NOT NULL DEFAULT 0,
    open INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT 0
  ) STRICT;
  CREATE TABLE members (
    user INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    other INTEGER NOT NULL,
    since INTEGER NOT NULL,
    joined INTEGER NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    marked_ts INTEGER NOT NULL DEFAULT 0,
    marked_at INTEGER NOT NULL DEFAULT -1,
    PRIMARY KEY (user, thread)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX members_thread ON members (thread, marked_at);
  CREATE TABLE messages (
    thread INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    id TEXT,
    origin TEXT NOT NULL,
    content TEXT NOT NULL,
    PRIMARY KEY (thread, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE UNIQUE INDEX messages_id ON messages (sender, id) WHERE id IS NOT NULL;
  CREATE TABLE ticks (ts INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
`;
const FIRST_ROWS = `
  INSERT INTO meta VALUES ('epoch', 'firstepoch'), ('head', 7);
  INSERT INTO users VALUES (1, 'ann', 0, 0), (2, 'ben', 0, 0);
  INSERT INTO devices VALUES (2, 'laptop', 5);
  INSERT INTO threads VALUES (1, 'ann ben', 0, 0, 7);
  INSERT INTO members VALUES (1, 1, 2, 0, 0, 0, 0, 0, -1), (2, 1, 1, 0, 0, 5, 5, 1, 5);
  INSERT INTO messages VALUES (1, 5, 1, 1000, 'a', 'x', 'old'), (1, 7, 1, 1000, NULL, 'x', 'newer');
  INSERT INTO ticks VALUES (1000, 5);
`;

Deno.test("migrate brings the first schema to the newest with everything in it", () => {
  const database = new DatabaseSync(":memory:");
  database.exec(FIRST_SCHEMA);
  database.exec(`${FIRST_ROWS} PRAGMA user_version = 1`);
  migrate(database);
  migrate(database);
  const store = new SqliteStore(database, DEFAULT_LIMITS);
  assertEquals([store.epoch, store.head], ["firstepoch", 7]);
  const attached = finish(store.attach("ben", "laptop"));
  assertEquals(attached, { position: 5, isNew: false, horizon: 0, head: 7, isLost: false });
  assertEquals(finish(store.read("ben", 5, 10)).messages.map(({ content }) => content), ["newer"]);
  assertEquals(Number(database.prepare("PRAGMA user_version").get()!.user_version), MIGRATIONS.length);
  database.close();
});

Deno.test("migrate carries out later steps once, and a step that fails changes nothing", () => {
  const database = new DatabaseSync(":memory:");
  const steps = [...MIGRATIONS, "CREATE TABLE later (x)"];
  migrate(database, {}, steps);
  migrate(database, {}, steps);
  assertThrows(() => migrate(database, {}, [...steps, "CREATE TABLE half (x); CREATE TABLE later (x)"]));
  assertEquals(Number(database.prepare("PRAGMA user_version").get()!.user_version), steps.length);
  assertEquals(database.prepare("SELECT name FROM sqlite_master WHERE name = 'half'").get(), undefined);
  assertThrows(() => migrate(database), BrokerError, "newer version");
  database.close();
});
