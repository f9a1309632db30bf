import { assertEquals } from "@std/assert";
import { LastSeenKeeper } from "./last_seen.ts";

Deno.test("LastSeenKeeper notes now and then who is connected, and nothing once nobody is", async () => {
  const users = new Set<string>();
  const noted = Promise.withResolvers<void>();
  const notes: (readonly string[])[] = [];
  const broker = {
    lastSeen: () => Promise.resolve([]),
    seen(names: readonly string[]) {
      notes.push(names);
      if (notes.flat().length >= 1_200) noted.resolve();
      return Promise.resolve();
    },
  };
  const keeper = new LastSeenKeeper({
    broker,
    users: () => users,
    report: (error) => {
      throw error;
    },
    intervalMs: 1,
  });
  for (let i = 0; i < 1_200; i++) {
    users.add(`u${i}`);
    keeper.joined();
  }
  await noted.promise;
  assertEquals(notes.slice(0, 3).map(({ length }) => length), [500, 500, 200], "a part at a time");
  users.clear();
  keeper.left("u0", 1);
  assertEquals(notes.at(-1), ["u0"]);
});
