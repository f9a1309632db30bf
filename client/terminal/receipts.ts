/** The decision not to tell others what was read, kept in a file that only its owner can read. */

import { writePrivately } from "../paths.ts";

/** The decision of one account. */
export class ReceiptsFile {
  readonly #file: string;

  constructor(folder: string) {
    this.#file = `${folder}/receipts`;
  }

  /** Returns whether others are told; true where nothing was decided, or the file cannot be read. */
  load(): boolean {
    try {
      return Deno.readTextFileSync(this.#file).trim() !== "off";
    } catch {
      return true;
    }
  }

  /** Stores the decision. Throws where it cannot be stored. */
  save(on: boolean): void {
    writePrivately(this.#file, on ? "on\n" : "off\n");
  }
}
