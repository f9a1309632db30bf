/** Parsers of the API: whatever comes, they give checked values or a refusal. */

import { assert, assertEquals, assertInstanceOf } from "@std/assert";
import fc from "fast-check";
import { ERROR_CODES, Refusal } from "../../protocol.ts";
import { render, STATUS_OF } from "./answers.ts";
import { checkMembers, checkParameters, checkPath } from "./fields.ts";
import { API_PREFIX, findRoutes, methodsOf, ROUTES } from "./routes.ts";

/** Values that JSON can be, and names that objects have by themselves. */
const json = fc.jsonValue({ maxDepth: 3 });
const names = ["sender", "recipient", "content", "id", "messages", "open", "user", "ttl", "__proto__", "constructor"];
const body = fc.oneof(json, fc.dictionary(fc.constantFrom(...names), fc.oneof(json, fc.constantFrom("shop", "#ops", "x", 60))));

Deno.test("bodies are checked members or a refusal, with nothing in them that was not asked for", () => {
  for (const { body: spec } of ROUTES) {
    if (!spec) continue;
    fc.assert(fc.property(body, (value) => {
      const checked = checkMembers(spec.members, value);
      if (checked instanceof Refusal) return;
      for (const name of Object.keys(checked)) assert(Object.hasOwn(spec.members, name), name);
      assertEquals(Object.getPrototypeOf(checked), Object.prototype);
    }));
  }
});

Deno.test("addresses are checked parameters or a refusal, whatever is in them", () => {
  const word = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constantFrom("user", "with", "before", "limit", "users", "as", "1", "a,b", "__proto__"),
  );
  const pairs = fc.array(fc.tuple(word, word), { maxLength: 5 });
  fc.assert(fc.property(fc.constantFrom(...ROUTES), pairs, fc.string({ unit: "binary" }), (route, pairs, segment) => {
    const query = checkParameters(route.query, new URLSearchParams(pairs));
    if (!(query instanceof Refusal)) assertEquals(Object.keys(query).filter((name) => !Object.hasOwn(route.query, name)), []);
    const raw = Object.fromEntries(Object.keys(route.path).map((name) => [name, segment]));
    const path = checkPath(route.path, raw);
    if (Object.keys(raw).length > 0 && /[/?%\s]/.test(segment)) assertInstanceOf(path, Refusal);
  }));
});

Deno.test("paths lead to one route or to none, and nothing but their shape decides", () => {
  const segment = fc.oneof(
    fc.string(),
    fc.constantFrom("messages", "batch", "users", "groups", "members", "revoke", "", ".", "%2F", "x"),
  );
  fc.assert(fc.property(fc.array(segment, { maxLength: 6 }), (segments) => {
    const found = findRoutes(`${API_PREFIX}/${segments.join("/")}`);
    if (!found) return;
    assert(methodsOf(found).endsWith("OPTIONS"));
    for (const [method, { at }] of found.routes) {
      assert(ROUTES.some((route) => route.method === method && route.at === at));
      assertEquals(at.split("/").length, segments.join("/").split("/").length + 1);
    }
  }));
  for (const outside of ["/api/v1", "/api/v1x/stats", "/api/v2/stats", "/stats", ""]) {
    assertEquals(findRoutes(outside), undefined);
  }
});

Deno.test("every code of the wire has a status that says whose fault it is, and what is retryable says when where it knows", () => {
  for (const [code, status] of Object.entries(STATUS_OF)) {
    assert(status >= 400 && status < 600, code);
    const refusal = new Refusal(code as keyof typeof ERROR_CODES, "no");
    refusal.retryAfterMs = 1_200;
    const { text, headers, status: rendered } = render(refusal);
    assertEquals([rendered, headers["retry-after"], JSON.parse(text).code], [status, "2", code]);
  }
});
