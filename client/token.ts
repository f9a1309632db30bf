/**
 * The token of a run that goes on while its file is renewed: one that was accepted before, or has expired, is waited for to be
 * replaced, and a program that writes the file is given the time to finish.
 */

import type { Diagnosis } from "../chat_client.ts";

/** Milliseconds for which a token that was never accepted is tried again: its file may be half written. */
const HALF_WRITTEN_MS = 5_000;

/** Parts of a {@linkcode TokenSource}. */
export interface TokenSourceOptions {
  /** Reads the token anew. Throws where there is none. */
  readonly read: () => string | undefined;
  /** File that it comes from; undefined where it cannot change. */
  readonly file: string | undefined;
  readonly host: string;
  /** Milliseconds since any moment; never goes back. */
  readonly now?: () => number;
}

/** The token of one client. */
export class TokenSource {
  readonly #options: TokenSourceOptions;
  readonly #now: () => number;
  #current: string | undefined;
  /** The last token with which the server welcomed this client. */
  #accepted: string | undefined;
  /** A token that the server does not accept any more: it is not shown again. */
  #worn: string | undefined;
  /** A token that was refused and may be half of one, and the time of its first refusal. */
  #suspect: { readonly token: string; readonly since: number } | undefined;

  constructor(options: TokenSourceOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** Returns the token for an attempt. Throws where there is none to be had now. */
  next(): string | undefined {
    const token = this.#options.read();
    if (token !== undefined && token === this.#worn) throw new Error(this.#waitWords());
    this.#current = token;
    return token;
  }

  /** Notes that the server has welcomed this client. */
  welcomed(): void {
    this.#accepted = this.#current;
    this.#worn = this.#suspect = undefined;
  }

  /** Judges a token that the server did not accept: without a welcome before, and where it cannot change, that is for good. */
  judge(token: string): Diagnosis {
    const { file, host } = this.#options;
    const refused: Diagnosis = { reason: `${host} did not accept the token: get a new one`, fatal: true };
    if (file === undefined || this.#accepted === undefined) return refused;
    if (token === this.#accepted || hasExpired(token)) {
      this.#worn = token;
      return { reason: this.#waitWords(), fatal: false };
    }
    if (this.#suspect?.token !== token) this.#suspect = { token, since: this.#now() };
    if (this.#now() - this.#suspect.since >= HALF_WRITTEN_MS) return refused;
    return { reason: `${host} did not accept the token in ${file}, which may be half written`, fatal: false };
  }

  #waitWords(): string {
    return `The token in ${this.#options.file} has expired: waiting for a new one in its place`;
  }
}

/** Returns whether a token says that its time is over. */
function hasExpired(token: string): boolean {
  try {
    const payload = Uint8Array.fromBase64(token.split(".")[1] ?? "", { alphabet: "base64url" });
    const { exp } = JSON.parse(new TextDecoder().decode(payload)) as { exp?: unknown };
    return typeof exp === "number" && exp * 1_000 <= Date.now();
  } catch {
    return false;
  }
}
