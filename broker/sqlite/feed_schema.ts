/** Tables of the feed in the schema: a step of the migrations, and like them never changed once it has been released. */

/** Schema of the feed. */
export const FEED_SCHEMA = `
  CREATE TABLE changes (                -- of the members of groups; see Feed in broker.ts
    number INTEGER PRIMARY KEY,
    ts INTEGER NOT NULL,
    name TEXT NOT NULL,                 -- the group's
    op TEXT NOT NULL,
    user TEXT NOT NULL,
    by_user TEXT NOT NULL,
    owner TEXT NOT NULL,
    members INTEGER NOT NULL
  ) STRICT;
  CREATE TABLE cursors (                -- places of those who follow the log
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL,
    wish TEXT                           -- order of the operator that is still to be carried out
  ) STRICT, WITHOUT ROWID;
`;
