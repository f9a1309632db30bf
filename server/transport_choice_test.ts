import { assert, assertEquals, assertMatch } from "@std/assert";
import { certificate, filesIn } from "../testing/certificate.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { startServer } from "../server.ts";
import { defaultTransport, whyNoWs } from "./transport_choice.ts";

Deno.test("where nobody says, loopback has Deno's sockets and other addresses have ws, on a Deno that can", () => {
  assertEquals(["127.0.0.1", "::1", "localhost"].map((host) => defaultTransport(host, "2.9.6")), ["deno", "deno", "deno"]);
  assertEquals(["0.0.0.0", "::", "192.0.2.7"].map((host) => defaultTransport(host, "2.9.6")), ["ws", "ws", "ws"]);
  assertEquals(defaultTransport("0.0.0.0", "2.5.7"), "deno");
});

Deno.test("ws is refused in words on a Deno before 2.8.3", () => {
  for (const version of ["2.8.3", "2.8.4", "2.9.0", "2.10.0", "3.0.0", "2.8.3+1a2b3c"]) {
    assertEquals(whyNoWs(version), undefined);
  }
  for (const version of ["1.46.3", "2.5.7", "2.7.13", "2.8.2"]) {
    assertMatch(whyNoWs(version)!, /--transport ws needs Deno 2\.8\.3 .* this is [\d.]+; use --transport deno$/);
  }
});

testOverTransports({
  name: "server - a port that is taken rejects as such",
  ignore: lacks("net"),
  async fn(transport) {
    await using first = await startServer({ port: 0, transport });
    const error = await startServer({ port: first.port, transport }).catch((error) => error);
    assert(error instanceof Deno.errors.AddrInUse, String(error));
  },
});

testOverTransports({
  name: "server - a key that is not the certificate's, or garbage, is refused at the start and at a renewal",
  ignore: !CAN_RUN || lacksProgram("openssl", ["version"]),
  async fn(transport) {
    const [mine, other] = [await Deno.makeTempDir({ prefix: "pair-" }), await Deno.makeTempDir({ prefix: "pair-" })];
    await Promise.all([certificate(mine), certificate(other)]);
    const read = (dir: string, file: "cert" | "key") => Deno.readTextFile(filesIn(dir)[file]);
    const good = { cert: await read(mine, "cert"), key: await read(mine, "key") };
    const bad = [
      { ...good, key: await read(other, "key") },
      { ...good, cert: "garbage" },
      { ...good, key: "garbage" },
      { cert: good.cert.replace(/\n[^\n]{20}/, "\n????????????????????"), key: good.key },
    ];
    for (const certificate of bad) {
      const refused = await startServer({ port: 0, transport, certificate }).then(() => "taken", () => "refused");
      assertEquals(refused, "refused");
    }
    await using server = await startServer({ port: 0, transport, certificate: good });
    for (const certificate of bad) {
      assertEquals(await server.renew(certificate).then(() => "taken", () => "refused"), "refused");
    }
    await server.renew(good);
    await Promise.all([mine, other].map((dir) => Deno.remove(dir, { recursive: true })));
  },
});
