/** Every option of both programs and their commands is taken as the help writes it, from the tables that the help is made of. */

import { assertEquals } from "@std/assert";
import { CLIENT } from "../client/options.ts";
import { SERVER } from "../server/options.ts";
import { type OptionSpec, type OptionTable, parseOptions, type ProgramSpec } from "./options.ts";

for (const program of [CLIENT, SERVER] as ProgramSpec[]) {
  const tables: [string, OptionTable][] = [["", program.options]];
  for (const [name, { options }] of Object.entries(program.commands ?? {})) tables.push([name, options]);
  for (const [command, options] of tables) {
    Deno.test(`${program.name} ${command} takes each of its options, in every way of writing it`.replace("  ", " "), () => {
      for (const [name, spec] of Object.entries(options)) {
        for (const args of spellings(name, spec)) {
          const { values, operands, origins } = parseOptions(options, [...args, "operand"]);
          const given = [(values as Record<string, unknown>)[name], origins[name], operands];
          assertEquals(given, [wanted(spec), "command line", ["operand"]], args.join(" "));
        }
      }
    });
  }
}

function sample({ kind, choices, min = 0 }: OptionSpec): string {
  if (kind === "integer" || kind === "limit") return String(Math.max(min, 1));
  return choices?.at(-1) ?? "x";
}

function wanted(spec: OptionSpec): unknown {
  if (spec.kind === "flag") return true;
  if (spec.kind === "list") return [sample(spec)];
  return spec.kind === "string" ? sample(spec) : Number(sample(spec));
}

function spellings(name: string, spec: OptionSpec): string[][] {
  const { kind, short } = spec;
  if (kind === "flag") return [[`--${name}`], [`--${name}=1`], ...(short ? [[`-${short}`]] : [])];
  const value = sample(spec);
  return [[`--${name}`, value], [`--${name}=${value}`], ...(short ? [[`-${short}`, value]] : [])];
}
