import { assert, assertEquals, assertThrows } from "@std/assert";
import { matches, parseEndpoints, WebhookFileError } from "./config.ts";
import { newPrivateKey, newSharedSecret } from "./secrets.ts";

const SECRET = newSharedSecret();
const CERTIFICATES = "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n";
const GOOD = { name: "push", url: "https://example.org/hook", secret: SECRET, events: ["message.created"] };

function parse(...endpoints: unknown[]) {
  return parseEndpoints(JSON.stringify({ endpoints }), (path) => {
    if (path === "ca.pem") return CERTIFICATES;
    if (path === "key.pem") return CERTIFICATES.replaceAll("CERTIFICATE", "PRIVATE KEY");
    throw new Error("no such file");
  });
}

Deno.test("an endpoint has its defaults, and everything that is asked for", () => {
  const [one] = parse(GOOD);
  assertEquals([one!.name, one!.url.href, [...one!.events], one!.content], ["push", GOOD.url, ["message.created"], true]);
  assertEquals([one!.undeliveredMs, one!.timeoutMs, one!.concurrency, one!.allowPrivate, one!.ca], [
    30_000,
    15_000,
    4,
    false,
    undefined,
  ]);
  assert(one!.concerns("anybody") && one!.concerns("#ops"));
  const [two] = parse({
    ...GOOD,
    secret: undefined,
    secrets: [SECRET, newPrivateKey()],
    recipients: ["Support-*", "#ops"],
    content: false,
    undelivered_after: 5,
    timeout: 60,
    concurrency: 32,
    allow_private: true,
    ca: "ca.pem",
  });
  assertEquals([two!.undeliveredMs, two!.timeoutMs, two!.concurrency, two!.allowPrivate, two!.ca], [
    5_000,
    60_000,
    32,
    true,
    CERTIFICATES,
  ]);
  assertEquals(["support-1", "#ops", "ops", "xsupport-1"].map(two!.concerns), [true, true, false, false]);
  assertEquals(two!.signers.length, 2);
});

Deno.test("a mistake is one sentence that names the endpoint, and never has a secret in it", () => {
  const wrong: [unknown, string][] = [
    [{ ...GOOD, url: "ftp://example.org/" }, '"push": "url" has to begin with'],
    [{ ...GOOD, url: "example.org" }, '"push": "url"'],
    [{ ...GOOD, url: `https://${"u".repeat(3)}%zz@example.org/` }, '"push": "url"'],
    [{ ...GOOD, url: "https://push:%E2%82%AC@example.org/" }, '"push": "url" has a user or a password'],
    [{ ...GOOD, url: "https://push:%ff@example.org/" }, '"push": "url" has a user or a password'],
    [{ ...GOOD, secret: "whsec_aHVudGVyMg==" }, '"push": secret 1 has 7 bytes'],
    [{ ...GOOD, secret: undefined }, '"push": it needs "secret"'],
    [{ ...GOOD, secrets: [SECRET] }, '"push": it needs "secret"'],
    [{ ...GOOD, events: [] }, '"push": it needs "events"'],
    [{ ...GOOD, events: ["message.made"] }, '"push": there is no event "message.made"'],
    [{ ...GOOD, recipients: [] }, '"push": "recipients"'],
    [{ ...GOOD, recipients: ["a", ""] }, '"push": "recipients"'],
    [{ ...GOOD, timeout: 61 }, '"push": "timeout" has to be a whole number from 1 to 60'],
    [{ ...GOOD, concurrency: 0.5 }, '"push": "concurrency"'],
    [{ ...GOOD, content: "yes" }, '"push": "content" has to be true or false'],
    [{ ...GOOD, ca: "none.pem" }, '"push": the file of "ca" cannot be read'],
    [{ ...GOOD, ca: "key.pem" }, '"push": the file of "ca" has no certificate (PEM): it has PRIVATE KEY'],
    [{ ...GOOD, url: "https://a%2:0b@example.org/" }, '"push": "url" has a user or a password'],
    [{ ...GOOD, name: "Push it" }, 'endpoint 1 needs a "name"'],
    [{ ...GOOD, retries: 3 }, '"retries" that there is not'],
    ["push", "endpoint 1 has to be an object"],
  ];
  for (const [endpoint, words] of wrong) {
    const { message } = assertThrows(() => parse(endpoint), WebhookFileError);
    assert(message.includes(words), `${message} has not ${words}`);
    assert(!message.includes(SECRET) && !message.includes("aHVu"), message);
  }
  assertThrows(() => parse(GOOD, GOOD), WebhookFileError, 'two endpoints have the name "push"');
  assertThrows(() => parse(...Array(101).fill(GOOD)), WebhookFileError, "at most 100");
  for (const text of ["", "[]", "{}", '{"endpoints":{}}', `{"secret":"${SECRET}`]) {
    const { message } = assertThrows(() => parseEndpoints(text, () => ""), WebhookFileError);
    assert(!message.includes(SECRET), message);
  }
});

Deno.test("patterns match as they read, and take no longer for many stars", () => {
  const matching = (pattern: string, name: string) => matches(pattern.split("*"), name);
  for (
    const [pattern, name] of [
      ["*", ""],
      ["*", "a"],
      ["a", "a"],
      ["a*", "a"],
      ["*a", "ba"],
      ["a*b*c", "axbxc"],
      ["a**c", "ac"],
      ["*b*", "abc"],
    ]
  ) {
    assert(matching(pattern!, name!), `${pattern} ${name}`);
  }
  for (const [pattern, name] of [["", "a"], ["a", "ab"], ["a*a", "a"], ["ab*ba", "aba"], ["*b*b*", "abc"], ["a*b*b", "axb"]]) {
    assert(!matching(pattern!, name!), `${pattern} ${name}`);
  }
  const begun = performance.now();
  assert(!matching("*a".repeat(100) + "*b", "a".repeat(256)));
  assert(performance.now() - begun < 1_000);
});
