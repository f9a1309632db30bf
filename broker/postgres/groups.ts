/** Groups: the rules of broker/group_rules.ts decide by facts, and the decision holds if no member has changed since. */

import type { BrokerRefusal, GroupAnswer, GroupRequest } from "../../broker.ts";
import { decideGroup, type GroupChange } from "../group_rules.ts";
import { type BrokerLimits, GROUPS_LISTED_MAX } from "../limits.ts";
import type { Directory } from "./directory.ts";
import { type Kind, Unavailable } from "./lane.ts";
import { type Sql, texts } from "./link.ts";

/** Times that a decision is made anew because the group has changed meanwhile. */
const DECISIONS_MAX = 20;
/** Number of groups for those who may be in any. */
const ANY_NUMBER = Number.MAX_SAFE_INTEGER;

type Request = Exclude<GroupRequest, { op: "list" }>;

/** Facts about one request, as of one moment. */
interface Facts {
  readonly group: { readonly id: number; readonly owner: string; readonly open: boolean; readonly changed: number } | undefined;
  readonly members: ReadonlySet<string>;
  readonly passive: ReadonlySet<string>;
  /** Facts about the users of the request who were connected once. */
  readonly users: ReadonlyMap<string, UserFacts>;
}

interface UserFacts {
  readonly own: number;
  readonly byInviter: number;
  readonly byOthers: number;
  readonly declined: boolean;
}

/** The kind of call that asks about groups and changes them. */
export class Groups implements Kind<GroupRequest, GroupAnswer | BrokerRefusal> {
  readonly most = 1;
  readonly #limits: BrokerLimits;
  readonly #directory: Directory;
  readonly #now: (() => number) | undefined;
  readonly #changed: () => void;

  /** `now` is undefined for PostgreSQL's clock; `changed` is called after a change: the other nodes have to look. */
  constructor(limits: BrokerLimits, directory: Directory, now: (() => number) | undefined, changed: () => void) {
    this.#limits = limits;
    this.#directory = directory;
    this.#now = now;
    this.#changed = changed;
  }

  async run(sql: Sql, [request]: readonly GroupRequest[]): Promise<readonly (GroupAnswer | BrokerRefusal)[]> {
    return [await this.answer(sql, request!)];
  }

  /** Answers one request. What changes nothing may be asked on any connection. */
  async answer(sql: Sql, request: GroupRequest): Promise<GroupAnswer | BrokerRefusal> {
    if (request.op === "list") return await this.#list(sql, request.user, request.after);
    if (request.op !== "members") await this.#directory.know(sql, [request.user]);
    for (let attempt = 0; attempt < DECISIONS_MAX; attempt++) {
      const facts = await this.#facts(sql, request);
      const decision = decideGroup(request, {
        group: facts.group && { ...facts.group, members: facts.members, passive: facts.passive },
        isKnown: (user) => facts.users.has(user),
        groupsOf: (user) => facts.users.get(user)?.own ?? 0,
        invitationsOf: (user) => facts.users.get(user) ?? { byInviter: 0, byOthers: 0 },
        hasDeclined: (user) => facts.users.get(user)?.declined ?? false,
      }, this.#limits);
      if ("code" in decision) return decision;
      if (decision.change === "none") return answer(facts, false);
      if (decision.change === "agree") return await this.#agree(sql, decision.user, facts);
      if (await this.#carryOut(sql, request, decision, facts)) {
        this.#directory.forgetGroup(request.group);
        this.#changed();
        return answer(changed(facts, decision), true);
      }
    }
    throw new Unavailable("The group changes too often");
  }

  async #facts(sql: Sql, request: Request): Promise<Facts> {
    const users = ["target" in request ? request.target : request.user, request.user];
    const grouping = sql`SELECT t.id, t.open, t.changed, o.name AS owner, u.name AS member, m.passive FROM threads t
      JOIN users o ON o.id = t.owner LEFT JOIN members m ON m.thread = t.id
      LEFT JOIN users u ON u.id = m.usr WHERE t.name = ${request.group} AND t.owner > 0 ORDER BY m.since, m.joined`;
    const counting = request.op === "members" ? [] : sql`SELECT u.name,
        (SELECT count(*) FROM members m WHERE m.usr = u.id AND m.other = 0 AND m.inviter = 0) AS own,
        (SELECT count(*) FROM members m WHERE m.usr = u.id AND m.inviter = i.id) AS by_inviter,
        (SELECT count(*) FROM members m WHERE m.usr = u.id AND m.inviter NOT IN (0, i.id)) AS by_others,
        EXISTS (SELECT 1 FROM declined d WHERE d.usr = u.id AND d.inviter = i.id AND d.name = ${request.group}) AS declined
      FROM users u, users i WHERE u.name = ANY(${texts(users)}::text[]) AND i.name = ${request.user}`;
    const [rows, counts] = await Promise.all([grouping, counting]); // both are sent at once
    const [first] = rows;
    return {
      group: first && { id: first.id, owner: first.owner, open: first.open, changed: first.changed },
      members: new Set(rows.flatMap(({ member }) => member === null ? [] : [member as string])),
      passive: new Set(rows.flatMap(({ member, passive }) => passive ? [member as string] : [])),
      users: new Map(
        counts.map(({ name, own, by_inviter, by_others, declined }) => [
          name as string,
          { own, byInviter: by_inviter, byOthers: by_others, declined },
        ]),
      ),
    };
  }

  /** Makes a change; false where the group is not any more what the decision was about. */
  async #carryOut(sql: Sql, request: Request, decision: GroupChange, { group }: Facts): Promise<boolean> {
    if (decision.change === "none" || decision.change === "agree") return true;
    const user = decision.change === "create" ? decision.owner : decision.user;
    const inviter = decision.change === "enter" ? decision.inviter : "";
    await this.#directory.find(sql, inviter === "" ? [user, request.user] : [user, inviter, request.user]);
    const most = Number.isFinite(this.#limits.groupsPerUser) ? this.#limits.groupsPerUser : ANY_NUMBER;
    const [row] = await sql`SELECT change_by(${decision.change}, ${request.group}, ${group?.id ?? 0}, ${group?.changed ?? 0},
      ${this.#directory.userId(user)!}, ${inviter === "" ? 0 : this.#directory.userId(inviter)!},
      ${decision.change === "create" && decision.open}, ${decision.change === "exit" && decision.declined}, ${most},
      ${this.#directory.userId(request.user)!}, ${request.op}, ${this.#now?.() ?? null}::bigint) AS place`;
    return row!.place !== 0;
  }

  /** Takes a member for one by their own will; that changes something where the group had no owner. */
  async #agree(sql: Sql, user: string, facts: Facts): Promise<GroupAnswer> {
    await this.#directory.find(sql, [user]);
    const [row] = await sql`SELECT agree(${`{${this.#directory.userId(user)!}}`}::int[], ${`{${
      facts.group!.id
    }}`}::int[]) AS owns`;
    const owner = row!.owns ? user : facts.group!.owner;
    return answer({ ...facts, group: { ...facts.group!, owner } }, row!.owns);
  }

  async #list(sql: Sql, user: string, after: string | undefined): Promise<GroupAnswer> {
    const rows = await sql`SELECT t.name, o.name AS owner, t.open, (SELECT count(*) FROM members m
        WHERE m.thread = t.id) AS members FROM (
      SELECT t.*, EXISTS (SELECT 1 FROM members m JOIN users u ON u.id = m.usr
          WHERE m.thread = t.id AND u.name = ${user}) AS own FROM threads t WHERE t.owner > 0) t
      JOIN users o ON o.id = t.owner CROSS JOIN (SELECT EXISTS (SELECT 1 FROM members m JOIN users u ON u.id = m.usr
        JOIN threads t ON t.id = m.thread WHERE t.name = ${after ?? ""} AND u.name = ${user}) AS own) i
      WHERE (t.open OR t.own) AND (${after ?? null}::text IS NULL OR (NOT t.own AND i.own) OR (t.own = i.own AND t.name > ${
      after ?? ""
    }))
      ORDER BY t.own DESC, t.name LIMIT ${GROUPS_LISTED_MAX + 1}`;
    const groups = rows.slice(0, GROUPS_LISTED_MAX)
      .map(({ name, owner, open, members }) => ({ group: name, owner, open, members }));
    return { changed: false, members: [], groups, more: rows.length > groups.length };
  }
}

/** Returns the facts after a change that was made: nobody else has changed anything meanwhile. */
function changed(facts: Facts, decision: Exclude<GroupChange, { change: "none" | "agree" }>): Facts {
  const members = new Set(facts.members), group = facts.group ?? { id: 0, owner: "", open: false, changed: 0 };
  if (decision.change === "create") {
    return { ...facts, group: { ...group, owner: decision.owner }, members: new Set([decision.owner]) };
  }
  if (decision.change === "enter") {
    const owner = group.owner === "" && decision.inviter === "" ? decision.user : group.owner;
    return { ...facts, group: { ...group, owner }, members: members.add(decision.user) };
  }
  members.delete(decision.user);
  const heir = [...members].find((member) => !facts.passive.has(member)) ?? "";
  const owner = group.owner === decision.user ? heir : group.owner;
  return { ...facts, group: { ...group, owner }, members };
}

function answer({ group, members }: Facts, changed: boolean): GroupAnswer {
  return { changed, members: [...members], owner: group?.owner ?? "" };
}
