/**
 * Secrets and signatures of Standard Webhooks (https://www.standardwebhooks.com): `v1` is HMAC-SHA256 with a secret that both
 * sides have, `v1a` Ed25519, for which a receiver has the public key alone.
 */

import { Buffer } from "node:buffer";
import {
  createHmac,
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from "node:crypto";

/** Prefixes of what both sides share, of a private key, and of its public one. */
const SHARED = "whsec_", PRIVATE = "whsk_", PUBLIC = "whpk_";
/** Bytes of a shared secret, as the standard has them: below it can be guessed, above it is something else. */
const SHARED_BYTES_MIN = 24, SHARED_BYTES_MAX = 64;
/** Bytes that a new secret has. */
const SHARED_BYTES = 32;
/** Bytes of an Ed25519 seed. A private key is written as the seed, or as the seed and the public key after it. */
const SEED_BYTES = 32;
/** DER of a PKCS #8 private key before the seed, and of a public key before its bytes (RFC 8410). */
const PRIVATE_DER = Buffer.from("302e020100300506032b657004220420", "hex"), PUBLIC_DER_BYTES = 12;
const BASE64_REGEXP = /^[A-Za-z0-9+/]+={0,2}$/;

/** Signs `id.timestamp.body` and returns the signature with its version, such as `v1,…`. */
export type Signer = (signed: string) => string;

/** Mistake in a secret: the end of a sentence, without the secret. */
export class SecretError extends Error {
  override readonly name = "SecretError";
}

/** Makes the signer of a secret as it is written. Throws {@linkcode SecretError}. */
export function signerOf(secret: string): Signer {
  if (secret.startsWith(SHARED)) {
    const key = bytesOf(secret.slice(SHARED.length));
    if (key.length < SHARED_BYTES_MIN || key.length > SHARED_BYTES_MAX) {
      throw new SecretError(`has ${key.length} bytes; it has to have ${SHARED_BYTES_MIN} to ${SHARED_BYTES_MAX}`);
    }
    return (signed) => `v1,${createHmac("sha256", key).update(signed).digest("base64")}`;
  }
  if (!secret.startsWith(PRIVATE)) throw new SecretError(`begins with neither ${SHARED} nor ${PRIVATE}`);
  const key = privateKeyOf(bytesOf(secret.slice(PRIVATE.length)));
  return (signed) => `v1a,${sign(null, Buffer.from(signed), key).toString("base64")}`;
}

function privateKeyOf(bytes: Buffer): KeyObject {
  if (bytes.length !== SEED_BYTES && bytes.length !== SEED_BYTES * 2) {
    throw new SecretError(
      `has ${bytes.length} bytes; an Ed25519 key has ${SEED_BYTES}, or ${SEED_BYTES * 2} with the public one`,
    );
  }
  const der = Buffer.concat([PRIVATE_DER, bytes.subarray(0, SEED_BYTES)]);
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" });
}

function bytesOf(base64: string): Buffer {
  if (!BASE64_REGEXP.test(base64)) throw new SecretError("is not base64 after its prefix");
  return Buffer.from(base64, "base64");
}

/** Returns the public key of a private one, as receivers take it: `whpk_…`. */
export function publicKeyOf(secret: string): string {
  const der = createPublicKey(privateKeyOf(bytesOf(secret.slice(PRIVATE.length)))).export({ format: "der", type: "spki" });
  return PUBLIC + der.subarray(PUBLIC_DER_BYTES).toString("base64");
}

/** Makes a secret that both sides have. */
export function newSharedSecret(): string {
  return SHARED + randomBytes(SHARED_BYTES).toString("base64");
}

/** Makes a private key. */
export function newPrivateKey(): string {
  const der = generateKeyPairSync("ed25519").privateKey.export({ format: "der", type: "pkcs8" });
  return PRIVATE + der.subarray(PRIVATE_DER.length).toString("base64");
}

/**
 * Returns the headers of one attempt: the same id at every attempt, the time of this one in seconds, and a signature for each
 * secret, so that a receiver can change to another one.
 */
export function signedHeaders(id: string, seconds: number, body: string, signers: readonly Signer[]): Record<string, string> {
  const signed = `${id}.${seconds}.${body}`;
  return {
    "webhook-id": id,
    "webhook-timestamp": String(seconds),
    "webhook-signature": signers.map((signer) => signer(signed)).join(" "),
  };
}
