import { assertEquals } from "@std/assert";
import { isLoopback, namingProxy, proxyFor, withoutProxy } from "./proxy.ts";

const env = (values: Record<string, string>) => (name: string) => values[name];
const PROXY = { HTTP_PROXY: "http://me:secret@proxy:3128" };

Deno.test("proxyFor never stands before this machine, and names the variable without its password", () => {
  for (const host of ["127.0.0.1", "localhost", "[::1]", "127.8.9.1", "chat.localhost"]) {
    assertEquals(proxyFor(`ws://${host}:8080/ws`, env(PROXY)), undefined, host);
  }
  const proxy = { variable: "HTTP_PROXY", address: "proxy:3128" };
  assertEquals(proxyFor("ws://chat.example.org/ws", env(PROXY)), proxy);
  assertEquals(proxyFor("wss://chat.example.org/ws", env(PROXY)), undefined);
  assertEquals(proxyFor("wss://chat.example.org/ws", env({ all_proxy: "p:1" })), { variable: "all_proxy", address: "p:1" });
  for (const exempt of ["example.org", ".example.org", "x, chat.example.org", "*"]) {
    assertEquals(proxyFor("ws://chat.example.org/ws", env({ ...PROXY, no_proxy: exempt })), undefined, exempt);
  }
  assertEquals(isLoopback("127.example.org"), false);
});

Deno.test("withoutProxy adds this machine to what has no proxy, and changes nothing where none is set", () => {
  assertEquals(withoutProxy("ws://127.0.0.1:8080/ws", env(PROXY)), "127.0.0.1");
  assertEquals(withoutProxy("ws://[::1]:8080/ws", env({ ...PROXY, no_proxy: "a, b" })), "a,b,::1");
  assertEquals(withoutProxy("ws://localhost/ws", env({ ...PROXY, NO_PROXY: "localhost" })), undefined);
  assertEquals(withoutProxy("ws://localhost/ws", env({})), undefined);
  assertEquals(withoutProxy("ws://chat.example.org/ws", env(PROXY)), undefined);
});

Deno.test("namingProxy says which proxy a failure went through", async () => {
  const explain = () => Promise.resolve({ reason: "There is no server at chat.example.org", fatal: false });
  const { reason } = await namingProxy(explain, "ws://chat.example.org/ws", env(PROXY))("");
  assertEquals(reason, "There is no server at chat.example.org (through the proxy of HTTP_PROXY, proxy:3128)");
  assertEquals(namingProxy(explain, "ws://localhost/ws", env(PROXY)), explain);
});
