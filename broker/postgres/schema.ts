/**
 * The schema, as the steps that led to it. A step is never changed once it has been released: add one.
 *
 * Nodes of two versions share a schema while a cluster is upgraded one node at a time. A change therefore takes two steps, in two
 * releases: the first only adds (`oldest` stays as it was), the second takes away what the nodes before the first used, and says
 * so in `oldest`. Functions are added under a new name rather than changed.
 */

import { BrokerError, reasonOf } from "../errors.ts";
import { FEED_SCHEMA } from "./feed_schema.ts";
import { FUNCTIONS } from "./functions.ts";
import type { Sql } from "./link.ts";
import { LOG_SCHEMA } from "./log_schema.ts";
import { MARKS_SCHEMA } from "./marks_schema.ts";
import { SEARCH_SCHEMA } from "./search_schema.ts";

/** One step. */
export interface Migration {
  readonly sql: string;
  /** The oldest version of the schema that a node may know to work with it from this step on. */
  readonly oldest: number;
}

/** Position above all: the end of memberships that go on. */
const NEVER = Number.MAX_SAFE_INTEGER;

/** Steps; a schema's version is how many it has had. */
export const MIGRATIONS: readonly Migration[] = [
  {
    oldest: 1,
    sql: `
  CREATE SEQUENCE log_seq;
  -- A sequence that was never used says 1 as its last value, as one that gave 1 does: the first is burnt.
  SELECT nextval('log_seq');
  -- Which of two connections of a device is the later one.
  CREATE SEQUENCE claim_seq;

  CREATE TABLE users (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    last_seen bigint NOT NULL DEFAULT 0,
    horizon bigint NOT NULL DEFAULT 0     -- highest position that retention took from this user
  );

  CREATE TABLE devices (
    usr int NOT NULL,
    name text COLLATE "C" NOT NULL,
    position bigint NOT NULL,
    attached bigint NOT NULL,              -- the head when it was attached last
    temporary boolean NOT NULL,            -- the server made its name up
    PRIMARY KEY (usr, name)
  );

  CREATE TABLE threads (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE, -- a group's name, or both names of a direct conversation, sorted, a space between
    owner int NOT NULL DEFAULT 0,          -- 0: a direct conversation; -1: a group that has ended, whose name has its number before it
    open boolean NOT NULL DEFAULT false,
    changed bigint NOT NULL DEFAULT 0      -- position of the last change of its members
  );
  CREATE INDEX threads_groups ON threads (name) WHERE owner > 0;
  CREATE INDEX threads_ended ON threads (id) WHERE owner < 0;

  CREATE TABLE members (
    usr int NOT NULL,
    thread int NOT NULL,
    other int NOT NULL,                    -- the other user of a direct conversation, 0 in a group
    since bigint NOT NULL,                 -- sees what comes after this position
    joined bigint NOT NULL DEFAULT 0,      -- counts up among those who have joined at one position
    inviter int NOT NULL DEFAULT 0,        -- who brought them in; 0: they came by themselves
    passive boolean NOT NULL DEFAULT false, -- was brought in, and has not joined or written since
    delivered bigint NOT NULL DEFAULT 0,
    read bigint NOT NULL DEFAULT 0,
    marked_ts bigint NOT NULL DEFAULT 0,
    marked_at bigint NOT NULL DEFAULT -1,  -- where the log stood then
    own_read bigint NOT NULL DEFAULT 0,    -- the user's own marker, which others do not learn of
    own_ts bigint NOT NULL DEFAULT 0,
    own_at bigint NOT NULL DEFAULT -1,
    PRIMARY KEY (usr, thread)
  );
  CREATE INDEX members_thread ON members (thread, marked_at);

  -- Memberships that have ended: what was sent meanwhile is kept for devices that are away.
  CREATE TABLE ended (
    usr int NOT NULL,
    thread int NOT NULL,
    since bigint NOT NULL,                 -- is due what comes after this position
    until bigint NOT NULL,                 -- and up to this one
    PRIMARY KEY (usr, until, thread)
  );
  CREATE INDEX ended_thread ON ended (thread);
  CREATE VIEW due AS SELECT usr, thread, since, ${NEVER} AS until FROM members UNION ALL SELECT usr, thread, since, until FROM ended;

  -- Left a group after an invitation, which the same person does not repeat.
  CREATE TABLE declined (usr int NOT NULL, inviter int NOT NULL, name text COLLATE "C" NOT NULL, PRIMARY KEY (usr, inviter, name));

  CREATE TABLE messages (
    seq bigint NOT NULL,
    ts bigint NOT NULL,
    thread int NOT NULL,
    sender int NOT NULL,
    recipient int NOT NULL,                -- 0: the group
    id text COLLATE "C",
    origin text COLLATE "C" NOT NULL,
    content text COLLATE "C" NOT NULL
  );
  CREATE UNIQUE INDEX messages_thread ON messages (thread, seq) INCLUDE (sender);
  CREATE UNIQUE INDEX messages_id ON messages (sender, id) WHERE id IS NOT NULL;
  CREATE INDEX messages_seq ON messages (seq);

  -- Changes of groups in log order: nodes that remember members look again.
  CREATE TABLE changes (seq bigint PRIMARY KEY, thread int NOT NULL, usr int NOT NULL, enters boolean NOT NULL);
  -- Where the log stood at a time: retention finds the position that an age means.
  CREATE TABLE ticks (ts bigint PRIMARY KEY, seq bigint NOT NULL);
  -- First of two looks at what is too old, or at a clock that is far ahead.
  CREATE TABLE looks (name text PRIMARY KEY, value bigint NOT NULL, ts bigint NOT NULL);
  -- Positions that were left out when PostgreSQL had been started anew: whoever has one got a message that is lost.
  CREATE TABLE gaps (after bigint PRIMARY KEY, upto bigint NOT NULL);

  -- Who is connected where. Empty after a crash of PostgreSQL and on a promoted standby: nodes write theirs again.
  CREATE UNLOGGED TABLE nodes (id text COLLATE "C" PRIMARY KEY, name text NOT NULL, seen_at timestamptz NOT NULL);
  CREATE UNLOGGED TABLE connected (
    node text COLLATE "C" NOT NULL,
    session int NOT NULL,                  -- the node's own number of the connection
    usr text COLLATE "C" NOT NULL,
    device text COLLATE "C" NOT NULL,
    claim bigint NOT NULL,
    away boolean NOT NULL DEFAULT false,
    PRIMARY KEY (node, session)
  );
  CREATE INDEX connected_usr ON connected (usr);
  -- Entries of the lists of the revoked, by name of node: what one of them has counts on all, also after that node is gone.
  CREATE TABLE revoked (node text COLLATE "C" NOT NULL, entry text NOT NULL, PRIMARY KEY (node, entry));
  ${FUNCTIONS}
  `,
  },
  {
    oldest: 1,
    sql: SEARCH_SCHEMA + LOG_SCHEMA,
  },
  { oldest: 1, sql: FEED_SCHEMA },
  {
    // Every role of a database may notify on every channel: the nodes' has a name that only those learn who may read the schema.
    oldest: 1,
    sql: "INSERT INTO meta VALUES ('channel', left(replace(gen_random_uuid()::text, '-', ''), 16))",
  },
  { oldest: 1, sql: MARKS_SCHEMA },
];

/** Name of the advisory lock that one node holds while it changes the schema. */
const MIGRATION_LOCK = "parley migration";

/** A schema, as it says of itself. */
export interface SchemaState {
  readonly version: number;
  readonly epoch: string;
  /** Secret part of the name of the channel on which nodes tell each other things; "" before there was one. */
  readonly channel: string;
  /** Number of the schema, from which the keys of advisory locks are made. */
  readonly oid: number;
}

/**
 * Brings a schema to the newest version, or leaves a newer one as it is where this version may use it. One node at a time does
 * so. Throws {@linkcode BrokerError} where this version is too old, or may not change what it has to.
 */
export async function migrate(sql: Sql, schema: string, migrations: readonly Migration[] = MIGRATIONS): Promise<SchemaState> {
  const state = await stateOf(sql, schema);
  if (state && state.version >= migrations.length) return requireKnown(state, migrations.length);
  try {
    await sql.begin(async (tx) => {
      // Another node may take its time for the same.
      await tx`SELECT set_config('statement_timeout', '0', true), set_config('lock_timeout', '0', true)`;
      await tx`SELECT pg_advisory_xact_lock(hashtextextended(${`${MIGRATION_LOCK} ${schema}`}, 0))`;
      await step(tx as unknown as Sql, schema, migrations);
    });
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    const what = state
      ? `bring the schema "${schema}" from version ${state.version} to ${migrations.length}`
      : "make its tables";
    throw new BrokerError(
      `PostgreSQL does not let this user ${what}: ${
        reasonOf(error)
      }. docs/CLUSTER.md has the grants, and how to do it beforehand`,
    );
  }
  return requireKnown((await stateOf(sql, schema))!, migrations.length);
}

/** Returns what a schema says of itself; undefined where there is none. */
export async function stateOf(sql: Sql, schema: string): Promise<SchemaState & { readonly oldest: number } | undefined> {
  const [found] = await sql`SELECT oid::bigint AS oid, to_regclass(${`${schema}.meta`}) IS NOT NULL AS has_meta
    FROM pg_namespace WHERE nspname = ${schema}`;
  if (!found?.has_meta) return undefined;
  const rows = await sql`SELECT key, value FROM meta`;
  const meta = new Map(rows.map(({ key, value }) => [String(key), String(value)]));
  return {
    version: Number(meta.get("version")),
    oldest: Number(meta.get("oldest")),
    epoch: meta.get("epoch") ?? "",
    channel: meta.get("channel") ?? "",
    oid: Number(found.oid),
  };
}

/** Returns the state of a schema that this version may use. Throws {@linkcode BrokerError} for one that needs a newer one. */
export function requireKnown<S extends { readonly version: number; readonly oldest: number }>(state: S, known: number): S {
  if (state.oldest <= known) return state;
  throw new BrokerError(
    `The schema has version ${state.version}, which needs nodes that know version ${state.oldest}; this one knows ${known}. ` +
      "Start a newer version",
  );
}

async function step(tx: Sql, schema: string, migrations: readonly Migration[]): Promise<void> {
  const state = await stateOf(tx, schema); // as it is now that nobody else changes it
  if (!state) {
    // Even with IF NOT EXISTS that takes a privilege which a role with a schema of its own need not have.
    const [found] = await tx`SELECT EXISTS (SELECT 1 FROM pg_namespace WHERE nspname = ${schema}) AS is_there`;
    if (!found!.is_there) await tx.unsafe(`CREATE SCHEMA ${schema}`);
    await tx`CREATE TABLE meta (key text COLLATE "C" PRIMARY KEY, value text NOT NULL)`;
    await tx`INSERT INTO meta VALUES ('epoch', ${newEpoch()}), ('version', '0'), ('oldest', '0')`;
  }
  for (const [index, { sql, oldest }] of migrations.entries()) {
    if (index < (state?.version ?? 0)) continue;
    await tx.unsafe(sql);
    await tx`UPDATE meta SET value = CASE key WHEN 'version' THEN ${String(index + 1)} ELSE ${String(oldest)} END
      WHERE key IN ('version', 'oldest')`;
  }
}

/** Returns an epoch that no other log has. */
export function newEpoch(): string {
  return crypto.randomUUID().replaceAll("-", "").slice(0, 12);
}
