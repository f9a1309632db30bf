/** Schema of the database, as the steps that led to it. A step is never changed once it has been released: add one. */

import type { DatabaseSync } from "node:sqlite";
import { BrokerError } from "../errors.ts";
import { FEED_SCHEMA } from "./feed_schema.ts";
import { checkRoom, isReordering, reorder, type Takeover } from "./reordering.ts";
import { SEARCH_SCHEMA } from "./search_schema.ts";

/** Steps in their order; `PRAGMA user_version` is the number of those that a file has had. */
export const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

  CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    last_seen INTEGER NOT NULL DEFAULT 0,
    horizon INTEGER NOT NULL DEFAULT 0  -- highest position that retention took from this user
  ) STRICT;

  CREATE TABLE devices (
    user INTEGER NOT NULL,
    name TEXT NOT NULL,
    position INTEGER NOT NULL,
    PRIMARY KEY (user, name)
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE threads (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,          -- a group's name, or both names of a direct conversation, sorted, a space between
    owner INTEGER NOT NULL DEFAULT 0,   -- 0: a direct conversation
    open INTEGER NOT NULL DEFAULT 0,
    last_seq INTEGER NOT NULL DEFAULT 0
  ) STRICT;

  CREATE TABLE members (
    user INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    other INTEGER NOT NULL,             -- the other user of a direct conversation, 0 in a group
    since INTEGER NOT NULL,             -- sees what comes after this position
    joined INTEGER NOT NULL,            -- counts up: who has been in a group longest
    delivered INTEGER NOT NULL DEFAULT 0,
    read INTEGER NOT NULL DEFAULT 0,
    marked_ts INTEGER NOT NULL DEFAULT 0,
    marked_at INTEGER NOT NULL DEFAULT -1, -- where the log stood then
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

  -- Where the log stood at a time: retention finds the position that an age means.
  CREATE TABLE ticks (ts INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;
  `,
  // A list of groups does not look at direct conversations. A group that has ended has owner -1 until its messages are removed.
  `
  CREATE INDEX threads_groups ON threads (name) WHERE owner > 0;
  CREATE INDEX threads_ended ON threads (id) WHERE owner < 0;
  `,
  // What a user has read without telling others. It has a time of its own: that of the public markers must not tell of it.
  `
  ALTER TABLE members ADD COLUMN own_read INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE members ADD COLUMN own_ts INTEGER NOT NULL DEFAULT 0;
  ALTER TABLE members ADD COLUMN own_at INTEGER NOT NULL DEFAULT -1;
  `,
  // Retention looks twice before it removes. A conversation of which everything has expired is none.
  `
  CREATE TABLE looks (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL,
    ts INTEGER NOT NULL                 -- the clock at the first look
  ) STRICT, WITHOUT ROWID;
  UPDATE threads SET last_seq = 0 WHERE last_seq > 0 AND NOT EXISTS (SELECT 1 FROM messages WHERE thread = threads.id);
  `,
  // Devices whose names the server made up are forgotten first, then those that were attached least recently.
  `
  ALTER TABLE devices ADD COLUMN attached INTEGER NOT NULL DEFAULT 0;  -- position of the head at that time
  ALTER TABLE devices ADD COLUMN temporary INTEGER NOT NULL DEFAULT 0;
  UPDATE devices SET temporary = 1 WHERE name GLOB 'd-${"[0-9a-f]".repeat(8)}';
  `,
  // Positions that were left out at a start after a crash: a message that was lost may have had one of them.
  `
  CREATE TABLE gaps (
    after INTEGER PRIMARY KEY,          -- the newest position that the log had
    upto INTEGER NOT NULL               -- the position after which it went on
  ) STRICT;
  `,
  // An invitation makes a member, but no owner, and takes no place of those that are the member's own.
  `
  ALTER TABLE members ADD COLUMN inviter INTEGER NOT NULL DEFAULT 0;  -- who brought them in; 0: they came by themselves
  ALTER TABLE members ADD COLUMN passive INTEGER NOT NULL DEFAULT 0;  -- was brought in, and has not joined or written since
  CREATE TABLE declined (               -- left a group after an invitation, which the same person does not repeat
    user INTEGER NOT NULL,
    inviter INTEGER NOT NULL,
    name TEXT NOT NULL,
    PRIMARY KEY (user, inviter, name)
  ) STRICT, WITHOUT ROWID;
  `,
  // What was sent to a group while somebody was in it is kept for their devices that are away; see broker/sqlite/ended.ts.
  `
  CREATE TABLE ended (
    user INTEGER NOT NULL,
    thread INTEGER NOT NULL,
    since INTEGER NOT NULL,             -- is due what comes after this position
    until INTEGER NOT NULL,             -- and up to this one
    PRIMARY KEY (user, until, thread)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX ended_thread ON ended (thread);
  `,
  // Search: an index of words, built behind the appends.
  SEARCH_SCHEMA,
  // Following the whole log: changes of groups, and how far each follower is.
  FEED_SCHEMA,
  // Messages in the order of coming, so that appends write to the end of a table; see broker/sqlite/positions.ts. What is in the
  // old order moves over in reordering.ts, which makes the index of ids too.
  `
  INSERT INTO meta SELECT 'reordering', (page_count - freelist_count) * page_size
    FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size(); -- bytes in use before
  DROP TRIGGER messages_removed;
  DROP TRIGGER messages_changed;
  ALTER TABLE messages RENAME TO clustered;
  CREATE TABLE messages (
    seq INTEGER PRIMARY KEY,
    thread INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    ts INTEGER NOT NULL,
    id TEXT,
    origin TEXT NOT NULL,
    content TEXT NOT NULL
  ) STRICT;
  CREATE TABLE listed (                 -- positions of conversations, but for the newest; meta has 'listed', up to which none lacks
    thread INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    sender INTEGER NOT NULL,
    PRIMARY KEY (thread, seq)
  ) STRICT, WITHOUT ROWID;
  CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
    DELETE FROM search WHERE rowid = old.seq;
    DELETE FROM listed WHERE thread = old.thread AND seq = old.seq;
  END;
  CREATE TRIGGER messages_changed AFTER UPDATE OF content ON messages BEGIN
    DELETE FROM search WHERE rowid = old.seq;
    UPDATE threads SET indexed = min(indexed, old.seq - 1) WHERE id = old.thread;
  END;
  `,
];

/** Number of steps after which messages lie in the order of coming. */
const REORDERED = 11;

/**
 * Brings a database to the newest schema. Throws {@linkcode BrokerError} for one that is newer still, and where there is no room
 * for what the takeover of an older one needs.
 */
export function migrate(database: DatabaseSync, takeover: Takeover = {}, migrations: readonly string[] = MIGRATIONS): void {
  const version = versionOf(database);
  if (version > migrations.length) {
    throw new BrokerError(
      `The messages were written by a newer version (schema ${version}, this one knows ${migrations.length}); update`,
    );
  }
  checkMigration(database, takeover);
  for (const [index, step] of migrations.entries()) {
    if (index < version) continue;
    database.exec("BEGIN IMMEDIATE");
    try {
      database.exec(step);
      database.exec(`PRAGMA user_version = ${index + 1}`);
      database.exec("COMMIT");
    } catch (error) {
      database.exec("ROLLBACK");
      throw error;
    }
  }
  reorder(database, takeover);
  database.prepare("INSERT OR IGNORE INTO meta VALUES ('epoch', ?)").run(newEpoch());
}

/**
 * Checks that there is room for what bringing a database to the newest schema needs, and changes nothing. Throws
 * {@linkcode BrokerError} where there is not.
 */
export function checkMigration(database: DatabaseSync, takeover: Takeover = {}): void {
  const version = versionOf(database);
  if (version > 0 && (version < REORDERED || isReordering(database))) checkRoom(database, takeover);
}

/** Returns the number of steps that a database has had. */
export function versionOf(database: DatabaseSync): number {
  return Number(database.prepare("PRAGMA user_version").get()!.user_version);
}

/** Makes an epoch that no other log has. */
export function newEpoch(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 12);
}
