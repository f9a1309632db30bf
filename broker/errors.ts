/** Failures of a broker that an operator reads. */

/** Reason for which the messages cannot be opened, used or copied: one sentence for the operator. */
export class BrokerError extends Error {
  override readonly name = "BrokerError";
}

/** Returns the message of whatever was thrown. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
