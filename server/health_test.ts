import { assert, assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { parseOptions, UsageError } from "../cli/options.ts";
import { startServer } from "../server.ts";
import { certificate, filesIn, oddCertificate } from "../testing/certificate.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { StartError } from "./assemble.ts";
import { healthCommand } from "./health.ts";
import { HEALTH_OPTIONS } from "./options.ts";

const ignore = lacks("net", "read");

function health(args: string[], url?: string): Promise<string> {
  return healthCommand(parseOptions(HEALTH_OPTIONS, args).values, url);
}

testOverTransports({
  name: "health asks the server that the options describe, or that of a URL, and says in a line why not",
  ignore,
  async fn(transport) {
    await using server = await startServer({ port: 0, transport, admission: { connections: 0 } });
    const port = ["--port", String(server.port)];
    assertEquals(await health([...port, "--live"]), `http://127.0.0.1:${server.port}/livez says ok`);
    assertEquals(await health(["--live"], server.url), `http://127.0.0.1:${server.port}/livez says ok`);
    const { message } = await assertRejects(() => health([...port, "--host", "0.0.0.0"]), StartError);
    assertEquals(
      message,
      `http://127.0.0.1:${server.port}/readyz says 503: not ready: it is at a limit (The server has no room for more connections)`,
    );
    await assertRejects(() => health([], "ftp://x"), UsageError, "is no URL of a server");
  },
});

testOverTransports({
  name: "health speaks TLS to a server whose certificate is for another name than its address, and trusts no other",
  ignore: ignore || !CAN_RUN || lacksProgram("openssl", ["version"]),
  async fn(transport) {
    const dir = await Deno.makeTempDir({ prefix: "health-" });
    await certificate(dir, 1);
    const { ca } = filesIn(dir), { cert, key } = await oddCertificate(dir, { name: "chat.example.org" });
    {
      const pem = { cert: Deno.readTextFileSync(cert), key: Deno.readTextFileSync(key) };
      await using server = await startServer({ port: 0, transport, certificate: pem });
      const port = ["--port", String(server.port)];
      assertStringIncludes(await health([...port, "--cert", cert, "--ca", ca]), "/readyz says ok");
      await assertRejects(() => health([], `https://localhost:${server.port}`), StartError, "does not answer");
      const named = await assertRejects(() => health(["--ca", ca], `https://localhost:${server.port}`), StartError);
      assertStringIncludes(named.message, "does not answer"); // it is for another name
    }
    await Deno.remove(dir, { recursive: true });
  },
});

Deno.test({
  name: "health waits no longer than it is told for one who says nothing, and obeys nothing of an answer",
  ignore,
  async fn() {
    using silent = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = silent.addr as Deno.NetAddr;
    const accepted = silent.accept();
    const begun = performance.now();
    const late = await assertRejects(() => health(["--port", String(port), "--timeout", "1"]), StartError);
    assertStringIncludes(late.message, "nothing came within 1 s");
    assert(performance.now() - begun < 20_000);
    (await accepted).close();
    const next = silent.accept().then(async (peer) => {
      await peer.read(new Uint8Array(1_000));
      await peer.write(new TextEncoder().encode("HTTP/1.1 503 No\r\n\r\n\u001b[31mred\nmore"));
      peer.close();
    });
    const odd = await assertRejects(() => health(["--port", String(port)]), StartError);
    assertStringIncludes(odd.message, String.raw`says 503: \u{1b}[31mred`);
    await next;
    silent.close();
    const none = await assertRejects(() => health(["--port", String(port)]), StartError);
    assertStringIncludes(none.message, "nobody listens there");
  },
});
