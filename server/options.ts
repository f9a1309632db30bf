/** Options of `chat-server`: the one place that says what can be configured. */

import config from "../deno.json" with { type: "json" };
import { APIKEY_COMMANDS } from "./apikey.ts";
import { CREDENTIAL_COMMANDS } from "./credentials.ts";
import { DEFAULT_LIMITS } from "../broker.ts";
import { DEFAULT_SCHEMA } from "../broker/postgres.ts";
import { DEVICES_MAX, HELLO_TIMEOUT_MS, QUEUE_BYTES_MAX, REFUSALS_MAX } from "../hub.ts";
import { STALLED_MAX, STALLED_PER_USER_MAX } from "../limits/admission.ts";
import { aboutCommands } from "../cli/about.ts";
import { LOG_FORMATS, LOG_LEVELS } from "../ops/log.ts";
import { SLOW_APPEND_MS, SLOW_REQUEST_MS, SLOW_TURN_MS } from "../ops/slow.ts";
import type { OptionTable, ProgramSpec, Values } from "../cli/options.ts";
import { TRANSPORTS } from "./transport_choice.ts";
import { CONTENT_BYTES_MAX, FRAME_BYTES_MAX } from "../protocol.ts";

/** Version of both programs. */
export const VERSION: string = config.version;

/** Option for the folder of the messages, of the server and of `backup`. */
const DATA = {
  kind: "string",
  value: "DIR",
  env: "PARLEY_DATA",
  default: "./data",
  help: "Folder that messages are kept in; :memory: keeps none",
} as const;

/** Options of the server. */
export const SERVER_OPTIONS = {
  host: { kind: "string", value: "ADDRESS", env: "PARLEY_HOST", default: "127.0.0.1", help: "Address to listen on" },
  port: {
    kind: "integer",
    value: "PORT",
    env: "PARLEY_PORT",
    default: 8080,
    max: 65_535,
    help: "Port to listen on; 0 for any",
  },
  transport: {
    kind: "string",
    env: "PARLEY_TRANSPORT",
    choices: TRANSPORTS,
    help: "WebSockets of Deno, or of the library ws; without it deno on loopback, ws elsewhere",
  },
  "metrics-listen": {
    kind: "string",
    value: "ADDRESS:PORT",
    env: "PARLEY_METRICS_LISTEN",
    help: "Serve metrics for Prometheus at /metrics of this address, to whoever reaches it",
  },
  webhooks: {
    kind: "string",
    value: "FILE",
    env: "PARLEY_WEBHOOKS",
    help: "File (JSON) with the endpoints that are told of messages and users; re-read when it changes",
  },
  "no-web": { kind: "flag", env: "PARLEY_NO_WEB", help: "Serve no page for browsers" },
  quiet: { kind: "flag", short: "q", env: "PARLEY_QUIET", help: "Print no hints at start" },

  "log-format": {
    kind: "string",
    env: "PARLEY_LOG_FORMAT",
    choices: LOG_FORMATS,
    group: "Log",
    help: "Sentences, or a JSON object per line; without it text on a terminal, json elsewhere",
  },
  "log-level": {
    kind: "string",
    env: "PARLEY_LOG_LEVEL",
    default: "info",
    choices: LOG_LEVELS,
    group: "Log",
    help: "Least urgent level that is logged",
  },
  "slow-append": {
    kind: "limit",
    value: "MS",
    env: "PARLEY_SLOW_APPEND",
    default: SLOW_APPEND_MS,
    group: "Log",
    help: "Milliseconds of storing messages from which it is logged; 0 for never",
  },
  "slow-turn": {
    kind: "limit",
    value: "MS",
    env: "PARLEY_SLOW_TURN",
    default: SLOW_TURN_MS,
    group: "Log",
    help: "Milliseconds of a turn of the event loop from which it is logged; 0 for never",
  },
  "slow-request": {
    kind: "limit",
    value: "MS",
    env: "PARLEY_SLOW_REQUEST",
    default: SLOW_REQUEST_MS,
    group: "Log",
    help: "Milliseconds of answering a request, such as history, from which it is logged; 0 for never",
  },

  data: { ...DATA, group: "Storage" },
  broker: {
    kind: "string",
    env: "PARLEY_BROKER",
    default: "sqlite",
    choices: ["sqlite", "memory"],
    group: "Storage",
    help: "Storage that keeps them",
  },
  sync: {
    kind: "string",
    env: "PARLEY_SYNC",
    default: "full",
    choices: ["full", "normal"],
    group: "Storage",
    help: "full: an ack survives a loss of power; normal: only the end of the process",
  },
  postgres: {
    kind: "string",
    value: "URL",
    env: "PARLEY_POSTGRES",
    group: "Storage",
    help: "Keep messages in this PostgreSQL, which any number of servers may share: postgres://USER@HOST[,HOST]/DATABASE",
  },
  "postgres-password-file": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_POSTGRES_PASSWORD_FILE",
    group: "Storage",
    help: "File with its password; else the URL's, or that of PGPASSFILE",
  },
  "postgres-ca": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_POSTGRES_CA",
    group: "Storage",
    help: "Certificates (PEM) that PostgreSQL's is checked with; it is spoken to with TLS then",
  },
  "postgres-schema": {
    kind: "string",
    value: "NAME",
    env: "PARLEY_POSTGRES_SCHEMA",
    default: DEFAULT_SCHEMA,
    group: "Storage",
    help: "Schema of its tables",
  },
  "postgres-allow-async": {
    kind: "flag",
    env: "PARLEY_POSTGRES_ALLOW_ASYNC",
    group: "Storage",
    help: "Take a PostgreSQL that may lose what it has acknowledged",
  },
  node: {
    kind: "string",
    value: "NAME",
    env: "PARLEY_NODE",
    group: "Storage",
    help: "Name of this server among those on one PostgreSQL; default: the machine's name and the port",
  },
  "retention-days": {
    kind: "limit",
    value: "DAYS",
    env: "PARLEY_RETENTION_DAYS",
    default: DEFAULT_LIMITS.retentionDays,
    group: "Storage",
    help: "Days that messages are kept; 0 for ever",
  },
  mailbox: {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAILBOX",
    default: DEFAULT_LIMITS.mailbox,
    group: "Storage",
    help: "Messages that may wait for a user before new ones are refused; 0 for any number",
  },

  "jwt-secret-file": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_JWT_SECRET_FILE",
    group: "Who may connect",
    help: "HS256 secret that tokens are signed with",
  },
  "jwt-public-key": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_JWT_PUBLIC_KEY",
    group: "Who may connect",
    help: "Public key (PEM) that EdDSA, ES256 or RS256 tokens are checked with",
  },
  jwks: {
    kind: "string",
    value: "FILE",
    env: "PARLEY_JWKS",
    group: "Who may connect",
    help: "Key set (JWKS) that tokens are checked with",
  },
  "jwt-audience": {
    kind: "string",
    value: "TEXT",
    env: "PARLEY_JWT_AUDIENCE",
    group: "Who may connect",
    help: "Audience (aud) that tokens must have",
  },
  "jwt-issuer": {
    kind: "string",
    value: "TEXT",
    env: "PARLEY_JWT_ISSUER",
    group: "Who may connect",
    help: "Issuer (iss) that tokens must have",
  },
  revoked: {
    kind: "string",
    value: "FILE",
    env: "PARLEY_REVOKED",
    group: "Who may connect",
    help: "Token ids and names that may not connect, one per line; re-read when it changes",
  },
  "api-keys": {
    kind: "string",
    value: "FILE",
    env: "PARLEY_API_KEYS",
    group: "Who may connect",
    help:
      "Keys of backends for the HTTP API, such as chat-server apikey makes; re-read when it changes; without it there is no API",
  },
  "insecure-open": {
    kind: "flag",
    env: "PARLEY_INSECURE_OPEN",
    group: "Who may connect",
    help: "Serve other addresses than loopback without tokens: anybody takes any name",
  },
  "allow-origin": {
    kind: "list",
    value: "ORIGIN",
    env: "PARLEY_ALLOW_ORIGIN",
    group: "Who may connect",
    help: "Origin whose web pages may connect, beside the server's own; can be repeated",
  },
  "trust-proxy": {
    kind: "integer",
    value: "HOPS",
    env: "PARLEY_TRUST_PROXY",
    default: 0,
    max: 10,
    group: "Who may connect",
    help: "Number of proxies in front whose X-Forwarded-For is believed",
  },
  cert: {
    kind: "string",
    value: "FILE",
    env: "PARLEY_CERT",
    group: "Who may connect",
    help: "TLS certificate chain (PEM); re-read on SIGHUP",
  },
  key: { kind: "string", value: "FILE", env: "PARLEY_KEY", group: "Who may connect", help: "TLS private key (PEM)" },

  rate: {
    kind: "limit",
    value: "N",
    env: "PARLEY_RATE",
    default: 5,
    group: "Limits (0 lifts one)",
    help: "Frames per second from one user",
  },
  burst: {
    kind: "integer",
    value: "N",
    env: "PARLEY_BURST",
    default: 20,
    min: 1,
    group: "Limits (0 lifts one)",
    help: "Frames at once from one user, at least 1",
  },
  "sender-bytes-per-day": {
    kind: "limit",
    value: "BYTES",
    env: "PARLEY_SENDER_BYTES_PER_DAY",
    default: 268_435_456,
    group: "Limits (0 lifts one)",
    help: "Bytes of content from one user in a day",
  },
  "free-bytes": {
    kind: "integer",
    value: "BYTES",
    env: "PARLEY_FREE_BYTES",
    default: 268_435_456,
    group: "Limits (0 lifts one)",
    help: "Bytes free on the disk of --data below which messages are refused",
  },
  "max-connections": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_CONNECTIONS",
    default: 10_000,
    group: "Limits (0 lifts one)",
    help: "Connections in all",
  },
  "max-connections-per-address": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_CONNECTIONS_PER_ADDRESS",
    default: 16,
    group: "Limits (0 lifts one)",
    help: "Connections from one address that have not said who they are",
  },
  "max-upgrades-per-second": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_UPGRADES_PER_SECOND",
    default: 10,
    group: "Limits (0 lifts one)",
    help: "New connections per second from one address",
  },
  "max-devices": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_DEVICES",
    default: DEVICES_MAX,
    group: "Limits (0 lifts one)",
    help: "Connections of one user",
  },
  "max-groups": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_GROUPS",
    default: DEFAULT_LIMITS.groupsPerUser,
    group: "Limits (0 lifts one)",
    help: "Groups that one user may create or join; as many that others bring them into",
  },
  "max-group-members": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_GROUP_MEMBERS",
    default: DEFAULT_LIMITS.groupMembers,
    group: "Limits (0 lifts one)",
    help: "Members of one group",
  },
  "max-refusals": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_REFUSALS",
    default: REFUSALS_MAX,
    group: "Limits (0 lifts one)",
    help: "Frames refused within a minute before the connection is closed",
  },
  "max-stalled": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_STALLED",
    default: STALLED_MAX,
    group: "Limits (0 lifts one)",
    help: "Stalled connections: closed by the server, while their peers hold on",
  },
  "max-stalled-per-user": {
    kind: "limit",
    value: "N",
    env: "PARLEY_MAX_STALLED_PER_USER",
    default: STALLED_PER_USER_MAX,
    group: "Limits (0 lifts one)",
    help: "Stalled connections of one user",
  },
  "max-memory": {
    kind: "limit",
    value: "MIB",
    env: "PARLEY_MAX_MEMORY",
    default: 0,
    group: "Limits (0 lifts one)",
    help: "MiB of resident memory above which new connections are refused",
  },
  "frame-bytes": {
    kind: "integer",
    value: "BYTES",
    env: "PARLEY_FRAME_BYTES",
    default: FRAME_BYTES_MAX,
    min: 1_024,
    max: 16_777_216,
    group: "Sizes and times",
    help: "Bytes of one frame",
  },
  "content-bytes": {
    kind: "integer",
    value: "BYTES",
    env: "PARLEY_CONTENT_BYTES",
    default: CONTENT_BYTES_MAX,
    min: 1,
    max: 4_194_304,
    group: "Sizes and times",
    help: "Bytes of one message's content",
  },
  "queue-bytes": {
    kind: "integer",
    value: "BYTES",
    env: "PARLEY_QUEUE_BYTES",
    default: QUEUE_BYTES_MAX,
    min: 65_536,
    group: "Sizes and times",
    help: "Bytes that may wait for a connection before it is closed to resume",
  },
  "hello-timeout": {
    kind: "integer",
    value: "SECONDS",
    env: "PARLEY_HELLO_TIMEOUT",
    default: HELLO_TIMEOUT_MS / 1_000,
    min: 1,
    max: 3_600,
    group: "Sizes and times",
    help: "Seconds that a connection has to say who it is",
  },

  "drain-seconds": {
    kind: "integer",
    value: "SECONDS",
    env: "PARLEY_DRAIN_SECONDS",
    default: 10,
    max: 600,
    group: "Sizes and times",
    help: "Seconds over which the connections of a server that ends are closed at most; few take less",
  },

  help: { kind: "flag", short: "h", group: "Other", help: "Show this help" },
  version: { kind: "flag", group: "Other", help: "Show the version" },
} as const satisfies OptionTable;

/** Values of the server's options. Limits that are lifted are `Infinity`. */
export type ServerValues = Values<typeof SERVER_OPTIONS>;

/** Options of `chat-server move`. */
export const MOVE_OPTIONS = {
  from: { kind: "string", value: "DIR", default: "./data", help: "Folder of the messages; no server may use it meanwhile" },
  to: { kind: "string", value: "URL", help: "PostgreSQL that takes them: postgres://USER@HOST/DATABASE" },
  "postgres-password-file": SERVER_OPTIONS["postgres-password-file"],
  "postgres-ca": SERVER_OPTIONS["postgres-ca"],
  "postgres-schema": SERVER_OPTIONS["postgres-schema"],
  help: { kind: "flag", short: "h", help: "Show this help" },
} as const satisfies OptionTable;

/** Options of `chat-server backup`. */
export const BACKUP_OPTIONS = {
  data: DATA,
  help: { kind: "flag", short: "h", help: "Show this help" },
} as const satisfies OptionTable;

/** Options of `chat-server webhook`. */
export const WEBHOOK_OPTIONS = {
  from: { kind: "string", value: "POSITION", help: "Position, or time, after which everything is sent again" },
  pair: { kind: "flag", help: "Make a pair of keys instead of a secret that both sides have" },
  webhooks: SERVER_OPTIONS.webhooks,
  data: DATA,
  postgres: SERVER_OPTIONS.postgres,
  "postgres-password-file": SERVER_OPTIONS["postgres-password-file"],
  "postgres-ca": SERVER_OPTIONS["postgres-ca"],
  "postgres-schema": SERVER_OPTIONS["postgres-schema"],
  help: { kind: "flag", short: "h", help: "Show this help" },
} as const satisfies OptionTable;

/** Options of `chat-server health`: without a URL those of the server say whom to ask. */
export const HEALTH_OPTIONS = {
  live: { kind: "flag", help: "Ask only whether it answers (/livez), not whether it can do its work (/readyz)" },
  timeout: { kind: "integer", value: "SECONDS", default: 5, min: 1, max: 600, help: "Seconds that it has to answer" },
  ca: { kind: "string", value: "FILE", help: "Certificates (PEM) that its own is checked with, beside the system's" },
  host: SERVER_OPTIONS.host,
  port: SERVER_OPTIONS.port,
  cert: SERVER_OPTIONS.cert,
  help: { kind: "flag", short: "h", help: "Show this help" },
} as const satisfies OptionTable;

/** Options of `chat-server check`: those of the server that it looks at. */
export const CHECK_OPTIONS = (() => {
  const { version: _, ...options } = SERVER_OPTIONS;
  return options;
})();

/** `chat-server` with its options, commands and examples. */
export const SERVER: ProgramSpec = {
  name: "chat-server",
  summary: `Parley ${VERSION}: a server for messages over WebSockets, one line of JSON each.`,
  options: SERVER_OPTIONS,
  commands: {
    ...CREDENTIAL_COMMANDS,
    ...APIKEY_COMMANDS,
    backup: {
      summary: "Copy the messages of a running or stopped server into a file",
      operands: "FILE",
      options: BACKUP_OPTIONS,
      examples: ["chat-server backup /backups/parley.db", "chat-server backup --data /var/lib/parley parley.db"],
    },
    move: {
      summary: "Take the messages of a folder over into an empty schema of a PostgreSQL",
      operands: "",
      options: MOVE_OPTIONS,
      examples: ["chat-server move --from /var/lib/parley --to postgres://parley@db/parley"],
    },
    webhook: {
      summary: "Look at endpoints of webhooks, try one, send it again what it was sent, or make a secret",
      operands: "list|test|replay|enable|secret [NAME]",
      options: WEBHOOK_OPTIONS,
      examples: [
        "chat-server webhook secret",
        "chat-server webhook test push --webhooks webhooks.json",
        "chat-server webhook replay push --from 2026-09-01T10:00Z",
      ],
    },
    check: {
      summary: "Say what is wrong before a start would, all of it; with the options and variables of the server",
      operands: "",
      options: CHECK_OPTIONS,
      examples: ["chat-server check", "chat-server check --quiet --cert cert.pem --key key.pem && systemctl restart parley"],
    },
    health: {
      summary: "Ask a running server whether it can do its work; the exit status says it too",
      operands: "[URL]",
      options: HEALTH_OPTIONS,
      examples: ["chat-server health", "chat-server health --ca ca.pem https://chat.example.org"],
    },
    ...aboutCommands("chat-server"),
  },
  examples: [
    "chat-server                                  for this machine, on port 8080",
    "chat-server --port 9000 --broker memory      keep nothing",
    "chat-server --host 0.0.0.0 --jwt-secret-file secret --cert cert.pem --key key.pem",
  ],
};
