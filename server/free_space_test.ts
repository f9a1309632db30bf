import { assert, assertEquals } from "@std/assert";
import { sentenceOf } from "../ops/log.ts";
import { lacks } from "../testing/permissions.ts";
import { FreeSpace } from "./free_space.ts";

const MIB = 1_048_576;

Deno.test("free space below the floor is said once, and once that there is room again", async () => {
  const lines: string[] = [];
  let free = 300 * MIB;
  const log = (...[event, fields]: Parameters<typeof sentenceOf>) => void lines.push(sentenceOf(event, fields));
  const space = new FreeSpace({ dir: "/data", floorBytes: 256 * MIB, log, free: () => Promise.resolve(free) });
  const seen = [];
  for (const mib of [300, 256, 255, 0, 200, 256, 400]) {
    free = mib * MIB;
    await space.look();
    seen.push(space.isShort);
  }
  assertEquals(seen, [false, false, true, true, true, false, false]);
  assertEquals(lines, [
    "/data has 255 MiB free, fewer than --free-bytes (256 MiB): messages are refused, reading goes on",
    "/data has 256 MiB free again: messages are taken",
  ]);
  space.close();
});

Deno.test("where free space cannot be seen nothing is refused, and that is said once", async () => {
  const lines: string[] = [];
  const log = (...[event, fields]: Parameters<typeof sentenceOf>) => void lines.push(sentenceOf(event, fields));
  const space = new FreeSpace({ dir: "/data", floorBytes: MIB, log, free: () => Promise.reject(new Error("no such call")) });
  await space.look();
  await space.look();
  assertEquals([space.isShort, lines], [false, ["looking how much is free for /data failed: no such call"]]);
  space.close();
});

Deno.test({
  name: "the free space of a real folder is seen",
  ignore: lacks("read", "write") ||
    Deno.permissions.querySync({ name: "sys", kind: "statfs" as "osRelease" }).state !== "granted",
  async fn() {
    const lines: string[] = [];
    const log = () => void lines.push("");
    const least = new FreeSpace({ dir: ".", floorBytes: 1, log }), most = new FreeSpace({ dir: ".", floorBytes: 2 ** 60, log });
    await Promise.all([least.look(), most.look()]);
    assertEquals([least.isShort, most.isShort], [false, true]);
    assert(lines.length === 1);
    least.close();
    most.close();
  },
});
