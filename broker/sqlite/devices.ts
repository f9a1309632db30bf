/** Devices of users in the database: where each resumes, and which are remembered. */

import type { Attached, AttachOptions, DeviceMove } from "../../broker.ts";
import { deviceToForget, type KeptDevice, WAITING_SCANNED_MAX } from "../device_rules.ts";
import { DEVICES_KEPT } from "../limits.ts";
import type { Database, Row } from "./database.ts";
import type { Ended } from "./ended.ts";
import type { Gaps } from "./gaps.ts";
import type { Memberships } from "./memberships.ts";
import type { Reading } from "./reading.ts";
import type { Steps } from "./steps.ts";

/** Conversations in which a message is sought that waits for a device; with more that are newer, it counts as found. */
const THREADS_SEARCHED_MAX = 100;
/** Conversations that are gathered before the less recent are left out: sorting costs less then. */
const TAILS_GATHERED_MAX = 8 * THREADS_SEARCHED_MAX;

/** Conversation in which something was sent after the position of some device. */
interface Tail {
  readonly thread: number;
  readonly since: number;
  readonly last: number;
}

/** Devices of one database. */
export class Devices {
  readonly #db: Database;
  readonly #reading: Reading;
  readonly #gaps: Gaps;
  readonly #memberships: Memberships;
  readonly #ended: Ended;

  constructor(db: Database, memberships: Memberships, reading: Reading, gaps: Gaps, ended: Ended) {
    this.#db = db;
    this.#memberships = memberships;
    this.#ended = ended;
    this.#reading = reading;
    this.#gaps = gaps;
  }

  /** Attaches a device as `Devices.attach` of broker.ts says. */
  *attach(name: string, device: string, { last, temporary = false, resume }: AttachOptions): Steps<Attached> {
    const user = this.#db.addUser(name);
    const start = last === undefined || this.#row(user, device) ? undefined : yield* this.#reading.startOfLast(user, last);
    let tails: readonly Tail[] | undefined;
    while (!tails && !this.#row(user, device) && this.#isFull(user)) tails = yield* this.#tails(user);
    const known = this.#row(user, device), { head } = this.#db; // it may have come meanwhile
    const horizon = this.#db.get("SELECT horizon FROM users WHERE id = ?", user)!.horizon as number;
    const isLost = resume !== undefined && this.#gaps.has(resume);
    if (!known) {
      const position = this.#hasMail(user) ? 0 : start ?? this.#furthest(user);
      if (tails) this.#makeRoom(user, tails);
      this.#db.run("INSERT INTO devices VALUES (?, ?, ?, ?, ?)", user, device, position, head, temporary ? 1 : 0);
      return { position, isNew: true, horizon, head, isLost };
    }
    const stays = temporary ? known.temporary as number : 0;
    if (known.attached !== head || known.temporary !== stays) {
      this.#db.run("UPDATE devices SET attached = ?, temporary = ? WHERE user = ? AND name = ?", head, stays, user, device);
    }
    return { position: known.position as number, isNew: false, horizon, head, isLost };
  }

  #row(user: number, device: string): Row | undefined {
    return this.#db.get("SELECT position, attached, temporary FROM devices WHERE user = ? AND name = ?", user, device);
  }

  /** Returns the position at which a new device starts that asks for nothing: that of the most advanced one. */
  #furthest(user: number): number {
    const sql = "SELECT max(position) AS position FROM devices WHERE user = ?";
    return this.#db.get(sql, user)!.position as number | null ?? this.#db.head;
  }

  /** Returns whether a user who never had a device was written to: an administrator made them known. */
  #hasMail(user: number): boolean {
    if (this.#db.get("SELECT 1 AS one FROM devices WHERE user = ? LIMIT 1", user)) return false;
    this.#db.flushThreads();
    const sql = `SELECT 1 AS one FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND t.last_seq > m.since LIMIT 1`;
    return this.#db.get(sql, user) !== undefined || [...this.#ended.of(user, 0)].length > 0;
  }

  /** Returns true where a user has as many devices as are remembered. */
  #isFull(user: number): boolean {
    return this.#db.get("SELECT count(*) AS n FROM devices WHERE user = ?", user)!.n as number >= DEVICES_KEPT;
  }

  /** Forgets a device of a user who has as many as are remembered. */
  #makeRoom(user: number, tails: readonly Tail[]): void {
    const rows = this.#db.all("SELECT name, position, attached, temporary FROM devices WHERE user = ?", user);
    if (rows.length < DEVICES_KEPT) return;
    const devices = rows.map((row): KeptDevice => ({
      name: String(row.name),
      position: row.position as number,
      attached: row.attached as number,
      temporary: row.temporary === 1,
    }));
    const gone = deviceToForget(devices, (device) => this.#hasWaiting(user, device, tails));
    if (gone) this.#db.run("DELETE FROM devices WHERE user = ? AND name = ?", user, gone.name);
  }

  /** Returns the user's most recent conversations, those that have ended for them too, the most recent first. */
  *#tails(user: number): Steps<Tail[]> {
    for (;;) {
      let tails: Tail[] = [];
      const isWhole = yield* this.#memberships.each(user, ({ thread: { id, lastSeq: last }, since }) => {
        if (last > since) tails.push({ thread: id, since, last });
        if (tails.length > TAILS_GATHERED_MAX) tails = newest(tails);
      });
      if (!isWhole) continue;
      for (const { id, since, until } of this.#ended.of(user, 0)) {
        tails.push({ thread: id as number, since: since as number, last: until as number });
      }
      return newest(tails);
    }
  }

  /** Returns true where there is a message after a device's position that it did not send itself. */
  #hasWaiting(user: number, { name, position }: KeptDevice, tails: readonly Tail[]): boolean {
    const sql = `SELECT count(*) AS seen, coalesce(sum(sender <> ? OR origin <> ?), 0) AS others FROM
      (SELECT m.sender, m.origin FROM
        (SELECT seq FROM positions WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT ${WAITING_SCANNED_MAX}) p
        CROSS JOIN messages m ON m.seq = p.seq)`;
    for (const [index, { thread, since, last }] of tails.entries()) {
      if (last <= position) return false;
      if (index === THREADS_SEARCHED_MAX) return true;
      const { seen, others } = this.#db.get(sql, user, name, thread, Math.max(position, since))!;
      if (others !== 0 || seen === WAITING_SCANNED_MAX) return true;
    }
    return false;
  }

  /** Moves devices as `Devices.advance` of broker.ts says. */
  advance(moves: readonly DeviceMove[]): void {
    const sql = "UPDATE devices SET position = ? WHERE user = ? AND name = ? AND position < ?";
    for (const { user, device, seq } of moves) {
      const id = this.#db.userId(user), position = Math.min(seq, this.#db.head);
      if (id !== undefined && this.#db.run(sql, position, id, device, position) > 0) this.#ended.passed(id);
    }
  }
}

function newest(tails: Tail[]): Tail[] {
  return tails.sort((a, b) => b.last - a.last).slice(0, THREADS_SEARCHED_MAX + 1);
}
