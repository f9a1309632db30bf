/** Addresses of a name, as the machine looks them up. */

import { lookup } from "node:dns/promises";
import process from "node:process";

/**
 * Returns the addresses of a name, from wherever the machine takes them, such as its file of hosts. Rejects as `node:dns` does,
 * with a `code`. Deno 2.5 uses a deprecated function of its own for it, and would tell so on stderr at the first name: to
 * somebody who cannot do anything about it.
 */
export async function lookupAll(name: string): Promise<string[]> {
  const warned = process as { noDeprecation?: boolean }, { noDeprecation = false } = warned;
  warned.noDeprecation = true;
  const looking = lookup(name, { all: true });
  warned.noDeprecation = noDeprecation;
  return (await looking).map(({ address }) => address);
}
