/** Names and their numbers. A user's number never changes, and neither does that of a direct conversation. */

import { ints, type Sql, texts } from "./link.ts";
import type { Reads } from "./reads.ts";

/** Names that are remembered: past it everything is forgotten and read again. */
const ENTRIES_MAX = 400_000;

/** Memory of names. */
export class Directory {
  readonly #ids = new Map<string, number>();
  readonly #names = new Map<number, string>();
  /** Direct conversations by both names, the lower one first: a name made of both would be made for every message. */
  readonly #direct = new Map<string, Map<string, number>>();
  #directs = 0;
  #clearings = 0;
  /** Groups by name: their numbers change when one ends and another begins. */
  readonly #groups = new Map<string, number>();

  /** Returns a user's number, where it is remembered. */
  userId(name: string): number | undefined {
    return this.#ids.get(name);
  }

  /** Returns the number of a direct conversation, where it is remembered. */
  directId(one: string, two: string): number | undefined {
    return one < two ? this.#direct.get(one)?.get(two) : this.#direct.get(two)?.get(one);
  }

  /** Number of times that everything was cleared: an answer that was asked for before the last time may be of another log. */
  get clearings(): number {
    return this.#clearings;
  }

  /**
   * Takes the number of a direct conversation that was seen, unless much is remembered already, or everything was cleared since it
   * was asked for: messages are written by it.
   */
  learnDirect(one: string, two: string, id: number, clearings: number): void {
    if (clearings !== this.#clearings) return;
    if (this.#ids.size + this.#directs < ENTRIES_MAX) this.#rememberDirect(one, two, id);
  }

  #rememberDirect(one: string, two: string, id: number): void {
    const [low, high] = one < two ? [one, two] : [two, one];
    let others = this.#direct.get(low);
    if (!others) this.#direct.set(low, others = new Map());
    if (!others.has(high)) this.#directs++;
    others.set(high, id);
  }

  /** Returns the number that a group had when it was asked for last. */
  groupId(name: string): number | undefined {
    return this.#groups.get(name);
  }

  /** Clears a group: it may have ended. */
  forgetGroup(name: string): void {
    this.#groups.delete(name);
  }

  /** Clears everything: the log may be another one. */
  clear(): void {
    for (const map of [this.#ids, this.#names, this.#direct, this.#groups]) map.clear();
    this.#directs = 0;
    this.#clearings++;
  }

  /** Clears everything where it has become too much. Not in the middle of something that has asked already. */
  trim(): void {
    if (this.#ids.size + this.#directs > ENTRIES_MAX) this.clear();
  }

  #remember(id: number, name: string): void {
    this.#ids.set(name, id);
    this.#names.set(id, name);
  }

  /** Learns the numbers of users, who are made where they are unknown. */
  async know(sql: Sql, names: Iterable<string>): Promise<void> {
    const unknown = [...new Set(names)].filter((name) => !this.#ids.has(name));
    if (unknown.length === 0) return;
    for (const { id, name } of await sql`SELECT id, name FROM know(${texts(unknown)}::text[])`) this.#remember(id, name);
  }

  /** Learns the numbers of users where there are such users. */
  async find(sql: Sql, names: Iterable<string>): Promise<void> {
    await this.idsOf(sql, names);
  }

  /** Returns the numbers of users where there are such users. A map of its own: what is remembered may be cleared meanwhile. */
  async idsOf(sql: Sql, names: Iterable<string>): Promise<ReadonlyMap<string, number>> {
    const ids = new Map<string, number>(), unknown: string[] = [];
    for (const name of new Set(names)) {
      const id = this.#ids.get(name);
      if (id !== undefined) ids.set(name, id);
      else unknown.push(name);
    }
    if (unknown.length === 0) return ids;
    const clearings = this.#clearings;
    for (const { id, name } of await sql`SELECT id, name FROM users WHERE name = ANY(${texts(unknown)}::text[])`) {
      if (clearings === this.#clearings) this.#remember(id, name);
      ids.set(name, id);
    }
    return ids;
  }

  /** Returns the names of users by number. A map of its own: what is remembered may be cleared while it is in use. */
  async namesOf(reads: Reads, ids: Iterable<number>): Promise<ReadonlyMap<number, string>> {
    const names = new Map<number, string>(), unknown: number[] = [];
    for (const id of new Set(ids)) {
      const name = this.#names.get(id);
      if (name !== undefined) names.set(id, name);
      else if (id !== 0) unknown.push(id);
    }
    if (unknown.length === 0) return names;
    const clearings = this.#clearings;
    const rows = await reads.ask((sql) => sql`SELECT id, name FROM users WHERE id = ANY(${ints(unknown)}::int[])`);
    for (const { id, name } of rows) {
      if (clearings === this.#clearings) this.#remember(id, name);
      names.set(id, name);
    }
    return names;
  }

  /** Learns the numbers of direct conversations, which are begun where there are none. The users are known. */
  async converse(sql: Sql, pairs: readonly (readonly [string, string])[]): Promise<void> {
    const unknown = new Map<string, readonly [number, number]>();
    for (const [one, two] of pairs) {
      if (this.directId(one, two) === undefined) unknown.set(directName(one, two), [this.#ids.get(one)!, this.#ids.get(two)!]);
    }
    if (unknown.size === 0) return;
    const ones = ints([...unknown.values()].map(([one]) => one)), twos = ints([...unknown.values()].map(([, two]) => two));
    const rows = await sql`SELECT id, name
      FROM converse(${texts([...unknown.keys()])}::text[], ${ones}::int[], ${twos}::int[])`;
    for (const { id, name } of rows) {
      const [one, two] = (name as string).split(" ") as [string, string];
      this.#rememberDirect(one, two, id);
    }
  }

  /** Learns the numbers that groups have now; those without are forgotten. */
  async findGroups(sql: Sql, names: Iterable<string>): Promise<void> {
    const wanted = [...new Set(names)];
    for (const name of wanted) this.#groups.delete(name);
    if (wanted.length === 0) return;
    const rows = await sql`SELECT id, name FROM threads WHERE name = ANY(${texts(wanted)}::text[]) AND owner > 0`;
    for (const { id, name } of rows) this.#groups.set(name, id);
  }
}

/** Returns the name of a group by the one that it is kept by: that of a group which has ended has its number before it. */
export function groupName(kept: string): string {
  return kept.slice(kept.lastIndexOf(" ") + 1);
}

/** Returns the name of a direct conversation: both names, sorted, a space between. Names have none. */
export function directName(one: string, two: string): string {
  return one < two ? `${one} ${two}` : `${two} ${one}`;
}
