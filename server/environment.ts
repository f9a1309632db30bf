/** The environment of the server: variables with its prefix that it does not read. */

import { strangeVariables, variablesOf, wholeEnvironment } from "../cli/environment.ts";
import { SERVER } from "./options.ts";

const PREFIX = "PARLEY_";
/** Variables of the client, of the programs that it starts, and of tests: one environment may be for all of them. */
export const VARIABLES_OF_OTHERS: readonly string[] = [
  ...["SERVER", "NAME", "TOKEN", "TOKEN_FILE", "DEVICE", "CA", "TO", "LAST", "JSON", "TIMEOUT"],
  ...["NO_RECEIPTS", "NOTIFY", "COLOR", "PLAIN", "QUIET", "SPLIT"],
  ...["SENDER", "RECIPIENT", "CONVERSATION", "ID", "SEQ", "TS"],
  ...["BINARIES", "SEED", "FAULT", "ROWS"],
].map((name) => PREFIX + name);

/** Lists the variables that the server and its commands read. */
export function serverVariables(): string[] {
  return variablesOf([SERVER.options, ...Object.values(SERVER.commands ?? {}).map(({ options }) => options)]);
}

/** Returns a sentence for each variable of this process that looks like one of the server's and is none. */
export function slipsInEnvironment(): string[] {
  return strangeVariables(wholeEnvironment(), PREFIX, serverVariables(), VARIABLES_OF_OTHERS);
}
