/** The HTTP API, attacked over real sockets. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { delay } from "@std/async/delay";
import { deadline } from "@std/async/deadline";
import { ALL_SCOPES, ApiWorld, lineFor } from "../testing/api_world.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { lacks } from "../testing/permissions.ts";
import { RawSocket } from "../testing/raw_socket.ts";
import { Api, API_ROUTE_NAMES } from "./api.ts";

const ignore = lacks("net", "read", "write");
const MESSAGE = { sender: "shop", recipient: "shop", content: "hi" };

/** All routes, with names in place of their parameters. */
const ROUTES = API_ROUTE_NAMES.map((name) => {
  const [method, at] = name.split(" ") as [string, string];
  return { method, path: at.replace(/\{\w+\}/g, "x") };
});

testOverTransports({
  name: "API attacked - no route is answered without a key, with a wrong one, or with one in the address",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    const right = world.secrets.shop!;
    const wrong: [headers: Record<string, string>, query?: string][] = [
      [{}],
      [{ authorization: "" }],
      [{ authorization: "Bearer" }],
      [{ authorization: right }],
      [{ authorization: `Basic ${btoa(`shop:${right}`)}` }],
      [{ authorization: `Bearer ${right}x` }],
      [{ authorization: `Bearer ${right.slice(0, -1)}` }],
      [{ authorization: `Bearer ${right.toUpperCase()}` }],
      [{ authorization: `Bearer ${right} ${right}` }],
      [{ authorization: `Bearer ${"x".repeat(8_000)}` }],
      [{ "x-api-key": right }],
      [{ cookie: `key=${right}` }],
      [{ authorization: `Bearer ${right}` }, `?api_key=${right}`],
      [{}, `?key=${right}`],
      [{}, `?access_token=${right}`],
    ];
    for (const { method, path } of ROUTES) {
      for (const [headers, query = ""] of method === "GET" ? wrong : wrong.slice(0, 6)) {
        const body = method === "POST" ? { body: "{}" } : {};
        const response = await fetch(world.url(path + query), { method, headers, ...body });
        const text = await response.text();
        assertEquals([response.status, response.headers.get("www-authenticate")], [401, "Bearer"], `${method} ${path}${query}`);
        assertEquals(JSON.parse(text).code, "unauthorized");
        assert(!text.includes(right));
        if (query) assertMatch(text, /never goes into an address/);
      }
    }
    const refused = world.logged.filter(({ event }) => event === "api_refused");
    assertEquals(refused.length, 1, "a flood of wrong keys is no flood of the log");
    assert(!JSON.stringify(world.logged).includes(right));
  },
});

testOverTransports({
  name: "API attacked - methods that are not there are 405 with those that are, and OPTIONS says no more",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    for (const path of ["/messages", "/messages/batch", "/users/x", "/users/x/revoke", "/stats"]) {
      const there = ROUTES.filter((route) => route.path === path).map(({ method }) => method);
      const allow = [...there.flatMap((method) => method === "GET" ? ["GET", "HEAD"] : [method]), "OPTIONS"].join(", ");
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE"].filter((method) => !there.includes(method))) {
        const { status, headers, body } = await world.ask(method, path);
        assertEquals([status, headers.get("allow"), body.code], [405, allow, "unknown_type"], `${method} ${path}`);
      }
      const origin = {
        origin: "https://evil.example",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      };
      const options = await fetch(world.url(path), { method: "OPTIONS", headers: origin });
      assertEquals([options.status, options.headers.get("allow"), await options.text()], [204, allow, ""]);
      assertEquals([...options.headers.keys()].filter((name) => name.startsWith("access-control")), [], "there is no CORS");
    }
    const head = await fetch(world.url("/stats"), {
      method: "HEAD",
      headers: { authorization: `Bearer ${world.secrets.shop}` },
    });
    assertEquals([head.status, await head.text(), head.headers.get("content-type")], [200, "", "application/json"]);
    const page = await fetch(world.url("/stats"), {
      headers: { authorization: `Bearer ${world.secrets.shop}`, origin: "https://evil.example" },
    });
    assertEquals([...page.headers.keys()].filter((name) => name.startsWith("access-control")), []);
    await page.body?.cancel();
  },
});

testOverTransports({
  name: "API attacked - paths lead where they say or nowhere",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    const cases: [path: string, status: number, code: string | undefined][] = [
      ["", 404, "unknown_type"],
      ["/", 404, "unknown_type"],
      ["/nothing", 404, "unknown_type"],
      ["/users", 404, "unknown_type"],
      ["/users/", 404, "unknown_type"],
      ["/users/a/", 404, "unknown_type"],
      ["/users//disconnect", 404, "unknown_type"],
      ["/users/a/b", 404, "unknown_type"],
      ["//stats", 404, "unknown_type"],
      ["/STATS", 404, "unknown_type"],
      ["/st%61ts", 404, "unknown_type"],
      ["/stats/..", 404, "unknown_type"],
      ["/users/%2e%2e", 404, "unknown_type"],
      ["/users/x/../../stats", 200, undefined],
      ["/users/a%2Fb", 400, "bad_name"],
      ["/users/a%2fdisconnect", 400, "bad_name"],
      ["/users/%00", 400, "bad_name"],
      ["/users/%ff", 400, "bad_name"],
      ["/users/%", 400, "bad_name"],
      ["/users/a%20b", 400, "bad_name"],
      ["/users/%E2%80%AEa", 400, "bad_name"],
      ["/users/%23ops", 400, "bad_name"],
      [`/users/${"x".repeat(65)}`, 400, "bad_name"],
      ["/users/__proto__", 400, "bad_name"],
      ["/users/constructor", 404, "unknown_recipient"],
      ["/users/J%C3%BCrgen", 404, "unknown_recipient"],
      ["/groups/%23%23ops?as=a", 400, "bad_name"],
      ["/stats?x=1", 400, "bad_frame"],
      ["/stats?__proto__=1", 400, "bad_frame"],
      ["/messages?user=a&user=b&with=c", 400, "bad_frame"],
      ["/messages?user=a", 400, "bad_frame"],
      ["/messages?user=a&with=b&limit=0", 400, "bad_frame"],
      ["/messages?user=a&with=b&limit=501", 400, "bad_frame"],
      ["/messages?user=a&with=b&limit=1e2", 400, "bad_frame"],
      ["/messages?user=a&with=b&before=-1", 400, "bad_frame"],
      ["/messages?user=a&with=b&before=99999999999999999", 400, "bad_frame"],
      ["/messages?user=a&with=", 400, "bad_name"],
      ["/presence?users=", 400, "bad_name"],
      ["/presence?users=a,,b", 400, "bad_name"],
      [`/stats?${"x".repeat(9_000)}`, 414, "too_large"],
    ];
    for (const [path, status, code] of cases) {
      const answer = await world.ask("GET", path);
      assertEquals([answer.status, answer.body.code], [status, code], path);
      if (code !== undefined) assertEquals(answer.body.type, "error");
    }
    const beside = await fetch(`http://127.0.0.1:${world.server.port}/api/v12/stats`);
    assertEquals([beside.status, await beside.text()], [404, "There is nothing at this address; try /\n"]);
  },
});

testOverTransports({
  name: "API attacked - bodies that are none are refused in words, however deep or strange",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    const deep = "[".repeat(30_000) + "]".repeat(30_000), deepObject = '{"a":'.repeat(9_000) + "1" + "}".repeat(9_000);
    const cases: [body: string | Uint8Array<ArrayBuffer>, code: string][] = [
      ["", "bad_json"],
      ["{", "bad_json"],
      ["null", "bad_frame"],
      ["[]", "bad_frame"],
      ['"x"', "bad_frame"],
      ["{}", "bad_frame"],
      [deep, "bad_frame"],
      [deepObject, "bad_frame"],
      ["[".repeat(60_000), "bad_json"],
      [`{"sender":"shop","recipient":${deep},"content":"x"}`, "bad_frame"],
      ['{"__proto__":{"sender":"shop","recipient":"shop","content":"x"}}', "bad_frame"],
      [JSON.stringify({ ...MESSAGE, sender: ["shop"] }), "bad_frame"],
      [JSON.stringify({ ...MESSAGE, sender: "sh op" }), "bad_name"],
      [JSON.stringify({ ...MESSAGE, content: "\0" }), "bad_content"],
      [JSON.stringify({ ...MESSAGE, content: "\ud800" }), "bad_content"],
      [JSON.stringify({ ...MESSAGE, content: "x".repeat(16_385) }), "too_large"],
      [JSON.stringify({ ...MESSAGE, id: "" }), "bad_frame"],
      [JSON.stringify({ ...MESSAGE, id: 7 }), "bad_frame"],
      [new Uint8Array([0x22, 0xff, 0x22]), "bad_json"],
      [new Uint8Array([0xff, 0xfe, 0x7b, 0, 0x7d, 0]), "bad_json"],
    ];
    const headers = { authorization: `Bearer ${world.secrets.shop}`, "content-type": "application/json" };
    for (const [body, code] of cases) {
      const response = await fetch(world.url("/messages"), { method: "POST", headers, body });
      const answer = await response.json();
      assertEquals([answer.type, answer.code], ["error", code], String(body).slice(0, 60));
      assert(response.status >= 400 && response.status < 500);
    }
    const over = await world.ask("POST", "/messages", { ...MESSAGE, content: "x".repeat(100_000) });
    assertEquals([over.status, over.body.code], [413, "too_large"], "who is a little over the limit can read why");
    for (const entry of [deep.slice(15_000, -15_000), "null", "[]", "7", '{"sender":{}}']) {
      const { status, body } = await world.ask("POST", "/messages/batch", `{"messages":[${entry}]}`);
      assertEquals([status, body.results.length, body.results[0].code], [200, 1, "bad_frame"]);
    }
    for (const messages of ["[]", "{}", "null", `[${Array(501).fill("{}")}]`]) {
      const { body } = await world.ask("POST", "/messages/batch", `{"messages":${messages}}`);
      assert(["bad_frame", "limit_reached"].includes(body.code), messages.slice(0, 10));
    }
    for (
      const type of [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonx",
        "",
      ]
    ) {
      const { status, body } = await world.ask("POST", "/messages", MESSAGE, { headers: { "content-type": type } });
      assertEquals([status, body.code], [415, "bad_frame"], type);
    }
    const packed = await world.ask("POST", "/messages", MESSAGE, { headers: { "content-encoding": "gzip" } });
    assertEquals(packed.status, 415);
    const charset = await world.ask("POST", "/messages", MESSAGE, {
      headers: { "content-type": "Application/JSON; charset=utf-8" },
    });
    assertEquals(charset.status, 201);
    const useless = await world.ask("PUT", "/users/x", "{}");
    assertEquals([useless.status, useless.body.code], [400, "bad_frame"]);
  },
});

/** Sends a request by hand, its body in pieces for as long as the server takes them; returns the head of the answer. */
async function endless(
  world: ApiWorld,
  head: readonly string[],
  piece: string,
  { method = "POST", path = "/messages", most = 64 * 1_048_576, pauseMs = 0 } = {},
): Promise<{ answer: string; sent: number }> {
  using socket = await RawSocket.connect(world.server.port);
  await socket.write(
    [`${method} /api/v1${path} HTTP/1.1`, "host: x", "content-type: application/json", ...head, "", ""].join("\r\n"),
  );
  let answer = "", sent = 0, isOver = false;
  const reading = (async () => {
    try {
      for (let text; (text = await socket.readSome()) !== "";) answer += text;
    } catch { /* reset */ }
    isOver = true;
  })();
  try {
    while (!isOver && sent < most) {
      await socket.write(piece);
      sent += piece.length;
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  } catch { /* cut off */ }
  await reading;
  return { answer, sent };
}

testOverTransports({
  name: "API attacked - what is too large by its head is refused unread, and its connection cut off",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    const key = `authorization: Bearer ${world.secrets.shop}`, piece = " ".repeat(65_536);
    for (
      const [head, path, status] of [
        [[key, "content-length: 1000000000"], "/messages", 413],
        [["content-length: 1000000000"], "/messages", 401],
        [[key, "content-length: 1000000000"], "/messages/batch", 413],
        [[key, "content-length: 1000000000"], "/nothing", 404],
        [[key, "content-length: 1000000000"], "/users/x/disconnect", 400],
      ] as const
    ) {
      const { answer, sent } = await endless(world, head, piece, { path });
      assertMatch(answer, new RegExp(`^HTTP/1.1 ${status} `), path);
      assertStringIncludes(answer, '"type":"error"');
      assert(sent < 32 * 1_048_576, `${path}: ${sent} bytes were taken`);
    }
    const options = await endless(world, [key, "content-length: 1000000000"], piece, { method: "OPTIONS" });
    assertMatch(options.answer, /^HTTP\/1.1 405 /);
  },
});

testOverTransports({
  name: "API attacked - chunks without end are read up to the limit, and with a key alone",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    const piece = `8000\r\n${" ".repeat(0x8000)}\r\n`;
    for (const [head, status] of [[[`authorization: Bearer ${world.secrets.shop}`], 413], [[], 401]] as const) {
      const { answer, sent } = await endless(world, [...head, "transfer-encoding: chunked"], piece);
      assertMatch(answer, new RegExp(`^HTTP/1.1 ${status} `));
      assert(sent < 32 * 1_048_576, `${sent} bytes were taken`);
    }
  },
});

testOverTransports({
  name: "API attacked - a slow body has a deadline, and others are answered meanwhile",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport, bodyMs: 300 });
    const key = `authorization: Bearer ${world.secrets.shop}`;
    const slow = [[key, "content-length: 60000"], [key, "transfer-encoding: chunked"]].map((head, i) =>
      endless(world, head, i === 0 ? " " : "1\r\n \r\n", { pauseMs: 20 })
    );
    assertEquals((await world.ask("POST", "/messages", MESSAGE)).status, 201);
    for (const { answer } of await Promise.all(slow)) {
      assertMatch(answer, /^HTTP\/1.1 408 /);
      assertStringIncludes(answer, '"code":"unavailable"');
    }
  },
});

testOverTransports({
  name: "API attacked - who stalls in a body, hears that it was too slow and leaves, leaves no connection behind",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport, bodyMs: 100 });
    using socket = await RawSocket.connect(world.server.port);
    const key = `authorization: Bearer ${world.secrets.shop}`;
    const head = ["POST /api/v1/messages HTTP/1.1", "host: x", key, "content-type: application/json", "content-length: 20"];
    await socket.write(`${head.join("\r\n")}\r\n\r\n{}`);
    let answer = "";
    while (!answer.endsWith("}\n")) answer += await deadline(socket.readSome(), 30_000);
    assertMatch(answer, /^HTTP\/1.1 408 /);
    await delay(200); // four times as long as an answer takes that is cut off
    await socket.tcp.closeWrite();
    await deadline(socket.drain(), 30_000);
  },
});

testOverTransports({
  name: "API attacked - whoever is refused with a small body hears why, and the connection serves the next request",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    using socket = await RawSocket.connect(world.server.port);
    const post = (key: string, body: string) =>
      `POST /api/v1/messages HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${key}\r\ncontent-type: application/json\r\n` +
      `content-length: ${body.length}\r\n\r\n${body}`;
    for (
      const [key, body, status] of [["wrong", JSON.stringify(MESSAGE), 401], [world.secrets.shop!, "{", 400], [
        world.secrets.shop!,
        JSON.stringify(MESSAGE),
        201,
      ]] as const
    ) {
      await socket.write(post(key, body));
      let answer = await socket.readSome();
      while (!answer.endsWith("}\n")) answer += await socket.readSome();
      assertMatch(answer, new RegExp(`^HTTP/1.1 ${status} `));
      assert(!/connection: close/i.test(answer), answer);
    }
  },
});

Deno.test({
  name: "API attacked - a key that is taken out of the file is refused from the next request on, a new one is taken",
  ignore,
  async fn() {
    await using world = await ApiWorld.start();
    assertEquals((await world.ask("GET", "/stats")).status, 200);
    await world.rewrite("# nobody any more");
    assertEquals((await world.ask("GET", "/stats")).status, 401);
    world.secrets.next = "parley_next";
    await world.rewrite(lineFor("next", { scopes: { stats: ["*"] } }, "parley_next"));
    assertEquals((await world.ask("GET", "/stats", undefined, { key: "next" })).status, 200);
    await world.rewrite("next nonsense and more of it");
    assertEquals((await world.ask("GET", "/stats", undefined, { key: "next" })).status, 200, "a wrong file changes nothing");
    assertEquals(world.logged.at(-1)?.event, "api_keys_kept");
    await world.rewrite(lineFor("next", { scopes: { users: ["*"] } }, "parley_next"));
    assertEquals((await world.ask("GET", "/stats", undefined, { key: "next" })).status, 403, "scopes change with the file");
  },
});

Deno.test({
  name: "API attacked - each key has a rate of its own, with words about when to come back",
  ignore,
  async fn() {
    const scopes = ALL_SCOPES;
    const slow = { rate: 1, burst: 3, scopes };
    const keys = { slow, large: slow, one: { ...slow, burst: 1 }, other: { rate: 1, burst: 50, scopes } };
    await using world = await ApiWorld.start({ keys });
    const statuses: number[] = [];
    for (let i = 0; i < 4; i++) statuses.push((await world.ask("GET", "/stats", undefined, { key: "slow" })).status);
    assertEquals(statuses, [200, 200, 200, 429]);
    const refused = await world.ask("POST", "/messages", MESSAGE, { key: "slow" });
    assertEquals([refused.status, refused.body.code, refused.body.retryable], [429, "rate_limited", true]);
    assert(refused.body.retry_after_ms > 0 && refused.headers.get("retry-after") === "1");
    assertEquals((await world.ask("GET", "/stats", undefined, { key: "other" })).status, 200);
    // 45 of the 49 that are left; then a batch of as many is over it, and nothing of it is stored.
    const messages = Array.from({ length: 45 }, (_, i) => ({ ...MESSAGE, content: `${i}` }));
    assertEquals((await world.ask("POST", "/messages/batch", { messages }, { key: "other" })).status, 200);
    const over = await world.ask("POST", "/messages/batch", { messages: messages.slice(0, 30) }, { key: "other" });
    assertEquals([over.status, over.body.code], [429, "rate_limited"]);
    const { body } = await world.ask("GET", "/messages?user=shop&with=shop&limit=100", undefined, { key: "other" });
    assertEquals(body.messages.length, 45);
    // What is more than a full allowance is let through by one, and leaves a debt: else it would be tried again for ever.
    for (const key of ["large", "one"]) {
      assertEquals((await world.ask("POST", "/messages/batch", { messages }, { key })).status, 200, key);
      const { status, body } = await world.ask("GET", "/stats", undefined, { key });
      assert(status === 429 && body.retry_after_ms > 30_000, `${key} ${JSON.stringify(body)}`);
    }
  },
});

Deno.test({
  name: "API attacked - a server that drains says so, and when to come back, to whoever has a key",
  ignore,
  async fn() {
    await using world = await ApiWorld.start();
    const { server: { hub }, keys, secrets } = world;
    const parts = { revoked: undefined, makeToken: undefined, version: "1", trustedHops: 0, log: () => {} };
    const api = new Api({ hub, keys, ...parts, isDraining: () => true });
    const ask = async (secret: string) => {
      const headers = { authorization: `Bearer ${secret}` };
      const { status, headers: given } = await api.answer(new Request("http://x/api/v1/stats", { headers }), "127.0.0.1");
      return [status, given.get("retry-after")];
    };
    assertEquals([await ask(secrets.shop!), await ask("wrong")], [[503, "5"], [401, null]]);
  },
});
