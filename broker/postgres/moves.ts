/** Calls about devices, markers and last seen: each is one call of a function of the schema for many items. */

import type { Attached, DeviceMove, MarkerMove, MarkerResult } from "../../broker.ts";
import { isGroup } from "../names.ts";
import { directName } from "./directory.ts";
import type { Kind } from "./lane.ts";
import { ints, texts } from "./link.ts";

/** Calls that are made together: some milliseconds. */
const TOGETHER = 200;

/** A device that connects. */
export interface AttachItem {
  readonly user: string;
  readonly device: string;
  readonly last: number | undefined;
}

/** Makes the kind of `Devices.attach`; `seen` returns the position that this node has seen. */
export function attachKind(seen: () => number, kept: number): Kind<AttachItem, Attached> {
  return {
    most: TOGETHER,
    run: async (sql, items) => {
      const rows = await sql`SELECT place, is_new, lost, head FROM attach(${texts(items.map(({ user }) => user))}::text[],
        ${texts(items.map(({ device }) => device))}::text[],
        ${texts(items.map(({ last }) => last === undefined ? undefined : String(last)))}::bigint[], ${seen()}, ${kept})`;
      return rows.map(({ place, is_new, lost, head }) => ({ position: place, isNew: is_new, horizon: lost, head }));
    },
  };
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
  seen: () => number,
  now: (() => number) | undefined,
  moved: (user: string) => void,
): Kind<readonly MarkerMove[], readonly MarkerResult[]> {
  return {
    most: TOGETHER,
    run: async (sql, calls) => {
      const moves = calls.flat();
      const threads = moves.map(({ user, with: other }) => isGroup(other) ? other : directName(user, other));
      const rows = await sql`SELECT n, moved, authors, ts FROM mark(${texts(moves.map(({ user }) => user))}::text[],
        ${texts(threads)}::text[], ${`{${moves.map(({ kind }) => kind === "read")}}`}::boolean[],
        ${ints(moves.map(({ seq }) => seq))}::bigint[], ${now ? now() : null}::bigint, ${seen()})`;
      const results = new Array<MarkerResult>(moves.length);
      for (const row of rows) {
        results[row.n - 1] = { moved: row.moved, authors: row.authors?.split(" ") ?? [], ts: row.ts };
        if (row.moved) moved(moves[row.n - 1]!.user);
      }
      let start = 0;
      return calls.map(({ length }) => results.slice(start, start += length));
    },
  };
}

/** The kind of `LastSeen.seen`. It makes users who are unknown, so it has to be durable: numbers of users are remembered. */
export const SEE: Kind<{ readonly users: readonly string[]; readonly at: number }, void> = {
  most: 1,
  run: async (sql, [one]) => {
    await sql`SELECT see(${texts(one!.users)}::text[], ${one!.at})`;
    return [undefined];
  },
};
