/**
 * A thousand misbehaving connections of eleven kinds, beside fifty good ones that chat: the good ones lose nothing, and nothing may
 * be left when the bad ones have gone. How much later their messages are is measured by `deno task bench:siege`.
 */

import { assert, assertEquals, equal } from "@std/assert";
import { testOverTransports } from "../testing/over_transports.ts";
import { lacksProgram } from "../testing/permissions.ts";
import { type Held, Siege } from "../testing/siege.ts";

const SIEGES = 2;
/** Times the heap before that may be left: compiled code and caches are a sixteenth, and a KiB for each bad connection an eighth. */
const HEAP_FACTOR = 1.15;

testOverTransports({
  name: "hostile - fifty good connections lose nothing beside a thousand bad ones, and nothing is left of those",
  ignore: Deno.build.os !== "linux" || lacksProgram("sh", ["-c", "true"]),
  async fn(transport) {
    await using siege = await Siege.start(transport);
    const before = await siege.held();
    for (let times = 0; times < SIEGES; times++) {
      await siege.chatBesieged();
      const { entries } = await siege.settled((held) => equal(held.entries, before.entries));
      assertEquals(entries, before.entries);
    }
    const isFree = ({ heap }: Held) => heap <= before.heap * HEAP_FACTOR;
    const after = await siege.settled(isFree);
    assert(isFree(after), `the heap had ${before.heap} bytes before, and has ${after.heap} after`);
    assertEquals(await siege.stop(), 0);
  },
});
