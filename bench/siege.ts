/**
 * Milliseconds that good devices' messages take beside a thousand hostile connections, and without them; and the memory of the
 * server after that.
 *
 *     deno run -A bench/siege.ts [--transport deno,ws] [--rounds 3] [--no-check]
 *
 * Calm and besieged, in turns. It fails where the 99th percentile beside the attackers is over three times that of calm and over
 * 30 ms (medians of the rounds).
 */

import { parseArgs } from "@std/cli/parse-args";
import { TRANSPORTS } from "../server/transport_choice.ts";
import { type Latencies, Siege } from "../testing/siege.ts";

/** The bound: the 99th percentile may be this many times that of calm, or this many milliseconds, whichever is more. */
const CALM_FACTOR = 3, BESIEGED_MS = 30;
/** Milliseconds without work after which V8 has collected its garbage and given memory back. */
const REST_MS = 15_000;

interface Row {
  readonly transport: string;
  readonly calm: readonly Latencies[];
  readonly besieged: readonly Latencies[];
  /** KiB of resident memory after each siege and a rest. */
  readonly residentKib: readonly number[];
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

function percentile(rounds: readonly Latencies[], part: number): number {
  return median(rounds.map((latencies) => latencies[Math.floor(latencies.length * part)]!));
}

async function residentKib(pid: number): Promise<number> {
  return Number(/VmRSS:\s+(\d+)/.exec(await Deno.readTextFile(`/proc/${pid}/status`))![1]);
}

async function measure(transport: (typeof TRANSPORTS)[number], rounds: number): Promise<Row> {
  await using siege = await Siege.start(transport);
  const calm: Latencies[] = [], besieged: Latencies[] = [], resident: number[] = [];
  for (let round = 0; round < rounds; round++) {
    calm.push(await siege.chat());
    besieged.push(await siege.chatBesieged());
    await new Promise((resolve) => setTimeout(resolve, REST_MS));
    resident.push(await residentKib(siege.pid));
  }
  return { transport, calm, besieged, residentKib: resident };
}

function isOver({ calm, besieged }: Row): boolean {
  return percentile(besieged, 0.99) > Math.max(CALM_FACTOR * percentile(calm, 0.99), BESIEGED_MS);
}

function toTable(rows: readonly Row[]): string {
  const times = (rounds: readonly Latencies[]) =>
    [0.5, 0.99, 0.999].map((part) => percentile(rounds, part).toFixed(1)).join(", ");
  const cells = rows.map((row) =>
    `| ${row.transport} | ${times(row.calm)} | ${times(row.besieged)}${isOver(row) ? " **over**" : ""} | ${
      row.residentKib.map((kib) => (kib / 1_024).toFixed(0)).join(", ")
    } |`
  );
  const head = "| transport | calm: p50, p99, p99.9, ms | besieged | MiB after each siege |";
  return [head, "| --- | --- | --- | --- |", ...cells].join("\n");
}

async function main(): Promise<void> {
  const flags = parseArgs(Deno.args, {
    boolean: ["check"],
    string: ["transport", "rounds"],
    negatable: ["check"],
    default: { check: true },
  });
  const wanted = flags.transport?.split(",");
  const rows: Row[] = [];
  for (const transport of TRANSPORTS) {
    if (!wanted || wanted.includes(transport)) rows.push(await measure(transport, Number(flags.rounds ?? 3)));
  }
  console.log(toTable(rows));
  if (flags.check && rows.some(isOver)) Deno.exitCode = 1;
}

if (import.meta.main) await main();
