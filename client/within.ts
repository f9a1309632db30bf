/** Time limits for promises. */

import { deadline } from "@std/async/deadline";

/** Settles as `promise` does, or resolves to undefined when that takes longer than `ms` milliseconds. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  try {
    return await deadline(promise, ms);
  } catch (error) {
    if (error instanceof DOMException && error.name === "TimeoutError") return undefined;
    throw error;
  }
}
