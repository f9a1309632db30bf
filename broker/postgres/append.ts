/** Appending: names become numbers, what cannot be stored is refused, and one call of the schema's function stores the rest. */

import type { Appended, BrokerRefusal, Draft } from "../../broker.ts";
import { isGroup } from "../names.ts";
import { hasNul, idConflict, notMember, unknownGroup, unknownRecipient } from "../refusals.ts";
import { directName, type Directory, groupName } from "./directory.ts";
import type { Kind } from "./lane.ts";
import { Unavailable } from "./lane.ts";
import { ints, type Sql, texts } from "./link.ts";
import type { Mailboxes } from "./mailboxes.ts";

/** Drafts of one transaction: the answer has to fit into a socket's buffer, or a stopped node would keep its locks. */
const DRAFTS_MAX = 1_000;

/** Number that no conversation has. */
const NO_THREAD = -1;

/** A draft that may be stored, with its numbers. */
interface Row {
  readonly draft: Draft;
  /** Its place among the drafts of the call. */
  readonly index: number;
  readonly sender: number;
  /** 0 for a group. */
  readonly recipient: number;
  readonly thread: number;
}

/** Answer of the function about one draft, where not all were stored. */
type Odd = readonly [isMember: boolean, seq: number | null, ts: number | null, isSame: boolean | null, name: string | null];

/** A message that has the id of a draft; `isSame`: it says the same to the same. */
interface Known {
  readonly seq: number;
  readonly ts: number;
  readonly isSame: boolean;
}

/** Parts of an {@linkcode Appending}. */
export interface AppendingOptions {
  readonly directory: Directory;
  readonly mailboxes: Mailboxes;
  /** Milliseconds since 1970 that messages get; undefined for PostgreSQL's clock. */
  readonly now: (() => number) | undefined;
  /** Returns and clears what the server has warned of since the last call: a commit that is on no standby, above all. */
  readonly warning: () => string | undefined;
}

/**
 * Returns why PostgreSQL cannot keep a draft, whose texts have no U+0000 there; undefined for all others. What comes from clients and
 * backends is refused before it is a draft.
 */
export function whyUnkept({ content, id, origin }: Draft): BrokerRefusal | undefined {
  if (content.includes("\0")) return hasNul("content");
  if (id?.includes("\0")) return hasNul("id");
  return origin.includes("\0") ? hasNul("origin") : undefined;
}

/** The kind of call that appends. */
export class Appending implements Kind<readonly Draft[], readonly Appended[]> {
  readonly most = 1_000;
  readonly #options: AppendingOptions;

  constructor(options: AppendingOptions) {
    this.#options = options;
  }

  async run(sql: Sql, calls: readonly (readonly Draft[])[]): Promise<readonly (readonly Appended[])[]> {
    this.#options.directory.trim();
    const drafts = calls.length === 1 ? calls[0]! : calls.flat();
    const results = new Array<Appended>(drafts.length);
    for (let start = 0; start < drafts.length; start += DRAFTS_MAX) {
      await this.#append(sql, drafts.slice(start, start + DRAFTS_MAX), start, results);
    }
    if (calls.length === 1) return [results];
    let start = 0;
    return calls.map(({ length }) => results.slice(start, start += length));
  }

  async #append(sql: Sql, drafts: readonly Draft[], start: number, results: Appended[]): Promise<void> {
    await this.#name(sql, drafts);
    await this.#begin(sql, drafts, start, results);
    const rows: Row[] = [], nameless: { draft: Draft; index: number; sender: number }[] = [];
    for (let i = 0; i < drafts.length; i++) {
      const draft = drafts[i]!, index = start + i;
      if (results[index]) continue; // refused before its conversation began
      const row = this.#row(draft, index);
      if (!("code" in row)) {
        rows.push(row);
        continue;
      }
      results[index] = row;
      if (draft.id !== undefined) nameless.push({ draft, index, sender: this.#options.directory.userId(draft.sender)! });
    }
    const fitting = await this.#fit(sql, rows, results);
    const refused = await this.#store(sql, fitting, results);
    if (refused.length > 0) await this.#again(sql, refused, results);
    // An id may be known from before its group ended: that comes before a recipient who is not.
    for (const [{ draft, index }, { seq, ts, isSame }] of await this.#lookUp(sql, nameless)) {
      const isLater = rows.some((row) => row.index > index && seqOf(results[row.index]) === seq);
      if (!isLater) results[index] = isSame ? { seq, ts, duplicate: true } : idConflict(draft.id!);
    }
  }

  /** Learns every number that the drafts need. */
  async #name(sql: Sql, drafts: readonly Draft[]): Promise<void> {
    const { directory } = this.#options;
    await directory.know(sql, drafts.map(({ sender }) => sender));
    await directory.find(sql, drafts.map(({ recipient }) => recipient).filter((name) => !isGroup(name)));
    const groups = drafts.map(({ recipient }) => recipient).filter((name) => isGroup(name) && !directory.groupId(name));
    if (groups.length > 0) await directory.findGroups(sql, groups);
  }

  /** Begins the conversations that the drafts need; none for a draft whose id is taken, or that no mailbox has room for. */
  async #begin(sql: Sql, drafts: readonly Draft[], start: number, results: Appended[]): Promise<void> {
    const { directory, mailboxes } = this.#options;
    const firsts: Row[] = [];
    for (const [i, draft] of drafts.entries()) {
      const { sender: from, recipient: to } = draft, recipient = directory.userId(to);
      if (recipient === undefined || isGroup(to) || directory.directId(from, to) !== undefined) continue;
      firsts.push({ draft, index: start + i, sender: directory.userId(from)!, recipient, thread: NO_THREAD });
    }
    if (firsts.length === 0) return;
    const known = new Map<string, number>(); // it may have begun on another node, or before this one was started
    const names = firsts.map(({ draft }) => directName(draft.sender, draft.recipient));
    for (const { id, name } of await sql`SELECT id, name FROM threads WHERE name = ANY(${texts(names)}::text[])`) {
      known.set(name, id);
    }
    const news = firsts.filter((_, i) => !known.has(names[i]!));
    const withId = news.filter(({ draft }) => draft.id !== undefined);
    await this.#free(sql, withId);
    // Another node may have begun the conversation since, with this very message: the function answers that.
    const taken = await this.#lookUp(sql, withId);
    for (const [{ index, draft }, { isSame }] of taken) if (!isSame) results[index] = idConflict(draft.id!);
    const others = news.filter((row) => row.recipient !== row.sender && !taken.has(row));
    await mailboxes.count(sql, new Map(others.map(({ recipient }) => [recipient, 1])));
    for (const { index, recipient, draft } of others) {
      const full = mailboxes.whyFull(recipient, NO_THREAD, draft.recipient, []);
      if (full) results[index] ??= full;
    }
    const begun = firsts.filter(({ index }) => !results[index]);
    await directory.converse(sql, begun.map(({ draft }) => [draft.sender, draft.recipient] as const));
  }

  /** Removes messages that have ids of these drafts in groups that have ended, where no device is due any of it. */
  async #free(sql: Sql, rows: readonly Pick<Row, "sender" | "draft">[]): Promise<number> {
    if (rows.length === 0) return 0;
    const { count } = await sql`DELETE FROM messages m USING threads t,
        unnest(${ints(rows.map(({ sender }) => sender))}::int[], ${texts(rows.map(({ draft }) => draft.id))}::text[]) d(s, id)
      WHERE m.sender = d.s AND m.id = d.id AND t.id = m.thread AND t.owner = -1
        AND NOT EXISTS (SELECT 1 FROM ended e WHERE e.thread = t.id)`;
    return count;
  }

  #row(draft: Draft, index: number): Row | Extract<Appended, { code: unknown }> {
    const { directory } = this.#options, { sender: from, recipient: to } = draft;
    const sender = directory.userId(from)!;
    if (isGroup(to)) {
      const thread = directory.groupId(to);
      return thread === undefined ? unknownGroup(to) : { draft, index, sender, recipient: 0, thread };
    }
    const recipient = directory.userId(to);
    if (recipient === undefined) return unknownRecipient(to);
    return { draft, index, sender, recipient, thread: directory.directId(from, to)! };
  }

  /** Refuses what no mailbox has room for; what was stored before is answered as that. */
  async #fit(sql: Sql, rows: readonly Row[], results: Appended[]): Promise<readonly Row[]> {
    const { mailboxes } = this.#options;
    const direct = rows.filter(({ recipient, sender }) => recipient !== 0 && recipient !== sender);
    const wanted = new Map<number, number>();
    for (const { recipient } of direct) wanted.set(recipient, (wanted.get(recipient) ?? 0) + 1);
    await mailboxes.count(sql, wanted);
    const tight = new Set([...wanted].filter(([user, number]) => mailboxes.isTight(user, number)).map(([user]) => user));
    if (tight.size === 0) return rows;
    const found = await this.#lookUp(
      sql,
      direct.filter(({ recipient, draft }) => tight.has(recipient) && draft.id !== undefined),
    );
    const known = new Set([...found.keys()].map(({ sender, draft }) => `${sender} ${draft.id}`));
    const added = new Map<number, number[]>();
    return rows.filter((row) => {
      const { sender, recipient, thread, draft: { id }, index } = row;
      if (!tight.has(recipient) || recipient === sender) return true;
      const key = `${sender} ${id}`;
      if (id !== undefined && known.has(key)) return true; // the function answers it
      const before = added.get(recipient) ?? [];
      const full = mailboxes.whyFull(recipient, thread, row.draft.recipient, before);
      if (full) {
        results[index] = full;
        return false;
      }
      added.set(recipient, [...before, thread]);
      if (id !== undefined) known.add(key);
      return true;
    });
  }

  /** Returns those of some rows whose ids are stored, with what has them. */
  async #lookUp<R extends Pick<Row, "sender" | "draft">>(sql: Sql, rows: readonly R[]): Promise<Map<R, Known>> {
    if (rows.length === 0) return new Map();
    const found = await sql`SELECT n, seq, ts, name, is_same FROM lookup(${ints(rows.map(({ sender }) => sender))}::int[],
      ${texts(rows.map(({ draft }) => draft.id))}::text[], ${texts(rows.map(({ draft }) => draft.content))}::text[])`;
    return new Map(found.map(({ n, seq, ts, name, is_same }): [R, Known] => {
      const row = rows[n - 1]!;
      return [row, { seq, ts, isSame: is_same && isTo(row.draft, name) }];
    }));
  }

  /** Stores rows; returns those of groups that their senders are not in. */
  async #store(sql: Sql, rows: readonly Row[], results: Appended[]): Promise<readonly Row[]> {
    if (rows.length === 0) return [];
    const { now, warning } = this.#options;
    warning();
    const [answer] = await sql`SELECT ts, seqs, odd FROM append(
      ${ints(rows.map(({ sender }) => sender))}::int[], ${ints(rows.map(({ recipient }) => recipient))}::int[],
      ${ints(rows.map(({ thread }) => thread))}::int[], ${texts(rows.map(({ draft }) => draft.content))}::text[],
      ${texts(rows.map(({ draft }) => draft.id))}::text[], ${texts(rows.map(({ draft }) => draft.origin))}::text[],
      ${now ? now() : null}::bigint)`;
    const warned = warning();
    if (warned !== undefined) throw new Unavailable(warned);
    const ts = answer!.ts as number;
    const seqs = answer!.seqs ? (answer!.seqs as string).split(",").map(Number) : [];
    if (answer!.odd) {
      const odd = JSON.parse(answer!.odd) as Odd[];
      const refused = this.#settleOdd(rows, odd, seqs, ts, results);
      const ended = rows.filter(({ index }, i) => odd[i]![4]?.startsWith(" ") && "code" in (results[index] ?? {}));
      // Their ids may be free by now.
      if (await this.#free(sql, ended) > 0) return [...refused, ...await this.#store(sql, ended, results)];
      return refused;
    }
    for (let i = 0; i < rows.length; i++) this.#stored(rows[i]!, seqs[i]!, ts, results);
    return [];
  }

  #settleOdd(rows: readonly Row[], odd: readonly Odd[], seqs: readonly number[], ts: number, results: Appended[]): Row[] {
    const refused: Row[] = [];
    let next = 0;
    for (const [i, row] of rows.entries()) {
      const [isMember, seq, storedTs, isSame, name] = odd[i]!, { id } = row.draft;
      if (isMember && next < seqs.length && (id === undefined || seq === seqs[next])) {
        this.#stored(row, seqs[next++]!, ts, results);
      } else if (seq !== null && !(next < seqs.length && seq >= seqs[next]! && seq <= seqs.at(-1)!)) {
        // Not of a later draft of this call, which took the id that this one was refused with.
        results[row.index] = isSame && isTo(row.draft, name!) ? { seq, ts: storedTs!, duplicate: true } : idConflict(id!);
      } else {
        refused.push(row);
      }
    }
    return refused;
  }

  #stored({ index, sender, recipient, thread }: Row, seq: number, ts: number, results: Appended[]): void {
    results[index] = { seq, ts, duplicate: false };
    if (recipient !== 0 && recipient !== sender) this.#options.mailboxes.add(recipient, thread, seq);
  }

  /** A group may have ended, and begun again under another number, since its name was looked up. */
  async #again(sql: Sql, refused: readonly Row[], results: Appended[]): Promise<void> {
    const { directory } = this.#options;
    await directory.findGroups(sql, refused.map(({ draft }) => draft.recipient));
    const others: Row[] = [];
    for (const row of refused) {
      const { recipient } = row.draft, thread = directory.groupId(recipient);
      if (thread === undefined) results[row.index] = unknownGroup(recipient);
      else if (thread === row.thread) results[row.index] = notMember(recipient);
      else others.push({ ...row, thread });
    }
    for (const { index, draft } of await this.#store(sql, others, results)) results[index] = notMember(draft.recipient);
  }
}

/** Returns the position that a draft got by this call; undefined for a refusal and for what was stored before. */
function seqOf(result: Appended | undefined): number | undefined {
  return result && "seq" in result && !result.duplicate ? result.seq : undefined;
}

/** Returns whether a draft goes where a message was kept, by the name of that conversation. */
function isTo({ sender, recipient }: Draft, kept: string): boolean {
  return isGroup(recipient) ? groupName(kept) === recipient : kept === directName(sender, recipient);
}
