/** Pages of backlogs and of history in a long log on PostgreSQL. */

import type { Broker } from "../broker.ts";
import type { PostgresServer } from "../testing/postgres.ts";

/** A user whose pages are measured. */
interface PageUser {
  readonly name: string;
  readonly conversations: number;
  /** Part of all messages that are theirs. */
  readonly share: number;
}

/** Users by their number of conversations; the rest of the log is other people's. */
export const PAGE_USERS: readonly PageUser[] = [
  { name: "a50", conversations: 50, share: 0.05 },
  { name: "a1000", conversations: 1_000, share: 0.05 },
  { name: "a20000", conversations: 20_000, share: 0.05 },
];

/** Other people's conversations. */
const OTHERS = 20_000;
/** Messages of a page of a backlog and of history, and conversations of a list. */
const PAGE = 128, HISTORY = 50, LIST = 50;
/** Pages of each kind, after some that do not count. */
const TIMES = 60, WARMUP = 20;

/** Fills a log: conversations of some users with everybody else, messages spread over them at random. */
export function fillLog(postgres: PostgresServer, schema: string, rows: number): void {
  const begin = `SET search_path = ${schema};`;
  const owners = [...PAGE_USERS, { name: "b", conversations: OTHERS, share: 1 }];
  const conversations = Math.max(...owners.map(({ conversations }) => conversations));
  postgres.query(`${begin} SELECT count(*) FROM know((SELECT array_agg('u' || n) FROM generate_series(1, ${conversations}) n));
    SELECT count(*) FROM know(ARRAY[${owners.map(({ name }) => `'${name}'`)}])`);
  let bound = 0;
  const cases: string[] = [];
  for (const { name, conversations, share } of owners) {
    postgres.query(`${begin} INSERT INTO threads (name) SELECT '${name} u' || n FROM generate_series(1, ${conversations}) n;
      INSERT INTO members (usr, thread, other, since) SELECT o.id, t.id, u.id, 0 FROM users o, generate_series(1, ${conversations}) n
        JOIN users u ON u.name = 'u' || n JOIN threads t ON t.name = '${name} u' || n WHERE o.name = '${name}';
      INSERT INTO members (usr, thread, other, since) SELECT m.other, m.thread, m.usr, 0 FROM members m JOIN users o ON o.id = m.usr
        WHERE o.name = '${name}'`);
    bound = Math.min(1, bound + share);
    cases.push(`WHEN r < ${bound} OR ${bound} = 1 THEN (SELECT min(m.thread) FROM members m JOIN users o ON o.id = m.usr
      WHERE o.name = '${name}') + floor(p * ${conversations})::int`);
  }
  postgres.query(`${begin} SET work_mem = '256MB';
    INSERT INTO messages (seq, ts, thread, sender, recipient, id, origin, content)
    SELECT d.n + 1, 1700000000000 + d.n, d.thread, CASE WHEN d.q < 0.5 THEN m.usr ELSE m.other END,
      CASE WHEN d.q < 0.5 THEN m.other ELSE m.usr END, 'id' || d.n, 'laptop', md5(d.n::text) || md5(d.n::text)
    FROM (SELECT n, random() AS q, CASE ${cases.join(" ")} END AS thread
      FROM (SELECT n, random() AS r, random() AS p FROM generate_series(1, ${rows}) n) e) d
    JOIN threads t ON t.id = d.thread JOIN members m ON m.thread = d.thread AND m.usr < m.other`);
  // Not what is measured: the index of words would be built beside it.
  postgres.query(`${begin} SELECT setval('log_seq', ${rows + 1}); UPDATE indexing SET indexed = ${rows}`);
  for (const table of ["messages", "members", "threads", "users"]) postgres.query(`VACUUM ANALYZE ${schema}.${table}`);
}

/** Returns lines that say how long pages of a user take. */
export async function pageTimes(broker: Broker, { name, conversations }: PageUser, rows: number): Promise<string[]> {
  const random = () => Math.floor(Math.random() * 1_000), near = (part: number) => Math.floor(rows * part) - random();
  const other = () => `u${1 + Math.floor(Math.random() * conversations)}`;
  const asked: [string, () => Promise<unknown>][] = [
    ["backlog from the start", () => broker.read(name, random(), PAGE)],
    ["backlog from the middle", () => broker.read(name, near(0.5), PAGE)],
    ["backlog, the last 1 %", () => broker.read(name, near(0.99), PAGE)],
    ["backlog, nothing new", () => broker.read(name, rows + 1, PAGE)],
    ["history", () => broker.history(name, { with: other(), before: near(0.9), limit: HISTORY })],
    ["list of conversations", () => broker.conversations(name, LIST)],
  ];
  const lines: string[] = [];
  for (const [what, ask] of asked) lines.push(`${conversations} conversations, ${what}: ${await time(ask)}`);
  return lines;
}

async function time(ask: () => Promise<unknown>): Promise<string> {
  const times: number[] = [];
  for (let n = -WARMUP; n < TIMES; n++) {
    const begun = performance.now();
    await ask();
    if (n >= 0) times.push(performance.now() - begun);
  }
  times.sort((a, b) => a - b);
  return `p50 ${times[TIMES >> 1]!.toFixed(2)} ms, p90 ${times[Math.floor(TIMES * 0.9)]!.toFixed(2)}`;
}
