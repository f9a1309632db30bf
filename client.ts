/**
 * The command line of the client: on a terminal it is a chat; between other programs it turns lines into messages and back; its
 * commands are for scripts.
 */

import {
  ADMIN_OPTIONS,
  CLIENT,
  CLIENT_OPTIONS,
  HISTORY_OPTIONS,
  LISTEN_OPTIONS,
  SEND_OPTIONS,
  VERSION,
} from "./client/options.ts";
import { commandOf, noCommand, type OptionTable, type Parsed, parseOptions, UsageError, type Values } from "./cli/options.ts";
import { type NotifyChoice, runChat } from "./client/terminal/chat.ts";
import { helpText } from "./cli/help.ts";
import { ABOUT_OPTIONS, type AboutCommand, aboutText } from "./cli/about.ts";
import { runListen } from "./client/listen.ts";
import { slipsInEnvironment } from "./client/environment.ts";
import type { Folders } from "./client/paths.ts";
import { runPipe } from "./client/pipe.ts";
import { runHistory } from "./client/history.ts";
import { EXIT } from "./client/exit.ts";
import type { RunContext } from "./client/open.ts";
import { fail, print, reportAsJson, warn } from "./client/output.ts";
import { runAdmin } from "./client/admin.ts";
import { runSend } from "./client/send.ts";
import { configLines } from "./client/config.ts";
import { clientManual } from "./client/manual.ts";
import { wantsColor } from "./client/terminal/style.ts";
import {
  accountOf,
  type ConnectionValues,
  namedServer,
  ownFolders,
  settingsFile,
  strangeSettings,
  surroundings,
} from "./client/settings.ts";

/** Runs the client. Returns the exit status; throws a {@linkcode UsageError} for a command line that is wrong. */
async function run(args: readonly string[]): Promise<number> {
  const command = commandOf(CLIENT, args);
  const rest = command === "" ? args : args.slice(1);
  switch (command) {
    case "send": {
      const given = parse(SEND_OPTIONS, rest, command);
      if (!given) return EXIT.ok;
      const { id, json, split, timeout } = given.values;
      return await runSend(given.context(), given.operands, { id, json, split, timeoutMs: timeout * 1_000 });
    }
    case "listen": {
      const given = parse(LISTEN_OPTIONS, rest, command);
      return given ? await runListen(given.context(), given.operands, given.values) : EXIT.ok;
    }
    case "history": {
      const given = parse(HISTORY_OPTIONS, rest, command);
      if (!given) return EXIT.ok;
      const { since, limit, json, timeout } = given.values;
      return await runHistory(given.context(), given.operands, { since, limit, json, timeoutMs: timeout * 1_000 });
    }
    case "config":
      return config(rest);
    case "admin": {
      const given = parse(ADMIN_OPTIONS, rest, command);
      if (!given) return EXIT.ok;
      const { json, timeout } = given.values;
      return await runAdmin(given.context(), given.operands, { json, timeoutMs: timeout * 1_000 });
    }
    case "help":
    case "completions":
    case "man":
      return about(command, rest);
    default:
      return await chat(rest);
  }
}

async function chat(args: readonly string[]): Promise<number> {
  const given = parse(CLIENT_OPTIONS, args, "");
  if (!given) return EXIT.ok;
  const { values, operands } = given;
  if (operands.length > 0) throw noCommand(CLIENT, operands[0]!);
  if (Deno.stdin.isTerminal() && Deno.stdout.isTerminal() && !values.json) {
    const color = wantsColor(values.color, (name) => Deno.env.get(name), true);
    const { to, last, notify } = values;
    return await runChat(given.context(), {
      to,
      last,
      color,
      plain: values.plain || Deno.env.get("TERM") === "dumb",
      notify: notify as NotifyChoice,
      receipts: given.origins["no-receipts"] === "default" ? undefined : !values["no-receipts"],
    });
  }
  return await runPipe(given.context(), { ...values, timeoutMs: values.timeout * 1_000 });
}

function config(args: readonly string[]): number {
  const given = parse(CLIENT_OPTIONS, args, "config");
  if (!given) return EXIT.ok;
  refuseOperands(given, "config");
  const tables: OptionTable = { ...CLIENT_OPTIONS, ...SEND_OPTIONS, ...LISTEN_OPTIONS, ...HISTORY_OPTIONS };
  const known = Object.keys(tables).filter((name) => tables[name]!.env !== undefined);
  const { values, origins, folders } = given;
  const address = namedServer(folders, values.server);
  const server = address === values.server ? address : `${values.server} (${address})`;
  print(configLines({ ...values, server }, origins, settingsFile(folders), strangeSettings(folders, known)).join("\n"));
  return EXIT.ok;
}

function about(command: AboutCommand, args: readonly string[]): number {
  const given = parse(ABOUT_OPTIONS, args, command);
  if (given) print(aboutText(CLIENT, command, given.operands, clientManual));
  return EXIT.ok;
}

function refuseOperands({ operands: [first] }: { readonly operands: readonly string[] }, command: string): void {
  if (first !== undefined) throw new UsageError(`${command} takes no ${JSON.stringify(first)}`);
}

interface Given<T extends OptionTable> {
  readonly values: Values<T>;
  readonly origins: Parsed<T>["origins"];
  readonly folders: Folders;
  readonly operands: readonly string[];
  context(): RunContext;
}

/** Parses a command line. Returns undefined when it asked for help or the version, which is printed then. */
function parse<const T extends OptionTable>(options: T, args: readonly string[], command: string): Given<T> | undefined {
  if (asksFor(args, "--help", "-h")) {
    print(helpText(CLIENT, command));
    return undefined;
  }
  if (command === "" && asksFor(args, "--version")) {
    print(`chat-client ${VERSION}`);
    return undefined;
  }
  const folders = ownFolders();
  const { values, operands, origins } = parseOptions(options, args, surroundings(folders, options, args));
  if ("json" in values && values.json) reportAsJson();
  return {
    values,
    operands,
    origins,
    folders,
    context: () => ({ account: accountOf(values as unknown as ConnectionValues, folders), folders }),
  };
}

/** Returns whether one of the options is given, whatever is wrong with the rest of the command line. */
function asksFor(args: readonly string[], ...options: string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end < 0 ? args.length : end).some((arg) => options.includes(arg));
}

async function main(): Promise<number> {
  if (asksFor(Deno.args, "--json")) reportAsJson(); // a mistake may be one of the command line
  for (const slip of slipsInEnvironment()) warn(`chat-client: ${slip}`);
  try {
    return await run(Deno.args);
  } catch (error) {
    const isUsage = error instanceof UsageError;
    fail(error instanceof Error ? `chat-client: ${error.message}` : String(error), isUsage ? "usage" : "failed");
    return isUsage ? EXIT.usage : EXIT.refused;
  }
}

if (import.meta.main) Deno.exit(await main());
