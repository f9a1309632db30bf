/** Arrows point inward: who may import whom, as docs/ARCHITECTURE.md says. */

import { assert, assertEquals } from "@std/assert";
import { lacks } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);
/** The hub and its parts. */
const CORE = ["protocol.ts", "hub.ts", "session.ts", "requests.ts", "presence.ts", "encoding.ts"];

/** The server and its parts: they put together what knows nothing of each other. */
const COMPOSED = [
  ...CORE,
  "options.ts",
  "server_",
  "gate.ts",
  "tls_front.ts",
  "broker/",
  "auth/",
  "limits/",
  "web/",
  "deno.json",
];

/** Files by the beginning of their path, the longest that fits, and the beginnings of what they may import. Packages aside. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  "": CORE,
  "protocol.ts": [],
  "options.ts": [],
  "chat_client.ts": ["protocol.ts"],
  "broker/": [...CORE, "broker/"],
  "auth/": [...CORE, "options.ts", "auth/"],
  "limits/": [...CORE, "limits/"],
  "terminal/": ["protocol.ts", "chat_client.ts", "options.ts", "terminal/"],
  "web/": ["protocol.ts", "chat_client.ts", "web/"],
  "client.ts": ["protocol.ts", "chat_client.ts", "options.ts", "terminal/", "client_", "deno.json"],
  "client_": ["protocol.ts", "chat_client.ts", "options.ts", "terminal/", "client_", "deno.json"],
  "server.ts": COMPOSED,
  "server_": COMPOSED,
  "gate.ts": COMPOSED,
  "tls_front.ts": COMPOSED,
  "tools/": ["tools/", "options.ts", "server", "client", "terminal/", "deno.json"],
};
/** Tests, and what only tests and measurements use, may import anything. */
const FREE_REGEXP = /_test\.ts$|_bench\.ts$|^(testing|e2e|bench)\/|^broker\/contract\.ts$/;

Deno.test({
  name: "modules import only what the architecture lets them",
  ignore: lacks("read"),
  fn: async () => {
    const wrong: string[] = [];
    for await (const path of modules()) {
      if (FREE_REGEXP.test(path)) continue;
      for (const imported of await importsOf(path)) {
        if (!mayImport(path).some((prefix) => imported.startsWith(prefix))) wrong.push(`${path} imports ${imported}`);
      }
    }
    assertEquals(wrong, []);
  },
});

Deno.test("the rules forbid what they are for", () => {
  const allows = (path: string, imported: string) => mayImport(path).some((prefix) => imported.startsWith(prefix));
  assert(allows("server.ts", "broker/sqlite.ts"));
  assert(!allows("hub.ts", "broker/memory.ts"));
  assert(!allows("broker/sqlite.ts", "auth/tokens.ts"));
  assert(!allows("client.ts", "hub.ts"));
  assert(!allows("server.ts", "testing/process.ts"));
});

function mayImport(path: string): readonly string[] {
  const rule = Object.keys(MAY_IMPORT).filter((prefix) => path.startsWith(prefix)).sort().at(-1)!;
  return MAY_IMPORT[rule]!;
}

/** The paths of all modules, from the root. */
async function* modules(folder = ""): AsyncGenerator<string> {
  for await (const { name, isDirectory } of Deno.readDir(new URL(folder, ROOT))) {
    if (name.startsWith(".") || name === "node_modules" || name === "dist" || name === "data") continue;
    if (isDirectory) yield* modules(`${folder}${name}/`);
    else if (/(?<!\.d)\.tsx?$/.test(name)) yield folder + name;
  }
}

/** The files of this project that a module imports, and loads as a worker. */
async function importsOf(path: string): Promise<string[]> {
  const base = new URL(path, ROOT);
  const text = await Deno.readTextFile(base);
  const specifiers = text.matchAll(
    /^(?:import|export|\})\b.*?\bfrom "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)|new URL\("(\.[^"]+\.ts)"/gm,
  );
  return [...specifiers].map((match) => new URL(match[1] ?? match[2] ?? match[3]!, base).href.slice(ROOT.href.length));
}
