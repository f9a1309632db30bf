/** The feed in the schema: a step of the migrations, and like them never changed once it has been released. */

/** Columns, a table and functions of the feed. Nodes that do not know them go on as they did. */
export const FEED_SCHEMA = `
  ALTER TABLE changes ADD COLUMN ts bigint NOT NULL DEFAULT (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
  ALTER TABLE changes ADD COLUMN name text COLLATE "C", ADD COLUMN op text, ADD COLUMN by_usr int, ADD COLUMN owner int,
    ADD COLUMN members int;

  -- Places of those who follow the log, and which node does.
  CREATE TABLE cursors (
    name text COLLATE "C" PRIMARY KEY,
    state text NOT NULL DEFAULT '',
    wish text,                             -- order of the operator that is still to be carried out
    holder text,
    held_until timestamptz
  );

  -- Changes the members of a group as change() does, and keeps who did it by which request.
  CREATE FUNCTION change_by(what text, group_name text, thread_ int, expected bigint, usr_ int, inviter_ int, is_open boolean,
    has_declined boolean, most_groups bigint, by_ int, op_ text, now_ms bigint) RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE place bigint := change(what, group_name, thread_, expected, usr_, inviter_, is_open, has_declined, most_groups);
  BEGIN
    IF place = 0 THEN RETURN 0; END IF;
    UPDATE changes c SET ts = coalesce(now_ms, c.ts), name = group_name, op = op_, by_usr = by_,
        owner = (SELECT t.owner FROM threads t WHERE t.id = c.thread),
        members = (SELECT count(*) FROM members m WHERE m.thread = c.thread)
      WHERE c.seq = place;
    RETURN place;
  END $$;

  -- Messages after a position. The first row has the position up to which everything is visible, and the clock; \`total\`: how
  -- many there are, up to those asked for.
  CREATE FUNCTION feed_messages(after bigint, most int, chars bigint,
    OUT seq bigint, OUT ts bigint, OUT sender text, OUT recipient text, OUT id text, OUT origin text, OUT content text, OUT total bigint)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := horizon();
  BEGIN
    seq := h;
    ts := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    total := coalesce((SELECT m.value::bigint FROM meta m WHERE m.key = 'removed'), 0);
    RETURN NEXT;
    RETURN QUERY SELECT m.seq, m.ts, s.name, CASE WHEN m.recipient = 0 THEN t.name ELSE r.name END, m.id, m.origin, m.content, m.total
      FROM (SELECT x.*, count(*) OVER () AS total, sum(length(x.content)) OVER (ORDER BY x.seq) - length(x.content) AS before
        FROM (SELECT * FROM messages y WHERE y.seq > after AND y.seq <= h ORDER BY y.seq LIMIT most) x) m
      JOIN threads t ON t.id = m.thread JOIN users s ON s.id = m.sender LEFT JOIN users r ON r.id = m.recipient
      WHERE m.before <= chars ORDER BY m.seq;
  END $$;

  -- Changes of groups after a position, in the same manner.
  CREATE FUNCTION feed_changes(after bigint, most int,
    OUT seq bigint, OUT ts bigint, OUT name text, OUT op text, OUT usr text, OUT by_usr text, OUT owner text, OUT members bigint)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := horizon();
  BEGIN
    seq := h;
    ts := (extract(epoch FROM clock_timestamp()) * 1000)::bigint;
    members := coalesce((SELECT m.value::bigint FROM meta m WHERE m.key = 'removed'), 0);
    RETURN NEXT;
    RETURN QUERY SELECT c.seq, c.ts, coalesce(c.name, t.name, ''), coalesce(c.op, CASE WHEN c.enters THEN 'join' ELSE 'leave' END),
        u.name, coalesce(b.name, u.name), coalesce(o.name, ''), coalesce(c.members, 0)::bigint
      FROM (SELECT * FROM changes y WHERE y.seq > after AND y.seq <= h ORDER BY y.seq LIMIT most) c
      JOIN users u ON u.id = c.usr LEFT JOIN users b ON b.id = c.by_usr LEFT JOIN users o ON o.id = c.owner
      LEFT JOIN threads t ON t.id = c.thread ORDER BY c.seq;
  END $$;

  -- Users who are due messages that no device of theirs has confirmed, by the order of asking; names of threads as in threads.
  CREATE FUNCTION feed_undelivered(seqs bigint[], senders text[], threads_ text[], OUT n bigint, OUT name text)
    RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT d.n, u.name FROM unnest(seqs, senders, threads_) WITH ORDINALITY AS d(seq, sender, thread, n)
      JOIN threads t ON t.name = d.thread JOIN members m ON m.thread = t.id AND m.since < d.seq AND m.delivered < d.seq
      JOIN users u ON u.id = m.usr WHERE u.name <> d.sender ORDER BY d.n, m.since, m.joined, m.usr $$;
`;
