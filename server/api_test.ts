/** The HTTP API as a backend uses it, over real sockets. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { MemoryBroker } from "../broker/memory.ts";
import { type ErrorCode, WATCHED_USERS_MAX } from "../protocol.ts";
import { ALL_SCOPES, ApiWorld } from "../testing/api_world.ts";
import { testOverTransports } from "../testing/over_transports.ts";
import { lacks } from "../testing/permissions.ts";
import { WsPeer } from "../testing/ws_peer.ts";
import { startServer } from "../server.ts";

const ignore = lacks("net", "read", "write");

/** Connects a device of the extended level, which has everything by then. */
async function device(world: ApiWorld, user: string): Promise<WsPeer> {
  const peer = await WsPeer.open(`${world.server.url}?name=${user}`);
  peer.send({ type: "hello", v: 1, device: "phone" });
  assertEquals([(await peer.next()).type, (await peer.next()).type], ["welcome", "synced"]);
  return peer;
}

function claim(name: string, fn: (world: ApiWorld) => Promise<void>): void {
  Deno.test({
    name: `API - ${name}`,
    ignore,
    async fn() {
      await using world = await ApiWorld.start();
      await fn(world);
    },
  });
}

testOverTransports({
  name: "API - a message comes to who is connected, is stored once under its id, and is in the history",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    await using bob = await device(world, "bob");
    const message = { sender: "shop", recipient: "Bob", content: "Your order is on its way", id: "order-7" };
    const first = await world.ask("POST", "/messages", message);
    const { seq, ts } = first.body;
    assertEquals([first.status, first.body], [201, { id: "order-7", seq, ts, duplicate: false }]);
    assertEquals<unknown>(await bob.next(), { ...message, recipient: "bob", seq, ts });
    const again = await world.ask("POST", "/messages", message);
    assertEquals([again.status, again.body], [200, { id: "order-7", seq, ts, duplicate: true }]);
    const other = await world.ask("POST", "/messages", { ...message, content: "Another" });
    assertEquals([other.status, other.body.code, other.body.id], [409, "id_conflict", "order-7"]);
    const page = await world.ask("GET", "/messages?user=bob&with=shop");
    assertEquals(page.body, { with: "shop", messages: [{ ...message, recipient: "bob", seq, ts }], more: false });
    const list = await world.ask("GET", "/conversations?user=bob");
    const [row] = list.body.conversations;
    assertEquals([row.with, row.seq, row.unread, list.body.more], ["shop", seq, 1, false]);
    assertEquals(bob.rest(), []);
  },
});

claim("the header Idempotency-Key is the id where the body has none, bare or quoted", async (world) => {
  await world.ask("PUT", "/users/bob");
  const message = { sender: "shop", recipient: "bob", content: "hi" };
  const send = (key: string, body: object = message) =>
    world.ask("POST", "/messages", body, { headers: { "idempotency-key": key } });
  assertEquals((await send("k1")).body.id, "k1");
  assertEquals((await send('"k1"')).body.duplicate, true);
  assertEquals((await send("k1", { ...message, id: "k1" })).body.duplicate, true);
  for (const [key, body] of [["k1", { ...message, id: "k2" }], ["x".repeat(65), message], ['""', message]] as const) {
    const { status, body: error } = await send(key, body);
    assertEquals([status, error.code], [400, "bad_frame"]);
  }
  // fetch sends what it is given as one byte each: here the two of an ü in UTF-8, which is another id in a body.
  assertStringIncludes((await send("\xc3\xbc")).body.message, "goes into the body");
  assertEquals((await world.ask("POST", "/messages", { ...message, id: "ü" })).body.id, "ü");
  const batch = await world.ask("POST", "/messages/batch", { messages: [message] }, { headers: { "idempotency-key": "k" } });
  assertEquals([batch.status, batch.body.code], [400, "bad_frame"], "a header that promises nothing is refused");
});

claim("a batch has an answer for each message, in its order, and one that is refused holds up no other", async (world) => {
  await world.ask("PUT", "/users/bob");
  const ok = (n: number) => ({ sender: "shop", recipient: "bob", content: `${n}`, id: `b${n}` });
  const { status, body } = await world.ask("POST", "/messages/batch", {
    messages: [ok(1), { ...ok(2), recipient: "nobody" }, 7, { ...ok(3), content: "\0" }, { sender: "shop" }, ok(1), ok(4)],
  });
  assertEquals(status, 200);
  const results = body.results as { id?: string; code?: ErrorCode; duplicate?: boolean }[];
  assertEquals(results.map(({ id, code, duplicate }) => [id, code ?? duplicate]), [
    ["b1", false],
    ["b2", "unknown_recipient"],
    [undefined, "bad_frame"],
    ["b3", "bad_content"],
    [undefined, "bad_frame"],
    ["b1", true],
    ["b4", false],
  ]);
  const page = await world.ask("GET", "/messages?user=shop&with=bob");
  assertEquals(page.body.messages.map(({ content }: { content: string }) => content), ["1", "4"]);
});

claim("history is read in pages, in both directions, and an answer is bounded", async (world) => {
  await world.ask("PUT", "/users/bob");
  const content = "x".repeat(16_000);
  const messages = Array.from({ length: 40 }, (_, i) => ({ sender: "shop", recipient: "bob", content, id: `${i}` }));
  assertEquals((await world.ask("POST", "/messages/batch", { messages })).status, 200);
  const seen: string[] = [];
  for (let before = "";;) {
    const { body } = await world.ask("GET", `/messages?user=bob&with=shop&limit=500${before}`);
    assert(JSON.stringify(body).length < 300_000);
    seen.unshift(...body.messages.map(({ id }: { id: string }) => id));
    if (!body.more) break;
    before = `&before=${body.messages[0].seq}`;
  }
  assertEquals(seen, messages.map(({ id }) => id));
  const forward = await world.ask("GET", "/messages?user=bob&with=shop&after=0&limit=2");
  assertEquals([forward.body.messages.map(({ id }: { id: string }) => id), forward.body.more], [["0", "1"], true]);
});

claim("users are made known once, and looked up", async (world) => {
  assertEquals(
    (await world.ask("POST", "/messages", { sender: "shop", recipient: "bob", content: "hi" })).body.code,
    "unknown_recipient",
  );
  assertEquals((await world.ask("GET", "/users/bob")).body.code, "unknown_recipient");
  const made = await world.ask("PUT", "/users/Bob");
  assertEquals([made.status, made.body], [201, { user: "bob", created: true }]);
  assertEquals((await world.ask("PUT", "/users/bob")).body, { user: "bob", created: false });
  assertEquals((await world.ask("GET", "/users/bob")).body, { user: "bob", status: "offline", revoked: false });
  await using bob = await device(world, "bob");
  assertEquals((await world.ask("GET", "/users/bob")).body.status, "online");
  const presence = await world.ask("GET", "/presence?users=bob,carol,bob");
  assertEquals(presence.body.users, [
    { user: "bob", status: "online", known: true },
    { user: "carol", status: "offline", known: false },
  ]);
  assertEquals(world.server.hub.counts.presence, 0, "asking leaves no watcher behind");
  const closed = await world.ask("POST", "/users/bob/disconnect");
  assertEquals(closed.body, { user: "bob", closed: 1 });
  assertEquals((await bob.closed).code, 4003);
  assertEquals((await world.ask("POST", "/users/nobody/disconnect")).body.closed, 0);
  assertEquals(world.logged.filter(({ event }) => event === "disconnected").map(({ fields }) => fields.by), [
    "the API key shop",
    "the API key shop",
  ]);
  const many = await world.ask("GET", `/presence?users=${Array.from({ length: WATCHED_USERS_MAX + 1 }, (_, i) => `u${i}`)}`);
  assertEquals([many.status, many.body.code], [409, "limit_reached"]);
  const after = await world.ask("GET", "/users/bob");
  assertMatch(after.body.last_seen, /^\d{4}-\d\d-\d\dT/);
});

testOverTransports({
  name: "API - whoever is erased is disconnected, out of every group, and what they wrote is empty",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ transport });
    await using ann = await device(world, "ann");
    await using bob = await device(world, "bob");
    await world.ask("PUT", "/groups/ops?as=ann");
    await world.ask("PUT", "/groups/ops/members/bob?as=ann");
    assertEquals((await bob.next()).type, "group");
    for (const recipient of ["bob", "#ops"]) {
      const { status } = await world.ask("POST", "/messages", { sender: "ann", recipient, content: "a secret" });
      assertEquals(status, 201);
      await bob.next();
    }
    const erased = await world.ask("DELETE", "/users/Ann");
    assertEquals([erased.status, erased.body], [200, { user: "ann", messages: 2 }]);
    assertEquals((await ann.closed).code, 4003);
    assertEquals<unknown>(await bob.next(), { type: "group", op: "leave", group: "#ops", user: "ann", by: "ann" });
    const group = await world.ask("GET", "/groups/ops?as=bob");
    assertEquals(group.body.members, ["bob"]);
    for (const other of ["ann", "%23ops"]) {
      const { body } = await world.ask("GET", `/messages?user=bob&with=${other}`);
      assertEquals(body.messages.map(({ content }: { content: string }) => content), [""]);
    }
    assertEquals((await world.ask("GET", "/users/ann")).body, { user: "ann", status: "offline", revoked: false });
    assertEquals((await world.ask("DELETE", "/users/ann")).body.messages, 0);
    assertEquals((await world.ask("DELETE", "/users/nobody")).body, { user: "nobody", messages: 0 });
    assertEquals((await world.ask("GET", "/users/nobody")).status, 404, "to erase makes nobody known");
    assertEquals(world.logged.filter(({ event }) => event === "user_erased").map(({ fields }) => fields.messages), [2, 0, 0]);
    assert(!JSON.stringify(world.logged).includes("secret"));
  },
});

claim("groups are made, changed and ended as a user, and their members hear of it", async (world) => {
  await using bob = await device(world, "bob");
  const path = "/groups/ops?as=shop", member = (name: string) => `/groups/%23ops/members/${name}?as=shop`;
  const made = await world.ask("PUT", path);
  assertEquals([made.status, made.body], [201, { group: "#ops", owner: "shop", created: true }]);
  assertEquals((await world.ask("PUT", path, { open: false })).body, { group: "#ops", owner: "shop", created: false });
  assertEquals((await world.ask("PUT", "/groups/ops?as=other")).body.code, "group_exists");
  assertEquals((await world.ask("PUT", member("nobody"))).body.code, "unknown_recipient");
  const [added, again] = [await world.ask("PUT", member("bob")), await world.ask("PUT", member("bob"))];
  assertEquals([added.status, again.status, again.body], [201, 200, { group: "#ops", user: "bob", members: 2 }]);
  assertEquals<unknown>(await bob.next(), { type: "group", op: "invite", group: "#ops", user: "bob", by: "shop" });
  await world.ask("POST", "/messages", { sender: "shop", recipient: "#ops", content: "all hands" });
  assertEquals((await bob.next() as { content?: string }).content, "all hands");
  assertEquals((await world.ask("GET", path)).body, { group: "#ops", owner: "shop", members: ["shop", "bob"] });
  assertEquals((await world.ask("GET", "/groups/ops?as=carol")).body.code, "not_member");
  assertEquals((await world.ask("DELETE", "/groups/ops?as=bob")).body.code, "forbidden");
  for (let i = 0; i < 2; i++) assertEquals((await world.ask("DELETE", member("bob"))).status, 204);
  assertEquals((await bob.next() as { op?: string }).op, "remove");
  await world.ask("PUT", member("bob"));
  for (let i = 0; i < 2; i++) assertEquals((await world.ask("DELETE", path)).status, 204);
  assertEquals((await world.ask("GET", path)).body.code, "unknown_group");
  assertEquals((await world.ask("DELETE", member("bob"))).status, 204);
  assertEquals((await world.ask("PUT", "/groups/open?as=shop", { open: true })).status, 201);
  assertEquals(
    (await world.ask("PUT", "/groups/open/members/dave?as=dave")).status,
    201,
    "whoever acts as somebody joins as them",
  );
  for (let i = 0; i < 2; i++) {
    assertEquals((await world.ask("DELETE", "/groups/open/members/dave?as=dave")).status, 204, `${i}`);
  }
  assertEquals((await world.ask("DELETE", "/groups/open/members/shop?as=dave")).body.code, "not_member");
});

claim("the counts of the server are those of its connections", async (world) => {
  await using _bob = await device(world, "bob");
  const { status, body } = await world.ask("GET", "/stats");
  assertEquals([status, body.users, body.connections], [200, 1, { base: 0, extended: 1, undecided: 0 }]);
  assertEquals(body.epoch, world.server.hub.broker.epoch);
  assertEquals(Object.keys(body), ["version", "epoch", "users", "connections", "devices_behind", "queued_bytes"]);
});

testOverTransports({
  name:
    "API - a token logs in who it is for, and nobody who is revoked; a revocation ends connections and says where it is kept",
  ignore,
  async fn(transport) {
    await using world = await ApiWorld.start({ withTokens: true, transport });
    const made = await world.ask("POST", "/tokens", { user: "bob", ttl: 60 });
    assertEquals([made.status, Object.keys(made.body)], [201, ["token", "user", "id", "expires"]]);
    const login = () => WsPeer.open(world.server.url, ["parley", `bearer.${made.body.token}`]);
    await using bob = await login();
    bob.send({ sender: "bob", recipient: "bob", content: "hi", id: "1" });
    await bob.next();
    const revoked = await world.ask("POST", "/users/bob/revoke");
    assertEquals(revoked.body, { user: "bob", revoked: true, kept_in: "revoked.api" });
    assertEquals((await bob.closed).code, 4003);
    assertMatch(await Deno.readTextFile(`${world.dir}/revoked.api`), /^#.*\nbob\n$/);
    assertEquals((await world.ask("POST", "/tokens", { user: "bob" })).body.code, "forbidden");
    assertEquals((await world.ask("GET", "/users/bob")).body.revoked, true);
    assertEquals((await world.ask("POST", "/users/bob/restore")).body.revoked, false);
    await using back = await login();
    back.send({ sender: "bob", recipient: "bob", content: "hi", id: "2" });
    await back.next();
    for (const ttl of [59, 30 * 86_400 + 1, 1.5, "60", null]) {
      assertEquals((await world.ask("POST", "/tokens", { user: "bob", ttl })).body.code, "bad_frame", String(ttl));
    }
    assertEquals(world.logged.filter(({ event }) => /token|user_/.test(event)).map(({ event }) => event), [
      "token_made",
      "user_revoked",
      "user_restored",
    ]);
    assert(!JSON.stringify(world.logged).includes(made.body.token));
  },
});

claim("a server without tokens says that it makes none, and keeps no list of the revoked", async (world) => {
  for (
    const [method, path, body] of [["POST", "/tokens", { user: "bob" }], ["POST", "/users/bob/revoke", undefined]] as const
  ) {
    const answer = await world.ask(method, path, body);
    assertEquals([answer.status, answer.body.code], [403, "forbidden"]);
    assertMatch(answer.body.message, /--(jwt-secret-file|revoked)/);
  }
});

Deno.test({
  name: "API - what fails in the broker is unavailable, and asked again later",
  ignore,
  async fn() {
    class Failing extends MemoryBroker {
      override seen(): Promise<void> {
        return Promise.reject(new Error("the disk is on fire"));
      }
      override append(): never {
        throw new Error("the disk is on fire");
      }
    }
    await using world = await ApiWorld.start({ broker: new Failing() });
    for (
      const [method, path, body] of [["PUT", "/users/x", undefined], ["POST", "/messages", {
        sender: "a",
        recipient: "b",
        content: "",
      }]] as const
    ) {
      const answer = await world.ask(method, path, body);
      assertEquals([answer.status, answer.body.code, answer.body.retryable], [503, "unavailable", true]);
      assert(answer.headers.has("retry-after") && !JSON.stringify(answer.body).includes("fire"));
    }
  },
});

Deno.test({
  name: "API - there is none without keys",
  ignore,
  async fn() {
    await using server = await startServer({ port: 0 });
    for (const path of ["/api/v1", "/api/v1/stats"]) {
      const response = await fetch(`http://127.0.0.1:${server.port}${path}`);
      assertEquals([response.status, await response.text()], [404, "There is nothing at this address; try /\n"]);
    }
  },
});

Deno.test({
  name: "API - requests are counted by route and class of status, in closed sets",
  ignore: ignore || lacks("sys"),
  async fn() {
    await using world = await ApiWorld.start({ metrics: { hostname: "127.0.0.1", port: 0 } });
    await world.ask("PUT", "/users/bob");
    await world.ask("GET", "/users/nobody");
    await world.ask("GET", "/users/nobody/else/where");
    const page = await (await fetch(`http://127.0.0.1:${world.server.metricsPort}/metrics`)).text();
    assertEquals(page.match(/^parley_api_requests_total.*/gm), [
      'parley_api_requests_total{route="PUT /users/{user}",class="2xx"} 1',
      'parley_api_requests_total{route="GET /users/{user}",class="4xx"} 1',
      'parley_api_requests_total{route="none",class="4xx"} 1',
    ]);
  },
});

Deno.test({
  name: "API - each key has the scopes that it has, for the names that it has them for, and no others",
  ignore,
  async fn() {
    const narrow = Object.fromEntries(
      Object.keys(ALL_SCOPES).map((
        scope,
      ) => [scope, { scopes: { [scope]: scope === "stats" ? ["*"] : [scope === "groups" ? "#mine" : "me"] } }]),
    );
    await using world = await ApiWorld.start({
      withTokens: true,
      keys: { ...narrow, none: {}, acting: { scopes: { groups: ["#mine"], write: ["me"] } } },
    });
    const message = (sender: string) => ({ sender, recipient: "me", content: "hi" });
    const asked: [scope: string, method: string, path: string, body?: unknown][] = [
      ["write", "POST", "/messages", message("me")],
      ["read", "GET", "/messages?user=me&with=me"],
      ["read", "GET", "/conversations?user=me"],
      ["users", "PUT", "/users/me"],
      ["users", "GET", "/users/me"],
      ["users", "GET", "/presence?users=me"],
      ["erase", "DELETE", "/users/me"],
      ["moderate", "POST", "/users/me/disconnect"],
      ["moderate", "POST", "/users/me/revoke"],
      ["moderate", "POST", "/users/me/restore"],
      ["acting", "PUT", "/groups/mine?as=me"],
      ["acting", "GET", "/groups/mine?as=me"],
      ["acting", "PUT", "/groups/mine/members/me?as=me"],
      ["acting", "DELETE", "/groups/mine/members/me?as=me"],
      ["acting", "DELETE", "/groups/mine?as=me"],
      ["tokens", "POST", "/tokens", { user: "me" }],
      ["stats", "GET", "/stats"],
    ];
    await world.server.hub.broker.seen(["me", "you"], 0);
    for (const [scope, method, path, body] of asked) {
      for (const key of [...Object.keys(narrow), "none"].filter((key) => key !== scope)) {
        const { status, body: error } = await world.ask(method, path, body, { key });
        assertEquals([status, error.code], [403, "forbidden"], `${key}: ${method} ${path}`);
      }
      const { status } = await world.ask(method, path, body, { key: scope });
      assert(status < 300, `${scope}: ${method} ${path}: ${status}`);
      if (scope === "stats") continue;
      const others = path.replaceAll(/\bme\b(?!.*with)/g, "you").replace("user=me", "user=you").replace("mine", "theirs");
      const othersBody = scope === "write" ? message("you") : body && { user: "you" };
      const refused = await world.ask(method, others, othersBody, { key: scope });
      assertEquals([refused.status, refused.body.code], [403, "forbidden"], `${scope}: ${method} ${others}`);
    }
    const mixed = await world.ask("POST", "/messages/batch", { messages: [message("me"), message("you")] }, { key: "write" });
    assertEquals(mixed.body.results.map(({ code }: { code?: string }) => code), [undefined, "forbidden"]);
    const both = await world.ask("GET", "/presence?users=me,you", undefined, { key: "users" });
    assertEquals(both.status, 403);
  },
});
