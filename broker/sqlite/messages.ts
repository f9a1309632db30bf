/**
 * Reading of many messages at once. SQLite gives them away as one text of JSON: neighbours in a conversation lie on pages of their
 * own, and going back and forth between it and JavaScript for each of them, and each column, takes longer than finding them.
 */

import type { SQLInputValue } from "node:sqlite";
import type { Database, Row } from "./database.ts";

/** Bytes of content up to which it is in the JSON. Longer ones are fetched one by one: escaping them would cost more than that. */
const SHORT_BYTES = 256;

const PACKED = `json_group_array(json_array(m.seq, m.sender, m.ts, m.id, m.origin,
  iif(octet_length(m.content) <= ${SHORT_BYTES}, m.content, NULL)))`;

type Cells = [seq: number, sender: number, ts: number, id: string | null, origin: string, content: string | null];

/** Makes the statement that reads the messages `m` of a FROM clause, for {@linkcode messagesOf}. */
export function packing(from: string): string {
  return `SELECT ${PACKED} AS packed FROM ${from}`;
}

/** Reads messages by a statement of {@linkcode packing}, in the order of positions. Who leaves early has spared long contents. */
export function* messagesOf(
  db: Database,
  sql: string,
  order: "ASC" | "DESC",
  ...values: SQLInputValue[]
): Generator<Row & { readonly content: string }> {
  const cells = JSON.parse(db.get(sql, ...values)!.packed as string) as Cells[];
  // An aggregate promises no order, though SQLite keeps that of the walk.
  cells.sort(order === "ASC" ? (a, b) => a[0] - b[0] : (a, b) => b[0] - a[0]);
  for (const [seq, sender, ts, id, origin, content] of cells) {
    yield { seq, sender, ts, id, origin, content: content ?? contentAt(db, seq) };
  }
}

function contentAt(db: Database, seq: number): string {
  return db.get("SELECT content FROM messages WHERE seq = ?", seq)!.content as string;
}
