/**
 * The page in browsers: runs the tests of e2e/web/, whose drivers have a configuration and a lock of their own, and tells each
 * of them as a step. One runs at a time: a browser and a server fill two cores. Beside them are pages that sleep for two minutes,
 * which costs nothing but time.
 */

import { assert } from "@std/assert";
import { CAN_RUN, lacksProgram } from "../testing/permissions.ts";
import { ensurePage } from "../tools/web.ts";

const FOLDER = new URL("web/", import.meta.url);
/** Tests of pages that sleep. */
const ASLEEP = "frozen_test.ts";

Deno.test({
  name: "the page does in browsers what people need",
  ignore: !CAN_RUN || lacksProgram("/usr/bin/chromium"),
  fn: async (t) => {
    const page = await ensurePage();
    assert(page.state !== "missing", "reason" in page ? `the page cannot be built: ${page.reason}` : "");
    const runs = await Promise.all([runTests(ASLEEP), runTests(".", `--ignore=${ASLEEP}`)]);
    for (const { results, code, said } of runs) {
      for (const { name, outcome, words } of results) {
        await t.step({ name, ignore: outcome === "skip", fn: () => assert(outcome === "ok", words) });
      }
      assert(results.length > 0 && code === 0, said);
    }
  },
});

/** Runs tests of e2e/web/ in a process of their own, one at a time. */
async function runTests(...args: string[]): Promise<{ results: Result[]; code: number; said: string }> {
  const command = new Deno.Command(Deno.execPath(), {
    args: ["test", "-A", "--quiet", "--no-prompt", "--parallel", "--reporter", "tap", ...args],
    cwd: FOLDER,
    env: { NO_COLOR: "1", DENO_JOBS: "1" },
    stdin: "null",
    stderr: "piped",
  });
  const { code, stdout, stderr } = await command.output();
  const [tap, errors] = [stdout, stderr].map((bytes) => new TextDecoder().decode(bytes));
  return { results: resultsOf(tap!), code, said: `${tap}\n${errors}` };
}

interface Result {
  readonly name: string;
  readonly outcome: "ok" | "not ok" | "skip";
  readonly words: string;
}

/** Reads the results of a run in the Test Anything Protocol, with what stands below each. */
function resultsOf(tap: string): Result[] {
  const results: Result[] = [];
  for (const part of tap.split(/^(?=ok |not ok )/m)) {
    const found = /^(ok|not ok) \d+ - (.*?)(?: # (SKIP))?$/m.exec(part);
    if (!found) continue;
    const [line, outcome, name, skipped] = found;
    results.push({
      name: name!,
      outcome: skipped ? "skip" : outcome as "ok" | "not ok",
      words: part.slice(line.length).trim().replaceAll("\\n", "\n").slice(0, 4_000),
    });
  }
  return results;
}
