/** The log as a whole, in the database. */

import type { Cursor, FeedPage, GroupAnswer, GroupEvent, GroupRequest, Stored } from "../../broker.ts";
import { CHANGES_KEPT, FEED_CHARS_MAX } from "../limits.ts";
import { isGroup } from "../names.ts";
import { type Database, directName, type Row, toThread } from "./database.ts";
import type { Reading } from "./reading.ts";
import type { Steps } from "./steps.ts";

/** Positions that are looked at together: a window grows where they are empty, as after a crash, when many are left out. */
const WINDOW = 1_024;
/** Messages that are read at once, before their size is looked at. */
const READ_STEP = 32;
/** Messages whose receivers are looked up in a step. */
const UNDELIVERED_STEP = 16;
/** Changes between two removals of those that are too many. */
const PRUNE_EVERY = 1_000;

/** Question to the feed, as it goes to the worker. */
export type FeedRequest =
  | { readonly kind: "messages" | "changes"; readonly after: number; readonly limit: number }
  | { readonly kind: "undelivered"; readonly messages: readonly Pick<Stored, "sender" | "recipient" | "seq">[] }
  | { readonly kind: "ends" }
  | { readonly kind: "claim"; readonly name: string }
  | { readonly kind: "save"; readonly name: string; readonly state: string; readonly carriedOut: string | undefined };

/** The feed of one database. */
export class Feed {
  readonly #db: Database;
  readonly #reading: Reading;
  readonly #now: () => number;

  constructor(db: Database, reading: Reading, now: () => number) {
    this.#db = db;
    this.#reading = reading;
    this.#now = now;
  }

  /** Answers as `Feed` of broker.ts says. */
  *answer(request: FeedRequest): Steps<unknown> {
    switch (request.kind) {
      case "ends":
        return { message: this.#db.head, change: this.#lastChange() };
      case "messages":
        return yield* this.#messages(request.after, request.limit);
      case "changes":
        return this.#changes(request.after, request.limit);
      case "undelivered":
        return yield* this.#undelivered(request.messages);
      case "claim":
        return this.#claim(request.name);
      case "save":
        return this.#save(request.name, request.state, request.carriedOut);
    }
  }

  /** Keeps a change that `request` has made. */
  note(request: Exclude<GroupRequest, { op: "list" }>, { members, owner = "" }: GroupAnswer): void {
    const { op, group, user: by } = request, user = "target" in request ? request.target : by;
    const sql = "INSERT INTO changes (ts, name, op, user, by_user, owner, members) VALUES (?, ?, ?, ?, ?, ?, ?)";
    const number = this.#db.insert(sql, this.#now(), group, op, user, by, owner, members.length);
    if (number % PRUNE_EVERY === 0) this.#db.run("DELETE FROM changes WHERE number <= ?", number - CHANGES_KEPT);
  }

  *#messages(after: number, limit: number): Steps<FeedPage<Stored>> {
    this.#db.flushThreads();
    const { head } = this.#db, items: Stored[] = [];
    let upTo = after;
    for (let chars = 0, span = WINDOW; upTo < head && items.length < limit && chars <= FEED_CHARS_MAX;) {
      const high = Math.min(head, upTo + span), wanted = Math.min(READ_STEP, limit - items.length);
      const rows = this.#rows(upTo, high, wanted);
      for (const row of rows) {
        items.push(this.#reading.stored(row, toThread({ ...row, id: row.thread! })));
        chars += (row.content as string).length;
      }
      upTo = rows.length === wanted ? rows.at(-1)!.seq as number : high;
      if (rows.length === 0) span *= 2;
      yield;
    }
    const removed = this.#db.get("SELECT value FROM meta WHERE key = 'removed'")?.value ?? 0;
    return { items, upTo, removed: removed as number, now: this.#now() };
  }

  #rows(low: number, high: number, limit: number): Row[] {
    const sql = `SELECT m.seq, m.sender, m.ts, m.id, m.origin, m.content, m.thread, t.name, t.owner, t.last_seq
      FROM messages m CROSS JOIN threads t ON t.id = m.thread WHERE m.seq > ? AND m.seq <= ? ORDER BY m.seq LIMIT ? + 0`;
    return this.#db.all(sql, low, high, limit);
  }

  #changes(after: number, limit: number): FeedPage<GroupEvent> {
    const sql = `SELECT number, ts, name AS "group", op, user, by_user AS "by", owner, members FROM changes
      WHERE number > ? ORDER BY number LIMIT ? + 0`;
    const items = this.#db.all(sql, after, limit).map((row) => ({ ...row }) as unknown as GroupEvent);
    const { first } = this.#db.get("SELECT min(number) AS first FROM changes")!;
    const upTo = items.length === limit ? items.at(-1)!.number : Math.max(after, this.#lastChange());
    return { items, upTo, removed: Math.max(0, (first as number | null ?? 1) - 1), now: this.#now() };
  }

  #lastChange(): number {
    return this.#db.get("SELECT max(number) AS last FROM changes")!.last as number | null ?? 0;
  }

  *#undelivered(messages: Extract<FeedRequest, { kind: "undelivered" }>["messages"]): Steps<string[][]> {
    const sql = `SELECT u.name FROM threads t JOIN members m ON m.thread = t.id JOIN users u ON u.id = m.user
      WHERE t.name = ? AND m.since < ? AND m.delivered < ? AND u.name <> ? ORDER BY m.joined, u.id`;
    const all: string[][] = [];
    for (const { sender, recipient, seq } of messages) {
      const thread = isGroup(recipient) ? recipient : directName(sender, recipient);
      all.push(this.#db.all(sql, thread, seq, seq, sender).map(({ name }) => String(name)));
      if (all.length % UNDELIVERED_STEP === 0) yield;
    }
    return all;
  }

  #claim(name: string): Cursor {
    const row = this.#db.get("SELECT state, wish FROM cursors WHERE name = ?", name);
    return { state: String(row?.state ?? ""), wish: row?.wish as string | null ?? undefined };
  }

  #save(name: string, state: string, carriedOut: string | undefined): boolean {
    const sql = `INSERT INTO cursors (name, state) VALUES (?, ?)
      ON CONFLICT DO UPDATE SET state = excluded.state, wish = nullif(wish, ?)`;
    this.#db.run(sql, name, state, carriedOut ?? "");
    return true;
  }
}
