/** Environment variables that nobody reads: a slip in a name would fall back to the default without a word. */

import type { OptionTable } from "./options.ts";
import { nearest } from "./suggest.ts";

/** Value of a port that Kubernetes sets for a service, in the place of a number. */
const SERVICE_LINK_REGEXP = /^(tcp|udp|sctp):\/\//;
/** Names that Kubernetes sets for a service, after the name of the service. */
const SERVICE_NAME_REGEXP = /_(SERVICE_(HOST|PORT(_.*)?)|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$/;

/** Returns the environment of this process, or nothing where not all of it may be seen. */
export function wholeEnvironment(): Record<string, string> {
  try {
    return Deno.env.toObject();
  } catch {
    return {};
  }
}

/**
 * Reads a variable, as `parseOptions` asks for it. What Kubernetes sets for a service of the program's own name is nobody's
 * choice, and counts as not set.
 */
export function readVariable(name: string): string | undefined {
  const value = Deno.env.get(name);
  return value === undefined || isServiceLink(name, value) ? undefined : value;
}

function isServiceLink(name: string, value: string): boolean {
  return SERVICE_NAME_REGEXP.test(name) || (/_PORT$/.test(name) && SERVICE_LINK_REGEXP.test(value));
}

/** Lists the variables that the options of `tables` are set by. */
export function variablesOf(tables: readonly OptionTable[]): string[] {
  return [...new Set(tables.flatMap((table) => Object.values(table)).flatMap(({ env }) => env ?? []))];
}

/**
 * Returns a sentence for each variable of `env` that begins with `prefix`, in any case, and is none of `known`, with what it may
 * have been meant for among `own`. Empty ones count as not set.
 */
export function strangeVariables(
  env: Readonly<Record<string, string>>,
  prefix: string,
  own: readonly string[],
  known: readonly string[],
): string[] {
  const sentences = [];
  for (const [name, value] of Object.entries(env).sort(([a], [b]) => a < b ? -1 : 1)) {
    const upper = name.toUpperCase();
    if (!upper.startsWith(prefix) || value === "" || own.includes(name) || known.includes(name)) continue;
    if (isServiceLink(name, value)) continue;
    const near = nearest(upper.slice(prefix.length), own.map((variable) => variable.slice(prefix.length)));
    const meant = near === undefined ? "" : `; did you mean ${prefix}${near}?`;
    sentences.push(`${name.replace(/[^\w]/g, "?")} is set, but nothing reads it${meant}`);
  }
  return sentences;
}
