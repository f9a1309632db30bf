/** The client's exit statuses. */

/** Exit statuses by name. A signal gives 128 and its number. */
export const EXIT = { ok: 0, refused: 1, usage: 2, unreachable: 3 } as const;

/** The statuses with their meaning, for people. */
export const EXIT_STATUSES: readonly (readonly [status: number, meaning: string])[] = [
  [EXIT.ok, "Everything was sent and acked, or there was nothing to send."],
  [EXIT.refused, "The server refused a message, the name or the token, or a program of --exec could not be run."],
  [EXIT.usage, "The command line, the environment or the settings are wrong."],
  [EXIT.unreachable, "The server could not be reached or did not ack in time, or fewer messages came than --count."],
];
