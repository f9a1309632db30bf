/** Announcement of a server that has started, and hints for whoever started it. */

import { lineOf, type LogFormat } from "../ops/log.ts";
import { type ServerValues, VERSION } from "./options.ts";

/** Facts about a server that has started. */
export interface Announced {
  readonly url: string;
  readonly transport: string;
  readonly hasPage: boolean;
  /** Sentence on where messages are kept and what an acknowledgement promises, if the broker says it. */
  readonly kept: string | undefined;
}

/**
 * Prints where the server listens, and unless it is to be quiet, how to go on; for programs, all of it as the event `listening`.
 */
export function announce(format: LogFormat, values: ServerValues, { url, transport, hasPage, kept: promise }: Announced): void {
  const { quiet, broker, data } = values;
  const isKept = broker === "sqlite" && data !== ":memory:";
  const kept = promise ?? (isKept ? `Messages are kept in ${data}` : "Messages are kept in memory and gone when it ends");
  if (format === "json") {
    const fields = { version: VERSION, deno: Deno.version.deno, url, transport, kept };
    return console.log(lineOf("json", "listening", fields));
  }
  console.log(`Parley ${VERSION} listens on ${url}`);
  if (quiet) return;
  console.log(kept);
  if (hasPage) console.log(`Open ${pageAddress(url)} in a browser`);
  else if (!values["no-web"]) console.log("There is no page for browsers; deno task web builds it");
  const server = url === "ws://127.0.0.1:8080/ws" ? "" : ` --server ${url}`;
  console.log(`${hints(values, server)}\nStop it with Ctrl-C.`);
}

/** Returns where a browser finds the page of a server. */
function pageAddress(url: string): string {
  const { protocol, port, hostname } = new URL(url);
  const host = hostname === "0.0.0.0" || hostname === "[::]" ? "localhost" : hostname;
  return `${protocol.replace("ws", "http")}//${host}:${port || (protocol === "wss:" ? "443" : "80")}/`;
}

/** The programs as they are typed: beside this one where it is compiled, else by their tasks. */
export interface ProgramNames {
  readonly server: string;
  readonly client: string;
}

function ownNames(): ProgramNames {
  if (!Deno.build.standalone) return { server: "deno task server", client: "deno task client" };
  return { server: "./chat-server", client: "./chat-client" };
}

/** Suggests what to type next. */
export function hints(values: ServerValues, server: string, programs: ProgramNames = ownNames()): string {
  const { "jwt-secret-file": secret, "jwt-public-key": publicKey, jwks } = values;
  if (secret === undefined && publicKey === undefined && jwks === undefined) {
    return `Or try it in two other terminals,
  ${programs.client} --name alice${server}
  ${programs.client} --name bob --to alice${server}`;
  }
  // The pair that `keys` makes lies in one folder.
  const privateKey = publicKey?.replace(/public(?=[^/\\]*$)/, "private") ?? "private.pem";
  const key = secret === undefined ? `--jwt-private-key ${privateKey}` : `--jwt-secret-file ${secret}`;
  const make = `${programs.server} token --name alice ${key} --out alice.token`;
  return `Who connects needs a token:
  ${jwks === undefined ? make : "alice.token: as your identity provider makes them"}
  ${programs.client} --token-file alice.token${server}`;
}
