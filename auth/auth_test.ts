import { assert, assertEquals, assertInstanceOf, assertRejects, assertStringIncludes } from "@std/assert";
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { sentenceOf } from "../ops/log.ts";
import { lacks } from "../testing/permissions.ts";
import { Revoked } from "./revoked.ts";
import { AuthFailure, type Claims, KeyError, makeKeys, makeToken, tokenOf, Tokens } from "./tokens.ts";

const SECRET = "a secret of more than thirty-two bytes";
const key = (text = SECRET) => new TextEncoder().encode(text);
const ignore = lacks("read", "write");

function sign(claims: Record<string, unknown>, secret = SECRET, alg = "HS256"): Promise<string> {
  return new SignJWT(claims).setProtectedHeader({ alg }).sign(key(secret));
}

/** Signs a payload as it stands, which no library would write. */
async function signRaw(payload: string): Promise<string> {
  const encode = (bytes: Uint8Array) => bytes.toBase64({ alphabet: "base64url", omitPadding: true });
  const text = `${encode(key('{"alg":"HS256"}'))}.${encode(key(payload))}`;
  const hmac = await crypto.subtle.importKey("raw", key(), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
  return `${text}.${encode(new Uint8Array(await crypto.subtle.sign("HMAC", hmac, key(text))))}`;
}

function soon(seconds = 60): number {
  return Math.floor(Date.now() / 1_000) + seconds;
}

async function verify(
  token: string,
  options: Parameters<typeof Tokens.open>[0] = { secret: SECRET },
): Promise<Claims | AuthFailure> {
  return await (await Tokens.open(options)).verify(token);
}

Deno.test("a token says who somebody is, in the canonical form of the name", async () => {
  const exp = soon();
  const claims = await verify(await sign({ sub: "Alice", exp, jti: "t1", role: "admin" }));
  assertEquals(claims as Claims, { user: "alice", expiresAt: exp * 1_000, tokenId: "t1", admin: true });
  assertEquals(await verify(await sign({ sub: "bob", exp, role: "owner", admin: true })) as Claims, {
    user: "bob",
    expiresAt: exp * 1_000,
    tokenId: undefined,
    admin: false,
  });
});

const BAD: [string, () => Promise<string> | string][] = [
  ["has expired", () => sign({ sub: "alice", exp: soon(-31) })],
  ["never expires", () => sign({ sub: "alice" })],
  ["expires in milliseconds", () => sign({ sub: "alice", exp: soon() * 1_000 })],
  ["expires in eleven years", () => sign({ sub: "alice", exp: soon(11 * 366 * 86_400) })],
  ["expires in part of a second", () => sign({ sub: "alice", exp: soon() + 0.5 })],
  ["never expires, as its time is beyond all numbers", () => signRaw('{"sub":"alice","exp":1e999}')],
  ["names nobody", () => sign({ exp: soon() })],
  ["names nobody who can be here", () => sign({ sub: "a b", exp: soon() })],
  ["names a group", () => sign({ sub: "#ops", exp: soon() })],
  ["is not valid yet", () => sign({ sub: "alice", exp: soon(), nbf: soon(31) })],
  ["was signed with another secret", () => sign({ sub: "alice", exp: soon() }, "another secret of more than thirty-two bytes")],
  ["was signed with another algorithm", () => sign({ sub: "alice", exp: soon() }, SECRET.repeat(2), "HS512")],
  ["was not signed at all", () => new UnsecuredJWT({ sub: "alice", exp: soon() }).encode()],
  ["is no token", () => "nonsense"],
  ["is empty", () => ""],
  ["is huge", () => "a.".repeat(100_000)],
  [
    "was altered",
    async () => (await sign({ sub: "alice", exp: soon() })).replace(/\.(.)/, (_, c) => "." + (c === "e" ? "f" : "e")),
  ],
];

for (const [what, make] of BAD) {
  Deno.test(`a token that ${what} is refused, and the reason has nothing of it`, async () => {
    const token = await make();
    const failure = await verify(token);
    assertInstanceOf(failure, AuthFailure);
    assertEquals(failure.status, 401);
    for (const text of [failure.message, failure.cause]) {
      assert(text.length > 0 && !text.includes(SECRET));
      if (token.length > 20) assert(!text.includes(token.slice(0, 20)));
    }
  });
}

Deno.test("clocks may differ by half a minute", async () => {
  const exp = soon(-20);
  const claims = await verify(await sign({ sub: "alice", exp })) as Claims;
  assertEquals([claims.user, claims.expiresAt], ["alice", (exp + 30) * 1_000]);
});

Deno.test("audience and issuer count where they are asked for", async () => {
  const options = { secret: SECRET, audience: "chat", issuer: "us" };
  const good = { sub: "alice", exp: soon(), aud: "chat", iss: "us" };
  assert("user" in await verify(await sign(good), options));
  for (const claims of [{ ...good, aud: "other" }, { ...good, iss: "them" }, { sub: "alice", exp: soon() }]) {
    assertInstanceOf(await verify(await sign(claims), options), AuthFailure);
  }
});

Deno.test("a public key is no secret: what is signed with its text is refused", async () => {
  const { publicKey } = await makeKeys();
  const forged = await new SignJWT({ sub: "alice", exp: soon() }).setProtectedHeader({ alg: "HS256" }).sign(
    key(publicKey.trim()),
  );
  assertInstanceOf(await verify(forged, { publicKey }), AuthFailure);
});

for (const alg of ["EdDSA", "ES256", "RS256"]) {
  Deno.test(`a key set takes ${alg} tokens`, async () => {
    const { publicKey, privateKey } = await generateKeyPair(alg, { extractable: true });
    const jwks = JSON.stringify({ keys: [{ ...await exportJWK(publicKey), alg, kid: "k1" }] });
    const token = await new SignJWT({ sub: "alice", exp: soon() }).setProtectedHeader({ alg, kid: "k1" }).sign(privateKey);
    assert("user" in await verify(token, { jwks }));
    const { privateKey: other } = await generateKeyPair(alg, { extractable: true });
    const forged = await new SignJWT({ sub: "alice", exp: soon() }).setProtectedHeader({ alg, kid: "k1" }).sign(other);
    assertInstanceOf(await verify(forged, { jwks }), AuthFailure);
  });
}

Deno.test("keys that cannot be used are refused in a sentence", async () => {
  for (
    const options of [{ secret: "short" }, { publicKey: "no pem" }, { jwks: "{}" }, { jwks: "x" }, {}, {
      secret: SECRET,
      jwks: "{}",
    }]
  ) {
    const error = await assertRejects(() => Tokens.open(options), KeyError);
    assert(!error.message.includes("\n") && !error.message.includes(SECRET));
  }
});

Deno.test("a payload that is signed as it stands is a token, if it is one", async () => {
  assert("user" in await verify(await signRaw(`{"sub":"alice","exp":${soon()}}`)));
});

Deno.test("an expiry that cannot be meant is refused in words", async () => {
  const why = async (exp: number) => (await verify(await sign({ sub: "alice", exp })) as AuthFailure).message;
  assertStringIncludes(await why(soon() * 1_000), "not in milliseconds");
  assertStringIncludes(await why(soon() + 0.5), "whole number of seconds");
  assert("user" in await verify(await sign({ sub: "alice", exp: soon(3_650 * 86_400) })));
});

Deno.test("a public key is found in a file with other text around it", async () => {
  const { publicKey, privateKey } = await makeKeys();
  const { token } = await makeToken({
    name: "alice",
    seconds: 86_400,
    admin: false,
    privateKey: `Bag Attributes\n${privateKey}`,
  });
  for (
    const text of [`\uFEFF${publicKey}`, `Bag Attributes\n  friendlyName: x\n${publicKey}`, publicKey.replaceAll("\n", "\r\n")]
  ) {
    assert("user" in await verify(token, { publicKey: text }));
  }
});

Deno.test("a file that has no public key says what it has instead", async () => {
  const { publicKey, privateKey } = await makeKeys();
  const cases: [string, string][] = [
    ["-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----", "openssl x509 -pubkey"],
    ["-----BEGIN RSA PUBLIC KEY-----\nx\n-----END RSA PUBLIC KEY-----", "openssl rsa"],
    [privateKey, "openssl pkey -pubout"],
    [publicKey.slice(0, 60), "cut off"],
    ["ssh-ed25519 AAAA alice", "ssh-keygen"],
    ['{"keys":[]}', "--jwks"],
    [" ", "empty"],
    ["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", "damaged"],
  ];
  for (const [text, words] of cases) await assertRejects(() => Tokens.open({ publicKey: text }), KeyError, words);
});

Deno.test("a file that is no secret is not taken for one", async () => {
  const { publicKey, privateKey } = await makeKeys();
  const jwk = JSON.stringify({ kty: "oct", k: "c2VjcmV0IHRoYXQgaXMgbG9uZyBlbm91Z2ggZm9yIEhTMjU2" });
  for (const secret of [publicKey, privateKey, "\uFFFD".repeat(32), jwk, `{"keys":[${jwk}]}`, "a\0".repeat(32)]) {
    const error = await assertRejects(() => Tokens.open({ secret }), KeyError);
    assert(!error.message.includes(secret.slice(30, 60)));
  }
});

Deno.test("an RSA key that is too short, and a key set without keys, are refused at start and not at every login", async () => {
  const algorithm = {
    name: "RSASSA-PKCS1-v1_5",
    modulusLength: 1_024,
    publicExponent: new Uint8Array([1, 0, 1]),
    hash: "SHA-256",
  };
  const pair = await crypto.subtle.generateKey(algorithm, true, ["sign", "verify"]);
  await assertRejects(async () => Tokens.open({ publicKey: await exportSPKI(pair.publicKey) }), KeyError, "1024 bits");
  await assertRejects(() => Tokens.open({ jwks: '{"keys":[]}' }), KeyError, "no public keys");
});

Deno.test("a token's id that is a number is an id too", async () => {
  const claims = await verify(await sign({ sub: "alice", exp: soon(), jti: 7 }));
  assertEquals((claims as Claims).tokenId, "7");
});

Deno.test("a token comes in a header or a subprotocol, one and not several, and never in the URL", () => {
  const of = (init: Record<string, string>) => {
    const found = tokenOf(new Headers(init));
    return found instanceof AuthFailure ? found.status : found;
  };
  assertEquals(of({}), undefined);
  assertEquals(of({ authorization: "Bearer abc" }), "abc");
  assertEquals(of({ authorization: "bearer abc" }), "abc");
  assertEquals(of({ "sec-websocket-protocol": "parley, bearer.abc" }), "abc");
  assertEquals(of({ "sec-websocket-protocol": "chat" }), undefined);
  assertEquals(of({ "sec-websocket-protocol": "bearer.abc" }), 401);
  assertEquals(of({ "sec-websocket-protocol": "parley, bearer.a, bearer.b" }), 401);
  assertEquals(of({ authorization: "Bearer a", "sec-websocket-protocol": "parley, bearer.b" }), 401);
  assertEquals(of({ authorization: "Basic abc" }), 401);
});

Deno.test("makeToken makes tokens that the server takes, with a secret and with a key pair", async () => {
  const { privateKey, publicKey } = await makeKeys();
  const bySecret = await verify((await makeToken({ name: "alice", seconds: 86_400, admin: false, secret: SECRET })).token);
  const byKey = await verify((await makeToken({ name: "root", seconds: 86_400, admin: true, privateKey })).token, {
    publicKey,
  });
  assert("user" in bySecret && "user" in byKey);
  assertEquals([bySecret.user, bySecret.admin, byKey.user, byKey.admin], ["alice", false, "root", true]);
  assert(Math.abs(bySecret.expiresAt - Date.now() - 86_400_000) < 60_000 && bySecret.tokenId !== byKey.tokenId);
});

Deno.test({
  name: "what is revoked follows the file, however it is changed, and stays while it cannot be read",
  ignore,
  async fn() {
    const dir = await Deno.makeTempDir({ prefix: "revoked-" });
    const file = `${dir}/revoked`;
    await Deno.writeTextFile(file, "# nobody yet\n");
    const lines: string[] = [];
    let changes = 0;
    const revoked = new Revoked(file, (event, fields) => lines.push(sentenceOf(event, fields)));
    assertEquals(revoked.has("alice", "t1"), false);
    await Deno.writeTextFile(file, "earlybird\n");
    revoked.look();
    assertEquals(revoked.has("earlybird", undefined), true, "before anybody listens");
    revoked.onChange(() => changes++);
    await Deno.writeTextFile(`${file}.new`, "\uFEFFAlice  # left us\r\n t2 \n\n#bob\nJose\u0301\nt#3\n");
    await Deno.rename(`${file}.new`, file);
    revoked.look();
    assertEquals([revoked.has("alice", undefined), revoked.has("bob", "t2"), revoked.has("bob", "t1")], [true, true, false]);
    assertEquals([revoked.has("jos\u00e9", undefined), revoked.has("x", "t#3"), revoked.has("x", "")], [true, true, false]);
    const utf16 = new Uint16Array([..."\uFEFFalice\r\nann lee\r\n'bob'\rt9"].map((c) => c.charCodeAt(0)));
    await Deno.writeFile(file, new Uint8Array(utf16.buffer));
    revoked.look();
    assertEquals([revoked.has("alice", undefined), revoked.has("x", "t9"), revoked.has("ann", undefined)], [true, true, false]);
    assertEquals(lines.filter((line) => line.includes("2, the first is line 2")).length, 1);
    assertStringIncludes(lines.at(-1)!, "was read again: 4 revoked, 4 no more; names and token ids in it: 4");
    lines.length = 0;
    await Deno.remove(file);
    revoked.look();
    revoked.look();
    assertEquals([revoked.has("alice", undefined), lines.length, changes], [true, 1, 2]);
    await Deno.writeTextFile(file, "");
    revoked.look();
    assertEquals([revoked.has("alice", undefined), changes], [false, 3]);
    revoked.close();
    await Deno.remove(dir, { recursive: true });
  },
});
