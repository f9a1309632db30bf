/**
 * Connections to a receiver, kept for a moment for the next request: TLS and the way there cost more than the request. One that is
 * kept leads to the address that was checked when it was opened, and is used for nothing but the same origin under the same rules.
 */

/** Milliseconds that a connection is kept without a request: less than the five seconds after which Node.js and Apache close theirs. */
const IDLE_MS = 4_000;
/** Milliseconds after its opening from which a connection is not kept: the name is looked up again then. */
const AGE_MS = 60_000;
/** Connections that are kept at most: as many as there are attempts at a time. */
const KEPT_MAX = 32;
/** Bytes that are read at a time. */
const READ_BYTES = 4_096;

/** A connection whose reading may have begun before there was anything to expect. */
export class Wire {
  readonly #connection: Deno.Conn;
  readonly #opened = performance.now();
  #ahead: Promise<Uint8Array | null> | undefined;

  constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /** Milliseconds since it was opened. */
  get age(): number {
    return performance.now() - this.#opened;
  }

  async write(bytes: Uint8Array): Promise<void> {
    for (let at = 0; at < bytes.length;) at += await this.#connection.write(bytes.subarray(at));
  }

  /** Resolves with what comes next; null at the end. */
  read(): Promise<Uint8Array | null> {
    const ahead = this.#ahead ?? this.#read();
    this.#ahead = undefined;
    return ahead;
  }

  /** Begins to read; the next `read` has the same result. */
  readAhead(): Promise<Uint8Array | null> {
    return this.#ahead ??= this.#read();
  }

  async #read(): Promise<Uint8Array | null> {
    const buffer = new Uint8Array(READ_BYTES);
    const count = await this.#connection.read(buffer);
    return count === null ? null : buffer.subarray(0, count);
  }

  /** Idempotent. */
  close(): void {
    try {
      this.#connection.close();
    } catch { /* it is closed already */ }
  }
}

interface Kept {
  readonly key: string;
  readonly wire: Wire;
  readonly timer: ReturnType<typeof setTimeout>;
  /** False while the rest of the last answer is still to come. */
  isReady: boolean;
}

/** Connections that wait for another request. */
export class KeptConnections {
  readonly #kept = new Set<Kept>();
  readonly #idleMs: number;
  #isClosed = false;

  constructor(idleMs = IDLE_MS) {
    this.#idleMs = idleMs;
  }

  /** Number of those that are kept, and how many of them are ready for a request. */
  get counts(): { readonly kept: number; readonly ready: number } {
    return { kept: this.#kept.size, ready: [...this.#kept].filter(({ isReady }) => isReady).length };
  }

  /** Takes out a connection that was kept under the key; undefined where there is none. */
  take(key: string): Wire | undefined {
    const kept = [...this.#kept].findLast((one) => one.isReady && one.key === key);
    if (!kept) return undefined;
    this.#kept.delete(kept);
    clearTimeout(kept.timer);
    return kept.wire;
  }

  /** Keeps a connection once `drained` resolves with true, which has to be soon; closes it otherwise. */
  async keep(key: string, wire: Wire, drained: Promise<boolean>): Promise<void> {
    const kept: Kept = { key, wire, timer: setTimeout(() => this.#drop(kept), this.#idleMs), isReady: false };
    this.#kept.add(kept);
    if (this.#isClosed || this.#kept.size > KEPT_MAX || wire.age > AGE_MS) this.#drop(kept);
    const isClean = await drained.catch(() => false);
    if (!isClean) return this.#drop(kept);
    kept.isReady = true;
    // What comes now, its end or more of an answer, was not asked for. Once it is taken, the same reading is of the next answer.
    await wire.readAhead().catch(() => null);
    this.#drop(kept);
  }

  /** Closes a connection that is still kept. */
  #drop(kept: Kept): void {
    if (!this.#kept.delete(kept)) return;
    clearTimeout(kept.timer);
    kept.wire.close();
  }

  /** Closes all, and keeps none from then on. */
  close(): void {
    this.#isClosed = true;
    for (const kept of this.#kept) this.#drop(kept);
  }
}
