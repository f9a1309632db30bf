/** Folder of the SQLite broker: held by one process, private to its user, and without the log of another database. */

import { DatabaseSync } from "node:sqlite";
import { BrokerError, reasonOf } from "../errors.ts";

/** Name of the database in its folder. */
export const DATABASE_NAME = "parley.db";
/** Name of the file beside it by which one process holds the folder. */
export const LOCK_NAME = "lock";

/** Offset of the byte in which a SQLite file says whether it is used with a write-ahead log (2) or without (1). */
const HEADER_LOG_AT = 18, HEADER_NO_LOG = 1;

/**
 * Holds a folder for this process until the lock is closed; the folder is made if there is none. The operating system releases
 * the lock when the process ends, however it does. Throws {@linkcode BrokerError}.
 */
export function takeLock(dir: string): DatabaseSync {
  try {
    Deno.mkdirSync(dir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new BrokerError(`Cannot make the folder ${dir}: ${reasonOf(error)}`);
  }
  let lock: DatabaseSync | undefined;
  makePrivate(`${dir}/${LOCK_NAME}`); // who can read it can hold it
  try {
    lock = new DatabaseSync(`${dir}/${LOCK_NAME}`);
    lock.exec("PRAGMA busy_timeout = 0; BEGIN EXCLUSIVE");
    return lock;
  } catch (error) {
    lock?.close();
    if (/locked|busy/.test(reasonOf(error))) {
      throw new BrokerError(`Another server uses ${dir}; stop it, or choose another folder with --data`);
    }
    throw new BrokerError(`Cannot use the folder ${dir}: ${reasonOf(error)}`);
  }
}

/**
 * Creates a file with access for its owner alone, if there is none: messages are nobody else's business on this machine. SQLite
 * gives its other files the mode of the first. Throws {@linkcode BrokerError}.
 */
export function makePrivate(file: string): void {
  try {
    Deno.openSync(file, { write: true, create: true, mode: 0o600 }).close();
  } catch (error) {
    throw new BrokerError(`Cannot write to ${file}: ${reasonOf(error)}`);
  }
}

/** Bits of a mode that give anything to others than the owner, and those that a folder may not give to anybody. */
const NOT_THE_OWNERS = 0o077, OPEN_FOLDER = 0o027;

/**
 * Takes from others what an older version, a copy or a backup that was put back has given them on the files in `dir`. What it
 * did, or cannot do, it says in sentences. The folder itself may be shared on purpose: it stays as it is, and is warned about
 * where everybody may enter it or a group may write to it.
 */
export function tighten(dir: string, notice: (words: string) => void): void {
  if (Deno.build.os === "windows") return; // it has no modes
  for (const name of [LOCK_NAME, DATABASE_NAME, `${DATABASE_NAME}-wal`, `${DATABASE_NAME}-shm`]) {
    const file = `${dir}/${name}`, mode = modeOf(file);
    if ((mode & NOT_THE_OWNERS) === 0) continue;
    try {
      Deno.chmodSync(file, 0o600);
      notice(`${file} could be read by others of this machine (mode ${mode.toString(8)}) and is its owner's alone now`);
    } catch (error) {
      notice(`${file} can be read by others of this machine (mode ${mode.toString(8)}), and stays so: ${reasonOf(error)}`);
    }
  }
  const mode = modeOf(dir);
  if ((mode & OPEN_FOLDER) !== 0) {
    notice(`the folder ${dir} is open to others of this machine (mode ${mode.toString(8)}); close it with: chmod 700 ${dir}`);
  }
}

function modeOf(path: string): number {
  try {
    return (Deno.statSync(path).mode ?? 0) & 0o777;
  } catch {
    return 0; // there is none
  }
}

/**
 * Removes the log that a killed server left where a backup was put in the place of its database: SQLite would write the old
 * messages into the new file. A backup says of itself that it has no log; a database that this broker has opened says it has.
 */
export function dropStaleLog(file: string): void {
  const header = new Uint8Array(HEADER_LOG_AT + 1);
  using database = Deno.openSync(file);
  if (database.readSync(header) !== header.length || header[HEADER_LOG_AT] !== HEADER_NO_LOG) return;
  for (const suffix of ["-wal", "-shm"]) {
    try {
      Deno.removeSync(file + suffix);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
  }
}
