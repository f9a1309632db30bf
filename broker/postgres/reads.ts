/** Questions that change nothing, on a small pool. They are asked again for a while when a connection breaks. */

import postgres from "postgres";
import { delay } from "@std/async/delay";
import { SETTLE_MS, Unavailable } from "./lane.ts";
import { type Connector, Link, type Sql } from "./link.ts";
import { describeFailure, READ_ONLY } from "./trouble.ts";

/** Connections of the pool: questions are short, and PostgreSQL has some hundred for all nodes. */
const POOL = 4;
/** Milliseconds before a question is asked again. */
const AGAIN_MS = 50;

/** The pool. */
export class Reads {
  readonly #link: Link;
  readonly #ended = new AbortController();

  constructor(connector: Connector) {
    this.#link = new Link(connector, { max: POOL });
  }

  /** Asks; rejects with {@linkcode Unavailable} where nobody has answered in time. */
  async ask<T>(question: (sql: Sql) => PromiseLike<T>): Promise<T> {
    const due = performance.now() + SETTLE_MS;
    for (;;) {
      let used: Sql | undefined;
      try {
        return await this.#within(due, this.#link.client().then((sql) => question(used = sql)));
      } catch (error) {
        if (error instanceof Unavailable || this.#ended.signal.aborted) throw error;
        const isServers = error instanceof postgres.PostgresError;
        // A server that ends connections says so; one that refuses a question would refuse it again.
        if (isServers && !error.code.startsWith("57P") && error.code !== READ_ONLY) {
          throw new Unavailable(describeFailure(error));
        }
        if (used) this.#link.drop(used);
        if (performance.now() > due) throw new Unavailable(describeFailure(error));
      }
      await delay(AGAIN_MS, { signal: this.#ended.signal });
    }
  }

  async #within<T>(due: number, answer: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        // The pool's connections may lead nowhere. Whoever waits on them asks again on new ones.
        this.#link.drop();
        reject(new Unavailable(this.#link.trouble ?? "PostgreSQL does not answer"));
      }, Math.max(0, due - performance.now()));
    });
    try {
      return await Promise.race([answer, late]);
    } finally {
      answer.catch(() => {});
      clearTimeout(timer);
    }
  }

  /** Lets go of the connections. */
  async close(): Promise<void> {
    this.#ended.abort(new Unavailable("The broker is closed"));
    await this.#link.close();
  }
}
