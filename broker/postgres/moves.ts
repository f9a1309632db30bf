/** Calls about devices, markers and last seen: each is one call of a function of the schema for many items. */

import type { Attached, AttachOptions, DeviceMove, MarkerMove, MarkerResult } from "../../broker.ts";
import { deviceToForget, WAITING_SCANNED_MAX } from "../device_rules.ts";
import { isGroup } from "../names.ts";
import { directName, type Directory } from "./directory.ts";
import type { Kind } from "./lane.ts";
import { ints, type Sql, texts } from "./link.ts";

/** Calls that are made together: some milliseconds. */
const TOGETHER = 200;
/** Markers of one transaction, which holds the horizon: some milliseconds. */
const MARKERS_TOGETHER = 250;

/** A device that connects. */
export interface AttachItem {
  readonly user: string;
  readonly device: string;
  readonly options: AttachOptions;
}

/** Makes the kind of `Devices.attach`; `seen` returns the position that this node has seen. */
export function attachKind(seen: () => number, kept: number): Kind<AttachItem, Attached> {
  return {
    most: TOGETHER,
    run: async (sql, items) => {
      const attached = await attach(sql, items, seen(), kept);
      for (const [index, { position }] of attached.entries()) {
        if (position !== null) continue;
        await makeRoom(sql, items[index]!.user);
        [attached[index]] = await attach(sql, [items[index]!], seen(), kept + 1) as [Attached];
      }
      return attached as Attached[];
    },
  };
}

/** Attaches devices; the position is null where there are too many already. */
async function attach(
  sql: Sql,
  items: readonly AttachItem[],
  seen: number,
  kept: number,
): Promise<(Omit<Attached, "position"> & { readonly position: number | null })[]> {
  const numbers = (values: (number | undefined)[]) => texts(values.map((value) => value === undefined ? value : String(value)));
  const rows = await sql`SELECT * FROM attach(${texts(items.map(({ user }) => user))}::text[],
    ${texts(items.map(({ device }) => device))}::text[], ${numbers(items.map(({ options }) => options.last))}::bigint[],
    ${`{${items.map(({ options }) => options.temporary === true)}}`}::boolean[],
    ${numbers(items.map(({ options }) => options.resume))}::bigint[], ${seen}, ${kept})`;
  return rows.map(({ place, is_new, lost, head, is_lost }) => (
    { position: place, isNew: is_new, horizon: lost, head, isLost: is_lost }
  ));
}

/** Forgets a device of a user who has as many as are remembered. */
async function makeRoom(sql: Sql, user: string): Promise<void> {
  const rows = await sql`SELECT * FROM devices_of(${user}, ${WAITING_SCANNED_MAX})`;
  const devices = rows.map(({ name, place, attached, temporary, waits }) => ({
    name,
    position: place,
    attached,
    temporary,
    waits,
  }));
  const gone = deviceToForget(devices, ({ waits }) => waits);
  if (!gone) return;
  await sql`DELETE FROM devices d USING users u WHERE u.id = d.usr AND u.name = ${user} AND d.name = ${gone.name}`;
}

/** Makes the kind of `Devices.advance`. */
export function advanceKind(seen: () => number): Kind<readonly DeviceMove[], void> {
  return {
    most: TOGETHER,
    run: async (sql, calls) => {
      const moves = calls.flat();
      await sql`SELECT advance(${texts(moves.map(({ user }) => user))}::text[],
        ${texts(moves.map(({ device }) => device))}::text[], ${ints(moves.map(({ seq }) => seq))}::bigint[], ${seen()})`;
      return calls.map(() => undefined);
    },
  };
}

/** Makes the kind of `Markers.mark`; `moved` is told of every user whose marker moved. */
export function markKind(
  directory: Directory,
  seen: () => number,
  now: (() => number) | undefined,
  moved: (user: string) => void,
): Kind<readonly MarkerMove[], readonly MarkerResult[]> {
  return {
    most: TOGETHER,
    run: async (sql, calls) => {
      const moves = calls.flat(), results = new Array<MarkerResult>(moves.length);
      const { clearings } = directory;
      const users = await directory.idsOf(sql, moves.map(({ user }) => user));
      for (const some of inRounds(moves)) {
        const rows = await moveMarkers(sql, directory, users, some.map((index) => moves[index]!), seen(), now?.());
        const stays = { moved: false, authors: [], ts: rows.find(({ n }) => n === 0)!.ts };
        for (const index of some) results[index] = stays;
        for (const { n, thread, has_other, authors, ts } of rows) {
          if (n === 0) continue;
          const index = some[n - 1]!, { user, with: other } = moves[index]!;
          results[index] = { moved: true, authors: has_other ? [other] : authors?.split(" ") ?? [], ts };
          if (!isGroup(other)) directory.learnDirect(user, other, thread, clearings);
          moved(user);
        }
      }
      let start = 0;
      return calls.map(({ length }) => results.slice(start, start += length));
    },
  };
}

/** Returns the indexes of moves in groups in which each conversation of a user is once, those of one conversation in order. */
function inRounds(moves: readonly MarkerMove[]): number[][] {
  let round: number[] = [], taken = new Map<string, Set<string>>();
  const rounds = [round];
  for (let index = 0; index < moves.length; index++) {
    const { user, with: other } = moves[index]!;
    if (taken.get(user)?.has(other) || round.length === MARKERS_TOGETHER) {
      rounds.push(round = []);
      taken = new Map();
    }
    round.push(index);
    const others = taken.get(user);
    if (others) others.add(other);
    else taken.set(user, new Set([other]));
  }
  return rounds;
}

/** Number of a user of whom nothing is kept. */
const NOBODY = 0;

function moveMarkers(
  sql: Sql,
  directory: Directory,
  users: ReadonlyMap<string, number>,
  moves: readonly MarkerMove[],
  seen: number,
  now: number | undefined,
) {
  const threads = moves.map(({ user, with: other }) => isGroup(other) ? undefined : directory.directId(user, other));
  const names = moves.map(({ user, with: other }, i) => {
    if (threads[i] !== undefined) return undefined;
    return isGroup(other) ? other : directName(user, other);
  });
  return sql`SELECT n, thread, has_other, authors, ts FROM move_marks(
    ${ints(moves.map(({ user }) => users.get(user) ?? NOBODY))}::int[], ${ints(threads)}::int[], ${texts(names)}::text[],
    ${`{${moves.map(({ kind }) => kind === "read")}}`}::boolean[],
    ${`{${moves.map((move) => move.kind === "read" && move.private === true)}}`}::boolean[],
    ${ints(moves.map(({ seq }) => seq))}::bigint[], ${now ?? null}::bigint, ${seen})`;
}

/** Makes the kind of `Markers.markAll`. */
export function markAllKind(
  seen: () => number,
  now: (() => number) | undefined,
  moved: (user: string) => void,
): Kind<{ readonly user: string; readonly seq: number }, readonly (MarkerMove & MarkerResult)[]> {
  return {
    most: 1,
    run: async (sql, [one]) => {
      const { user, seq } = one!;
      const rows = await sql`SELECT * FROM mark_all(${user}, ${seq}, ${now ? now() : null}::bigint, ${seen()})`;
      moved(user);
      return [rows.map(({ with_, seq, authors, ts }) => (
        { user, kind: "delivered" as const, with: with_, seq, moved: true, authors: authors.split(" "), ts }
      ))];
    },
  };
}

/**
 * The kind of `LastSeen.seen`. It makes users who are unknown, so it has to be durable: numbers of users are remembered. Those who
 * leave together, as all do when a node ends, are noted together: a commit for each would take longer than there is.
 */
export const SEE: Kind<{ readonly users: readonly string[]; readonly at: number }, void> = {
  most: TOGETHER,
  run: async (sql, calls) => {
    const latest = new Map<string, number>();
    for (const { users, at } of calls) {
      for (const user of users) latest.set(user, Math.max(latest.get(user) ?? 0, at));
    }
    const names = texts([...latest.keys()]);
    await sql`SELECT know(${names}::text[])`;
    // Locked by number: all nodes do so in the same order.
    await sql`WITH found AS MATERIALIZED (SELECT u.id, s.at FROM unnest(${names}::text[], ${
      ints([...latest.values()])
    }::bigint[])
        s(name, at) JOIN users u ON u.name = s.name WHERE u.last_seen < s.at ORDER BY u.id FOR UPDATE OF u)
      UPDATE users u SET last_seen = f.at FROM found f WHERE u.id = f.id AND u.last_seen < f.at`;
    return calls.map(() => undefined);
  },
};
