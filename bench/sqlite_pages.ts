/**
 * Pages of history, of a backlog and of the list of conversations in a long log, read in the store: `deno run -A
 * bench/sqlite_pages.ts FILE [ROWS]`. A file that is not there is made first, with two million messages of 100 users who write to
 * each other at random. To compare commits, copy this file into a checkout of the other one and take turns.
 *
 * cold: neither SQLite nor the system has the pages (`dd` tells Linux to forget them). again: the same pages once more. warm: the
 * system has the file, SQLite none of the pages. Medians, µs.
 */

import { DatabaseSync } from "node:sqlite";
import { DEFAULT_LIMITS, type Draft } from "../broker.ts";
import { migrate } from "../broker/sqlite/schema.ts";
import { finish } from "../broker/sqlite/steps.ts";
import { SqliteStore } from "../broker/sqlite/store.ts";

const USERS = 100;
/** Messages of a transaction: a commit of a busy server. */
const BATCH = 700;
/** Pages of a median, each of another conversation; of warm ones, which differ more, many. */
const PAGES = 60, WARM_PAGES = 600;
const CONTENT = "x".repeat(64);
/** As the server's worker opens a file. */
const PRAGMAS = `PRAGMA journal_mode = WAL; PRAGMA cache_size = -16384; PRAGMA temp_store = MEMORY;
  PRAGMA wal_autocheckpoint = 4000; PRAGMA secure_delete = ON`;

type Pair = readonly [string, string];

/** Returns numbers below `n` that are the same in every run. */
function generator(seed: number): (n: number) => number {
  return (n) => {
    seed ^= seed << 13;
    seed ^= seed >>> 17;
    seed ^= seed << 5;
    return (seed >>> 0) % n;
  };
}

// ---- The file ----

function fill(file: string, rows: number): void {
  const database = new DatabaseSync(file);
  database.exec(`${PRAGMAS}; PRAGMA synchronous = OFF`);
  migrate(database);
  const store = new SqliteStore(database, { ...DEFAULT_LIMITS, mailbox: Infinity });
  for (let i = 0; i < USERS; i++) finish(store.attach(`u${i}`, "d", { last: 0 }));
  const below = generator(12_345), start = performance.now();
  for (let n = 0; n < rows;) {
    const drafts: Draft[] = [];
    for (; drafts.length < BATCH && n < rows; n++) drafts.push(draft(n, below));
    database.exec("BEGIN");
    store.append(drafts);
    store.flush();
    database.exec("COMMIT");
  }
  database.exec("PRAGMA wal_checkpoint(TRUNCATE)");
  database.close();
  console.log(`${rows} messages stored in ${((performance.now() - start) / 1_000).toFixed(0)} s`);
}

/** Makes a message with an id as UUIDv7: it begins with a time. */
function draft(n: number, below: (n: number) => number): Draft {
  const from = below(USERS), to = (from + 1 + below(USERS - 1)) % USERS;
  const hex = (value: number, digits: number) => value.toString(16).padStart(digits, "0");
  const time = hex(1_760_000_000_000 + n, 12), random = () => hex(below(65_536), 4);
  const id = `${time.slice(0, 8)}-${time.slice(8)}-7${hex(below(4_096), 3)}-${random()}-${random()}${random()}${random()}`;
  return { sender: `u${from}`, recipient: `u${to}`, content: CONTENT, id, origin: "laptop" };
}

// ---- The pages ----

/** Pairs of users in an order of chance. */
function pairs(): Pair[] {
  const all: Pair[] = [], below = generator(777);
  for (let a = 0; a < USERS; a++) {
    for (let b = a + 1; b < USERS; b++) all.push([`u${a}`, `u${b}`]);
  }
  for (let i = all.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}

/** Measures one store. */
class Pages {
  readonly #file: string;
  readonly #database: DatabaseSync;
  readonly #store: SqliteStore;
  readonly #pairs = pairs();

  constructor(file: string) {
    this.#file = file;
    this.#database = new DatabaseSync(file);
    this.#database.exec(PRAGMAS);
    this.#store = new SqliteStore(this.#database, { ...DEFAULT_LIMITS, mailbox: Infinity });
  }

  run(): void {
    const half = this.#store.head >> 1;
    this.#history("history, the newest 50", {});
    this.#history("history, 50 in the middle", { before: half });
    const users = Array.from({ length: PAGES }, (_, i) => `u${i}`);
    this.#print("the first 128 of a backlog", users.map((user) => () => finish(this.#store.read(user, half, 128))));
    this.#print("20 conversations, unread", users.map((user) => () => finish(this.#store.conversations(user, 20))));
    this.#database.close();
  }

  #history(name: string, range: { before?: number }): void {
    const page = ([user, other]: Pair) => () => this.#store.history(user, { with: other, limit: 50, ...range });
    this.#timed(this.#take(PAGES).map(page)); // compiles
    this.#print(name, this.#take(PAGES).map(page));
    this.#readFile();
    this.#database.exec("PRAGMA shrink_memory");
    this.#timed(this.#take(4 * PAGES).map(page)); // what is above the leaves
    console.log(`${"".padEnd(28)} warm ${this.#timed(this.#take(WARM_PAGES).map(page))}`);
  }

  #take(count: number): Pair[] {
    return this.#pairs.splice(0, count);
  }

  #print(name: string, calls: readonly (() => unknown)[]): void {
    this.#database.exec("PRAGMA shrink_memory");
    const forget = ["oflag=nocache", "conv=notrunc,fdatasync", "count=0", "status=none", `of=${this.#file}`];
    new Deno.Command("dd", { args: forget }).outputSync();
    console.log(`${name.padEnd(28)} cold ${this.#timed(calls)}, again ${this.#timed(calls)}, ${this.#timed(calls)}`);
  }

  /** Returns the median of the µs that calls take, each in a transaction, as in the worker. */
  #timed(calls: readonly (() => unknown)[]): number {
    const times = calls.map((call) => {
      this.#database.exec("BEGIN IMMEDIATE");
      const start = performance.now();
      call();
      const took = performance.now() - start;
      this.#database.exec("COMMIT");
      return took * 1_000;
    });
    return Math.round(times.sort((a, b) => a - b)[times.length >> 1]!);
  }

  #readFile(): void {
    const file = Deno.openSync(this.#file), some = new Uint8Array(2 ** 20);
    while (file.readSync(some) !== null);
    file.close();
  }
}

function exists(file: string): boolean {
  try {
    return Deno.statSync(file).isFile;
  } catch {
    return false;
  }
}

if (import.meta.main) {
  const [file, rows = "2000000"] = Deno.args;
  if (!file) throw new Error("Say which file: it is made where there is none");
  if (!exists(file)) fill(file, Number(rows));
  new Pages(file).run();
}
