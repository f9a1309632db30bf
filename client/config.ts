/** `chat-client config`: every setting and the source of its value. Pure. */

import type { Origin } from "../cli/options.ts";
import { sanitize } from "./sanitize.ts";

/** Returns lines for people. The token is hidden; `strange` are names in the file that are no settings. */
export function configLines(
  values: Readonly<Record<string, unknown>>,
  origins: Readonly<Record<string, Origin>>,
  file: string,
  strange: readonly string[] = [],
): string[] {
  const rows = Object.entries(values).filter(([name]) => name !== "help" && name !== "version").map(([name, value]) => {
    const shown = value === undefined ? "(not set)" : name === "token" ? "(hidden)" : sanitize(String(value));
    return [name, shown, value === undefined ? "" : origins[name] ?? "default"] as const;
  });
  const widths = [0, 1].map((column) => Math.max(...rows.map((row) => row[column]!.length)));
  const lines = rows.map((row) => `${row[0].padEnd(widths[0]!)}  ${row[1].padEnd(widths[1]!)}  ${row[2]}`.trimEnd());
  const slips = strange.length > 0
    ? [`It has names that are no settings: ${strange.map((name) => sanitize(name)).join(", ")}`]
    : [];
  return [...lines, "", `Settings are read from ${file}`, ...slips];
}
