/** A look at a PostgreSQL from outside: nothing in it is changed, and this process becomes no node of it. */

import { BrokerError, reasonOf } from "../errors.ts";
import { readDurability } from "./durability.ts";
import { Connector, Link } from "./link.ts";
import { MIGRATIONS, requireKnown, stateOf } from "./schema.ts";
import { type AddressOptions, checkSchema, DEFAULT_SCHEMA, describe, readSettings } from "./settings.ts";

/** Facts about a PostgreSQL that a server could use. */
export interface PostgresState {
  /** Version of the schema, 0 where the first start makes it; the start brings an older one to `known`. */
  readonly version: number;
  readonly known: number;
  /** Promise of an acknowledgement, as a sentence. */
  readonly promise: string;
}

/**
 * Looks whether a server could keep messages there. Rejects with a {@linkcode BrokerError} where it cannot be reached, was
 * brought to a version that this one does not know, may not be written to, or would lose what it acknowledges.
 */
export async function inspectPostgres(
  options: AddressOptions & { readonly schema?: string | undefined; readonly allowAsync?: boolean | undefined },
): Promise<PostgresState> {
  const settings = readSettings(options), schema = checkSchema(options.schema ?? DEFAULT_SCHEMA);
  const link = new Link(new Connector(settings, schema, "check"), { max: 1 });
  try {
    const sql = await link.once().catch((error) => {
      throw new BrokerError(`Cannot reach ${describe(settings)}: ${reasonOf(error)}`);
    });
    const state = await stateOf(sql, schema), known = MIGRATIONS.length;
    if (state) requireKnown(state, known);
    const [may] = state
      ? await sql`SELECT has_table_privilege(to_regclass(${`${schema}.meta`})::oid, 'SELECT') AS granted`
      : await sql`SELECT has_database_privilege(current_database(), 'CREATE') OR coalesce(
          (SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = ${schema}), false) AS granted`;
    if (!may!.granted) {
      throw new BrokerError(
        `PostgreSQL does not let this user ${state ? "read" : "make"} the schema "${schema}"; docs/CLUSTER.md has the grants`,
      );
    }
    const { words, refusal } = await readDurability(sql);
    if (refusal !== undefined && !options.allowAsync) throw new BrokerError(refusal);
    return { version: state?.version ?? 0, known, promise: words };
  } finally {
    await link.close();
  }
}
