/** Errors that applications see. */

import { ERROR_CODES, type ErrorCode, type ErrorFrame } from "../protocol.ts";

/** Codes of a client's own errors, beside those of the protocol, and whether the same may succeed later. */
const OWN_CODES = { offline: true, timeout: true, closed: false, dropped: false } as const;

/** The code of an error: one of the protocol's, one of the client's own, or one that a newer server has. */
export type ChatErrorCode = ErrorCode | keyof typeof OWN_CODES | string & Record<never, never>;

/** A failed request or message. */
export class ChatError extends Error {
  override readonly name = "ChatError";
  readonly code: ChatErrorCode;
  /** The same may succeed later. */
  readonly retryable: boolean;
  /** Milliseconds to wait before that, where the server said some. */
  readonly retryAfterMs: number | undefined;

  constructor(code: ChatErrorCode, message: string, retryable: boolean = isRetryable(code), retryAfterMs?: number) {
    super(message);
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = retryAfterMs;
  }

  /** Makes the error that a frame of the server says. */
  static of({ code, message, retryable, retry_after_ms }: ErrorFrame): ChatError {
    return new ChatError(code, message, retryable, retry_after_ms);
  }
}

function isRetryable(code: string): boolean {
  if (Object.hasOwn(OWN_CODES, code)) return OWN_CODES[code as keyof typeof OWN_CODES];
  return Object.hasOwn(ERROR_CODES, code) && ERROR_CODES[code as ErrorCode].retryable;
}
