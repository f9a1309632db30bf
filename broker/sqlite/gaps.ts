/**
 * Positions that are left out after a crash. A process that is killed, or a machine that loses power, may take messages with it
 * that others have got: their positions are not given again, and a device that says it has one of them is told.
 */

import type { Database } from "./database.ts";

/** Gaps that are remembered, so that a server that crashes every minute fills no disk. Of more, the two oldest become one. */
const GAPS_KEPT = 1_000;

/** Gaps of one database. */
export class Gaps {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Notes that the database is in use. Leaves out `count` positions where nobody has let go of it with {@linkcode Gaps.release}. */
  claim(count: number): void {
    const { head } = this.#db;
    const released = this.#db.get("SELECT value FROM meta WHERE key = 'released'")?.value;
    this.#db.run("INSERT OR REPLACE INTO meta VALUES ('released', 0)");
    const isNew = head === 0 && released === undefined;
    if (released === 1 || isNew) return;
    this.#db.run("INSERT INTO gaps VALUES (?, ?)", head, head + count);
    this.#db.head += count;
    this.#merge();
  }

  #merge(): void {
    if (this.#db.get("SELECT count(*) AS n FROM gaps")!.n as number <= GAPS_KEPT) return;
    const [oldest, next] = this.#db.all("SELECT after, upto FROM gaps ORDER BY after LIMIT 2");
    this.#db.run("DELETE FROM gaps WHERE after = ?", next!.after!);
    this.#db.run("UPDATE gaps SET upto = ? WHERE after = ?", next!.upto!, oldest!.after!);
  }

  /** Notes that the database is whole: the last thing before it is closed. */
  release(): void {
    this.#db.run("INSERT OR REPLACE INTO meta VALUES ('released', 1)");
  }

  /** Returns true for a position that was left out: whoever has it got a message that is lost. */
  has(position: number): boolean {
    const gap = this.#db.get("SELECT upto FROM gaps WHERE after < ? ORDER BY after DESC LIMIT 1", position);
    return gap !== undefined && position < (gap.upto as number);
  }
}
