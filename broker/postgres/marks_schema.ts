/**
 * Markers in the schema: a step of the migrations, and like them never changed once it has been released. A marker moves for about
 * every message, so its move must touch as little as it can: no index has a column that every move changes, and who the marker is of
 * is said in numbers.
 */

/** Positions of the log that share a value of the index, as a power of two: a million. */
const BLOCK_BITS = 20;

/** Statements that make it. Nodes that do not know them go on as they did. */
export const MARKS_SCHEMA = `
  -- An index by marked_at itself got two entries for every move, and left as many dead ones.
  ALTER TABLE members SET (fillfactor = 80);
  ALTER TABLE members ADD COLUMN marked_block bigint GENERATED ALWAYS AS (marked_at >> ${BLOCK_BITS}) STORED;
  DROP INDEX members_thread;
  CREATE INDEX members_thread_block ON members (thread, marked_block);

  -- markers() that walks along that index.
  CREATE FUNCTION markers_since(user_name text, from_ bigint, OUT name text, OUT with_ text, OUT mine boolean, OUT delivered bigint,
    OUT read bigint, OUT ts bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE me int;
  BEGIN
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    RETURN QUERY SELECT user_name, CASE WHEN t.owner <> 0 THEN t.name ELSE o.name END, true, 0::bigint,
        greatest(m.read, m.own_read), CASE WHEN m.own_read > m.read THEN m.own_ts ELSE m.marked_ts END
      FROM members m JOIN threads t ON t.id = m.thread LEFT JOIN users o ON o.id = m.other
      WHERE m.usr = me AND greatest(m.marked_at, m.own_at) >= from_ AND greatest(m.read, m.own_read) > 0;
    RETURN QUERY WITH moved AS MATERIALIZED (
      SELECT o.usr, o.thread, o.delivered, o.read, o.marked_ts, t.name AS thread_name, t.owner FROM members mb
        JOIN members o ON o.thread = mb.thread AND o.marked_block >= from_ >> ${BLOCK_BITS} AND o.marked_at >= from_ AND o.usr <> me
        JOIN threads t ON t.id = o.thread WHERE mb.usr = me),
      wrote AS MATERIALIZED (
        SELECT d.thread, (SELECT min(r.seq) FROM (SELECT x.seq, x.sender FROM messages x WHERE x.thread = d.thread
          ORDER BY x.seq DESC LIMIT 1000) r WHERE r.sender = me) AS first
        FROM (SELECT DISTINCT v.thread FROM moved v WHERE v.owner <> 0) d)
      SELECT u.name, CASE WHEN v.owner <> 0 THEN v.thread_name ELSE user_name END, false, v.delivered, v.read, v.marked_ts
        FROM moved v JOIN users u ON u.id = v.usr LEFT JOIN wrote w ON w.thread = v.thread
        WHERE v.owner = 0 OR v.delivered >= w.first;
  END $$;

  -- move_markers() of users by number, in conversations by number, or by name where the number is null. A row that moved has the
  -- number; in a direct conversation whether the other one wrote what is newly covered, in a group who did.
  CREATE FUNCTION move_marks(users_ int[], threads_ int[], names text[], reads boolean[], privates boolean[], seqs bigint[],
    now_ms bigint, seen bigint, OUT n bigint, OUT thread int, OUT has_other boolean, OUT authors text, OUT ts bigint)
    RETURNS SETOF record LANGUAGE plpgsql SET enable_hashjoin = off SET enable_mergejoin = off AS $$
  DECLARE head bigint := greatest(horizon(), seen); place bigint; at bigint;
  BEGIN
    PERFORM begin_drawing();
    SELECT last_value INTO place FROM log_seq;
    at := coalesce(now_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    RETURN QUERY WITH moving AS MATERIALIZED (
      SELECT w.* FROM (SELECT d.n, d.is_read, d.is_own, mb.usr, mb.thread, mb.other, mb.since, least(d.seq, head) AS upto,
          CASE WHEN d.is_own THEN greatest(mb.read, mb.own_read) WHEN d.is_read THEN mb.read ELSE mb.delivered END AS before
        FROM (SELECT x.n, x.usr, x.is_read, x.is_own, x.seq, coalesce(x.thread, (SELECT t.id FROM threads t WHERE t.name = x.name)) AS thread
          FROM unnest(users_, threads_, names, reads, privates, seqs) WITH ORDINALITY AS x(usr, thread, name, is_read, is_own, seq, n)
          OFFSET 0) d
        -- A range of one, or the index by conversation may be taken, which has all members of a group.
        JOIN members mb ON mb.usr = d.usr AND mb.thread BETWEEN d.thread AND d.thread) w
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
    SELECT x.n, x.thread, NOT x.is_own AND x.other <> 0 AND x.other <> x.usr AND EXISTS (
        SELECT 1 FROM (SELECT y.sender FROM messages y WHERE y.thread = x.thread AND y.seq > x.above AND y.seq <= x.upto
          ORDER BY y.seq DESC LIMIT 1000) r WHERE r.sender = x.other),
      CASE WHEN NOT x.is_own AND x.other = 0 THEN (SELECT string_agg(u.name, ' ') FROM (SELECT DISTINCT r.sender FROM
          (SELECT y.sender FROM messages y WHERE y.thread = x.thread AND y.seq > x.above AND y.seq <= x.upto
            ORDER BY y.seq DESC LIMIT 1000) r
          WHERE r.sender <> x.usr AND EXISTS (SELECT 1 FROM members z WHERE z.usr = r.sender AND z.thread = x.thread)
          LIMIT 100) s JOIN users u ON u.id = s.sender) END, at
      FROM updated x UNION ALL SELECT 0, NULL, NULL, NULL, at;
  END $$;
`;
