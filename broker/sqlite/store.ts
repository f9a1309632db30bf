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
  AttachOptions,
  BrokerRefusal,
  ConversationCursor,
  ConversationPage,
  DeviceMove,
  Draft,
  Found,
  GroupAnswer,
  GroupRequest,
  HistoryQuery,
  MarkerMove,
  MarkerResult,
  Page,
  SearchQuery,
} from "../../broker.ts";
import { type Clocks, SYSTEM_CLOCKS } from "../clocks.ts";
import { type BrokerLimits, shareOf } from "../limits.ts";
import { isGroup } from "../names.ts";
import { idConflict, mailboxFull, mailboxShareFull, notMember, unknownGroup, unknownRecipient } from "../refusals.ts";
import { Database, directName, groupName, type Thread } from "./database.ts";
import { Devices } from "./devices.ts";
import { Ended } from "./ended.ts";
import { eraseUser } from "./erasing.ts";
import { Feed, type FeedRequest } from "./feed.ts";
import { Gaps } from "./gaps.ts";
import { Groups } from "./groups.ts";
import { Mailboxes } from "./mailboxes.ts";
import { type MarkerCursor, type MarkerRows, Markers } from "./markers.ts";
import { Memberships } from "./memberships.ts";
import { Positions } from "./positions.ts";
import { Reading } from "./reading.ts";
import { Retention } from "./retention.ts";
import { Search } from "./search.ts";
import type { Steps } from "./steps.ts";

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

/** Options of a {@linkcode SqliteStore}. */
export interface StoreOptions {
  /** The machine's by default. */
  readonly clocks?: Clocks;
  /** Milliseconds between the two looks of retention, an hour by default. */
  readonly secondLookMs?: number | undefined;
  /** Called with a sentence for the operator about something that is no failure. */
  readonly notice?: (words: string) => void;
}

const INSERT_MESSAGE = `INSERT INTO messages (thread, seq, sender, ts, id, origin, content) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (sender, id) WHERE id IS NOT NULL DO NOTHING`;

/** True of a thread `t` unless it is that of a group that has ended and no device is due any of it: it counts as removed. */
const IS_DUE = "(t.owner >= 0 OR EXISTS (SELECT 1 FROM ended e WHERE e.thread = t.id))";

/** Reads and writes one database. */
export class SqliteStore {
  readonly #db: Database;
  readonly #mailbox: number;
  readonly #now: () => number;
  readonly #positions: Positions;
  readonly #mailboxes: Mailboxes;
  readonly #memberships: Memberships;
  readonly #ended: Ended;
  readonly #reading: Reading;
  readonly #markers: Markers;
  readonly #groups: Groups;
  readonly #gaps: Gaps;
  readonly #devices: Devices;
  readonly #retention: Retention;
  readonly #search: Search;
  readonly #feed: Feed;

  /** Takes a database with the newest schema. */
  constructor(database: DatabaseSync, limits: BrokerLimits, options: StoreOptions = {}) {
    const { clocks = SYSTEM_CLOCKS, secondLookMs, notice = () => {} } = options;
    const db = this.#db = new Database(database);
    this.#mailbox = limits.mailbox;
    this.#now = clocks.now;
    this.#positions = new Positions(db);
    this.#mailboxes = new Mailboxes(db);
    this.#memberships = new Memberships(db);
    this.#ended = new Ended(db);
    this.#reading = new Reading(db, this.#memberships, this.#ended);
    this.#search = new Search(db, this.#reading, this.#memberships);
    this.#feed = new Feed(db, this.#reading, clocks.now);
    this.#markers = new Markers(db, this.#reading, this.#mailboxes);
    this.#groups = new Groups(db, this.#memberships, this.#ended, limits);
    this.#gaps = new Gaps(db);
    this.#devices = new Devices(db, this.#memberships, this.#reading, this.#gaps, this.#ended);
    const dropReadAhead = () => this.#reading.clear();
    const retention = { days: limits.retentionDays, clocks, secondLookMs, notice, dropReadAhead };
    this.#retention = new Retention(db, this.#mailboxes, this.#ended, retention);
  }

  /** Identifies the log. */
  get epoch(): string {
    return this.#db.epoch;
  }

  /** Position of the newest message. */
  get head(): number {
    return this.#db.head;
  }

  /** Notes that the database is in use; after a crash `count` positions are left out. */
  claim(count: number): void {
    this.#gaps.claim(count);
    this.flush();
  }

  /** Notes that the database is whole: the last thing before it is closed. */
  release(): void {
    this.#gaps.release();
  }

  /** Writes what is only cached: before every commit. */
  flush(): void {
    this.#positions.list();
    this.#db.flush();
    if (this.#db.isOverfull) this.clearCaches();
  }

  /** Clears what is cached of the database: after every rollback. */
  clearCaches(): void {
    const parts = [this.#db, this.#positions, this.#mailboxes, this.#memberships, this.#ended, this.#reading, this.#retention];
    for (const part of parts) part.clear();
  }

  /** Writes something, to see that there is room. */
  probe(): void {
    this.#db.run("INSERT INTO meta VALUES ('probes', 1) ON CONFLICT DO UPDATE SET value = value + 1");
  }

  // ---- Users and devices ----

  attach(name: string, device: string, options: AttachOptions = {}): Steps<Attached> {
    return this.#devices.attach(name, device, options);
  }

  advance(moves: readonly DeviceMove[]): void {
    this.#devices.advance(moves);
  }

  lastSeen(users: readonly string[]): (number | undefined)[] {
    const sql = "SELECT last_seen FROM users WHERE name = ?";
    return users.map((name) => this.#db.get(sql, name)?.last_seen as number | undefined);
  }

  seen(names: readonly string[], at: number): void {
    const sql = "UPDATE users SET last_seen = ? WHERE id = ? AND last_seen < ?"; // nothing is written where nothing changes
    for (const name of names) this.#db.run(sql, at, this.#db.addUser(name), at);
  }

  // ---- Sending ----

  append(drafts: readonly Draft[]): AppendedRows {
    const ts = this.#now();
    const rows: AppendedRows = { seqs: new Float64Array(drafts.length), times: new Map(), refusals: new Map(), ts };
    const { head } = this.#db;
    for (let i = 0; i < drafts.length; i++) this.#append(drafts[i]!, i, rows);
    if (this.#db.head > head) this.#positions.addedAfter(head);
    this.#retention.tick();
    return rows;
  }

  #append(draft: Draft, index: number, rows: AppendedRows): void {
    const db = this.#db, sender = db.addUser(draft.sender);
    const known = this.#threadTo(sender, draft);
    const isDirect = known === undefined || ("id" in known && known.members === undefined);
    const recipient = isDirect && draft.recipient !== draft.sender ? db.userId(draft.recipient)! : 0;
    const refusal = known && "code" in known ? known : this.#whyFull(recipient, known?.id, draft.recipient);
    // The id may be known from before the sender left the group, or the mailbox was full. What is refused begins no conversation.
    if ((refusal || !known) && this.#repeated(sender, draft, index, rows)) return;
    if (refusal) {
      rows.refusals.set(index, refusal);
      return;
    }
    const thread = known as Thread | undefined ?? this.#begin(sender, draft);
    const seq = db.head + 1;
    const { id = null, origin, content } = draft;
    const insert = () => db.run(INSERT_MESSAGE, thread.id, seq, sender, rows.ts, id, origin, content);
    if (insert() === 0) {
      if (this.#repeated(sender, draft, index, rows)) return;
      this.#freeId(sender, id!);
      insert();
    }
    db.head = rows.seqs[index] = seq;
    db.touch(thread, seq);
    this.#search.note(thread.id);
    if (recipient !== 0) this.#mailboxes.add(recipient, thread.id);
    else if (thread.passive.has(sender)) this.#groups.agree(draft.recipient, sender);
  }

  /**
   * Returns the refusal for a mailbox that takes no more, or no more of this conversation; none for recipient 0, which has no
   * mailbox. A conversation that is still to be begun has no `thread`.
   */
  #whyFull(recipient: number, thread: number | undefined, name: string): BrokerRefusal | undefined {
    if (recipient === 0) return undefined;
    const waiting = this.#mailboxes.waitingFor(recipient);
    // While less than half is taken, nobody's share is full.
    if (waiting * 2 < this.#mailbox) return undefined;
    if (waiting >= this.#mailbox) return mailboxFull(name);
    const own = thread === undefined ? 0 : this.#mailboxes.waitingIn(recipient, thread);
    return own >= shareOf(this.#mailbox, waiting - own) ? mailboxShareFull(name) : undefined;
  }

  /** Answers a draft whose id is taken; false where it is not. */
  #repeated(sender: number, { id, recipient, content }: Draft, index: number, rows: AppendedRows): boolean {
    if (id === undefined) return false;
    const sql = `SELECT m.seq, m.ts, m.content, t.name, t.owner FROM messages m JOIN threads t ON t.id = m.thread
      WHERE m.sender = ? AND m.id = ? AND ${IS_DUE}`;
    const stored = this.#db.get(sql, sender, id);
    if (!stored) return false;
    const isDirect = stored.owner === 0;
    const name = isDirect ? directName(this.#db.userName(sender), recipient) : recipient;
    if ((isDirect ? stored.name : groupName(String(stored.name))) !== name || stored.content !== content) {
      rows.refusals.set(index, idConflict(id));
    } else {
      rows.seqs[index] = stored.seq as number;
      rows.times.set(index, stored.ts as number);
    }
    return true;
  }

  /** Removes the message that holds an id, of a group that has ended: retention has not come to it yet. */
  #freeId(sender: number, id: string): void {
    const sql =
      `DELETE FROM messages AS m WHERE m.sender = ? AND m.id = ? AND NOT (SELECT ${IS_DUE} FROM threads t WHERE t.id = m.thread)`;
    this.#db.run(sql, sender, id);
  }

  /** Returns the thread of a draft; undefined for a direct conversation that is still to be begun. */
  #threadTo(sender: number, { sender: from, recipient: to }: Draft): Thread | BrokerRefusal | undefined {
    const isToGroup = isGroup(to);
    const thread = isToGroup ? this.#db.thread(to) : this.#db.direct(sender, this.#db.userId(to), from, to);
    if (thread) return !thread.members || thread.members.has(sender) ? thread : notMember(to);
    if (isToGroup) return unknownGroup(to);
    return this.#db.userId(to) === undefined ? unknownRecipient(to) : undefined;
  }

  #begin(sender: number, { sender: from, recipient: to }: Draft): Thread {
    const recipient = this.#db.userId(to)!, begun = this.#db.addDirect(directName(from, to), sender, recipient);
    this.#memberships.added(sender, begun);
    if (recipient !== sender) this.#memberships.added(recipient, begun);
    return begun;
  }

  // ---- Other rooms ----

  read(name: string, after: number, limit: number): Steps<Page> {
    return this.#reading.read(name, after, limit);
  }

  history(name: string, query: HistoryQuery): Page | BrokerRefusal {
    return this.#reading.history(name, query);
  }

  conversations(name: string, limit: number, before?: ConversationCursor): Steps<ConversationPage> {
    return this.#reading.conversations(name, limit, before);
  }

  search(name: string, query: SearchQuery): Steps<Found | BrokerRefusal> {
    return this.#search.search(name, query);
  }

  /** Adds some of what was sent to the index of words. Returns 0 when nothing is left to do for now. */
  index(): number {
    return this.#search.index();
  }

  mark(moves: readonly MarkerMove[]): MarkerResult[] {
    const ts = this.#now();
    return moves.map((move) => this.#markers.move(move, ts));
  }

  markAll(name: string, seq: number): Steps<(MarkerMove & MarkerResult)[]> {
    return this.#markers.moveAll(name, seq, this.#now());
  }

  markers(name: string, since: number, after?: MarkerCursor): Steps<MarkerRows> {
    return this.#markers.list(name, since, after);
  }

  group(request: GroupRequest): GroupAnswer | BrokerRefusal {
    // Who was brought in and joins is a member already: nothing that others see has changed.
    const isMember = request.op === "join" &&
      this.#db.thread(request.group)?.members?.has(this.#db.userId(request.user) ?? 0) === true;
    const answer = this.#groups.answer(request);
    if (request.op !== "list" && "changed" in answer && answer.changed && !isMember) this.#feed.note(request, answer);
    return answer;
  }

  /** Lists groups, as {@linkcode SqliteStore.group} does at once. */
  listGroups(name: string, after: string | undefined): Steps<GroupAnswer> {
    return this.#groups.list(name, after);
  }

  /** Answers about the log as a whole, as `Feed` of broker.ts says. */
  feed(request: FeedRequest): Steps<unknown> {
    return this.#feed.answer(request);
  }

  /** Returns the members of a group by name, in the order of joining; nobody where there is no such group. */
  members(group: string): string[] {
    return this.#groups.members(group);
  }

  /** Erases a user; see `Erasure` of broker.ts. */
  *erase(name: string): Steps<number> {
    const count = yield* eraseUser(this.#db, name, (user) => {
      this.#mailboxes.clear();
      this.#ended.clear();
      this.#memberships.changed(user);
      this.#reading.clear();
    });
    this.#reading.clear();
    this.#search.lookAgain();
    return count;
  }

  /** Removes some of what is too old, or left from a group that has ended. Returns 0 when nothing is left to do for now. */
  expire(): number {
    return this.#retention.expire();
  }
}
