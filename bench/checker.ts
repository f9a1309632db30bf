/**
 * Contents that the benchmark sends, and the check that each arrived once, unaltered, in order, and at whom it was for.
 *
 * A content is `sequence:due:sender>recipient:` and then padding that follows from the numbers, so that whatever is changed, cut,
 * swapped or sent to somebody else is seen. An id follows from the same.
 */

const ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
const PADDING = ALPHABET.repeat(512);
/** A prime: no change of one digit of the sequence or the time leaves the padding the same. */
const SHIFTS = 61;
/** The longest content there is padding for. */
export const CONTENT_CHARS_MAX = PADDING.length - ALPHABET.length;

/** The content of message `sequence` of a flow (`sender>recipient`), due at `dueUs` (microseconds since 1970), `chars` long. */
export function makeContent(flow: string, sequence: number, dueUs: number, chars: number): string {
  const head = `${sequence}:${dueUs}:${flow}:`;
  const start = (sequence + dueUs) % SHIFTS;
  return head + PADDING.slice(start, start + Math.max(0, chars - head.length));
}

/** The id of message `sequence` of a flow, where it has one. */
export function makeId(flow: string, sequence: number): string {
  return `${flow}:${sequence}`;
}

/** Parses a content of a flow; undefined where it is not as it was made. */
export function readContent(flow: string, content: string): { sequence: number; dueUs: number } | undefined {
  const first = content.indexOf(":");
  const second = content.indexOf(":", first + 1);
  if (first < 1 || second < 0) return undefined;
  const sequence = Number(content.slice(0, first)), dueUs = Number(content.slice(first + 1, second));
  if (!Number.isSafeInteger(sequence) || sequence < 0 || !Number.isSafeInteger(dueUs)) return undefined;
  return makeContent(flow, sequence, dueUs, content.length) === content ? { sequence, dueUs } : undefined;
}

/** A message as it was delivered; the base level has no more than the first three. */
export interface Delivered {
  readonly sender: string;
  readonly recipient: string;
  readonly content: string;
  readonly id?: string;
  readonly seq?: number;
  readonly ts?: string;
}

/** Faults by kind; all zero in a run that counts. */
export interface Faults {
  /** Not as it was sent, or with another id; or its position or its time is none. */
  altered: number;
  /** Delivered to somebody it was not addressed to. */
  misrouted: number;
  /** Came again, or after a later one. */
  repeated: number;
  /** Came before one that was sent earlier. */
  skipped: number;
  /** Never came, or came without having been sent. */
  lost: number;
  /** Sent with an id, and there was no ack. */
  unacked: number;
  /** Acked a second time, without having been sent, or at a position that is not after the last one. */
  misacked: number;
  /** Connections that were told that nothing is missing when something was, or that did not resume where they should. */
  unready: number;
  /** The server refused something or closed a connection. */
  refused: number;
}

/** No faults. */
export function noFaults(): Faults {
  const delivery = { altered: 0, misrouted: 0, repeated: 0, skipped: 0, lost: 0 };
  return { ...delivery, unacked: 0, misacked: 0, unready: 0, refused: 0 };
}

/** The counts of each (sender, address, receiver), named `sender>address>receiver`. */
export type Counts = Record<string, number>;

/** Checks what a set of connections receives. */
export class Checker {
  readonly faults: Faults = noFaults();
  readonly #next = new Map<string, number>();
  /** Position and time of what every receiver got last. */
  readonly #last = new Map<string, { seq: number; ts: string }>();

  /**
   * Checks one message as `receiver` got it; returns when it was due, or undefined where it was not what was sent. `hasId` where
   * it is known whether messages have ids.
   */
  received(receiver: string, message: Delivered, hasId?: boolean): number | undefined {
    const { sender, recipient } = message;
    const pair = `${sender}>${recipient}`;
    const read = readContent(pair, message.content);
    if (!read || !isIdentified(message, makeId(pair, read.sequence), hasId) || !this.#isPlaced(receiver, message)) {
      this.faults.altered++;
      return undefined;
    }
    if (recipient !== receiver && !recipient.startsWith("#")) {
      this.faults.misrouted++;
      return undefined;
    }
    const flow = `${pair}>${receiver}`;
    const next = this.#next.get(flow) ?? 0;
    if (read.sequence < next) {
      this.faults.repeated++;
      return undefined;
    }
    if (read.sequence > next) this.faults.skipped++;
    this.#next.set(flow, read.sequence + 1);
    return read.dueUs;
  }

  /** Checks that position and time are what they may be: the extended level has both, and positions rise. */
  #isPlaced(receiver: string, { seq, ts }: Delivered): boolean {
    if (seq === undefined && ts === undefined) return true;
    let last = this.#last.get(receiver);
    if (!last) this.#last.set(receiver, last = { seq: 0, ts: "" });
    if (ts === undefined || (ts !== last.ts && Number.isNaN(Date.parse(ts)))) return false;
    last.ts = ts;
    if (!Number.isSafeInteger(seq) || seq! <= last.seq) return false;
    last.seq = seq!;
    return true;
  }

  /** Number of messages that came, by flow. */
  get counts(): Counts {
    return Object.fromEntries(this.#next);
  }
}

function isIdentified({ id }: Delivered, wanted: string, hasId: boolean | undefined): boolean {
  return id === undefined ? hasId !== true : id === wanted && hasId !== false;
}

/** Counts messages that were sent and did not come, or came and were not sent. */
export function countLost(sent: Counts, received: Counts): number {
  let lost = 0;
  for (const flow of new Set([...Object.keys(sent), ...Object.keys(received)])) {
    lost += Math.abs((sent[flow] ?? 0) - (received[flow] ?? 0));
  }
  return lost;
}
