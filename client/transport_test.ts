import { assertEquals, assertStringIncludes } from "@std/assert";
import { certificate, filesIn, oddCertificate } from "../testing/certificate.ts";
import { CAN_RUN, lacks, lacksProgram } from "../testing/permissions.ts";
import { explainFailure, explainFinding } from "./transport.ts";
import { type Finding, parseAnswer } from "./transport/probe.ts";

const ignore = lacks("net", "read", "write");

function answer(status: number, body = "", location?: string): Finding {
  return { kind: "answer", status, body, location };
}

Deno.test("explainFinding says what to do, and whether trying again helps", () => {
  const server = "wss://chat.example.org/ws";
  const wire = (message: string, retryable?: boolean) =>
    JSON.stringify({ type: "error", code: "forbidden", message, ...(retryable === undefined ? {} : { retryable }) });
  const table: [Finding, string, boolean][] = [
    [answer(401), "--token-file", true],
    [answer(403), "revoked", true],
    [answer(403, wire("This token or user is revoked", false)), "refuses: This token or user is revoked", true],
    [answer(403, wire("Not through a proxy")), "refuses: Not through a proxy", true],
    [answer(503, wire("No room", true)), "refuses: No room", false],
    [answer(400), "the name", true],
    [answer(404), "--server", true],
    [answer(426, "<html>"), "--server", true],
    [answer(429), "too many connections", false],
    [answer(500), "500", false],
    [answer(502), "behind it does not answer", false],
    [answer(503), "full or restarting", false],
    [answer(101), "it broke", false],
    [answer(301, "", "https://other.example/ws"), "--server wss://other.example/ws", true],
    [answer(308, "", "/chat/ws"), "--server wss://chat.example.org/chat/ws", true],
    [answer(302, "", "http://["), "not where", true],
    [{ kind: "no-host" }, "no host called chat.example.org", false],
    [{ kind: "no-server" }, "There is no server at chat.example.org", false],
    [{ kind: "silent" }, "does not answer", false],
    [{ kind: "wants-tls" }, "try wss://", false],
    [{ kind: "no-tls" }, "try ws://", false],
  ];
  for (const [finding, words, isFatal] of table) {
    const { reason, fatal } = explainFinding(finding, server, false);
    assertStringIncludes(reason, words);
    assertEquals(fatal, isFatal, reason);
  }
  assertStringIncludes(explainFinding(answer(401), server, true).reason, "did not accept the token");
});

Deno.test("explainFinding tells certificates apart, and the first two may be right tomorrow", () => {
  const now = Date.UTC(2026, 0, 1), day = 86_400_000;
  const table: [number, number, boolean, string, boolean][] = [
    [now - 9 * day, now - day, true, "has expired on 2025-12-31", false],
    [now + day, now + 9 * day, true, "is not valid before 2026-01-02", false],
    [now - day, now + day, false, "is for another name", true],
    [now - day, now + day, true, "--ca FILE", true],
  ];
  for (const [from, to, isForHost, words, isFatal] of table) {
    const finding: Finding = { kind: "certificate", certificate: { from, to }, isForHost };
    const { reason, fatal } = explainFinding(finding, "wss://h/ws", false, now);
    assertStringIncludes(reason, words);
    assertEquals(fatal, isFatal);
  }
});

Deno.test("parseAnswer takes HTTP apart, and nothing else", () => {
  const parse = (text: string) => parseAnswer(new TextEncoder().encode(text));
  assertEquals(parse("HTTP/1.1 301 Moved\r\nLOCATION:  /x \r\nA: b\r\n\r\nbody"), answer(301, "body", "/x"));
  const chunked = 'HTTP/1.1 403 F\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n';
  assertEquals(parse(chunked), answer(403, '{"a":1}'));
  for (const text of ["", "\x15\x03\x01", "SSH-2.0-x\r\n", "HTTP/2"]) assertEquals(parse(text), undefined);
});

async function explained(server: string, ca?: string): Promise<string> {
  const { reason } = await explainFailure({ server, token: undefined, ca })();
  return reason.replace(/127\.0\.0\.1:\d+/g, "HOST");
}

Deno.test({
  name: "explainFailure asks the server itself: statuses, words, redirects, and who does not speak HTTP",
  ignore,
  fn: async () => {
    await using http = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {} }, (request) => {
      const path = new URL(request.url).pathname;
      if (path === "/moved") return new Response(null, { status: 308, headers: { location: "https://new.example/ws" } });
      if (path === "/proxied") {
        return Response.json({ type: "error", code: "forbidden", message: "Not through a proxy" }, { status: 403 });
      }
      return new Response("x", { status: 404 });
    });
    const at = (path: string) => `ws://127.0.0.1:${http.addr.port}${path}`;
    assertStringIncludes(await explained(at("/moved")), "use --server wss://new.example/ws");
    assertEquals(await explained(at("/proxied")), "HOST refuses: Not through a proxy");
    assertStringIncludes(await explained(at("/ws")), "There is no chat server");
    assertEquals(await explained(at("/ws").replace("ws:", "wss:")), "HOST does not speak TLS: try ws://");
    assertEquals(await explained("ws://127.0.0.1:1/ws"), "There is no server at HOST");
    using mute = Deno.listen({ port: 0, hostname: "127.0.0.1" });
    const hangUp = (async () => {
      for await (const connection of mute) connection.close();
    })();
    assertEquals(await explained(`ws://127.0.0.1:${mute.addr.port}/ws`), "HOST takes connections and does not answer");
    mute.close();
    await hangUp;
  },
});

Deno.test({
  name: "explainFailure tells an expired certificate, one that is not valid yet, one for another name, and an untrusted one",
  ignore: ignore || !CAN_RUN || lacksProgram("openssl", ["version"]),
  fn: async () => {
    const folder = await Deno.makeTempDir();
    await certificate(folder);
    const ca = await Deno.readTextFile(filesIn(folder).ca);
    const words = async (oddity: Parameters<typeof oddCertificate>[1], trusted?: string) => {
      const { cert, key } = await oddCertificate(folder, oddity);
      const files = { cert: await Deno.readTextFile(cert), key: await Deno.readTextFile(key) };
      await using server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen() {}, ...files }, () => new Response("x"));
      return [
        await explained(`wss://127.0.0.1:${server.addr.port}/ws`, trusted),
        await explained(`ws://127.0.0.1:${server.addr.port}/ws`, trusted),
      ];
    };
    const expired = await words({ from: "20200101000000Z", to: "20210101000000Z" }, ca);
    assertStringIncludes(expired[0]!, "has expired on 2021-01-01");
    assertEquals(expired[1], "HOST does not speak plain HTTP: try wss://");
    assertStringIncludes((await words({ from: "20390101000000Z" }, ca))[0]!, "is not valid before 2039-01-01");
    assertStringIncludes((await words({ name: "other.example" }, ca))[0]!, "is for another name");
    assertStringIncludes((await words({}))[0]!, "--ca FILE");
    await Deno.remove(folder, { recursive: true });
  },
});
