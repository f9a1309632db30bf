import { assertEquals } from "@std/assert";
import type { IncomingMessage } from "node:http";
import { NodeHead } from "./node_http.ts";

/** Headers as they came: names in any case, some of them twice. */
const RAW = ["Host", "chat.example:8080", "X-Forwarded-For", "1.1.1.1", "cookie", "", "x-forwarded-for", "2.2.2.2, 3.3.3.3"];

function head(url: string, rawHeaders: readonly string[] = RAW, method = "GET"): NodeHead {
  return new NodeHead({ method, url, rawHeaders, headers: {} } as unknown as IncomingMessage, "http");
}

Deno.test("a head of Node's request has the headers that the standard request has, those that came twice too", () => {
  const fields = head("/ws").headers, { headers } = head("/ws").standard();
  for (const name of ["host", "x-forwarded-for", "cookie", "origin"]) {
    assertEquals([fields.get(name), fields.has(name)], [headers.get(name), headers.has(name)], name);
  }
  assertEquals(new Set(fields.keys()), new Set(headers.keys()));
});

Deno.test("a head of Node's request has the address that the standard request has", () => {
  const asked: [string, string][] = [
    ["/ws?name=b", "http://chat.example:8080/ws?name=b"],
    ["/a/../ws?name=ä b", "http://chat.example:8080/ws?name=%C3%A4%20b"],
    ["//other/ws", "http://chat.example:8080//other/ws"],
    ["http://other/ws", "http://other/ws"],
  ];
  for (const [url, address] of asked) assertEquals([head(url).url, head(url).standard().url], [address, address]);
});

Deno.test("a head that no standard request could have is refused: no address, a method of proxies, several hosts", () => {
  const isRefused = (...given: Parameters<typeof head>) => head(...given).isRefused;
  assertEquals([isRefused("/ws"), isRefused("/ws", [])], [false, false]);
  assertEquals([isRefused("*"), isRefused("/ws", ["host", "a b"]), isRefused("/ws", RAW, "TRACE")], [true, true, true]);
  assertEquals([isRefused("/ws", ["Host", "a", "hoSt", "a"])], [true]);
  assertEquals(["a/ws?", "/a", "a\\b", "a#", "a?", "me@a"].filter((host) => !isRefused("/ws", ["Host", host])), []);
  assertEquals([isRefused("http://a/ws"), isRefused("file:///ws"), isRefused("ws://a/ws")], [false, true, true]);
});

Deno.test("a head with an empty Host has its whole path all the same", () => {
  assertEquals(head("/a/ws", ["Host", ""]).url, "http://localhost/a/ws");
});
