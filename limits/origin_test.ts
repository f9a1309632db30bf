import { assertEquals, assertThrows } from "@std/assert";
import { canonicalOrigin, isOriginAllowed, isOwnHost, OriginError } from "./origin.ts";

Deno.test("isOriginAllowed lets in the server's own pages, those named, and programs", () => {
  const allowed = ["https://chat.example.org"];
  const answers = [
    null,
    "http://host:8080",
    "https://chat.example.org",
    "http://evil.example",
    "http://host",
    "null",
    "nonsense",
  ]
    .map((origin) => isOriginAllowed(origin, "host:8080", allowed));
  assertEquals(answers, [true, true, true, false, false, false, false]);
});

Deno.test("isOriginAllowed compares hosts as URLs: a scheme's own port, a final dot, case and scripts do not count", () => {
  const pairs: [string, string, boolean][] = [
    ["https://chat.example.org", "chat.example.org:443", true],
    ["http://chat.example.org", "chat.example.org:80", true],
    ["https://chat.example.org", "chat.example.org.", true],
    ["https://chat.example.org.", "Chat.Example.ORG", true],
    ["https://chat.example.org.:8443", "chat.example.org:8443", true],
    ["https://xn--mnchen-3ya.example", "münchen.example", true],
    ["http://[::1]:8080", "[0:0:0:0:0:0:0:1]:8080", true],
    ["https://chat.example.org", "chat.example.org:80", false],
    ["https://chat.example.org", "chat.example.org:8443", false],
    ["https://chat.example.org", "evil@chat.example.org", false],
    ["https://chat.example.org", "chat.example.org/..", false],
    ["https://chat.example.org", "", false],
  ];
  for (const [origin, host, isSame] of pairs) assertEquals(isOriginAllowed(origin, host, []), isSame, `${origin} ${host}`);
});

Deno.test("isOriginAllowed, where names are not proven, takes no page of a host that DNS could lead here", () => {
  const open = (origin: string, host: string, allowed: string[] = []) => isOriginAllowed(origin, host, allowed, false);
  assertEquals(isOriginAllowed("http://evil.example:8080", "evil.example:8080", []), true);
  assertEquals(open("http://evil.example:8080", "evil.example:8080"), false);
  assertEquals(open("http://1.2.3.4.evil.example", "1.2.3.4.evil.example"), false);
  assertEquals(open("http://parley.lan", "parley.lan", ["http://parley.lan"]), true);
  for (const host of ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "192.168.1.7"]) {
    assertEquals(open(`http://${host}`, host), true);
  }
});

Deno.test("canonicalOrigin makes of an origin what browsers send", () => {
  const pairs = [
    ["https://Chat.Example.org", "https://chat.example.org"],
    ["HTTPS://chat.example.org:443", "https://chat.example.org"],
    [" http://chat.example.org:80/", "http://chat.example.org"],
    ["https://chat.example.org.:8443", "https://chat.example.org:8443"],
    ["https://münchen.example", "https://xn--mnchen-3ya.example"],
    ["http://127.1:5173", "http://127.0.0.1:5173"],
    ["tauri://localhost", "tauri://localhost"],
    ["chrome-extension://abcdef", "chrome-extension://abcdef"],
    ["*", "*"],
    ["null", "null"],
  ];
  for (const [given, canonical] of pairs) {
    assertEquals(canonicalOrigin(given!), canonical);
    assertEquals(isOriginAllowed(canonical!, "other", [canonicalOrigin(given!)]), true, given);
  }
});

Deno.test("canonicalOrigin refuses what no browser sends, and says why", () => {
  const wrong: [string, string][] = [
    ["https://*.example.org", "wildcard"],
    ["https://chat.example.org/app", "path"],
    ["https://chat.example.org?x", "path"],
    ["tauri://localhost/app", "path"],
    ["wss://chat.example.org", "https://"],
    ["https://user@chat.example.org", "user"],
    ["chat.example.org", "no origin"],
    ["https://", "no origin"],
    ["file:///x", 'browsers say "null"'],
    ["file://", "would match no page"],
    ["FTP://chat.example.org", "would match no page"],
    ["blob:https://chat.example.org", "no origin"],
  ];
  for (const [given, words] of wrong) assertThrows(() => canonicalOrigin(given), OriginError, words);
});

Deno.test("isOwnHost knows this machine from within, and the address that is listened on", () => {
  const own = ["localhost", "localhost:8080", "LocalHost.", "127.0.0.1:8080", "127.9.9.9", "[::1]:8080", "a.localhost:1"];
  for (const host of own) assertEquals(isOwnHost(host, "127.0.0.1"), true, host);
  const others = [
    null,
    "",
    "evil.example",
    "localhost.evil.example",
    "127.0.0.1.evil.example:8080",
    "10.0.0.1",
    "x@localhost",
    "[",
  ];
  for (const host of others) assertEquals(isOwnHost(host, "127.0.0.1"), false, String(host));
  assertEquals([isOwnHost("10.0.0.1:8080", "10.0.0.1"), isOwnHost("[fd00::1]", "fd00::1")], [true, true]);
});
