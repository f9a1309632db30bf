/** The promise of an acknowledgement: as the operator of PostgreSQL has set it, in words. */

import type { Sql } from "./link.ts";

/** The promise. */
export interface Durability {
  /** One sentence for the start. */
  readonly words: string;
  /** Reason to refuse this PostgreSQL, unless its operator insists. */
  readonly refusal: string | undefined;
}

const INSIST = "Set it to on, or start with --postgres-allow-async if you mean it";

/** Asks a session of the installation's role. */
export async function readDurability(sql: Sql): Promise<Durability> {
  const [row] = await sql`SELECT current_setting('synchronous_commit') AS commits,
    current_setting('synchronous_standby_names') AS names, current_setting('fsync') AS fsync,
    (SELECT count(*) FROM pg_stat_replication) AS standbys`;
  return judge(row!.commits, row!.names, row!.standbys, row!.fsync);
}

/** Judges settings of PostgreSQL. Pure. */
export function judge(commits: string, names: string, standbys: number, fsync: string): Durability {
  if (commits === "off") {
    return {
      words: "An ack promises nothing for the last second: PostgreSQL has synchronous_commit off",
      refusal: `PostgreSQL has synchronous_commit off: it would lose acknowledged messages in a crash. ${INSIST}`,
    };
  }
  if (fsync === "off") {
    return {
      words: "An ack survives the end of PostgreSQL, but no loss of power: it has fsync off",
      refusal: "PostgreSQL has fsync off: it would lose acknowledged messages at a loss of power. " + INSIST,
    };
  }
  const hasStandby = names !== "" || standbys > 0;
  if (commits === "local" && hasStandby) {
    return {
      words: "An ack means: on the primary's disk. A failover loses what had not reached the standby",
      refusal: `PostgreSQL has a standby, and synchronous_commit local: a failover would lose acknowledged messages. ${INSIST}`,
    };
  }
  if (names !== "") {
    const where = commits === "remote_write" ? "with a standby (perhaps not on its disk)" : "on a standby's disk";
    return { words: `An ack means: on the primary's disk and ${where}; a failover to it loses nothing`, refusal: undefined };
  }
  if (standbys > 0) {
    const words = "An ack means: on the primary's disk. The standbys are asynchronous: " +
      "a failover to one loses acknowledged messages of the last moments";
    return { words, refusal: undefined };
  }
  return { words: "An ack means: on PostgreSQL's disk. There is no standby", refusal: undefined };
}
