/**
 * The registry of nodes: which of them live, who is connected where, and what they tell each other. The tables of it are unlogged:
 * a crash of PostgreSQL empties them, and every node writes its own part again at its next beat.
 */

import type { Claim, Cluster, ClusterListener, ConnectedUser, Presence } from "../cluster.ts";
import type { Doorbell, NodeEvent } from "./doorbell.ts";
import { type Kind, type Lane } from "./lane.ts";
import { ints, type Sql, texts } from "./link.ts";
import type { Reads } from "./reads.ts";

/** Milliseconds between two beats of a node. */
const BEAT_MS = 2_000;
/** Milliseconds of silence after which a node is given up; its users are offline then, as after the grace of one who drops off. */
export const SILENT_MS = 15_000;
/** Beats that a node has to have made itself before it gives up another: after an outage all are silent for a moment. */
const STEADY_BEATS = Math.ceil(SILENT_MS / BEAT_MS);
/** Connections that are noted together. */
const CLAIMS_MAX = 500;
/** Beats between two looks for own connections whose devices are elsewhere by now: a signal of that may have been lost. */
const SUPERSEDED_BEATS = 15;
/** Statuses by rank: whoever is online somewhere is online. */
const RANKS: readonly Presence[] = ["offline", "away", "online"];

interface Claimed {
  readonly claimed: number;
  readonly elsewhere: number;
  readonly older: string | null;
}

/** Parts of a {@linkcode Nodes}. */
export interface NodesOptions {
  readonly reads: Reads;
  /** Lane of what need not reach the disk. */
  readonly lane: Lane;
  readonly doorbell: Doorbell;
  /** Identity of this process. */
  readonly id: string;
  /** Name that the operator gave it. */
  readonly name: string;
  readonly report: (error: unknown) => void;
}

/** The registry, as one node sees it. */
export class Nodes implements Cluster {
  readonly node: string;
  readonly #options: NodesOptions;
  #listener: ClusterListener | undefined;
  readonly #claims = new Map<number, { claim: Claim; number: number; away: boolean }>();
  /** Watched users, with their status per other node. */
  readonly #watched = new Map<string, Map<string, Presence>>();
  /** Users about whom something was heard while they were asked for. */
  readonly #stale = new Set<string>();
  #revoked: readonly string[] | undefined;
  #othersRevoked: ReadonlySet<string> = new Set();
  #beats = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #beating: Promise<void> | undefined;
  #closed = false;

  constructor(options: NodesOptions) {
    this.#options = options;
    this.node = options.name;
  }

  // ---- Life ----

  /** Makes this node known, and begins to beat. */
  async open(): Promise<void> {
    await this.#beat();
  }

  #again(): void {
    clearTimeout(this.#timer);
    if (!this.#closed) this.#timer = setTimeout(() => this.#beating = this.#beat(), BEAT_MS);
  }

  async #beat(): Promise<void> {
    const { lane, id, name } = this.#options;
    try {
      const isNew = await lane.call(BEAT, { id, name });
      if (isNew) await this.#introduce();
      this.#beats = isNew ? 0 : this.#beats + 1;
      if (this.#beats >= STEADY_BEATS) await this.#bury();
      if (this.#beats % SUPERSEDED_BEATS === 1) await this.#findSuperseded();
    } catch {
      this.#beats = 0; // the lane reports why
    }
    this.#again();
  }

  /** Writes this node's part again. */
  async #introduce(): Promise<void> {
    const { lane, id, name } = this.#options;
    const all = [...this.#claims.values()];
    for (let i = 0; i < all.length; i += CLAIMS_MAX) {
      await lane.call(RESTORE, { node: id, claims: all.slice(i, i + CLAIMS_MAX) });
    }
    if (this.#revoked) await lane.call(REVOKE, { node: name, entries: this.#revoked });
    const statuses = new Map<string, Presence>();
    for (const { claim: { user }, away } of all) {
      statuses.set(user, higher(statuses.get(user) ?? "offline", away ? "away" : "online"));
    }
    for (const [user, status] of statuses) this.#tellPresence(user, status, true, 0);
    await this.#findSuperseded();
    await this.#readRevoked();
  }

  /** Gives up nodes that are silent, and tells everybody who was connected there. */
  async #bury(): Promise<void> {
    const gone = await this.#options.lane.call(BURY, undefined);
    for (const { node, usr, at } of gone) {
      const event: NodeEvent = ["presence", usr, "offline", true, at];
      this.#heardPresence(node, event);
      this.#options.doorbell.tell(["gone", node, usr, at]);
    }
  }

  async #findSuperseded(): Promise<void> {
    const { reads, id } = this.#options;
    const rows = await reads.ask((sql) =>
      sql`SELECT mine.session FROM connected mine JOIN connected o ON o.usr = mine.usr AND o.device = mine.device
        WHERE mine.node = ${id} AND o.node <> ${id} AND o.claim > mine.claim AND mine.device NOT LIKE '~%'`
    );
    for (const { session } of rows) this.#listener?.replaced(session);
  }

  /** Looks again at everything that the others may have said unheard. */
  async reconnected(): Promise<void> {
    try {
      await this.#findSuperseded();
      await this.#readRevoked();
      const users = [...this.#watched.keys()];
      if (users.length > 0) await this.#ask(users);
    } catch (error) {
      if (!this.#closed) this.#options.report(error);
    }
  }

  /** Takes an event that another node tells. */
  heard(node: string, event: NodeEvent): void {
    switch (event[0]) {
      case "presence":
        return this.#heardPresence(node, event);
      case "gone":
        return this.#heardPresence(event[1], ["presence", event[2], "offline", true, event[3]]);
      case "replaced":
        if (event[1] === this.#options.id) this.#replace(event[2], event[3], event[4]);
        return;
      case "disconnect":
        return this.#listener?.disconnect(event[1]);
      case "revoked":
        return void this.#readRevoked().catch((error) => this.#options.report(error));
    }
  }

  #replace(user: string, device: string, claim: number): void {
    for (const [session, mine] of this.#claims) {
      if (mine.claim.user === user && mine.claim.device === device && mine.number < claim) this.#listener?.replaced(session);
    }
  }

  /** Tells everybody that the log has another epoch. */
  epochChanged(): void {
    this.#listener?.epochChanged();
  }

  // ---- The port ----

  listen(listener: ClusterListener): void {
    this.#listener = listener;
    if (this.#othersRevoked.size > 0) listener.revoked(this.#othersRevoked);
  }

  async claim(claim: Claim): Promise<number> {
    const { lane, id, doorbell } = this.#options;
    const { claimed, elsewhere, older } = await lane.call(CLAIM, { node: id, claim });
    this.#claims.set(claim.session, { claim, number: claimed, away: false });
    for (const node of older?.split(" ") ?? []) doorbell.tell(["replaced", node, claim.user, claim.device, claimed]);
    this.#tellPresence(claim.user, "online", true, 0);
    return elsewhere;
  }

  release(session: number, user: string, status: Presence, clean: boolean, at: number): void {
    if (!this.#claims.delete(session)) return;
    this.#options.lane.call(RELEASE, { node: this.#options.id, session }).catch(() => {});
    this.#tellPresence(user, status, clean, at);
  }

  setAway(session: number, away: boolean, user: string, status: Presence): void {
    const claim = this.#claims.get(session);
    if (!claim) return;
    claim.away = away;
    this.#options.lane.call(AWAY, { node: this.#options.id, session, away }).catch(() => {});
    this.#tellPresence(user, status, true, 0);
  }

  #tellPresence(user: string, status: Presence, clean: boolean, at: number): void {
    this.#options.doorbell.tell(["presence", user, status, clean, at]);
  }

  async watch(users: readonly string[]): Promise<void> {
    const unknown = users.filter((user) => !this.#watched.has(user));
    if (unknown.length === 0) return;
    for (const user of unknown) this.#watched.set(user, new Map());
    await this.#ask(unknown);
  }

  /** Asks how users are connected elsewhere; again for those about whom something is heard meanwhile. */
  async #ask(users: readonly string[]): Promise<void> {
    const { reads, id } = this.#options;
    for (let asked = users; asked.length > 0 && !this.#closed;) {
      for (const user of asked) this.#stale.delete(user);
      const rows = await reads.ask((sql) =>
        sql`SELECT usr, node, bool_and(away) AS away FROM connected
          WHERE usr = ANY(${texts(asked)}::text[]) AND node <> ${id} GROUP BY 1, 2`
      );
      const found = Map.groupBy(rows, ({ usr }) => usr as string);
      for (const user of asked) {
        if (this.#stale.has(user) || !this.#watched.has(user)) continue;
        const before = this.statusOf(user);
        const nodes = (found.get(user) ?? []).map(({ node, away }): [string, Presence] => [node, away ? "away" : "online"]);
        this.#watched.set(user, new Map(nodes));
        if (this.statusOf(user) !== before) this.#listener?.changed(user, before, true, 0);
      }
      asked = asked.filter((user) => this.#stale.has(user) && this.#watched.has(user));
    }
  }

  unwatch(user: string): void {
    this.#watched.delete(user);
    this.#stale.delete(user);
  }

  statusOf(user: string): Presence {
    let best: Presence = "offline";
    for (const status of this.#watched.get(user)?.values() ?? []) best = higher(best, status);
    return best;
  }

  #heardPresence(node: string, [, user, status, clean, at]: NodeEvent & readonly ["presence", ...unknown[]]): void {
    const nodes = this.#watched.get(user);
    if (!nodes) return;
    this.#stale.add(user);
    const before = this.statusOf(user);
    if (status === "offline") nodes.delete(node);
    else nodes.set(node, status as Presence);
    if (this.statusOf(user) !== before) this.#listener?.changed(user, before, clean, at);
  }

  async list(limit: number): Promise<readonly ConnectedUser[]> {
    const { reads, id } = this.#options;
    const rows = await reads.ask((sql) =>
      sql`SELECT usr, string_agg(device, ' ' ORDER BY claim) AS devices FROM connected WHERE node <> ${id}
        GROUP BY usr ORDER BY usr LIMIT ${limit}`
    );
    return rows.map(({ usr, devices }) => ({ user: usr, devices: (devices as string).split(" ") }));
  }

  async disconnect(user: string): Promise<number> {
    const { reads, id, doorbell } = this.#options;
    const [row] = await reads.ask((sql) => sql`SELECT count(*) AS n FROM connected WHERE usr = ${user} AND node <> ${id}`);
    doorbell.tell(["disconnect", user]);
    return row!.n;
  }

  publishRevoked(entries: readonly string[]): void {
    this.#revoked = [...entries];
    const { lane, name, doorbell } = this.#options;
    lane.call(REVOKE, { node: name, entries: this.#revoked }).then(() => doorbell.tell(["revoked"]), () => {});
  }

  async #readRevoked(): Promise<void> {
    const { reads, name } = this.#options;
    const rows = await reads.ask((sql) => sql`SELECT DISTINCT entry FROM revoked WHERE node <> ${name}`);
    this.#othersRevoked = new Set(rows.map(({ entry }) => entry as string));
    this.#listener?.revoked(this.#othersRevoked);
  }

  /** Says goodbye: the users of this node are gone from it. Where PostgreSQL is away, the others find out by its silence. */
  async close(isAway: boolean): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    if (isAway) return;
    await this.#beating;
    clearTimeout(this.#timer);
    await this.#options.lane.call(LEAVE, { id: this.#options.id }).catch(() => {});
  }
}

function higher(one: Presence, other: Presence): Presence {
  return RANKS.indexOf(one) > RANKS.indexOf(other) ? one : other;
}

// ---- Kinds of calls ---------------------------------------------------------------------------------------------------------

const BEAT: Kind<{ id: string; name: string }, boolean> = {
  most: 1,
  run: async (sql, [one]) => {
    const [row] = await sql`SELECT beat(${one!.id}, ${one!.name}) AS new`;
    return [row!.new];
  },
};

const LEAVE: Kind<{ id: string }, void> = {
  most: 1,
  run: async (sql, [one]) => {
    await sql`WITH n AS (DELETE FROM nodes WHERE id = ${one!.id})
      DELETE FROM connected WHERE node = ${one!.id}`;
    return [undefined];
  },
};

const CLAIM: Kind<{ node: string; claim: Claim }, Claimed> = {
  most: CLAIMS_MAX,
  run: async (sql, items) => {
    const claims = items.map(({ claim }) => claim);
    const rows = await sql`SELECT claimed, elsewhere, older FROM claim(${items[0]!.node},
      ${ints(claims.map(({ session }) => session))}::int[], ${texts(claims.map(({ user }) => user))}::text[],
      ${texts(claims.map(({ device }) => device))}::text[])`;
    return rows as unknown as Claimed[];
  },
};

const RESTORE: Kind<{ node: string; claims: readonly { claim: Claim; number: number; away: boolean }[] }, void> = {
  most: 1,
  run: async (sql, [one]) => {
    const { node, claims } = one!;
    await sql`INSERT INTO connected SELECT ${node}, d.* FROM unnest(${ints(claims.map(({ claim }) => claim.session))}::int[],
      ${texts(claims.map(({ claim }) => claim.user))}::text[], ${texts(claims.map(({ claim }) => claim.device))}::text[],
      ${ints(claims.map(({ number }) => number))}::bigint[], ${`{${claims.map(({ away }) => away)}}`}::boolean[]) d
      ON CONFLICT DO NOTHING`;
    return [undefined];
  },
};

const RELEASE: Kind<{ node: string; session: number }, void> = {
  most: CLAIMS_MAX,
  run: async (sql, items) => {
    const sessions = ints(items.map(({ session }) => session));
    await sql`DELETE FROM connected WHERE node = ${items[0]!.node} AND session = ANY(${sessions}::int[])`;
    return items.map(() => undefined);
  },
};

const AWAY: Kind<{ node: string; session: number; away: boolean }, void> = {
  most: 1,
  run: async (sql, [one]) => {
    await sql`UPDATE connected SET away = ${one!.away} WHERE node = ${one!.node} AND session = ${one!.session}`;
    return [undefined];
  },
};

const BURY: Kind<undefined, readonly { node: string; usr: string; at: number }[]> = {
  most: 1,
  run: async (sql) => [await sql`SELECT DISTINCT node, usr, at FROM bury(${SILENT_MS})` as never],
};

const REVOKE: Kind<{ node: string; entries: readonly string[] }, void> = {
  most: 1,
  run: async (sql: Sql, [one]) => {
    const entries = texts(one!.entries);
    await sql`WITH old AS (DELETE FROM revoked WHERE node = ${one!.node} AND entry <> ALL(${entries}::text[]))
      INSERT INTO revoked SELECT DISTINCT ${one!.node}, e FROM unnest(${entries}::text[]) e ON CONFLICT DO NOTHING`;
    return [undefined];
  },
};
