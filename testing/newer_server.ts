/** A node of a version to come: its schema has had one migration more. For the test of a rolling upgrade. */

import { openPostgresBroker } from "../broker/postgres.ts";
import { MIGRATIONS } from "../broker/postgres/schema.ts";
import { startServer } from "../server.ts";

const [url, node] = Deno.args;
const migrations = [...MIGRATIONS, { oldest: 1, sql: "ALTER TABLE messages ADD COLUMN edited bigint" }];
const server = await startServer({ port: 0, broker: await openPostgresBroker({ url: url!, node, migrations }) });
console.log(server.url);
Deno.addSignalListener("SIGTERM", () => void server.shutdown().then(() => Deno.exit()));
