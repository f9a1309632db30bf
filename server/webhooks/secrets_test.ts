import { assert, assertEquals, assertThrows } from "@std/assert";
import { Buffer } from "node:buffer";
import { createPublicKey, verify } from "node:crypto";
import { Webhook } from "standardwebhooks";
import { newPrivateKey, newSharedSecret, publicKeyOf, SecretError, signedHeaders, signerOf } from "./secrets.ts";

const BODY = JSON.stringify({ type: "message.created", data: { content: "grüße ☕" } });
const now = () => Math.floor(Date.now() / 1_000);

Deno.test("v1 is what the library standardwebhooks verifies, and no other body, time, id or secret", () => {
  const secret = newSharedSecret(), headers = signedHeaders("msg_1", now(), BODY, [signerOf(secret)]);
  const hook = new Webhook(secret);
  assertEquals(hook.verify(BODY, headers), JSON.parse(BODY));
  assertThrows(() => hook.verify(BODY + " ", headers));
  assertThrows(() => hook.verify(BODY, { ...headers, "webhook-id": "msg_2" }));
  assertThrows(() => hook.verify(BODY, { ...headers, "webhook-timestamp": String(now() + 1) }));
  assertThrows(() => new Webhook(newSharedSecret()).verify(BODY, headers));
  const old = signedHeaders("msg_1", now() - 3_600, BODY, [signerOf(secret)]);
  assertThrows(() => hook.verify(BODY, old), Error, undefined, "a signature that is replayed an hour later");
});

Deno.test("v1 is the example of the standard", () => {
  const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
  const headers = signedHeaders("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}', [signerOf(secret)]);
  assertEquals(headers["webhook-signature"], "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
});

Deno.test("v1a is Ed25519, verified with the public key alone, of a seed or of both keys", () => {
  const secret = newPrivateKey(), key = publicKeyOf(secret);
  assert(secret.startsWith("whsk_") && key.startsWith("whpk_"));
  const raw = Buffer.from(key.slice(5), "base64");
  assertEquals(raw.length, 32);
  const both = "whsk_" + Buffer.concat([Buffer.from(secret.slice(5), "base64"), raw]).toString("base64");
  const spki = createPublicKey({
    key: Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), raw]),
    format: "der",
    type: "spki",
  });
  for (const one of [secret, both]) {
    const headers = signedHeaders("msg_1", 7, BODY, [signerOf(one)]);
    const [version, signature] = headers["webhook-signature"]!.split(",");
    assertEquals(version, "v1a");
    assert(verify(null, Buffer.from(`msg_1.7.${BODY}`), spki, Buffer.from(signature!, "base64")));
    assert(!verify(null, Buffer.from(`msg_1.8.${BODY}`), spki, Buffer.from(signature!, "base64")));
  }
});

Deno.test("with several secrets each signs, so that a receiver can change to another", () => {
  const [one, two] = [newSharedSecret(), newSharedSecret()];
  const headers = signedHeaders("msg_1", now(), BODY, [signerOf(one), signerOf(two), signerOf(newPrivateKey())]);
  for (const secret of [one, two]) new Webhook(secret).verify(BODY, headers);
  assertEquals(headers["webhook-signature"]!.split(" ").map((signature) => signature.split(",")[0]), ["v1", "v1", "v1a"]);
});

Deno.test("a mistake in a secret is told without the secret", () => {
  const wrong = [
    "hunter2",
    "whsec_",
    "whsec_aHVudGVyMg==",
    "whsec_!!hunter2!!",
    "whsk_aHVudGVyMg==",
    `whsec_${"aHVu".repeat(40)}`,
  ];
  for (const secret of wrong) {
    const { message } = assertThrows(() => signerOf(secret), SecretError);
    assert(!message.includes("hunter2") && !message.includes("aHVu"), message);
  }
});
