/** Tests in a browser: each with a server and a browser of its own. */

import { deadline } from "@std/async/deadline";
import type { Browser } from "playwright-core";
import { lacksProgram } from "../../testing/permissions.ts";
import { CHROMIUM, startChromium } from "./chromium.ts";
import { World } from "./world.ts";

/** Milliseconds that a test may take: far more than any does, as a machine may be busy with others. */
export const TEST_MS = 120_000;

/** Declares a test in Chromium. `args` are the server's. */
export function browserTest(
  name: string,
  run: (world: World, browser: Browser) => Promise<void>,
  args?: readonly string[],
  program?: string,
): void {
  Deno.test({
    name,
    ignore: lacksProgram(CHROMIUM) || program === "",
    fn: async () => {
      await using world = await World.start(args, program);
      const browser = await startChromium();
      await using _ = { [Symbol.asyncDispose]: () => browser.close() };
      await deadline(run(world, browser), TEST_MS);
      await world.close();
    },
  });
}
