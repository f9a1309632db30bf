/** OPERATIONS.md has a row for each event of the log, as it is, and the code logs each of them. */

import { assert, assertEquals } from "@std/assert";
import { EVENTS } from "../ops/log.ts";
import { lacks } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);
/** Folders and files whose code runs in a server. */
const SERVER_CODE = ["server.ts", "server/", "server/api/", "server/webhooks/", "auth/", "ops/slow.ts"];

Deno.test({
  name: "OPERATIONS.md lists the events of the log with their levels and fields, and no others",
  ignore: lacks("read"),
  fn: () => {
    const text = Deno.readTextFileSync(new URL("docs/OPERATIONS.md", ROOT));
    const table = text.slice(text.indexOf("\n| event "), text.indexOf("## Metrics"));
    const rows = [...table.matchAll(/^\| `(\w+)` +\| (\w+) +\|([^|]*)\| (\S.*) \|$/gm)].map(([, event, level, fields]) => [
      event,
      level,
      [...fields!.matchAll(/`(\w+)`/g)].map(([, field]) => field),
    ]);
    assertEquals(rows, Object.entries(EVENTS).map(([event, { level, fields }]) => [event, level, Object.keys(fields)]));
  },
});

Deno.test({
  name: "each event of the log is logged somewhere",
  ignore: lacks("read"),
  fn: async () => {
    const logged = new Set<string>();
    for await (const path of sources()) {
      const text = await Deno.readTextFile(new URL(path, ROOT));
      // log("x", …), log?.("x", …), log(isShort ? "x" : "y", …), lineOf("json", "x", …)
      for (const [, words] of text.matchAll(/(?<!console\.)\b(?:log(?:\?\.)?\(|lineOf\("json", )([^,)]*)/g)) {
        for (const [, event] of words!.matchAll(/"(\w+)"/g)) logged.add(event!);
      }
    }
    assertEquals(Object.keys(EVENTS).filter((event) => !logged.has(event)), []);
    assert([...logged].every((event) => Object.hasOwn(EVENTS, event)), [...logged].join());
  },
});

async function* sources(): AsyncIterable<string> {
  for (const path of SERVER_CODE) {
    if (path.endsWith(".ts")) yield path;
    else {
      for await (const { name } of Deno.readDir(new URL(path, ROOT))) {
        if (name.endsWith(".ts") && !name.endsWith("_test.ts")) yield path + name;
      }
    }
  }
}
