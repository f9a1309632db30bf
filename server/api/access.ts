/** Access to the API: the key of a request, and what is left of its rate. */

import { type ApiKey, type ApiKeys, isAllowed, type Scope } from "../../auth/api_keys.ts";
import { TokenBucket } from "../../limits/token_bucket.ts";
import type { Log } from "../../ops/log.ts";
import { Refusal } from "../../protocol.ts";

/** Parameters under which keys are put into addresses elsewhere. */
const SECRET_PARAMETERS = ["key", "api_key", "apikey", "api-key", "token", "access_token", "authorization"];
/** Milliseconds between two log entries about refused keys: they cost a stranger nothing. */
const REPORT_MS = 10_000;

interface Allowance {
  readonly rate: number;
  readonly burst: number;
  readonly bucket: TokenBucket;
}

/** Decides whose requests are answered, and how many of them. */
export class Access {
  readonly #keys: ApiKeys;
  readonly #log: Log;
  readonly #now: () => number;
  readonly #allowances = new Map<string, Allowance>();
  #reportedAt = -Infinity;
  #unreported = 0;

  /** `now` is a monotonic clock, in milliseconds. */
  constructor(keys: ApiKeys, log: Log, now: () => number = () => performance.now()) {
    this.#keys = keys;
    this.#log = log;
    this.#now = now;
  }

  /** Returns the key that a request carries in its header, or why it does not count. */
  keyOf({ headers }: Request, { searchParams }: URL, address: string): ApiKey | Refusal {
    const inAddress = SECRET_PARAMETERS.find((name) => searchParams.has(name));
    if (inAddress !== undefined) {
      this.#report(address, `a key in the address, as "${inAddress}"`);
      const words =
        "A key never goes into an address, which is logged on the way: send Authorization: Bearer KEY, and replace this one";
      return new Refusal("unauthorized", words);
    }
    const authorization = headers.get("authorization");
    const [, secret] = /^Bearer +(\S+)$/i.exec(authorization ?? "") ?? [];
    if (secret === undefined) {
      this.#report(address, authorization === null ? "no key" : "malformed Authorization");
      return new Refusal("unauthorized", "A key is needed: Authorization: Bearer KEY");
    }
    const key = this.#keys.find(secret);
    if (key) return key;
    this.#report(address, "unknown key");
    return new Refusal("unauthorized", "The key is not known here");
  }

  /** Consumes `cost` of the rate of a key, for a request that has cost `spent` before; the refusal where too little is left. */
  consume({ name, rate, burst }: ApiKey, cost: number, spent = 0): Refusal | undefined {
    const now = this.#now();
    let allowance = this.#allowances.get(name);
    if (allowance?.rate !== rate || allowance.burst !== burst) {
      this.#allowances.set(name, allowance = { rate, burst, bucket: new TokenBucket(rate, burst, now) });
    }
    const wait = cost > 0 ? allowance.bucket.consume(cost, now, spent) : 0;
    if (wait === 0) return undefined;
    const refusal = new Refusal("rate_limited", `The key "${name}" has used up its rate of ${rate} in a second; slow down`);
    refusal.retryAfterMs = Math.ceil(wait);
    return refusal;
  }

  /** Returns the refusal for a scope that a key does not have, for a name or at all. */
  refuseScope(key: ApiKey, scope: Scope, name?: string): Refusal | undefined {
    if (isAllowed(key, scope, name)) return undefined;
    const words = name === undefined
      ? `The key "${key.name}" has no scope "${scope}"`
      : `The scope "${scope}" of the key "${key.name}" has no "${name}"`;
    return new Refusal("forbidden", words);
  }

  #report(address: string, cause: string): void {
    const now = this.#now();
    if (now - this.#reportedAt < REPORT_MS) {
      this.#unreported++;
      return;
    }
    this.#log("api_refused", { address, cause, others: this.#unreported });
    this.#reportedAt = now;
    this.#unreported = 0;
  }
}
