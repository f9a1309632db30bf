/**
 * The scenario runner: starts server and clients for each scenario, prints a table, and fails unless every message arrived
 * once, unaltered and in order.
 *
 *     deno task bench:load --quick
 *     deno task bench:load --only direct-w16,durable-w16 --out bench/results/today
 */

import { parseArgs } from "@std/cli/parse-args";
import { MeasuredProcess } from "./measured_process.ts";
import { describeFaults, isDisturbed, isSound, toMarkdown, toSvg } from "./report.ts";
import { type Result, SCENARIOS, type Setting } from "./scenarios.ts";

const HELP = `Measures Parley's server with clients in processes of their own.

  --quick          small and short: about a minute in all
  --only a,b       these scenarios alone
  --seconds N      seconds measured in each (default 5, quick 1)
  --out FILE       also write FILE.jsonl, FILE.md and FILE.svg
  --metrics        have the server count as with --metrics-listen
  --no-pin         let the scheduler place the processes; else the server has processor 0 and the clients the others
  --list           name the scenarios
`;

function usage(message: string): never {
  console.error(`bench: ${message}; see --help`);
  Deno.exit(2);
}

function parse() {
  const flags = parseArgs(Deno.args, {
    boolean: ["quick", "help", "list", "pin", "metrics"],
    alias: { help: "h" },
    string: ["only", "seconds", "out"],
    negatable: ["pin"],
    default: { pin: true },
    unknown: (argument: string) => usage(`there is no ${argument}`),
  });
  if (flags.help || flags.list) {
    console.log(flags.help ? HELP : SCENARIOS.map(({ name }) => name).join("\n"));
    Deno.exit();
  }
  const seconds = Number(flags.seconds ?? (flags.quick ? 1 : 5));
  if (!(seconds > 0)) usage(`--seconds ${flags.seconds} is no time`);
  const names: string[] | undefined = flags.only?.split(",");
  const unknown = names?.find((name) => !SCENARIOS.some((scenario) => scenario.name === name));
  if (unknown !== undefined) usage(`there is no scenario ${unknown}`);
  if (flags.out !== undefined) checkWritable(flags.out);
  const scenarios = SCENARIOS.filter(({ name }) => names?.includes(name) ?? true);
  return { scenarios, seconds, quick: flags.quick, pin: flags.pin, metrics: flags.metrics, out: flags.out };
}

/** Before anything is measured: minutes later would be too late. */
function checkWritable(out: string): void {
  if (out === "") usage("--out needs the name of a file");
  const file = `${out}.jsonl`;
  try {
    Deno.openSync(file, { write: true, create: true }).close();
    if (Deno.statSync(file).size === 0) Deno.removeSync(file);
  } catch (error) {
    usage(`cannot write ${file}: ${error instanceof Error ? error.message : error}`);
  }
}

function settingOf(
  options: { quick: boolean; seconds: number; pin: boolean; metrics: boolean },
  directory: () => string,
): Setting {
  const limits = Deno.readTextFileSync("/proc/self/limits");
  const pinned = options.pin && navigator.hardwareConcurrency > 1;
  return {
    seconds: { warmup: options.quick ? 0.5 : 2, measured: options.seconds },
    scale: options.quick ? 0.1 : 1,
    filesMax: Number(/^Max open files\s+(\d+)/m.exec(limits)?.[1] ?? 1_024),
    serverCpus: pinned ? "0" : undefined,
    agentCpus: pinned ? `1-${navigator.hardwareConcurrency - 1}` : undefined,
    metrics: options.metrics,
    directory,
  };
}

/** Conditions that a result needs beside it to be compared with another. */
function circumstances({ seconds, quick }: { seconds: number; quick: boolean }) {
  const date = new Date().toISOString().slice(0, 10);
  return { date, seconds, quick, deno: Deno.version.deno, processors: navigator.hardwareConcurrency };
}

function write(out: string, results: readonly Result[]): void {
  const date = new Date().toISOString().slice(0, 10);
  Deno.writeTextFileSync(`${out}.jsonl`, results.map((result) => JSON.stringify(result) + "\n").join(""));
  Deno.writeTextFileSync(`${out}.md`, toMarkdown(results));
  Deno.writeTextFileSync(`${out}.svg`, toSvg(results, `Parley on Deno ${Deno.version.deno}, ${date}`));
}

async function main(): Promise<void> {
  const options = parse();
  const directories: string[] = [];
  const setting = settingOf(options, () => {
    directories.push(Deno.makeTempDirSync({ prefix: "parley-bench-" }));
    return directories.at(-1)!;
  });
  const clean = () => directories.splice(0).forEach((directory) => Deno.removeSync(directory, { recursive: true }));
  for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15]] as const) {
    Deno.addSignalListener(signal, () => {
      MeasuredProcess.killAll();
      clean();
      Deno.exit(128 + number);
    });
  }
  const results: Result[] = [];
  let failed = false;
  for (const scenario of options.scenarios) {
    console.error(`${scenario.name} ...`);
    try {
      const result = { ...await scenario.run(setting), ...circumstances(options) };
      results.push(result);
      console.log(JSON.stringify(result));
      if (isDisturbed(result)) {
        console.error(`bench: ${scenario.name} was disturbed: neither the server nor its clients were busy`);
      }
      if (isSound(result)) continue;
      console.error(`bench: ${scenario.name} does not count: ${describeFaults(result)}`);
    } catch (error) {
      console.error(`bench: ${scenario.name} failed: ${error instanceof Error ? error.message : error}`);
    }
    failed = true;
  }
  clean();
  console.log("\n" + toMarkdown(results.filter(isSound)));
  if (options.out && !failed) write(options.out, results);
  Deno.exit(failed ? 1 : 0);
}

if (import.meta.main) await main();
