/**
 * Free space where messages are kept. Below a floor messages are refused while there is still room for everything else: a disk
 * that is full to the brim stops other programs too, and a database that cannot write its log cannot be read well either.
 */

import { statfs } from "node:fs"; // on older runtimes node:fs/promises has none
import { promisify } from "node:util";
import { type Log, reasonOf } from "../ops/log.ts";

/** Milliseconds between two looks: the default rate of a thousand users fills a few MiB meanwhile. */
const LOOK_MS = 5_000;

/** Options of {@linkcode FreeSpace}. */
export interface FreeSpaceOptions {
  readonly dir: string;
  /** Bytes that have to be free; `Infinity` for no floor. */
  readonly floorBytes: number;
  readonly log: Log;
  /** Resolves with the bytes that are free for this user on the disk of a folder. */
  readonly free?: (dir: string) => Promise<number>;
}

/** Looks at the disk now and then, and says once in the log when there is too little room, and when there is again. */
export class FreeSpace {
  readonly #options: FreeSpaceOptions;
  readonly #timer: ReturnType<typeof setInterval>;
  #isShort = false;
  #freeBytes: number | undefined;
  #isBlind = false;

  /** Begins to look; what it sees counts once {@linkcode FreeSpace.look} has resolved. */
  constructor(options: FreeSpaceOptions) {
    this.#options = options;
    this.#timer = setInterval(() => void this.look(), LOOK_MS);
    Deno.unrefTimer(this.#timer as unknown as number);
  }

  /** Bytes that were free at the last look; undefined before the first, and where it cannot be seen. */
  get freeBytes(): number | undefined {
    return this.#freeBytes;
  }

  /** True while there is less room than there has to be. */
  get isShort(): boolean {
    return this.#isShort;
  }

  /** Looks at the disk. Never rejects: where nothing can be seen, nothing is refused. */
  async look(): Promise<void> {
    const { dir, floorBytes, log, free = freeBytes } = this.#options;
    let bytes: number;
    try {
      bytes = await free(dir);
      this.#isBlind = false;
    } catch (error) {
      if (!this.#isBlind) log("failed", { task: `looking how much is free for ${dir}`, reason: reasonOf(error) });
      this.#isBlind = true;
      bytes = Infinity;
    }
    this.#freeBytes = this.#isBlind ? undefined : bytes;
    const isShort = bytes < floorBytes;
    if (isShort !== this.#isShort) log(isShort ? "space_short" : "space_back", { dir, bytes, floorBytes });
    this.#isShort = isShort;
  }

  /** Stops looking. */
  close(): void {
    clearInterval(this.#timer);
  }
}

/** Resolves with the bytes that are free for this user on the disk of a folder. */
export async function freeBytes(dir: string): Promise<number> {
  const { bavail, bsize } = await promisify(statfs)(dir);
  return bavail * bsize;
}
