/** The log as a whole, in PostgreSQL: read up to the horizon, followed by one node per name, which a lease says. */

import type { Cursor, Feed, FeedDesk, FeedPage, GroupEvent, Stored, Subscription } from "../../broker.ts";
import { FEED_CHARS_MAX } from "../limits.ts";
import { isGroup } from "../names.ts";
import { directName, groupName } from "./directory.ts";
import { Connector, ints, Link, texts } from "./link.ts";
import type { Reads } from "./reads.ts";
import { migrate } from "./schema.ts";
import { type AddressOptions, checkSchema, DEFAULT_SCHEMA, describe, readSettings } from "./settings.ts";
import { BrokerError, reasonOf } from "../errors.ts";

interface Row {
  readonly seq: number;
  readonly ts: number;
  readonly sender: string;
  readonly recipient: string;
  readonly id: string | null;
  readonly origin: string;
  readonly content: string;
  /** Messages that there were to read, up to those asked for. */
  readonly total: number;
}

interface ChangeRow {
  readonly seq: number;
  readonly ts: number;
  readonly name: string;
  readonly op: GroupEvent["op"];
  readonly usr: string;
  readonly by_usr: string;
  readonly owner: string;
  readonly members: number;
}

/** Parts of a {@linkcode PostgresFeed}. */
export interface FeedOptions {
  /** Questions, and writes of places: each stands alone and may be made twice, and none holds up a message. */
  readonly reads: Reads;
  /** Identity of this process. */
  readonly node: string;
  /** Milliseconds since 1970; undefined for PostgreSQL's clock. */
  readonly now: (() => number) | undefined;
}

/** The feed of one node. */
export class PostgresFeed implements Feed {
  readonly #options: FeedOptions;
  readonly #watchers = new Set<() => void>();

  constructor(options: FeedOptions) {
    this.#options = options;
  }

  /** Tells those who watch that something was added. */
  notify(): void {
    for (const changed of this.#watchers) changed();
  }

  async ends(): Promise<{ readonly message: number; readonly change: number }> {
    const [row] = await this.#options.reads.ask((sql) => sql`SELECT horizon() AS horizon`);
    return { message: row!.horizon, change: row!.horizon };
  }

  async messages(after: number, limit: number): Promise<FeedPage<Stored>> {
    const rows = await this.#options.reads.ask((sql) =>
      sql`SELECT * FROM feed_messages(${after}, ${limit}, ${FEED_CHARS_MAX})`
    ) as unknown as Row[];
    const [{ seq: horizon, ts: now, total: removed }, ...found] = rows as [Row, ...Row[]];
    const items = found.map(({ seq, ts, sender, recipient, id, origin, content }) => ({
      sender,
      recipient: isGroup(recipient) || recipient.startsWith(" ") ? groupName(recipient) : recipient,
      content,
      id: id ?? undefined,
      origin,
      seq,
      ts,
    }));
    const isCut = items.length === limit || items.length < (found[0]?.total ?? 0);
    return { items, upTo: isCut ? items.at(-1)!.seq : Math.max(after, horizon), removed, now: this.#options.now?.() ?? now };
  }

  async changes(after: number, limit: number): Promise<FeedPage<GroupEvent>> {
    const rows = await this.#options.reads.ask((sql) => sql`SELECT * FROM feed_changes(${after}, ${limit})`);
    const [{ seq: horizon, ts: now, members: removed }, ...found] = rows as unknown as [ChangeRow, ...ChangeRow[]];
    const items = found.map(({ seq, ts, name, op, usr, by_usr, owner, members }): GroupEvent => {
      return { number: seq, ts, group: groupName(name), op, user: usr, by: by_usr, owner, members };
    });
    const upTo = items.length === limit ? items.at(-1)!.number : Math.max(after, horizon);
    return { items, upTo, removed, now: this.#options.now?.() ?? now };
  }

  async undelivered(messages: readonly Stored[]): Promise<readonly (readonly string[])[]> {
    const all: string[][] = messages.map(() => []);
    if (messages.length === 0) return all;
    const threads = messages.map(({ sender, recipient }) => isGroup(recipient) ? recipient : directName(sender, recipient));
    const rows = await this.#options.reads.ask((sql) =>
      sql`SELECT n, name FROM feed_undelivered(${ints(messages.map(({ seq }) => seq))}::bigint[],
        ${texts(messages.map(({ sender }) => sender))}::text[], ${texts(threads)}::text[])`
    );
    for (const { n, name } of rows) all[n - 1]!.push(name);
    return all;
  }

  async claim(name: string, ms: number): Promise<Cursor | undefined> {
    const { reads, node } = this.#options;
    const [row] = await reads.ask((sql) =>
      sql`INSERT INTO cursors AS c (name, holder, held_until) VALUES (${name}, ${node}, clock_timestamp() + ${ms} * interval '1 ms')
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, held_until = excluded.held_until
          WHERE c.holder = excluded.holder OR c.holder IS NULL OR c.held_until < clock_timestamp()
        RETURNING state, wish`
    );
    return row && { state: row.state, wish: row.wish ?? undefined };
  }

  async save(name: string, state: string, carriedOut = ""): Promise<boolean> {
    const { reads, node } = this.#options;
    const rows = await reads.ask((sql) =>
      sql`UPDATE cursors SET state = ${state}, wish = nullif(wish, ${carriedOut}) WHERE name = ${name} AND holder = ${node} RETURNING 1`
    );
    return rows.length > 0;
  }

  async release(name: string): Promise<void> {
    const { reads, node } = this.#options;
    await reads.ask((sql) => sql`UPDATE cursors SET holder = NULL WHERE name = ${name} AND holder = ${node}`);
  }

  watch(changed: () => void): Subscription {
    this.#watchers.add(changed);
    return { close: () => void this.#watchers.delete(changed) };
  }
}

/** Opens the followers of an installation, for the commands of an operator. Throws {@linkcode BrokerError}. */
export async function openPostgresFeedDesk(
  options: AddressOptions & { readonly schema?: string | undefined },
): Promise<FeedDesk> {
  const settings = readSettings(options), schema = checkSchema(options.schema ?? DEFAULT_SCHEMA);
  const link = new Link(new Connector(settings, schema, "webhook"), { max: 1 });
  try {
    const sql = await link.once();
    await migrate(sql, schema);
    return {
      async list() {
        const rows = await sql`SELECT name, state, wish FROM cursors ORDER BY name`;
        return rows.map(({ name, state, wish }) => ({ name, state, wish: wish ?? undefined }));
      },
      wish: async (name, wish) => (await sql`UPDATE cursors SET wish = ${wish} WHERE name = ${name} RETURNING 1`).length > 0,
      async positionAt(ts) {
        const [row] = await sql`SELECT max(seq) AS seq FROM ticks WHERE ts <= ${ts}`;
        return row!.seq ?? 0;
      },
      [Symbol.asyncDispose]: () => link.close(),
    };
  } catch (error) {
    await link.close();
    throw error instanceof BrokerError ? error : new BrokerError(`Cannot reach ${describe(settings)}: ${reasonOf(error)}`);
  }
}
