/** The index of words in the schema: a step of the migrations, and like them never changed once it has been released. */

/** Schema of the index. Triggers keep it true to the messages, whoever removes or changes them. */
export const SEARCH_SCHEMA = `
  CREATE VIRTUAL TABLE search USING fts5(
    words, content = '', contentless_delete = 1, detail = none, tokenize = 'ascii'
  );
  ALTER TABLE threads ADD COLUMN indexed INTEGER NOT NULL DEFAULT 0; -- search knows the messages up to this position
  CREATE TRIGGER messages_removed AFTER DELETE ON messages BEGIN
    DELETE FROM search WHERE rowid = old.seq;
  END;
  CREATE TRIGGER messages_changed AFTER UPDATE OF content ON messages BEGIN
    DELETE FROM search WHERE rowid = old.seq;
    UPDATE threads SET indexed = min(indexed, old.seq - 1) WHERE id = old.thread;
  END;
`;
