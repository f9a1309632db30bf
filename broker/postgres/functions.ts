/**
 * The functions of the schema. Whatever takes a lock that others wait for is one of them, so that a node that is stopped in the
 * middle of something stops nobody else.
 *
 * **Positions.** `log_seq` gives positions, and transactions commit in another order than they draw. So an append reads the
 * last value of the sequence, `low`, takes a shared advisory lock whose key says `low`, and then draws: all its positions are
 * above. A reader takes the last value of the sequence first, then the lowest key among the locks, then, in a new statement, the
 * rows up to the smaller of both: everything below it is visible, or never will be. Locks are let go after a commit is visible.
 *
 * **Locks.** All advisory: (oid of the schema, `low` as 32 bits) for who may draw; (oid << 32 | number of the group modulo
 * {@linkcode GROUP_LOCKS}) for groups: shared by appends to it, exclusive for changes of its members. Groups first, then `low`:
 * whoever waits for a group holds no reader up.
 */

import { ENDED_KEPT } from "../limits.ts";

/** Locks that all groups share: an append takes those of its groups, and the server's table of locks has some thousands. */
export const GROUP_LOCKS = 64;

/** Statements that make them. Run with the schema first in the search path. */
export const FUNCTIONS = `
  CREATE FUNCTION schema_oid() RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT 'log_seq'::regclass::oid::bigint $$;

  -- Says that positions above the log's last value may be drawn until the transaction ends; returns that value.
  CREATE FUNCTION begin_drawing() RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE low bigint;
  BEGIN
    SELECT last_value INTO low FROM log_seq;
    PERFORM pg_advisory_xact_lock_shared(schema_oid()::bit(32)::int, low::bit(32)::int);
    RETURN low;
  END $$;

  -- The position up to which everything is visible to the caller's next statement. Standbys know no locks of the primary.
  CREATE FUNCTION horizon() RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE h bigint; back bigint;
  BEGIN
    IF pg_is_in_recovery() THEN RAISE EXCEPTION 'this is a standby' USING ERRCODE = 'read_only_sql_transaction'; END IF;
    SELECT last_value INTO h FROM log_seq;
    -- Keys are the lower half of positions: how far each is behind the last value.
    SELECT max((h - objid::bigint) & 4294967295) INTO back FROM pg_locks
      WHERE locktype = 'advisory' AND objsubid = 2 AND classid::bigint = schema_oid() AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND ((h - objid::bigint) & 4294967295) < 2147483648; -- drawn from a later value than h: above it
    RETURN h - coalesce(back, 0);
  END $$;

  -- Leaves positions out where PostgreSQL was started or promoted since the last call: its sequence may have forgotten some that
  -- were told as the head. The first node that comes back does so, before any of them draws.
  CREATE FUNCTION leave_out(seen bigint, positions bigint) RETURNS void LANGUAGE plpgsql AS $$
  DECLARE life text := pg_postmaster_start_time()::text || ' ' || left(pg_walfile_name(pg_current_wal_lsn()), 8); last bigint;
  BEGIN
    PERFORM pg_advisory_xact_lock(schema_oid() << 32 | 4294967294);
    IF EXISTS (SELECT 1 FROM meta WHERE key = 'life' AND value = life) THEN RETURN; END IF;
    SELECT last_value INTO last FROM log_seq;
    IF EXISTS (SELECT 1 FROM meta WHERE key = 'life') THEN
      PERFORM setval('log_seq', greatest(last, seen) + positions);
      INSERT INTO gaps VALUES (last, greatest(last, seen) + positions);
      DELETE FROM gaps WHERE after IN (SELECT g.after FROM gaps g ORDER BY g.after DESC OFFSET 1000);
    END IF;
    INSERT INTO meta VALUES ('life', life) ON CONFLICT (key) DO UPDATE SET value = excluded.value;
  END $$;

  -- Appends drafts. \`seqs\`: positions of those that were stored, in order. \`odd\`: undefined where all were; else per draft
  -- whether its sender may write there, and the message that has its id: position, time, and whether it says the same.
  CREATE FUNCTION append(senders int[], recipients int[], threads_ int[], contents text[], ids text[], origins text[], now_ms bigint,
    OUT ts bigint, OUT seqs text, OUT odd text) LANGUAGE plpgsql AS $$
  DECLARE missing bigint; writers int[]; groups_ int[];
  BEGIN
    IF 0 = ANY(recipients) THEN
      PERFORM pg_advisory_xact_lock_shared(schema_oid() << 32 | bucket)
        FROM (SELECT DISTINCT d.t % ${GROUP_LOCKS} AS bucket FROM unnest(recipients, threads_) AS d(r, t) WHERE d.r = 0 ORDER BY 1) b;
    END IF;
    PERFORM begin_drawing();
    ts := coalesce(now_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    WITH stored AS (
      INSERT INTO messages (seq, ts, thread, sender, recipient, id, origin, content)
        SELECT nextval('log_seq'), append.ts, d.t, d.s, d.r, d.id, d.o, d.c
          FROM unnest(senders, recipients, threads_, contents, ids, origins) AS d(s, r, t, c, id, o)
          WHERE d.r <> 0 OR EXISTS (SELECT 1 FROM members m WHERE m.usr = d.s AND m.thread = d.t)
        ON CONFLICT (sender, id) WHERE id IS NOT NULL DO NOTHING RETURNING *
    ) SELECT string_agg(seq::text, ','), cardinality(senders) - count(*), array_agg(sender) FILTER (WHERE recipient = 0),
        array_agg(thread) FILTER (WHERE recipient = 0) INTO seqs, missing, writers, groups_ FROM stored;
    IF missing > 0 THEN
      SELECT json_agg(json_build_array(
          d.r <> 0 OR EXISTS (SELECT 1 FROM members m WHERE m.usr = d.s AND m.thread = d.t),
          m.seq, m.ts, m.content = d.c, t.name) ORDER BY d.n)::text INTO odd
        FROM unnest(senders, recipients, threads_, contents, ids) WITH ORDINALITY AS d(s, r, t, c, id, n)
        LEFT JOIN (messages m JOIN threads t ON t.id = m.thread) ON m.sender = d.s AND m.id = d.id;
    END IF;
    IF writers IS NOT NULL THEN PERFORM agree(writers, groups_) FROM (SELECT 1 FROM members m
      WHERE m.passive AND (m.usr, m.thread) IN (SELECT * FROM unnest(writers, groups_)) LIMIT 1) p; END IF;
  END $$;

  -- Takes members who were brought into groups for ones by their own will: they have written, or joined. A group that nobody owns is
  -- theirs, the first one's.
  CREATE FUNCTION agree(users_ int[], threads_ int[]) RETURNS boolean LANGUAGE plpgsql AS $$
  DECLARE d record; nobody int := (SELECT u.id FROM users u WHERE u.name = ''); owns boolean := false;
  BEGIN
    FOR d IN SELECT x.u, x.t, min(x.n) AS n FROM unnest(users_, threads_) WITH ORDINALITY AS x(u, t, n)
        JOIN members m ON m.usr = x.u AND m.thread = x.t WHERE m.other = 0 GROUP BY 1, 2 ORDER BY x.t, min(x.n) LOOP
      UPDATE members SET passive = false WHERE usr = d.u AND thread = d.t AND passive;
      UPDATE threads SET owner = d.u WHERE id = d.t AND owner = nobody;
      owns := owns OR FOUND;
    END LOOP;
    RETURN owns;
  END $$;

  -- The messages that have some ids of their senders, by the order of asking; nothing for those that are free.
  CREATE FUNCTION lookup(senders int[], ids text[], contents text[], OUT n bigint, OUT seq bigint, OUT ts bigint, OUT name text,
    OUT is_same boolean) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT d.n, m.seq, m.ts, t.name, m.content = d.c FROM unnest(senders, ids, contents) WITH ORDINALITY AS d(s, id, c, n)
      JOIN messages m ON m.sender = d.s AND m.id = d.id JOIN threads t ON t.id = m.thread $$;

  -- The log after a position: row 0 has the horizon, then messages, and changes of groups, which have no sender.
  CREATE FUNCTION tail(after bigint, most int,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := horizon();
  BEGIN
    seq := h;
    RETURN NEXT;
    IF h <= after THEN RETURN; END IF;
    RETURN QUERY SELECT * FROM (
      (SELECT m.seq, m.ts, m.thread, m.sender, m.recipient, m.id, m.origin, m.content FROM messages m
        WHERE m.seq > after AND m.seq <= h ORDER BY m.seq LIMIT most)
      UNION ALL (SELECT c.seq, NULL::bigint, c.thread, NULL, NULL, NULL, NULL, NULL FROM changes c
        WHERE c.seq > after AND c.seq <= h ORDER BY c.seq LIMIT most)
      ) r ORDER BY 1 LIMIT most;
  END $$;

  -- Ids of users by name, who are made where they are unknown.
  CREATE FUNCTION know(names text[], OUT id int, OUT name text) RETURNS SETOF record LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO users (name) SELECT DISTINCT n FROM unnest(names) n
      WHERE NOT EXISTS (SELECT 1 FROM users u WHERE u.name = n) ORDER BY n ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT u.id, u.name FROM users u WHERE u.name = ANY(names);
  END $$;

  -- Ids of direct conversations, which are begun where there are none; names as in threads, and both users of each.
  CREATE FUNCTION converse(names text[], ones int[], twos int[], OUT id int, OUT name text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  BEGIN
    INSERT INTO threads (name) SELECT DISTINCT n FROM unnest(names) n
      WHERE NOT EXISTS (SELECT 1 FROM threads t WHERE t.name = n) ORDER BY n ON CONFLICT DO NOTHING;
    INSERT INTO members (usr, thread, other, since) SELECT x.usr, t.id, x.other, 0
      FROM (SELECT n, a AS usr, b AS other FROM unnest(names, ones, twos) d(n, a, b)
        UNION SELECT n, b, a FROM unnest(names, ones, twos) d(n, a, b)) x JOIN threads t ON t.name = x.n
      ORDER BY t.id, x.usr ON CONFLICT DO NOTHING;
    RETURN QUERY SELECT t.id, t.name FROM threads t WHERE t.name = ANY(names);
  END $$;

  -- Direct messages that wait for users, by conversation, counted up to a bound in all.
  CREATE FUNCTION waiting(users_ int[], most bigint, OUT usr int, OUT thread int, OUT n bigint) RETURNS SETOF record
    LANGUAGE sql STABLE AS $$
    SELECT u, z.thread, count(*) FROM unnest(users_) u CROSS JOIN LATERAL (SELECT mb.thread FROM members mb CROSS JOIN LATERAL
        (SELECT 1 FROM messages x WHERE x.thread = mb.thread AND x.seq > mb.delivered AND x.sender <> u LIMIT most) y
      WHERE mb.usr = u AND mb.other <> 0 AND mb.other <> u LIMIT most) z GROUP BY 1, 2 $$;

  -- Where devices resume. \`seen\`: what the asking node has seen of the log, which is visible whatever the horizon says. A new
  -- device of a user who has \`kept\` already is not stored: one of them has to go first, and \`place\` is null.
  CREATE FUNCTION attach(names text[], devices_ text[], lasts bigint[], temporaries boolean[], resumes bigint[], seen bigint, kept int,
    OUT place bigint, OUT is_new boolean, OUT lost bigint, OUT head bigint, OUT is_lost boolean)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE u users%ROWTYPE; d devices%ROWTYPE;
  BEGIN
    head := greatest(horizon(), seen);
    FOR i IN 1 .. cardinality(names) LOOP
      SELECT * INTO u FROM users WHERE name = names[i];
      IF NOT FOUND THEN
        INSERT INTO users (name) VALUES (names[i]) ON CONFLICT DO NOTHING;
        SELECT * INTO u FROM users WHERE name = names[i];
      END IF;
      SELECT * INTO d FROM devices x WHERE x.usr = u.id AND x.name = devices_[i];
      is_new := NOT FOUND;
      place := d.position;
      lost := u.horizon;
      is_lost := coalesce((SELECT resumes[i] < g.upto FROM gaps g WHERE g.after < resumes[i] ORDER BY g.after DESC LIMIT 1), false);
      IF NOT is_new THEN
        IF d.attached <> head OR (d.temporary AND NOT temporaries[i]) THEN
          UPDATE devices x SET attached = head, temporary = d.temporary AND temporaries[i]
            WHERE x.usr = u.id AND x.name = devices_[i];
        END IF;
      ELSIF (SELECT count(*) FROM devices x WHERE x.usr = u.id) < kept THEN
        IF NOT EXISTS (SELECT 1 FROM devices x WHERE x.usr = u.id) AND EXISTS (SELECT 1 FROM due mb WHERE mb.usr = u.id
            AND EXISTS (SELECT 1 FROM messages m WHERE m.thread = mb.thread AND m.seq > mb.since AND m.seq <= mb.until)) THEN
          place := 0; -- was never here, and has been written to
        ELSIF lasts[i] IS NULL THEN
          SELECT coalesce(max(x.position), head) INTO place FROM devices x WHERE x.usr = u.id;
        ELSIF lasts[i] = 0 THEN
          place := head;
        ELSE
          SELECT coalesce(min(x.seq) - 1, head) INTO place FROM (SELECT y.seq FROM due mb CROSS JOIN LATERAL
            (SELECT m.seq FROM messages m WHERE m.thread = mb.thread AND m.seq > mb.since AND m.seq <= least(head, mb.until)
              ORDER BY m.seq DESC LIMIT lasts[i]) y
            WHERE mb.usr = u.id ORDER BY y.seq DESC LIMIT lasts[i]) x;
        END IF;
        INSERT INTO devices VALUES (u.id, devices_[i], place, head, temporaries[i]) ON CONFLICT DO NOTHING;
      END IF;
      RETURN NEXT;
    END LOOP;
  END $$;

  -- Devices of a user, each with whether a message waits that it did not send itself, as broker/device_rules.ts asks.
  CREATE FUNCTION devices_of(user_name text, scanned int, OUT name text, OUT place bigint, OUT attached bigint, OUT temporary boolean,
    OUT waits boolean) RETURNS SETOF record LANGUAGE sql STABLE AS $$
    SELECT d.name, d.position, d.attached, d.temporary, EXISTS (SELECT 1 FROM due mb CROSS JOIN LATERAL
        (SELECT count(*) AS seen, coalesce(sum((m.sender <> d.usr OR m.origin <> d.name)::int), 0) AS others FROM
          (SELECT x.sender, x.origin FROM messages x WHERE x.thread = mb.thread AND x.seq > greatest(d.position, mb.since) AND x.seq <= mb.until
            ORDER BY x.seq DESC LIMIT scanned) m) c
        WHERE mb.usr = d.usr AND (c.others > 0 OR c.seen >= scanned))
      FROM devices d JOIN users u ON u.id = d.usr WHERE u.name = user_name $$;

  -- Moves positions of devices forward.
  CREATE FUNCTION advance(names text[], devices_ text[], seqs bigint[], seen bigint) RETURNS void LANGUAGE plpgsql AS $$
  DECLARE head bigint := greatest(horizon(), seen);
  BEGIN
    PERFORM 1 FROM devices d JOIN users u ON u.id = d.usr WHERE (u.name, d.name) IN (SELECT * FROM unnest(names, devices_))
      ORDER BY d.usr, d.name FOR UPDATE OF d; -- all nodes in the same order
    UPDATE devices d SET position = least(x.seq, head)
      FROM (SELECT u.id, m.device, max(m.seq) AS seq FROM unnest(names, devices_, seqs) m(name, device, seq)
        JOIN users u ON u.name = m.name GROUP BY 1, 2) x
      WHERE d.usr = x.id AND d.name = x.device AND d.position < least(x.seq, head);
    PERFORM pass_ended(u.id) FROM users u WHERE u.name = ANY(names) AND EXISTS (SELECT 1 FROM ended e WHERE e.usr = u.id);
  END $$;

  -- Drops ended memberships that every device of a user has everything of, and the oldest of too many; the horizon says so.
  CREATE FUNCTION pass_ended(user_ int) RETURNS void LANGUAGE plpgsql AS $$
  DECLARE slowest bigint; over bigint; last bigint;
  BEGIN
    SELECT min(position) INTO slowest FROM devices WHERE usr = user_;
    SELECT e.until INTO over FROM ended e WHERE e.usr = user_ ORDER BY e.until DESC OFFSET ${ENDED_KEPT} LIMIT 1;
    SELECT max(e.until) INTO last FROM ended e WHERE e.usr = user_ AND e.until <= greatest(slowest, over);
    IF last IS NULL THEN RETURN; END IF;
    UPDATE users SET horizon = greatest(horizon, last) WHERE id = user_;
    DELETE FROM ended e WHERE e.usr = user_ AND e.until <= last;
  END $$;

  -- Moves markers forward. They have the log's last value as their place, taken after the lock: a device that has seen more than
  -- that was connected later, and one that is connected hears of them.
  CREATE FUNCTION mark(names text[], threads_ text[], reads boolean[], privates boolean[], seqs bigint[], now_ms bigint, seen bigint,
    OUT n bigint, OUT moved boolean, OUT authors text, OUT ts bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE head bigint := greatest(horizon(), seen); place bigint; before bigint; upto bigint; m record; mb members%ROWTYPE;
  BEGIN
    PERFORM begin_drawing();
    SELECT last_value INTO place FROM log_seq;
    ts := coalesce(now_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    FOR m IN SELECT d.n, d.seq, d.is_read, d.is_own, u.id AS usr, t.id AS thread
        FROM unnest(names, threads_, reads, privates, seqs) WITH ORDINALITY AS d(name, thread, is_read, is_own, seq, n)
        LEFT JOIN users u ON u.name = d.name LEFT JOIN threads t ON t.name = d.thread ORDER BY u.id, t.id, d.n LOOP
      n := m.n;
      moved := false;
      authors := NULL;
      SELECT * INTO mb FROM members x WHERE x.usr = m.usr AND x.thread = m.thread FOR UPDATE;
      IF FOUND THEN
        before := CASE WHEN m.is_own THEN greatest(mb.read, mb.own_read) WHEN m.is_read THEN mb.read ELSE mb.delivered END;
        upto := least(m.seq, head);
        moved := upto > before;
        IF moved AND m.is_own THEN
          UPDATE members x SET own_read = upto, own_ts = mark.ts, own_at = place
            WHERE x.usr = mb.usr AND x.thread = mb.thread;
        ELSIF moved THEN
          UPDATE members x SET delivered = greatest(mb.delivered, upto), read = CASE WHEN m.is_read THEN upto ELSE mb.read END,
            marked_ts = mark.ts, marked_at = place WHERE x.usr = mb.usr AND x.thread = mb.thread;
          SELECT string_agg(u.name, ' ') INTO authors FROM (SELECT DISTINCT r.sender FROM (SELECT x.sender FROM messages x
              WHERE x.thread = mb.thread AND x.seq > greatest(before, mb.since) AND x.seq <= upto ORDER BY x.seq DESC LIMIT 1000) r
              WHERE r.sender <> mb.usr AND EXISTS (SELECT 1 FROM members y WHERE y.usr = r.sender AND y.thread = mb.thread)
              LIMIT 100) s JOIN users u ON u.id = s.sender;
        END IF;
      END IF;
      RETURN NEXT;
    END LOOP;
  END $$;

  -- Moves what was delivered in all conversations of a user up to a position, or to the newest message of each.
  CREATE FUNCTION mark_all(user_name text, upto bigint, now_ms bigint, seen bigint,
    OUT with_ text, OUT seq bigint, OUT authors text, OUT ts bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE head bigint := greatest(horizon(), seen); place bigint; me int; m record;
  BEGIN
    PERFORM begin_drawing();
    SELECT last_value INTO place FROM log_seq;
    ts := coalesce(now_ms, (extract(epoch FROM clock_timestamp()) * 1000)::bigint);
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    FOR m IN SELECT mb.thread, greatest(mb.delivered, mb.since) AS before, least(upto, head, l.seq) AS upto, t.owner, t.name, mb.other
        FROM members mb JOIN threads t ON t.id = mb.thread CROSS JOIN LATERAL (SELECT x.seq FROM messages x
          WHERE x.thread = mb.thread AND x.seq > greatest(mb.delivered, mb.since) AND x.seq <= head ORDER BY x.seq DESC LIMIT 1) l
        WHERE mb.usr = me AND mb.delivered < least(upto, head) ORDER BY mb.thread FOR UPDATE OF mb LOOP
      CONTINUE WHEN m.upto <= m.before;
      SELECT string_agg(u.name, ' ') INTO authors FROM (SELECT DISTINCT r.sender FROM (SELECT x.sender FROM messages x
          WHERE x.thread = m.thread AND x.seq > m.before AND x.seq <= m.upto ORDER BY x.seq DESC LIMIT 1000) r
          WHERE r.sender <> me AND EXISTS (SELECT 1 FROM members y WHERE y.usr = r.sender AND y.thread = m.thread) LIMIT 100) s
        JOIN users u ON u.id = s.sender;
      IF authors IS NULL THEN
        UPDATE members x SET delivered = m.upto WHERE x.usr = me AND x.thread = m.thread;
      ELSE
        UPDATE members x SET delivered = m.upto, marked_ts = mark_all.ts, marked_at = place WHERE x.usr = me AND x.thread = m.thread;
        with_ := CASE WHEN m.owner <> 0 THEN m.name ELSE (SELECT u.name FROM users u WHERE u.id = m.other) END;
        seq := m.upto;
        RETURN NEXT;
      END IF;
    END LOOP;
  END $$;

  -- Changes the members of a group, if nobody has since its last change was \`expected\`; 0 where somebody has, else the position
  -- of the change. \`what\`: create (thread_ is 0 then), enter, exit. \`inviter_\`: who brings them in, 0 for nobody.
  CREATE FUNCTION change(what text, group_name text, thread_ int, expected bigint, usr_ int, inviter_ int, is_open boolean,
    has_declined boolean, most_groups bigint) RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE t threads%ROWTYPE; mb members%ROWTYPE; place bigint; heir int; last bigint; slowest bigint;
  BEGIN
    PERFORM 1 FROM users WHERE id = usr_ FOR UPDATE; -- the groups of one user are counted by one at a time
    IF what <> 'exit' AND inviter_ = 0 AND
        (SELECT count(*) FROM members WHERE usr = usr_ AND other = 0 AND inviter = 0) >= most_groups THEN
      RETURN 0;
    END IF;
    IF what = 'create' THEN
      INSERT INTO threads (name, owner, open) VALUES (group_name, usr_, is_open) ON CONFLICT DO NOTHING RETURNING * INTO t;
      IF NOT FOUND THEN RETURN 0; END IF;
    END IF;
    PERFORM pg_advisory_xact_lock(schema_oid() << 32 | coalesce(t.id, thread_) % ${GROUP_LOCKS});
    IF what <> 'create' THEN
      SELECT * INTO t FROM threads WHERE id = thread_ AND owner > 0 AND changed = expected FOR UPDATE;
      IF NOT FOUND THEN RETURN 0; END IF;
    END IF;
    PERFORM begin_drawing();
    place := nextval('log_seq');
    INSERT INTO changes VALUES (place, t.id, usr_, what <> 'exit');
    UPDATE threads SET changed = place WHERE id = t.id;
    IF what <> 'exit' THEN
      INSERT INTO members (usr, thread, other, since, inviter, passive) VALUES (usr_, t.id, 0, place, inviter_, inviter_ <> 0);
      IF inviter_ = 0 THEN PERFORM agree(ARRAY[usr_], ARRAY[t.id]); END IF;
      RETURN place;
    END IF;
    DELETE FROM members WHERE thread = t.id AND usr = usr_ RETURNING * INTO mb;
    IF has_declined AND mb.inviter <> 0 THEN
      INSERT INTO declined VALUES (usr_, mb.inviter, group_name) ON CONFLICT DO NOTHING;
    END IF;
    SELECT max(seq) INTO last FROM messages WHERE thread = t.id;
    IF last > mb.since THEN
      SELECT min(position) INTO slowest FROM devices WHERE usr = usr_;
      IF slowest < last THEN
        INSERT INTO ended VALUES (usr_, t.id, mb.since, last) ON CONFLICT DO NOTHING;
        PERFORM pass_ended(usr_);
      ELSE
        UPDATE users SET horizon = greatest(horizon, last) WHERE id = usr_;
      END IF;
    END IF;
    IF NOT EXISTS (SELECT 1 FROM members WHERE thread = t.id) THEN
      UPDATE threads SET name = ' ' || id || ' ' || name, owner = -1 WHERE id = t.id; -- no name begins with a space
    ELSIF t.owner = usr_ THEN
      SELECT usr INTO heir FROM members WHERE thread = t.id AND NOT passive ORDER BY since, joined LIMIT 1;
      IF heir IS NULL THEN
        PERFORM know(ARRAY['']);
        SELECT id INTO heir FROM users WHERE name = ''; -- owns the groups that nobody owns
      END IF;
      UPDATE threads SET owner = heir WHERE id = t.id;
    END IF;
    RETURN place;
  END $$;

  -- Notes where the log stands at a time. Times of ticks never go back, whatever the clock does.
  CREATE FUNCTION note_tick(at bigint) RETURNS void LANGUAGE plpgsql AS $$
  DECLARE h bigint := horizon();
  BEGIN
    INSERT INTO ticks VALUES (greatest(at, (SELECT max(ts) FROM ticks)), h)
      ON CONFLICT (ts) DO UPDATE SET seq = greatest(ticks.seq, excluded.seq);
  END $$;

  -- One step of retention; returns how many messages went: those up to a position, and what is left of groups that have ended.
  -- Horizons are raised in the same step.
  CREATE FUNCTION expire(upto bigint, most int) RETURNS bigint LANGUAGE plpgsql AS $$
  DECLARE gone_thread int; gone bigint;
  BEGIN
    IF NOT pg_try_advisory_xact_lock(schema_oid() << 32 | 4294967295) THEN RETURN 0; END IF; -- another node does it
    SELECT t.id INTO gone_thread FROM threads t WHERE t.owner < 0 AND NOT EXISTS (SELECT 1 FROM ended e WHERE e.thread = t.id) LIMIT 1;
    IF FOUND THEN
      DELETE FROM messages WHERE (thread, seq) IN
        (SELECT thread, seq FROM messages WHERE thread = gone_thread ORDER BY seq LIMIT most);
      GET DIAGNOSTICS gone = ROW_COUNT;
      IF gone < most THEN DELETE FROM threads WHERE id = gone_thread; END IF;
      RETURN greatest(gone, 1);
    END IF;
    CREATE TEMP TABLE IF NOT EXISTS old_threads (thread int, seq bigint) ON COMMIT DELETE ROWS;
    INSERT INTO old_threads SELECT o.thread, max(o.seq) FROM
      (SELECT m.thread, m.seq FROM messages m WHERE m.seq <= upto ORDER BY m.seq LIMIT most) o GROUP BY o.thread;
    UPDATE users u SET horizon = greatest(u.horizon, n.seq) FROM (SELECT mb.usr, max(least(o.seq, mb.until)) AS seq
      FROM old_threads o JOIN due mb ON mb.thread = o.thread AND mb.since < o.seq GROUP BY mb.usr) n WHERE u.id = n.usr;
    DELETE FROM ended e USING old_threads o WHERE e.thread = o.thread AND e.until <= o.seq;
    DELETE FROM messages m USING (SELECT thread, seq FROM messages WHERE seq <= upto ORDER BY seq LIMIT most) o
      WHERE m.thread = o.thread AND m.seq = o.seq;
    GET DIAGNOSTICS gone = ROW_COUNT;
    IF gone = 0 THEN
      DELETE FROM ticks WHERE seq <= upto AND ts < (SELECT max(ts) FROM ticks);
      DELETE FROM changes WHERE seq < upto;
    END IF;
    RETURN gone;
  END $$;

  -- A page of all conversations of a user after a position: its rows, each with how many there are up to one more than asked for.
  CREATE FUNCTION backlog(user_name text, after bigint, most int, chars bigint, seen bigint,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text,
    OUT found bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := greatest(horizon(), seen); me int;
  BEGIN
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    RETURN QUERY WITH places AS MATERIALIZED ( -- positions first, from the index alone
      SELECT DISTINCT k.thread, k.seq FROM due mb CROSS JOIN LATERAL (SELECT x.thread, x.seq FROM messages x
          WHERE x.thread = mb.thread AND x.seq > greatest(after, mb.since) AND x.seq <= least(h, mb.until)
          ORDER BY x.seq LIMIT most + 1) k
        WHERE mb.usr = me ORDER BY k.seq LIMIT most + 1)
      SELECT r.seq, r.ts, r.thread, r.sender, r.recipient, r.id, r.origin, r.content, (SELECT count(*) FROM places) FROM (
        SELECT m.*, sum(length(m.content)) OVER (ORDER BY m.seq) - length(m.content) AS before
          FROM (SELECT * FROM places p ORDER BY p.seq LIMIT most) p
          CROSS JOIN LATERAL (SELECT * FROM messages x WHERE x.thread = p.thread AND x.seq = p.seq) m) r
        WHERE r.before < chars ORDER BY r.seq;
  END $$;

  -- The newest messages that a user may read below a position, in one conversation or in all: what a search looks at. The first row
  -- has the position up to which everything is looked at.
  CREATE FUNCTION newest(user_name text, thread_ int, below bigint, most int, seen bigint,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := greatest(horizon(), seen); me int;
  BEGIN
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    seq := h;
    RETURN NEXT;
    RETURN QUERY WITH places AS MATERIALIZED (
      SELECT k.thread, k.seq FROM members mb CROSS JOIN LATERAL (SELECT x.thread, x.seq FROM messages x
          WHERE x.thread = mb.thread AND x.seq > mb.since AND x.seq <= h AND x.seq < below ORDER BY x.seq DESC LIMIT most) k
        WHERE mb.usr = me AND (thread_ = 0 OR mb.thread = thread_) ORDER BY k.seq DESC LIMIT most)
      SELECT m.seq, m.ts, m.thread, m.sender, m.recipient, m.id, m.origin, m.content FROM places p
        CROSS JOIN LATERAL (SELECT * FROM messages x WHERE x.thread = p.thread AND x.seq = p.seq) m ORDER BY m.seq DESC;
  END $$;

  -- A page of one conversation. The first row has its number, or nothing where the user is not in it.
  CREATE FUNCTION history(user_name text, thread_name text, above bigint, below bigint, forward boolean, most int, chars bigint,
    seen bigint, OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text,
    OUT content text, OUT found bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := greatest(horizon(), seen); mb members%ROWTYPE; low bigint; high bigint;
  BEGIN
    SELECT x.* INTO mb FROM members x JOIN users u ON u.id = x.usr JOIN threads t ON t.id = x.thread
      WHERE u.name = user_name AND t.name = thread_name;
    thread := mb.thread;
    RETURN NEXT;
    IF mb.thread IS NULL THEN RETURN; END IF;
    low := greatest(mb.since, above);
    high := least(h + 1, below);
    IF forward THEN
      RETURN QUERY WITH page AS MATERIALIZED (SELECT m.* FROM messages m WHERE m.thread = mb.thread AND m.seq > low AND m.seq < high
          ORDER BY m.seq LIMIT most + 1)
        SELECT r.seq, r.ts, r.thread, r.sender, r.recipient, r.id, r.origin, r.content, (SELECT count(*) FROM page) FROM (
          SELECT p.*, sum(length(p.content)) OVER (ORDER BY p.seq) - length(p.content) AS before FROM page p) r
          WHERE r.before < chars ORDER BY r.seq LIMIT most;
    ELSE
      RETURN QUERY WITH page AS MATERIALIZED (SELECT m.* FROM messages m WHERE m.thread = mb.thread AND m.seq > low AND m.seq < high
          ORDER BY m.seq DESC LIMIT most + 1)
        SELECT r.seq, r.ts, r.thread, r.sender, r.recipient, r.id, r.origin, r.content, (SELECT count(*) FROM page) FROM (
          SELECT p.*, sum(length(p.content)) OVER (ORDER BY p.seq DESC) - length(p.content) AS before FROM page p) r
          WHERE r.before < chars ORDER BY r.seq DESC LIMIT most;
    END IF;
  END $$;

  -- The user's conversations, the most recent first, one more than asked for: newest message, marker, and what is unread.
  CREATE FUNCTION conversations(user_name text, most int, below bigint, below_name text, unread_most int, seen bigint,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text,
    OUT other text, OUT read bigint, OUT unread bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE h bigint := greatest(horizon(), seen); me int;
  BEGIN
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    RETURN QUERY WITH rows_ AS MATERIALIZED (
      SELECT mb.thread, mb.since, greatest(mb.read, mb.own_read) AS read, t.name, mb.other, l.seq FROM members mb JOIN threads t ON t.id = mb.thread
        LEFT JOIN LATERAL (SELECT x.seq FROM messages x WHERE x.thread = mb.thread AND x.seq > mb.since AND x.seq <= h
          ORDER BY x.seq DESC LIMIT 1) l ON true
        WHERE mb.usr = me AND (l.seq IS NOT NULL OR t.owner > 0)
          AND (below IS NULL OR coalesce(l.seq, 0) < below OR (l.seq IS NULL AND below = 0 AND t.name > below_name))
        ORDER BY coalesce(l.seq, 0) DESC, t.name LIMIT most + 1)
      SELECT r.seq, m.ts, r.thread, m.sender, m.recipient, m.id, m.origin, m.content,
          CASE WHEN r.other = 0 THEN r.name ELSE (SELECT u.name FROM users u WHERE u.id = r.other) END, r.read,
          (SELECT count(*) FROM (SELECT x.sender FROM messages x WHERE x.thread = r.thread AND x.seq > greatest(r.read, r.since)
            AND x.seq <= h AND x.seq > (SELECT coalesce(min(z.seq), 0) - 1 FROM (SELECT n.seq FROM messages n
              WHERE n.thread = r.thread AND n.seq <= h ORDER BY n.seq DESC LIMIT unread_most) z)) y WHERE y.sender <> me)
        FROM rows_ r LEFT JOIN LATERAL (SELECT * FROM messages x WHERE x.thread = r.thread AND x.seq = r.seq) m ON true
        ORDER BY coalesce(r.seq, 0) DESC, r.name;
  END $$;

  -- Markers that changed since a position and concern a user; \`with_\`: the conversation as the user sees it. Their own is the
  -- furthest of both, the others' are public.
  CREATE FUNCTION markers(user_name text, from_ bigint, OUT name text, OUT with_ text, OUT mine boolean, OUT delivered bigint,
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
        JOIN members o ON o.thread = mb.thread AND o.marked_at >= from_ AND o.usr <> me
        JOIN threads t ON t.id = o.thread WHERE mb.usr = me),
      wrote AS MATERIALIZED (
        SELECT d.thread, (SELECT min(r.seq) FROM (SELECT x.seq, x.sender FROM messages x WHERE x.thread = d.thread
          ORDER BY x.seq DESC LIMIT 1000) r WHERE r.sender = me) AS first
        FROM (SELECT DISTINCT v.thread FROM moved v WHERE v.owner <> 0) d)
      SELECT u.name, CASE WHEN v.owner <> 0 THEN v.thread_name ELSE user_name END, false, v.delivered, v.read, v.marked_ts
        FROM moved v JOIN users u ON u.id = v.usr LEFT JOIN wrote w ON w.thread = v.thread
        WHERE v.owner = 0 OR v.delivered >= w.first;
  END $$;

  -- Times of users that only move forward.
  CREATE FUNCTION see(names text[], at bigint) RETURNS void LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM know(names);
    PERFORM 1 FROM users u WHERE u.name = ANY(names) ORDER BY u.id FOR UPDATE; -- all nodes in the same order
    UPDATE users u SET last_seen = at WHERE u.name = ANY(names) AND u.last_seen < at;
  END $$;

  -- Notes connections of a node. Per connection: its claim, how many devices the user has elsewhere, and the nodes that have the
  -- same device, whose connection is the older one now.
  CREATE FUNCTION claim(node_ text, sessions int[], users_ text[], devices_ text[],
    OUT claimed bigint, OUT elsewhere bigint, OUT older text) RETURNS SETOF record LANGUAGE plpgsql AS $$
  BEGIN
    PERFORM pg_advisory_xact_lock(schema_oid() << 32 | 65536 | bucket)
      FROM (SELECT DISTINCT hashtext(u) & 1023 AS bucket FROM unnest(users_) u ORDER BY 1) b;
    FOR i IN 1 .. cardinality(sessions) LOOP
      claimed := nextval('claim_seq');
      SELECT string_agg(DISTINCT c.node, ' ') INTO older FROM connected c
        WHERE c.usr = users_[i] AND c.node <> node_ AND c.device = devices_[i] AND c.device NOT LIKE '~%';
      SELECT count(*) INTO elsewhere FROM connected c
        WHERE c.usr = users_[i] AND c.node <> node_ AND (c.device <> devices_[i] OR c.device LIKE '~%');
      INSERT INTO connected VALUES (node_, sessions[i], users_[i], devices_[i], claimed)
        ON CONFLICT (node, session) DO UPDATE SET usr = excluded.usr, device = excluded.device, claim = excluded.claim;
      RETURN NEXT;
    END LOOP;
  END $$;

  -- Says that a node lives; true where the others did not know it, or had given it up, so that it has to say who is there.
  CREATE FUNCTION beat(node_ text, name_ text) RETURNS boolean LANGUAGE plpgsql AS $$
  BEGIN
    UPDATE nodes SET seen_at = clock_timestamp() WHERE id = node_;
    IF FOUND THEN RETURN false; END IF;
    INSERT INTO nodes VALUES (node_, name_, clock_timestamp());
    DELETE FROM connected WHERE node = node_;
    RETURN true;
  END $$;

  -- Gives up nodes that were silent for some milliseconds: who was connected there, and when the node was seen last. They have
  -- not been seen since.
  CREATE FUNCTION bury(silent_ms bigint, OUT node text, OUT usr text, OUT at bigint) RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE dead record;
  BEGIN
    FOR dead IN DELETE FROM nodes n WHERE n.seen_at < clock_timestamp() - silent_ms * interval '1 ms' RETURNING n.id, n.seen_at LOOP
      node := dead.id;
      at := (extract(epoch FROM dead.seen_at) * 1000)::bigint;
      UPDATE users u SET last_seen = at WHERE u.last_seen < at AND u.name IN (SELECT c.usr FROM connected c WHERE c.node = dead.id);
      FOR usr IN DELETE FROM connected c WHERE c.node = dead.id RETURNING c.usr LOOP
        RETURN NEXT;
      END LOOP;
    END LOOP;
  END $$;
`;
