/** Bill of materials in CycloneDX (ecma-international.org, ECMA-424), made from the lock file. Pure. */

/** A lock file of Deno's, version 5, as far as this needs it. */
export interface Lock {
  readonly npm?: Readonly<Record<string, { readonly integrity: string; readonly dependencies?: readonly string[] }>>;
}

/** Facts about the product beside its packages. */
export interface Product {
  readonly version: string;
  /** Version of the runtime that is in the programs. */
  readonly deno: string;
  /** Seconds since 1970. */
  readonly epoch: number;
  /** Packages that the programs import themselves, without the tests' alone, as `name`. */
  readonly shipped: readonly string[];
}

/** Makes the bill: the runtime, and every package that the programs have, with its hash. */
export function billOfMaterials(lock: Lock, { version, deno, epoch, shipped }: Product): string {
  const names = reachable(lock, shipped);
  const components = [
    { type: "platform", name: "deno", version: deno, purl: `pkg:github/denoland/deno@v${deno}` },
    ...names.map((key) => component(key, lock.npm![key]!.integrity)),
  ];
  const bill = {
    bomFormat: "CycloneDX",
    specVersion: "1.6",
    version: 1,
    metadata: {
      timestamp: new Date(epoch * 1_000).toISOString(),
      component: { type: "application", name: "parley", version, licenses: [{ license: { id: "MIT" } }] },
    },
    components,
  };
  return JSON.stringify(bill, null, 2) + "\n";
}

/** Lists the keys of packages that others need, themselves included, in their order. */
function reachable({ npm = {} }: Lock, names: readonly string[]): string[] {
  const keys = Object.keys(npm);
  const keyOf = (name: string) => keys.find((key) => nameOf(key) === name || key === name);
  const found = new Set<string>();
  const add = (name: string) => {
    const key = keyOf(name);
    if (key === undefined) throw new Error(`deno.lock does not have "${name}"`);
    if (found.has(key)) return;
    found.add(key);
    for (const dependency of npm[key]!.dependencies ?? []) add(dependency);
  };
  names.forEach(add);
  return [...found].sort();
}

function nameOf(key: string): string {
  return key.slice(0, key.indexOf("@", 1));
}

function component(key: string, integrity: string) {
  const name = nameOf(key), version = key.slice(name.length + 1).replace(/_.*/, "");
  const [algorithm, hash] = integrity.split("-") as [string, string];
  const content = [...atob(hash)].map((char) => char.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return {
    type: "library",
    name,
    version,
    purl: `pkg:npm/${name.replace("@", "%40")}@${version}`,
    hashes: [{ alg: algorithm.replace("sha", "SHA-"), content }],
  };
}
