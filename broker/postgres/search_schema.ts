/**
 * The index of words. A lexeme is the number of a conversation, a mark, and a word, so that a search walks along words of conversations that its user
 * is in and along no others. The words are the nodes' (broker/search_rules.ts); PostgreSQL only sorts them, and needs no extension.
 */

/** Separates the number of a conversation from a word: no word has it. */
export const MARK = "\u00b7";
/** Conversations that one search looks at, the most recent ones. */
const THREADS_SEARCHED_MAX = 1_000;
/** Seconds for which a node indexes before another may: as long as a stopped one keeps the index behind. */
const LEASE_S = 5;

/** Statements that make it. Run with the schema first in the search path. */
export const SEARCH_SCHEMA = `
  CREATE TABLE search (seq bigint PRIMARY KEY, words tsvector NOT NULL);
  CREATE INDEX search_words ON search USING gin (words);
  -- One row: the index has everything up to this position; who goes on with it, and until when nobody else does.
  CREATE TABLE indexing (indexed bigint NOT NULL, node text COLLATE "C" NOT NULL, until timestamptz NOT NULL);
  INSERT INTO indexing VALUES (0, '', '-infinity');

  -- What is removed from the messages leaves the index, whoever removes it.
  CREATE FUNCTION unsearch() RETURNS trigger LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
  BEGIN
    DELETE FROM search s USING gone g WHERE s.seq = g.seq;
    RETURN NULL;
  END $$;
  CREATE TRIGGER messages_removed AFTER DELETE ON messages REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION unsearch();

  -- The messages that are to be indexed next. The first row has the position up to which all are, as its thread 1 where it is
  -- this node's turn and 0 where it is another's, and as its content the horizon.
  CREATE FUNCTION unindexed(node_ text, most int, OUT seq bigint, OUT thread int, OUT content text) RETURNS SETOF record
    LANGUAGE plpgsql AS $$
  DECLARE from_ bigint; h bigint;
  BEGIN
    UPDATE indexing i SET node = node_, until = clock_timestamp() + interval '${LEASE_S} s'
      WHERE i.node = node_ OR i.until < clock_timestamp() RETURNING i.indexed INTO from_;
    thread := FOUND::int;
    seq := coalesce(from_, (SELECT i.indexed FROM indexing i));
    h := horizon();
    content := h::text;
    RETURN NEXT;
    IF from_ IS NULL THEN RETURN; END IF;
    RETURN QUERY SELECT m.seq, m.thread, m.content FROM messages m WHERE m.seq > from_ AND m.seq <= h ORDER BY m.seq LIMIT most;
  END $$;

  -- Adds messages to the index: the lexemes of each, with spaces between. False where another node has done so meanwhile.
  CREATE FUNCTION index_words(node_ text, from_ bigint, upto bigint, seqs bigint[], words_ text[]) RETURNS boolean
    LANGUAGE plpgsql AS $$
  BEGIN
    UPDATE indexing SET indexed = upto WHERE indexed = from_ AND node = node_;
    IF NOT FOUND THEN RETURN false; END IF;
    INSERT INTO search SELECT d.seq, array_to_tsvector(string_to_array(d.words, ' ')) FROM unnest(seqs, words_) d(seq, words)
      WHERE d.words <> '' ON CONFLICT DO NOTHING;
    RETURN true;
  END $$;

  -- The newest messages below a position that the index has all the words in, of those that a user may read, in one conversation or
  -- in the most recent ones. \`whole\`: whether a word is one by itself; else it begins one.
  CREATE FUNCTION with_words(user_name text, thread_ int, words_ text[], whole boolean[], below bigint, most int,
    OUT seq bigint, OUT ts bigint, OUT thread int, OUT sender int, OUT recipient int, OUT id text, OUT origin text, OUT content text)
    RETURNS SETOF record LANGUAGE plpgsql AS $$
  DECLARE me int; many boolean;
  BEGIN
    SELECT u.id INTO me FROM users u WHERE u.name = user_name;
    many := thread_ = 0 AND (SELECT count(*) FROM (SELECT 1 FROM members mb WHERE mb.usr = me LIMIT ${
  THREADS_SEARCHED_MAX + 1
}) x)
      > ${THREADS_SEARCHED_MAX};
    RETURN QUERY WITH mine AS MATERIALIZED (
      SELECT mb.thread, mb.since FROM members mb LEFT JOIN LATERAL (SELECT x.seq FROM messages x WHERE x.thread = mb.thread
          ORDER BY x.seq DESC LIMIT 1) l ON many
        WHERE mb.usr = me AND (thread_ = 0 OR mb.thread = thread_) ORDER BY l.seq DESC NULLS LAST LIMIT ${THREADS_SEARCHED_MAX}),
      places AS MATERIALIZED (
      SELECT p.thread, k.seq FROM mine p CROSS JOIN LATERAL (SELECT string_agg('''' || p.thread || '${MARK}' || w.word || '''' ||
          CASE WHEN w.whole THEN '' ELSE ':*' END, ' & ')::tsquery AS sought FROM unnest(words_, whole) w(word, whole)) q
        CROSS JOIN LATERAL (SELECT f.seq FROM (SELECT s.seq FROM search s WHERE s.words @@ q.sought OFFSET 0) f
          WHERE f.seq > p.since AND f.seq < below ORDER BY f.seq DESC LIMIT most) k
        ORDER BY k.seq DESC LIMIT most)
      SELECT m.seq, m.ts, m.thread, m.sender, m.recipient, m.id, m.origin, m.content FROM places p
        CROSS JOIN LATERAL (SELECT * FROM messages x WHERE x.thread = p.thread AND x.seq = p.seq) m ORDER BY m.seq DESC;
  END $$;
`;
