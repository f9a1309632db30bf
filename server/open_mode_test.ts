import { assertEquals, assertStringIncludes } from "@std/assert";
import { cameFromElsewhere } from "./open_mode.ts";

const HEADERS = [
  "X-Forwarded-For",
  "X-Forwarded-Proto",
  "X-Forwarded-Host",
  "X-Forwarded-Anything",
  "X-Original-Forwarded-For",
  "Forwarded",
  "X-Real-Ip",
  "Via",
];

for (const header of HEADERS) {
  Deno.test(`open mode takes a request with ${header} for one of a proxy`, () => {
    const headers = new Headers({ host: "127.0.0.1:8080", [header]: "" });
    assertStringIncludes(cameFromElsewhere(headers, "127.0.0.1")!, `it has ${header}`);
  });
}

Deno.test("open mode takes programs and pages of this machine, and no host that DNS leads here", () => {
  const from = (host: string) => cameFromElsewhere(new Headers({ host, "user-agent": "x", "x-forward": "1" }), "127.0.0.1");
  assertEquals(["localhost:8080", "127.0.0.1:8080", "[::1]:8080"].map(from), [undefined, undefined, undefined]);
  assertStringIncludes(from("chat.example.org")!, "Host: chat.example.org");
  assertStringIncludes(cameFromElsewhere(new Headers(), "127.0.0.1")!, "Host: none");
});
