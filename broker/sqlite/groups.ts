/** Groups in the database: carries out what the rules of broker/group_rules.ts decide. */

import type { BrokerRefusal, GroupAnswer, GroupRequest } from "../../broker.ts";
import { decideGroup, type GroupChange, type GroupFacts } from "../group_rules.ts";
import { type BrokerLimits, GROUPS_LISTED_MAX } from "../limits.ts";
import type { Database } from "./database.ts";

/** Groups of one database. */
export class Groups {
  readonly #db: Database;
  readonly #limits: BrokerLimits;

  constructor(db: Database, limits: BrokerLimits) {
    this.#db = db;
    this.#limits = limits;
  }

  /** Returns the members of a group by name, in the order of joining; nobody where there is no such group. */
  members(group: string): string[] {
    const thread = this.#db.thread(group);
    return thread?.members ? this.#db.memberIds(thread.id).map((id) => this.#db.userName(id)) : [];
  }

  /** Answers a request as `Groups.group` of broker.ts says. */
  answer(request: GroupRequest): GroupAnswer | BrokerRefusal {
    const user = this.#db.addUser(request.user);
    if (request.op === "list") return this.#list(user);
    const decision = decideGroup(request, this.#facts(request.group), this.#limits);
    return "code" in decision ? decision : this.#carryOut(decision, request.group);
  }

  #facts(name: string): GroupFacts {
    const row = this.#db.get("SELECT owner, open FROM threads WHERE name = ?", name);
    return {
      group: row && this.#group(name, row.owner as number, row.open === 1),
      isKnown: (user) => this.#db.userId(user) !== undefined,
      groupsOf: (user) => {
        const sql = "SELECT count(*) AS n FROM members WHERE user = ? AND other = 0";
        return this.#db.get(sql, this.#db.userId(user) ?? 0)!.n as number;
      },
    };
  }

  #group(name: string, owner: number, open: boolean): GroupFacts["group"] {
    const members = this.#db.thread(name)!.members!;
    const has = (user: string) => members.has(this.#db.userId(user) ?? 0);
    return { owner: this.#db.userName(owner), open, members: { size: members.size, has } };
  }

  #carryOut(decision: GroupChange, name: string): GroupAnswer {
    switch (decision.change) {
      case "create": {
        const owner = this.#db.userId(decision.owner)!;
        this.#db.run("INSERT INTO threads (name, owner, open) VALUES (?, ?, ?)", name, owner, decision.open ? 1 : 0);
        this.#enter(name, owner);
        return this.#answer(name, true);
      }
      case "enter":
        this.#enter(name, this.#db.userId(decision.user)!);
        return this.#answer(name, true);
      case "exit":
        return this.#exit(name, this.#db.userId(decision.user)!);
      case "none":
        return this.#answer(name, false);
    }
  }

  #answer(group: string, changed: boolean): GroupAnswer {
    const owner = this.#db.get("SELECT owner FROM threads WHERE name = ?", group)!.owner as number;
    return { changed, members: this.members(group), owner: this.#db.userName(owner) };
  }

  #enter(group: string, user: number): void {
    const { id, members } = this.#db.thread(group)!;
    const joined = this.#db.get("SELECT coalesce(max(joined), 0) + 1 AS joined FROM members WHERE thread = ?", id)!.joined!;
    const sql = "INSERT INTO members (user, thread, other, since, joined) VALUES (?, ?, 0, ?, ?)";
    this.#db.run(sql, user, id, this.#db.head, joined);
    members!.add(user);
  }

  #exit(group: string, user: number): GroupAnswer {
    const { id, members } = this.#db.thread(group)!;
    this.#db.run("DELETE FROM members WHERE user = ? AND thread = ?", user, id);
    members!.delete(user);
    const [eldest] = this.#db.memberIds(id);
    if (eldest === undefined) return this.#dissolve(group, id);
    this.#db.run("UPDATE threads SET owner = ? WHERE id = ? AND owner = ?", eldest, id, user);
    return this.#answer(group, true);
  }

  #dissolve(group: string, thread: number): GroupAnswer {
    // Its messages may be many: retention removes them, out of everybody's way. No name begins with a space.
    this.#db.run("UPDATE threads SET name = ' ' || id, owner = -1 WHERE id = ?", thread);
    this.#db.clearThread(group);
    return { changed: true, members: [], owner: "" };
  }

  #list(user: number): GroupAnswer {
    const sql = `SELECT t.name, t.owner, t.open, (SELECT count(*) FROM members m WHERE m.thread = t.id) AS members,
      EXISTS (SELECT 1 FROM members m WHERE m.thread = t.id AND m.user = ?) AS own FROM threads t
      WHERE t.owner > 0 AND (t.open = 1 OR own) ORDER BY own DESC, t.name LIMIT ?`;
    const rows = this.#db.all(sql, user, GROUPS_LISTED_MAX + 1);
    const groups = rows.slice(0, GROUPS_LISTED_MAX).map((row) => ({
      group: String(row.name),
      owner: this.#db.userName(row.owner as number),
      open: row.open === 1,
      members: row.members as number,
    }));
    return { changed: false, members: [], groups, more: rows.length > groups.length };
  }
}
