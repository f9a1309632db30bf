/**
 * `chat-server check`: says what is wrong before a start would, all of it. {@linkcode CHECKS} is the table of what is looked at; a
 * new option that names a file or a place is a row there.
 */

import { X509Certificate } from "node:crypto";
import { dirname } from "node:path";
import { readApiKeys } from "../auth/api_keys.ts";
import { Revoked } from "../auth/revoked.ts";
import { AuthFailure, makeToken } from "../auth/tokens.ts";
import { inspectPostgres } from "../broker/postgres.ts";
import { inspectFolder } from "../broker/sqlite.ts";
import { readVariable } from "../cli/environment.ts";
import { helpText } from "../cli/help.ts";
import { parseOptions, UsageError } from "../cli/options.ts";
import { placeOf } from "../limits/address.ts";
import { printable, reasonOf, sentenceOf } from "../ops/log.ts";
import { addressOf, metricsOf, openTokens, transportOf, whyMetricsExposed, whyNoMetrics, whyNot } from "./assemble.ts";
import { readCertificate } from "./certificate.ts";
import { readKey, withFile } from "./credentials.ts";
import { freeBytes } from "./free_space.ts";
import { ask, ownServer } from "./health.ts";
import type { MetricsAddress } from "./metrics.ts";
import { CHECK_OPTIONS, SERVER, type ServerValues } from "./options.ts";
import { keepsNothing, RULES } from "./rules.ts";
import { readEndpoints, whyHostRefused } from "./webhooks.ts";

/** Days before the end of a certificate from which it is worth a warning: authorities renew a month before. */
const CERTIFICATE_DAYS = 14;
/** Milliseconds of a day. */
const DAY_MS = 86_400_000;
/** Milliseconds that whoever listens on the server's port has to say who it is. */
const ASK_MS = 2_000;
/** Bytes of a MiB. */
const MIB = 1_048_576;

/**
 * One thing that was seen. With an error the server would not start, or nobody could use it; with a warning it starts, and somebody
 * should look.
 */
export interface Finding {
  readonly level: "error" | "warning" | "ok";
  /** One sentence. */
  readonly words: string;
}

/** One look. What it throws is an error that was found. */
export interface Check {
  readonly name: string;
  readonly look: (values: ServerValues) => readonly Finding[] | Promise<readonly Finding[]>;
}

/** The looks, in the order in which they are told. */
export const CHECKS: readonly Check[] = [
  { name: "options", look: lookAtOptions },
  { name: "tokens", look: lookAtTokens },
  { name: "revoked", look: lookAtRevoked },
  { name: "api-keys", look: lookAtApiKeys },
  { name: "certificate", look: lookAtCertificate },
  { name: "webhooks", look: lookAtWebhooks },
  { name: "secrets", look: lookAtSecrets },
  { name: "messages", look: lookAtMessages },
  { name: "space", look: lookAtSpace },
  { name: "address", look: lookAtAddress },
  { name: "metrics", look: lookAtMetrics },
];

/** Result of a command: what to print, and the exit status. */
export interface Outcome {
  readonly text: string;
  readonly status: number;
}

/** Runs the command. The text has a line for each finding; with `--quiet` there are none of what is well. */
export async function checkCommand(
  args: readonly string[],
  env: (name: string) => string | undefined,
): Promise<Outcome> {
  const wrong: Finding[] = [];
  const { values, operands } = parseOptions(CHECK_OPTIONS, args, { env, wrong: ({ message }) => wrong.push(failure(message)) });
  if (values.help) return { text: helpText(SERVER, "check"), status: 0 };
  if (operands.length > 0) throw new UsageError(`check takes options only, not "${operands[0]}"`);
  const findings = [["options", wrong] as const, ...await checkAll({ ...values, version: false })];
  const lines = findings.flatMap(([name, found]) =>
    found.filter(({ level }) => !values.quiet || level !== "ok").map(({ level, words }) =>
      `${level.padEnd(8)} ${name}: ${printable(words)}`
    )
  );
  return { text: lines.join("\n"), status: findings.some(([, found]) => found.some(({ level }) => level === "error")) ? 1 : 0 };
}

/** Looks at everything, also after something was wrong. */
export async function checkAll(
  values: ServerValues,
  checks: readonly Check[] = CHECKS,
): Promise<(readonly [name: string, found: readonly Finding[]])[]> {
  const all: (readonly [string, readonly Finding[]])[] = [];
  for (const { name, look } of checks) {
    try {
      all.push([name, await look(values)]);
    } catch (error) {
      all.push([name, [failure(reasonOf(error))]]);
    }
  }
  return all;
}

function failure(words: string): Finding {
  return { level: "error", words };
}

function warning(words: string): Finding {
  return { level: "warning", words };
}

function fine(words: string): Finding {
  return { level: "ok", words };
}

// ---- The looks ---------------------------------------------------------------------------------------------------------------

function lookAtOptions(values: ServerValues): Finding[] {
  const found = RULES.flatMap((rule) => rule(values)).map(failure);
  for (const option of [transportOf, metricsOf]) {
    try {
      option(values);
    } catch (error) {
      found.push(failure(reasonOf(error)));
    }
  }
  return found.length > 0 ? found : [fine("they can be together")];
}

/** Opens the keys, and makes a token with the private key, where the environment names one, to see that it is of the same pair. */
async function lookAtTokens(values: ServerValues): Promise<Finding[]> {
  const tokens = await openTokens(values);
  if (!tokens) return [fine(`open mode: ${values["insecure-open"] ? "anybody" : "this machine"} is believed`)];
  const file = readVariable("PARLEY_JWT_PRIVATE_KEY");
  if (!file || values["jwt-public-key"] === undefined) return [fine("the keys can be used")];
  const { "jwt-audience": audience, "jwt-issuer": issuer } = values;
  const { token } = await withFile("jwt-private-key", file, () =>
    makeToken({
      name: "check",
      seconds: 60,
      admin: false,
      privateKey: readKey(file),
      ...audience !== undefined && { audience },
      ...issuer !== undefined && { issuer },
    }));
  const claims = await tokens.verify(token);
  if (!(claims instanceof AuthFailure)) return [fine("the public key checks what the private key makes")];
  return [failure(`--jwt-public-key ${values["jwt-public-key"]} does not belong to --jwt-private-key ${file}`)];
}

function lookAtRevoked({ revoked: file, "api-keys": keysFile }: ServerValues): Finding[] {
  if (file === undefined) return [];
  const found: Finding[] = [];
  let kept: string;
  try {
    const revoked = new Revoked(file, (event, fields) => void found.push(warning(sentenceOf(event, fields))));
    kept = revoked.keptFile!;
    revoked.close();
  } catch (error) {
    return [failure(`Cannot read --revoked ${file}: ${reasonOf(error)}`)];
  }
  const why = keysFile === undefined ? undefined : whyUnwritable(kept);
  if (why !== undefined) {
    found.push(warning(
      `${kept} cannot be written (${why}), so that no backend can revoke anybody; ` +
        "have --revoked in a folder that the server may write to",
    ));
  }
  return found.length > 0 ? found : [fine(`${file} can be read`)];
}

/** Returns why a file cannot be replaced, which is tried beside it; undefined where it can. */
function whyUnwritable(file: string): string | undefined {
  const beside = `${file}.check-${crypto.randomUUID()}`;
  try {
    Deno.writeTextFileSync(beside, "", { createNew: true });
    Deno.removeSync(beside);
  } catch (error) {
    return reasonOf(error);
  }
}

function lookAtApiKeys({ "api-keys": file }: ServerValues): Finding[] {
  if (file === undefined) return [];
  try {
    return [fine(`${file} can be read; keys of the API in it: ${readApiKeys(file).length}`)];
  } catch (error) {
    return [failure(`--api-keys ${file}: ${reasonOf(error)}`)];
  }
}

function lookAtWebhooks({ webhooks: file }: ServerValues): Finding[] {
  if (file === undefined) return [];
  const endpoints = readEndpoints(file);
  const found = endpoints.flatMap(({ name, url, allowPrivate }) => {
    const why = allowPrivate ? undefined : whyHostRefused(url);
    return why === undefined
      ? []
      : [warning(`${file}: "${name}" is sent nothing: its address is ${why}; allow_private lets it be`)];
  });
  return [fine(`${file} can be read; endpoints of webhooks in it: ${endpoints.length}`), ...found];
}

/** Options with a file that is nobody's to read but the server's, and those whose file is nobody's to change but the operator's. */
const SECRET_FILES = ["jwt-secret-file", "key", "webhooks", "postgres-password-file"] as const;
const TRUSTED_FILES = ["jwt-public-key", "jwks", "revoked", "api-keys", "cert", "postgres-ca"] as const;
/** Bits of a mode: everybody may read, everybody may write. */
const READABLE = 0o004, WRITABLE = 0o002;

/** Warns of files that more than their group may read or change. What is not there is told by those who need it. */
function lookAtSecrets(values: ServerValues): Finding[] {
  const found: Finding[] = [];
  for (
    const [option, bits, words, change] of [
      ...SECRET_FILES.map((option) => [option, READABLE | WRITABLE, "read", "o="] as const),
      ...TRUSTED_FILES.map((option) => [option, WRITABLE, "changed", "o-w"] as const),
    ]
  ) {
    const file = values[option];
    if (file === undefined || (modeOf(file) & bits) === 0) continue;
    found.push(warning(`${file} (--${option}) can be ${words} by everybody on this machine; chmod ${change} ${file}`));
  }
  return found;
}

/** Bit of a folder's mode: everybody may go through it. */
const PASSABLE = 0o001;

/** Returns the bits of who may do what with a file; none where that cannot be seen, is no file, or is where nobody comes. */
function modeOf(file: string): number {
  try {
    const path = Deno.realPathSync(file), { mode, isFile } = Deno.statSync(path);
    for (let folder = dirname(path); folder !== dirname(folder); folder = dirname(folder)) {
      if (((Deno.statSync(folder).mode ?? 0) & PASSABLE) === 0) return 0;
    }
    return isFile ? mode ?? 0 : 0;
  } catch {
    return 0;
  }
}

function lookAtCertificate(values: ServerValues): Finding[] {
  const unread = [values.cert, values.key].filter((file) => file !== undefined).flatMap(unreadable);
  if (unread.length > 0) return unread;
  const certificate = readCertificate(values);
  if (!certificate) return [];
  const { validFrom, validTo, ca } = new X509Certificate(certificate.cert), now = Date.now(), file = values.cert;
  const found: Finding[] = [];
  const days = Math.floor((Date.parse(validTo) - now) / DAY_MS);
  if (Date.parse(validFrom) > now) {
    found.push(failure(`${file} begins to be valid on ${dateOf(validFrom)}; is the clock right?`));
  }
  if (Date.parse(validTo) <= now) found.push(failure(`${file} has ended on ${dateOf(validTo)}; clients refuse it`));
  else if (days < CERTIFICATE_DAYS) found.push(warning(`${file} ends on ${dateOf(validTo)}, in ${days} days`));
  if (ca) found.push(warning(`${file} is an authority's own (CA:TRUE); clients refuse it as a server's`));
  return found.length > 0 ? found : [fine(`certificate and key belong together, and are good until ${dateOf(validTo)}`)];
}

function unreadable(file: string): Finding[] {
  try {
    readKey(file);
    return [];
  } catch (error) {
    return [failure(reasonOf(error))];
  }
}

function dateOf(time: string): string {
  return new Date(time).toISOString().slice(0, 10);
}

async function lookAtMessages(values: ServerValues): Promise<Finding[]> {
  if (values.postgres !== undefined) {
    const place = addressOf(values, values.postgres);
    const { version, known, promise } = await inspectPostgres({ ...place, allowAsync: values["postgres-allow-async"] });
    return [fine(`PostgreSQL can be reached; ${schemaWords(version, known)}`), fine(promise)];
  }
  if (keepsNothing(values)) return [fine("none are kept")];
  const { hasMessages, isInUse, version, known } = inspectFolder(values.data);
  if (!hasMessages) return [fine(`${values.data} has none yet; the start makes what is needed`)];
  return [fine(`${values.data} can be used; ${schemaWords(version, known)}${isInUse ? "; a server uses it now" : ""}`)];
}

function schemaWords(version: number, known: number): string {
  if (version === 0) return `the start makes the schema (version ${known})`;
  return version < known
    ? `the start brings the schema from version ${version} to ${known}`
    : `the schema has version ${version}`;
}

async function lookAtSpace(values: ServerValues): Promise<Finding[]> {
  if (keepsNothing(values) || values.postgres !== undefined) return [];
  const { data, "free-bytes": floor } = values;
  const bytes = await freeBytes(await nearestFolder(data)).catch((error) => {
    const why = error instanceof Deno.errors.NotCapable ? "the program was started without the permission to" : reasonOf(error);
    throw new Error(`Cannot see how much is free for ${data}: ${why}`);
  });
  const free = `${Math.floor(bytes / MIB)} MiB are free for ${data}`;
  if (bytes >= floor) return [fine(free)];
  return [warning(`${free}, fewer than --free-bytes (${Math.floor(floor / MIB)} MiB): messages would be refused`)];
}

/** Returns a folder, or the one in which the start would make it. */
async function nearestFolder(folder: string): Promise<string> {
  const isThere = await Deno.stat(folder).then(() => true, (error) => !(error instanceof Deno.errors.NotFound));
  return isThere || folder === dirname(folder) ? folder : await nearestFolder(dirname(folder));
}

/** Tries to listen. A port in use is well where a server of ours has it, which is to be restarted. */
async function lookAtAddress(values: ServerValues): Promise<Finding[]> {
  const { host: hostname, port } = values;
  try {
    Deno.listen({ hostname, port }).close();
    return [fine(`${hostname} port ${port} is free`)];
  } catch (error) {
    const why = whyNot(error, hostname, port);
    if (!(error instanceof Deno.errors.AddrInUse)) return [failure(why)];
    const isOurs = await answersAsOurs(values);
    return [isOurs ? fine(`port ${port} on ${hostname} is in use, by a server that runs`) : failure(why)];
  }
}

/** Tries to listen for metrics beside the server. A port in use is well where metrics of ours are there. */
async function lookAtMetrics(values: ServerValues): Promise<Finding[]> {
  let address: MetricsAddress | undefined;
  try {
    address = metricsOf(values);
  } catch {
    return []; // which is told of the options
  }
  if (address === undefined) return [];
  const { hostname, port } = address;
  const option = `--metrics-listen ${values["metrics-listen"]}`;
  if (port !== 0 && port === values.port && meet(hostname, values.host)) {
    return [failure(`${option} is where the server itself listens; choose another port`)];
  }
  const exposed = whyExposed(address);
  const found = exposed === undefined ? [] : [warning(exposed)];
  try {
    Deno.listen({ hostname, port }).close();
    return [fine(`${hostname} port ${port} is free`), ...found];
  } catch (error) {
    const why = whyNoMetrics(error, address);
    if (!(error instanceof Deno.errors.AddrInUse)) return [failure(why)];
    const page = await ask({ url: new URL(`http://${placeOf(hostname, port)}/metrics`), caCerts: [], timeoutMs: ASK_MS }).catch(
      () => undefined,
    );
    const isOurs = page?.status === 200 && page.text.includes("parley_");
    if (!isOurs) return [failure(why)];
    return [fine(`port ${port} on ${hostname} is in use, by the metrics of a server that runs`), ...found];
  }
}

/** Returns why metrics at an address want a look; of a name, at the address that it stands for. */
function whyExposed({ hostname, port }: MetricsAddress): string | undefined {
  try {
    using listener = Deno.listen({ hostname, port: 0 });
    return whyMetricsExposed(listener.addr.hostname, port);
  } catch {
    return undefined; // which is told as what it is
  }
}

/** Returns whether nobody can listen on one port of both addresses. */
function meet(one: string, other: string): boolean {
  return one === other || [one, other].some((host) => host === "0.0.0.0" || host === "::");
}

async function answersAsOurs(values: ServerValues): Promise<boolean> {
  try {
    const { url, ...how } = ownServer(values);
    const { status, text } = await ask({ ...how, url: new URL("/livez", url), timeoutMs: ASK_MS });
    return status === 200 && text === "ok";
  } catch {
    return false;
  }
}
