/** The environment of the client: variables with its prefix that it does not read. */

import { strangeVariables, variablesOf, wholeEnvironment } from "../cli/environment.ts";
import { CLIENT } from "./options.ts";

const PREFIX = "PARLEY_";
/** Variables of the server, of programs that a client starts, and of tests: one environment may be for all of them. */
export const VARIABLES_OF_OTHERS: readonly string[] = [
  ...["HOST", "PORT", "NO_WEB", "QUIET", "DATA", "BROKER", "SYNC", "RETENTION_DAYS", "MAILBOX"],
  ...["POSTGRES", "POSTGRES_PASSWORD_FILE", "POSTGRES_CA", "POSTGRES_SCHEMA", "POSTGRES_ALLOW_ASYNC", "NODE", "DRAIN_SECONDS"],
  ...["JWT_SECRET_FILE", "JWT_PUBLIC_KEY", "JWT_PRIVATE_KEY", "JWKS", "JWT_AUDIENCE", "JWT_ISSUER", "REVOKED", "INSECURE_OPEN"],
  ...[
    "ALLOW_ORIGIN",
    "TRUST_PROXY",
    "CERT",
    "KEY",
    "RATE",
    "BURST",
    "SENDER_BYTES_PER_DAY",
    "FREE_BYTES",
    "TRANSPORT",
    "METRICS_LISTEN",
    "API_KEYS",
    "WEBHOOKS",
    "LOG_FORMAT",
    "LOG_LEVEL",
    "SLOW_APPEND",
    "SLOW_TURN",
    "SLOW_REQUEST",
    "WEBHOOKS",
  ],
  ...["MAX_CONNECTIONS", "MAX_CONNECTIONS_PER_ADDRESS", "MAX_UPGRADES_PER_SECOND", "MAX_DEVICES", "MAX_GROUPS"],
  ...["MAX_GROUP_MEMBERS", "MAX_REFUSALS", "MAX_STALLED", "MAX_STALLED_PER_USER", "MAX_MEMORY"],
  ...["FRAME_BYTES", "CONTENT_BYTES", "QUEUE_BYTES", "HELLO_TIMEOUT"],
  ...["SENDER", "RECIPIENT", "CONVERSATION", "ID", "SEQ", "TS"],
  ...["BINARIES", "SEED", "FAULT", "ROWS"],
].map((name) => PREFIX + name);

/** Lists the variables that the client and its commands read. */
export function clientVariables(): string[] {
  return variablesOf([CLIENT.options, ...Object.values(CLIENT.commands ?? {}).map(({ options }) => options)]);
}

/** Returns a sentence for each variable of this process that looks like one of the client's and is none. */
export function slipsInEnvironment(): string[] {
  return strangeVariables(wholeEnvironment(), PREFIX, clientVariables(), VARIABLES_OF_OTHERS);
}
