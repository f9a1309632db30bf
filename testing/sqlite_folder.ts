/** Folders for SQLite brokers, and the brokers in them, which are gone at the end of a test. */

import { openSqliteBroker, type SqliteBroker, type SqliteOptions } from "../broker/sqlite.ts";

/** Makes a folder that is removed with everything in it. */
export function temporary(): AsyncDisposable & { dir: string } {
  const dir = Deno.makeTempDirSync({ prefix: "broker-" });
  return { dir, [Symbol.asyncDispose]: () => Deno.remove(dir, { recursive: true }) };
}

/** Opens a broker that is closed at the end; it does not wait for the disk unless the options say so. */
export async function open(dir: string, options: Partial<SqliteOptions> = {}): Promise<SqliteBroker & AsyncDisposable> {
  const broker = await openSqliteBroker({ dir, sync: "normal", ...options });
  return Object.assign(broker, { [Symbol.asyncDispose]: () => broker.close() });
}
