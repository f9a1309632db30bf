/**
 * Messages and what is kept about them, in SQLite: one synchronous method per question. Transactions are the caller's; after a
 * rollback it calls {@linkcode SqliteStore.forget}, since what is remembered here may not have happened.
 *
 * Messages are clustered by conversation and position, so that a backlog, a page of history and a count of unread are each a walk
 * along one index, however much else is stored.
 */

import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";
import type {
  Attached,
  BrokerRefusal,
  Conversation,
  Draft,
  GroupAnswer,
  GroupRequest,
  Marker,
  MarkerMove,
  MarkerResult,
  Page,
  Stored,
} from "../../broker.ts";
import { UNREAD_MAX } from "../../broker/limits.ts";
import { type BrokerLimits, DEVICES_KEPT, GROUPS_LISTED_MAX, MARK_AUTHORS_MAX, refuse } from "../limits.ts";

/** Names and conversations that are remembered: past it everything is forgotten and read again. */
const CACHE_ENTRIES_MAX = 200_000;
/** Characters of a page of backlog: a device far behind costs a page, and many may come back at once. */
const PAGE_CHARS_MAX = 131_072;
/** Characters of a page of history: what one answer has at most. */
const HISTORY_CHARS_MAX = 262_144;
/** Messages that are read at once, before their size is looked at. */
const READ_STEP = 32;
/** Messages that are looked at to find the authors whom a mark covers. */
const AUTHORS_SCANNED_MAX = 1_000;
/** Above every position. */
const HIGHEST = Number.MAX_SAFE_INTEGER;
/** Milliseconds between two notes of where the log stands: retention is as exact as they are. */
const TICK_MS = 60_000;
/** Messages that one step of retention removes: some milliseconds. */
export const EXPIRE_STEP = 1_000;
/** Conversations that one step of retention looks at. */
const EXPIRE_THREADS = 500;

/** A conversation or a group, as far as sending to it needs. */
interface Thread {
  readonly id: number;
  lastSeq: number;
  /** Whether `lastSeq` is newer than what the database says. */
  isDirty: boolean;
  /** Members of a group by id; undefined for a direct conversation. */
  members: Set<number> | undefined;
}

/** What became of the drafts of one append. */
export interface AppendedRows {
  readonly seqs: Float64Array;
  /** Times of duplicates; the others have `ts`. */
  readonly times: Map<number, number>;
  readonly refusals: Map<number, BrokerRefusal>;
  readonly ts: number;
}

type Row = Record<string, SQLInputValue>;

/** Positions, both ends excluded. */
interface Range {
  readonly low: number;
  readonly high: number;
}

/** Rows of a range, and whether they are all that it has. */
interface Some {
  readonly rows: Row[];
  readonly isEnd: boolean;
}

const MESSAGE = "seq, sender, ts, id, origin, content";
const INSERT_MESSAGE = `INSERT INTO messages (thread, ${MESSAGE}) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (sender, id) WHERE id IS NOT NULL DO NOTHING`;

/** Reads and writes one database. */
export class SqliteStore {
  readonly #database: DatabaseSync;
  readonly #limits: BrokerLimits;
  readonly #now: () => number;
  readonly #statements = new Map<string, StatementSync>();
  readonly #userIds = new Map<string, number>();
  readonly #userNames = new Map<number, string>();
  readonly #threads = new Map<string, Thread>();
  /** Direct messages waiting, by user. */
  readonly #waiting = new Map<number, number>();
  readonly #dirty = new Set<Thread>();
  #head = -1;
  #savedHead = -1;
  #lastTick = 0;

  constructor(database: DatabaseSync, limits: BrokerLimits, now: () => number = Date.now) {
    this.#database = database;
    this.#limits = limits;
    this.#now = now;
  }

  /** Identifies the log. */
  get epoch(): string {
    return String(this.#get("SELECT value FROM meta WHERE key = 'epoch'")!.value);
  }

  /** The newest position. */
  get head(): number {
    if (this.#head < 0) {
      this.#head = this.#savedHead = Number(this.#get("SELECT value FROM meta WHERE key = 'head'")?.value ?? 0);
    }
    return this.#head;
  }

  /** Leaves positions out. */
  skip(count: number): void {
    this.#head = this.head + count;
    this.flush();
  }

  /** Forgets what is remembered of the database. */
  forget(): void {
    for (const cache of [this.#userIds, this.#userNames, this.#threads, this.#waiting, this.#dirty]) cache.clear();
    this.#head = -1;
    this.#lastTick = 0;
  }

  /** Writes what was only remembered. Before every commit. */
  flush(): void {
    for (const thread of this.#dirty) {
      this.#run("UPDATE threads SET last_seq = ? WHERE id = ?", thread.lastSeq, thread.id);
      thread.isDirty = false;
    }
    this.#dirty.clear();
    if (this.#head > this.#savedHead) {
      this.#run("INSERT INTO meta VALUES ('head', ?) ON CONFLICT DO UPDATE SET value = excluded.value", this.#head);
      this.#savedHead = this.#head;
    }
    if (this.#userIds.size + this.#threads.size > CACHE_ENTRIES_MAX) this.forget();
  }

  #statement(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) this.#statements.set(sql, statement = this.#database.prepare(sql));
    return statement;
  }

  #get(sql: string, ...values: SQLInputValue[]): Row | undefined {
    return this.#statement(sql).get(...values) as Row | undefined;
  }

  #all(sql: string, ...values: SQLInputValue[]): Row[] {
    return this.#statement(sql).all(...values) as Row[];
  }

  #run(sql: string, ...values: SQLInputValue[]): number {
    return Number(this.#statement(sql).run(...values).changes);
  }

  // ---- Users and devices ----

  #userId(name: string): number | undefined {
    const known = this.#userIds.get(name);
    if (known !== undefined) return known;
    const id = this.#get("SELECT id FROM users WHERE name = ?", name)?.id as number | undefined;
    if (id !== undefined) this.#userIds.set(name, id);
    return id;
  }

  #addUser(name: string): number {
    const known = this.#userId(name);
    if (known !== undefined) return known;
    const id = Number(this.#statement("INSERT INTO users (name) VALUES (?)").run(name).lastInsertRowid);
    this.#userIds.set(name, id);
    return id;
  }

  #userName(id: number): string {
    let name = this.#userNames.get(id);
    if (name === undefined) this.#userNames.set(id, name = String(this.#get("SELECT name FROM users WHERE id = ?", id)!.name));
    return name;
  }

  attach(name: string, device: string, last: number | undefined): Attached {
    const user = this.#addUser(name);
    const horizon = this.#get("SELECT horizon FROM users WHERE id = ?", user)!.horizon as number;
    const known = this.#get("SELECT position FROM devices WHERE user = ? AND name = ?", user, device)?.position as
      | number
      | undefined;
    const position = known ?? this.#start(user, last);
    if (known === undefined) this.#addDevice(user, device, position);
    return { position, isNew: known === undefined, horizon, head: this.head };
  }

  #addDevice(user: number, name: string, position: number): void {
    this.#run("INSERT INTO devices VALUES (?, ?, ?)", user, name, position);
    const count = this.#get("SELECT count(*) AS n FROM devices WHERE user = ?", user)!.n as number;
    if (count <= DEVICES_KEPT) return;
    const sql = `DELETE FROM devices WHERE user = ? AND name = (SELECT name FROM devices
      WHERE user = ? AND name <> ? AND name NOT LIKE '~%' ORDER BY position, name LIMIT 1)`;
    this.#run(sql, user, user, name);
  }

  #start(user: number, last: number | undefined): number {
    if (last === undefined) {
      return this.#get("SELECT max(position) AS position FROM devices WHERE user = ?", user)!.position as number | null ??
        this.head;
    }
    if (last === 0) return this.head;
    const newest = "SELECT seq FROM messages WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT ?";
    const seqs = this.#threadsOf(user, 0)
      .flatMap(({ thread, since }) => this.#all(newest, thread!, since!, last).map(({ seq }) => seq as number))
      .sort((a, b) => b - a);
    const first = seqs[Math.min(last, seqs.length) - 1];
    return first === undefined ? this.head : first - 1;
  }

  advance(moves: readonly { readonly user: string; readonly device: string; readonly seq: number }[]): void {
    const sql = "UPDATE devices SET position = ? WHERE user = ? AND name = ? AND position < ?";
    for (const { user, device, seq } of moves) {
      const id = this.#userId(user), position = Math.min(seq, this.head);
      if (id !== undefined) this.#run(sql, position, id, device, position);
    }
  }

  lastSeen(users: readonly string[]): (number | undefined)[] {
    return users.map((name) => this.#get("SELECT last_seen FROM users WHERE name = ?", name)?.last_seen as number | undefined);
  }

  seen(names: readonly string[], at: number): void {
    for (const name of names) this.#run("UPDATE users SET last_seen = max(last_seen, ?) WHERE id = ?", at, this.#addUser(name));
  }

  // ---- Sending ----

  append(drafts: readonly Draft[]): AppendedRows {
    const ts = this.#now();
    const rows: AppendedRows = { seqs: new Float64Array(drafts.length), times: new Map(), refusals: new Map(), ts };
    for (let i = 0; i < drafts.length; i++) this.#append(drafts[i]!, i, rows);
    if (ts - this.#lastTick > TICK_MS) this.#tick(ts);
    return rows;
  }

  #tick(ts: number): void {
    this.#lastTick = ts;
    this.#run("INSERT OR REPLACE INTO ticks VALUES (?, ?)", ts, this.head);
  }

  #append(draft: Draft, index: number, rows: AppendedRows): void {
    const sender = this.#addUser(draft.sender);
    const thread = this.#threadTo(sender, draft);
    if ("code" in thread) {
      // The id may be known from before the sender left the group.
      if (!this.#repeated(sender, draft, index, rows)) rows.refusals.set(index, thread);
      return;
    }
    const recipient = thread.members === undefined && draft.recipient !== draft.sender
      ? this.#userIds.get(draft.recipient)!
      : 0;
    if (recipient !== 0 && this.#waitingFor(recipient) >= this.#limits.mailbox) {
      if (this.#repeated(sender, draft, index, rows)) return;
      const message = `The mailbox of "${draft.recipient}" is full; try again when they have read it`;
      rows.refusals.set(index, refuse("mailbox_full", message));
      return;
    }
    const seq = this.head + 1;
    const { id = null, origin, content } = draft;
    if (this.#run(INSERT_MESSAGE, thread.id, seq, sender, rows.ts, id, origin, content) === 0) {
      if (!this.#repeated(sender, draft, index, rows)) rows.refusals.set(index, idConflict(draft.id!));
      return;
    }
    this.#head = rows.seqs[index] = thread.lastSeq = seq;
    if (!thread.isDirty) {
      thread.isDirty = true;
      this.#dirty.add(thread);
    }
    if (recipient !== 0) this.#waiting.set(recipient, this.#waiting.get(recipient)! + 1);
  }

  /** Answers a draft whose id is taken; false where it is not, or only by a message of a group that has ended. */
  #repeated(sender: number, { id, recipient, content }: Draft, index: number, rows: AppendedRows): boolean {
    if (id === undefined) return false;
    const sql = `SELECT m.seq, m.ts, m.content, t.name, t.owner FROM messages m JOIN threads t ON t.id = m.thread
      WHERE m.sender = ? AND m.id = ?`;
    const stored = this.#get(sql, sender, id);
    if (!stored || stored.owner === -1) return false;
    const name = stored.owner === 0 ? directName(this.#userName(sender), recipient) : recipient;
    if (stored.name !== name || stored.content !== content) {
      rows.refusals.set(index, idConflict(id));
    } else {
      rows.seqs[index] = stored.seq as number;
      rows.times.set(index, stored.ts as number);
    }
    return true;
  }

  /** Where a draft goes; a direct conversation is begun where there is none. */
  #threadTo(sender: number, { sender: from, recipient: to }: Draft): Thread | BrokerRefusal {
    const isGroup = to.startsWith("#");
    const name = isGroup ? to : directName(from, to);
    const thread = this.#thread(name);
    if (thread) {
      if (thread.members && !thread.members.has(sender)) return refuse("not_member", `You are not a member of "${to}"`);
      if (!thread.members) this.#userId(to);
      return thread;
    }
    if (isGroup) return refuse("unknown_group", `There is no group "${to}"`);
    const recipient = this.#userId(to);
    if (recipient === undefined) {
      return refuse("unknown_recipient", `There is no user "${to}"; they have to connect once first`);
    }
    const id = Number(this.#statement("INSERT INTO threads (name) VALUES (?)").run(name).lastInsertRowid);
    const join = "INSERT OR IGNORE INTO members (user, thread, other, since, joined) VALUES (?, ?, ?, 0, 0)";
    this.#run(join, sender, id, recipient);
    this.#run(join, recipient, id, sender);
    const begun: Thread = { id, lastSeq: 0, isDirty: false, members: undefined };
    this.#threads.set(name, begun);
    return begun;
  }

  #thread(name: string): Thread | undefined {
    const known = this.#threads.get(name);
    if (known) return known;
    const row = this.#get("SELECT id, owner, last_seq FROM threads WHERE name = ?", name);
    if (!row) return undefined;
    const id = row.id as number;
    const members = row.owner === 0 ? undefined : new Set(this.#memberIds(id));
    const thread: Thread = { id, lastSeq: row.last_seq as number, isDirty: false, members };
    this.#threads.set(name, thread);
    return thread;
  }

  #memberIds(thread: number): number[] {
    return this.#all("SELECT user FROM members WHERE thread = ? ORDER BY joined", thread).map(({ user }) => user as number);
  }

  #waitingFor(user: number): number {
    let waiting = this.#waiting.get(user);
    if (waiting === undefined) {
      waiting = 0;
      this.#flushThreads();
      const sql = `SELECT m.thread, m.delivered FROM members m JOIN threads t ON t.id = m.thread
        WHERE m.user = ? AND m.other > 0 AND t.last_seq > m.delivered`;
      for (const { thread, delivered } of this.#all(sql, user)) {
        waiting += this.#countOthers(thread, user, delivered!, this.head);
      }
      this.#waiting.set(user, waiting);
    }
    return waiting;
  }

  /** Others' messages after `after` and up to `upTo`. */
  #countOthers(thread: SQLInputValue | undefined, user: number, after: SQLInputValue, upTo: number): number {
    const sql = "SELECT count(*) AS n FROM messages WHERE thread = ? AND seq > ? AND seq <= ? AND sender <> ?";
    return this.#get(sql, thread!, after, upTo, user)!.n as number;
  }

  #flushThreads(): void {
    if (this.#dirty.size > 0) this.flush();
  }

  // ---- Reading ----

  /** The user's conversations with something after `after`. */
  #threadsOf(user: number, after: number): Row[] {
    this.#flushThreads();
    const sql = `SELECT m.thread, max(m.since, ?) AS since, t.name, t.owner, t.last_seq, m.other
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND t.last_seq > max(m.since, ?)`;
    return this.#all(sql, after, user, after);
  }

  read(name: string, after: number, limit: number): Page {
    const user = this.#userId(name);
    if (user === undefined) return { messages: [], more: false };
    const threads = this.#threadsOf(user, after);
    // With many conversations each gives a part of the page; what lies behind the end of any part has to wait.
    const part = Math.max(8, Math.ceil((2 * (limit + 1)) / Math.max(1, threads.length)));
    const take = Math.min(limit + 1, part);
    const chars = (2 * PAGE_CHARS_MAX) / Math.max(1, threads.length);
    let complete = Infinity;
    const found: Stored[] = [];
    for (const thread of threads) {
      const { rows } = this.#some(thread.thread!, { low: thread.since as number, high: HIGHEST }, "ASC", take, chars);
      const last = rows.at(-1)?.seq as number | undefined;
      if (last !== undefined && last < (thread.last_seq as number)) complete = Math.min(complete, last);
      for (const row of rows) found.push(this.#stored(row, thread));
    }
    found.sort((a, b) => a.seq - b.seq);
    const messages = cutPage(found.filter(({ seq }) => seq <= complete), limit);
    return { messages, more: found.length > messages.length || complete < Infinity };
  }

  /** Messages of a thread between two positions, from one end: up to so many, or until they have many characters. */
  #some(thread: SQLInputValue, between: Range, order: "ASC" | "DESC", limit: number, chars: number): Some {
    // Not with iterate(): on older runtimes a statement that was left early goes on where it was.
    const sql = `SELECT ${MESSAGE} FROM messages WHERE thread = ? AND seq > ? AND seq < ? ORDER BY seq ${order} LIMIT ?`;
    const rows: Row[] = [];
    let { low, high } = between;
    for (let total = 0; rows.length < limit && total <= chars;) {
      const wanted = Math.min(READ_STEP, limit - rows.length);
      const some = this.#all(sql, thread, low, high, wanted);
      for (const row of some) {
        rows.push(row);
        total += (row.content as string).length;
      }
      if (some.length < wanted) return { rows, isEnd: true };
      const last = some.at(-1)!.seq as number;
      if (order === "ASC") low = last;
      else high = last;
    }
    return { rows, isEnd: false };
  }

  /** A row of a thread with `name`, `owner` and `other` as a message. */
  #stored(row: Row, thread: Row): Stored {
    const sender = this.#userName(row.sender as number);
    const recipient = thread.owner !== 0 ? String(thread.name) : otherName(String(thread.name), sender);
    const id = row.id === null ? undefined : row.id as string;
    const content = row.content as string, origin = row.origin as string;
    return { sender, recipient, content, id, origin, seq: row.seq as number, ts: row.ts as number };
  }

  history(
    name: string,
    { with: other, before, after, limit }: {
      readonly with: string;
      readonly before?: number;
      readonly after?: number;
      readonly limit: number;
    },
  ): Page | BrokerRefusal {
    const membership = this.#membership(name, other);
    if (isRefusal(membership)) return membership;
    const between = { low: Math.max(membership.since as number, after ?? 0), high: before ?? HIGHEST };
    const forward = after !== undefined && before === undefined;
    // One more than is asked for, or than fits, tells whether there is more.
    const { rows, isEnd } = this.#some(membership.thread!, between, forward ? "ASC" : "DESC", limit + 1, HISTORY_CHARS_MAX);
    const messages = (isEnd ? rows : rows.slice(0, -1)).map((row) => this.#stored(row, membership));
    return { messages: forward ? messages : messages.reverse(), more: !isEnd };
  }

  /** The user's row of a conversation; one without messages where there is none yet. */
  #membership(name: string, other: string): Row | BrokerRefusal {
    const user = this.#userId(name) ?? 0;
    const isGroup = other.startsWith("#");
    const sql =
      `SELECT m.thread, m.since, m.delivered, m.read, m.other, t.name, t.owner FROM threads t JOIN members m ON m.thread = t.id
      WHERE t.name = ? AND m.user = ?`;
    const row = this.#get(sql, isGroup ? other : directName(name, other), user);
    if (row) return row;
    if (isGroup && this.#thread(other)) return refuse("not_member", `You are not a member of "${other}"`);
    if (isGroup) return refuse("unknown_group", `There is no group "${other}"`);
    if (this.#userId(other) === undefined) return refuse("unknown_recipient", `There is no user "${other}"`);
    return { thread: 0, since: 0, delivered: 0, read: 0, other: 0, name: directName(name, other), owner: 0 };
  }

  conversations(name: string, limit: number): { conversations: Conversation[]; more: boolean } {
    const user = this.#userId(name);
    if (user === undefined) return { conversations: [], more: false };
    this.#flushThreads();
    // A direct conversation of which everything has expired is none; a group always is one.
    const sql = `SELECT m.thread, m.since, m.read, m.other, t.name, t.owner, iif(t.last_seq > m.since, t.last_seq, 0) AS last
      FROM members m JOIN threads t ON t.id = m.thread
      WHERE m.user = ? AND (t.last_seq > 0 OR t.owner > 0) ORDER BY last DESC, t.name LIMIT ?`;
    const rows = this.#all(sql, user, limit + 1);
    return { conversations: rows.slice(0, limit).map((row) => this.#conversation(user, row)), more: rows.length > limit };
  }

  #conversation(user: number, row: Row): Conversation {
    const newest = `SELECT ${MESSAGE} FROM messages WHERE thread = ? AND seq > ? ORDER BY seq DESC LIMIT 1`;
    const last = this.#get(newest, row.thread!, row.since!);
    const count = `SELECT count(*) AS n FROM
      (SELECT 1 FROM messages WHERE thread = ? AND seq > ? AND sender <> ? ORDER BY seq LIMIT ${UNREAD_MAX})`;
    const unread = this.#get(count, row.thread!, Math.max(row.since as number, row.read as number), user)!.n as number;
    const other = row.owner === 0 ? this.#userName(row.other as number) : String(row.name);
    return { with: other, last: last && this.#stored(last, row), read: row.read as number, unread };
  }

  // ---- Markers ----

  mark(marks: readonly MarkerMove[]): MarkerResult[] {
    const ts = this.#now();
    return marks.map((mark) => this.#mark(mark, ts));
  }

  #mark({ user: name, kind, with: other, seq: wanted }: MarkerMove, ts: number): MarkerResult {
    const row = this.#membership(name, other);
    const seq = Math.min(wanted, this.head);
    if (isRefusal(row) || row.thread === 0 || seq <= (row[kind] as number)) return { moved: false, authors: [], ts };
    const user = this.#userId(name)!;
    const before = row[kind] as number, delivered = row.delivered as number;
    const read = kind === "read" ? seq : row.read!;
    const sql = "UPDATE members SET delivered = ?, read = ?, marked_ts = ?, marked_at = ? WHERE user = ? AND thread = ?";
    this.#run(sql, Math.max(delivered, seq), read, ts, this.head, user, row.thread!);
    const waiting = this.#waiting.get(user);
    if (row.owner === 0 && seq > delivered && waiting !== undefined) {
      const arrived = this.#countOthers(row.thread, user, delivered, seq);
      this.#waiting.set(user, waiting - arrived);
      if (before === delivered) return { moved: true, authors: arrived > 0 ? [other] : [], ts };
    }
    return { moved: true, authors: this.#authors(row.thread!, user, Math.max(before, row.since as number), seq), ts };
  }

  #authors(thread: SQLInputValue, user: number, after: number, upTo: number): string[] {
    const sql = `SELECT DISTINCT sender FROM (SELECT sender FROM messages WHERE thread = ? AND seq > ? AND seq <= ?
      ORDER BY seq DESC LIMIT ${AUTHORS_SCANNED_MAX}) WHERE sender <> ? LIMIT ${MARK_AUTHORS_MAX}`;
    return this.#all(sql, thread, after, upTo, user).map(({ sender }) => this.#userName(sender as number));
  }

  markers(name: string, since: number): Marker[] {
    const me = this.#userId(name);
    if (me === undefined) return [];
    const sql = `SELECT o.user, o.thread, o.delivered, o.read, o.marked_ts, t.name, t.owner, mine.other FROM members mine
      JOIN members o ON o.thread = mine.thread AND o.marked_at >= ? JOIN threads t ON t.id = o.thread WHERE mine.user = ?`;
    const found: Marker[] = [];
    const wrote = new Map<SQLInputValue, number>();
    for (const row of this.#all(sql, since, me)) {
      const isMine = row.user === me, thread = row.thread!;
      if (!isMine && row.owner !== 0) {
        if (!wrote.has(thread)) wrote.set(thread, this.#firstOf(thread, me));
        if ((row.delivered as number) < wrote.get(thread)!) continue;
      }
      const other = row.owner !== 0 ? String(row.name) : isMine ? this.#userName(row.other as number) : name;
      const marker = { user: this.#userName(row.user as number), with: other, ts: row.marked_ts as number };
      if (!isMine && row.delivered !== 0) found.push({ ...marker, kind: "delivered", seq: row.delivered as number });
      if (row.read !== 0) found.push({ ...marker, kind: "read", seq: row.read as number });
    }
    return found;
  }

  /** The first position that a user wrote at among the newest of a thread. */
  #firstOf(thread: SQLInputValue, user: number): number {
    const sql = `SELECT min(seq) AS seq FROM
      (SELECT seq, sender FROM messages WHERE thread = ? ORDER BY seq DESC LIMIT ${AUTHORS_SCANNED_MAX}) WHERE sender = ?`;
    return this.#get(sql, thread, user)!.seq as number | null ?? Infinity;
  }

  // ---- Groups ----

  /** The members of a group by name, in the order of joining. */
  members(group: string): string[] {
    const thread = this.#thread(group);
    return thread?.members ? this.#memberIds(thread.id).map((id) => this.#userName(id)) : [];
  }

  group(request: GroupRequest): GroupAnswer | BrokerRefusal {
    const user = this.#addUser(request.user);
    if (request.op === "list") return this.#list(user);
    const { group } = request;
    const row = this.#get("SELECT id, owner, open FROM threads WHERE name = ?", group);
    if (request.op === "create") return this.#create(group, user, request.open, row !== undefined);
    if (!row) return refuse("unknown_group", `There is no group "${group}"`);
    const { members } = this.#thread(group)!;
    const isMember = members!.has(user);
    if (request.op === "join") {
      if (!isMember && row.open === 0) return refuse("forbidden", `"${group}" is by invitation only`);
      return this.#enter(group, user, request.user);
    }
    if (!isMember) return refuse("not_member", `You are not a member of "${group}"`);
    if (!("target" in request)) return request.op === "members" ? this.#answer(group, false) : this.#exit(group, user);
    const target = this.#userId(request.target);
    if (request.op === "invite") {
      if (target === undefined) return refuse("unknown_recipient", `There is no user "${request.target}"`);
      return this.#enter(group, target, request.target);
    }
    if (row.owner !== user) {
      return refuse("forbidden", `Only the owner "${this.#userName(row.owner as number)}" may remove members`);
    }
    if (target === undefined || !members!.has(target)) return refuse("not_member", `"${request.target}" is not a member`);
    return this.#exit(group, target);
  }

  #answer(group: string, changed: boolean): GroupAnswer {
    const owner = this.#get("SELECT owner FROM threads WHERE name = ?", group)?.owner as number | undefined;
    return { changed, members: this.members(group), owner: owner === undefined ? "" : this.#userName(owner) };
  }

  #create(group: string, owner: number, open: boolean, exists: boolean): GroupAnswer | BrokerRefusal {
    if (exists) return refuse("group_exists", `There is a group "${group}" already`);
    const tooMany = this.#hasTooManyGroups(owner, this.#userName(owner));
    if (tooMany) return tooMany;
    this.#run("INSERT INTO threads (name, owner, open) VALUES (?, ?, ?)", group, owner, open ? 1 : 0);
    return this.#enter(group, owner, this.#userName(owner));
  }

  #hasTooManyGroups(user: number, name: string): BrokerRefusal | undefined {
    const groups = this.#get("SELECT count(*) AS n FROM members WHERE user = ? AND other = 0", user)!.n as number;
    if (groups < this.#limits.groupsPerUser) return undefined;
    return refuse("limit_reached", `"${name}" is in ${this.#limits.groupsPerUser} groups, the most one may be in`);
  }

  #enter(group: string, user: number, name: string): GroupAnswer | BrokerRefusal {
    const thread = this.#thread(group)!;
    if (thread.members!.has(user)) return this.#answer(group, false);
    if (thread.members!.size >= this.#limits.groupMembers) {
      return refuse("limit_reached", `"${group}" has ${this.#limits.groupMembers} members, the most there may be`);
    }
    const tooMany = this.#hasTooManyGroups(user, name);
    if (tooMany) return tooMany;
    const joined = this.#get("SELECT coalesce(max(joined), 0) + 1 AS joined FROM members WHERE thread = ?", thread.id)!.joined!;
    const sql = "INSERT INTO members (user, thread, other, since, joined) VALUES (?, ?, 0, ?, ?)";
    this.#run(sql, user, thread.id, this.head, joined);
    thread.members!.add(user);
    return this.#answer(group, true);
  }

  #exit(group: string, user: number): GroupAnswer {
    const thread = this.#thread(group)!;
    this.#run("DELETE FROM members WHERE user = ? AND thread = ?", user, thread.id);
    thread.members!.delete(user);
    const [eldest] = this.#memberIds(thread.id);
    if (eldest === undefined) return this.#dissolve(group, thread);
    this.#run("UPDATE threads SET owner = ? WHERE id = ? AND owner = ?", eldest, thread.id, user);
    return this.#answer(group, true);
  }

  #dissolve(group: string, thread: Thread): GroupAnswer {
    // Its messages may be many: retention removes them, out of everybody's way. No name begins with a space.
    this.#run("UPDATE threads SET name = ' ' || id, owner = -1 WHERE id = ?", thread.id);
    this.#threads.delete(group);
    return { changed: true, members: [], owner: "" };
  }

  #list(user: number): GroupAnswer {
    const sql = `SELECT t.name, t.owner, t.open, (SELECT count(*) FROM members m WHERE m.thread = t.id) AS members,
      EXISTS (SELECT 1 FROM members m WHERE m.thread = t.id AND m.user = ?) AS own FROM threads t
      WHERE t.owner > 0 AND (t.open = 1 OR own) ORDER BY own DESC, t.name LIMIT ?`;
    const rows = this.#all(sql, user, GROUPS_LISTED_MAX + 1);
    const groups = rows.slice(0, GROUPS_LISTED_MAX).map((row) => ({
      group: String(row.name),
      owner: this.#userName(row.owner as number),
      open: row.open === 1,
      members: row.members as number,
    }));
    return { changed: false, members: [], groups, more: rows.length > groups.length };
  }

  // ---- Retention ----

  /** One small step of removing what is too old, or left over from a group. 0 when there is nothing left to do for now. */
  expire(): number {
    this.#flushThreads();
    return this.#expireEnded() || this.#expireOld();
  }

  #expireEnded(): number {
    const thread = this.#get("SELECT id FROM threads WHERE owner < 0 LIMIT 1")?.id;
    if (thread === undefined) return 0;
    const removed = this.#removeOldest(thread, this.head);
    if (removed < EXPIRE_STEP) this.#run("DELETE FROM threads WHERE id = ?", thread);
    return Math.max(1, removed);
  }

  #expireOld(): number {
    const limit = this.#now() - this.#limits.retentionDays * 86_400_000;
    if (!Number.isFinite(limit)) return 0;
    const upTo = this.#get("SELECT max(seq) AS seq FROM ticks WHERE ts < ?", limit)!.seq as number | null;
    if (upTo === null) return this.#endExpiry(limit);
    const sql = `SELECT id FROM threads WHERE id > ? AND id <= ? AND
      EXISTS (SELECT 1 FROM messages WHERE thread = threads.id AND seq <= ?) ORDER BY id LIMIT 1`;
    const thread = this.#get(sql, this.#expired, this.#expired + EXPIRE_THREADS, upTo)?.id;
    if (thread !== undefined) return this.#expireThread(thread, upTo);
    this.#expired += EXPIRE_THREADS;
    if (this.#expired < (this.#get("SELECT max(id) AS id FROM threads")!.id as number)) return 1;
    return this.#endExpiry(limit);
  }

  #endExpiry(limit: number): 0 {
    this.#expired = 0;
    this.#run("DELETE FROM ticks WHERE ts < ?", limit);
    // What was sent since the last tick may be the last for long.
    this.#tick(this.#now());
    return 0;
  }

  /** Threads up to here have nothing old any more. */
  #expired = 0;

  #expireThread(thread: SQLInputValue, upTo: number): number {
    const removed = this.#removeOldest(thread, upTo);
    if (removed < EXPIRE_STEP) this.#run("UPDATE threads SET last_seq = 0 WHERE id = ? AND last_seq <= ?", thread, upTo);
    this.#waiting.clear();
    return removed;
  }

  /** Removes the oldest messages of a thread up to a position, and raises the horizon of those who could see them. */
  #removeOldest(thread: SQLInputValue, upTo: number): number {
    const oldest = "SELECT max(seq) AS seq FROM (SELECT seq FROM messages WHERE thread = ? AND seq <= ? ORDER BY seq LIMIT ?)";
    const last = this.#get(oldest, thread, upTo, EXPIRE_STEP)!.seq;
    if (last === null || last === undefined) return 0;
    const horizon = `UPDATE users SET horizon = max(horizon, ?)
      WHERE id IN (SELECT user FROM members WHERE thread = ? AND since < ?)`;
    this.#run(horizon, last, thread, last);
    return this.#run("DELETE FROM messages WHERE thread = ? AND seq <= ?", thread, last);
  }
}

function idConflict(id: string): BrokerRefusal {
  return refuse("id_conflict", `The id "${id}" was used for another message`);
}

/** The first messages, up to `limit` and to the characters of a page; at least one. */
function cutPage(messages: readonly Stored[], limit: number): Stored[] {
  let total = 0;
  const end = messages.findIndex(({ content }, index) => index > 0 && (total += content.length) > PAGE_CHARS_MAX);
  return messages.slice(0, end < 0 ? limit : Math.min(end, limit));
}

function isRefusal(value: Row | BrokerRefusal): value is BrokerRefusal {
  return "code" in value;
}

/** The key of a direct conversation: names have no space. */
function directName(a: string, b: string): string {
  return a < b ? `${a} ${b}` : `${b} ${a}`;
}

function otherName(direct: string, name: string): string {
  const [a, b] = direct.split(" ") as [string, string];
  return a === name ? b : a;
}
