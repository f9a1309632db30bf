/**
 * Messages and what is kept about them, in SQLite: one synchronous method per question, as broker.ts specifies them. Users,
 * devices and sending are here; the other rooms have the rest.
 *
 * Transactions are the caller's: before a commit it calls {@linkcode SqliteStore.flush}, after a rollback
 * {@linkcode SqliteStore.clearCaches}, since what is cached may not have happened.
 */

import type { DatabaseSync } from "node:sqlite";
import type {
  Attached,
  BrokerRefusal,
  ConversationPage,
  DeviceMove,
  Draft,
  GroupAnswer,
  GroupRequest,
  HistoryQuery,
  Marker,
  MarkerMove,
  MarkerResult,
  Page,
} from "../../broker.ts";
import { type BrokerLimits, DEVICES_KEPT } from "../limits.ts";
import { BASE_DEVICE, isGroup } from "../names.ts";
import { idConflict, mailboxFull, notMember, unknownGroup, unknownRecipient } from "../refusals.ts";
import { Database, directName, type Thread } from "./database.ts";
import { Groups } from "./groups.ts";
import { Mailboxes } from "./mailboxes.ts";
import { Markers } from "./markers.ts";
import { Reading } from "./reading.ts";
import { Retention } from "./retention.ts";

/** Results of one append, by the index of the draft. */
export interface AppendedRows {
  /** Positions; 0 for a draft that was refused. */
  readonly seqs: Float64Array;
  /** Times of duplicates; the others have `ts`. */
  readonly times: Map<number, number>;
  readonly refusals: Map<number, BrokerRefusal>;
  /** Milliseconds since 1970. */
  readonly ts: number;
}

const INSERT_MESSAGE = `INSERT INTO messages (thread, seq, sender, ts, id, origin, content) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (sender, id) WHERE id IS NOT NULL DO NOTHING`;

/** Reads and writes one database. */
export class SqliteStore {
  readonly #db: Database;
  readonly #mailbox: number;
  readonly #now: () => number;
  readonly #mailboxes: Mailboxes;
  readonly #reading: Reading;
  readonly #markers: Markers;
  readonly #groups: Groups;
  readonly #retention: Retention;

  /** Takes a database with the newest schema; `now` returns milliseconds since 1970. */
  constructor(database: DatabaseSync, limits: BrokerLimits, now: () => number = Date.now) {
    const db = this.#db = new Database(database);
    this.#mailbox = limits.mailbox;
    this.#now = now;
    this.#mailboxes = new Mailboxes(db);
    this.#reading = new Reading(db);
    this.#markers = new Markers(db, this.#reading, this.#mailboxes);
    this.#groups = new Groups(db, limits);
    this.#retention = new Retention(db, this.#mailboxes, limits.retentionDays);
  }

  /** Identifies the log. */
  get epoch(): string {
    return this.#db.epoch;
  }

  /** Position of the newest message. */
  get head(): number {
    return this.#db.head;
  }

  /** Leaves out `count` positions: no message gets them. */
  skip(count: number): void {
    this.#db.head += count;
    this.flush();
  }

  /** Writes what is only cached: before every commit. */
  flush(): void {
    this.#db.flush();
    if (this.#db.isOverfull) this.clearCaches();
  }

  /** Clears what is cached of the database: after every rollback. */
  clearCaches(): void {
    for (const part of [this.#db, this.#mailboxes, this.#retention]) part.clear();
  }

  // ---- Users and devices ----

  attach(name: string, device: string, last: number | undefined): Attached {
    const user = this.#db.addUser(name);
    const horizon = this.#db.get("SELECT horizon FROM users WHERE id = ?", user)!.horizon as number;
    const sql = "SELECT position FROM devices WHERE user = ? AND name = ?";
    const known = this.#db.get(sql, user, device)?.position as number | undefined;
    const position = known ?? this.#start(user, last);
    if (known === undefined) this.#addDevice(user, device, position);
    return { position, isNew: known === undefined, horizon, head: this.head };
  }

  /** Returns the position at which a new device starts. */
  #start(user: number, last: number | undefined): number {
    if (last !== undefined) return this.#reading.startOfLast(user, last);
    const sql = "SELECT max(position) AS position FROM devices WHERE user = ?";
    return this.#db.get(sql, user)!.position as number | null ?? this.head;
  }

  #addDevice(user: number, name: string, position: number): void {
    this.#db.run("INSERT INTO devices VALUES (?, ?, ?)", user, name, position);
    const count = this.#db.get("SELECT count(*) AS n FROM devices WHERE user = ?", user)!.n as number;
    if (count <= DEVICES_KEPT) return;
    const sql = `DELETE FROM devices WHERE user = ? AND name = (SELECT name FROM devices
      WHERE user = ? AND name <> ? AND name NOT LIKE '${BASE_DEVICE}%' ORDER BY position, name LIMIT 1)`;
    this.#db.run(sql, user, user, name);
  }

  advance(moves: readonly DeviceMove[]): void {
    const sql = "UPDATE devices SET position = ? WHERE user = ? AND name = ? AND position < ?";
    for (const { user, device, seq } of moves) {
      const id = this.#db.userId(user), position = Math.min(seq, this.head);
      if (id !== undefined) this.#db.run(sql, position, id, device, position);
    }
  }

  lastSeen(users: readonly string[]): (number | undefined)[] {
    const sql = "SELECT last_seen FROM users WHERE name = ?";
    return users.map((name) => this.#db.get(sql, name)?.last_seen as number | undefined);
  }

  seen(names: readonly string[], at: number): void {
    const sql = "UPDATE users SET last_seen = max(last_seen, ?) WHERE id = ?";
    for (const name of names) this.#db.run(sql, at, this.#db.addUser(name));
  }

  // ---- Sending ----

  append(drafts: readonly Draft[]): AppendedRows {
    const ts = this.#now();
    const rows: AppendedRows = { seqs: new Float64Array(drafts.length), times: new Map(), refusals: new Map(), ts };
    for (let i = 0; i < drafts.length; i++) this.#append(drafts[i]!, i, rows);
    this.#retention.tick(ts);
    return rows;
  }

  #append(draft: Draft, index: number, rows: AppendedRows): void {
    const db = this.#db, sender = db.addUser(draft.sender);
    const thread = this.#threadTo(sender, draft);
    if ("code" in thread) {
      // The id may be known from before the sender left the group.
      if (!this.#repeated(sender, draft, index, rows)) rows.refusals.set(index, thread);
      return;
    }
    const isDirect = thread.members === undefined && draft.recipient !== draft.sender;
    const recipient = isDirect ? db.userId(draft.recipient)! : 0;
    if (recipient !== 0 && this.#mailboxes.waitingFor(recipient) >= this.#mailbox) {
      if (!this.#repeated(sender, draft, index, rows)) rows.refusals.set(index, mailboxFull(draft.recipient));
      return;
    }
    const seq = db.head + 1;
    const { id = null, origin, content } = draft;
    if (db.run(INSERT_MESSAGE, thread.id, seq, sender, rows.ts, id, origin, content) === 0) {
      if (!this.#repeated(sender, draft, index, rows)) rows.refusals.set(index, idConflict(draft.id!));
      return;
    }
    db.head = rows.seqs[index] = seq;
    db.touch(thread, seq);
    if (recipient !== 0) this.#mailboxes.add(recipient);
  }

  /** Answers a draft whose id is taken; false where it is not, or only by a message of a group that has ended. */
  #repeated(sender: number, { id, recipient, content }: Draft, index: number, rows: AppendedRows): boolean {
    if (id === undefined) return false;
    const sql = `SELECT m.seq, m.ts, m.content, t.name, t.owner FROM messages m JOIN threads t ON t.id = m.thread
      WHERE m.sender = ? AND m.id = ?`;
    const stored = this.#db.get(sql, sender, id);
    if (!stored || stored.owner === -1) return false;
    const name = stored.owner === 0 ? directName(this.#db.userName(sender), recipient) : recipient;
    if (stored.name !== name || stored.content !== content) {
      rows.refusals.set(index, idConflict(id));
    } else {
      rows.seqs[index] = stored.seq as number;
      rows.times.set(index, stored.ts as number);
    }
    return true;
  }

  /** Returns the thread of a draft; a direct conversation is begun where there is none. */
  #threadTo(sender: number, { sender: from, recipient: to }: Draft): Thread | BrokerRefusal {
    const isToGroup = isGroup(to);
    const name = isToGroup ? to : directName(from, to);
    const thread = this.#db.thread(name);
    if (thread) return !thread.members || thread.members.has(sender) ? thread : notMember(to);
    if (isToGroup) return unknownGroup(to);
    const recipient = this.#db.userId(to);
    return recipient === undefined ? unknownRecipient(to) : this.#db.addDirect(name, sender, recipient);
  }

  // ---- Other rooms ----

  read(name: string, after: number, limit: number): Page {
    return this.#reading.read(name, after, limit);
  }

  history(name: string, query: HistoryQuery): Page | BrokerRefusal {
    return this.#reading.history(name, query);
  }

  conversations(name: string, limit: number): ConversationPage {
    return this.#reading.conversations(name, limit);
  }

  mark(moves: readonly MarkerMove[]): MarkerResult[] {
    const ts = this.#now();
    return moves.map((move) => this.#markers.move(move, ts));
  }

  markers(name: string, since: number): Marker[] {
    return this.#markers.list(name, since);
  }

  group(request: GroupRequest): GroupAnswer | BrokerRefusal {
    return this.#groups.answer(request);
  }

  /** Returns the members of a group by name, in the order of joining; nobody where there is no such group. */
  members(group: string): string[] {
    return this.#groups.members(group);
  }

  /** Removes some of what is too old, or left from a group that has ended. Returns 0 when nothing is left to do for now. */
  expire(): number {
    return this.#retention.expire(this.#now());
  }
}
