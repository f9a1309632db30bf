import { assertEquals } from "@std/assert";
import { Directory } from "./directory.ts";
import type { Sql } from "./link.ts";
import { markKind } from "./moves.ts";
import type { Reads } from "./reads.ts";

/** A PostgreSQL that has one answer, and is another one before that comes. */
function movingOn(directory: Directory, rows: readonly Record<string, unknown>[]): Sql {
  const ask = () => {
    directory.clear();
    return Promise.resolve(rows);
  };
  return ask as unknown as Sql;
}

Deno.test("Directory remembers no number that was asked for before everything was cleared", async () => {
  const directory = new Directory(), sql = movingOn(directory, [{ id: 7, name: "ann" }]);
  assertEquals(await directory.idsOf(sql, ["ann"]), new Map([["ann", 7]]), "the answer is the asker's");
  assertEquals(directory.userId("ann"), undefined);
  const reads = { ask: (work: (sql: Sql) => unknown) => work(sql) } as unknown as Reads;
  assertEquals(await directory.namesOf(reads, [7]), new Map([[7, "ann"]]));
  assertEquals(directory.userId("ann"), undefined);
});

Deno.test("Directory remembers no conversation of markers that were moved in a log which is another one now", async () => {
  for (const isCleared of [false, true]) {
    const directory = new Directory(), found = [{ id: 7, name: "ann" }];
    await directory.idsOf((() => Promise.resolve(found)) as unknown as Sql, ["ann"]);
    const rows = [{ n: 1, thread: 57, has_other: true, authors: null, ts: 5 }, { n: 0, ts: 5 }];
    const sql = isCleared ? movingOn(directory, rows) : (() => Promise.resolve(rows)) as unknown as Sql;
    const moves = [{ user: "ann", kind: "delivered", with: "ben", seq: 3 }] as const;
    const results = await markKind(directory, () => 3, undefined, () => {}).run(sql, [moves]);
    assertEquals(results, [[{ moved: true, authors: ["ben"], ts: 5 }]]);
    assertEquals(directory.directId("ann", "ben"), isCleared ? undefined : 57);
  }
});
