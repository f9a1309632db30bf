/**
 * Search: the newest messages are looked at themselves, and what lies below them is found by an index of words.
 *
 * The index is built behind the appends by one node at a time, in small steps with pauses. What it does not have yet is looked
 * at, so that nothing is missed.
 */

import type { BrokerRefusal, Found, SearchQuery } from "../../broker.ts";
import { isGroup } from "../names.ts";
import { isFound, parseQuery, type Sought, wordsOf } from "../search_rules.ts";
import { directName } from "./directory.ts";
import type { Kind, Lane } from "./lane.ts";
import { ints, texts } from "./link.ts";
import type { Reading, Row } from "./reading.ts";
import type { Reads } from "./reads.ts";
import { MARK } from "./search_schema.ts";

/** Messages that one step adds to the index: some milliseconds. */
const INDEX_STEP = 256;
/** Milliseconds between two looks whether there is something to index. */
const INDEX_LOOK_MS = 250;
/** Milliseconds until a node looks again whose turn it is, where it is another's. */
const INDEX_TURN_MS = 5_000;
/** Pauses between two steps, as many times as long as the step: while messages are appended, and while none are. */
const BUSY_PAUSE = 9, CALM_PAUSE = 1;
/** Messages that one search looks at which are not in the index, and at once. */
const LOOKED_AT_MAX = 5_000, SEARCH_STEP = 500;
/** Characters of what is found: what one answer has at most. */
const FOUND_CHARS_MAX = 262_144;
/** Number that no conversation has. */
const NO_THREAD = -1;
/** Above every position. */
const HIGHEST = Number.MAX_SAFE_INTEGER;

/** Result of one step of indexing. */
interface Step {
  /** Position up to which the index has everything. */
  readonly indexed: number;
  /** True where this node is the one that indexes. */
  readonly isMine: boolean;
}

/** Parts of a {@linkcode Search}. */
export interface SearchOptions {
  readonly reads: Reads;
  readonly reading: Reading;
  readonly lane: Lane;
  /** Identity of this process. */
  readonly node: string;
  /** Position that this node has seen. */
  readonly seen: () => number;
}

/** Searches, and the part of this node in building the index. */
export class Search {
  readonly #options: SearchOptions;
  readonly #step: Kind<undefined, Step>;
  #indexed = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #stopped = false;

  constructor(options: SearchOptions) {
    this.#options = options;
    this.#step = { most: 1, run: async (sql) => [await this.#index(sql)] };
  }

  // ---- The index ----

  /** Begins to index. */
  start(): void {
    this.#in(INDEX_LOOK_MS);
  }

  /** Ends that. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  #in(ms: number): void {
    if (!this.#stopped) this.#timer = setTimeout(() => void this.#look(), ms);
  }

  async #look(): Promise<void> {
    const before = this.#options.seen(), begun = performance.now();
    if (before <= this.#indexed) return this.#in(INDEX_LOOK_MS);
    try {
      const { indexed, isMine } = await this.#options.lane.call(this.#step, undefined);
      this.#indexed = indexed;
      const { seen } = this.#options, pauses = seen() > before ? BUSY_PAUSE : CALM_PAUSE;
      this.#in(!isMine ? INDEX_TURN_MS : indexed < seen() ? (performance.now() - begun) * pauses : INDEX_LOOK_MS);
    } catch {
      this.#in(INDEX_TURN_MS); // the lane has reported it
    }
  }

  async #index(sql: Parameters<Kind<undefined, Step>["run"]>[0]): Promise<Step> {
    const { node } = this.#options;
    const [first, ...rows] = await sql`SELECT seq, thread, content FROM unindexed(${node}, ${INDEX_STEP})`
      .values() as unknown as [
        number,
        number,
        string,
      ][];
    const [from, isMine, horizon] = first!;
    if (isMine === 0) return { indexed: from, isMine: false };
    const upTo = rows.length < INDEX_STEP ? Math.max(from, Number(horizon)) : rows.at(-1)![0];
    if (upTo === from) return { indexed: from, isMine: true };
    const words = rows.map(([, thread, content]) => wordsOf(content).map((word) => `${thread}${MARK}${word}`).join(" "));
    const [row] = await sql`SELECT index_words(${node}, ${from}, ${upTo}, ${ints(rows.map(([seq]) => seq))}::bigint[],
      ${texts(words)}::text[]) AS done`;
    return { indexed: row!.done ? upTo : from, isMine: true };
  }

  // ---- Searching ----

  /** Searches as `Search.search` of broker.ts says. */
  async search(user: string, { query, with: other, before, limit }: SearchQuery): Promise<Found | BrokerRefusal> {
    const sought = parseQuery(query);
    if ("code" in sought) return sought;
    const thread = other === undefined ? 0 : await this.#thread(user, other);
    if (typeof thread !== "number") return thread;
    const page = new FoundPage(sought, limit);
    let below = before ?? HIGHEST, head = 0;
    for (let looked = 0; looked < LOOKED_AT_MAX; looked += SEARCH_STEP) {
      const [top, ...rows] = await this.#newest(user, thread, below);
      head ||= top!.seq;
      if (page.take(rows)) return await this.#found(page, page.last, head);
      if (rows.length < SEARCH_STEP) return await this.#found(page, undefined, head);
      below = rows.at(-1)!.seq;
      if (await this.#isIndexed(below)) {
        const most = limit - page.rows.length + 1, rows = await this.#withWords(user, thread, sought, below, most);
        const isFull = page.take(rows);
        return await this.#found(page, isFull || rows.length >= most ? page.last : undefined, head);
      }
    }
    return await this.#found(page, below, head);
  }

  /** Returns the number of a conversation of a user, or why there is none. */
  async #thread(user: string, other: string): Promise<number | BrokerRefusal> {
    const { reads, reading } = this.#options;
    const [first] = await reads.ask((sql) =>
      sql`SELECT thread FROM history(${user}, ${isGroup(other) ? other : directName(user, other)}, 0, 0, true, 1, 1, 0)`
    );
    if (first!.thread !== null) return first!.thread;
    const why = await reading.whyNot(other);
    return "code" in why ? why : NO_THREAD;
  }

  async #newest(user: string, thread: number, below: number): Promise<Row[]> {
    const { reads, seen } = this.#options;
    return await reads.ask((sql) =>
      sql`SELECT * FROM newest(${user}, ${thread}, ${below}, ${SEARCH_STEP}, ${seen()})`
    ) as unknown as Row[];
  }

  async #isIndexed(below: number): Promise<boolean> {
    if (below > this.#indexed + 1) {
      const [row] = await this.#options.reads.ask((sql) => sql`SELECT indexed FROM indexing`);
      this.#indexed = Math.max(this.#indexed, row!.indexed);
    }
    return below <= this.#indexed + 1;
  }

  async #withWords(user: string, thread: number, { words }: Sought, below: number, most: number): Promise<Row[]> {
    return await this.#options.reads.ask((sql) =>
      sql`SELECT * FROM with_words(${user}, ${thread}, ${texts(words)}::text[],
        ${`{${words.map((word) => word.length === 1)}}`}::boolean[], ${below}, ${most})`
    ) as unknown as Row[];
  }

  async #found({ rows }: FoundPage, before: number | undefined, indexed: number): Promise<Found> {
    const { messages } = await this.#options.reading.page(rows.toReversed());
    return { messages, before, indexed };
  }
}

/** The messages that are found, newest first. */
class FoundPage {
  readonly rows: Row[] = [];
  /** Position of the last one that was looked at. */
  last: number | undefined;
  readonly #sought: Sought;
  readonly #limit: number;
  #chars = 0;

  constructor(sought: Sought, limit: number) {
    this.#sought = sought;
    this.#limit = limit;
  }

  /** Looks at messages; true when the page is full. */
  take(rows: readonly Row[]): boolean {
    for (const row of rows) {
      this.last = row.seq;
      if (!isFound(row.content, this.#sought)) continue;
      this.rows.push(row);
      this.#chars += row.content.length;
      if (this.rows.length === this.#limit || this.#chars > FOUND_CHARS_MAX) return true;
    }
    return false;
  }
}
