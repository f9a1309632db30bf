/**
 * Confirmations: what devices have, told to the broker, and what became delivered or read by it, told to the authors.
 *
 * Each report is a write. The first of a session is made at once, so that who talks now and then does not wait; those that
 * follow are gathered.
 */

import type { DeviceMove, Devices, MarkerMove, MarkerResult, Markers, Signals } from "../broker.ts";
import { toReceipt } from "./encoding.ts";
import type { Session } from "./session.ts";

/** Milliseconds for which the confirmations of a session are gathered before the broker is told again. */
export const CONFIRM_INTERVAL_MS = 100;
/** Messages of a session after which the broker is told before that: a bound on what a crash makes devices get again. */
export const CONFIRM_MESSAGES = 2_048;

/** Parts of a {@linkcode Confirmations}. */
export interface ConfirmationOptions {
  readonly broker: Devices & Markers & Signals;
  readonly intervalMs?: number | undefined;
  readonly messages?: number | undefined;
  /** Receives failures of the broker. */
  readonly report: (error: unknown, where: string) => void;
}

/** Gathers and reports what sessions have confirmed. */
export class Confirmations {
  readonly #broker: Devices & Markers & Signals;
  readonly #intervalMs: number;
  readonly #messages: number;
  readonly #report: (error: unknown, where: string) => void;
  readonly #waiting = new Set<Session>();
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor({ broker, intervalMs, messages, report }: ConfirmationOptions) {
    this.#broker = broker;
    this.#intervalMs = intervalMs ?? CONFIRM_INTERVAL_MS;
    this.#messages = messages ?? CONFIRM_MESSAGES;
    this.#report = report;
  }

  /** Reports those of `sessions` that are due, and lets the others gather. */
  gather(sessions: readonly Session[]): void {
    const now = performance.now();
    const due: Session[] = [];
    for (const session of sessions) {
      if (session.closed || !session.isUnreported) continue;
      if (session.isReportDue(now, this.#intervalMs, this.#messages)) due.push(session);
      else this.#waiting.add(session);
    }
    if (due.length > 0) this.report(due);
    if (this.#waiting.size === 0) return;
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      this.report([...this.#waiting]);
    }, this.#intervalMs);
  }

  /** Tells the broker now what the devices of `sessions` have, and the authors that it was delivered. */
  report(sessions: readonly Session[]): void {
    const now = performance.now();
    const moves: DeviceMove[] = [], marks: MarkerMove[] = [];
    for (const session of sessions) {
      this.#waiting.delete(session);
      const past = session.takeReport(now, moves, marks);
      if (past !== undefined) this.#markAll(session.user, past).catch((error) => this.#report(error, "mark"));
    }
    if (this.#waiting.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    if (moves.length > 0) this.#broker.advance(moves).catch((error) => this.#report(error, "advance"));
    if (marks.length > 0) this.#mark(marks).catch((error) => this.#report(error, "mark"));
  }

  /** Moves markers and tells those whose messages they cover; a read marker also goes to the user's own devices. */
  async #mark(marks: readonly MarkerMove[]): Promise<void> {
    const results = await this.#broker.mark(marks);
    for (const [index, result] of results.entries()) this.#tell(marks[index]!, result);
  }

  /** Moves what was delivered in all conversations: a device has everything, also what went to another one before it came. */
  async #markAll(user: string, seq: number): Promise<void> {
    for (const moved of await this.#broker.markAll(user, seq)) this.#tell(moved, moved);
  }

  #tell(mark: MarkerMove, { moved, authors, ts }: MarkerResult): void {
    if (!moved) return;
    const frame = toReceipt(mark, ts);
    this.#broker.signal(mark.kind === "read" ? [...authors, mark.user] : authors, frame);
  }
}
