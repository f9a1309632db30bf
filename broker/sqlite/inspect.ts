/** A look at a folder of messages from outside, whether or not a server uses it: nothing in it is changed. */

import { DatabaseSync } from "node:sqlite";
import { BrokerError, reasonOf } from "../errors.ts";
import { DATABASE_NAME, LOCK_NAME } from "./files.ts";
import type { Takeover } from "./reordering.ts";
import { checkMigration, MIGRATIONS, versionOf } from "./schema.ts";

/** Facts about a folder of messages that a server could use. */
export interface FolderState {
  /** False where the first start makes the folder, or the database in it. */
  readonly hasMessages: boolean;
  /** True while a server uses it. */
  readonly isInUse: boolean;
  /** Version of the schema, 0 without a database; the start brings an older one to `known`. */
  readonly version: number;
  readonly known: number;
}

/**
 * Looks whether a server could keep messages in `dir`: that it is a folder, can be written to by this user, and has a database
 * that this version can read, with room for what an older one needs. Throws {@linkcode BrokerError} where it could not.
 */
export function inspectFolder(dir: string, takeover: Takeover = {}): FolderState {
  const isThere = requireFolder(dir);
  requireWritable(isThere ? dir : existingAbove(dir));
  const file = `${dir}/${DATABASE_NAME}`, isInUse = isThere && isLocked(`${dir}/${LOCK_NAME}`);
  const version = isThere && sizeOf(file) > 0 ? read(file, versionOf) : 0;
  const known = MIGRATIONS.length;
  if (version > known) {
    throw new BrokerError(
      `The messages in ${dir} were written by a newer version (schema ${version}, this one knows ${known}); update`,
    );
  }
  if (version > 0 && !isInUse) read(file, (database) => checkMigration(database, takeover));
  return { hasMessages: version > 0, isInUse, version, known };
}

/** Returns false where there is nothing at `dir`. Throws for what is no folder. */
function requireFolder(dir: string): boolean {
  try {
    if (!Deno.statSync(dir).isDirectory) throw new BrokerError(`${dir} is no folder; choose another with --data`);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    if (error instanceof BrokerError) throw error;
    throw new BrokerError(`Cannot look at the folder ${dir}: ${whyNot(error)}`);
  }
}

/** Returns the nearest folder above that there is. */
function existingAbove(dir: string): string {
  for (let path = dir.replace(/\/+$/, "");;) {
    const slash = path.lastIndexOf("/");
    if (slash <= 0) return slash < 0 ? "." : "/";
    path = path.slice(0, slash);
    if (requireFolder(path)) return path;
  }
}

function requireWritable(dir: string): void {
  const file = `${dir}/.parley-check-${crypto.randomUUID()}`;
  try {
    Deno.openSync(file, { write: true, createNew: true, mode: 0o600 }).close();
    Deno.removeSync(file);
  } catch (error) {
    throw new BrokerError(`Cannot write to the folder ${dir}: ${whyNot(error)}`);
  }
}

/** Returns whether another process holds the lock. It is only looked at: a server that starts meanwhile gets it. */
function isLocked(file: string): boolean {
  if (sizeOf(file) < 0) return false;
  const lock = new DatabaseSync(file, { readOnly: true });
  try {
    lock.exec("PRAGMA busy_timeout = 0; SELECT count(*) FROM sqlite_master");
    return false;
  } catch (error) {
    if (/locked|busy/.test(reasonOf(error))) return true;
    throw new BrokerError(`Cannot use ${file}: ${reasonOf(error)}`);
  } finally {
    lock.close();
  }
}

function read<T>(file: string, look: (database: DatabaseSync) => T): T {
  let database: DatabaseSync | undefined;
  try {
    database = new DatabaseSync(file, { readOnly: true });
    database.prepare("SELECT count(*) FROM sqlite_master").get(); // the first thing that reads the file as a database
    return look(database);
  } catch (error) {
    if (error instanceof BrokerError) throw error;
    throw new BrokerError(`Cannot read ${file}: ${reasonOf(error)}`);
  } finally {
    database?.close();
  }
}

/** Returns the bytes of a file; -1 where there is none. */
function sizeOf(file: string): number {
  try {
    return Deno.statSync(file).size;
  } catch {
    return -1;
  }
}

function whyNot(error: unknown): string {
  if (error instanceof Deno.errors.PermissionDenied) return "this user may not";
  if (error instanceof Deno.errors.NotCapable) return "the program was started without the permission to";
  return reasonOf(error);
}
