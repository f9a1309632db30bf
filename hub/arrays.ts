/** Arrays that are filled and emptied in every turn. */

/**
 * Empties an array, which its owner goes on with, and returns what was in it.
 *
 * A new array for every turn would be the dearer way. V8 counts what becomes of the arrays of one place in the source, and where a
 * burst has made most of them live long it makes the later ones in the old generation. There a dead one keeps all that it had, and
 * the frames which that was cut from, until the next collection of everything. A copy belongs to no such place.
 */
export function taken<T>(array: T[]): T[] {
  const all = array.slice();
  array.length = 0;
  return all;
}
