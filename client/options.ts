/** The options and commands of `chat-client`, from which its help, manual page, completions and settings are made. */

import config from "../deno.json" with { type: "json" };
import { aboutCommands } from "../cli/about.ts";
import type { CommandSpec, OptionTable, ProgramSpec } from "../cli/options.ts";

/** The version of both programs. */
export const VERSION: string = config.version;

const HELP = { kind: "flag", short: "h", group: "Other", help: "Show this help" } as const;

/** Options of everything that connects. */
const CONNECTION = {
  server: {
    kind: "string",
    short: "s",
    value: "URL",
    env: "PARLEY_SERVER",
    default: "ws://localhost:8080/ws",
    group: "Connection",
    help: "Server to connect to",
  },
  name: {
    kind: "string",
    short: "n",
    value: "NAME",
    env: "PARLEY_NAME",
    group: "Connection",
    help: "Your name; a token may set it too",
  },
  token: {
    kind: "string",
    value: "TOKEN",
    env: "PARLEY_TOKEN",
    group: "Connection",
    help: "Token to log in with; other users of this machine can see it, so prefer --token-file",
  },
  "token-file": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_TOKEN_FILE",
    group: "Connection",
    help: "File with the token; read again at every attempt to connect",
  },
  device: {
    kind: "string",
    value: "DEVICE",
    env: "PARLEY_DEVICE",
    group: "Connection",
    help: "Name of this device among yours; by default one is chosen and remembered",
  },
  ca: {
    kind: "string",
    value: "FILE",
    env: "PARLEY_CA",
    group: "Connection",
    help: "Certificates (PEM) to trust in addition to the usual ones",
  },
} as const satisfies OptionTable;

const TIMEOUT = {
  kind: "integer",
  value: "SECONDS",
  env: "PARLEY_TIMEOUT",
  default: 30,
  min: 1,
  max: 86_400,
  help: "Seconds to wait for the server before giving up",
} as const;

const JSON_OUTPUT = {
  kind: "flag",
  env: "PARLEY_JSON",
  group: "Output",
  help: "Print one JSON object per line, also for errors",
} as const;

const QUIET = {
  kind: "flag",
  short: "q",
  env: "PARLEY_QUIET",
  group: "Output",
  help: "Say nothing but what is wrong; for scripts that run by the clock",
} as const;

const SPLIT = {
  kind: "flag",
  env: "PARLEY_SPLIT",
  help: "Split what is too large for one message, at line breaks where it can",
} as const;

/** Options of the client without a command. */
export const CLIENT_OPTIONS = {
  ...CONNECTION,
  to: {
    kind: "string",
    short: "t",
    value: "NAME",
    env: "PARLEY_TO",
    group: "Chatting",
    help: "Recipient of what you write: a name or a #group",
  },
  last: {
    kind: "integer",
    value: "N",
    env: "PARLEY_LAST",
    max: 10_000,
    group: "Chatting",
    help: "Old messages to show on a device that is new to the server",
  },
  "no-receipts": {
    kind: "flag",
    env: "PARLEY_NO_RECEIPTS",
    group: "Chatting",
    help: "Do not tell others what you have read",
  },
  notify: {
    kind: "string",
    env: "PARLEY_NOTIFY",
    default: "dm",
    choices: ["all", "dm", "none"],
    group: "Chatting",
    help: "Ring for everything, for direct messages and mentions, or for nothing",
  },
  color: {
    kind: "string",
    env: "PARLEY_COLOR",
    default: "auto",
    choices: ["auto", "always", "never"],
    group: "Output",
    help: "Use colours; auto respects NO_COLOR and TERM",
  },
  plain: {
    kind: "flag",
    env: "PARLEY_PLAIN",
    group: "Output",
    help: "Never redraw, for screen readers; the default where TERM is dumb",
  },
  json: JSON_OUTPUT,
  quiet: QUIET,
  split: { ...SPLIT, group: "Chatting" },
  timeout: { ...TIMEOUT, group: "Output", help: "Seconds to wait for acks after the end of the input" },
  help: HELP,
  version: { kind: "flag", group: "Other", help: "Show the version" },
} as const satisfies OptionTable;

/** Options of `send`. */
export const SEND_OPTIONS = {
  ...CONNECTION,
  id: {
    kind: "string",
    value: "ID",
    group: "Sending",
    help: "Id of the message; sent again with the same id, it arrives once",
  },
  split: { ...SPLIT, group: "Sending" },
  timeout: { ...TIMEOUT, group: "Sending" },
  json: JSON_OUTPUT,
  help: HELP,
} as const satisfies OptionTable;

/** Options of `listen`. */
export const LISTEN_OPTIONS = {
  ...CONNECTION,
  from: { kind: "string", value: "NAME", group: "Listening", help: "Only messages of this person or in this #group" },
  exec: {
    kind: "string",
    value: "COMMAND",
    group: "Listening",
    help: "Program to run for every message, with the message on its input and PARLEY_SENDER and others in its environment",
  },
  count: { kind: "integer", value: "N", min: 1, group: "Listening", help: "End after so many messages" },
  idle: {
    kind: "integer",
    value: "SECONDS",
    min: 1,
    max: 86_400,
    group: "Listening",
    help: "End when nothing has come for so many seconds",
  },
  last: CLIENT_OPTIONS.last,
  json: JSON_OUTPUT,
  quiet: QUIET,
  help: HELP,
} as const satisfies OptionTable;

/** Options of `history`. */
export const HISTORY_OPTIONS = {
  ...CONNECTION,
  since: { kind: "string", value: "TIME", group: "Reading", help: "Beginning: 30m, 12h, 2d or 1w ago, or a date" },
  limit: {
    kind: "integer",
    value: "N",
    default: 50,
    min: 1,
    max: 1_000_000,
    group: "Reading",
    help: "Number of messages, the newest; ignored with --since",
  },
  timeout: { ...TIMEOUT, group: "Reading" },
  json: JSON_OUTPUT,
  help: HELP,
} as const satisfies OptionTable;

/** Options of `admin`. */
export const ADMIN_OPTIONS = {
  ...CONNECTION,
  timeout: { ...TIMEOUT, group: "Administering" },
  json: JSON_OUTPUT,
  help: HELP,
} as const satisfies OptionTable;

/** The client's commands. */
export const COMMANDS = {
  send: {
    summary: "Send one message and wait until the server has stored it",
    operands: "NAME TEXT|-",
    options: SEND_OPTIONS,
    examples: ['chat-client send alice "the build is done"', "make 2>&1 | chat-client send '#ops' - --id build-117"],
  },
  listen: {
    summary: "Print messages, one per line, from where it last stopped",
    operands: "",
    options: LISTEN_OPTIONS,
    examples: [
      "chat-client listen --json | jq .content",
      "chat-client listen --from alice --exec ./answer.sh",
      "chat-client listen --count 1 --idle 60            one answer, or none within a minute",
    ],
  },
  history: {
    summary: "Print the messages of a conversation",
    operands: "NAME",
    options: HISTORY_OPTIONS,
    examples: ["chat-client history alice", "chat-client history '#ops' --since 2d --json"],
  },
  config: {
    summary: "Show every setting and the source of its value",
    operands: "",
    options: CLIENT_OPTIONS,
  },
  admin: {
    summary: "List who is connected, end somebody's connections, or make a user known; for administrators",
    operands: "list|disconnect|create [NAME]",
    options: ADMIN_OPTIONS,
    examples: ["chat-client admin list --json", "chat-client admin create carol          others can write to carol now"],
  },
  ...aboutCommands("chat-client"),
} as const satisfies Record<string, CommandSpec>;

/** `chat-client`, its options, commands and examples. */
export const CLIENT: ProgramSpec = {
  name: "chat-client",
  summary: `Parley ${VERSION}: chat from a terminal, or from a script.`,
  options: CLIENT_OPTIONS,
  commands: COMMANDS,
  examples: [
    "chat-client --name bob                       then @alice hello, or /help",
    "chat-client --name bob --to alice            every line goes to alice",
    "tail -f log | chat-client --name bot --to '#ops'",
  ],
};
