/** Tests in a browser: each with a server and a browser of its own. */

import type { Browser } from "playwright-core";
import { lacksProgram } from "../../testing/permissions.ts";
import { CHROMIUM, startChromium } from "./chromium.ts";
import { World } from "./world.ts";

/** Declares a test in Chromium. `args` are the server's. */
export function browserTest(
  name: string,
  run: (world: World, browser: Browser) => Promise<void>,
  args?: readonly string[],
): void {
  Deno.test({
    name,
    ignore: lacksProgram(CHROMIUM),
    fn: async () => {
      await using world = await World.start(args);
      const browser = await startChromium();
      await using _ = { [Symbol.asyncDispose]: () => browser.close() };
      await run(world, browser);
      await world.close();
    },
  });
}
