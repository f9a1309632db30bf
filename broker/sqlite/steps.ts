/** Work that can be left and taken up again, so that messages do not wait for a long answer. */

/** Work under way: it may be left wherever it yields. What it has read so far holds until a rollback. */
export type Steps<T> = Generator<void, T>;

/** Carries out work to its end. */
export function finish<T>(steps: Steps<T>): T {
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}
