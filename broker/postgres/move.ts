/**
 * Taking over a folder of SQLite: everything that is kept, with its positions and its epoch, so that devices resume where they
 * were. It happens in one transaction: what fails leaves nothing behind.
 */

import { BrokerError } from "../errors.ts";
import { type Exported, openExport } from "../sqlite.ts";
import { Connector, Link, LOCK_MS, type Sql, texts } from "./link.ts";
import { migrate } from "./schema.ts";
import { type AddressOptions, checkSchema, DEFAULT_SCHEMA, describe, readSettings } from "./settings.ts";
import { describeFailure } from "./trouble.ts";

/** Rows that are sent at once: a megabyte or so of ordinary messages. */
const ROWS = 2_000;

/** Numbers of what was taken over. */
export interface Moved {
  readonly users: number;
  readonly messages: number;
}

/** A table with its columns and their types, and how the folder gives them. */
interface Table {
  readonly name: string;
  readonly columns: readonly (readonly [name: string, type: string])[];
  readonly from: string;
}

const TABLES: readonly Table[] = [
  {
    name: "users",
    columns: [["id", "int"], ["name", "text"], ["last_seen", "bigint"], ["horizon", "bigint"]],
    from: "SELECT id, name, last_seen, horizon FROM users ORDER BY id",
  },
  {
    name: "devices",
    columns: [["usr", "int"], ["name", "text"], ["position", "bigint"], ["attached", "bigint"], ["temporary", "boolean"]],
    from: "SELECT user, name, position, attached, iif(temporary, 'true', 'false') FROM devices ORDER BY user, name",
  },
  {
    name: "threads",
    columns: [["id", "int"], ["name", "text"], ["owner", "int"], ["open", "boolean"]],
    from: "SELECT id, name, owner, iif(open, 'true', 'false') FROM threads ORDER BY id",
  },
  {
    name: "members",
    columns: [
      ["usr", "int"],
      ["thread", "int"],
      ["other", "int"],
      ["since", "bigint"],
      ["joined", "bigint"],
      ["delivered", "bigint"],
      ["read", "bigint"],
      ["marked_ts", "bigint"],
      ["marked_at", "bigint"],
      ["own_read", "bigint"],
      ["own_ts", "bigint"],
      ["own_at", "bigint"],
      ["inviter", "int"],
      ["passive", "boolean"],
    ],
    from: `SELECT user, thread, other, since, joined, delivered, read, marked_ts, marked_at, own_read, own_ts, own_at, inviter,
      iif(passive, 'true', 'false') FROM members ORDER BY user, thread`,
  },
  {
    name: "messages",
    columns: [
      ["seq", "bigint"],
      ["ts", "bigint"],
      ["thread", "int"],
      ["sender", "int"],
      ["recipient", "int"],
      ["id", "text"],
      ["origin", "text"],
      ["content", "text"],
    ],
    // Both users of a direct conversation stay in it for ever; whoever has left a group leaves messages without a membership.
    from:
      `SELECT m.seq, m.ts, m.thread, m.sender, coalesce((SELECT other FROM members WHERE thread = m.thread AND user = m.sender), 0),
      m.id, m.origin, m.content FROM messages m ORDER BY m.seq`,
  },
  {
    name: "ended",
    columns: [["usr", "int"], ["thread", "int"], ["since", "bigint"], ["until", "bigint"]],
    from: "SELECT user, thread, since, until FROM ended ORDER BY user, until",
  },
  {
    name: "cursors",
    columns: [["name", "text"], ["state", "text"], ["wish", "text"]],
    // Changes of groups are numbered otherwise here: followers begin at the end of them.
    from: "SELECT name, iif(state LIKE '{%', json_remove(state, '$.change'), state), wish FROM cursors ORDER BY name",
  },
  {
    name: "declined",
    columns: [["usr", "int"], ["inviter", "int"], ["name", "text"]],
    from: "SELECT user, inviter, name FROM declined ORDER BY user",
  },
  { name: "ticks", columns: [["ts", "bigint"], ["seq", "bigint"]], from: "SELECT ts, seq FROM ticks ORDER BY ts" },
  { name: "gaps", columns: [["after", "bigint"], ["upto", "bigint"]], from: "SELECT after, upto FROM gaps ORDER BY after" },
];

/** Takes the messages of a folder over into an empty schema. Throws {@linkcode BrokerError}. */
export async function moveToPostgres(
  dir: string,
  options: AddressOptions & { readonly schema?: string | undefined },
): Promise<Moved> {
  const settings = readSettings(options), schema = checkSchema(options.schema ?? DEFAULT_SCHEMA);
  using folder = openExport(dir);
  const link = new Link(new Connector(settings, schema, "move"), { max: 1, session: { lock_timeout: LOCK_MS } });
  try {
    const sql = await link.once();
    await migrate(sql, schema);
    return await sql.begin(async (tx) => await copy(tx as unknown as Sql, folder, schema)) as Moved;
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    throw new BrokerError(`Cannot move the messages to ${describe(settings)}: ${describeFailure(error)}`);
  } finally {
    await link.close();
  }
}

async function copy(tx: Sql, { database }: Exported, schema: string): Promise<Moved> {
  // A node that starts now waits for these tables, and then finds all of it, under its epoch; another move finds the schema in use.
  await tx`LOCK TABLE meta, users, nodes IN ACCESS EXCLUSIVE MODE`;
  const [state] = await tx`SELECT EXISTS (SELECT 1 FROM users) AS has_users, EXISTS (SELECT 1 FROM nodes) AS has_nodes`;
  if (state!.has_users || state!.has_nodes) {
    throw new BrokerError(`The schema "${schema}" is in use; move takes an empty one, such as --postgres-schema parley2`);
  }
  const numbers = new Map<string, number>();
  for (const table of TABLES) numbers.set(table.name, await copyTable(tx, database, table));
  const meta = new Map(database.prepare("SELECT key, value FROM meta").all().map(({ key, value }) => [key, value]));
  await tx`UPDATE meta SET value = ${String(meta.get("epoch"))} WHERE key = 'epoch'`;
  await tx`SELECT setval('log_seq', greatest(${Number(meta.get("head") ?? 0)}::bigint, 1)),
    setval(pg_get_serial_sequence('users', 'id'), (SELECT coalesce(max(id), 1) FROM users)),
    setval(pg_get_serial_sequence('threads', 'id'), (SELECT coalesce(max(id), 1) FROM threads))`;
  const [named] = await tx`SELECT count(*) AS n FROM users WHERE name <> ''`; // who owns what nobody owns has no name
  return { users: named!.n, messages: numbers.get("messages")! };
}

async function copyTable(tx: Sql, database: Exported["database"], { name, columns, from }: Table): Promise<number> {
  const names = columns.map(([column]) => column).join(", ");
  const lists = columns.map(([, type], index) => `$${index + 1}::${type}[]`).join(", ");
  const insert = `INSERT INTO ${name} (${names}) OVERRIDING SYSTEM VALUE SELECT * FROM unnest(${lists})`;
  let count = 0, rows: unknown[][] = [];
  const send = async () => {
    const values = columns.map((_, index) => texts(rows.map((row) => row[index] === null ? undefined : String(row[index]))));
    await tx.unsafe(insert, values, { prepare: true });
    count += rows.length;
    rows = [];
  };
  for (const row of database.prepare(from).iterate()) {
    rows.push(Object.values(row));
    if (rows.length === ROWS) await send();
  }
  if (rows.length > 0) await send();
  return count;
}
