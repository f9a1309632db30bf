import { assert, assertEquals, assertMatch } from "@std/assert";
import { lacks } from "../testing/permissions.ts";
import { startServer } from "../server.ts";
import { WebAssets } from "./web_assets.ts";

const ignore = lacks("net", "read", "write");

/** Writes a page as the build does, and starts a server with it. */
async function withPage(run: (address: string) => Promise<void>, login: "name" | "token" = "name"): Promise<void> {
  const folder = await Deno.makeTempDir();
  const base = new URL(`file://${folder}/`);
  try {
    const write = (path: string, text: string) => Deno.writeTextFile(new URL(path, base), text);
    await Deno.mkdir(new URL("assets/", base));
    await write("assets/page-0123456789.js", "a script");
    await write("assets/page-0123456789.js.gz", "gzipped");
    await write("assets/page-0123456789.js.br", "brotli");
    await write("worker.js", "the worker");
    for (const page of ["name", "token"]) await write(`page-${page}.html`, `asks for a ${page}`);
    const js = "text/javascript; charset=utf-8", html = "text/html; charset=utf-8";
    const files = [
      { path: "assets/page-0123456789.js", type: js },
      { path: "worker.js", type: js },
      { path: "page-name.html", type: html },
      { path: "page-token.html", type: html },
    ];
    await write("files.json", JSON.stringify({ sources: "x", files }));
    const web = WebAssets.read(login, base);
    await using server = await startServer({ port: 0, ...web && { web } });
    await run(`http://127.0.0.1:${server.port}`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

async function get(url: string, headers: Record<string, string> = {}): Promise<[number, string, Headers]> {
  const response = await fetch(url, { headers: { "accept-encoding": "identity", ...headers } });
  return [response.status, await response.text(), response.headers];
}

Deno.test({
  name: "whoever takes HTML gets the page, and everybody else the text",
  ignore,
  fn: () =>
    withPage(async (address) => {
      const [, page, headers] = await get(`${address}/`, { accept: "text/html,application/xhtml+xml,*/*;q=0.8" });
      assertEquals(page, "asks for a name");
      assertEquals([headers.get("cache-control"), headers.get("vary")], ["no-store", "accept, accept-encoding"]);
      for (const accept of ["*/*", "text/plain", "text/html;q=0"]) {
        const [status, text, answered] = await get(`${address}/`, { accept });
        assertEquals(status, 200);
        assertMatch(text, /^Parley .*: messages over a WebSocket/);
        assertEquals(answered.get("cache-control"), "no-store");
      }
    }),
});

Deno.test({
  name: "a server with tokens gives the page that asks for one",
  ignore,
  fn: () =>
    withPage(
      async (address) => assertEquals((await get(`${address}/`, { accept: "text/html" }))[1], "asks for a token"),
      "token",
    ),
});

Deno.test({
  name: "the page and all that it loads carry a policy without exceptions",
  ignore,
  fn: () =>
    withPage(async (address) => {
      for (const path of ["/", "/worker.js", "/assets/page-0123456789.js"]) {
        const [, , headers] = await get(address + path, { accept: "text/html" });
        const policy = headers.get("content-security-policy")!;
        assertMatch(policy, /^default-src 'none';/);
        assertMatch(policy, /frame-ancestors 'none'/);
        assertMatch(policy, /require-trusted-types-for 'script'/);
        assert(!/unsafe|\*|data:|https?:/.test(policy), policy);
        assertEquals(headers.get("x-content-type-options"), "nosniff");
        assertEquals(headers.get("referrer-policy"), "no-referrer");
      }
    }),
});

Deno.test({
  name: "files with a hash are kept for ever, in the encoding that the browser takes; the worker is asked for each time",
  ignore,
  fn: () =>
    withPage(async (address) => {
      const script = `${address}/assets/page-0123456789.js`;
      const [status, plain, headers] = await get(script);
      assertEquals([status, plain, headers.get("content-type")], [200, "a script", "text/javascript; charset=utf-8"]);
      assertEquals(headers.get("cache-control"), "public, max-age=31536000, immutable");
      assertEquals(headers.get("vary"), "accept-encoding");
      // fetch decodes what it can: the server's own word of it is what counts here.
      for (const [accepted, encoding] of [["br, gzip", "br"], ["gzip", "gzip"], ["gzip, br;q=0", "gzip"]] as const) {
        assertEquals(await encodingOf(script, accepted), encoding);
      }
      const [, , worker] = await get(`${address}/worker.js`);
      assertEquals(worker.get("cache-control"), "no-cache");
      const etag = worker.get("etag")!, opaque = etag.replace(/^W\//, "");
      assertMatch(etag, /^W\//, "all encodings have it in common");
      for (const known of [etag, opaque, `"another", ${etag}`, "*"]) {
        assertEquals((await get(`${address}/worker.js`, { "if-none-match": known }))[0], 304, known);
      }
      assertEquals((await get(`${address}/worker.js`, { "if-none-match": `W/"another"` }))[0], 200);
    }),
});

/** Asks without a client that decodes. */
async function encodingOf(url: string, accepted: string): Promise<string | undefined> {
  const { hostname, port, pathname } = new URL(url);
  using connection = await Deno.connect({ hostname, port: Number(port) });
  const request = `HEAD ${pathname} HTTP/1.1\r\nhost: ${hostname}\r\naccept-encoding: ${accepted}\r\nconnection: close\r\n\r\n`;
  await connection.write(new TextEncoder().encode(request));
  const text = await new Response(connection.readable).text();
  return /^content-encoding: (\S+)/mi.exec(text)?.[1];
}

Deno.test({
  name: "unknown assets are 404 and never the page, and there is no page for a server without one",
  ignore,
  fn: async () => {
    await withPage(async (address) => {
      for (
        const path of ["/assets/page-ffffffffff.js", "/assets/", "/page-name.html", "/files.json", "/assets/../files.json"]
      ) {
        const [status, text, headers] = await get(address + path, { accept: "text/html" });
        assertEquals([status, headers.get("content-type")], [404, "text/plain; charset=utf-8"], path);
        assert(!text.includes("asks for"));
      }
    });
    assertEquals(WebAssets.read("name", new URL("file:///nowhere/")), undefined);
    await using server = await startServer({ port: 0 });
    const [, text] = await get(`http://127.0.0.1:${server.port}/`, { accept: "text/html" });
    assertMatch(text, /^Parley/);
  },
});

Deno.test({
  name: "a page is told why its socket does not open; others learn what they always did",
  ignore,
  fn: () =>
    withPage(async (address) => {
      const [status, text] = await get(`${address}/ws?name=not%20a%20name`, { accept: "application/json" });
      assertEquals([status, JSON.parse(text).code], [400, "bad_name"]);
      assertEquals((await get(`${address}/ws?name=bob`, { accept: "application/json" }))[0], 426);
      assertEquals((await get(`${address}/ws?name=not%20a%20name`))[0], 426);
    }),
});
