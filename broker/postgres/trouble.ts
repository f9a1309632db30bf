/** Words of what goes wrong with PostgreSQL, for operators: what it is, and what to do. Nothing in them is from a message. */

import postgres from "postgres";
import { BrokerError, reasonOf } from "../errors.ts";
import { type Host, placeOf } from "./host.ts";

/** SQLSTATE of a server that takes no writes: this one is not the primary, or not any more. */
export const READ_ONLY = "25006";
/** Classes of SQLSTATE whose messages are about the server; those of others may repeat what was sent. */
const HARMLESS_REGEXP = /^(08|25|28|3D|3F|40|42501|53|55|57|58|XX)/;
/** SQLSTATEs of a refusal that only an operator mends: to ask again at once would but fill the server's log. */
const LASTING_REGEXP = /^(08P01|28|3D|42501)/;

/** Codes of Node.js for certificates that are not taken; older releases of Deno know no better than UNKNOWN, or have words alone. */
const CERTIFICATE_REGEXP = /CERT|VERIFY|SELF_SIGNED|ALTNAME|UNKNOWN/, CERTIFICATE_WORDS_REGEXP = /peer certificate/;

/** Advice by the beginning of a SQLSTATE. */
const ADVICE: readonly (readonly [code: string, advice: string])[] = [
  ["08P01", "If it is a pooler such as PgBouncer: nodes need connections to PostgreSQL itself"],
  [
    READ_ONLY,
    "It is a standby: promote it, or name the primary in --postgres; or default_transaction_read_only is on: set it off",
  ],
  ["28P01", "Give the right one with --postgres-password-file, with PGPASSFILE or in the URL"],
  ["28", "See its pg_hba.conf, and the user in the URL"],
  ["3D", "Create it, or name another one in the URL"],
  ["42501", "Give the role of docs/CLUSTER.md what it needs"],
  ["42P01", "Another version has changed the schema: start that one"],
  ["42883", "Another version has changed the schema: start that one"],
  ["42703", "Another version has changed the schema: start that one"],
  ["53100", "Make room on its disk"],
  ["55P03", "Somebody holds a lock on the schema: a move that is under way, or another program; see pg_locks"],
  ["57014", "It took too long: PostgreSQL is busy, or another program holds a lock; see pg_stat_activity and pg_locks"],
  ["53300", "A node takes eight connections: raise max_connections, or the limit of the role or the database"],
  ["XX000", "If it is a pooler such as PgBouncer: nodes need connections to PostgreSQL itself"],
];

/** Words for what Node.js calls failures to connect. */
const SOCKET_WORDS: Readonly<Record<string, (place: string) => string>> = {
  ECONNREFUSED: (place) => `Nothing listens at ${place}: does PostgreSQL run there?`,
  ENOENT: (place) => `There is no ${place}: does PostgreSQL run, and keep its socket there?`,
  ENOTFOUND: (place) => `There is no host of the name in ${place}`,
  EAI_AGAIN: (place) => `The name in ${place} cannot be looked up now`,
  ECONNRESET: (place) => `PostgreSQL at ${place} closes the connection without a word`,
  EHOSTUNREACH: (place) => `There is no way to ${place}`,
  ENETUNREACH: (place) => `There is no way to ${place}`,
  CONNECT_TIMEOUT: (place) => `PostgreSQL at ${place} does not answer`,
  CONNECTION_CLOSED: (place) => `PostgreSQL at ${place} has closed the connection`,
};

/** Returns what an operator may read of the failure of a call. */
export function describeFailure(error: unknown): string {
  if (!(error instanceof postgres.PostgresError)) return reasonOf(error);
  const { code, message } = error;
  const advice = ADVICE.find(([begin]) => code.startsWith(begin))?.[1];
  const said = HARMLESS_REGEXP.test(code) ? `${message} (${code})` : `PostgreSQL says ${code}`;
  return advice === undefined ? said : `${said}. ${advice}`;
}

/** Returns what an operator may read of a failure to connect to a host; with `tls` the certificate may be the reason. */
export function describeConnecting(error: unknown, host: Host, tls: boolean): string {
  const place = placeOf(host);
  if (error instanceof BrokerError) return error.message;
  if (error instanceof postgres.PostgresError) return `PostgreSQL at ${place} says: ${describeFailure(error)}`;
  const words = SOCKET_WORDS[(error as { code?: string }).code ?? ""];
  if (words) return words(place);
  if (tls && isAboutCertificate(error)) {
    return `The certificate of ${place} is not taken (${
      reasonOf(error)
    }). It has to be for that name, and of an authority in --postgres-ca`;
  }
  const reason = reasonOf(error);
  return reason.includes(place) ? reason : `${place}: ${reason}`;
}

/** Returns whether a host refuses in a way that only an operator mends. */
export function isLasting(error: unknown): boolean {
  if (error instanceof BrokerError) return true;
  return error instanceof postgres.PostgresError ? LASTING_REGEXP.test(error.code) : isAboutCertificate(error);
}

function isAboutCertificate(error: unknown): boolean {
  return CERTIFICATE_REGEXP.test((error as { code?: string }).code ?? "") || CERTIFICATE_WORDS_REGEXP.test(reasonOf(error));
}
