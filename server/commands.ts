/** Commands of `chat-server` beside serving. */

import { moveToPostgres } from "../broker/postgres.ts";
import { backup } from "../broker/sqlite.ts";
import { ABOUT_OPTIONS, type AboutCommand, aboutText } from "../cli/about.ts";
import { helpText } from "../cli/help.ts";
import { type OptionTable, parseOptions, UsageError, type Values } from "../cli/options.ts";
import { APIKEY_OPTIONS, apikeyCommand } from "./apikey.ts";
import { checkCommand, type Outcome } from "./check.ts";
import { healthCommand } from "./health.ts";
import { KEYS_OPTIONS, keysCommand, TOKEN_OPTIONS, tokenCommand } from "./credentials.ts";
import { addressOf } from "./assemble.ts";
import { serverManual } from "./manual.ts";
import { BACKUP_OPTIONS, HEALTH_OPTIONS, MOVE_OPTIONS, SERVER, WEBHOOK_OPTIONS } from "./options.ts";
import { webhookCommand } from "./webhook_command.ts";

/**
 * Runs the command that a command line names; `args` follow it. Throws {@linkcode UsageError}, and for what cannot be done
 * `StartError`, `KeyError` or `BrokerError`.
 */
export async function runCommand(
  command: string,
  args: readonly string[],
  env: (name: string) => string | undefined,
): Promise<Outcome> {
  if (command === "check") return await checkCommand(args, env);
  return { text: await textOf(command, args, env), status: 0 };
}

async function textOf(command: string, args: readonly string[], env: (name: string) => string | undefined): Promise<string> {
  if (command === "health") return await runHealth(args, env);
  if (command === "backup") return await runBackup(args, env);
  if (command === "move") return await runMove(args, env);
  if (command === "webhook") {
    const { values, operands } = parseOptions(WEBHOOK_OPTIONS, args, { env });
    return values.help ? helpText(SERVER, command) : await webhookCommand(operands, values);
  }
  if (command === "help" || command === "completions" || command === "man") return runAbout(command, args);
  const options = command === "token" ? TOKEN_OPTIONS : command === "apikey" ? APIKEY_OPTIONS : KEYS_OPTIONS;
  const { values, operands } = parseOptions<OptionTable>(options, args, { env });
  if (values.help) return helpText(SERVER, command);
  if (operands.length > 0) throw new UsageError(`${command} takes options only, not "${operands[0]}"`);
  if (command === "token") return await tokenCommand(values as Values<typeof TOKEN_OPTIONS>, console.error);
  if (command === "apikey") return apikeyCommand(values as Values<typeof APIKEY_OPTIONS>, console.error);
  return await keysCommand(values as Values<typeof KEYS_OPTIONS>);
}

async function runHealth(args: readonly string[], env: (name: string) => string | undefined): Promise<string> {
  const { values, operands } = parseOptions(HEALTH_OPTIONS, args, { env });
  if (values.help) return helpText(SERVER, "health");
  if (operands.length > 1) throw new UsageError(`health takes one URL, not "${operands[1]}" too`);
  return await healthCommand(values, operands[0]);
}

async function runMove(args: readonly string[], env: (name: string) => string | undefined): Promise<string> {
  const { values, operands } = parseOptions(MOVE_OPTIONS, args, { env });
  if (values.help) return helpText(SERVER, "move");
  if (operands.length > 0) throw new UsageError(`move takes options only, not "${operands[0]}"`);
  if (values.to === undefined) throw new UsageError("move needs --to postgres://USER@HOST/DATABASE");
  const { messages, users } = await moveToPostgres(values.from, addressOf(values, values.to));
  return `Messages taken over: ${messages}, of ${users} ${users === 1 ? "user" : "users"}; devices resume where they were\n` +
    `Start no server on ${values.from} again: it would be another log under the same epoch`;
}

function runAbout(command: AboutCommand, args: readonly string[]): string {
  const { values, operands } = parseOptions(ABOUT_OPTIONS, args);
  return values.help ? helpText(SERVER, command) : aboutText(SERVER, command, operands, serverManual);
}

async function runBackup(args: readonly string[], env: (name: string) => string | undefined): Promise<string> {
  const { values, operands } = parseOptions(BACKUP_OPTIONS, args, { env });
  if (values.help) return helpText(SERVER, "backup");
  const [file] = operands;
  if (operands.length !== 1 || file === undefined) throw new UsageError("backup takes one FILE");
  await backup(values.data, file);
  return `The messages in ${values.data} are copied to ${file}`;
}
