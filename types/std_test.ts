import { assert, assertEquals } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { lacks } from "../testing/permissions.ts";

const DECLARATIONS = new URL("std.d.ts", import.meta.url);
const imports: Record<string, string> = config.imports;

Deno.test({
  name: "std.d.ts declares the modules of the import map, and nothing that the package does not have",
  ignore: lacks("read"),
  fn: async () => {
    const declared = await readDeclarations();
    assertEquals([...declared.keys()].sort(), Object.keys(imports).filter((name) => name.startsWith("@std/")).sort());
    for (const [module, names] of declared) {
      assert(names.length > 0, `${module} declares nothing`);
      const loaded: Record<string, unknown> = await import(imports[module]!);
      for (const name of names) assertEquals(typeof loaded[name], "function", `${module} has no ${name}`);
    }
  },
});

/** The functions and classes that std.d.ts declares, by module. */
async function readDeclarations(): Promise<Map<string, string[]>> {
  const declared = new Map<string, string[]>();
  let names: string[] = [];
  for (const line of (await Deno.readTextFile(DECLARATIONS)).split("\n")) {
    const module = /^declare module "(.+)" {/.exec(line)?.[1];
    if (module !== undefined) declared.set(module, names = []);
    const name = /^ {2}export (?:function|class) (\w+)/.exec(line)?.[1];
    if (name !== undefined) names.push(name);
  }
  return declared;
}
