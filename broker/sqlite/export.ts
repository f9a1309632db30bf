/** Reading of a whole folder by something that takes its messages elsewhere. */

import { DatabaseSync } from "node:sqlite";
import { BrokerError, reasonOf } from "../errors.ts";
import { DATABASE_NAME, takeLock } from "./files.ts";
import { migrate } from "./schema.ts";

/** A folder that nobody else uses, with its database at the newest schema. */
export interface Exported extends Disposable {
  readonly database: DatabaseSync;
}

/**
 * Opens a folder of messages for reading, after bringing it to the newest schema, of which `notice` is told. Throws
 * {@linkcode BrokerError} where there is none, or a server uses it.
 */
export function openExport(dir: string, notice?: (words: string) => void): Exported {
  const file = `${dir}/${DATABASE_NAME}`;
  try {
    Deno.statSync(file);
  } catch {
    throw new BrokerError(`There are no messages in ${dir}; name their folder with --from`);
  }
  const lock = takeLock(dir);
  try {
    const database = new DatabaseSync(file);
    migrate(database, notice ? { notice } : {});
    return {
      database,
      [Symbol.dispose]() {
        database.close();
        lock.close();
      },
    };
  } catch (error) {
    lock.close();
    throw error instanceof BrokerError ? error : new BrokerError(`Cannot read ${file}: ${reasonOf(error)}`);
  }
}
