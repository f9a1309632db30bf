/** Files that are looked at again and again, and read when they have changed. */

/** Returns a text that differs for each state of a file, by one system call. Throws what `Deno.statSync` throws. */
export function stampOf(file: string): string {
  const { mtime, size, ino } = Deno.statSync(file);
  return `${mtime?.getTime()} ${size} ${ino}`;
}

/** The same; "" where the file cannot be seen. */
export function stampOrNone(file: string): string {
  try {
    return stampOf(file);
  } catch {
    return "";
  }
}
