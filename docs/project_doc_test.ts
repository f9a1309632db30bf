/** Things that README and CONTRIBUTING say exist do exist, and the other way round. */

import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import browsers from "../e2e/web/deno.json" with { type: "json" };
import sdk from "../sdk/deno.json" with { type: "json" };
import web from "../web/deno.json" with { type: "json" };
import { lacks } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);
const ignore = lacks("read");

Deno.test({
  name: "README and CONTRIBUTING name tasks that there are, and CONTRIBUTING all that check or make something",
  ignore,
  fn: async () => {
    for (const file of ["README.md", "CONTRIBUTING.md"]) {
      for (const [, task] of (await read(file)).matchAll(/deno(?:@[\d.]+)? task ([a-z:]+)/g)) {
        assert(Object.hasOwn(config.tasks, task!), `${file} names the task "${task}", which deno.json does not have`);
      }
    }
    const contributing = await read("CONTRIBUTING.md");
    for (const task of ["ok", "test", "check", "lint", "fmt", "compile", "web", "web:check", "npm", "npm:check", "bench"]) {
      assert(contributing.includes(`\`deno task ${task}\``), `CONTRIBUTING.md does not name "deno task ${task}"`);
    }
  },
});

Deno.test({
  name: "CONTRIBUTING says of every package why it is there",
  ignore,
  fn: async () => {
    const imports = [config, web, browsers, sdk].flatMap((configuration) => Object.values<string>(configuration.imports));
    const packages = new Set(imports.map((target) => /^npm:((?:@[^/]+\/)?[^@/]+)/.exec(target)![1]!));
    const table = (await read("CONTRIBUTING.md")).split("## Dependencies")[1]!;
    const explained = [...table.matchAll(/^\| `([^`]+)`/gm)].map((match) => match[1]!);
    assertEquals(explained.sort(), [...packages].sort());
  },
});

Deno.test({
  name: "links between the documents lead somewhere",
  ignore,
  fn: async () => {
    for (const file of ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/ARCHITECTURE.md", "docs/PROTOCOL.md"]) {
      for (const [, target] of (await read(file)).matchAll(/\]\((?!https?:)([^)#]+)/g)) {
        await Deno.stat(new URL(target!, new URL(file, ROOT))).catch(() => assert(false, `${file} links to ${target}`));
      }
    }
  },
});

Deno.test({
  name: "ARCHITECTURE names files that there are",
  ignore,
  fn: async () => {
    for (const [, path] of (await read("docs/ARCHITECTURE.md")).matchAll(/`([a-z0-9_/]+\.ts)`/g)) {
      if (path === "x.ts") continue; // any
      await Deno.stat(new URL(path!, ROOT)).catch(() => assert(false, `docs/ARCHITECTURE.md names ${path}`));
    }
  },
});

async function read(file: string): Promise<string> {
  return await Deno.readTextFile(new URL(file, ROOT));
}
