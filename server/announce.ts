/** Announcement of a server that has started, and hints for whoever started it. */

import { type ServerValues, VERSION } from "./options.ts";

/**
 * Prints where the server listens at `url`, and unless it is to be quiet, how to go on. `kept`: where messages are kept and what an
 * acknowledgement promises, if the broker says it.
 */
export function announce(url: string, values: ServerValues, kept: string | undefined): void {
  const { quiet, broker, data } = values;
  console.log(`Parley ${VERSION} listens on ${url}`);
  if (quiet) return;
  if (kept !== undefined) console.log(kept);
  const isKept = broker === "sqlite" && data !== ":memory:";
  if (kept === undefined) {
    console.log(isKept ? `Messages are kept in ${data}` : "Messages are kept in memory and gone when it ends");
  }
  const server = url === "ws://127.0.0.1:8080/ws" ? "" : ` --server ${url}`;
  console.log(`${hints(values, server)}\nStop it with Ctrl-C.`);
}

/** Suggests what to type next. */
function hints(values: ServerValues, server: string): string {
  const { "jwt-secret-file": secret, "jwt-public-key": publicKey, jwks } = values;
  if (secret === undefined && publicKey === undefined && jwks === undefined) {
    return `Try it: in two other terminals,
  ./chat-client --name alice${server}      (or: deno task client --name alice${server})
  ./chat-client --name bob --to alice${server}`;
  }
  const key = secret === undefined ? "--jwt-private-key private.pem" : `--jwt-secret-file ${secret}`;
  const make = `./chat-server token --name alice ${key} --out alice.token`;
  return `Who connects needs a token:
  ${jwks === undefined ? make : "alice.token: as your identity provider makes them"}
  ./chat-client --token-file alice.token${server}`;
}
