/** Rules of the house, as docs/ARCHITECTURE.md says them: who may import whom, doors, and no circle. */

import { assert, assertEquals } from "@std/assert";
import { lacks } from "../testing/permissions.ts";

const ROOT = new URL("..", import.meta.url);

/**
 * Files by the beginning of their path, the longest that fits, and the beginnings of what they may import beside their own
 * folder. Packages aside.
 */
const MAY_IMPORT: Record<string, readonly string[]> = {
  "protocol.ts": [],
  "broker.ts": ["protocol.ts", "broker/"],
  "broker/": ["broker.ts"],
  "hub.ts": ["protocol.ts", "broker.ts", "hub/"],
  "hub/": ["protocol.ts", "broker.ts"],
  "chat_client.ts": ["protocol.ts", "chat_client/"],
  "chat_client/": ["protocol.ts"],
  "cli/": [],
  "auth/": ["protocol.ts", "ops/"],
  "limits/": ["hub.ts"],
  "ops/": ["protocol.ts", "hub.ts"],
  "server.ts": ["hub.ts", "broker.ts", "broker/", "auth/", "limits/", "cli/", "ops/", "server/"],
  "server/": ["protocol.ts", "hub.ts", "broker.ts", "broker/", "auth/", "limits/", "cli/", "ops/", "deno.json"],
  "client.ts": ["chat_client.ts", "cli/", "client/"],
  "client/": ["protocol.ts", "chat_client.ts", "cli/", "deno.json"],
  "web/": ["protocol.ts", "chat_client.ts"],
  "sdk/": ["deno.json", "tools/dom.json"],
  "tools/": ["cli/", "server", "client", "deno.json"],
  "tools/cluster.ts": ["testing/postgres.ts", "testing/process.ts"],
};
/** Tests, and what only tests and measurements use, may import anything. */
const FREE_REGEXP = /_test\.ts$|_bench\.ts$|^(testing|e2e|bench|types)\/|contract\.ts$/;
/** Threads of their own, by their first module, with the only folder that they may load modules from. */
const LOADS_ONLY: Record<string, string> = { "broker/sqlite/worker.ts": "broker/" };
/** Rooms that are doors too: the engines implement the port, so its door cannot re-export them without a circle. */
const ENGINES = ["broker/memory.ts", "broker/sqlite.ts", "broker/postgres.ts"];

Deno.test({
  name: "modules import only what the architecture lets them",
  ignore: lacks("read"),
  fn: async () => {
    const graph = await importGraph();
    assertEquals(edges(graph).filter(([from, to]) => !mayImport(from, to)).map(asWords), []);
  },
});

Deno.test({
  name: "rooms are entered by their door",
  ignore: lacks("read"),
  fn: async () => {
    const graph = await importGraph();
    const has = (path: string) => graph.has(path);
    assertEquals(edges(graph).filter(([from, to]) => !usesDoor(from, to, has)).map(asWords), []);
  },
});

Deno.test({
  name: "no modules import each other in a circle, types included",
  ignore: lacks("read"),
  fn: async () => assertEquals(findCircle(await importGraph()), []),
});

Deno.test({
  name: "workers load only what they need",
  ignore: lacks("read"),
  fn: async () => {
    const loading = await importGraph(loadedSpecifiersOf);
    for (const [worker, folder] of Object.entries(LOADS_ONLY)) {
      const loaded = loadedBy(worker, loading);
      assert(loaded.length > 1, `${worker} loads nothing`);
      assertEquals(loaded.filter((path) => !path.startsWith(folder)), [], worker);
    }
  },
});

Deno.test("a worker loads modules on any way, but none that only types are imported from", () => {
  const graph = (text: string) =>
    new Map([["broker/w.ts", loadedSpecifiersOf(text).map((specifier) => specifier.replace("..", ".").slice(2))]]);
  const loaded = (text: string) => loadedBy("broker/w.ts", graph(text));
  assertEquals(loaded('import type { A } from "../hub.ts";\nimport type {\n  B,\n} from "../hub.ts";'), ["broker/w.ts"]);
  assertEquals(loaded('export type { A } from "../hub.ts";\nexport type * from "../hub.ts";'), ["broker/w.ts"]);
  for (
    const text of [
      'import { a } from "../hub.ts";',
      'import {\n  a,\n  type B,\n} from "../hub.ts";',
      'import "../hub.ts";',
      'export { a } from "../hub.ts";',
      'export * from "../hub.ts";',
      'await import("../hub.ts");',
      'import type { A } from "../protocol.ts";\nimport { b } from "../hub.ts";',
    ]
  ) assertEquals(loaded(text), ["broker/w.ts", "hub.ts"], text);

  const chain = new Map([["broker/w.ts", ["broker/a.ts"]], ["broker/a.ts", ["hub.ts", "broker/w.ts"]], ["hub.ts", ["c.ts"]]]);
  assertEquals(loadedBy("broker/w.ts", chain), ["broker/w.ts", "broker/a.ts", "hub.ts", "c.ts"]);
});

Deno.test("the rules forbid what they are for", () => {
  assert(mayImport("server/assemble.ts", "broker/sqlite.ts"));
  assert(!mayImport("hub.ts", "broker/memory.ts"));
  assert(!mayImport("broker/sqlite.ts", "auth/tokens.ts"));
  assert(!mayImport("client.ts", "hub.ts"));
  assert(!mayImport("server.ts", "testing/process.ts"));
  assert(!mayImport("chat_client.ts", "client/device.ts"));

  const has = (path: string) => ["hub.ts", "broker.ts", "broker/sqlite.ts", "server.ts"].includes(path);
  assert(usesDoor("server.ts", "hub.ts", has) && usesDoor("hub.ts", "hub/session.ts", has));
  assert(usesDoor("hub/requests.ts", "hub/session.ts", has));
  assert(usesDoor("server/assemble.ts", "broker/sqlite.ts", has), "an engine is a door");
  assert(usesDoor("server/gate.ts", "auth/tokens.ts", has), "a folder without a door has none");
  assert(!usesDoor("server.ts", "hub/session.ts", has));
  assert(!usesDoor("server/assemble.ts", "broker/sqlite/files.ts", has));
  assert(!usesDoor("broker/memory.ts", "broker/sqlite/files.ts", has));

  assertEquals(findCircle(new Map([["a.ts", ["b.ts"]], ["b.ts", ["c.ts"]], ["c.ts", []]])), []);
  assertEquals(findCircle(new Map([["a.ts", ["b.ts"]], ["b.ts", ["c.ts"]], ["c.ts", ["b.ts"]]])), ["b.ts", "c.ts", "b.ts"]);

  assertEquals(specifiersOf('import type { A } from "./a.ts";\nexport { b } from "./b.ts";\nimport "./c.ts";'), [
    "./a.ts",
    "./b.ts",
    "./c.ts",
  ]);
  assertEquals(specifiersOf('import {\n  a,\n} from "./a.ts";\nnew Worker(new URL("./w.ts", import.meta.url))'), [
    "./a.ts",
    "./w.ts",
  ]);
  assertEquals(specifiersOf('type A = import("./a.ts").A; // from "x.ts"'), ["./a.ts"]);
});

type Edge = readonly [from: string, to: string];

function asWords([from, to]: Edge): string {
  return `${from} imports ${to}`;
}

function mayImport(from: string, to: string): boolean {
  if (FREE_REGEXP.test(from)) return true;
  const rule = Object.keys(MAY_IMPORT).filter((prefix) => from.startsWith(prefix)).sort().at(-1);
  if (rule === undefined) return false;
  const own = rule.endsWith("/") ? [rule] : [];
  return [...MAY_IMPORT[rule]!, ...own].some((prefix) => to.startsWith(prefix));
}

/** Returns whether `to` is no room of others, or a door: the rooms of `x.ts` stand in `x/`. */
function usesDoor(from: string, to: string, has: (path: string) => boolean): boolean {
  if (FREE_REGEXP.test(from) || ENGINES.includes(to)) return true;
  for (let folder = parentOf(to); folder !== ""; folder = parentOf(folder)) {
    const isInside = from === `${folder}.ts` || from.startsWith(`${folder}/`);
    if (has(`${folder}.ts`) && !isInside) return false;
  }
  return true;
}

function parentOf(path: string): string {
  return path.slice(0, Math.max(0, path.lastIndexOf("/")));
}

/** Finds modules that import each other in a circle, the first once more at the end; empty where there are none. */
function findCircle(graph: ReadonlyMap<string, readonly string[]>): string[] {
  const done = new Set<string>();
  const walk = (path: string, way: readonly string[]): string[] => {
    if (way.includes(path)) return [...way.slice(way.indexOf(path)), path];
    if (done.has(path)) return [];
    for (const next of graph.get(path) ?? []) {
      const circle = walk(next, [...way, path]);
      if (circle.length > 0) return circle;
    }
    done.add(path);
    return [];
  };
  for (const path of graph.keys()) {
    const circle = walk(path, []);
    if (circle.length > 0) return circle;
  }
  return [];
}

function edges(graph: ReadonlyMap<string, readonly string[]>): Edge[] {
  return [...graph].flatMap(([from, imports]) => imports.map((to): Edge => [from, to]));
}

/** Lists the modules that are loaded with `entry`, which is the first. */
function loadedBy(entry: string, graph: ReadonlyMap<string, readonly string[]>): string[] {
  const loaded = new Set([entry]);
  for (const path of loaded) for (const next of graph.get(path) ?? []) loaded.add(next);
  return [...loaded];
}

/** Every module of the project with what it imports: all of it, or the specifiers that `pick` finds in its text. */
async function importGraph(pick = specifiersOf): Promise<Map<string, string[]>> {
  const graph = new Map<string, string[]>();
  for await (const path of modules()) graph.set(path, await importsOf(path, pick));
  return graph;
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
async function importsOf(path: string, pick: (text: string) => string[]): Promise<string[]> {
  const base = new URL(path, ROOT);
  const text = await Deno.readTextFile(base);
  return pick(text).map((specifier) => new URL(specifier, base).href.slice(ROOT.href.length));
}

/** The relative specifiers of a module's text, in its order. */
function specifiersOf(text: string): string[] {
  const found = text.matchAll(
    /^(?:import\b|export\b|\}).*?\bfrom "(\.[^"]+)"|^import "(\.[^"]+)"|\bimport\("(\.[^"]+)"\)|new URL\("(\.[^"]+\.ts)"/gm,
  );
  return [...found].map((match) => match.slice(1).find((specifier) => specifier !== undefined)!);
}

/** The relative specifiers that are loaded at run time, unlike those that only types come from. */
function loadedSpecifiersOf(text: string): string[] {
  return specifiersOf(text.replaceAll(/^(?:import|export) type (?:\*|\{[^}]*\}) from "[^"]+";$/gm, ""));
}
