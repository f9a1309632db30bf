/** compose.yml and kubernetes.yaml: they parse, and set variables that the server has, to values that it takes. */

import { assert, assertEquals } from "@std/assert";
import { parseOptions } from "../cli/options.ts";
import { SERVER_OPTIONS } from "../server/options.ts";
import { lacks, lacksProgram } from "../testing/permissions.ts";

const FILES = ["compose.yml", "kubernetes.yaml"];
const PARSE = `import json, sys, yaml
print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))`;

/** Every PARLEY_* of a document: a member with that name, or `name` and `value` beside each other. */
function variables(node: unknown, found = new Map<string, string>()): Map<string, string> {
  if (typeof node !== "object" || node === null) return found;
  const { name, value } = node as { name?: unknown; value?: unknown };
  if (typeof name === "string" && name.startsWith("PARLEY_")) found.set(name, String(value ?? "x"));
  for (const [key, one] of Object.entries(node)) {
    if (key.startsWith("PARLEY_")) found.set(key, String(one));
    else variables(one, found);
  }
  return found;
}

for (const file of FILES) {
  Deno.test({
    name: `${file} parses, and its options are the server's`,
    ignore: lacks("read") || lacksProgram("python3", ["-c", "import yaml"]),
    async fn() {
      const path = new URL(file, import.meta.url).pathname;
      const { success, stdout, stderr } = await new Deno.Command("python3", { args: ["-c", PARSE, path] }).output();
      assert(success, new TextDecoder().decode(stderr));
      const set = variables(JSON.parse(new TextDecoder().decode(stdout)));
      const known = new Set<string>(Object.values(SERVER_OPTIONS).flatMap((option) => "env" in option ? [option.env] : []));
      assertEquals([...set.keys()].filter((name) => !known.has(name)), []);
      const { values } = parseOptions(SERVER_OPTIONS, [], { env: (name) => set.get(name) });
      assert(values.postgres?.startsWith("postgres://"), "it is about many nodes");
    },
  });
}
