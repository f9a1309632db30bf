/**
 * Watches over the files of an open database. SQLite goes on writing to a file that was removed or replaced, and what it stores
 * then is gone with the process: nothing of it may be acked.
 */

/** Identity of a file in its file system. */
interface Identity {
  readonly dev: number;
  readonly ino: number | null;
  readonly size: number;
}

/** The database and its write-ahead log, as they were when the database was opened. */
export class FilesInPlace {
  readonly #known: ReadonlyMap<string, Identity | undefined>;
  /** Bytes of the write-ahead log at the last look. */
  logBytes = 0;

  /** Takes the file of a database that is open and has been written to. */
  constructor(file: string) {
    this.#known = new Map([file, `${file}-wal`].map((path) => [path, identityOf(path, undefined)]));
  }

  /** Returns a sentence for the operator where a file is gone or is another one. Asked after every commit. */
  whyLost(): string | undefined {
    for (const [path, known] of this.#known) {
      const now = identityOf(path, known);
      this.logBytes = now?.size ?? 0; // that of the last one, which is the log
      if (now?.ino === known?.ino && now?.dev === known?.dev) continue;
      return `${path} was removed or replaced under the server: nothing can be stored until it is restarted`;
    }
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
