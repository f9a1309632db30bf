/** Backup of the messages, of a running server too. */

import { backup as copyDatabase, DatabaseSync } from "node:sqlite";
import { BrokerError, reasonOf } from "../errors.ts";
import { DATABASE_NAME } from "./files.ts";
import { newEpoch } from "./schema.ts";

/** Pages that are copied at once: all of them, as a write in between would start the copy anew. */
const PAGES_AT_ONCE = 2 ** 31 - 1;

/**
 * Copies the messages in the folder `dir`, in use or not, into a new file. The copy has an epoch of its own: what is sent after
 * the restore gets positions that were given to other messages before. Throws {@linkcode BrokerError}.
 */
export async function backup(dir: string, file: string): Promise<void> {
  const source = `${dir}/${DATABASE_NAME}`;
  try {
    Deno.statSync(source);
  } catch {
    throw new BrokerError(`There are no messages in ${dir}; name their folder with --data`);
  }
  const odd = kindOf(file);
  if (odd !== undefined) throw new BrokerError(`${file} is ${odd}: a backup goes into a new file; name one`);
  let isOurs = false;
  try {
    Deno.openSync(file, { write: true, createNew: true, mode: 0o600 }).close();
    isOurs = true;
    const database = new DatabaseSync(source);
    try {
      // Not VACUUM INTO: Deno lets nothing be attached, not even that, unless a program has every permission.
      await copyDatabase(database, file, { rate: PAGES_AT_ONCE });
    } finally {
      database.close();
    }
    const copy = new DatabaseSync(file);
    try {
      copy.exec("PRAGMA journal_mode = DELETE"); // by this dropStaleLog() knows a backup
      copy.prepare("UPDATE meta SET value = ? WHERE key = 'epoch'").run(newEpoch());
    } finally {
      copy.close();
    }
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) throw new BrokerError(`${file} is there already; choose another name`);
    if (isOurs) removeCopy(file);
    throw new BrokerError(`Cannot copy the messages to ${file}: ${whyNot(error)}`);
  }
}

/** Returns what stands at a path that is neither free nor a file; undefined for those. */
function kindOf(path: string): string | undefined {
  try {
    const { isFile, isDirectory } = Deno.statSync(path);
    return isFile ? undefined : isDirectory ? "a folder" : "a device, a pipe or a socket";
  } catch (error) {
    // Deno asks for every permission before it looks at some of the kernel's files.
    return error instanceof Deno.errors.NotCapable ? "a file of the kernel's" : undefined;
  }
}

function whyNot(error: unknown): string {
  if (error instanceof Deno.errors.NotFound) return "its folder is not there";
  if (error instanceof Deno.errors.PermissionDenied) return "this user may not write there";
  if (error instanceof Deno.errors.NotCapable) return "the program was started without the permission to";
  return reasonOf(error);
}

/** Removes a copy that is not whole, and what SQLite has put beside it. */
function removeCopy(file: string): void {
  for (const suffix of ["", "-journal", "-wal", "-shm"]) {
    try {
      Deno.removeSync(file + suffix);
    } catch { /* there is none, or it cannot be removed; the failure that led here is told */ }
  }
}
