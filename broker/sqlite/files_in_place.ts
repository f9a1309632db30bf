/**
 * Watches over the files of an open database. SQLite goes on writing to a file that was removed, replaced or emptied, and what it
 * stores then is gone with the process: nothing of it may be acked. Where the lock is gone, another server may give the same
 * positions.
 */

import { DATABASE_NAME, LOCK_NAME } from "./files.ts";

/** Identity of a file in its file system. */
interface Identity {
  readonly dev: number;
  readonly ino: number | null;
  readonly size: number;
}

/** The lock, the database and its write-ahead log, as they were when the database was opened. */
export class FilesInPlace {
  readonly #file: string;
  readonly #known: ReadonlyMap<string, Identity | undefined>;
  /** Bytes of the database at the last look. It never gets smaller: pages that are free stay in it. */
  #bytes: number;
  /** Bytes of the write-ahead log at the last look. */
  logBytes = 0;

  /** Takes the file of a database that is open and has been written to. */
  constructor(file: string) {
    this.#file = file;
    const lock = file.slice(0, -DATABASE_NAME.length) + LOCK_NAME;
    this.#known = new Map([lock, file, `${file}-wal`].map((path) => [path, identityOf(path, undefined)]));
    this.#bytes = this.#known.get(file)?.size ?? 0;
  }

  /** Returns a sentence for the operator where a file is gone or is another one. Asked after every commit. */
  whyLost(): string | undefined {
    for (const [path, known] of this.#known) {
      const now = identityOf(path, known);
      this.logBytes = now?.size ?? 0; // that of the last one, which is the log
      const isSame = now?.ino === known?.ino && now?.dev === known?.dev;
      if (!isSame || (now !== known && this.#isCut(path, now))) {
        return `${path} was removed or replaced under the server: nothing can be stored until it is restarted`;
      }
    }
  }

  /** Tells whether the database was emptied, as a copy into its place begins; the log gets smaller as it is emptied. */
  #isCut(path: string, now: Identity | undefined): boolean {
    if (path !== this.#file || now === undefined) return false;
    const isSmaller = now.size < this.#bytes;
    this.#bytes = now.size;
    return isSmaller;
  }
}

/**
 * Returns the identity of a file; undefined where there is none, and `known` where it cannot be told: a commit would have failed.
 * Windows does not say the number, and lets nobody remove the file.
 */
function identityOf(path: string, known: Identity | undefined): Identity | undefined {
  try {
    return Deno.statSync(path);
  } catch (error) {
    return error instanceof Deno.errors.NotFound ? undefined : known;
  }
}
