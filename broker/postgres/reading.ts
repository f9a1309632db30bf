/** Backlogs, history, lists of conversations and of markers. All are bounded by the horizon, or by what this node has seen. */

import type { BrokerRefusal, ConversationCursor, ConversationPage, HistoryQuery, Marker, Page, Stored } from "../../broker.ts";
import { UNREAD_MAX } from "../limits.ts";
import { isGroup } from "../names.ts";
import { notMember, unknownGroup, unknownUser } from "../refusals.ts";
import { directName, type Directory, groupName } from "./directory.ts";
import { ints, texts } from "./link.ts";
import type { Reads } from "./reads.ts";

/** Characters of a page of backlog: a device far behind costs a page, and many may come back at once. */
const PAGE_CHARS_MAX = 131_072;
/** Characters of a page of history: what one answer has at most. */
const HISTORY_CHARS_MAX = 262_144;
/** Places of a backlog that are found at once, milliseconds for which they are remembered, and how many backlogs are. */
const PLACES_MAX = 4_000, BACKLOG_MS = 10_000, BACKLOGS_MAX = 16;
/** Markers that are yielded at once. */
const MARKERS_PAGE = 512;
/** Above every position. */
const HIGHEST = Number.MAX_SAFE_INTEGER;

/** Conversation and position of a message. */
type Place = readonly [thread: number, seq: number];

/** The rest of a backlog, which ends at no place: there may be more. */
interface Backlog {
  readonly places: readonly Place[];
  /** Time of `performance.now()`. */
  readonly until: number;
}

/** A row of a page. */
export interface Row {
  readonly seq: number;
  readonly ts: number;
  readonly sender: number;
  readonly recipient: number;
  readonly thread: number;
  readonly id: string | null;
  readonly origin: string;
  readonly content: string;
  /** Messages in all, up to one more than were asked for. */
  readonly found: number;
}

/** Parts of a {@linkcode Reading}. */
export interface ReadingOptions {
  readonly reads: Reads;
  readonly directory: Directory;
  /** Position that this node has seen. */
  readonly seen: () => number;
}

/** Answers questions about messages. */
export class Reading {
  readonly #options: ReadingOptions;
  /** Backlogs that are being read, by user and position. */
  readonly #backlogs = new Map<string, Backlog>();
  /** Groups by number, for the names of messages: a number is never given to another. */
  readonly #groupNames = new Map<number, string>();

  constructor(options: ReadingOptions) {
    this.#options = options;
  }

  /** Reads a page as `MessageLog.read` of broker.ts says. */
  async backlog(user: string, after: number, limit: number): Promise<Page> {
    const { reads, seen } = this.#options;
    const known = this.#backlogs.get(`${user} ${after}`);
    if (known) return await this.#nextPage(user, after, known, limit);
    const rows = await reads.ask((sql) =>
      sql`SELECT * FROM backlog_page(${user}, ${after}, ${limit}, ${PAGE_CHARS_MAX}, ${seen()})`
    ) as unknown as (Row & { readonly many: boolean })[];
    const page = await this.page(rows);
    if (page.more && rows[0]!.many) await this.#lookAhead(user, rows.at(-1)!.seq);
    return page;
  }

  /** Finds the next places of the backlog of a user who is in many conversations: to ask each of them for every page takes long. */
  async #lookAhead(user: string, after: number): Promise<void> {
    const { reads, seen } = this.#options;
    const places = await reads.ask((sql) =>
      sql`SELECT thread, seq FROM places(${user}, ${after}, ${PLACES_MAX}, ${seen()})`.values()
    ) as unknown as Place[];
    this.#remember(user, after, { places, until: performance.now() + BACKLOG_MS });
  }

  #remember(user: string, after: number, backlog: Backlog): void {
    if (backlog.places.length === 0 || performance.now() > backlog.until) return;
    for (const oldest of this.#backlogs.keys()) if (this.#backlogs.size >= BACKLOGS_MAX) this.#backlogs.delete(oldest);
    this.#backlogs.set(`${user} ${after}`, backlog);
  }

  /** Makes a page of places that were found before. What was removed since is not in it. */
  async #nextPage(user: string, after: number, { places, until }: Backlog, limit: number): Promise<Page> {
    this.#backlogs.delete(`${user} ${after}`);
    const some = places.slice(0, limit), last = some.at(-1)![1], rest = places.slice(limit);
    const rows = await this.#options.reads.ask((sql) =>
      sql`SELECT m.*, 0::bigint AS found FROM unnest(${ints(some.map(([thread]) => thread))}::int[],
        ${ints(some.map(([, seq]) => seq))}::bigint[]) p(thread, seq)
        JOIN messages m ON m.thread = p.thread AND m.seq = p.seq ORDER BY m.seq`
    ) as unknown as Row[];
    let chars = 0;
    const cut = rows.findIndex(({ content }) => (chars += content.length) - content.length >= PAGE_CHARS_MAX);
    const page = await this.page(cut < 0 ? rows : rows.slice(0, cut));
    if (cut < 0 && rows.at(-1)?.seq === last) this.#remember(user, last, { places: rest, until });
    return { messages: page.messages, more: true };
  }

  /** Makes a page of rows. */
  async page(rows: readonly Row[]): Promise<Page> {
    const { reads, directory } = this.#options;
    await this.#learnGroups(rows);
    const names = await directory.namesOf(reads, rows.flatMap(({ sender, recipient }) => [sender, recipient]));
    const messages = rows.map((row) => this.#stored(row, names));
    return { messages, more: rows.length > 0 && rows[0]!.found > rows.length };
  }

  async #learnGroups(rows: readonly Pick<Row, "recipient" | "thread">[]): Promise<void> {
    const unknown = rows.filter(({ recipient, thread }) => recipient === 0 && !this.#groupNames.has(thread))
      .map(({ thread }) => thread);
    if (unknown.length === 0) return;
    const list = `{${[...new Set(unknown)].join(",")}}`;
    const found = await this.#options.reads.ask((sql) => sql`SELECT id, name FROM threads WHERE id = ANY(${list}::int[])`);
    for (const { id, name } of found) this.#groupNames.set(id, groupName(name));
  }

  #stored({ seq, ts, sender, recipient, thread, id, origin, content }: Row, names: ReadonlyMap<number, string>): Stored {
    const to = recipient === 0 ? this.#groupNames.get(thread) ?? "" : names.get(recipient)!;
    return { sender: names.get(sender)!, recipient: to, content, id: id ?? undefined, origin, seq, ts };
  }

  /** Reads a page as `History.history` of broker.ts says. */
  async history(user: string, { with: other, before, after, limit }: HistoryQuery): Promise<Page | BrokerRefusal> {
    const { reads, seen } = this.#options;
    const forward = after !== undefined && before === undefined;
    const thread = isGroup(other) ? other : directName(user, other);
    const [first, ...rows] = await reads.ask((sql) =>
      sql`SELECT * FROM history(${user}, ${thread}, ${after ?? 0}, ${before ?? HIGHEST}, ${forward}, ${limit},
        ${HISTORY_CHARS_MAX}, ${seen()})`
    );
    if (first!.thread === null) return await this.whyNot(other);
    const page = await this.page(rows as unknown as Row[]);
    return forward ? page : { messages: page.messages.toReversed(), more: page.more };
  }

  /** Returns why a user has no conversation with `other`; an empty one where they have only not begun it. */
  async whyNot(other: string): Promise<Page | BrokerRefusal> {
    const { reads } = this.#options;
    const [found] = await reads.ask((sql) =>
      sql`SELECT EXISTS (SELECT 1 FROM users WHERE name = ${other}) AS is_user,
        EXISTS (SELECT 1 FROM threads WHERE name = ${other} AND owner > 0) AS is_group`
    );
    if (isGroup(other)) return found!.is_group ? notMember(other) : unknownGroup(other);
    return found!.is_user ? { messages: [], more: false } : unknownUser(other);
  }

  /** Lists conversations as `History.conversations` of broker.ts says. */
  async conversations(user: string, limit: number, before?: ConversationCursor): Promise<ConversationPage> {
    const { reads, directory, seen } = this.#options;
    const rows = await reads.ask((sql) =>
      sql`SELECT * FROM conversations(${user}, ${limit}, ${before?.seq ?? null}::bigint, ${
        before?.with ?? ""
      }, ${UNREAD_MAX}, ${seen()})`
    );
    const some = rows.slice(0, limit);
    await this.#learnGroups(some as unknown as Row[]);
    const names = await directory.namesOf(reads, some.flatMap(({ sender, recipient }) => [sender ?? 0, recipient ?? 0]));
    const conversations = some.map((row) => {
      const last = row.seq === null ? undefined : this.#stored(row as unknown as Row, names);
      return { with: row.other as string, last, read: row.read as number, unread: row.unread as number };
    });
    return { conversations, more: rows.length > limit };
  }

  /** Yields markers as `Markers.markers` of broker.ts says. */
  async *markers(user: string, since: number): AsyncGenerator<readonly Marker[]> {
    const rows = await this.#options.reads.ask((sql) => sql`SELECT * FROM markers_since(${user}, ${since})`);
    for (let i = 0; i < rows.length; i += MARKERS_PAGE) yield rows.slice(i, i + MARKERS_PAGE).flatMap(toMarkers);
  }

  /** Returns when users were last connected as `LastSeen.lastSeen` of broker.ts says. */
  async lastSeen(users: readonly string[]): Promise<readonly (number | undefined)[]> {
    const rows = await this.#options.reads.ask((sql) =>
      sql`SELECT u.last_seen FROM unnest(${texts(users)}::text[]) WITH ORDINALITY AS d(name, n)
        LEFT JOIN users u ON u.name = d.name ORDER BY d.n`
    );
    return rows.map(({ last_seen }) => last_seen ?? undefined);
  }
}

function toMarkers({ name, with_, mine, delivered, read, ts }: Record<string, unknown>): Marker[] {
  const marker = { user: name as string, with: with_ as string, ts: ts as number };
  const found: Marker[] = [];
  if (!mine && delivered !== 0) found.push({ ...marker, kind: "delivered", seq: delivered as number });
  if (read !== 0) found.push({ ...marker, kind: "read", seq: read as number });
  return found;
}
