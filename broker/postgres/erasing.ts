/** Erasure of a user in the schema, as `Erasure` of broker.ts says: each step is a call of the lane, between which others are made. */

import type { Kind, Lane } from "./lane.ts";

/** Messages that are looked at in one step: some milliseconds. */
const ERASE_STEP = 2_000;

/** Part of the log after a position, in which a user's messages are emptied. */
interface Part {
  readonly user: string;
  readonly after: number;
}

/** Result of one part: its end, null where there is nothing after the position, and how many messages were emptied. */
interface Emptied {
  readonly upTo: number | null;
  readonly count: number;
}

const FORGET: Kind<string, void> = {
  most: 1,
  run: async (sql, [user]) => {
    // Nothing of what was sent before waits for whoever comes back under the name, nor is theirs to read.
    await sql`WITH u AS (SELECT id FROM users WHERE name = ${user!}),
      h AS (SELECT coalesce(max(seq), 0) AS head FROM messages),
      d AS (DELETE FROM devices WHERE usr = (SELECT id FROM u)),
      e AS (DELETE FROM ended WHERE usr = (SELECT id FROM u)),
      x AS (DELETE FROM declined WHERE usr = (SELECT id FROM u)),
      m AS (UPDATE members SET since = CASE WHEN other = 0 THEN since ELSE (SELECT head FROM h) END,
        delivered = CASE WHEN other = 0 THEN 0 ELSE (SELECT head FROM h) END,
        read = 0, marked_ts = 0, marked_at = -1, own_read = 0, own_ts = 0, own_at = -1 WHERE usr = (SELECT id FROM u))
      UPDATE users SET last_seen = 0 WHERE id = (SELECT id FROM u)`;
    return [undefined];
  },
};

const EMPTY: Kind<Part, Emptied> = {
  most: 1,
  run: async (sql, [part]) => {
    const { user, after } = part!;
    const [row] = await sql`WITH part AS (SELECT max(seq) AS upto FROM
        (SELECT seq FROM messages WHERE seq > ${after} ORDER BY seq LIMIT ${ERASE_STEP}) s),
      emptied AS (UPDATE messages SET content = '', id = NULL, origin = '' WHERE seq > ${after}
        AND seq <= (SELECT upto FROM part) AND sender = (SELECT id FROM users WHERE name = ${user})
        AND (content <> '' OR id IS NOT NULL OR origin <> '') RETURNING 1)
      SELECT (SELECT upto FROM part) AS upto, (SELECT count(*) FROM emptied) AS count`;
    return [{ upTo: row!.upto, count: row!.count }];
  },
};

/** Erases what a user wrote, and what is kept about them, by calls of a lane that is durable. Resolves with the number of messages that were emptied. */
export async function eraseUser(lane: Lane, user: string): Promise<number> {
  await lane.call(FORGET, user);
  let total = 0;
  for (let after = 0;;) {
    const { upTo, count } = await lane.call(EMPTY, { user, after });
    if (upTo === null) return total;
    total += count;
    after = upTo;
  }
}
