/**
 * Tokens: JSON Web Tokens that say who somebody is. They are checked before a socket exists.
 */

import {
  createLocalJWKSet,
  errors,
  exportPKCS8,
  exportSPKI,
  generateKeyPair,
  importPKCS8,
  importSPKI,
  type JWTPayload,
  jwtVerify,
  SignJWT,
} from "jose";
import { parseName, Refusal } from "../protocol.ts";
import { describe, findBlock, PRIVATE_KEY_REMEDIES, type Remedies } from "./pem.ts";

/** Characters of a token: an RS256 token with many claims has about a thousand. */
const TOKEN_CHARS_MAX = 4_096;
/** Bytes of an HS256 secret: shorter ones can be guessed. */
const SECRET_BYTES_MIN = 32;
/** Bits of an RSA key: RS256 is not defined for shorter ones. */
const RSA_BITS_MIN = 2_048;
/** Seconds by which the clocks of server and issuer may differ. */
const CLOCK_TOLERANCE_S = 30;
/**
 * Seconds that a token may last from now: longer than any is meant to. What is further ahead was given in milliseconds, or is no
 * time at all, and would be a token for ever.
 */
const LIFETIME_S_MAX = 10 * 366 * 86_400;
/** Claim and value that make an administrator. */
const ROLE_CLAIM = "role", ADMIN_ROLE = "admin";
/** Subprotocol that a browser asks for beside the one that carries its token. */
export const SUBPROTOCOL = "parley";
/** Beginning of the subprotocol that carries a token. */
const BEARER_PREFIX = "bearer.";
/** Algorithms of key pairs, in the order in which a key is tried. */
const PUBLIC_ALGORITHMS = ["EdDSA", "ES256", "RS256"];

/** Advice about files that have no public key, or no private key as it is wanted. */
const REMEDIES: Remedies = {
  ...PRIVATE_KEY_REMEDIES,
  "CERTIFICATE": "openssl x509 -pubkey -noout -in FILE takes the public key out of one",
  "RSA PUBLIC KEY": "openssl rsa -RSAPublicKey_in -pubout -in FILE converts it",
  "RSA PRIVATE KEY": "openssl pkcs8 -topk8 -nocrypt -in FILE converts it",
  "EC PRIVATE KEY": "openssl pkcs8 -topk8 -nocrypt -in FILE converts it",
  "PRIVATE KEY": "that is for the maker of tokens alone; openssl pkey -pubout -in FILE has the public one",
};

/** Identity that a token proves. */
export interface Claims {
  /** Canonical name. */
  readonly user: string;
  /**
   * Milliseconds since 1970 at which the connection has to end: the expiry of the token, or for one that is accepted after it, as
   * clocks differ, the end of that tolerance.
   */
  readonly expiresAt: number;
  readonly tokenId: string | undefined;
  readonly admin: boolean;
}

/** Reason for which somebody is not let in. `message` is for them, `cause` for the log; neither has a secret in it. */
export class AuthFailure {
  constructor(readonly status: 401 | 403, readonly message: string, readonly cause: string) {}
}

/** Failure to use, read or make keys and tokens: one sentence for the operator. */
export class KeyError extends Error {
  override readonly name = "KeyError";
}

type Key = Parameters<typeof jwtVerify>[1];

/** One of secret, public key and key set, as read from its file, and the claims that tokens must have. */
export interface TokenOptions {
  readonly secret?: string;
  readonly publicKey?: string;
  readonly jwks?: string;
  readonly audience?: string;
  readonly issuer?: string;
}

/** Checks tokens with one key or set of keys. */
export class Tokens {
  readonly #key: Key;
  readonly #algorithms: readonly string[];
  readonly #options: TokenOptions;

  private constructor(key: Key, algorithms: readonly string[], options: TokenOptions) {
    this.#key = key;
    this.#algorithms = algorithms;
    this.#options = options;
  }

  /** Opens with exactly one of secret, public key and key set. Throws {@linkcode KeyError}. */
  static async open(options: TokenOptions): Promise<Tokens> {
    const { secret, publicKey, jwks } = options;
    if ([secret, publicKey, jwks].filter((given) => given !== undefined).length !== 1) {
      throw new KeyError("Give one of --jwt-secret-file, --jwt-public-key and --jwks, not several");
    }
    if (secret !== undefined) return new Tokens(secretKey(secret), ["HS256"], options);
    if (jwks !== undefined) return new Tokens(keySet(jwks), PUBLIC_ALGORITHMS, options);
    const [algorithm, key] = await publicKeyOf(publicKey!);
    return new Tokens(key, [algorithm], options);
  }

  /** Returns the identity that a token proves, or why it does not count. Never rejects. */
  async verify(token: string): Promise<Claims | AuthFailure> {
    if (token.length > TOKEN_CHARS_MAX) return new AuthFailure(401, "The token is too long", "token over the limit");
    const { audience, issuer } = this.#options;
    try {
      // deno-lint-ignore no-explicit-any -- jose's overloads for keys and key sets do not meet in one call
      const { payload } = await jwtVerify(token, this.#key as any, {
        algorithms: [...this.#algorithms],
        clockTolerance: CLOCK_TOLERANCE_S,
        requiredClaims: ["exp", "sub"],
        ...(audience === undefined ? {} : { audience }),
        ...(issuer === undefined ? {} : { issuer }),
      });
      return claimsOf(payload);
    } catch (error) {
      return failureOf(error);
    }
  }
}

function claimsOf({ sub, exp, jti, [ROLE_CLAIM]: role }: JWTPayload): Claims | AuthFailure {
  const wrong = wrongExpiry(exp);
  if (wrong !== undefined) return new AuthFailure(401, `The token's "exp" ${wrong}`, "bad exp");
  const user = parseName(sub, "sub");
  if (user instanceof Refusal) {
    return new AuthFailure(401, `The token names nobody who can be here: ${user.message}`, "bad sub");
  }
  // Some issuers number their tokens: a number has to be found among the revoked too.
  const tokenId = jti === undefined ? undefined : String(jti);
  const isLate = exp! * 1_000 <= Date.now();
  return { user, expiresAt: (exp! + (isLate ? CLOCK_TOLERANCE_S : 0)) * 1_000, tokenId, admin: role === ADMIN_ROLE };
}

/** Returns what is wrong with an expiry, as the end of a sentence; undefined for one in seconds, and not for ever. */
function wrongExpiry(exp: unknown): string | undefined {
  if (!Number.isSafeInteger(exp)) return "is no whole number of seconds since 1970";
  if ((exp as number) <= Date.now() / 1_000 + LIFETIME_S_MAX) return undefined;
  return "is more than ten years ahead: it is in seconds since 1970, not in milliseconds";
}

function failureOf(error: unknown): AuthFailure {
  const code = error instanceof errors.JOSEError ? error.code : "unexpected";
  if (error instanceof errors.JWTExpired) return new AuthFailure(401, "The token has expired; get a newer one", code);
  if (error instanceof errors.JWTClaimValidationFailed) {
    return new AuthFailure(
      401,
      `The token is not for this server: its "${error.claim}" does not fit`,
      `${code} ${error.claim}`,
    );
  }
  return new AuthFailure(401, "The token is not valid here", code);
}

// ---- Keys ----

function secretKey(text: string): Uint8Array {
  if (findsPem(text)) {
    throw new KeyError("The secret is a PEM; a key pair is for --jwt-public-key, and for --jwt-private-key of token");
  }
  if (isJwk(text)) {
    throw new KeyError(
      "The secret is JSON with a key (JWK), which is no secret as it stands: public keys are for --jwks, and the secret of an " +
        '"oct" key is its "k", decoded from base64url',
    );
  }
  if (/[\uFFFD\0]/.test(text)) {
    throw new KeyError("The secret is not text, and would lose what is not. Make one: openssl rand -base64 32");
  }
  const secret = new TextEncoder().encode(text.trim());
  if (secret.length >= SECRET_BYTES_MIN) return secret;
  throw new KeyError(
    `The secret has ${secret.length} bytes; it needs at least ${SECRET_BYTES_MIN}. Make one: openssl rand -base64 32`,
  );
}

function isJwk(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null;
  } catch {
    return false;
  }
}

function keySet(text: string): Key {
  let set;
  try {
    set = JSON.parse(text);
    const keys = createLocalJWKSet(set);
    // A key set for public algorithms: a secret in it would never be used, and whoever may read the file would have it.
    if (set.keys.some(({ kty }: { kty?: unknown }) => kty !== "oct")) return keys;
  } catch {
    throw new KeyError(`The key set is not a JWKS, JSON with an array of "keys"${findsPem(text) ? ": it is PEM" : ""}`);
  }
  throw new KeyError("The key set has no public keys: nobody could log in");
}

function findsPem(text: string): boolean {
  return text.includes("-----BEGIN ");
}

/** Imports a public key. A PEM does not name its algorithm: it is the first that can import it. */
async function publicKeyOf(pem: string): Promise<[string, CryptoKey]> {
  return await importBlock(importSPKI, pem, "PUBLIC KEY", "public key");
}

async function privateKeyOf(pem: string): Promise<[string, CryptoKey]> {
  return await importBlock(importPKCS8, pem, "PRIVATE KEY", "private key");
}

async function importBlock(
  load: (pem: string, algorithm: string) => Promise<CryptoKey>,
  text: string,
  label: string,
  words: string,
): Promise<[string, CryptoKey]> {
  const wanted = `no PEM of an Ed25519, P-256 or RSA key (BEGIN ${label})`;
  const block = findBlock(text, [label]) ?? refuseKey(`The ${words} is ${wanted}: ${describe(text, REMEDIES)}`);
  return await importWith(load, block) ?? refuseKey(`The ${words} is ${wanted}, but damaged or of another kind`);
}

async function importWith(
  load: (pem: string, algorithm: string) => Promise<CryptoKey>,
  pem: string,
): Promise<[string, CryptoKey] | undefined> {
  for (const algorithm of PUBLIC_ALGORITHMS) {
    let key;
    try {
      key = await load(pem, algorithm);
    } catch {
      continue; // of another kind
    }
    const { modulusLength = Infinity } = key.algorithm as Partial<RsaHashedKeyAlgorithm>;
    if (modulusLength >= RSA_BITS_MIN) return [algorithm, key];
    refuseKey(`The RSA key has ${modulusLength} bits; it needs at least ${RSA_BITS_MIN}`);
  }
}

function refuseKey(message: string): never {
  throw new KeyError(message);
}

// ---- Making tokens ----

/** Contents and key of a new token. */
export interface TokenRequest {
  /** Canonical name. */
  readonly name: string;
  /** Seconds that it lasts. */
  readonly seconds: number;
  readonly admin: boolean;
  readonly audience?: string;
  readonly issuer?: string;
  /** An HS256 secret or a private key (PEM), as read from its file. */
  readonly secret?: string;
  readonly privateKey?: string;
}

/** Makes a token with an id of its own, which can be revoked by that. Throws {@linkcode KeyError}. */
export async function makeToken(
  { name, seconds, admin, audience, issuer, secret, privateKey }: TokenRequest,
): Promise<{ readonly token: string; readonly id: string }> {
  const id = crypto.randomUUID();
  const [alg, key] = secret !== undefined ? ["HS256", secretKey(secret)] as const : await privateKeyOf(privateKey ?? "");
  const token = new SignJWT(admin ? { [ROLE_CLAIM]: ADMIN_ROLE } : {})
    .setProtectedHeader({ alg })
    .setSubject(name)
    .setJti(id)
    .setIssuedAt()
    .setExpirationTime(Math.floor(Date.now() / 1_000) + seconds);
  if (audience !== undefined) token.setAudience(audience);
  if (issuer !== undefined) token.setIssuer(issuer);
  return { token: await token.sign(key), id };
}

/** Makes a new Ed25519 pair, as PEM. */
export async function makeKeys(): Promise<{ readonly privateKey: string; readonly publicKey: string }> {
  const { privateKey, publicKey } = await generateKeyPair("EdDSA", { extractable: true });
  return { privateKey: `${await exportPKCS8(privateKey)}\n`, publicKey: `${await exportSPKI(publicKey)}\n` };
}

// ---- Requests ----

/** Returns the token that a request carries, or undefined. Never from its URL: those are logged. */
export function tokenOf(headers: Pick<Headers, "get">): string | undefined | AuthFailure {
  const authorization = headers.get("authorization");
  const protocols = headers.get("sec-websocket-protocol")?.split(",").map((entry) => entry.trim()) ?? [];
  const carried = protocols.filter((entry) => entry.startsWith(BEARER_PREFIX));
  if (carried.length > 1 || (carried.length === 1 && authorization !== null)) {
    return new AuthFailure(401, "Send one token, not several", "several tokens");
  }
  if (carried.length === 1) {
    if (protocols.includes(SUBPROTOCOL)) return carried[0]!.slice(BEARER_PREFIX.length);
    return new AuthFailure(401, `Ask for the subprotocol "${SUBPROTOCOL}" beside the one with the token`, "no subprotocol");
  }
  if (authorization === null) return undefined;
  const [, token] = /^Bearer +([^\s]+)$/i.exec(authorization) ?? [];
  return token ?? new AuthFailure(401, "Send the token as: Authorization: Bearer TOKEN", "malformed Authorization");
}
