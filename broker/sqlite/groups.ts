/** Groups in the database: carries out what the rules of broker/group_rules.ts decide. */

import type { BrokerRefusal, GroupAnswer, GroupInfo, GroupRequest } from "../../broker.ts";
import { decideGroup, type GroupChange, type GroupFacts } from "../group_rules.ts";
import { type BrokerLimits, GROUPS_LISTED_MAX } from "../limits.ts";
import { type Database, endedName, type Row } from "./database.ts";
import type { Ended } from "./ended.ts";
import type { Memberships } from "./memberships.ts";
import { finish, type Steps } from "./steps.ts";

/** Groups of which the members are counted in a step: half a millisecond, if they are large. */
const LIST_STEP = 16;

/** Groups of one database. */
export class Groups {
  readonly #db: Database;
  readonly #memberships: Memberships;
  readonly #ended: Ended;
  readonly #limits: BrokerLimits;

  constructor(db: Database, memberships: Memberships, ended: Ended, limits: BrokerLimits) {
    this.#db = db;
    this.#memberships = memberships;
    this.#ended = ended;
    this.#limits = limits;
  }

  /** Returns the members of a group by name, in the order of joining; nobody where there is no such group. */
  members(group: string): string[] {
    const thread = this.#db.thread(group);
    return Array.from(thread?.members ?? [], (id) => this.#db.userName(id));
  }

  /** Answers a request as `Groups.group` of broker.ts says. */
  answer(request: GroupRequest): GroupAnswer | BrokerRefusal {
    if (request.op === "list") return finish(this.list(request.user, request.after));
    this.#db.addUser(request.user);
    const decision = decideGroup(request, this.#facts(request.group), this.#limits);
    return "code" in decision ? decision : this.#carryOut(decision, request.group);
  }

  #facts(name: string): GroupFacts {
    const row = this.#db.get("SELECT owner, open FROM threads WHERE name = ?", name);
    return {
      group: row && this.#group(name, row.owner as number, row.open === 1),
      isKnown: (user) => this.#db.userId(user) !== undefined,
      groupsOf: (user) => {
        const sql = "SELECT count(*) AS n FROM members WHERE user = ? AND other = 0 AND inviter = 0";
        return this.#db.get(sql, this.#db.userId(user) ?? 0)!.n as number;
      },
      invitationsOf: (user, inviter) => {
        const sql = "SELECT inviter = ? AS own, count(*) AS n FROM members WHERE user = ? AND inviter > 0 GROUP BY own";
        const rows = this.#db.all(sql, this.#db.userId(inviter)!, this.#db.userId(user)!);
        const countOf = (own: number) => rows.find((row) => row.own === own)?.n as number ?? 0;
        return { byInviter: countOf(1), byOthers: countOf(0) };
      },
      hasDeclined: (user, inviter) => {
        const sql = "SELECT 1 AS one FROM declined WHERE user = ? AND inviter = ? AND name = ?";
        return this.#db.get(sql, this.#db.userId(user)!, this.#db.userId(inviter)!, name) !== undefined;
      },
    };
  }

  #group(name: string, owner: number, open: boolean): GroupFacts["group"] {
    const { members, passive } = this.#db.thread(name)!;
    const isIn = (ids: Set<number>) => (user: string) => ids.has(this.#db.userId(user) ?? 0);
    return {
      owner: this.#db.userName(owner),
      open,
      members: { size: members!.size, has: isIn(members!) },
      passive: { has: isIn(passive) },
    };
  }

  #carryOut(decision: GroupChange, name: string): GroupAnswer {
    switch (decision.change) {
      case "create": {
        const owner = this.#db.userId(decision.owner)!;
        this.#db.run("INSERT INTO threads (name, owner, open) VALUES (?, ?, ?)", name, owner, decision.open ? 1 : 0);
        this.#enter(name, owner, 0);
        return this.#answer(name, true);
      }
      case "enter":
        this.#enter(name, this.#db.userId(decision.user)!, decision.inviter === "" ? 0 : this.#db.userId(decision.inviter)!);
        return this.#answer(name, true);
      case "exit":
        return this.#exit(name, this.#db.userId(decision.user)!, decision.declined);
      case "agree":
        return this.#answer(name, this.agree(name, this.#db.userId(decision.user)!));
      case "none":
        return this.#answer(name, false);
    }
  }

  #answer(group: string, changed: boolean): GroupAnswer {
    const owner = this.#db.get("SELECT owner FROM threads WHERE name = ?", group)!.owner as number;
    return { changed, members: this.members(group), owner: this.#db.userName(owner) };
  }

  /** Takes a member for one who is in the group by their own will. Returns true where they own it now. */
  agree(group: string, user: number): boolean {
    const { id, passive } = this.#db.thread(group)!;
    this.#db.run("UPDATE members SET passive = 0 WHERE user = ? AND thread = ?", user, id);
    passive.delete(user);
    return this.#db.run("UPDATE threads SET owner = ? WHERE id = ? AND owner = ?", user, id, this.#nobody()) > 0;
  }

  /** Returns the id of a user without a name, who owns the groups that nobody owns. */
  #nobody(): number {
    return this.#db.addUser("");
  }

  #enter(group: string, user: number, inviter: number): void {
    const { id, members, passive } = this.#db.thread(group)!;
    const last = [...members!].at(-1);
    const place = "SELECT joined FROM members WHERE user = ? AND thread = ?";
    const joined = last === undefined ? 1 : this.#db.get(place, last, id)!.joined as number + 1;
    const sql = "INSERT INTO members (user, thread, other, since, joined, inviter, passive) VALUES (?, ?, 0, ?, ?, ?, ?)";
    this.#db.run(sql, user, id, this.#db.head, joined, inviter, inviter > 0 ? 1 : 0);
    members!.add(user);
    this.#memberships.changed(user);
    if (inviter > 0) passive.add(user);
    else this.agree(group, user);
  }

  #exit(group: string, user: number, declined: boolean): GroupAnswer {
    const thread = this.#db.thread(group)!, { id, members, passive } = thread;
    const { since } = this.#db.get("SELECT since FROM members WHERE user = ? AND thread = ?", user, id)!;
    this.#ended.add(user, thread, since as number);
    if (declined) {
      const sql = `INSERT OR IGNORE INTO declined
        SELECT user, inviter, ? FROM members WHERE user = ? AND thread = ? AND inviter > 0`;
      this.#db.run(sql, group, user, id);
    }
    this.#db.run("DELETE FROM members WHERE user = ? AND thread = ?", user, id);
    members!.delete(user);
    this.#memberships.changed(user);
    passive.delete(user);
    if (members!.size === 0) return this.#dissolve(group, id);
    const heir = [...members!].find((member) => !passive.has(member)) ?? this.#nobody();
    this.#db.run("UPDATE threads SET owner = ? WHERE id = ? AND owner = ?", heir, id, user);
    return this.#answer(group, true);
  }

  #dissolve(group: string, thread: number): GroupAnswer {
    // Its messages may be many: retention removes them, out of everybody's way, once no device is due any.
    this.#db.run("UPDATE threads SET name = ?, owner = -1 WHERE id = ?", endedName(thread, group), thread);
    this.#db.clearThread(group);
    return { changed: true, members: [], owner: "" };
  }

  /** Lists groups as `Groups.group` of broker.ts says. Members of many large ones take milliseconds to count. */
  *list(name: string, after: string | undefined): Steps<GroupAnswer> {
    const rows = this.#listed(this.#db.addUser(name), after);
    const groups: GroupInfo[] = [];
    for (const { id, name, owner, open } of rows.slice(0, GROUPS_LISTED_MAX)) {
      if (groups.length % LIST_STEP === LIST_STEP - 1) yield;
      const members = this.#db.get("SELECT count(*) AS n FROM members WHERE thread = ?", id!)!.n as number;
      if (members === 0) continue; // it has ended meanwhile
      groups.push({ group: String(name), owner: this.#db.userName(owner as number), open: open === 1, members });
    }
    return { changed: false, members: [], groups, more: rows.length > GROUPS_LISTED_MAX };
  }

  /** Returns one more group than is listed, where there are as many: one's own, then the open ones, after a name. */
  #listed(user: number, after: string | undefined): Row[] {
    // Two walks along an index, so that all the groups there are need not be counted and sorted.
    const columns = "t.id, t.name, t.owner, t.open";
    const own = `SELECT ${columns} FROM threads t WHERE t.id IN (SELECT thread FROM members WHERE user = ? AND other = 0)
      AND t.name > ? ORDER BY t.name LIMIT ? + 0`;
    const open = `SELECT ${columns} FROM threads t INDEXED BY threads_groups WHERE t.owner > 0 AND t.open = 1 AND t.name > ?
      AND NOT EXISTS (SELECT 1 FROM members m WHERE m.thread = t.id AND m.user = ?) ORDER BY t.name LIMIT ? + 0`;
    const isOwn = after === undefined || this.#db.thread(after)?.members?.has(user) === true;
    const rows = isOwn ? this.#db.all(own, user, after ?? "", GROUPS_LISTED_MAX + 1) : [];
    const left = GROUPS_LISTED_MAX + 1 - rows.length;
    return left > 0 ? rows.concat(this.#db.all(open, isOwn ? "" : after, user, left)) : rows;
  }
}
