/**
 * What the benchmark sends and how it knows that it arrived: once, unaltered, in order, at whom it was for.
 *
 * A content is `sequence:due:` and then padding that follows from both, so that whatever is changed, cut, swapped or
 * sent to somebody else is seen.
 */

const ALPHABET = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-";
const PADDING = ALPHABET.repeat(512);
/** A prime: no change of one digit of the sequence or the time leaves the padding the same. */
const SHIFTS = 61;
/** The longest content there is padding for. */
export const CONTENT_CHARS_MAX = PADDING.length - ALPHABET.length;

/** The content of message `sequence` of a pair, due at `dueUs` (microseconds since 1970), `chars` long. */
export function makeContent(sequence: number, dueUs: number, chars: number): string {
  const head = `${sequence}:${dueUs}:`;
  const start = (sequence + dueUs) % SHIFTS;
  return head + PADDING.slice(start, start + Math.max(0, chars - head.length));
}

/** What a content says, or undefined where it is not as it was made. */
export function readContent(content: string): { sequence: number; dueUs: number } | undefined {
  const first = content.indexOf(":");
  const second = content.indexOf(":", first + 1);
  if (first < 1 || second < 0) return undefined;
  const sequence = Number(content.slice(0, first)), dueUs = Number(content.slice(first + 1, second));
  if (!Number.isSafeInteger(sequence) || sequence < 0 || !Number.isSafeInteger(dueUs)) return undefined;
  return makeContent(sequence, dueUs, content.length) === content ? { sequence, dueUs } : undefined;
}

/** What went wrong, by kind; all zero in a run that counts. */
export interface Faults {
  /** Not as it was sent. */
  altered: number;
  /** Delivered to somebody it was not addressed to. */
  misrouted: number;
  /** Came again, or after a later one. */
  repeated: number;
  /** Came before one that was sent earlier. */
  skipped: number;
  /** Never came, or came without having been sent. */
  lost: number;
  /** The server refused something or closed a connection. */
  refused: number;
}

/** The counts of each (sender, address, receiver), named `sender>address>receiver`. */
export type Counts = Record<string, number>;

/** Checks what a set of connections receives. */
export class Checker {
  readonly faults: Faults = { altered: 0, misrouted: 0, repeated: 0, skipped: 0, lost: 0, refused: 0 };
  readonly #next = new Map<string, number>();

  /** Checks one message as `receiver` got it; returns when it was due, or undefined where it was not what was sent. */
  received(receiver: string, message: { sender: string; recipient: string; content: string }): number | undefined {
    const { sender, recipient } = message;
    const read = readContent(message.content);
    if (!read) {
      this.faults.altered++;
      return undefined;
    }
    if (recipient !== receiver && !recipient.startsWith("#")) {
      this.faults.misrouted++;
      return undefined;
    }
    const flow = `${sender}>${recipient}>${receiver}`;
    const next = this.#next.get(flow) ?? 0;
    if (read.sequence < next) {
      this.faults.repeated++;
      return undefined;
    }
    if (read.sequence > next) this.faults.skipped++;
    this.#next.set(flow, read.sequence + 1);
    return read.dueUs;
  }

  /** How many of each flow came. */
  get counts(): Counts {
    return Object.fromEntries(this.#next);
  }
}

/** How many messages were sent and did not come, or came and were not sent. */
export function countLost(sent: Counts, received: Counts): number {
  let lost = 0;
  for (const flow of new Set([...Object.keys(sent), ...Object.keys(received)])) {
    lost += Math.abs((sent[flow] ?? 0) - (received[flow] ?? 0));
  }
  return lost;
}
