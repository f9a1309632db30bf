/** Functions of the second step of the schema, which take less than those of the first that they are called instead of. */

/** Conversations of a user from which on a backlog is found thousands of messages at a time, where each of them has to be asked. */
const THREADS_MANY = 200;
/** Conversations that are counted: the log is looked through for some milliseconds at most. */
const THREADS_MAX = 1_000;
/** Part of a page that is enough of one from the log: a quarter. And pages that the conversations are asked for together. */
const PAGE_PART = 4;
/** Messages of each conversation that are asked for at least. */
const EACH_MIN = 8;
/** Positions of the log that are looked through for each conversation that need not be asked then: both take some microseconds. */
const POSITIONS_PER_THREAD = 4;

/** Statements that make them. Run with the schema first in the search path. */
export const LOG_SCHEMA = `
  -- tail() that says in the time of row 0 up to where positions were drawn: above the horizon where something is under way.
  CREATE FUNCTION tail_on(after bigint, most int,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := horizon();
  BEGIN
    seq := h;
    SELECT last_value INTO ts FROM log_seq;
    RETURN NEXT;
    IF h <= after THEN RETURN; END IF;
    RETURN QUERY SELECT * FROM (
      (SELECT m.seq, m.ts, m.thread, m.sender, m.recipient, m.id, m.origin, m.content FROM messages m
        WHERE m.seq > after AND m.seq <= h ORDER BY m.seq LIMIT most)
      UNION ALL (SELECT c.seq, NULL::bigint, c.thread, NULL, NULL, NULL, NULL, NULL FROM changes c
        WHERE c.seq > after AND c.seq <= h ORDER BY c.seq LIMIT most)
      ) r ORDER BY 1 LIMIT most;
  END $$;

  -- mark() for many at once, each conversation of a user once. All nodes move them in the same order. Row 0
  -- has the time, the others are of those that moved. Joins are walks through an index for each marker: what is planned for more of them looks at all members.
  CREATE FUNCTION move_markers(names text[], threads_ text[], reads boolean[], privates boolean[], seqs bigint[], now_ms bigint,
    seen bigint, OUT n bigint, OUT authors text, OUT ts bigint) RETURNS SETOF record LANGUAGE plpgsql
    SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  DECLARE head bigint := greatest(horizon(), seen); place bigint; at bigint;
  BEGIN
    PERFORM begin_drawing();
    SELECT last_value INTO place FROM log_seq;
    at := coalesce(now_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    RETURN QUERY WITH moving AS MATERIALIZED (
      SELECT w.* FROM (SELECT d.n, d.is_read, d.is_own, mb.usr, mb.thread, mb.other, mb.since, least(d.seq, head) AS upto,
          CASE WHEN d.is_own THEN greatest(mb.read, mb.own_read) WHEN d.is_read THEN mb.read ELSE mb.delivered END AS before
        FROM unnest(names, threads_, reads, privates, seqs) WITH ORDINALITY AS d(name, thread, is_read, is_own, seq, n)
        JOIN users u ON u.name = d.name JOIN threads t ON t.name = d.thread
        -- A range of one, or the index by conversation and marker is taken, which has a dead row for every move.
        JOIN members mb ON mb.usr = u.id AND mb.thread BETWEEN t.id AND t.id) w
      WHERE w.upto > w.before ORDER BY w.usr, w.thread),
    updated AS (
      UPDATE members m SET
          delivered = CASE WHEN w.is_own THEN m.delivered ELSE greatest(m.delivered, w.upto) END,
          read = CASE WHEN w.is_read AND NOT w.is_own THEN w.upto ELSE m.read END,
          marked_ts = CASE WHEN w.is_own THEN m.marked_ts ELSE at END,
          marked_at = CASE WHEN w.is_own THEN m.marked_at ELSE place END,
          own_read = CASE WHEN w.is_own THEN w.upto ELSE m.own_read END,
          own_ts = CASE WHEN w.is_own THEN at ELSE m.own_ts END,
          own_at = CASE WHEN w.is_own THEN place ELSE m.own_at END
        FROM moving w WHERE m.usr = w.usr AND m.thread = w.thread AND w.upto >
          CASE WHEN w.is_own THEN greatest(m.read, m.own_read) WHEN w.is_read THEN m.read ELSE m.delivered END
        RETURNING w.n, w.is_own, w.usr, w.thread, w.other, greatest(w.before, w.since) AS above, w.upto)
    SELECT x.n, CASE WHEN x.is_own THEN NULL
      WHEN x.other <> 0 THEN (SELECT u.name FROM users u WHERE u.id = x.other AND x.other <> x.usr AND EXISTS (
        SELECT 1 FROM (SELECT y.sender FROM messages y WHERE y.thread = x.thread AND y.seq > x.above AND y.seq <= x.upto
          ORDER BY y.seq DESC LIMIT 1000) r WHERE r.sender = x.other))
      ELSE (SELECT string_agg(u.name, ' ') FROM (SELECT DISTINCT r.sender FROM (SELECT y.sender FROM messages y
          WHERE y.thread = x.thread AND y.seq > x.above AND y.seq <= x.upto ORDER BY y.seq DESC LIMIT 1000) r
          WHERE r.sender <> x.usr AND EXISTS (SELECT 1 FROM members z WHERE z.usr = r.sender AND z.thread = x.thread)
          LIMIT 100) s JOIN users u ON u.id = s.sender) END, at
      FROM updated x UNION ALL SELECT 0, NULL, at;
  END $$;

  -- A page of all conversations of a user after a position, as backlog() makes it. It may be short. A device that is a little
  -- behind, or whose user is in many conversations, is answered from the log where that has enough for it. \`many\`: it was not,
  -- and there are so many conversations that places() should find the next pages.
  CREATE FUNCTION backlog_page(user_name text, after bigint, most int, chars bigint, seen bigint,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text,
    OUT found bigint, OUT many boolean) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := greatest(horizon(), seen); me int; threads_ bigint; upto bigint; per bigint; asked boolean;
    seqs bigint[]; places_ int[];
  BEGIN
    IF h <= after THEN RETURN; END IF;
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    SELECT count(*) INTO threads_ FROM (SELECT 1 FROM members mb WHERE mb.usr = me LIMIT ${THREADS_MAX}) x;
    many := threads_ > ${THREADS_MANY};
    upto := least(h, after + threads_ * ${POSITIONS_PER_THREAD});
    IF upto = h OR many THEN
      SELECT array_agg(p.seq), array_agg(p.thread) INTO seqs, places_ FROM (SELECT m.seq, m.thread FROM messages m
        WHERE m.seq > after AND m.seq <= upto AND EXISTS (SELECT 1 FROM due mb WHERE mb.usr = me AND mb.thread = m.thread
          AND mb.since < m.seq AND mb.until >= m.seq) ORDER BY m.seq LIMIT most + 1) p;
    END IF;
    asked := upto < h AND coalesce(cardinality(seqs), 0) * ${PAGE_PART} <= most;
    IF asked THEN
      -- Of each conversation some; what lies above the last of these, in one that has more, is not known and has to wait.
      per := least(most + 1, greatest(${EACH_MIN}, ${PAGE_PART} * most / greatest(threads_, 1)));
      WITH firsts AS MATERIALIZED (
        SELECT k.thread, k.seq, k.place FROM due mb CROSS JOIN LATERAL (
          SELECT x.thread, x.seq, row_number() OVER (ORDER BY x.seq) AS place FROM messages x
            WHERE x.thread = mb.thread AND x.seq > greatest(after, mb.since) AND x.seq <= least(h, mb.until)
            ORDER BY x.seq LIMIT per) k WHERE mb.usr = me),
      known AS (SELECT coalesce(min(f.seq), h) AS upto FROM firsts f WHERE f.place = per)
      SELECT array_agg(p.seq), array_agg(p.thread), (SELECT k.upto FROM known k) INTO seqs, places_, upto FROM (
        SELECT DISTINCT f.thread, f.seq FROM firsts f WHERE f.seq <= (SELECT k.upto FROM known k) ORDER BY f.seq LIMIT most + 1) p;
    END IF;
    RETURN QUERY SELECT r.seq, r.ts, r.thread, r.sender, r.recipient, r.id, r.origin, r.content,
        cardinality(seqs)::bigint + (upto < h)::int, backlog_page.many AND asked FROM (
        SELECT m.*, sum(length(m.content)) OVER (ORDER BY m.seq) - length(m.content) AS before FROM unnest(places_, seqs) p(thread, seq)
          CROSS JOIN LATERAL (SELECT * FROM messages x WHERE x.thread = p.thread AND x.seq = p.seq) m) r
        WHERE r.before < chars ORDER BY r.seq LIMIT most;
  END $$;

  -- Positions of a backlog, with their conversations, \`most\` at most.
  CREATE FUNCTION places(user_name text, after bigint, most int, seen bigint, OUT thread int, OUT seq bigint) RETURNS SETOF record
    LANGUAGE plpgsql AS $$
  DECLARE h bigint := greatest(horizon(), seen); me int;
  BEGIN
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    RETURN QUERY SELECT DISTINCT k.thread, k.seq FROM due mb CROSS JOIN LATERAL (SELECT x.thread, x.seq FROM messages x
        WHERE x.thread = mb.thread AND x.seq > greatest(after, mb.since) AND x.seq <= least(h, mb.until)
        ORDER BY x.seq LIMIT most) k
      WHERE mb.usr = me ORDER BY k.seq LIMIT most;
  END $$;
`;
