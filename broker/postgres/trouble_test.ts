/** Words of what goes wrong with PostgreSQL, where they need none that runs. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { describeConnecting, isLasting } from "./trouble.ts";

const HOST = { host: "db1", port: 5432, path: undefined };

Deno.test("trouble - a certificate that is not taken comes with advice, and is no matter of waiting, on every release of Deno", () => {
  // Deno 2.5 has the words alone, newer releases a code like Node.js.
  for (
    const error of [
      new Error("invalid peer certificate: BadSignature"),
      new Error("invalid peer certificate: UnknownIssuer"),
      Object.assign(new Error("self-signed certificate"), { code: "DEPTH_ZERO_SELF_SIGNED_CERT" }),
    ]
  ) {
    const words = describeConnecting(error, HOST, true);
    assertStringIncludes(words, `The certificate of db1:5432 is not taken (${error.message})`);
    assertStringIncludes(words, "--postgres-ca");
    assert(isLasting(error));
  }
  assertEquals(isLasting(new Error("PostgreSQL at db1:5432 does not answer")), false);
});
